//! When checkpoints are made, and when they are tried again.

use std::fs;
use std::thread;

use tempfile::TempDir;
use weir_audit::{ChainId, Hash};
use weir_audit_store::Store;

use super::*;

const CHAIN: ChainId = ChainId([7; 16]);

/// Longest wait for what takes no time on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A log of so many entries.
fn state(entries: u64) -> ChainState {
    let mut state = ChainState::new(CHAIN);
    (0..entries).for_each(|_| state.head.frontier.push(Hash([1; 32])));
    state
}

/// A keeper whose time comes once an hour; the folder that its file lies in.
fn ground() -> (Keeper, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let (store, _) = Store::open(dir.path()).expect("a store");
    let signer = Signer::new(CheckpointKey::from_seed(CHAIN, &[9; 32]).expect("a key"), None).expect("a signer");
    let hour = Duration::from_secs(3600);
    let signing = Signing { signer, every: hour, idle: hour, anchors: Vec::new() };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let keeper = Keeper::start(store.checkpoint_file(), signing, metrics).expect("a keeper");
    (keeper, dir)
}

/// Waits for the one under way.
fn settled(keeper: &mut Keeper) {
    let deadline = Instant::now() + PATIENCE;
    while keeper.writing {
        assert!(Instant::now() < deadline, "it does not end");
        drop(keeper.offer(None));
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn one_is_due_after_its_time_or_after_so_many_entries() {
    let (mut keeper, _dir) = ground();
    let made = |keeper: &mut Keeper, entries: u64| {
        drop(keeper.offer(Some(&state(entries))));
        settled(keeper);
        keeper.covered()
    };
    assert_eq!(made(&mut keeper, 0), 0, "nothing is signed of an empty log");
    assert_eq!(made(&mut keeper, 1), 1, "the first at once");
    assert_eq!(made(&mut keeper, ENTRIES_MAX), 1, "one entry fewer than make one due");
    assert_eq!(made(&mut keeper, ENTRIES_MAX + 1), ENTRIES_MAX + 1);
    keeper.due = Instant::now();
    assert_eq!(made(&mut keeper, ENTRIES_MAX + 2), ENTRIES_MAX + 2);
}

#[test]
fn after_a_failure_only_time_counts() {
    let (mut keeper, dir) = ground();
    let folder = dir.path().join("audit");
    fs::rename(&folder, dir.path().join("away")).expect("moved away");
    drop(keeper.offer(Some(&state(1))));
    settled(&mut keeper);
    assert_eq!((keeper.failures, keeper.covered()), (1, 0));
    // However many entries come: a disk that fails is not asked with each of them.
    for entries in [2, 2 * ENTRIES_MAX, 5 * ENTRIES_MAX] {
        drop(keeper.offer(Some(&state(entries))));
        assert!(!keeper.writing, "{entries} entries");
    }
    fs::rename(dir.path().join("away"), &folder).expect("moved back");
    keeper.due = Instant::now();
    drop(keeper.offer(Some(&state(3))));
    settled(&mut keeper);
    assert_eq!((keeper.failures, keeper.covered()), (0, 3));
}
