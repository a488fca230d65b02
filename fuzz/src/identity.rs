//! What clients say about themselves, and keys of issuers.

use std::num::NonZeroU32;
use std::time::Duration;

use weir_authn::{
    Algorithm, AuthnError, ClientFirst, ClientInitial, Identity, IssuerConfig, IssuerKeys, Jwks, SaltedPassword,
    ScramHash, Token, parse_client_initial,
};

/// A published Ed25519 key. Nobody here can sign with it, so no token may be accepted.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A client initial response has one reading: its token and identity stand in it. `message`
pub(crate) fn oauthbearer(data: &[u8]) -> bool {
    let Ok(initial) = parse_client_initial(data) else { return false };
    let token = initial.token.expose().as_bytes();
    assert!(!token.is_empty() && data.windows(token.len()).any(|part| part == token));
    assert!(data.starts_with(b"n,") && data.ends_with(b"\x01\x01"));
    true
}

/// No token passes without its signature. `token`
pub(crate) fn token(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let config = IssuerConfig {
        issuer: "https://sso.example.com".to_owned(),
        audience: vec!["kafka".to_owned()],
        algorithms: vec![Algorithm::EdDSA],
        principal_path: "sub".to_owned(),
        groups_path: "groups".to_owned(),
        keys: IssuerKeys::Given(Jwks::parse(KEYS).unwrap()),
    };
    let identity = Identity::new(vec![config], Duration::from_secs(30), Duration::from_secs(3600)).unwrap();
    let initial = ClientInitial { token: Token::new(text), authzid: None };
    let refused = identity.verify(&initial, Duration::from_secs(1_800_000_000)).unwrap_err();
    !matches!(refused, AuthnError::Malformed)
}

/// A key set. `document`
pub(crate) fn jwks(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(keys) = Jwks::parse(text) else { return false };
    assert!(!keys.is_empty() && keys.len() <= weir_authn::JWKS_KEYS_MAX);
    assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
    true
}

/// A broker's two messages; none proves that it knows the password. `[end of the first, first…, second…]`
pub(crate) fn scram(data: &[u8]) -> bool {
    let Some((&end, messages)) = data.split_first() else { return false };
    let (first, last) = messages.split_at(messages.len().min(usize::from(end)));
    let hash = if first.len() % 2 == 0 { ScramHash::Sha256 } else { ScramHash::Sha512 };
    let Ok(challenge) = ClientFirst::new(hash, "weir", "fyko+d2lbbFgONRv9qkxdawL".to_owned()).challenge(first) else {
        return false;
    };
    assert!(!challenge.salt().is_empty() && challenge.iterations().get() >= weir_authn::SCRAM_ITERATIONS_MIN);
    // Hashed once instead of thousands of times: the messages are what is tried here.
    let password = SaltedPassword::new(hash, "pencil", challenge.salt(), NonZeroU32::MIN);
    assert!(challenge.prove(&password).verify(last).is_err());
    true
}
