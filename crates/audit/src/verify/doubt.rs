//! Why nothing is proven although nothing is wrong.

use std::fmt;

use crate::checkpoint::KeyId;

/// What keeps a log without findings from being proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// There is nothing to prove.
    Empty,
    /// No checkpoint that a known key signed covers any entry that is there.
    NoCheckpoint,
    /// Collected checkpoints were asked for, and none covers any entry that is there.
    NoAnchor {
        /// Collected checkpoints of this log.
        own: u64,
        /// Of others.
        others: u64,
    },
    /// Collected checkpoints are there, and none is kept with the log.
    NotKept,
    /// More entries follow the newest checkpoint than there ever are.
    Tail {
        /// How many.
        entries: u64,
    },
    /// Collected checkpoints lie before the first entry that is left, and what is left says nothing of them.
    Pruned {
        /// How many.
        checkpoints: u64,
        /// The first entry that is left.
        first: u64,
    },
    /// The newest checkpoint is not by the last key of the trust file.
    OlderKey {
        /// Which signed it.
        signed: KeyId,
        /// Which comes last.
        last: KeyId,
    },
    /// The trust file has keys of several logs, and nobody said which of them this should be.
    WhichLog {
        /// How many.
        logs: u64,
    },
    /// Collected lines speak of checkpoints that could not be read out of them.
    Lines {
        /// How many checkpoints.
        checkpoints: u64,
        /// Where the first of them is.
        first: String,
    },
}

impl Doubt {
    /// The word in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "EMPTY",
            Self::NoCheckpoint => "NO_CHECKPOINT",
            Self::NoAnchor { .. } => "NO_ANCHOR",
            Self::NotKept => "NOT_KEPT",
            Self::Tail { .. } => "LONG_TAIL",
            Self::Pruned { .. } => "NOT_COMPARED",
            Self::OlderKey { .. } => "OLDER_KEY",
            Self::WhichLog { .. } => "WHICH_LOG",
            Self::Lines { .. } => "UNREADABLE_LINES",
        }
    }
}

/// One line, without the class.
impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the log has no entries"),
            Self::NoCheckpoint => {
                write!(f, "no checkpoint that a known key signed says how many entries there should be")
            }
            Self::NoAnchor { own, others } => {
                write!(f, "no collected checkpoint covers the entries ({own} of this log, {others} of others)")
            }
            Self::NotKept => write!(
                f,
                "no checkpoint is kept with the log, and weir always keeps one: it was taken away, or not copied"
            ),
            Self::Tail { entries } => write!(
                f,
                "the newest {entries} entries are in no checkpoint, more than weir ever leaves: checkpoints are gone, or could not be made"
            ),
            Self::Pruned { checkpoints: 1, first } => write!(
                f,
                "1 collected checkpoint lies before entry {first}, where the log begins since it was pruned: not compared"
            ),
            Self::Pruned { checkpoints, first } => write!(
                f,
                "{checkpoints} collected checkpoints lie before entry {first}, where the log begins since it was pruned: not compared"
            ),
            Self::OlderKey { signed, last } => write!(
                f,
                "the newest checkpoint is by key {signed}, and the last key of the trust file is {last}: the log is from before that key \
                 was used, or its change of keys was left out"
            ),
            Self::WhichLog { logs } => {
                write!(f, "the trust file has keys of {logs} logs, and which of them should be here was not said")
            }
            Self::Lines { checkpoints: 1, first } => {
                write!(f, "1 collected checkpoint could not be read: {first}")
            }
            Self::Lines { checkpoints, first } => {
                write!(f, "{checkpoints} collected checkpoints could not be read, the first at {first}")
            }
        }
    }
}
