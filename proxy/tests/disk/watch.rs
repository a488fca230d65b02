//! Waits for what weir shows, and settles the accounts.

#![expect(clippy::print_stdout, clippy::use_debug, reason = "the totals of a run are worth seeing")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::KAFKA;
use crate::batch::plain;
use crate::compare::{Finding, compare};
use crate::evidence::{Broker, Log, Span};
use crate::gateway::{Gateway, count};
use crate::load::Load;
use crate::wire::{Client, PRODUCE, produce_body, produced};

/// Generous: two cores may be busy with other tests.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(50);

/// How long nothing may be acknowledged before that counts as a standstill.
const STILL: Duration = Duration::from_millis(700);

/// The answer of `/readyz` or `/metrics`: its status line and its body.
pub(crate) fn get(gateway: &Gateway, path: &str) -> (String, String) {
    let yaml = std::fs::read_to_string(&gateway.weir.options().config).unwrap();
    let (_, address) = yaml.split_once("metrics: \"").unwrap();
    let mut stream = TcpStream::connect(address.split_once('"').unwrap().0).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

pub(crate) fn is_ready(gateway: &Gateway) -> bool {
    get(gateway, "/readyz").0.contains(" 200 ")
}

/// How often an event was logged so far.
pub(crate) fn events(gateway: &Gateway, name: &str) -> usize {
    gateway.weir.output().unwrap().matches(&format!("\"{name}\"")).count()
}

pub(crate) fn wait_for(gateway: &Gateway, what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = Instant::now();
    while !holds() {
        assert!(waiting.elapsed() < WAIT_MAX, "{what}: waited in vain\n{}", gateway.weir.output().unwrap());
        std::thread::sleep(POLL);
    }
}

pub(crate) fn wait_for_event(gateway: &Gateway, name: &str, times: usize) {
    wait_for(gateway, name, || events(gateway, name) >= times);
}

/// Waits until so many more records are acknowledged.
pub(crate) fn wait_for_more(gateway: &Gateway, load: &Load, records: u64) {
    let from = load.acknowledged();
    wait_for(gateway, "more acknowledgements", || load.acknowledged() >= from + records);
}

/// Waits until nothing is acknowledged and nothing recorded any more; and what is not recorded is not delivered.
pub(crate) fn wait_for_standstill(gateway: &Gateway, load: &Load) {
    let now = || (load.acknowledged(), metric(gateway, "weir_audit_commits_total"));
    let (mut seen, mut since) = (now(), Instant::now());
    wait_for(gateway, "a standstill", || {
        let now = now();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        since.elapsed() > STILL
    });
}

/// weir is not ready, and says why.
pub(crate) fn assert_not_ready(gateway: &Gateway, reason: &str) {
    let (status, body) = get(gateway, "/readyz");
    assert!(status.contains(" 503 ") && body.contains(reason), "{status}: {body}");
    assert_eq!(metric(gateway, "weir_audit_up"), 0);
}

/// The value of a metric, all label values together.
pub(crate) fn metric(gateway: &Gateway, name: &str) -> u64 {
    let (_, body) = get(gateway, "/metrics");
    let lines = body.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// What a client of its own is told that produces now.
pub(crate) fn told(gateway: &Gateway, topic: &str) -> String {
    let body = produce_body(-1, &[(topic, &[(0, &plain(&["{}"]))])]);
    let answer = Client::connect(&gateway.bootstrap).call(PRODUCE, 8, &body).unwrap();
    produced(&answer)[0].error.to_string()
}

/// A series of a metric, with its labels.
pub(crate) fn value(gateway: &Gateway, series: &str) -> f64 {
    let (_, body) = get(gateway, "/metrics");
    let line = body.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// The log so far.
pub(crate) fn log(gateway: &Gateway) -> Vec<Value> {
    gateway.weir.output().unwrap().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Ends load and weir in order and compares the three accounts.
pub(crate) fn settle(mut gateway: Gateway, load: Load, topic: &str) {
    let outside = load.finish();
    assert_eq!(outside.failures, Vec::<String>::new());
    assert_eq!(gateway.stop(), 0, "intents that are open after a clean stop");
    let (exit, report) = gateway.verify();
    assert_eq!(exit, Some(0), "{report}");
    let entries = gateway.entries();
    let (log, broker) = (Log::read(&entries, topic), Broker::read(&KAFKA, topic));
    let findings = compare(&outside, &log, &broker);
    println!(
        "{} acknowledged, {} consumed, {} on the broker; {} entries: {:?}",
        outside.acknowledged.len(),
        outside.consumed.len(),
        broker.records.len(),
        log.entries,
        count(&entries),
    );
    assert_eq!(findings, Vec::<Finding>::new());
    // The control: without the entries that cover one record, that record is found.
    let record = *outside.acknowledged.iter().rev().find(|record| record.offset >= 0).unwrap();
    let mut less = log;
    let covers = |span: &Span| (span.first..=span.last).contains(&record.offset) && span.partition == record.partition;
    less.stored.retain(|span| !covers(span));
    assert!(compare(&outside, &less, &broker).contains(&Finding::AcknowledgedWithoutEntry(record)));
}
