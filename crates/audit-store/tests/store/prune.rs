//! Pruning: what is left verifies and answers, what is gone is gone, and a crash leaves the one or the other.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rocksdb::IteratorMode;
use weir_audit::verify::{Class, Verdict};
use weir_audit::{Commit, Committer, ConnectionId, EntryBody, EventId, Kind, Ticket};
use weir_audit_store::{Age, Demand, Held, Plan, Query, Reader, STEP_MAX, Store, StoreError, used_bytes, verify};

use crate::common::{SECOND, START, body, checkpoint, checkpoint_key, commit, entry, open, raw};

const DATA_DIR: &str = "WEIR_TEST_PRUNE_DATA_DIR";

/// So many entries in few batches, with a checkpoint that knows of them.
fn fill(committer: &mut Committer<Store>, numbers: std::ops::Range<u64>) {
    let queued = numbers.map(|number| (Ticket::new(ConnectionId(1), number), entry(body(number))));
    assert_eq!(committer.commit(queued.collect()).unrecorded, []);
    checkpoint(committer);
}

fn plan(committer: &mut Committer<Store>, demand: Demand) -> Option<Plan> {
    committer.sink_mut().pruner().plan(&demand).unwrap()
}

/// Everything older than that number's entry, on the day of the prune entries.
fn older_than(number: u64) -> Demand {
    let age = Age { max: NOW.saturating_sub(number) * SECOND, now: START + NOW * SECOND };
    Demand { age: Some(age), covered: u64::MAX, bytes: 0 }
}

/// In seconds after the first entry.
const NOW: u64 = 2500;

/// The entry as the gateway writes it, signed.
fn pruning(committer: &mut Committer<Store>, plan: &Plan) -> Commit {
    let mut prune = plan.prune.clone();
    prune.note = Some(checkpoint_key(committer).sign_prune(&prune));
    let body = EntryBody {
        prune: Some(Box::new(prune)),
        ..EntryBody::new(Kind::Prune, EventId([3; 16]), START + NOW * SECOND)
    };
    entry(body)
}

fn prune(committer: &mut Committer<Store>, plan: Plan) {
    let entry = pruning(committer, &plan);
    assert!(committer.sink_mut().stage(plan));
    commit(committer, 1, entry);
}

fn verified(data_dir: &Path) -> (u64, u64) {
    let report = verify(data_dir).unwrap();
    assert_eq!(report.verdict(), Verdict::Verified, "{:?}", report.findings);
    (report.first, report.rows)
}

#[test]
fn whole_steps_of_what_is_old_go_and_the_rest_verifies_and_answers() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    fill(&mut committer, 0..2000);
    assert_eq!(plan(&mut committer, older_than(255)), None, "the last of a step is not old enough");
    let first = plan(&mut committer, older_than(256)).unwrap();
    assert_eq!((first.prune.from, first.prune.cut.size(), first.more), (0, 256, false));
    prune(&mut committer, first);
    let second = plan(&mut committer, older_than(1100)).unwrap();
    assert_eq!((second.prune.from, second.prune.cut.size()), (256, 1024));
    prune(&mut committer, second);
    checkpoint(&mut committer);
    assert_eq!(verified(data_dir.path()), (1024, 2002 - 1024));
    committer.sink_mut().pruner().compact(1024).unwrap();
    assert_eq!(verified(data_dir.path()), (1024, 2002 - 1024));

    let reader = Reader::open_read_only(data_dir.path()).unwrap();
    let query = Query { topic: vec!["topic-3".into()], ..Query::default() };
    for scan in [false, true] {
        let found = reader.query(&Query { scan, ..query.clone() }).unwrap();
        let numbers = found.rows.iter().map(|row| row.entry.body.parts[0].base_offset.unwrap());
        let wanted: Vec<i64> = (1024..2000).filter(|number| number % 5 == 3).collect();
        assert_eq!(numbers.collect::<Vec<_>>(), wanted);
        assert_eq!((found.first, found.covered.unwrap().first, found.undecodable), (1024, 1024, 0));
    }
    let old = reader.query(&Query { until: Some(START + 500 * SECOND), ..Query::default() }).unwrap();
    assert_eq!((old.rows.len(), old.covered, old.first), (0, None, 1024));
    drop((reader, committer));

    // No index row points below the cut, and the log goes on where it stood.
    let db = raw(data_dir.path());
    for row in db.iterator_cf(db.cf_handle("index").unwrap(), IteratorMode::Start) {
        let block = u64::from_be_bytes(row.unwrap().0[9..].try_into().unwrap());
        assert!(block >= 1024 / 64, "block {block}");
    }
    drop(db);
    let (mut committer, opened) = open(data_dir.path());
    assert_eq!((opened.chain.head.size(), committer.sink_mut().first()), (2002, 1024));
    fill(&mut committer, 3000..3010);
    assert_eq!(verified(data_dir.path()), (1024, 2012 - 1024));
}

