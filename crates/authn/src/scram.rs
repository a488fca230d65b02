//! SCRAM-SHA-256 and SCRAM-SHA-512, the client's side (RFC 5802, RFC 7677): weir's own login to the brokers.
//!
//! ```text
//!   client first   n,,n=weir,r=NONCE                         ClientFirst
//!   server first   r=NONCE+MORE,s=SALT,i=ITERATIONS          ──► Challenge
//!   client final   c=biws,r=NONCE+MORE,p=PROOF               Challenge::prove ──► ClientFinal
//!   server final   v=SIGNATURE                               ClientFinal::verify
//! ```
//!
//! The password itself is used once, to make a [`SaltedPassword`], which the caller may keep: it depends on salt and iterations alone.
//! As Kafka does, names and passwords are taken as UTF-8 without SASLprep.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Fewest iterations that are accepted: a server that asks for less makes stolen hashes cheap to guess (RFC 7677 section 4).
pub const SCRAM_ITERATIONS_MIN: u32 = 4096;

/// Most iterations that are accepted: the client pays for them. Kafka itself gives out at most 16,384 (KIP-554).
pub const SCRAM_ITERATIONS_MAX: u32 = 100_000;

/// Longest message of a server that is read, bytes. Kafka's have about 150.
pub const SCRAM_MESSAGE_BYTES_MAX: usize = 4096;

/// Longest digest, that of SHA-512, bytes.
const DIGEST_BYTES_MAX: usize = 64;

/// The GS2 header `n,,` (no channel binding, no other identity) in base64, which the final message repeats.
const GS2_HEADER_BASE64: &str = "biws";
const GS2_HEADER: &str = "n,,";

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramHash {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn sign(self, key: &[u8], message: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), message)
    }
}

/// Why a SCRAM login ends. Every cause is the server's; no message holds a byte of what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The message has another form.
    #[error("the SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// The server's nonce does not begin with the client's: an answer to somebody else.
    #[error("the SCRAM message answers another login: its nonce is not ours")]
    NonceMismatch,
    /// Too few or too many iterations.
    #[error("the server asks for {0} SCRAM iterations; accepted are {SCRAM_ITERATIONS_MIN} to {SCRAM_ITERATIONS_MAX}")]
    Iterations(u32),
    /// The server does not know the password: it is not the server that it seems to be.
    #[error("the server could not prove that it knows the password: its SCRAM signature is wrong")]
    SignatureMismatch,
    /// The server refused the proof.
    #[error("the server refused the SCRAM proof")]
    Refused,
}

/// The first message, and what is needed to read the answer to it.
pub struct ClientFirst {
    hash: ScramHash,
    /// `n=NAME,r=NONCE`
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// Begins a login. `nonce` is fresh for each: printable ASCII without commas.
    pub fn new(hash: ScramHash, username: &str, nonce: String) -> Self {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        Self { hash, bare: format!("n={name},r={nonce}"), nonce }
    }

    /// The message to send.
    pub fn message(&self) -> String {
        format!("{GS2_HEADER}{}", self.bare)
    }

    /// Reads the server's first message.
    ///
    /// # Errors
    ///
    /// [`ScramError`].
    pub fn challenge(self, server_first: &[u8]) -> Result<Challenge, ScramError> {
        let text = text(server_first)?;
        let mut fields = text.split(',');
        let nonce = field(&mut fields, "r=")?;
        let salt = field(&mut fields, "s=")?;
        let iterations = field(&mut fields, "i=")?;
        // A mandatory extension would come first, as `m=`, and is refused there; others may follow and mean nothing here.
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::NonceMismatch);
        }
        let salt = STANDARD.decode(salt).map_err(|_| ScramError::Malformed("the salt is not base64"))?;
        if salt.is_empty() {
            return Err(ScramError::Malformed("the salt is empty"));
        }
        let digits = !iterations.is_empty() && iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = if digits { iterations.parse().unwrap_or(u32::MAX) } else { 0 };
        if !(SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX).contains(&iterations) {
            return Err(ScramError::Iterations(iterations));
        }
        let iterations = NonZeroU32::new(iterations).ok_or(ScramError::Iterations(0))?;
        let final_bare = format!("c={GS2_HEADER_BASE64},r={nonce}");
        let auth_message = format!("{},{text},{final_bare}", self.bare);
        Ok(Challenge { hash: self.hash, salt, iterations, final_bare, auth_message })
    }
}

/// What the server asks for.
pub struct Challenge {
    hash: ScramHash,
    salt: Vec<u8>,
    iterations: NonZeroU32,
    final_bare: String,
    auth_message: String,
}

impl Challenge {
    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// How often the password is hashed.
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Answers with the password in the form that the challenge asks for.
    pub fn prove(self, salted: &SaltedPassword) -> ClientFinal {
        let client_key = self.hash.sign(salted.bytes(), b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let signature = self.hash.sign(stored_key.as_ref(), self.auth_message.as_bytes());
        let proof = client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign);
        let proof = STANDARD.encode(proof.collect::<Vec<_>>());
        let server_key = self.hash.sign(salted.bytes(), b"Server Key");
        let expected = self.hash.sign(server_key.as_ref(), self.auth_message.as_bytes());
        ClientFinal { message: format!("{},p={proof}", self.final_bare), expected }
    }
}

/// The last message, and the signature that must answer it.
pub struct ClientFinal {
    message: String,
    expected: hmac::Tag,
}

impl ClientFinal {
    /// The message to send.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Checks that the server knows the password too.
    ///
    /// # Errors
    ///
    /// [`ScramError`].
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = text(server_final)?;
        let mut fields = text.split(',');
        let first = fields.next().unwrap_or_default();
        if first.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let signature = first.strip_prefix("v=").ok_or(ScramError::Malformed("no signature"))?;
        let signature = STANDARD.decode(signature).map_err(|_| ScramError::Malformed("the signature is not base64"))?;
        constant_time::verify_slices_are_equal(&signature, self.expected.as_ref())
            .map_err(|_| ScramError::SignatureMismatch)
    }
}

/// A password hashed with a salt, which takes milliseconds and is as good as the password for one user of one cluster.
#[derive(Clone)]
pub struct SaltedPassword {
    bytes: Zeroizing<[u8; DIGEST_BYTES_MAX]>,
    len: usize,
}

impl SaltedPassword {
    /// Hashes the password.
    pub fn new(hash: ScramHash, password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let len = hash.digest().output_len();
        let mut bytes = Zeroizing::new([0; DIGEST_BYTES_MAX]);
        if let Some(out) = bytes.get_mut(..len) {
            pbkdf2::derive(hash.pbkdf2(), iterations, salt, password.as_bytes(), out);
        }
        Self { bytes, len }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// These show no byte of what they hold.
macro_rules! opaque {
    ($($name:ident),+) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })+
    };
}

opaque!(ClientFirst, Challenge, ClientFinal, SaltedPassword);

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > SCRAM_MESSAGE_BYTES_MAX {
        return Err(ScramError::Malformed("it is too long"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("it is not UTF-8"))
}

/// The next field, which must be that one: the order is fixed (RFC 5802 section 5.1).
fn field<'a>(fields: &mut impl Iterator<Item = &'a str>, name: &str) -> Result<&'a str, ScramError> {
    let field = fields.next().ok_or(ScramError::Malformed("a field is missing"))?;
    field.strip_prefix(name).ok_or(ScramError::Malformed("a field is not the one that belongs there"))
}
