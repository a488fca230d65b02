//! The audit log of weir without its disk: what an entry is, how it is encoded, how entries are chained and hashed into a tree, who
//! may say that one was recorded, and how a stored log is checked.
//!
//! Everything here is sans-IO: time, bytes and randomness are arguments.
//!
//! ```text
//! session ──(Ticket, Commit)──► Committer ──SinkBatch──► EntrySink (RocksDB, or memory in tests)
//!    ▲                              │                        │
//!    └────────── Receipt ◄──────────┘◄───── Ok = durable ────┘
//! ```
//!
//! ```
//! use weir_audit::{ChainId, ChainState, Commit, Committer, ConnectionId, EntryBody, EventId, Kind, MemorySink, Ticket};
//!
//! let mut committer = Committer::open(MemorySink::default(), ChainState::new(ChainId([7; 16])));
//! let body = EntryBody::new(Kind::Boot, EventId::new(1_700_000_000_000, [0; 10]), 1_700_000_000_000_000_000);
//! let ticket = Ticket::new(ConnectionId(0), 1);
//! let committed = committer.commit(vec![(ticket, Commit::Entry { entry: body, closes: vec![] })]);
//! assert_eq!(committed.receipts.first().map(|receipt| receipt.ticket()), Some(ticket));
//! ```

pub mod cbor;
pub mod chain;
pub mod checkpoint;
pub mod tree;
pub mod verify;

mod committer;
mod dwell;
mod entry;
mod group;
mod hash;
mod ids;
mod memory;
mod merger;
mod prune;
mod text;
mod view;

pub use chain::{ChainState, Head, HeadNote, HeadNoteError};
pub use checkpoint::{Checkpoint, CheckpointKey, KeptCheckpoint, SignedCheckpoint, Signer, VerifierKey};
pub use committer::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BatchFault, Commit, Committed, Committer, EntrySink, Receipt, SealedEntry,
    SinkBatch,
};
pub use dwell::Dwell;
pub use entry::{
    ClientRef, Decision, ENTRY_BYTES_MAX, Entry, EntryBody, EntryError, IntentRow, Kind, Outcome, Part, PrincipalKind,
    PrincipalRef, Producer, RuleHit, Split,
};
pub use group::{GroupCommit, Step, UNAWAITED_MAX};
pub use hash::Hash;
pub use ids::{ChainId, ConnectionId, EventId, IdError, IntentId, SessionId, Ticket};
pub use memory::{MemorySink, MemorySinkError};
pub use merger::{AFTER_LOGIN_ROWS_MAX, BEFORE_LOGIN_ROWS_MAX, MERGE_WINDOW, Merger};
pub use prune::{Cut, PRUNE_STEP, Prune};
pub use text::{TEXT_BYTES_MAX, clip_text};
pub use view::{EntryView, rfc3339};