#[test]
fn nothing_goes_that_the_head_file_does_not_know() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    fill(&mut committer, 0..1000);
    let covered = |covered| Demand { covered, ..older_than(10_000) };
    for (known, cut) in [(0, None), (255, None), (256, Some(256)), (700, Some(512)), (u64::MAX, Some(768))] {
        let planned = plan(&mut committer, covered(known)).map(|plan| plan.prune.cut.size());
        assert_eq!(planned, cut, "{known} known");
    }
}

#[test]
fn bytes_go_in_steps_until_there_are_enough_and_at_most_a_plan_at_once() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    fill(&mut committer, 0..70_000);
    let bytes = |bytes| Demand { bytes, covered: u64::MAX, age: None };
    assert_eq!(plan(&mut committer, bytes(0)), None);
    assert_eq!(plan(&mut committer, bytes(1)).unwrap().prune.cut.size(), 256);
    assert_eq!(plan(&mut committer, bytes(60_000)).unwrap().prune.cut.size(), 512);
    let most = plan(&mut committer, bytes(u64::MAX)).unwrap();
    assert_eq!((most.prune.cut.size(), most.more), (weir_audit_store::PLAN_ENTRIES_MAX, true));
    committer.sink_mut().pruner().compact(0).unwrap();
    let before = used_bytes(data_dir.path()).unwrap();
    prune(&mut committer, most);
    committer.sink_mut().pruner().compact(65_536).unwrap();
    let after = used_bytes(data_dir.path()).unwrap();
    println!("{before} bytes before, {after} after");
    assert!(after < before / 2, "{before} bytes before, {after} after: the space is given back");
    checkpoint(&mut committer);
    assert_eq!(verified(data_dir.path()), (65_536, 70_001 - 65_536));
}

/// A log of these stretches: how many entries, and how long after the entry before the first of them comes; then one a second.
fn stretches(committer: &mut Committer<Store>, stretches: &[(u64, u64)]) -> u64 {
    let (mut at, mut number) = (START, 0);
    for (entries, gap) in stretches {
        at += gap;
        let mut queued = Vec::new();
        for _ in 0..*entries {
            let aged = EntryBody { at, ..body(number) };
            queued.push((Ticket::new(ConnectionId(1), number), entry(aged)));
            (number, at) = (number + 1, at + SECOND);
        }
        at -= SECOND;
        assert_eq!(committer.commit(queued).unrecorded, []);
    }
    checkpoint(committer);
    at
}

#[test]
fn a_clock_that_jumped_makes_nothing_old() {
    const DAY: u64 = 86_400 * SECOND;
    const YEAR: u64 = 365 * DAY;
    let check = |parts: &[(u64, u64)], since: u64, expected: Option<u64>, held: Option<u64>| {
        let data_dir = tempfile::tempdir().unwrap();
        let (mut committer, _) = open(data_dir.path());
        let last = stretches(&mut committer, parts);
        let age = Age { max: DAY, now: last + since };
        let demand = Demand { age: Some(age), covered: u64::MAX, bytes: 0 };
        let planned = plan(&mut committer, demand).map(|plan| plan.prune.cut.size());
        let found = committer.sink_mut().pruner().held(&age).unwrap();
        assert_eq!((planned, found), (expected, held.map(|uncounted| Held { uncounted })), "{parts:?}, {since}");
    };
    // A day of steps that are as long as they may be, and what is older than it.
    let day = [(1, STEP_MAX); 12];
    let with_day = |first: &[(u64, u64)]| [first, &day].concat();
    check(&with_day(&[(512, 0), (256, SECOND)]), 0, Some(512), None);
    check(&with_day(&[(768, 0)]), 0, Some(768 - 256), None);
    check(&with_day(&[(768, 0)]), SECOND, Some(768), None);
    // One nanosecond more in one step does not count.
    let mut more = with_day(&[(768, 0)]);
    more[5].1 += 1;
    check(&more, 0, Some(768 - 256), None);
    // The clock is a year ahead, before anything was written under it; and after.
    check(&[(1000, 0)], YEAR, None, Some(YEAR - STEP_MAX));
    check(&[(1000, 0), (1, YEAR)], 0, None, Some(YEAR - STEP_MAX));
    check(&[(1000, 0), (600, YEAR)], 0, None, Some(YEAR - STEP_MAX));
    // It was ahead and is right again: entries go on at the time of the jump, and the clock is behind them.
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    let ahead = stretches(&mut committer, &[(1000, 0), (10, YEAR)]);
    let age = Some(Age { max: DAY, now: ahead - YEAR + DAY });
    assert_eq!(plan(&mut committer, Demand { age, covered: u64::MAX, bytes: 0 }), None);
    // Enough bytes go all the same.
    let bytes = Demand { age, covered: u64::MAX, bytes: 1 };
    assert_eq!(plan(&mut committer, bytes).unwrap().prune.cut.size(), 256);
    // After the jump a day must pass as any other; then what is before it goes, and what is behind it stays.
    check(&with_day(&[(512, 0), (256, YEAR)]), 0, Some(512), None);
    check(&with_day(&[(300, 0), (300, YEAR)]), SECOND, Some(512), None);
}

