//! Accepted losses: what is put aside, what the new log says, and what happens when it is interrupted.

use std::fs;
use std::path::{Path, PathBuf};

use weir_audit::verify::Verdict;
use weir_audit::{ChainId, Kind};
use weir_audit_store::{Reader, Store, StoreError, accept_loss, verify, verify_against};

use crate::checkpoints::{NOW, against, check};
use crate::common::{append, checkpoint, copy, log, open};
use crate::steps::{self, STEPS};

/// An older database under a newer checkpoint; and the log as it was.
fn behind_and_better() -> (tempfile::TempDir, tempfile::TempDir) {
    let data_dir = log(10);
    let (older, better) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(&data_dir.path().join("audit/db"), older.path());
    append(&mut open(data_dir.path()).0, 10..15);
    copy(data_dir.path(), better.path());
    fs::remove_dir_all(data_dir.path().join("audit/db")).unwrap();
    copy(older.path(), &data_dir.path().join("audit/db"));
    (data_dir, better)
}

fn behind() -> tempfile::TempDir {
    behind_and_better().0
}

#[test]
fn an_accepted_loss_begins_a_chain_that_says_what_is_lost_and_keeps_the_old_one_aside() {
    let data_dir = behind();
    let old_keys = against(data_dir.path(), None);
    let old = Reader::open_read_only(data_dir.path()).unwrap().chain().unwrap();
    let error = Store::open(data_dir.path()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("weir audit accept-loss --reason"), "{error}");
    let accepted = accept_loss(data_dir.path(), "disk replaced, OPS-1234", NOW).unwrap();
    assert_eq!(accepted.lost, old);
    assert_ne!(accepted.chain, old);
    let expected = format!(
        "takes the place of weir/audit/{old}: it was behind its checkpoint; entries 10 to 14 are lost; reason: disk replaced, OPS-1234"
    );
    assert_eq!(accepted.statement, expected);

    let (mut committer, opened) = open(data_dir.path());
    assert_eq!((opened.chain.chain, opened.chain.head.size()), (accepted.chain, 1));
    append(&mut committer, 1..3);
    drop(committer);
    check(&verify(data_dir.path()).unwrap(), &[]);
    let found = Reader::open_read_only(data_dir.path()).unwrap().query(&Default::default()).unwrap();
    let first = &found.rows[0].entry.body;
    assert_eq!((first.kind, first.reason.as_ref()), (Kind::AcceptLoss, Some(&expected)));
    // The old log is there as it was, under its own name.
    for file in ["db/CURRENT", "checkpoint", "vkeys", "chain-id", "checkpoint-key"] {
        assert!(accepted.aside.join(file).exists(), "{file}");
    }
    // What vouched for the old one does not vouch for the new one.
    assert_eq!(verify_against(data_dir.path(), &old_keys).unwrap().verdict(), Verdict::Tampered);
    // Once is enough.
    assert!(matches!(accept_loss(data_dir.path(), "again", NOW), Err(StoreError::NothingLost)));
}

#[test]
fn a_loss_is_accepted_only_where_there_is_one() {
    let intact = log(5);
    assert!(matches!(accept_loss(intact.path(), "x", NOW), Err(StoreError::NothingLost)));
    let (committer, _) = open(intact.path());
    assert!(matches!(accept_loss(intact.path(), "x", NOW), Err(StoreError::Locked { .. })));
    drop(committer);
    let nothing = tempfile::tempdir().unwrap();
    assert!(matches!(accept_loss(nothing.path(), "x", NOW), Err(StoreError::NotFound { .. })));
    check(&verify(intact.path()).unwrap(), &[]);
}

fn lost_directories(data_dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(data_dir).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> =
        names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("audit-lost-")).collect();
    names.sort();
    names
}

fn chain(data_dir: &Path) -> ChainId {
    fs::read_to_string(data_dir.join("keys/chain-id")).unwrap().trim_end().parse().unwrap()
}

/// The new log opens, holds the one entry, and can be begun.
#[track_caller]
fn is_new(data_dir: &Path, old: ChainId) {
    let (mut committer, opened) = open(data_dir);
    assert_eq!((opened.chain.head.size(), opened.chain.chain == old), (1, false));
    checkpoint(&mut committer);
    drop(committer);
    let found = Reader::open_read_only(data_dir).unwrap().query(&Default::default()).unwrap();
    assert_eq!(found.rows.first().map(|row| row.entry.body.kind), Some(Kind::AcceptLoss));
    check(&verify(data_dir).unwrap(), &[]);
    assert!(!data_dir.join("keys/beginning").exists());
}

/// Not a test by itself: the process that is killed. Without its variable it does nothing.
#[test]
fn child_that_accepts_a_loss() {
    if let Some(data_dir) = steps::data_dir() {
        accept_loss(&data_dir, "first", NOW).unwrap();
    }
}

