//! `audit.retain`: old entries go under an entry that says so, a log at its limit stops or is pruned, and a kill in between costs nothing.

use std::path::Path;

use weir_audit::{
    Commit, Committer, ConnectionId, EntryBody, EventId, Kind, Outcome, Part, PrincipalKind, PrincipalRef, Ticket,
};
use weir_audit_store::{Store, used_bytes};

use crate::errors::walks_row;
use crate::gateway::{Gateway, Setting};
use crate::load::{Load, PARTITIONS};
use crate::moments::Moments;
use crate::watch::{
    assert_not_ready, events, is_ready, log, metric, settle, told, value, wait_for, wait_for_event, wait_for_more,
};
use crate::{KAFKA, NO_BROKER};

const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
const OLD: u64 = 20_000;
/// The first entry that is left of them: a multiple of 256.
const LEFT: u64 = OLD / 256 * 256;
const MIB: u64 = 1 << 20;

/// Entries of ten days ago, and the one of each hour since that says that nothing happened.
fn old_entries(data_dir: &Path) -> Box<dyn Send> {
    let (hour, then) = (DAY / 24, now() - 10 * DAY);
    let since = |number: u64| number.saturating_sub(OLD - 1) * hour;
    fill(data_dir, OLD + 240, |number| EntryBody {
        principal: Some(PrincipalRef { kind: PrincipalKind::Oauthbearer, id: format!("app-{}", number % 100) }),
        parts: vec![part(format!("topic-{}", number % 7))],
        outcome: Outcome::Stored,
        ..EntryBody::new(Kind::Produce, EventId::new(number, [1; 10]), then + number + since(number))
    })
}

/// Entries of a year and more ago, as they look to a clock that is ahead.
fn entries_before_a_jump(data_dir: &Path) -> Box<dyn Send> {
    let then = now() - 400 * DAY;
    fill(data_dir, OLD, |number| EntryBody {
        parts: vec![part("before".to_owned())],
        outcome: Outcome::Stored,
        ..EntryBody::new(Kind::Produce, EventId::new(number, [1; 10]), then + number)
    })
}

/// More than 40 MiB of entries of now that no compression makes smaller than 32.
fn large_entries(data_dir: &Path) -> Box<dyn Send> {
    let (then, mut noise) = (now(), Noise(1));
    fill(data_dir, 900, |number| EntryBody {
        parts: (0..60).map(|_| part(noise.text(1000))).collect(),
        outcome: Outcome::Stored,
        ..EntryBody::new(Kind::Produce, EventId::new(number, [1; 10]), then + number)
    })
}

fn fill(data_dir: &Path, entries: u64, mut body: impl FnMut(u64) -> EntryBody) -> Box<dyn Send> {
    let (store, opened) = Store::open(data_dir).unwrap();
    let mut signer = weir_audit_store::signer(data_dir, opened.chain.chain, None, None).unwrap();
    let mut committer = Committer::open(store, opened.chain);
    let queued = (0..entries).map(|number| {
        (Ticket::new(ConnectionId(1), number), Commit::Entry { entry: body(number), closes: Vec::new() })
    });
    assert_eq!(committer.commit(queued.collect()).unrecorded, []);
    committer.sink_mut().sync_checkpoint(&mut signer).unwrap();
    Box::new(())
}

fn part(topic: String) -> Part {
    Part {
        topic,
        topic_id: None,
        partition: 0,
        base_offset: Some(1),
        last_offset: Some(1),
        records: 1,
        bytes_in: 1,
        bytes_out: 1,
        error_code: 0,
        producer: None,
        digest: None,
    }
}

/// Text that does not compress well (splitmix64).
struct Noise(u64);

impl Noise {
    fn text(&mut self, length: usize) -> String {
        let mut next = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            char::from(b'!' + u8::try_from((mixed >> 40) % 94).unwrap())
        };
        (0..length).map(|_| next()).collect()
    }
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

/// The first entry of the log, by `weir audit verify`, which must be content.
fn first(gateway: &Gateway) -> u64 {
    let (exit, report) = gateway.verify();
    assert_eq!(exit, Some(0), "{report}");
    let (first, size, entries) = (&report["first"], &report["size"], &report["entries"]);
    assert_eq!(size.as_u64().unwrap() - entries.as_u64().unwrap(), first.as_u64().unwrap());
    first.as_u64().unwrap()
}

