//! The running gateway: sockets, threads and the clock around the sans-IO core.
//!
//! ```text
//! listener ─► connection (one task: a Session and its two sockets) ─► broker
//!                 │ jobs ─► pool            (inspection that is too large to run inline)
//!                 │ commits ─► ledger       (one thread: Committer on RocksDB, receipts back)
//!                 │ events ─► telemetry     (log lines, metrics)
//!                 ◄── world                 (the Context, swapped whole; fed by cluster and keys)
//! ```

mod broker_logins;
mod budget;
mod clock;
mod cluster;
mod connection;
mod dial;
mod inbox;
mod keys;
mod ledger;
mod listener;
mod places;
mod pool;
mod probe;
mod reload;
mod salting;
mod serve;
mod socket;
mod telemetry;
mod world;

pub(crate) use clock::Clock;
pub(crate) use cluster::join;
pub(crate) use connection::Shared;
pub(crate) use probe::{Probe, fetch_keys};
pub use reload::Loaded;
pub(crate) use reload::warn;
pub use serve::ServeError;
pub(crate) use serve::serve;
pub(crate) use telemetry::{Metrics, tell_panics};
