//! Public keys of checkpoints, as they stand in a trust file.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::ids::write_hex;

/// Names a key within its log: the first four bytes of SHA-256(name || 0x0A || 0x01 || public key). Displays as 8 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

/// A public key with its name, as it stands in a trust file: `name+id+base64(0x01 || public key)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    public: [u8; 32],
}

/// Text that is no verifier key, or bytes that are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `name+id+base64`.
    #[error("a verifier key is `name+id+base64`")]
    Form,
    /// Another algorithm, or another length than it has.
    #[error("the key is not of Ed25519")]
    Algorithm,
    /// The id is another key's.
    #[error("the id does not belong to the name and the key")]
    Id,
    /// The library refused the seed.
    #[error("these bytes are not the seed of an Ed25519 key")]
    Seed,
}

impl VerifierKey {
    pub(super) fn new(name: String, public: [u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(name.as_bytes());
        hasher.update([b'\n', ED25519_TYPE]);
        hasher.update(public);
        let hash: [u8; 32] = hasher.finalize().into();
        let [a, b, c, d, ..] = hash;
        Self { name, id: KeyId([a, b, c, d]), public }
    }

    /// The name of the key: the origin of its log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether this key made this signature of this text.
    #[must_use]
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(text, signature).is_ok()
    }
}

/// As in a trust file.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([[ED25519_TYPE].as_slice(), &self.public].concat());
        write!(f, "{}+{}+{encoded}", self.name, self.id)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
        let (id, encoded) = rest.split_once('+').ok_or(KeyError::Form)?;
        if !is_key_name(name) {
            return Err(KeyError::Form);
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Form)?;
        let Some((&ED25519_TYPE, public)) = bytes.split_first() else { return Err(KeyError::Algorithm) };
        let key = Self::new(name.to_owned(), public.try_into().map_err(|_| KeyError::Algorithm)?);
        if id == key.id.to_string() { Ok(key) } else { Err(KeyError::Id) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of Ed25519 among the signature types of signed notes.
const ED25519_TYPE: u8 = 1;

/// Whether a key may have this name: something, without white space or plus signs.
pub(super) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|character: char| character.is_whitespace() || character == '+')
}
