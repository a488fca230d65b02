//! The disk under the log: full, failing, flooded, pruned. The clients' account, the log and the broker's disk must agree after all of it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

#[path = "crash_harness/compare.rs"]
mod compare;
#[path = "crash_harness/evidence.rs"]
mod evidence;
#[path = "disk/failing.rs"]
mod failing;
#[path = "disk/flood.rs"]
mod flood;
#[path = "disk/flood_proof.rs"]
mod flood_proof;
#[path = "disk/full.rs"]
mod full;
#[path = "crash_harness/gateway.rs"]
mod gateway;
#[path = "crash_harness/load.rs"]
mod load;
#[path = "crash_harness/moments.rs"]
mod moments;
#[path = "disk/retain.rs"]
mod retain;
#[path = "disk/watch.rs"]
mod watch;

use std::sync::LazyLock;

use weir_testkit::{Kafka, KafkaOptions};

/// One broker for all of them.
static KAFKA: LazyLock<Kafka> = LazyLock::new(|| Kafka::start(KafkaOptions::default()).unwrap());

/// Nothing listens there: what needs no broker gets none.
const NO_BROKER: &str = "127.0.0.1:1";
