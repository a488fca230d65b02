//! The log as it is for whoever depends on it: intact over 200 starts, clean and killed; readable while weir writes it; tampering proven;
//! whole though its disk fails; and each durability does what it says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "test code")]

#[path = "audit/checkpoints.rs"]
mod checkpoints;
#[path = "crash_harness/compare.rs"]
mod compare;
#[path = "audit/durability.rs"]
mod durability;
#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;
#[path = "crash_harness/evidence.rs"]
mod evidence;
#[path = "audit/failing.rs"]
mod failing;
#[path = "crash_harness/gateway.rs"]
mod gateway;
#[path = "crash_harness/load.rs"]
mod load;
#[path = "crash_harness/moments.rs"]
mod moments;
#[path = "audit/restarts.rs"]
mod restarts;
#[path = "audit/rotation.rs"]
mod rotation;
#[path = "audit/start.rs"]
mod start;
#[path = "audit/tamper.rs"]
mod tamper;
#[path = "audit/while_writing.rs"]
mod while_writing;

use std::sync::LazyLock;

use weir_testkit::{Kafka, KafkaOptions};

/// One broker for all of them.
static KAFKA: LazyLock<Kafka> = LazyLock::new(|| Kafka::start(KafkaOptions::default()).unwrap());

/// Nothing listens there: what needs no broker gets none.
const NO_BROKER: &str = "127.0.0.1:1";
