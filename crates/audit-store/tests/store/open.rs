//! Opening: keys, recovery, refusals, readers beside the writer.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_audit::verify::Verdict;
use weir_audit::{Commit, IntentId, IntentRow, Kind, Outcome};
use weir_audit_store::{Reader, Store, StoreError, verify};

use crate::common::{append, body, checkpoint, commit, copy, entry, log, open, raw};

#[test]
fn the_first_start_makes_keys_that_only_the_owner_reads_and_later_starts_keep_them() {
    let data_dir = tempfile::tempdir().unwrap();
    let first = open(data_dir.path()).1;
    assert!(first.checkpoint.is_none());
    append(&mut open(data_dir.path()).0, 0..1);
    for file in ["keys/chain-id", "keys/digest-key", "keys/checkpoint-key", "audit/checkpoint", "audit/vkeys"] {
        let mode = std::fs::metadata(data_dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let second = open(data_dir.path()).1;
    assert_eq!((second.keys.chain, second.keys.digest), (first.keys.chain, first.keys.digest));
    assert_eq!(second.checkpoint.map(|kept| kept.signed().checkpoint().size), Some(1));
    assert!(!format!("{:?}", second.keys).contains(&format!("{:?}", second.keys.digest)));
    let other = tempfile::tempdir().unwrap();
    assert_ne!(open(other.path()).1.keys.digest, first.keys.digest);
}

#[test]
fn a_log_goes_on_where_it_stood() {
    let data_dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let (mut committer, opened) = open(data_dir.path());
        assert_eq!(opened.chain.head.size(), round * 3);
        append(&mut committer, round * 3..round * 3 + 3);
    }
    let report = verify(data_dir.path()).unwrap();
    assert_eq!((report.verdict(), report.rows, report.newer), (Verdict::Verified, 15, Some(0)));
}

#[test]
fn a_second_process_is_told_that_the_log_is_in_use() {
    let data_dir = tempfile::tempdir().unwrap();
    let (committer, _) = open(data_dir.path());
    assert!(matches!(Store::open(data_dir.path()), Err(StoreError::Locked { .. })));
    drop(committer);
    open(data_dir.path());
}

#[test]
fn intents_that_were_left_open_come_back_and_are_closed_by_recovered_entries() {
    let data_dir = tempfile::tempdir().unwrap();
    let intents: Vec<_> = (0..3).map(|i| IntentRow { id: IntentId([9 - i; 16]), body: body(u64::from(i)) }).collect();
    let (mut committer, _) = open(data_dir.path());
    checkpoint(&mut committer);
    intents.iter().for_each(|intent| commit(&mut committer, 1, Commit::Intent(intent.clone())));
    commit(&mut committer, 2, Commit::Entry { entry: body(1), closes: vec![intents[1].id] });
    drop(committer);

    let (mut committer, opened) = open(data_dir.path());
    assert_eq!(opened.in_doubt, [intents[0].clone(), intents[2].clone()], "in the order of their times");
    for intent in &opened.in_doubt {
        commit(&mut committer, 3, Commit::Entry { entry: intent.recovered(body(9).at), closes: vec![intent.id] });
    }
    drop(committer);
    assert_eq!(open(data_dir.path()).1.in_doubt, []);
    let found = Reader::open_read_only(data_dir.path()).unwrap().query(&Default::default()).unwrap();
    let kinds: Vec<_> = found.rows.iter().map(|row| (row.entry.body.kind, row.entry.body.outcome)).collect();
    let recovered = (Kind::Recovered, Outcome::Unknown);
    assert_eq!(kinds, [(Kind::Produce, Outcome::Stored), recovered, recovered]);
}

#[test]
fn entries_since_the_last_checkpoint_are_counted_as_newer() {
    let data_dir = log(10);
    let (mut committer, _) = open(data_dir.path());
    (10..14).for_each(|number| commit(&mut committer, number, entry(body(number))));
    // Killed here: the checkpoint is the old one.
    drop(committer);
    let report = verify(data_dir.path()).unwrap();
    assert_eq!((report.verdict(), report.rows, report.newer), (Verdict::Verified, 14, Some(4)));
}

#[test]
fn an_older_copy_is_refused_with_the_newer_checkpoint() {
    let data_dir = log(10);
    let older = tempfile::tempdir().unwrap();
    copy(&data_dir.path().join("audit/db"), older.path());
    append(&mut open(data_dir.path()).0, 10..12);
    std::fs::remove_dir_all(data_dir.path().join("audit/db")).unwrap();
    copy(older.path(), &data_dir.path().join("audit/db"));
    let error = Store::open(data_dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Behind { rows: 10, noted: 12 }), "{error}");
    assert_eq!(verify(data_dir.path()).unwrap().verdict(), Verdict::Tampered);
    // Without the checkpoint the copy would be a log like any other: so that is refused too.
    std::fs::remove_file(data_dir.path().join("audit/checkpoint")).unwrap();
    let error = Store::open(data_dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::CheckpointMissing { rows: 10, .. }), "{error}");
}

