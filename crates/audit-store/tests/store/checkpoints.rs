//! Checkpoints through real files: rows in the database, migration, changes of keys, snapshots put back, and accepted losses.

use std::path::Path;

use weir_audit::checkpoint::{AnchorReader, TrustedKeys};
use weir_audit::verify::{Class, Report, Verdict};
use weir_audit::{
    Checkpoint, CheckpointKey, Committer, EntryBody, EventId, KeptCheckpoint, Kind, SignedCheckpoint, chain,
};
use weir_audit_store::{Against, SPAN_ENTRIES, Store, StoreError, listed_keys, signer, verify, verify_against};

use crate::common::{append, body, checkpoint, commit, copy, entry, log, open, raw};

pub(crate) const NOW: u64 = 1_770_000_000_000_000_000;

/// Makes a checkpoint with a key that is given, after telling the log of a change of keys as the gateway does at its start.
fn checkpoint_with(committer: &mut Committer<Store>, data_dir: &Path, seed: u8) -> SignedCheckpoint {
    let last = committer.sink_mut().checkpoint_file().read().unwrap();
    let chain = committer.state().chain;
    let mut signer = signer(data_dir, chain, last, Some([seed; 32])).unwrap();
    if let Some(before) = signer.last_by_another_key().cloned() {
        let change = EntryBody::new(Kind::KeyChange, EventId([3; 16]), body(0).at);
        let change = EntryBody { reason: Some(before.to_string()), ..change };
        commit(committer, 1, entry(change));
    }
    let signed = committer.sink_mut().sync_checkpoint(&mut signer).unwrap();
    let kept = KeptCheckpoint::new(signed.clone(), committer.state().head.frontier.clone());
    committer.keep(kept.unwrap());
    signed
}

pub(crate) fn against(data_dir: &Path, anchors: Option<Vec<SignedCheckpoint>>) -> Against {
    Against { trust: listed_keys(data_dir).unwrap(), anchors, ..Against::default() }
}

#[track_caller]
pub(crate) fn check(report: &Report, expected: &[Class]) {
    let mut classes: Vec<_> = report.findings.iter().map(|finding| finding.class).collect();
    classes.dedup();
    assert_eq!(classes, expected, "{:?}", report.findings);
    assert_eq!(report.verdict(), if expected.is_empty() { Verdict::Verified } else { Verdict::Tampered });
}

#[test]
fn one_row_is_kept_for_each_span_and_the_newest() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut committer, _) = open(data_dir.path());
    let batch = |committer: &mut Committer<Store>, entries: u64| {
        let queued = (0..entries).map(|i| (weir_audit::Ticket::new(weir_audit::ConnectionId(1), i), entry(body(i))));
        assert_eq!(committer.commit(queued.collect()).receipts.len() as u64, entries);
    };
    // In steps that meet the edges of the spans: 9,999, 10,000, 10,001, …
    for entries in [1, 2, SPAN_ENTRIES - 4, 1, 1, SPAN_ENTRIES - 2, 1, 3] {
        batch(&mut committer, entries);
        checkpoint(&mut committer);
    }
    batch(&mut committer, 1);
    drop(committer);
    let db = raw(data_dir.path());
    let keys = db.prefix_iterator(b"ckpt/").map(|row| row.unwrap().0);
    let sizes: Vec<u64> =
        keys.map_while(|key| Some(u64::from_be_bytes(key.strip_prefix(b"ckpt/")?.try_into().ok()?))).collect();
    assert_eq!(sizes, [SPAN_ENTRIES - 1, 2 * SPAN_ENTRIES - 1, 2 * SPAN_ENTRIES + 3]);
    drop(db);
    check(&verify(data_dir.path()).unwrap(), &[]);
}

/// It has no signature: whoever could take the checkpoints away could write it.
#[test]
fn a_head_file_of_older_versions_does_not_take_the_place_of_a_checkpoint() {
    let data_dir = log(10);
    let head = data_dir.path().join("audit/head");
    let (committer, _) = open(data_dir.path());
    let note = committer.state().head.note(committer.state().chain).to_string();
    drop(committer);
    std::fs::write(&head, &note).unwrap();
    // Control: beside a checkpoint it is read, and gone with the next one.
    append(&mut open(data_dir.path()).0, 10..12);
    assert!(!head.exists());
    std::fs::write(&head, &note).unwrap();
    for file in ["audit/checkpoint", "audit/vkeys"] {
        std::fs::remove_file(data_dir.path().join(file)).unwrap();
    }
    without_rows(data_dir.path());
    let report = verify(data_dir.path()).unwrap();
    assert_eq!((report.verdict(), report.signed), (Verdict::Verified, false));
    let refused = Store::open(data_dir.path()).map(|_| ());
    assert!(matches!(refused, Err(StoreError::CheckpointMissing { rows: 12, .. })), "{refused:?}");
    // A log that is shorter than its head file is refused as before.
    std::fs::write(&head, note.replace("size 10", "size 99")).unwrap();
    assert!(matches!(Store::open(data_dir.path()).map(|_| ()), Err(StoreError::HeadFile { .. })));
}

