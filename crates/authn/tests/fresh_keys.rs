//! Issuers whose keys are fetched: which tokens could be saved by fresh keys, and what fresh keys may replace.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use weir_authn::{
    Algorithm, AuthnError, ClientInitial, Identity, IdentityError, IssuerConfig, IssuerKeys, Jwks, Token, Verdict,
};
use weir_testkit::{KeyKind, TokenBuilder, TokenIssuer};

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn issuer(id: &str) -> TokenIssuer {
    TokenIssuer::new("https://issuer.test", &[(id, KeyKind::P256)]).unwrap()
}

fn jwks(issuer: &TokenIssuer) -> Jwks {
    Jwks::parse(&issuer.jwks()).unwrap()
}

fn identity(keys: IssuerKeys) -> Identity {
    let config = IssuerConfig {
        issuer: "https://issuer.test".to_owned(),
        audience: vec!["kafka".to_owned()],
        algorithms: vec![Algorithm::ES256],
        principal_path: "sub".to_owned(),
        groups_path: "groups".to_owned(),
        keys,
    };
    Identity::new(vec![config], Duration::from_secs(30), Duration::from_secs(3600)).unwrap()
}

fn initial(token: &TokenBuilder<'_>) -> ClientInitial {
    ClientInitial { token: Token::new(token.clone().sign().unwrap()), authzid: None }
}

/// What is made of a token: `Ok(true)` let in, `Ok(false)` to be asked about, or refused.
fn check(identity: &Identity, token: &TokenBuilder<'_>, expected: Result<bool, AuthnError>) {
    let told = match identity.judge(&initial(token), NOW) {
        Verdict::Accept(_) => Ok(true),
        Verdict::FetchKeys { issuer, otherwise } => {
            assert_eq!(issuer, "https://issuer.test");
            // Who cannot fetch refuses.
            assert_eq!(identity.verify(&initial(token), NOW), Err(otherwise));
            Ok(false)
        }
        Verdict::Refuse(error) => Err(error),
    };
    assert_eq!(told, expected);
}

#[test]
fn fresh_keys_are_for_tokens_that_they_could_save() {
    let (old, new, same) = (issuer("old"), issuer("new"), issuer("old"));
    let fetched = identity(IssuerKeys::Fetched(Some(jwks(&old))));
    check(&fetched, &old.token("ada").issued_at(NOW), Ok(true));
    check(&fetched, &new.token("ada").issued_at(NOW), Ok(false));
    // Another key under the old name.
    check(&fetched, &same.token("ada").issued_at(NOW), Ok(false));
    // The same tokens where there is nothing to fetch.
    let given = identity(jwks(&old).into());
    check(&given, &old.token("ada").issued_at(NOW), Ok(true));
    check(&given, &new.token("ada").issued_at(NOW), Err(AuthnError::UnknownKey));
    check(&given, &same.token("ada").issued_at(NOW), Err(AuthnError::BadSignature));
    // No key saves these.
    let late = old.token("ada").issued_at(NOW - Duration::from_secs(600));
    check(&fetched, &late, Err(AuthnError::Expired { ago: Duration::from_secs(300) }));
    check(&fetched, &old.token("ada").issued_at(NOW).audience("other"), Err(AuthnError::WrongAudience));
    let other = TokenIssuer::new("https://other.test", &[("new", KeyKind::P256)]).unwrap();
    check(&fetched, &other.token("ada").issued_at(NOW), Err(AuthnError::WrongIssuer));
    let rsa = TokenIssuer::new("https://issuer.test", &[("r", KeyKind::Rsa2048)]).unwrap();
    check(&fetched, &rsa.token("ada").issued_at(NOW), Err(AuthnError::AlgorithmNotAllowed));
}

#[test]
fn without_keys_nobody_is_let_in() {
    let none = identity(IssuerKeys::Fetched(None));
    let old = issuer("old");
    check(&none, &old.token("ada").issued_at(NOW), Ok(false));
    assert_eq!(none.verify(&initial(&old.token("ada").issued_at(NOW)), NOW), Err(AuthnError::NoKeys));
}

#[test]
fn fresh_keys_replace_those_before() {
    let (old, new) = (issuer("old"), issuer("new"));
    let before = identity(IssuerKeys::Fetched(Some(jwks(&old))));
    let after = before.with_keys("https://issuer.test", jwks(&new)).unwrap();
    check(&after, &new.token("ada").issued_at(NOW), Ok(true));
    check(&after, &old.token("ada").issued_at(NOW), Ok(false));
    // An identity is what it was.
    check(&before, &old.token("ada").issued_at(NOW), Ok(true));

    let rsa = TokenIssuer::new("https://issuer.test", &[("r", KeyKind::Rsa2048)]).unwrap();
    let name = || "https://issuer.test".to_owned();
    let unfit = before.with_keys("https://issuer.test", jwks(&rsa)).unwrap_err();
    assert_eq!(unfit, IdentityError::NoKeyFits { issuer: name() });
    let given = identity(jwks(&old).into()).with_keys("https://issuer.test", jwks(&new)).unwrap_err();
    assert_eq!(given, IdentityError::NotFetched { issuer: name() });
    let unknown = before.with_keys("https://issuer.test/", jwks(&new)).unwrap_err();
    assert_eq!(unknown, IdentityError::NotFetched { issuer: "https://issuer.test/".to_owned() });
}