#[test]
fn a_log_that_is_not_what_it_was_is_refused() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 9] = [
        ("last entry", |dir| {
            let db = raw(dir);
            let family = db.cf_handle("entry").unwrap();
            let mut bytes = db.get_cf(family, 9_u64.to_be_bytes()).unwrap().unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            db.put_cf(family, 9_u64.to_be_bytes(), bytes).unwrap();
        }),
        ("head row", |dir| raw(dir).delete(b"head").unwrap()),
        ("database", |dir| std::fs::remove_dir_all(dir.join("audit/db")).unwrap()),
        ("log", |dir| std::fs::remove_dir_all(dir.join("audit")).unwrap()),
        ("list of keys", |dir| std::fs::remove_file(dir.join("audit/vkeys")).unwrap()),
        ("chain id", |dir| std::fs::remove_file(dir.join("keys/chain-id")).unwrap()),
        ("head file", |dir| std::fs::write(dir.join("audit/head"), "weir-audit-head 1\n").unwrap()),
        ("checkpoint", |dir| std::fs::write(dir.join("audit/checkpoint"), "weir/audit/\n1\n").unwrap()),
        ("digest key", |dir| {
            let key = dir.join("keys/digest-key");
            std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let data_dir = log(10);
        damage(data_dir.path());
        let error = Store::open(data_dir.path()).map(|_| ()).expect_err(name);
        println!("{name}: {error}");
        // What can be given up is told how.
        assert_eq!(error.is_damage(), error.to_string().contains("weir audit accept-loss --reason"), "{name}: {error}");
    }
    // Control.
    open(log(10).path());
}

#[test]
fn readers_work_while_the_log_is_written_and_flushed() {
    let data_dir = log(10);
    let (mut committer, _) = open(data_dir.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut rounds, mut last) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                let report = verify(data_dir.path()).unwrap();
                assert_eq!(report.verdict(), Verdict::Verified, "{:?}", report.findings);
                assert!(report.rows >= last);
                last = report.rows;
                rounds += 1;
            }
            (rounds, last)
        });
        let filler = "x".repeat(1000);
        for batch in 0..100_u64 {
            let queued = (0..400).map(|i| {
                let reason = Some(format!("{filler}{batch}{i}"));
                let body = weir_audit::EntryBody { reason, ..body(10 + batch) };
                (weir_audit::Ticket::new(weir_audit::ConnectionId(1), i), entry(body))
            });
            assert_eq!(committer.commit(queued.collect()).receipts.len(), 400);
            if batch % 10 == 0 {
                checkpoint(&mut committer);
            }
        }
        done.store(true, Ordering::Relaxed);
        let (rounds, last) = reader.join().unwrap();
        println!("{rounds} verifications beside the writer, the last of {last} entries");
        assert!(rounds > 2 && last > 10);
    });
}