#[test]
fn what_is_old_goes_under_load_and_the_log_says_so() {
    let topic = "pruned";
    KAFKA.create_topic(topic, PARTITIONS).unwrap();
    let audit = &["retain: { days: 1, then: prune }"];
    let setting = Setting { audit, prepare: Some(old_entries), ..Setting::default() };
    let gateway = Gateway::start(KAFKA.bootstrap(), &setting);
    let load = Load::start(&gateway.bootstrap, topic);
    load.wait_for_first();
    wait_for_event(&gateway, "audit.pruned", 1);
    wait_for_more(&gateway, &load, 100);
    assert_eq!(first(&gateway), LEFT);
    assert_eq!(metric(&gateway, "weir_audit_pruned_entries_total"), LEFT);
    let entry = gateway.entries().into_iter().find(|entry| entry["kind"] == "prune").unwrap();
    assert_eq!((entry["prune"]["from"].as_u64(), entry["prune"]["to"].as_u64()), (Some(0), Some(LEFT)));
    assert_eq!(entry["reason"], "audit.retain: { days: 1, then: prune }");
    let config = gateway.weir.options().config.display().to_string();
    let checked = gateway.weir.options().run(&["check", "--config", &config]).unwrap().success("weir check").unwrap();
    assert!(checked.stdout.contains("until the disk is full"), "{}", checked.stdout);
    let asked = gateway.weir.options().run(&["audit", "query", "--until", "5d", "--principal", "app-3"]).unwrap();
    let said = format!("entries before {LEFT} were pruned");
    assert!(asked.stderr.contains(&said), "{}", asked.stderr);
    settle(gateway, load, topic);
}

#[test]
fn a_clock_that_jumped_ahead_prunes_nothing_and_is_told() {
    let audit = &["retain: { days: 90, then: prune }"];
    let setting = Setting { audit, prepare: Some(entries_before_a_jump), ..Setting::default() };
    let mut gateway = Gateway::start(NO_BROKER, &setting);
    wait_for_event(&gateway, "audit.prune_held", 1);
    assert_eq!(gateway.stop(), 0);
    gateway.weir.start_again().unwrap();
    // Now the log has entries of both times.
    wait_for_event(&gateway, "audit.prune_held", 2);
    assert_eq!((gateway.stop(), first(&gateway), events(&gateway, "audit.pruned")), (0, 0, 0));
    let line = log(&gateway).into_iter().find(|line| line["event"] == "audit.prune_held").unwrap();
    let days = line["uncounted_seconds"].as_u64().unwrap() / 86_400;
    assert!((399..=400).contains(&days), "{line}");
}

#[test]
fn a_kill_around_a_prune_leaves_the_log_whole() {
    let mut moments = Moments::new();
    for round in 0..6 {
        let audit = &["retain: { days: 1, then: prune }"];
        let setting = Setting { audit, prepare: Some(old_entries), ..Setting::default() };
        let mut gateway = Gateway::start(NO_BROKER, &setting);
        // It is pruned within a second of the start, on an idle machine.
        std::thread::sleep(moments.between(300, 2000));
        gateway.weir.kill().unwrap();
        let begins = first(&gateway);
        println!("round {round}: killed, begins at {begins}");
        assert!(begins == 0 || begins == LEFT, "in one piece or not at all: {begins}");
        gateway.weir.start_again().unwrap();
        wait_for(&gateway, "the prune", || first(&gateway) == LEFT);
        assert_eq!(gateway.stop(), 0);
        assert_eq!(first(&gateway), LEFT);
    }
}

#[test]
fn a_log_at_its_limit_stops_and_goes_on_with_a_higher_one() {
    let topic = "limited";
    KAFKA.create_topic(topic, PARTITIONS).unwrap();
    let audit = &["retain: { bytes_max: 32MiB }"];
    let setting = Setting { audit, prepare: Some(large_entries), ..Setting::default() };
    let mut gateway = Gateway::start(KAFKA.bootstrap(), &setting);
    wait_for_event(&gateway, "audit.bytes_max", 1);
    assert_not_ready(&gateway, "the audit log has its `audit.retain.bytes_max`");
    let load = Load::start(&gateway.bootstrap, topic);
    wait_for(&gateway, "refusals", || metric(&gateway, "weir_audit_unrecorded_total") > 0);
    assert_eq!((load.acknowledged(), KAFKA.end_offset(topic, 0).unwrap()), (0, 0), "nothing reached the broker");
    walks_row("log-bytes-max").holds(&told(&gateway, topic), &log(&gateway), |counter| value(&gateway, counter));
    assert_eq!(gateway.stop(), 0);
    let config = gateway.weir.options().config.clone();
    let yaml = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, yaml.replace("32MiB", "1GiB")).unwrap();
    gateway.weir.start_again().unwrap();
    wait_for_more(&gateway, &load, 100);
    assert!(is_ready(&gateway));
    settle(gateway, load, topic);
}

#[test]
fn a_log_at_its_limit_is_pruned_to_below_it_where_that_is_the_policy() {
    let audit = &["retain: { bytes_max: 32MiB, then: prune }"];
    let setting = Setting { audit, prepare: Some(large_entries), ..Setting::default() };
    let mut gateway = Gateway::start(NO_BROKER, &setting);
    assert!(used_bytes(&gateway.data_dir()).unwrap() > 32 * MIB, "there is something to prune");
    wait_for(&gateway, "the prune", || used_bytes(&gateway.data_dir()).unwrap() < 32 * MIB);
    assert!(events(&gateway, "audit.pruned") > 0 && events(&gateway, "audit.bytes_max") == 0);
    let begins = first(&gateway);
    assert!(begins > 0 && begins < 900, "{begins}: no more than is needed");
    assert_eq!(gateway.stop(), 0);
    assert!(first(&gateway) >= begins);
}
