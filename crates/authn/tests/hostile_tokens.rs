//! Every way to make a token wrong, one by one: the good token passes, the same token with one fault is refused for that fault, and the
//! same token with the fault taken out again passes. A check that refuses everything cannot pass here.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;
use weir_authn::{
    Algorithm, Authenticated, AuthnError, ClientInitial, Identity, IssuerConfig, Jwks, Mechanism, TOKEN_BYTES_MAX,
    Token, parse_client_initial,
};
use weir_testkit::{KeyKind, PublicKeyAs, TokenBuilder, TokenIssuer};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const SKEW: Duration = Duration::from_secs(30);
const SESSION_MAX: Duration = Duration::from_secs(3600);

/// Keys are made once: an RSA key takes a while.
static ISSUER: LazyLock<TokenIssuer> = LazyLock::new(|| {
    let keys =
        [("rsa-1", KeyKind::Rsa2048), ("ec-1", KeyKind::P256), ("ec-2", KeyKind::P384), ("ed-1", KeyKind::Ed25519)];
    TokenIssuer::new("https://sso.example.com/realms/kafka", &keys).unwrap()
});

static STRANGER: LazyLock<TokenIssuer> = LazyLock::new(|| {
    TokenIssuer::new("https://sso.example.com/realms/kafka", &[("rsa-1", KeyKind::Rsa2048), ("ec-9", KeyKind::P256)])
        .unwrap()
});

fn config() -> IssuerConfig {
    IssuerConfig {
        issuer: ISSUER.name().to_owned(),
        audience: vec!["kafka".to_owned(), "weir".to_owned()],
        algorithms: vec![Algorithm::RS256, Algorithm::ES256],
        principal_path: "sub".to_owned(),
        groups_path: "groups".to_owned(),
        keys: Jwks::parse(&ISSUER.jwks()).unwrap().into(),
    }
}

fn verify_with(config: IssuerConfig, token: impl Into<String>) -> Result<Authenticated, AuthnError> {
    let identity = Identity::new(vec![config], SKEW, SESSION_MAX).unwrap();
    identity.verify(&ClientInitial { token: Token::new(token), authzid: None }, NOW)
}

fn verify(token: impl Into<String>) -> Result<Authenticated, AuthnError> {
    verify_with(config(), token)
}

/// A good token of the RSA key.
fn good() -> TokenBuilder<'static> {
    ISSUER.token("checkout").issued_at(NOW).groups(&["checkout", "staff"])
}