/// Takes the checkpoints out of the database.
fn without_rows(data_dir: &Path) {
    let db = raw(data_dir);
    let rows: Vec<_> =
        db.prefix_iterator(b"ckpt/").map(|row| row.unwrap().0).filter(|key| key.starts_with(b"ckpt/")).collect();
    rows.iter().for_each(|key| db.delete(key).unwrap());
}

#[test]
fn the_key_can_be_changed_forwards_and_never_back() {
    let data_dir = tempfile::tempdir().unwrap();
    for (round, seed) in (0..).zip([1, 1, 2, 2, 3]) {
        let (mut committer, _) = open(data_dir.path());
        commit(&mut committer, round, entry(body(round)));
        checkpoint_with(&mut committer, data_dir.path(), seed);
        commit(&mut committer, round, entry(body(round)));
        drop(committer);
        check(&verify(data_dir.path()).unwrap(), &[]);
    }
    let trust = listed_keys(data_dir.path()).unwrap().unwrap();
    assert_eq!(trust.all().len(), 3);
    let (mut committer, _) = open(data_dir.path());
    let last = committer.sink_mut().checkpoint_file().read().unwrap();
    let back = signer(data_dir.path(), committer.state().chain, last, Some([2; 32]));
    assert!(matches!(back.map(|_| ()), Err(StoreError::KeyRetired { .. })));
    drop(committer);
    // Whoever trusts the newest key alone does not trust what came before it.
    let newest: String = trust.all().last().unwrap().to_string();
    let against = Against { trust: Some(TrustedKeys::parse(&newest).unwrap()), ..Against::default() };
    assert_eq!(verify_against(data_dir.path(), &against).unwrap().verdict(), Verdict::Tampered);
}

#[test]
fn a_forged_checkpoint_file_is_refused_at_the_start() {
    let data_dir = log(10);
    let file = data_dir.path().join("audit/checkpoint");
    let text = std::fs::read_to_string(&file).unwrap();
    let refused = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let error = Store::open(data_dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::CheckpointForged { .. }) && error.is_damage(), "{error}");
        check(&verify(data_dir.path()).unwrap(), &[Class::BadSignature]);
    };
    // Fewer entries, the signature that is there.
    refused(&text.replace("\n10\n", "\n9\n"));
    // The right size and root, and a signature by nobody.
    let (head, signature) = text.rsplit_once(' ').unwrap();
    let mut bytes = signature.as_bytes().to_vec();
    bytes[40] = if bytes[40] == b'A' { b'B' } else { b'A' };
    refused(&format!("{head} {}", String::from_utf8(bytes).unwrap()));
    // By a key that is not this log's.
    let said = text.parse::<SignedCheckpoint>().unwrap().checkpoint();
    let key = CheckpointKey::from_seed(said.chain, &[9; 32]).unwrap();
    std::fs::write(&file, key.sign(&said).unwrap().to_string()).unwrap();
    let error = Store::open(data_dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::CheckpointForged { .. }), "{error}");
    // Control.
    std::fs::write(&file, &text).unwrap();
    open(data_dir.path());
}

/// An older checkpoint file is as good as any other: what is newer in the database is held against the log too.
#[test]
fn an_older_checkpoint_put_back_hides_no_rewritten_tail() {
    let data_dir = log(10);
    let file = data_dir.path().join("audit/checkpoint");
    let older = std::fs::read_to_string(&file).unwrap();
    let (mut committer, _) = open(data_dir.path());
    append(&mut committer, 10..20);
    append(&mut committer, 20..21);
    drop(committer);
    std::fs::write(&file, older).unwrap();
    // Control: as the last line that somebody collected, it is a way out.
    let opened = open(data_dir.path()).1;
    assert_eq!(opened.checkpoint.map(|kept| kept.signed().checkpoint().size), Some(20));
    rewrite(data_dir.path(), 15, 21);
    let error = Store::open(data_dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Forked { seq: 19 }), "{error}");
}

/// Writes everything anew from an entry on, with its hashes and a fitting head row.
fn rewrite(data_dir: &Path, from: u64, entries: u64) {
    let db = raw(data_dir);
    let family = db.cf_handle("entry").unwrap();
    let mut state = None;
    for seq in 0..entries {
        let bytes = db.get_cf(family, seq.to_be_bytes()).unwrap().unwrap();
        let mut entry = weir_audit::Entry::decode(&bytes).unwrap();
        let state = state.get_or_insert_with(|| weir_audit::ChainState::new(entry.log));
        entry.prev = state.head.last;
        if seq == from {
            entry.body.count = 2;
        }
        let bytes = entry.encode();
        state.head.last = chain::leaf_hash(&bytes);
        state.head.last_at = entry.at;
        state.head.frontier.push(state.head.last);
        db.put_cf(family, seq.to_be_bytes(), bytes).unwrap();
    }
    let state = state.unwrap();
    db.put(b"head", state.head.encode(&state.chain)).unwrap();
}

