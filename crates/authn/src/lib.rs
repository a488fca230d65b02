#![doc = include_str!("../README.md")]
//!
//! ```
//! use std::time::Duration;
//! use weir_authn::{AuthnError, Identity, parse_client_initial};
//!
//! let initial = parse_client_initial(b"n,,\x01auth=Bearer eyJh.eyJz.c2ln\x01\x01")?;
//! assert_eq!(format!("{:?}", initial.token), "Token(14 bytes)");
//!
//! // No issuer is configured, so no token is good enough.
//! let identity = Identity::new(Vec::new(), Duration::from_secs(30), Duration::from_secs(3600))?;
//! let refused = identity.verify(&initial, Duration::from_secs(1_700_000_000));
//! assert!(matches!(refused, Err(AuthnError::Malformed)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
mod claims;
mod error;
mod identity;
mod initial;
mod jwks;
mod principal;
mod scram;
mod strict_json;
mod token;

pub use algorithm::{Algorithm, AlgorithmError};
pub use claims::ClaimPath;
pub use error::AuthnError;
pub use identity::{Authenticated, Identity, IdentityError, IssuerConfig, IssuerKeys, Verdict};
pub use initial::{CLIENT_INITIAL_BYTES_MAX, ClientInitial, EXTENSIONS_MAX, SaslError, parse_client_initial};
pub use jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, Jwks, JwksError, RSA_BITS_MAX, RSA_BITS_MIN};
pub use principal::{GROUP_BYTES_MAX, GROUPS_MAX, Mechanism, PRINCIPAL_BYTES_MAX, Principal};
pub use scram::{
    Challenge, ClientFinal, ClientFirst, SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, SCRAM_MESSAGE_BYTES_MAX,
    SaltedPassword, ScramError, ScramHash,
};
pub use token::{TOKEN_BYTES_MAX, Token};
