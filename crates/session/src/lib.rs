//! One client connection of weir as a state machine: it inspects, holds and clears, and does no I/O.
//!
//! ```text
//!            handle_client_bytes        poll_to_broker ─► Cleared
//!   client ────────────────────► Session ──────────────────────► broker
//!          ◄──────────────────── (FIFO)  ◄──────────────────────
//!   Cleared ◄─ poll_to_client     │  ▲    handle_broker_bytes
//!                        poll_job │  │ handle_done
//!                     poll_commit ▼  │ handle_receipt / handle_unrecorded
//!                    inspection, audit log
//! ```
//!
//! Everything that the product promises is decided here, with time, keys, policies and bytes as arguments:
//!
//! - **Order.** Requests reach the broker in the order in which the client sent them, and replies leave in request order,
//!   weir's own and the broker's alike. What must wait, for inspection or for its entry, holds back what is behind it; reading,
//!   inspecting and recording go on behind it.
//! - **Proof.** Only [`Cleared`] bytes may be written to a socket. They come from a frame in which nothing is left to inspect, and,
//!   where an entry is due, against the [`weir_audit::Receipt`] of that entry, which the committer alone can make.
//! - **Back-pressure.** [`Session::wants_client_bytes`] and [`Session::wants_broker_bytes`] own it; 0 means: stop reading.
//!
//! A session outlives its sockets until [`Session::is_drained`]: each intent that is open when a socket goes is closed as unknown.

mod api;
mod caller;
mod cleared;
mod context;
mod control;
mod event;
mod job;
mod pending;
mod refusal;
#[cfg(feature = "sabotage")]
mod sabotage;
mod session;
mod time;
mod upstream;
mod vetted;

pub use cleared::Cleared;
pub use context::{
    AuditRules, BrokerNode, ClusterView, Context, DigestKey, Door, DoorAuth, Durability, Limits, Peer, TopicAudit,
    TopicAuditChange,
};
pub use control::{Control, ControlError, Learned, TopicSizes};
pub use event::{CloseReason, Ending, Event, RefusedFor, Stages};
pub use job::{
    Done, INLINE_COMPRESSED_BYTES_MAX, INLINE_INFLATED_BYTES_MAX, INLINE_PLAIN_BYTES_MAX, INLINE_UNOPENED_BYTES_MAX,
    Job, Scratch,
};
#[cfg(feature = "sabotage")]
pub use sabotage::Sabotage;
pub use session::{KEYS_WAIT_MAX, READ_CHUNK_BYTES, Session, Start};
pub use time::Now;
pub use upstream::{Salted, Salting, UpstreamLogin, UpstreamLoginError, UpstreamMechanism};
