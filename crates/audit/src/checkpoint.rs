//! Signed checkpoints: what the log held when somebody with the key said so, in a form that other tools read.
//!
//! A checkpoint is a signed note of C2SP (`signed-note`, `tlog-checkpoint`): three lines, an empty one, and a line for each signature.
//!
//! ```text
//! weir/audit/0707…                origin, which is the name of the key too
//! 4                               number of entries
//! N4m7IsTG…=                      root of the tree over them, base64
//!
//! — weir/audit/0707… 3q2+7wAA…    base64 of the key's id and its signature of the three lines
//! ```

mod anchors;
mod kept;
mod key;
mod note;
mod signer;
mod trust;
mod verifier;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::chain::ChainState;
use crate::hash::Hash;
use crate::ids::ChainId;

pub use anchors::{AnchorReader, COLLECTED_LINE_BYTES_MAX};
pub use kept::KeptCheckpoint;
pub use key::{CheckpointKey, prune_signed_by};
pub use note::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, NoteError};
pub use signer::{Signer, SignerError};
pub use trust::{TRUSTED_KEYS_MAX, TrustError, TrustedKeys};
pub use verifier::{KeyError, KeyId, VerifierKey};

use note::{Note, NoteSignature};

/// How many entries a log has, and the root over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The chain.
    pub chain: ChainId,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// A checkpoint and the note that says it. That the note is well-formed says nothing about its signatures: ask
/// [`SignedCheckpoint::signed_by`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// Text that is no signed checkpoint of a weir log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The first line is not the origin of a chain.
    #[error("the first line is not the origin of a weir log")]
    Origin,
    /// The second line is not a number of entries.
    #[error("the second line is not a number of entries")]
    Size,
    /// The third line is not a root.
    #[error("the third line is not 32 bytes in base64")]
    Root,
    /// Further lines, which a weir log never signs.
    #[error("text follows the root")]
    LeftOver,
}

/// What is wrong with the signatures of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// None is by a known key of its log.
    #[error("no signature is by a known key")]
    UnknownKey,
    /// One names a known key and is not by it.
    #[error("a signature names a known key and is not by it")]
    Bad,
}

impl Checkpoint {
    /// The checkpoint of a log as it stands.
    #[must_use]
    pub fn of(state: &ChainState) -> Self {
        Self { chain: state.chain, size: state.head.size(), root: state.head.frontier.root() }
    }

    /// The three lines that are signed.
    #[must_use]
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.chain.origin(), self.size, STANDARD.encode(self.root.0))
    }
}

impl SignedCheckpoint {
    fn new(checkpoint: Checkpoint, signature: NoteSignature) -> Self {
        Self { checkpoint, note: Note { text: checkpoint.body(), signatures: vec![signature] } }
    }

    /// What is said.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// Which of these keys signed it, as its place among them. Keys of other logs are passed over: a key's name must be the origin.
    ///
    /// # Errors
    /// When none did, and when a signature that claims to be by one of them is not, whatever others there are.
    pub fn signed_by(&self, keys: &[VerifierKey]) -> Result<usize, SignatureFault> {
        self.note.signed_by(&self.checkpoint.chain.origin(), keys)
    }

    /// The ids of the keys that its signatures of this log claim to be by.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        let origin = self.checkpoint.chain.origin();
        self.note.signatures.iter().filter(move |signature| signature.name == origin).map(|signature| signature.key_id)
    }
}

/// The note.
impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.note, f)
    }
}

impl FromStr for SignedCheckpoint {
    type Err = CheckpointError;

    /// Reads exactly one note, all of the text.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let note: Note = text.parse()?;
        let mut lines = note.text.split_inclusive('\n').map(|line| line.strip_suffix('\n').unwrap_or(line));
        let mut line = || lines.next().unwrap_or_default();
        let chain = line().strip_prefix(crate::ids::ORIGIN_PREFIX).and_then(|chain| chain.parse().ok());
        let chain: ChainId = chain.ok_or(CheckpointError::Origin)?;
        let size = line();
        // One number has one text: no sign, no leading zero.
        let number = size.parse::<u64>().ok().filter(|number| number.to_string() == size);
        let number = number.ok_or(CheckpointError::Size)?;
        let root = STANDARD.decode(line()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(CheckpointError::Root)?;
        let checkpoint = Checkpoint { chain, size: number, root: Hash(root) };
        // Written again and compared, so that one checkpoint has one text.
        if checkpoint.body() != note.text {
            return Err(CheckpointError::LeftOver);
        }
        Ok(Self { checkpoint, note })
    }
}
