//! The public keys of an issuer: a JSON web key set (RFC 7517, RFC 7518 section 6, RFC 8037).

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::strict_json::{self, StrictError};

/// The keys of an issuer that can check a signature. Cheap to clone.
#[derive(Clone)]
pub struct Jwks {
    keys: Arc<[Key]>,
}

impl Jwks {
    /// Reads a key set. Keys that sign nothing weir accepts (for encryption, of another type or curve) are left out, as RFC 7517 section 5
    /// asks; keys that should not be in a published set are errors.
    ///
    /// # Errors
    ///
    /// `JwksError` names the key by its number in the set, from 1.
    pub fn parse(json: &str) -> Result<Self, JwksError> {
        if json.len() > JWKS_BYTES_MAX {
            return Err(JwksError::TooLong);
        }
        let set = strict_json::object(json.as_bytes()).map_err(|error| match error {
            StrictError::NotJson | StrictError::NotAnObject => JwksError::NotAKeySet,
            StrictError::DuplicateKey => JwksError::DuplicateMember,
        })?;
        let Some(Value::Array(items)) = set.get("keys") else { return Err(JwksError::NotAKeySet) };
        if items.len() > JWKS_KEYS_MAX {
            return Err(JwksError::TooManyKeys);
        }
        let mut keys: Vec<Key> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let number = at.saturating_add(1);
            let jwk = item.as_object().ok_or(JwksError::Invalid { number, what: "it is not an object" })?;
            let Some(key) = Key::parse(jwk, number)? else { continue };
            if key.id.is_some() && keys.iter().any(|other| other.id == key.id) {
                return Err(JwksError::DuplicateKid { number });
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(JwksError::NoKeys);
        }
        Ok(Self { keys: keys.into() })
    }

    /// How many keys of the set can check a signature.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never true: a set without a usable key is an error.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id.as_deref() == Some(id))
    }

    pub(crate) fn fitting(&self, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.fits(algorithm))
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwks({} keys)", self.len())
    }
}

/// Why a key set is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Longer than `JWKS_BYTES_MAX`.
    #[error("the key set is longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// Not a JSON object with an array `keys`.
    #[error("this is not a JSON web key set: it must be an object with a list `keys`")]
    NotAKeySet,
    /// An object of the set names a member twice.
    #[error("the key set names a member twice")]
    DuplicateMember,
    /// More than `JWKS_KEYS_MAX` keys.
    #[error("the key set has more than {JWKS_KEYS_MAX} keys")]
    TooManyKeys,
    /// A shared secret: whoever can check a signature could make one.
    #[error("key {number} of the set is a shared secret (`oct`, HS256): only public keys are accepted")]
    SharedSecret {
        /// Number of the key in the set, from 1.
        number: usize,
    },
    /// The private half of a key stands in a set that is meant to be public.
    #[error("key {number} of the set contains its private part: remove it, and replace the key")]
    PrivateKey {
        /// Number of the key in the set, from 1.
        number: usize,
    },
    /// Two keys have the same `kid`.
    #[error("key {number} of the set has the `kid` of an earlier key")]
    DuplicateKid {
        /// Number of the later key in the set, from 1.
        number: usize,
    },
    /// A key is not what its type demands.
    #[error("key {number} of the set is not valid: {what}")]
    Invalid {
        /// Number of the key in the set, from 1.
        number: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No key of the set can check a signature.
    #[error("the key set has no key for signatures")]
    NoKeys,
}

/// One key that can check signatures.
pub(crate) struct Key {
    id: Option<String>,
    kind: Kind,
    /// The one algorithm that the issuer allows for it, if it says so.
    only: Option<Algorithm>,
    verifier: DecodingKey,
}

