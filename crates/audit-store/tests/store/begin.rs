//! The first start, killed at each of its steps, goes on with the next one; once it is over, what is missing was taken away.

use std::fs;
use std::path::Path;

use weir_audit::Committer;
use weir_audit::verify::Verdict;
use weir_audit_store::{Opened, Store, StoreError, verify};

use crate::common::{append, body, checkpoint, commit, copy, entry, log, open};
use crate::steps::{self, STEPS};

/// A start as the gateway does it, with its first entry.
fn start(data_dir: &Path) -> Result<(Committer<Store>, Opened), StoreError> {
    let (mut store, opened) = Store::open(data_dir)?;
    let mut signer = opened.signer(data_dir, None)?;
    if opened.begins {
        store.sync_checkpoint(&mut signer)?;
    }
    let mut committer = Committer::open(store, opened.chain.clone());
    commit(&mut committer, 1, entry(body(opened.chain.head.size())));
    Ok((committer, opened))
}

/// Not a test by itself: the process that is killed. Without its variable it does nothing.
#[test]
fn child_that_starts_a_log() {
    if let Some(data_dir) = steps::data_dir() {
        start(&data_dir).unwrap();
    }
}

#[test]
fn a_first_start_that_is_killed_at_any_step_goes_on() {
    let mut kills = 0;
    for step in STEPS {
        for when in 1.. {
            let data_dir = tempfile::tempdir().unwrap();
            // Not there before the first start, as on a new machine.
            let data_dir = data_dir.path().join("data");
            let killed = steps::killed("begin::child_that_starts_a_log", &data_dir, step, when);
            let left = if killed { 0 } else { 1 };
            let (mut committer, opened) = start(&data_dir).unwrap_or_else(|error| panic!("{step} {when}: {error}"));
            let size = opened.chain.head.size();
            assert!(size == left || killed && size == 1, "{step} {when}: {size} entries");
            append(&mut committer, 5..7);
            drop(committer);
            let report = verify(&data_dir).unwrap();
            assert_eq!((report.verdict(), report.rows), (Verdict::Verified, size + 3), "{step} {when}");
            // Now it is no first start any more.
            fs::remove_dir_all(data_dir.join("audit")).unwrap();
            assert!(matches!(start(&data_dir), Err(StoreError::DatabaseMissing { .. })), "{step} {when}");
            kills += usize::from(killed);
            if !killed {
                break;
            }
        }
    }
    println!("{kills} kills");
    assert!(kills > 10, "{kills} kills: the steps were seen");
}

/// Copies of a directory as it was at a moment of its first start, which is over.
#[test]
fn what_is_taken_away_after_the_first_start_is_missed() {
    type Away = fn(&Path);
    type Is = fn(&StoreError) -> bool;
    let cases: [(&str, Away, Is); 8] = [
        (
            "the log",
            |dir| fs::remove_dir_all(dir.join("audit")).unwrap(),
            |error| matches!(error, StoreError::DatabaseMissing { .. }),
        ),
        (
            "the database",
            |dir| fs::remove_dir_all(dir.join("audit/db")).unwrap(),
            |error| matches!(error, StoreError::DatabaseMissing { .. }),
        ),
        (
            "the files of the database",
            |dir| {
                fs::remove_dir_all(dir.join("audit/db")).unwrap();
                fs::create_dir(dir.join("audit/db")).unwrap();
            },
            |error| matches!(error, StoreError::DatabaseMissing { .. }),
        ),
        (
            "the checkpoint",
            |dir| fs::remove_file(dir.join("audit/checkpoint")).unwrap(),
            |error| matches!(error, StoreError::CheckpointMissing { .. }),
        ),
        (
            "the list of keys",
            |dir| fs::remove_file(dir.join("audit/vkeys")).unwrap(),
            |error| matches!(error, StoreError::KeyListMissing { .. }),
        ),
        (
            "the digest key",
            |dir| fs::remove_file(dir.join("keys/digest-key")).unwrap(),
            |error| matches!(error, StoreError::DigestKeyMissing { .. }),
        ),
        (
            "the head file's content",
            |dir| fs::write(dir.join("audit/head"), "weir-audit-head 1\n").unwrap(),
            |error| matches!(error, StoreError::HeadFile { .. }),
        ),
        (
            "the keys",
            |dir| fs::remove_dir_all(dir.join("keys")).unwrap(),
            |error| matches!(error, StoreError::NameMissing { .. }),
        ),
    ];
    for entries in [0, 1, 300] {
        let data_dir = if entries == 0 { tempfile::tempdir().unwrap() } else { log(entries) };
        if entries == 0 {
            checkpoint(&mut open(data_dir.path()).0);
        }
        for (what, away, expected) in cases {
            let copied = tempfile::tempdir().unwrap();
            copy(data_dir.path(), copied.path());
            away(copied.path());
            // As often as it is tried: nothing is made that would pass for the log.
            for _ in 0..2 {
                let error = Store::open(copied.path()).map(|_| ()).unwrap_err();
                assert!(expected(&error) && error.is_damage(), "{what} of {entries}: {error}");
                assert!(error.to_string().contains("weir audit accept-loss --reason"), "{error}");
            }
        }
        open(data_dir.path());
    }
}

/// Whoever says that the log is only being begun does not get entries accepted without a checkpoint.
#[test]
fn a_beginning_excuses_no_missing_checkpoint_of_a_log_with_entries() {
    let data_dir = log(3);
    let name = fs::read_to_string(data_dir.path().join("keys/chain-id")).unwrap();
    fs::write(data_dir.path().join("keys/beginning"), name).unwrap();
    fs::remove_file(data_dir.path().join("audit/checkpoint")).unwrap();
    let error = Store::open(data_dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::CheckpointMissing { rows: 3, .. }), "{error}");
}
