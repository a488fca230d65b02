//! Negative controls of the crash harness, with a weir whose protections can be switched off.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

#[path = "crash_harness/compare.rs"]
mod compare;
#[path = "crash_harness/evidence.rs"]
mod evidence;
#[path = "crash_harness/gateway.rs"]
mod gateway;
#[path = "crash_harness/kills.rs"]
mod kills;
#[path = "crash_harness/load.rs"]
mod load;

use std::sync::LazyLock;

use weir_testkit::{Kafka, KafkaOptions};

use crate::compare::Finding;

static KAFKA: LazyLock<Kafka> = LazyLock::new(|| Kafka::start(KafkaOptions::default()).unwrap());

/// Every commit is durable so much later than it could be.
const LAG: (&str, &str) = ("WEIR_SABOTAGE_LAG_MS", "30");

#[test]
fn replies_that_do_not_wait_for_their_entries_are_found() {
    let accounts = kills::run(&KAFKA, "sabotaged", 6, &[LAG, ("WEIR_SABOTAGE", "ack-before-entry")]);
    let count = |wanted: fn(&Finding) -> bool| accounts.findings.iter().filter(|finding| wanted(finding)).count();
    let acknowledged = count(|finding| matches!(finding, Finding::AcknowledgedWithoutEntry(_)));
    let consumed = count(|finding| matches!(finding, Finding::ConsumedWithoutEntry { .. }));
    println!("{acknowledged} acknowledged and {consumed} consumed without an entry");
    assert!(acknowledged > 0, "the harness would not notice a reply before its entry");
    assert!(consumed > 0, "the harness would not notice records before their entry");
    // What else the harness checks holds: intents come before their requests in this mode too.
    assert_eq!(count(|finding| matches!(finding, Finding::AcknowledgedAndLost(_) | Finding::NotInOrder { .. })), 0);
    assert_eq!(count(|finding| matches!(finding, Finding::StoredWithoutEntry { .. })), 0);
}

#[test]
fn a_late_log_alone_is_no_finding() {
    let accounts = kills::run(&KAFKA, "late", 3, &[LAG]);
    assert_eq!(accounts.findings, []);
    assert_eq!(accounts.outside.consumed.len(), accounts.broker.records.len());
    assert!(accounts.log.recovered > 0);
}
