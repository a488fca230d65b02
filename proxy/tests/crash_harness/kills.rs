//! Kills weir again and again under load, and gathers the three accounts.

#![expect(clippy::print_stdout, clippy::use_debug, reason = "the totals of a run are worth seeing")]

use std::time::{Duration, Instant};

use weir_testkit::Kafka;

use crate::compare::{Finding, compare};
use crate::evidence::{Broker, Log};
use crate::gateway::{CARD, Gateway, Setting, count};
use crate::load::{Load, Outside, PARTITIONS};
use crate::moments::Moments;

/// The accounts of one run, and what does not agree in them.
pub(crate) struct Accounts {
    pub(crate) outside: Outside,
    pub(crate) log: Log,
    pub(crate) broker: Broker,
    pub(crate) findings: Vec<Finding>,
}

/// Runs the load through weir while it is killed so many times, ends everything in order, and compares the accounts.
pub(crate) fn run(kafka: &Kafka, topic: &str, kills: u32, env: &[(&str, &str)]) -> Accounts {
    kafka.create_topic(topic, PARTITIONS).unwrap();
    let mut gateway = Gateway::start(kafka.bootstrap(), &Setting { env, ..Setting::default() });
    let mut moments = Moments::new();
    let load = Load::start(&gateway.bootstrap, topic);
    let began = Instant::now();
    load.wait_for_first();
    let first = began.elapsed();
    let (mut idle, mut before, mut slowest) = (0, 0, Duration::ZERO);
    for _ in 0..kills {
        std::thread::sleep(moments.between(300, 1000));
        gateway.weir.kill().unwrap();
        idle += u32::from(load.acknowledged() == before);
        before = load.acknowledged();
        gateway.weir.start_again().unwrap();
        slowest = slowest.max(gateway.weir.ready_after());
    }
    let ending = Instant::now();
    let outside = load.finish();
    println!("the first acknowledgement took {first:?}, the end of the load {:?}", ending.elapsed());
    assert_eq!(outside.failures, Vec::<String>::new());
    assert!(idle * 3 <= kills, "{idle} of {kills} lives acknowledged nothing: too little load");
    // A last restart, clean on both sides.
    assert_eq!(gateway.stop(), 0, "intents that are open after a clean stop");
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);

    let (exit, report) = gateway.verify();
    assert_eq!(exit, Some(0), "{report}");
    let entries = gateway.entries();
    let (log, broker) = (Log::read(&entries, topic), Broker::read(kafka, topic));
    assert_eq!(kafka.find_bytes(CARD.as_bytes()).unwrap(), [], "on the broker's disk");
    let findings = compare(&outside, &log, &broker);
    println!(
        "{kills} kills, {idle} without load, slowest start {slowest:?}: {} records acknowledged, {} consumed; \
         {} entries ({:?}), {} intents recovered; {} records in {} batches on the broker; {} findings",
        outside.acknowledged.len(),
        outside.consumed.len(),
        log.entries,
        count(&entries),
        log.recovered,
        broker.records.len(),
        broker.batches.len(),
        findings.len(),
    );
    Accounts { outside, log, broker, findings }
}
