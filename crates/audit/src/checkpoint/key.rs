//! The keys of checkpoints: Ed25519, each bound to the one log whose origin is its name.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::note::{Note, NoteSignature};
use super::verifier::{KeyError, VerifierKey};
use super::{Checkpoint, SignatureFault, SignedCheckpoint};
use crate::ids::ChainId;
use crate::prune::Prune;

/// Signs the checkpoints of one log. Its `Debug` shows the public part alone.
#[derive(Clone)]
pub struct CheckpointKey {
    pair: Arc<Ed25519KeyPair>,
    chain: ChainId,
    verifier: VerifierKey,
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
        NoteSignature { name: self.verifier.name().to_owned(), key_id: self.verifier.id(), bytes }
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
