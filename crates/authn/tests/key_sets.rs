//! Key sets: what is taken, what is left out, what is refused; and the configuration of issuers.

#![expect(clippy::indexing_slicing, reason = "test code")]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};
use weir_authn::{Algorithm, ClientInitial, Identity, IdentityError, IssuerConfig, Jwks, JwksError, Token};
use weir_testkit::{KeyKind, TokenIssuer};

/// The published form of an Ed25519 key, to be changed.
fn jwk() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "use": "sig", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

fn rsa(bytes: usize, exponent: &str) -> Value {
    let mut modulus = vec![0xFF_u8; bytes];
    modulus.insert(0, 0);
    json!({ "kty": "RSA", "kid": "r", "n": URL_SAFE_NO_PAD.encode(&modulus), "e": exponent })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut key = jwk();
    for (member, value) in changes {
        key[*member] = value.clone();
    }
    key
}

fn check(keys: &[Value], expected: Result<usize, JwksError>) {
    let set = json!({ "keys": keys }).to_string();
    assert_eq!(Jwks::parse(&set).map(|jwks| jwks.len()), expected, "{set}");
}

#[test]
fn takes_the_keys_that_sign_and_leaves_out_the_others() {
    check(&[jwk()], Ok(1));
    check(&[rsa(256, "AQAB")], Ok(1));
    check(&[rsa(256, "AQAB"), with(&[("kid", json!("b"))])], Ok(2));
    let left_out = [
        with(&[("use", json!("enc"))]),
        with(&[("alg", json!("RSA-OAEP"))]),
        with(&[("key_ops", json!(["encrypt"]))]),
        with(&[("crv", json!("X25519"))]),
        with(&[("kty", json!("AKP"))]),
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }),
    ];
    for key in left_out {
        check(std::slice::from_ref(&key), Err(JwksError::NoKeys));
        check(&[key, with(&[("kid", json!("good"))])], Ok(1));
    }
    check(&[with(&[("key_ops", json!(["verify"]))]), rsa(256, "Aw")], Ok(2));
}

#[test]
fn refuses_keys_that_are_not_for_publishing() {
    check(&[json!({ "kty": "oct", "k": "c2VjcmV0" })], Err(JwksError::SharedSecret { number: 1 }));
    check(&[jwk(), with(&[("alg", json!("HS256"))])], Err(JwksError::SharedSecret { number: 2 }));
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        check(&[with(&[(member, json!("AA"))])], Err(JwksError::PrivateKey { number: 1 }));
    }
}

#[test]
fn refuses_two_keys_of_one_id() {
    check(&[jwk(), rsa(256, "AQAB"), jwk()], Err(JwksError::DuplicateKid { number: 3 }));
    // A key for encryption is no key here.
    check(&[jwk(), with(&[("use", json!("enc"))])], Ok(1));
    let mut nameless = jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    check(&[nameless.clone(), nameless], Ok(2));
}

#[test]
fn refuses_keys_that_are_not_what_their_type_demands() {
    let weak = |keys: &[Value], part: &str| {
        let error = Jwks::parse(&json!({ "keys": keys }).to_string()).unwrap_err();
        assert!(matches!(error, JwksError::Invalid { number: 1, .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    };
    weak(&[rsa(128, "AQAB")], "at least 2048 bits");
    weak(&[rsa(255, "AQAB")], "at least 2048 bits");
    weak(&[rsa(1025, "AQAB")], "at most 8192 bits");
    for exponent in ["AQ", "Ag", "", "AQAAAAAB"] {
        weak(&[rsa(256, exponent)], "exponent");
    }
    weak(&[with(&[("x", json!("AA"))])], "wrong length");
    weak(&[with(&[("x", json!("!"))])], "not base64url");
    weak(&[with(&[("x", json!(7))])], "must be text");
    weak(&[with(&[("alg", json!("RS256"))])], "does not fit");
    weak(&[json!({ "kty": "EC", "x": "AA", "y": "AA" })], "no `crv`");
    weak(&[json!({ "kid": "a" })], "no `kty`");
    weak(&[json!("key")], "not an object");
}

#[test]
fn refuses_what_is_no_key_set() {
    for text in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]} x", "null"] {
        assert_eq!(Jwks::parse(text).unwrap_err(), JwksError::NotAKeySet, "{text}");
    }
    check(&[], Err(JwksError::NoKeys));
    assert_eq!(Jwks::parse("{\"keys\":[],\"keys\":[]}").unwrap_err(), JwksError::DuplicateMember);
    check(&vec![jwk(); 101], Err(JwksError::TooManyKeys));
    assert_eq!(Jwks::parse(&" ".repeat(1024 * 1024 + 1)).unwrap_err(), JwksError::TooLong);
}

