//! Logs for tests.

use std::path::Path;

use rocksdb::{DB, Options};
use weir_audit::{
    CheckpointKey, Commit, Committer, ConnectionId, EntryBody, EventId, KeptCheckpoint, Kind, Outcome, Part,
    PrincipalKind, PrincipalRef, RuleHit, Ticket,
};
use weir_audit_store::{Opened, Store};

pub(crate) const START: u64 = 1_760_000_000_000_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) fn open(data_dir: &Path) -> (Committer<Store>, Opened) {
    let (store, opened) = Store::open(data_dir).unwrap();
    (Committer::open(store, opened.chain.clone()), opened)
}

/// Appends the bodies of these numbers in one batch each, and makes a checkpoint.
pub(crate) fn append(committer: &mut Committer<Store>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        commit(committer, number, entry(body(number)));
    }
    checkpoint(committer);
}

/// Makes a checkpoint with the key of the log's own directory, as the gateway does each second.
pub(crate) fn checkpoint(committer: &mut Committer<Store>) {
    let (state, file) = (committer.state().clone(), committer.sink_mut().checkpoint_file());
    let data_dir = file.path().ancestors().nth(2).unwrap();
    let mut signer = weir_audit_store::signer(data_dir, state.chain, file.read().unwrap(), None).unwrap();
    let signed = committer.sink_mut().sync_checkpoint(&mut signer).unwrap();
    committer.keep(KeptCheckpoint::new(signed, state.head.frontier).unwrap());
}

pub(crate) fn commit(committer: &mut Committer<Store>, serial: u64, commit: Commit) {
    let committed = committer.commit(vec![(Ticket::new(ConnectionId(1), serial), commit)]);
    assert_eq!(committed.receipts.len(), 1, "{:?}", committer.take_error());
}

pub(crate) fn entry(body: EntryBody) -> Commit {
    Commit::Entry { entry: body, closes: Vec::new() }
}

/// One second apart; every second of checkout, the others of billing; one topic of five; a rule in every seventh.
pub(crate) fn body(number: u64) -> EntryBody {
    let principal = if number.is_multiple_of(2) { "checkout" } else { "billing" };
    let part = Part {
        topic: format!("topic-{}", number % 5),
        topic_id: None,
        partition: 0,
        base_offset: Some(i64::try_from(number).unwrap()),
        last_offset: Some(i64::try_from(number).unwrap()),
        records: 1,
        bytes_in: 100,
        bytes_out: 100,
        error_code: 0,
        producer: None,
        digest: None,
    };
    let hit = RuleHit { rule: "cards".into(), action: "mask".into(), count: 1 };
    EntryBody {
        principal: Some(PrincipalRef { kind: PrincipalKind::Oauthbearer, id: principal.into() }),
        outcome: Outcome::Stored,
        parts: vec![part],
        rule_hits: if number.is_multiple_of(7) { vec![hit] } else { Vec::new() },
        ..EntryBody::new(Kind::Produce, EventId::new(number, [1; 10]), START + number * SECOND)
    }
}

/// A log of so many entries, closed in order.
pub(crate) fn log(entries: u64) -> tempfile::TempDir {
    let data_dir = tempfile::tempdir().unwrap();
    append(&mut open(data_dir.path()).0, 0..entries);
    data_dir
}

/// The key of the log's own directory.
pub(crate) fn checkpoint_key(committer: &mut Committer<Store>) -> CheckpointKey {
    let file = committer.sink_mut().checkpoint_file();
    let seed = weir_audit_store::checkpoint_seed(file.path().ancestors().nth(2).unwrap()).unwrap();
    CheckpointKey::from_seed(committer.state().chain, &seed).unwrap()
}

/// The database as somebody would open it who wants to change it.
pub(crate) fn raw(data_dir: &Path) -> DB {
    DB::open_cf(&Options::default(), data_dir.join("audit/db"), ["default", "entry", "index"]).unwrap()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}
