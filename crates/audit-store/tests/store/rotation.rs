//! Changes of the key that end at any step: the next start goes on, whichever key it has, and what was signed stays explained.

use std::path::Path;

use weir_audit::verify::Verdict;
use weir_audit::{Committer, EntryBody, EventId, KeptCheckpoint, Kind};
use weir_audit_store::{Store, StoreError, listed_keys, verify};

use crate::common::{body, commit, copy, entry};
use crate::steps::{self, STEPS};

/// A start as the gateway does it: the change of keys, an entry, a checkpoint.
fn start(data_dir: &Path, seed: u8) -> Result<(), StoreError> {
    let (mut store, opened) = Store::open(data_dir)?;
    let mut signer = opened.signer(data_dir, Some([seed; 32]))?;
    if opened.begins {
        store.sync_checkpoint(&mut signer)?;
    }
    let mut committer = Committer::open(store, opened.chain);
    opened.checkpoint.into_iter().for_each(|kept| committer.keep(kept));
    if let Some(before) = signer.last_by_another_key() {
        let change = EntryBody::new(Kind::KeyChange, EventId([3; 16]), body(0).at);
        commit(&mut committer, 1, entry(EntryBody { reason: Some(before.to_string()), ..change }));
    }
    commit(&mut committer, 2, entry(body(u64::from(seed))));
    let signed = committer.sink_mut().sync_checkpoint(&mut signer)?;
    let kept = KeptCheckpoint::new(signed, committer.state().head.frontier.clone()).unwrap();
    committer.keep(kept);
    commit(&mut committer, 3, entry(body(u64::from(seed))));
    Ok(())
}

#[track_caller]
fn verified(data_dir: &Path, what: &str) {
    let report = verify(data_dir).unwrap();
    assert_eq!(report.verdict(), Verdict::Verified, "{what}: {:?}", report.findings);
}

fn keys(data_dir: &Path) -> usize {
    listed_keys(data_dir).unwrap().map_or(0, |keys| keys.all().len())
}

/// Not a test by itself: the process that is killed. Without its variable it does nothing.
#[test]
fn child_that_changes_the_key() {
    if let Some(data_dir) = steps::data_dir() {
        start(&data_dir, 2).unwrap();
    }
}

#[test]
fn a_change_of_keys_that_is_killed_at_any_step_goes_on_with_any_key() {
    let template = tempfile::tempdir().unwrap();
    (0..2).for_each(|_| start(template.path(), 1).unwrap());
    let (mut kills, mut back, mut refused) = (0, 0, 0);
    for step in STEPS {
        for when in 1.. {
            let killed_dir = tempfile::tempdir().unwrap();
            copy(template.path(), killed_dir.path());
            let killed = steps::killed("rotation::child_that_changes_the_key", killed_dir.path(), step, when);
            for next in [1, 2, 3] {
                let what = format!("{step} {when}, then key {next}");
                let data_dir = tempfile::tempdir().unwrap();
                copy(killed_dir.path(), data_dir.path());
                match start(data_dir.path(), next) {
                    Ok(()) => back += usize::from(next == 1),
                    // The log says already that this one signs nothing more. The newest does, and so does a new one.
                    Err(StoreError::KeyRetired { .. }) if next == 1 => {
                        refused += 1;
                        start(data_dir.path(), 2).unwrap_or_else(|error| panic!("{what}: {error}"));
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
                verified(data_dir.path(), &what);
                start(data_dir.path(), 4).unwrap_or_else(|error| panic!("{what}: {error}"));
                verified(data_dir.path(), &what);
                assert!(start(data_dir.path(), 1).is_err(), "{what}: it was replaced");
            }
            kills += usize::from(killed);
            if !killed {
                break;
            }
        }
    }
    println!("{kills} kills; the old key went on {back} times and was refused {refused} times");
    assert!(kills > 10 && back > 0 && refused > 0, "{kills} kills, {back} back, {refused} refused");
}

/// Starts that end before anything is signed, each with another key: only what signed is a key of the log.
#[test]
fn keys_that_never_signed_are_no_keys_of_the_log() {
    let data_dir = tempfile::tempdir().unwrap();
    start(data_dir.path(), 1).unwrap();
    let ends_early = |seed: u8| {
        let (_, opened) = Store::open(data_dir.path()).unwrap();
        opened.signer(data_dir.path(), Some([seed; 32])).unwrap();
    };
    for seed in [2, 3, 3, 4] {
        ends_early(seed);
        assert_eq!(keys(data_dir.path()), 2, "the one that signed, and the newest");
    }
    ends_early(1);
    assert_eq!(keys(data_dir.path()), 1);
    start(data_dir.path(), 1).unwrap();
    start(data_dir.path(), 5).unwrap();
    verified(data_dir.path(), "two keys");
    assert_eq!(keys(data_dir.path()), 2);
}
