//! The keys of checkpoints: Ed25519, each bound to the one log whose origin is its name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::note::{Note, NoteSignature, is_key_name};
use super::{Checkpoint, SignatureFault, SignedCheckpoint};
use crate::ids::{ChainId, write_hex};
use crate::prune::Prune;

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

/// Signs the checkpoints of one log. Its `Debug` shows the public part alone.
#[derive(Clone)]
pub struct CheckpointKey {
    pair: Arc<Ed25519KeyPair>,
    chain: ChainId,
    verifier: VerifierKey,
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

impl CheckpointKey {
    /// The key of a log from its secret seed, 32 random bytes.
    ///
    /// # Errors
    /// When the library refuses it.
    pub fn from_seed(chain: ChainId, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Seed)?;
        Ok(Self { pair: Arc::new(pair), chain, verifier: VerifierKey::new(chain.origin(), public) })
    }

    /// The chain that it signs for.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// The public part.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs. It is the caller who vouches that the log holds what the checkpoint says; [`super::Signer`] also keeps that no two
    /// checkpoints contradict each other. The checkpoint's chain is this key's.
    ///
    /// # Errors
    /// When the checkpoint is another chain's.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, KeyError> {
        if checkpoint.chain != self.chain {
            return Err(KeyError::Id);
        }
        Ok(SignedCheckpoint::new(*checkpoint, self.signature(&checkpoint.body())))
    }

    /// Signs what [`Prune::statement`] says, as the note that a prune entry carries.
    #[must_use]
    pub fn sign_prune(&self, prune: &Prune) -> String {
        let text = prune_text(prune, &self.chain);
        Note { signatures: vec![self.signature(&text)], text }.to_string()
    }

    fn signature(&self, text: &str) -> NoteSignature {
        let bytes = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        NoteSignature { name: self.verifier.name.clone(), key_id: self.verifier.id, bytes }
    }
}

/// Which of these keys signed the note of a prune entry, as its place among them; `None` = there is no note.
///
/// # Errors
/// When the note says something else, or no key of this log signed it.
pub fn prune_signed_by(prune: &Prune, chain: &ChainId, keys: &[VerifierKey]) -> Result<Option<usize>, SignatureFault> {
    let Some(note) = &prune.note else { return Ok(None) };
    let note: Note = note.parse().map_err(|_| SignatureFault::Bad)?;
    if note.text != prune_text(prune, chain) {
        return Err(SignatureFault::Bad);
    }
    note.signed_by(&chain.origin(), keys).map(Some)
}

fn prune_text(prune: &Prune, chain: &ChainId) -> String {
    let (origin, size, root) = prune.statement(chain);
    format!("{origin}\n{size}\n{}\n", STANDARD.encode(root.0))
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointKey {{ {} }}", self.verifier)
    }
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