/// The token with the fault is refused for it; the one it was made from passes.
fn check(fault: impl Fn(TokenBuilder<'static>) -> TokenBuilder<'static>, expected: AuthnError) {
    check_pair(&good().sign().unwrap(), &fault(good()).sign().unwrap(), expected);
}

fn check_pair(control: &str, hostile: &str, expected: AuthnError) {
    assert_eq!(verify(hostile), Err(expected.clone()));
    assert!(verify(control).is_ok(), "the control of {expected:?}");
}

#[test]
fn a_good_token_gives_its_principal() {
    let authenticated = verify(good().sign().unwrap()).unwrap();
    assert_eq!(authenticated.principal.id, "checkout");
    assert_eq!(authenticated.principal.groups, ["checkout", "staff"]);
    assert_eq!(authenticated.principal.mechanism, Mechanism::Oauthbearer);
    assert_eq!(authenticated.principal.issuer.as_deref(), Some(ISSUER.name()));
    assert_eq!(authenticated.expires_at, NOW + Duration::from_secs(300));
}

#[test]
fn refuses_an_expired_token_and_says_since_when() {
    let expired = AuthnError::Expired { ago: Duration::from_secs(180) };
    assert_eq!(expired.to_string(), "token expired 3 minutes ago");
    assert_eq!(expired.code(), "token_expired");
    check(|token| token.expired(Duration::from_secs(180)), expired);
    // The skew: the last good second and the first bad one.
    assert!(verify(good().expired(Duration::from_secs(29)).sign().unwrap()).is_ok());
    check(|token| token.expired(SKEW), AuthnError::Expired { ago: SKEW });
}

#[test]
fn refuses_a_token_before_its_time() {
    check(
        |token| token.not_before(Duration::from_secs(31)),
        AuthnError::NotYetValid { ahead: Duration::from_secs(31) },
    );
    assert!(verify(good().not_before(SKEW).sign().unwrap()).is_ok());
    assert!(verify(good().without("nbf").sign().unwrap()).is_ok());
}

#[test]
fn refuses_claims_that_are_missing_or_have_the_wrong_type() {
    for name in ["exp", "iss", "aud", "sub"] {
        check(|token| token.without(name), AuthnError::MissingClaim(name));
    }
    for name in ["exp", "nbf"] {
        for value in [json!("1800000300"), json!(-1), json!(null), json!([1_800_000_300]), json!(1e300)] {
            check(|token| token.claim(name, value.clone()), AuthnError::InvalidClaim(name));
        }
    }
    check(|token| token.claim("iss", json!([ISSUER.name()])), AuthnError::InvalidClaim("iss"));
    for value in [json!(null), json!({"kafka": 1}), json!(["kafka", 7])] {
        check(|token| token.claim("aud", value.clone()), AuthnError::InvalidClaim("aud"));
    }
    assert!(verify(good().claim("exp", 1_800_000_000.5).sign().unwrap()).is_ok(), "a date may have a fraction");
}

#[test]
fn refuses_a_token_for_somebody_else() {
    check(|token| token.audience("payroll"), AuthnError::WrongAudience);
    check(|token| token.audience("kafka "), AuthnError::WrongAudience);
    check(|token| token.claim("aud", json!([])), AuthnError::WrongAudience);
    assert!(verify(good().audience("weir").sign().unwrap()).is_ok());
    assert!(verify(good().claim("aud", json!(["payroll", "kafka"])).sign().unwrap()).is_ok());
}

#[test]
fn refuses_a_token_of_another_issuer() {
    check(|token| token.claim("iss", "https://sso.example.com/realms/other"), AuthnError::WrongIssuer);
    check(|token| token.claim("iss", "https://sso.example.com/realms/kafka/"), AuthnError::WrongIssuer);
}

#[test]
fn keys_of_one_issuer_do_not_vouch_for_another() {
    let other = TokenIssuer::new("https://other.example.com", &[("other-1", KeyKind::P256)]).unwrap();
    let second =
        IssuerConfig { issuer: other.name().to_owned(), keys: Jwks::parse(&other.jwks()).unwrap().into(), ..config() };
    let identity = Identity::new(vec![config(), second], SKEW, SESSION_MAX).unwrap();
    let verify = |token: String| identity.verify(&ClientInitial { token: Token::new(token), authzid: None }, NOW);
    assert!(verify(other.token("ada").issued_at(NOW).sign().unwrap()).is_ok());
    // It claims to come from the first issuer.
    let crossed = other.token("ada").issued_at(NOW).claim("iss", ISSUER.name());
    assert_eq!(verify(crossed.sign().unwrap()), Err(AuthnError::UnknownKey));
    assert_eq!(verify(crossed.header("kid", "ec-1").sign().unwrap()), Err(AuthnError::BadSignature));
}

#[test]
fn refuses_a_key_that_the_issuer_does_not_publish() {
    let stranger = STRANGER.token("checkout").issued_at(NOW).signed_by("ec-9");
    check_pair(&good().sign().unwrap(), &stranger.sign().unwrap(), AuthnError::UnknownKey);
    // It calls its key like one of ours.
    check_pair(
        &good().signed_by("ec-1").sign().unwrap(),
        &stranger.header("kid", "ec-1").sign().unwrap(),
        AuthnError::BadSignature,
    );
    check_pair(
        &good().sign().unwrap(),
        &STRANGER.token("checkout").issued_at(NOW).sign().unwrap(),
        AuthnError::BadSignature,
    );
}

#[test]
fn refuses_tokens_without_a_signature() {
    check_pair(&good().sign().unwrap(), &good().unsigned(), AuthnError::AlgorithmNotAllowed);
    for name in ["none", "None", "NONE", ""] {
        check(|token| token.header("alg", name), AuthnError::AlgorithmNotAllowed);
    }
    let signed = good().sign().unwrap();
    let stripped = format!("{}.", signed.rsplit_once('.').unwrap().0);
    check_pair(&signed, &stripped, AuthnError::BadSignature);
}

#[test]
fn refuses_the_public_key_as_a_shared_secret() {
    for kid in ["rsa-1", "ec-1"] {
        for form in [PublicKeyAs::Pem, PublicKeyAs::Der, PublicKeyAs::Raw] {
            let token = good().signed_by(kid);
            let hostile = token.signed_with_public_key(form).unwrap();
            check_pair(&token.sign().unwrap(), &hostile, AuthnError::AlgorithmNotAllowed);
            let unnamed = token.without_kid().signed_with_public_key(form).unwrap();
            assert_eq!(verify(unnamed), Err(AuthnError::AlgorithmNotAllowed));
        }
    }
    // The same signature under an honest name.
    let honest = good().header("alg", "RS256").signed_with_public_key(PublicKeyAs::Pem).unwrap();
    assert_eq!(verify(honest), Err(AuthnError::BadSignature));
}

#[test]
fn refuses_algorithms_outside_the_issuers_list() {
    let allows = |algorithm| IssuerConfig { algorithms: vec![Algorithm::RS256, algorithm], ..config() };
    let cases = [
        (Algorithm::RS384, "rsa-1"),
        (Algorithm::RS512, "rsa-1"),
        (Algorithm::PS256, "rsa-1"),
        (Algorithm::PS384, "rsa-1"),
        (Algorithm::PS512, "rsa-1"),
        (Algorithm::ES384, "ec-2"),
        (Algorithm::EdDSA, "ed-1"),
    ];
    for (algorithm, kid) in cases {
        let token = good().signed_by(kid).algorithm(algorithm.name()).sign().unwrap();
        assert_eq!(verify(token.as_str()), Err(AuthnError::AlgorithmNotAllowed), "{algorithm:?}");
        assert!(verify_with(allows(algorithm), token).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn refuses_an_algorithm_that_is_not_the_keys() {
    // Both are in the list; the key decides which of them it does.
    check(|token| token.header("alg", "ES256"), AuthnError::AlgorithmNotAllowed);
    check(|token| token.signed_by("ec-1").header("alg", "RS256"), AuthnError::AlgorithmNotAllowed);
    // The key set may narrow it further: this RSA key is for PS256.
    let narrowed = ISSUER.jwks().replace("\"kid\":\"rsa-1\"", "\"kid\":\"rsa-1\",\"alg\":\"PS256\"");
    let narrowed = || IssuerConfig {
        algorithms: vec![Algorithm::RS256, Algorithm::PS256],
        keys: Jwks::parse(&narrowed).unwrap().into(),
        ..config()
    };
    assert_eq!(verify_with(narrowed(), good().sign().unwrap()), Err(AuthnError::AlgorithmNotAllowed));
    assert!(verify_with(narrowed(), good().algorithm("PS256").sign().unwrap()).is_ok());
}

#[test]
fn takes_a_token_without_kid_only_if_one_key_fits() {
    assert!(verify(good().without_kid().sign().unwrap()).is_ok(), "one RSA key");
    let mut crowded = TokenIssuer::new(ISSUER.name(), &[("a", KeyKind::P256)]).unwrap();
    let token = crowded.token("ada").issued_at(NOW).without_kid().sign().unwrap();
    let with = |issuer: &TokenIssuer| IssuerConfig { keys: Jwks::parse(&issuer.jwks()).unwrap().into(), ..config() };
    assert!(verify_with(with(&crowded), token.as_str()).is_ok());
    crowded.add_key("b", KeyKind::P256).unwrap();
    assert_eq!(verify_with(with(&crowded), token.as_str()), Err(AuthnError::KeyNotNamed));
    let only_rsa = TokenIssuer::new(ISSUER.name(), &[("r", KeyKind::Rsa2048)]).unwrap();
    assert_eq!(verify_with(with(&only_rsa), token), Err(AuthnError::UnknownKey));
}

#[test]
fn refuses_a_tampered_payload() {
    for (claim, value) in
        [("sub", json!("admin")), ("exp", json!(1_900_000_000)), ("groups", json!(["kafka-operators"]))]
    {
        let hostile = good().tampered(claim, value).unwrap();
        check_pair(&good().sign().unwrap(), &hostile, AuthnError::BadSignature);
    }
}

#[test]
fn refuses_every_changed_byte_of_a_signature() {
    let token = good().signed_by("ec-1").sign().unwrap();
    let start = token.rfind('.').unwrap() + 1;
    for at in start..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(verify(String::from_utf8(bytes).unwrap()), Err(AuthnError::BadSignature), "byte {at}");
    }
    assert!(verify(token).is_ok());
}

#[test]
fn refuses_headers_that_would_change_the_meaning() {
    check(|token| token.header("crit", json!(["b64"])).header("b64", false), AuthnError::CriticalHeader);
    check(|token| token.header("crit", json!([])), AuthnError::CriticalHeader);
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", ""] {
        check(|token| token.header("typ", typ), AuthnError::WrongType);
    }
    check(|token| token.header("typ", json!(1)), AuthnError::Malformed);
    check(|token| token.header("kid", json!(1)), AuthnError::Malformed);
    check(|token| token.header("alg", json!(["RS256"])), AuthnError::Malformed);
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        assert!(verify(good().header("typ", typ).sign().unwrap()).is_ok(), "{typ}");
    }
}

#[test]
fn takes_no_key_from_the_token() {
    let theirs = STRANGER.token("checkout").issued_at(NOW).signed_by("ec-9");
    let keys: serde_json::Value = serde_json::from_str(&STRANGER.jwks()).unwrap();
    let embedded = theirs.clone().header("jwk", keys["keys"][1].clone()).header("jku", "https://evil.example.com/jwks");
    assert_eq!(verify(embedded.clone().sign().unwrap()), Err(AuthnError::UnknownKey));
    assert_eq!(verify(embedded.header("kid", "ec-1").sign().unwrap()), Err(AuthnError::BadSignature));
    // Control: the key is good where it is configured.
    let trusting = IssuerConfig { keys: Jwks::parse(&STRANGER.jwks()).unwrap().into(), ..config() };
    assert!(verify_with(trusting, theirs.sign().unwrap()).is_ok());
}

#[test]
fn refuses_a_key_that_stands_twice() {
    let twice = |member: &'static str| move |claims: String| claims.replacen('{', &format!("{{{member},"), 1);
    for member in [
        "\"exp\":1900000000",
        "\"sub\":\"admin\"",
        "\"aud\":\"kafka\"",
        "\"groups\":[\"kafka-operators\"]",
        "\"s\\u0075b\":\"admin\"",
        "\"other\":{\"a\":1,\"a\":2}",
    ] {
        check(|token| token.claims_text(twice(member)), AuthnError::DuplicateKey);
    }
    assert!(verify(good().claims_text(twice("\"other\":{\"a\":1,\"b\":2}")).sign().unwrap()).is_ok());
}

#[test]
fn refuses_what_is_no_token() {
    let token = good().sign().unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let cases = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        parts[..2].join("."),
        format!("{token}.x"),
        format!("{}.{token}", parts[0]),
        format!(" {token}"),
        token.replacen('.', "=.", 1),
        token.replacen('.', ".!", 1),
        format!("{}.{}.{}", parts[0], "W10", parts[2]),
    ];
    for hostile in cases {
        check_pair(&token, &hostile, AuthnError::Malformed);
    }
    for claims in ["[]", "null", "\"text\"", "", "{", "{}{}", "{\"sub\":\"\u{0}\"}"] {
        check(|token| token.claims_text(|_| claims.to_owned()), AuthnError::Malformed);
    }
    check(|token| token.claims_text(|_| "[".repeat(9_000)), AuthnError::Malformed);
}

#[test]
fn refuses_a_token_that_is_too_long() {
    let padded = |length: usize| good().claim("pad", "x".repeat(length)).sign().unwrap();
    assert!(padded(20_000).len() < TOKEN_BYTES_MAX);
    assert!(padded(24_500).len() > TOKEN_BYTES_MAX);
    check_pair(&padded(20_000), &padded(24_500), AuthnError::TokenTooLong);
}

#[test]
fn refuses_principals_that_are_no_names() {
    let invalid = AuthnError::PrincipalInvalid { path: "sub".to_owned() };
    for subject in
        [json!(""), json!("a\nb"), json!("a\u{0}"), json!("x".repeat(256)), json!(7), json!(null), json!(["a"])]
    {
        check(|token| token.claim("sub", subject.clone()), invalid.clone());
    }
    check(|token| token.claim("sub", "anonymous"), AuthnError::PrincipalReserved);
    assert!(verify(good().claim("sub", "x".repeat(255)).sign().unwrap()).is_ok());
}

#[test]
fn reads_principal_and_groups_where_the_configuration_says() {
    let keycloak = || IssuerConfig {
        principal_path: "preferred_username".to_owned(),
        groups_path: "realm_access.roles".to_owned(),
        ..config()
    };
    let token = good().claim("preferred_username", "ada").claim("realm_access", json!({ "roles": ["fraud-desk"] }));
    let authenticated = verify_with(keycloak(), token.sign().unwrap()).unwrap();
    assert_eq!(authenticated.principal.id, "ada");
    assert_eq!(authenticated.principal.groups, ["fraud-desk"]);
    let absent = AuthnError::PrincipalInvalid { path: "preferred_username".to_owned() };
    assert_eq!(verify_with(keycloak(), good().sign().unwrap()), Err(absent));
    let guess = token.claim("realm_access", json!({ "roles": { "fraud-desk": true } }));
    let invalid = AuthnError::GroupsInvalid { path: "realm_access.roles".to_owned() };
    assert_eq!(verify_with(keycloak(), guess.sign().unwrap()), Err(invalid));
}

#[test]
fn one_string_is_one_group() {
    let groups = |value| verify(good().claim("groups", value).sign().unwrap()).unwrap().principal.groups;
    assert_eq!(groups(json!("checkout fraud-desk,admin")), ["checkout fraud-desk,admin"]);
    assert_eq!(groups(json!(["checkout", "fraud-desk"])), ["checkout", "fraud-desk"]);
    assert!(verify(good().without("groups").sign().unwrap()).unwrap().principal.groups.is_empty());
}

#[test]
fn a_client_acts_as_its_own_principal_only() {
    let identity = Identity::new(vec![config()], SKEW, SESSION_MAX).unwrap();
    let token = good().sign().unwrap();
    let verify = |gs2: &str| {
        let message = format!("{gs2}\x01auth=Bearer {token}\x01\x01");
        identity.verify(&parse_client_initial(message.as_bytes()).unwrap(), NOW).map(|ok| ok.principal.id)
    };
    assert_eq!(verify("n,,"), Ok("checkout".to_owned()));
    assert_eq!(verify("n,a=checkout,"), Ok("checkout".to_owned()));
    assert_eq!(verify("n,a=admin,"), Err(AuthnError::AuthzidMismatch));
    assert_eq!(verify("n,a=Checkout,"), Err(AuthnError::AuthzidMismatch));
}

#[test]
fn a_session_ends_with_its_token_or_at_the_limit_and_never_at_once() {
    let ends = |exp: i64| {
        let exp = u64::try_from(i64::try_from(NOW.as_secs()).unwrap() + exp).unwrap();
        let ends = verify(good().claim("exp", exp).sign().unwrap()).unwrap().expires_at;
        ends.checked_sub(NOW).unwrap().as_secs()
    };
    assert_eq!(ends(300), 300);
    assert_eq!(ends(3_600), 3_600);
    assert_eq!(ends(86_400), 3_600);
    assert_eq!(ends(1), 1);
    // Past, but within the skew: what is left of the skew, never 0, which a client would read as "without end".
    assert_eq!(ends(0), 30);
    assert_eq!(ends(-29), 1);
    let fraction = Identity::new(vec![config()], Duration::ZERO, SESSION_MAX).unwrap();
    let token = Token::new(good().claim("exp", NOW.as_secs() + 1).sign().unwrap());
    let late = NOW + Duration::from_micros(999_900);
    let ends = fraction.verify(&ClientInitial { token, authzid: None }, late).unwrap().expires_at;
    assert_eq!(ends, late + Duration::from_millis(1));
    let for_ever = good().claim("exp", u64::MAX).sign().unwrap();
    assert_eq!(verify(for_ever).unwrap().expires_at, NOW + SESSION_MAX);
}

#[test]
fn errors_hold_no_byte_of_the_token() {
    let token = good().claim("sub", "s3cr3t\n").sign().unwrap();
    let error = verify(token.as_str()).unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("s3cr3t") && !text.contains(token.split('.').next().unwrap()), "{text}");
    }
}
