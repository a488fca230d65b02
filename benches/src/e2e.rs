//! The whole gateway beside the same work done directly and through HAProxy, which forwards bytes and reads none.
//!
//! ```text
//!           ┌──────────────────────────────────► Kafka
//! client ───┼──► HAProxy, TCP mode, 1 thread ──►   "
//!           └──► weir, on 1 core ──────────────►   "
//! ```
//!
//! One client in this process takes all ways, so what it costs is the same for each of them.

mod consume;
mod haproxy;
mod produce;

pub use consume::{Topic, drain, find_topic};
pub use haproxy::HaProxy;
pub use produce::{Frame, flood, paced};