impl Key {
    /// `None`: not a key for signatures that weir accepts.
    fn parse(jwk: &Map<String, Value>, number: usize) -> Result<Option<Self>, JwksError> {
        let invalid = |what| JwksError::Invalid { number, what };
        let kty = text(jwk, "kty").map_err(invalid)?.ok_or(invalid("it has no `kty`"))?;
        let alg = text(jwk, "alg").map_err(invalid)?;
        if kty == "oct" || alg.is_some_and(|alg| alg.starts_with("HS")) {
            return Err(JwksError::SharedSecret { number });
        }
        if PRIVATE_MEMBERS.iter().any(|member| jwk.contains_key(*member)) {
            return Err(JwksError::PrivateKey { number });
        }
        let id = text(jwk, "kid").map_err(invalid)?.map(str::to_owned);
        let only = alg.and_then(Algorithm::from_name);
        let for_signatures = text(jwk, "use").map_err(invalid)?.is_none_or(|usage| usage == "sig")
            && may_verify(jwk).map_err(invalid)?
            && (alg.is_none() || only.is_some());
        if !for_signatures {
            return Ok(None);
        }
        let crv = text(jwk, "crv").map_err(invalid)?;
        let (kind, verifier) = match (kty, crv) {
            ("RSA", _) => (Kind::Rsa, rsa(jwk).map_err(invalid)?),
            ("EC", Some("P-256")) => (Kind::P256, elliptic(jwk, 32).map_err(invalid)?),
            ("EC", Some("P-384")) => (Kind::P384, elliptic(jwk, 48).map_err(invalid)?),
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, edwards(jwk).map_err(invalid)?),
            ("EC" | "OKP", None) => return Err(invalid("it has no `crv`")),
            _ => return Ok(None),
        };
        if only.is_some_and(|algorithm| !kind.fits(algorithm)) {
            return Err(invalid("its `alg` does not fit its type"));
        }
        Ok(Some(Self { id, kind, only, verifier }))
    }

    /// Whether a signature by this key may be of that algorithm.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    pub(crate) fn verifier(&self) -> &DecodingKey {
        &self.verifier
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Kind {
    fn fits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => matches!(self, Self::Rsa),
            Algorithm::ES256 => matches!(self, Self::P256),
            Algorithm::ES384 => matches!(self, Self::P384),
            Algorithm::EdDSA => matches!(self, Self::Ed25519),
        }
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Result<Option<&'a str>, &'static str> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("a member that must be text is not"),
    }
}

fn bytes(jwk: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, &'static str> {
    let text = text(jwk, member)?.ok_or("a number of the key is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a number of the key is not base64url")
}

/// `key_ops`, when it is there, must have `verify` (RFC 7517 section 4.3).
fn may_verify(jwk: &Map<String, Value>) -> Result<bool, &'static str> {
    match jwk.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|operation| operation == "verify")),
        Some(_) => Err("`key_ops` is not a list"),
    }
}

fn rsa(jwk: &Map<String, Value>) -> Result<DecodingKey, &'static str> {
    let number = |member| {
        let bytes = bytes(jwk, member)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Ok(bytes.get(zeros..).unwrap_or_default().to_vec())
    };
    let (modulus, exponent) = (number("n")?, number("e")?);
    let first = modulus.first().copied().unwrap_or_default();
    let bits = modulus.len().saturating_mul(8).saturating_sub(usize::try_from(first.leading_zeros()).unwrap_or(0));
    if bits < RSA_BITS_MIN {
        return Err("an RSA key must have at least 2048 bits");
    }
    if bits > RSA_BITS_MAX {
        return Err("an RSA key must have at most 8192 bits");
    }
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !odd || exponent == [1] || exponent.len() > RSA_EXPONENT_BYTES_MAX {
        return Err("the exponent of an RSA key must be odd, above 1 and short");
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn elliptic(jwk: &Map<String, Value>, length: usize) -> Result<DecodingKey, &'static str> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err("a coordinate has the wrong length for its curve");
    }
    let uncompressed: Vec<u8> = [[0x04].as_slice(), &x, &y].concat();
    Ok(DecodingKey::from_ec_der(&uncompressed))
}

fn edwards(jwk: &Map<String, Value>) -> Result<DecodingKey, &'static str> {
    let x = bytes(jwk, "x")?;
    if x.len() != 32 {
        return Err("a coordinate has the wrong length for its curve");
    }
    Ok(DecodingKey::from_ed_der(&x))
}

/// Longest key set that is parsed, in bytes. Real ones have a few keys with certificates, under 32 KiB.
pub const JWKS_BYTES_MAX: usize = 1024 * 1024;

/// Most keys in a set. Issuers publish two to ten; the search for a key is linear.
pub const JWKS_KEYS_MAX: usize = 100;

/// Shortest RSA modulus, in bits (RFC 7518 section 3.3).
pub const RSA_BITS_MIN: usize = 2048;

/// Longest RSA modulus, in bits: what the verifier takes, and a bound on the work for one token.
pub const RSA_BITS_MAX: usize = 8192;

/// Longest RSA exponent, in bytes. Nearly all are 65537; a long one makes every verification slow.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// Members that only a private key has (RFC 7518 section 6).
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