#[test]
fn a_prune_entry_that_nobody_planned_or_that_came_too_late_is_refused() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    fill(&mut committer, 0..1000);
    let planned = plan(&mut committer, older_than(300)).unwrap();
    prune(&mut committer, planned.clone());
    assert!(!committer.sink_mut().stage(planned.clone()), "it is done already");
    let entry = pruning(&mut committer, &planned);
    let committed = committer.commit(vec![(Ticket::new(ConnectionId(1), 1), entry)]);
    assert_eq!((committed.receipts.len(), committed.unrecorded.len()), (0, 1));
    assert!(matches!(committer.take_error(), Some(StoreError::OutOfPlace { expected: 256, found: 0 })));
}

#[test]
fn a_damaged_log_is_not_pruned() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    // The checkpoint of the first fill is kept with the second: a start reads on from there.
    fill(&mut committer, 0..599);
    fill(&mut committer, 599..600);
    drop(committer);
    let db = raw(data_dir.path());
    let family = db.cf_handle("entry").unwrap();
    let mut bytes = db.get_cf(family, 100_u64.to_be_bytes()).unwrap().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    db.put_cf(family, 100_u64.to_be_bytes(), bytes).unwrap();
    drop(db);
    let (mut committer, _) = open(data_dir.path());
    assert!(committer.sink_mut().pruner().plan(&older_than(600)).unwrap_err().is_damage());
}

#[test]
fn a_prune_entry_without_its_signature_is_found() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    fill(&mut committer, 0..1000);
    for note in [None, Some("signed by nobody".to_owned())] {
        let from = committer.sink_mut().first();
        let planned = plan(&mut committer, older_than(from + 300)).unwrap();
        let prune = weir_audit::Prune { note, ..planned.prune.clone() };
        let bare = EntryBody::new(Kind::Prune, EventId([3; 16]), START + NOW * SECOND);
        assert!(committer.sink_mut().stage(planned));
        commit(&mut committer, 1, entry(EntryBody { prune: Some(Box::new(prune)), ..bare }));
    }
    checkpoint(&mut committer);
    let classes: Vec<_> = verify(data_dir.path()).unwrap().findings.iter().map(|finding| finding.class).collect();
    assert_eq!(classes, [Class::BadSignature; 2]);
}

/// Lets `change` loose on a pruned log.
fn tampered(change: impl FnOnce(&rocksdb::DB)) -> (Vec<Class>, bool) {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    fill(&mut committer, 0..1000);
    let planned = plan(&mut committer, older_than(300)).unwrap();
    prune(&mut committer, planned);
    fill(&mut committer, 2000..2010);
    drop(committer);
    let db = raw(data_dir.path());
    change(&db);
    drop(db);
    let classes = verify(data_dir.path()).unwrap().findings.iter().map(|finding| finding.class).collect();
    (classes, Store::open(data_dir.path()).is_err_and(|error| error.is_damage()))
}

