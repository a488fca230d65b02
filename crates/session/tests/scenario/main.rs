//! Scenarios: scripts of a client and a broker against one session, in simulated time, without sockets.
//!
//! ```text
//!   script ── client bytes ──► Session ── frames ──► Witness ──► script plays the broker
//!          ◄─ frames ─ Witness ◄──┘ │ ▲
//!                          commits  ▼ │ receipts
//!                   weir_audit::Committer over MemorySink (prompt, held or failing)
//! ```
//!
//! [`stage::play`] runs each script several times: with the bytes whole, one at a time and cut at random, with jobs run at once and
//! out of order. What came of it must be the same each time. The [`witness::Witness`] holds every run to the order of requests and
//! replies, to G1-G3 and to the secrecy of broker addresses, whatever the script looks at.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod batch;
mod chaos;
mod control;
mod deadlines;
mod fetch;
mod fetch_batches;
mod gone;
mod groups;
mod keys;
mod login;
mod messages;
mod metadata;
mod order;
mod pipelining;
mod pressure;
mod produce;
mod stage;
mod stages;
mod unrecorded;
mod upstream;
mod witness;
mod world;
