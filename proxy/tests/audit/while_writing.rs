//! The verbs of `weir audit` beside a weir that writes.

use std::time::{Duration, Instant};

use crate::KAFKA;
use crate::gateway::{Gateway, Setting, count};
use crate::load::{Load, PARTITIONS};

const ROUNDS: usize = 40;
const GROWTH: u64 = 200;
const WAIT_MAX: Duration = Duration::from_secs(90);

#[test]
fn query_and_verify_answer_while_weir_writes() {
    KAFKA.create_topic("written", PARTITIONS).unwrap();
    let mut gateway = Gateway::start(KAFKA.bootstrap(), &Setting::default());
    let load = Load::start(&gateway.bootstrap, "written");
    load.wait_for_first();
    let began = Instant::now();
    let (mut verified, mut queried) = (Vec::new(), Vec::new());
    let grew = |seen: &[u64]| seen.last() > seen.first().map(|first| first + GROWTH).as_ref();
    while queried.len() < ROUNDS || !grew(&verified) || !grew(&queried) {
        assert!(began.elapsed() < WAIT_MAX, "the log does not grow: {verified:?} {queried:?}");
        let (exit, report) = gateway.verify();
        assert_eq!(exit, Some(0), "{report}");
        verified.push(report["entries"].as_u64().unwrap());
        let query = ["audit", "query", "-o", "ndjson", "-n", "3", "--topic", "written"];
        let found = gateway.weir.options().run(&query).unwrap().success("weir audit query").unwrap().stdout;
        let newest = found.lines().last().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        queried.push(newest.unwrap()["seq"].as_u64().unwrap());
    }
    let acknowledged = load.acknowledged();
    let outside = load.finish();
    assert_eq!(outside.failures, Vec::<String>::new());
    assert_eq!(outside.consumed.len(), outside.acknowledged.len());
    for seen in [&verified, &queried] {
        assert!(seen.is_sorted(), "an answer was older than the one before it: {seen:?}");
    }
    assert_eq!(gateway.stop(), 0);
    let entries = gateway.entries();
    println!(
        "{} verifications and queries while {acknowledged} records were acknowledged; {} entries: {:?}",
        verified.len() + queried.len(),
        entries.len(),
        count(&entries)
    );
}