#[test]
fn refuses_issuers_that_accept_too_much_or_nothing() {
    let jwks = Jwks::parse(&json!({ "keys": [jwk()] }).to_string()).unwrap();
    let good = || IssuerConfig {
        issuer: "i".to_owned(),
        audience: vec!["kafka".to_owned()],
        algorithms: vec![Algorithm::EdDSA],
        principal_path: "sub".to_owned(),
        groups_path: "groups".to_owned(),
        keys: jwks.clone().into(),
    };
    let check = |issuers: Vec<IssuerConfig>, expected: Option<IdentityError>| {
        let made = Identity::new(issuers, Duration::from_secs(30), Duration::from_secs(1));
        assert_eq!(made.err(), expected);
    };
    let issuer = || "i".to_owned();
    check(vec![], None);
    check(vec![good(), IssuerConfig { issuer: "j".to_owned(), ..good() }], None);
    check(vec![good(), good()], Some(IdentityError::DuplicateIssuer { issuer: issuer() }));
    check(vec![IssuerConfig { issuer: String::new(), ..good() }], Some(IdentityError::EmptyIssuer));
    for audience in [vec![], vec![String::new()]] {
        check(vec![IssuerConfig { audience, ..good() }], Some(IdentityError::NoAudience { issuer: issuer() }));
    }
    check(vec![IssuerConfig { algorithms: vec![], ..good() }], Some(IdentityError::NoAlgorithms { issuer: issuer() }));
    check(
        vec![IssuerConfig { algorithms: vec![Algorithm::RS256], ..good() }],
        Some(IdentityError::NoKeyFits { issuer: issuer() }),
    );
    for path in ["", "a..b", "a\\x"] {
        let expected = Some(IdentityError::PathInvalid { path: path.to_owned() });
        check(vec![IssuerConfig { principal_path: path.to_owned(), ..good() }], expected.clone());
        check(vec![IssuerConfig { groups_path: path.to_owned(), ..good() }], expected);
    }
    let no_time = Identity::new(vec![good()], Duration::from_secs(30), Duration::ZERO);
    assert_eq!(no_time.err(), Some(IdentityError::SessionMaxZero));
}

proptest! {
    #[test]
    fn noise_never_panics(noise in ".{0,200}") {
        prop_assert!(Jwks::parse(&noise).is_err());
    }

    #[test]
    fn changed_tokens_are_never_accepted(at in 0_usize..2_000, byte in 0x21_u8..0x7F) {
        let issuer = TokenIssuer::new("i", &[("e", KeyKind::Ed25519)]).unwrap();
        let now = Duration::from_secs(1_800_000_000);
        let config = IssuerConfig {
            issuer: "i".to_owned(),
            audience: vec!["kafka".to_owned()],
            algorithms: vec![Algorithm::EdDSA],
            principal_path: "sub".to_owned(),
            groups_path: "groups".to_owned(),
            keys: Jwks::parse(&issuer.jwks()).unwrap().into(),
        };
        let identity = Identity::new(vec![config], Duration::ZERO, Duration::from_secs(60)).unwrap();
        let verify = |token: &str| identity.verify(&ClientInitial { token: Token::new(token), authzid: None }, now);
        let good = issuer.token("ada").issued_at(now).sign().unwrap();
        let mut changed = good.clone().into_bytes();
        let at = at % changed.len();
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert!(verify(&good).is_ok());
        prop_assert_eq!(verify(&changed).is_ok(), changed == good);
    }
}