#[test]
fn a_rewritten_database_is_refused_at_the_start_and_proven() {
    let data_dir = log(20);
    rewrite(data_dir.path(), 7, 20);
    check(&verify(data_dir.path()).unwrap(), &[Class::Fork]);
    let error = Store::open(data_dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Forked { seq: 19 }), "{error}");
    // With the checkpoint taken away it is not signed again either.
    std::fs::remove_file(data_dir.path().join("audit/checkpoint")).unwrap();
    let error = Store::open(data_dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::CheckpointMissing { rows: 20, .. }), "{error}");
}

#[test]
fn a_whole_directory_put_back_is_told_by_collected_lines_alone() {
    let data_dir = log(10);
    let older = tempfile::tempdir().unwrap();
    copy(data_dir.path(), older.path());
    let (mut committer, _) = open(data_dir.path());
    let (mut lines, mut reader, mut anchors) = (String::new(), AnchorReader::new(), Vec::new());
    for round in 10..15 {
        append(&mut committer, round..round + 1);
        let signed = committer.sink_mut().checkpoint_file().read().unwrap().unwrap();
        lines += &format!("2026-01-02T03:04:05Z stdout F {}", signed.line(NOW));
    }
    drop(committer);
    reader.bytes(lines.as_bytes(), &mut anchors);
    reader.end(&mut anchors);
    assert_eq!(anchors.iter().map(|anchor| anchor.checkpoint().size).collect::<Vec<_>>(), [11, 12, 13, 14, 15]);
    let verdict = |data_dir: &Path, anchors: Option<&[SignedCheckpoint]>| {
        verify_against(data_dir, &against(data_dir, anchors.map(<[_]>::to_vec))).unwrap()
    };
    let report = verdict(data_dir.path(), Some(&anchors));
    check(&report, &[]);
    assert_eq!(report.anchored.map(|anchored| (anchored.size, anchored.newer)), Some((15, 0)));
    // Rolled back: nothing here knows better.
    check(&verdict(older.path(), None), &[]);
    check(&verdict(older.path(), Some(&anchors)), &[Class::Rollback]);
    // And gone on from there.
    append(&mut open(older.path()).0, 30..40);
    check(&verdict(older.path(), None), &[]);
    check(&verdict(older.path(), Some(&anchors)), &[Class::Fork]);
}

#[test]
fn a_key_that_was_replaced_in_the_directory_is_unknown_to_who_kept_the_list() {
    let data_dir = log(10);
    let kept_elsewhere = against(data_dir.path(), None);
    std::fs::remove_file(data_dir.path().join("keys/checkpoint-key")).unwrap();
    let (committer, _) = open(data_dir.path());
    let said = Checkpoint::of(committer.state());
    drop(committer);
    for file in ["audit/vkeys", "audit/checkpoint"] {
        std::fs::remove_file(data_dir.path().join(file)).unwrap();
    }
    without_rows(data_dir.path());
    // Whoever replaces everything signs everything.
    let mut own = signer(data_dir.path(), said.chain, None, None).unwrap();
    std::fs::write(data_dir.path().join("audit/checkpoint"), own.sign(&said).unwrap().to_string()).unwrap();
    append(&mut open(data_dir.path()).0, 10..11);
    // The keys beside the log were replaced with it, so they prove nothing.
    check(&verify(data_dir.path()).unwrap(), &[]);
    check(&verify_against(data_dir.path(), &kept_elsewhere).unwrap(), &[Class::UnknownKey]);
}

#[test]
fn a_hundred_restarts_in_order_and_out_of_it_keep_every_checkpoint_true() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut anchors = Vec::new();
    for restart in 0..100_u64 {
        let (mut committer, opened) = open(data_dir.path());
        opened.checkpoint.into_iter().for_each(|kept| committer.keep(kept));
        // A made key, then a given one, then another.
        if restart < 40 {
            append(&mut committer, restart..restart + 1);
        } else {
            commit(&mut committer, restart, entry(body(restart)));
            checkpoint_with(&mut committer, data_dir.path(), if restart < 70 { 1 } else { 2 });
        }
        anchors.extend(committer.sink_mut().checkpoint_file().read().unwrap());
        if restart % 2 == 1 {
            // Out of order: entries after the checkpoint, and no farewell.
            commit(&mut committer, 2, entry(body(restart)));
        }
        drop(committer);
        let report = verify_against(data_dir.path(), &against(data_dir.path(), Some(anchors.clone()))).unwrap();
        check(&report, &[]);
    }
    let checkpoint: Checkpoint = anchors.last().unwrap().checkpoint();
    assert!(checkpoint.size > 100);
}
