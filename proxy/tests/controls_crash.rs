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
#[path = "crash_harness/moments.rs"]
mod moments;
#[path = "crash_harness/single.rs"]
mod single;

use std::sync::LazyLock;
use std::time::Duration;

use weir_testkit::{Kafka, KafkaOptions};

use crate::compare::Finding;
use crate::gateway::{Gateway, Setting};
use crate::single::Single;

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

/// With a log that takes 300 ms for everything, who waits for it can be told from who does not.
#[test]
fn a_reply_waits_for_the_log_as_often_as_its_durability_says() {
    const LAG: Duration = Duration::from_millis(300);
    let topics = "topics: [ { match: [outcome], durability: outcome }, { match: [async], durability: async } ]";
    let env = [("WEIR_SABOTAGE_LAG_MS", "300")];
    let setting = Setting { audit: &[topics], env: &env, ..Setting::default() };
    let gateway = Gateway::start(KAFKA.bootstrap(), &setting);
    let producer = Single::new(&gateway.bootstrap);
    let fastest = |topic: &str| {
        KAFKA.create_topic(topic, 1).unwrap();
        let times = (0..5).map(|_| {
            let took = producer.send(topic);
            // The entry that nobody waited for is out of the way of the next.
            std::thread::sleep(LAG * 3 / 2);
            took
        });
        times.min().unwrap()
    };
    let (strict, outcome, not_at_all) = (fastest("strict"), fastest("outcome"), fastest("async"));
    println!("acknowledged after: strict {strict:?}, outcome {outcome:?}, async {not_at_all:?}");
    assert!(strict >= LAG * 2, "for its intent and its entry");
    assert!((LAG..LAG * 2).contains(&outcome), "for its entry");
    assert!(not_at_all < LAG, "for nothing");
}
