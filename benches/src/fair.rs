//! Nobody waits for a big batch: Heartbeats of many connections while one connection produces batches of 16 MiB.
//!
//! ```text
//! 100 connections, a Heartbeat each per 100 ms ──┐
//!                                                ├──► weir, a process of its own ──► scripted broker, in this process
//! 1 connection, 5 Produce requests in flight   ──┘                                          ▲
//! 10 connections, a Heartbeat each per 100 ms ──────────────────────────────────────────────┘ what the machine itself costs
//! ```

mod broker;
mod bulk;
mod heartbeats;

pub use broker::Broker;
pub use bulk::{Batch, Bulk, Produced};
pub use heartbeats::heartbeats;
