//! The disk under the log: full, failing, flooded, pruned. The clients' account, the log and the broker's disk must agree after all of it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

#[path = "bad_input/batch.rs"]
#[expect(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "made for another test, used in part"
)]
mod batch;
#[path = "crash_harness/compare.rs"]
mod compare;
#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;
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
#[path = "bad_input/wire.rs"]
#[expect(
    dead_code,
    clippy::panic,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    reason = "made for another test, used in part"
)]
mod wire;

use std::sync::LazyLock;

use weir_testkit::{Kafka, KafkaOptions};

/// One broker for all of them.
static KAFKA: LazyLock<Kafka> = LazyLock::new(|| Kafka::start(KafkaOptions::default()).unwrap());

/// Nothing listens there: what needs no broker gets none.
const NO_BROKER: &str = "127.0.0.1:1";