#[test]
fn a_minimum_without_its_entry_is_found_and_not_served_from() {
    assert_eq!(tampered(|_| {}), (vec![], false), "control");
    // The row that says where the log begins.
    let (classes, refused) = tampered(|db| db.delete(b"cut").unwrap());
    assert!(classes.contains(&Class::Missing) && refused, "{classes:?}");
    // Further entries, with a row that fits what is left.
    let (classes, refused) = tampered(|db| {
        let entries = db.cf_handle("entry").unwrap();
        let mut state = weir_audit::ChainState::decode(&db.get(b"cut").unwrap().unwrap()).unwrap();
        for seq in 256..512_u64 {
            let bytes = db.get_cf(entries, seq.to_be_bytes()).unwrap().unwrap();
            state.head.last = weir_audit::chain::leaf_hash(&bytes);
            state.head.last_at = weir_audit::Entry::decode(&bytes).unwrap().at;
            state.head.frontier.push(state.head.last);
            db.delete_cf(entries, seq.to_be_bytes()).unwrap();
        }
        db.put(b"cut", state.head.encode(&state.chain)).unwrap();
    });
    assert_eq!((classes, refused), (vec![Class::Prune], true));
    // The prune entry itself.
    let (classes, refused) = tampered(|db| {
        let entries = db.cf_handle("entry").unwrap();
        db.delete_cf(entries, 1000_u64.to_be_bytes()).unwrap();
    });
    assert!(classes.contains(&Class::Missing) && refused, "{classes:?}");
}

/// Not a test by itself: the process that is killed. Without its variable it does nothing.
#[test]
fn child_that_prunes_until_it_is_killed() {
    let Ok(data_dir) = std::env::var(DATA_DIR) else { return };
    let (mut committer, _) = open(Path::new(&data_dir));
    for round in 0_u64.. {
        let size = committer.state().head.size();
        fill(&mut committer, size..size + 300);
        let demand = Demand { bytes: 1, covered: size, age: None };
        if size - committer.sink_mut().first() > 1000
            && let Some(planned) = plan(&mut committer, demand)
        {
            prune(&mut committer, planned);
            println!("pruned to {}", committer.sink_mut().first());
            if round % 3 == 0 {
                let first = committer.sink_mut().first();
                committer.sink_mut().pruner().compact(first).unwrap();
            }
        }
    }
}

#[test]
fn a_kill_at_any_moment_of_a_prune_leaves_a_log_that_verifies() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for kill in 0..15_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "prune::child_that_prunes_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(DATA_DIR, data_dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut pruned = lines.filter_map(|line| line.split_once("pruned to ")?.1.parse::<u64>().ok());
        let said = pruned.nth(usize::try_from(kill % 4).unwrap()).expect("the child lives");
        // Not only between two prunes: a little later than one, by another time each.
        std::thread::sleep(std::time::Duration::from_micros(kill * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = pruned.last().unwrap_or(said);
        let (first, _) = verified(data_dir.path());
        assert!(first >= said && said > last, "kill {kill}: said {said}, begins at {first}, before {last}");
        last = said;
    }
    let (mut committer, _) = open(data_dir.path());
    assert_eq!(committer.sink_mut().first(), verified(data_dir.path()).0);
}

#[test]
fn readers_verify_and_answer_while_the_log_is_pruned() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    fill(&mut committer, 0..2000);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut rounds, mut begins) = (0, Vec::new());
            while !done.load(std::sync::atomic::Ordering::Relaxed) || rounds < 3 {
                begins.push(verified(data_dir.path()).0);
                let found = Reader::open_read_only(data_dir.path()).unwrap().query(&Query::default()).unwrap();
                assert_eq!(found.rows.first().unwrap().entry.seq, found.first);
                rounds += 1;
            }
            begins
        });
        for round in 0..60_u64 {
            let size = committer.state().head.size();
            fill(&mut committer, size..size + 300);
            let demand = Demand { bytes: 1, covered: size, age: None };
            let planned = plan(&mut committer, demand).unwrap();
            prune(&mut committer, planned);
            if round % 10 == 0 {
                let first = committer.sink_mut().first();
                committer.sink_mut().pruner().compact(first).unwrap();
            }
        }
        checkpoint(&mut committer);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let begins = reader.join().unwrap();
        println!("{} verifications: {begins:?}", begins.len());
        assert!(begins.is_sorted() && begins.len() > 2, "{begins:?}");
        assert_eq!(verified(data_dir.path()).0, 60 * 256);
    });
}
