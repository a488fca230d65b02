//! The audit log of weir on disk.
//!
//! [`Store`] is the [`EntrySink`](weir_audit::EntrySink) of the running gateway; [`Reader`] opens the same log read-only, while the gateway
//! runs or not.
//!
//! ```
//! use weir_audit::{Commit, Committer, ConnectionId, EntryBody, EventId, Kind, Ticket};
//! use weir_audit_store::{Query, Reader, Store};
//!
//! let data_dir = tempfile::tempdir()?;
//! let (store, opened) = Store::open(data_dir.path())?;
//! let mut signer = weir_audit_store::signer(data_dir.path(), opened.chain.chain, None, None)?;
//! let mut committer = Committer::open(store, opened.chain);
//! let entry = EntryBody::new(Kind::Boot, EventId::new(0, [0; 10]), 1);
//! let committed = committer.commit(vec![(Ticket::new(ConnectionId(0), 1), Commit::Entry { entry, closes: vec![] })]);
//! assert_eq!(committed.receipts.len(), 1);
//! committer.sink_mut().sync_checkpoint(&mut signer)?;
//!
//! let found = Reader::open_read_only(data_dir.path())?.query(&Query::default())?;
//! assert_eq!(found.rows.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod age;
mod begin;
mod checkpoints;
mod cut;
mod database;
mod disk;
mod error;
mod files;
mod index;
mod keys;
mod loss;
mod prune;
mod query;
mod reader;
mod store;

pub use age::{Age, Held, STEP_MAX};
pub use checkpoints::SPAN_ENTRIES;
pub use disk::{Ballast, Space, used_bytes};
pub use error::StoreError;
pub use files::CheckpointFile;
pub use keys::{Keys, checkpoint_seed, listed_keys, signer};
pub use loss::{AcceptedLoss, REASON_BYTES_MAX, accept_loss};
pub use prune::{Demand, PLAN_ENTRIES_MAX, PLAN_INDEX_ROWS_MAX, Plan, Pruner};
pub use query::{Covered, Found, FoundRow, Query};
pub use reader::{Against, Entries, Reader, verify, verify_against};
pub use store::{Opened, Store};
