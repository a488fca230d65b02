//! weir is killed 30 times under load. What a client saw acknowledged is on record, what is on the broker is on record or recovered,
//! what a consumer was given is on record, and retries leave no duplicate.
//!
//! The same harness with a protection switched off is in `controls_crash.rs`.

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

use weir_testkit::{Kafka, KafkaOptions};

use crate::compare::{Finding, compare};
use crate::kills::Accounts;

#[test]
fn no_kill_leaves_an_acknowledged_or_stored_record_without_an_entry() {
    let kafka = Kafka::start(KafkaOptions::default()).unwrap();
    let accounts = kills::run(&kafka, "load", 30, &[]);
    for finding in accounts.findings.iter().take(20) {
        println!("{finding}");
    }
    assert_eq!(accounts.findings.len(), 0);
    assert!(accounts.log.recovered > 0, "no kill hit a request: the run proves nothing");
    assert_eq!(accounts.outside.consumed.len(), accounts.broker.records.len(), "the consumer saw everything once");
    the_comparison_sees_what_is_missing(accounts);
}

/// Takes one thing out of an account that agrees with the others: the comparison must notice each.
fn the_comparison_sees_what_is_missing(mut accounts: Accounts) {
    let found = |accounts: &Accounts| compare(&accounts.outside, &accounts.log, &accounts.broker);
    let (stored, fetched) = (accounts.log.stored.clone(), accounts.log.fetched.clone());

    let in_doubt = std::mem::take(&mut accounts.log.in_doubt);
    let gone = accounts.log.stored[stored.len() / 2];
    accounts.log.stored.retain(|span| *span != gone);
    let findings = found(&accounts);
    let without = findings.iter().filter(|finding| matches!(finding, Finding::AcknowledgedWithoutEntry(_))).count();
    let records = usize::try_from(gone.last - gone.first + 1).unwrap();
    assert_eq!(without, records, "a produce entry is gone: {findings:?}");
    let stored_without = Finding::StoredWithoutEntry { partition: gone.partition, offset: gone.first };
    assert!(findings.contains(&stored_without), "{findings:?}");
    accounts.log.in_doubt = in_doubt;
    accounts.log.stored = stored;

    accounts.log.fetched.clear();
    assert_eq!(found(&accounts).len(), accounts.outside.consumed.len(), "the fetch entries are gone");
    accounts.log.fetched = fetched;

    let twice = accounts.broker.records[accounts.broker.records.len() / 2];
    accounts.broker.records.push(twice);
    assert!(matches!(found(&accounts)[..], [Finding::NotInOrder { .. }]), "a record is there twice");
    accounts.broker.records.pop();

    let lost = accounts.broker.records.pop().unwrap();
    let findings = found(&accounts);
    assert!(matches!(findings[..], [Finding::AcknowledgedAndLost(record)] if record.number == lost.number));
}
