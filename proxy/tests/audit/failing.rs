//! A disk that fails now and then: syncs end with EIO, and weir goes on from what the reopened log says.

use std::time::{Duration, Instant};

use crate::KAFKA;
use crate::compare::compare;
use crate::evidence::{Broker, Log};
use crate::gateway::{Gateway, Setting, count};
use crate::load::{Load, PARTITIONS};

/// Each thread's 60th sync of file data, and every 80th from there, fails. `-I 3`: signals are for weir, not for strace.
const STRACE: &[&str] = &[
    "strace",
    "-f",
    "-qq",
    "-I",
    "3",
    "--seccomp-bpf",
    "-o",
    "/dev/null",
    "-e",
    "trace=fdatasync",
    "-e",
    "inject=fdatasync:error=EIO:when=60+80",
];
const FAILURES: usize = 4;
const WAIT_MAX: Duration = Duration::from_secs(90);

#[test]
fn a_failing_disk_costs_retries_and_no_record_of_anything() {
    KAFKA.create_topic("failing", PARTITIONS).unwrap();
    let mut gateway = Gateway::start(KAFKA.bootstrap(), &Setting { wrapper: STRACE, ..Setting::default() });
    let load = Load::start(&gateway.bootstrap, "failing");
    load.wait_for_first();
    let began = Instant::now();
    let events = |gateway: &Gateway, name: &str| gateway.weir.output().unwrap().matches(name).count();
    while events(&gateway, "audit.reopened") < FAILURES {
        assert!(began.elapsed() < WAIT_MAX, "{}", gateway.weir.output().unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    let outside = load.finish();
    assert_eq!(outside.failures, Vec::<String>::new());
    assert_eq!(gateway.stop(), 0, "intents that are open after a clean stop");
    let (failed, reopened) = (events(&gateway, "audit.write_failed"), events(&gateway, "audit.reopened"));

    let (exit, report) = gateway.verify();
    assert_eq!(exit, Some(0), "{report}");
    let entries = gateway.entries();
    let (log, broker) = (Log::read(&entries, "failing"), Broker::read(&KAFKA, "failing"));
    let findings = compare(&outside, &log, &broker);
    println!(
        "{failed} failed writes, {reopened} reopened: {} acknowledged, {} consumed, {} on the broker; \
         {} entries ({:?}), {} recovered; {findings:?}",
        outside.acknowledged.len(),
        outside.consumed.len(),
        broker.records.len(),
        log.entries,
        count(&entries),
        log.recovered,
    );
    assert_eq!(findings, []);
    assert_eq!(failed, reopened);
}
