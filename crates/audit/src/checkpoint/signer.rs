//! Signs only what extends what was signed before.

use super::key::CheckpointKey;
use super::{Checkpoint, KeyError, SignatureFault, SignedCheckpoint};

/// A key with its memory.
///
/// That a larger checkpoint extends a smaller one follows from where they come from: both are of one chain state that only grows, and
/// whoever opened that state compared it with the last checkpoint. What can be told from two checkpoints alone is checked here.
#[derive(Clone, Debug)]
pub struct Signer {
    key: CheckpointKey,
    last: Option<SignedCheckpoint>,
}

/// Why a signer does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The log has fewer entries than were signed for.
    #[error("a checkpoint of {signed} entries was signed, and now the log has {size}")]
    Shorter {
        /// Entries of the last checkpoint.
        signed: u64,
        /// Entries now.
        size: u64,
    },
    /// As many entries, and others.
    #[error("another checkpoint of {size} entries was signed before")]
    Other {
        /// Entries of both.
        size: u64,
    },
    /// The checkpoint is another chain's.
    #[error("the checkpoint is another chain's")]
    Chain,
    /// The last checkpoint names this key and is not by it.
    #[error("the last checkpoint names the key of this log and is not by it")]
    NotOurs,
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Signer {
    /// A signer that goes on from the last checkpoint of its log, whoever signed that.
    ///
    /// # Errors
    /// When that is another chain's, or claims to be by this key and is not.
    pub fn new(key: CheckpointKey, last: Option<SignedCheckpoint>) -> Result<Self, SignerError> {
        if let Some(last) = &last {
            if last.checkpoint().chain != key.chain() {
                return Err(SignerError::Chain);
            }
            if last.signed_by(std::slice::from_ref(key.verifier())) == Err(SignatureFault::Bad) {
                return Err(SignerError::NotOurs);
            }
        }
        Ok(Self { key, last })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &CheckpointKey {
        &self.key
    }

    /// The last checkpoint.
    #[must_use]
    pub fn last(&self) -> Option<&SignedCheckpoint> {
        self.last.as_ref()
    }

    /// The last checkpoint, when another key than this one signed it: the key was changed since.
    #[must_use]
    pub fn last_by_another_key(&self) -> Option<&SignedCheckpoint> {
        self.last.as_ref().filter(|last| last.signed_by(std::slice::from_ref(self.key.verifier())).is_err())
    }

    /// Signs a checkpoint of the log as it stands.
    ///
    /// # Errors
    /// When it contradicts the last one.
    pub fn sign(&mut self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, SignerError> {
        if let Some(last) = self.last.as_ref().map(SignedCheckpoint::checkpoint) {
            if checkpoint.chain != last.chain {
                return Err(SignerError::Chain);
            }
            if checkpoint.size < last.size {
                return Err(SignerError::Shorter { signed: last.size, size: checkpoint.size });
            }
            if checkpoint.size == last.size && checkpoint.root != last.root {
                return Err(SignerError::Other { size: last.size });
            }
        }
        let signed = self.key.sign(checkpoint)?;
        self.last = Some(signed.clone());
        Ok(signed)
    }
}