/// Until it was run again to its end nothing is served, and then it is as if it had never been interrupted. Where the better copy was put
/// back meanwhile, that is kept.
#[test]
fn an_acceptance_that_is_killed_at_any_step_goes_on_or_keeps_what_was_put_back() {
    let (template, better) = behind_and_better();
    let old = chain(template.path());
    let mut kills = 0;
    for step in STEPS {
        for when in 1.. {
            let (data_dir, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            copy(template.path(), data_dir.path());
            let killed = steps::killed("loss::child_that_accepts_a_loss", data_dir.path(), step, when);
            copy(data_dir.path(), restored.path());
            let pending = data_dir.path().join("keys/accept-loss").exists();
            match Store::open(data_dir.path()).map(|_| ()) {
                Err(StoreError::LossPending) => assert!(pending, "{step} {when}"),
                Err(StoreError::Behind { .. }) => assert!(!pending && killed, "{step} {when}"),
                Ok(()) => assert!(!pending, "{step} {when}"),
                Err(error) => panic!("{step} {when}: {error}"),
            }
            match accept_loss(data_dir.path(), "second", NOW) {
                Ok(accepted) => assert_eq!(accepted.lost, old, "{step} {when}"),
                Err(StoreError::NothingLost) => assert!(!pending, "{step} {when}"),
                Err(error) => panic!("{step} {when}: {error}"),
            }
            is_new(data_dir.path(), old);
            let [aside] = lost_directories(data_dir.path()).try_into().unwrap();
            for file in ["db/CURRENT", "checkpoint", "vkeys", "chain-id", "checkpoint-key"] {
                assert!(aside.join(file).exists(), "{step} {when}: {file}");
            }
            if pending {
                let audit = restored.path().join("audit");
                drop(fs::remove_dir_all(&audit));
                copy(&better.path().join("audit"), &audit);
                let again = accept_loss(restored.path(), "second", NOW).map(|_| ());
                assert!(matches!(again, Err(StoreError::NothingLost)), "{step} {when}: {again:?}");
                let opened = open(restored.path()).1;
                assert_eq!((opened.chain.chain, opened.chain.head.size()), (old, 15), "{step} {when}");
            }
            kills += usize::from(killed);
            if !killed {
                break;
            }
        }
    }
    println!("{kills} kills");
    assert!(kills > 10, "{kills} kills: the steps were seen");
}

/// Whoever moves the directory back has undone it, with the keys that are in it.
#[test]
fn a_log_that_was_moved_back_is_looked_at_again() {
    let (data_dir, better) = behind_and_better();
    let old = chain(data_dir.path());
    let audit = data_dir.path().join("audit");
    // Interrupted before its last step.
    let accepted = accept_loss(data_dir.path(), "first", NOW).unwrap();
    let order = format!("{old}\n{}\n{}\nsaid\n", accepted.aside.file_name().unwrap().to_str().unwrap(), accepted.chain);
    fs::write(data_dir.path().join("keys/accept-loss"), order).unwrap();
    fs::remove_dir_all(&audit).unwrap();
    fs::rename(&accepted.aside, &audit).unwrap();
    // Still behind: it is put aside again, under the reason of now.
    let again = accept_loss(data_dir.path(), "second", NOW).unwrap();
    assert_eq!(again.lost, old);
    assert!(again.statement.ends_with("reason: second"), "{}", again.statement);
    // And once more, with the better log in it and the damaged one gone on in another place.
    let order = format!("{old}\n{}\n{}\nsaid\n", again.aside.file_name().unwrap().to_str().unwrap(), again.chain);
    fs::write(data_dir.path().join("keys/accept-loss"), order).unwrap();
    fs::remove_dir_all(&audit).unwrap();
    copy(&better.path().join("audit"), &audit);
    assert!(matches!(accept_loss(data_dir.path(), "third", NOW), Err(StoreError::NothingLost)));
    assert_eq!(open(data_dir.path()).1.chain.head.size(), 15);
    // The chain is lost once more: what was put aside before stays.
    fs::remove_dir_all(&audit).unwrap();
    let third = accept_loss(data_dir.path(), "removed", NOW).unwrap();
    assert_eq!((third.lost, lost_directories(data_dir.path()).len()), (old, 2));
}

/// What serving refuses is accepted, under the right name, and the new log begins.
#[test]
fn every_loss_is_accepted_under_the_name_of_the_chain_that_is_lost() {
    type Damage = fn(&Path);
    let audit = |what: &str| format!("its {what}");
    let cases: [(&str, Damage, String); 10] = [
        ("log", |dir| fs::remove_dir_all(dir.join("audit")).unwrap(), audit("database was missing")),
        ("database", |dir| fs::remove_dir_all(dir.join("audit/db")).unwrap(), audit("database was missing")),
        ("checkpoint", |dir| fs::remove_file(dir.join("audit/checkpoint")).unwrap(), audit("checkpoint was missing")),
        (
            "cut",
            |dir| fs::write(dir.join("audit/checkpoint"), "weir/audit/\n1\n").unwrap(),
            audit("checkpoint was damaged"),
        ),
        (
            "signature",
            |dir| {
                let file = dir.join("audit/checkpoint");
                let text = fs::read_to_string(&file).unwrap();
                fs::write(&file, text.replace("\n10\n", "\n9\n")).unwrap();
            },
            audit("checkpoint was damaged"),
        ),
        ("keys", |dir| fs::remove_dir_all(dir.join("keys")).unwrap(), "it was not intact".into()),
        (
            "another name",
            |dir| fs::write(dir.join("keys/chain-id"), format!("{}\n", ChainId([7; 16]))).unwrap(),
            "it was not intact".into(),
        ),
        ("no name", |dir| fs::write(dir.join("keys/chain-id"), "x\n").unwrap(), "it was not intact".into()),
        ("list", |dir| fs::write(dir.join("audit/vkeys"), "log x\n").unwrap(), "it was not intact".into()),
        (
            "another database",
            |dir| {
                fs::remove_dir_all(dir.join("audit/db")).unwrap();
                copy(&log(4).path().join("audit/db"), &dir.join("audit/db"));
            },
            "its database was another chain's".into(),
        ),
    ];
    for (name, damage, said) in cases {
        let data_dir = log(10);
        let old = chain(data_dir.path());
        damage(data_dir.path());
        assert!(Store::open(data_dir.path()).is_err_and(|error| error.is_damage()), "{name}");
        let accepted = accept_loss(data_dir.path(), "x", NOW).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {}", accepted.statement);
        assert_eq!(accepted.lost, old, "{name}");
        assert!(accepted.statement.contains(&said), "{name}: {}", accepted.statement);
        is_new(data_dir.path(), old);
    }
}
