//! Tampering through the database's own interface and through its files is found.

use std::path::Path;

use rocksdb::DB;
use weir_audit::verify::{Class, Verdict};
use weir_audit::{ChainState, Entry, chain};
use weir_audit_store::{StoreError, verify};

use crate::common::{append, body, commit, entry, log, open, raw};

fn row(db: &DB, seq: u64) -> Vec<u8> {
    db.get_cf(db.cf_handle("entry").unwrap(), seq.to_be_bytes()).unwrap().unwrap()
}

fn put(db: &DB, seq: u64, bytes: &[u8]) {
    db.put_cf(db.cf_handle("entry").unwrap(), seq.to_be_bytes(), bytes).unwrap();
}

fn delete(db: &DB, seq: u64) {
    db.delete_cf(db.cf_handle("entry").unwrap(), seq.to_be_bytes()).unwrap();
}

/// Tampers with a log of 20 entries and compares the findings.
#[track_caller]
fn check(tamper: impl FnOnce(&DB), expected: &[(Class, u64, u64)]) {
    let data_dir = log(20);
    let db = raw(data_dir.path());
    tamper(&db);
    drop(db);
    let report = verify(data_dir.path()).unwrap();
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.class, finding.first, finding.last)).collect();
    assert_eq!(found, expected, "{:?}", report.findings);
    let verdict = if expected.is_empty() { Verdict::Verified } else { Verdict::Tampered };
    assert_eq!(report.verdict(), verdict);
}

#[test]
fn opening_and_closing_as_others_do_changes_nothing() {
    check(|_| {}, &[]);
}

#[test]
fn rows_that_are_edited_deleted_swapped_copied_or_cut_are_found() {
    let edit = |db: &DB| {
        let mut bytes = row(db, 7);
        bytes[60] ^= 4;
        put(db, 7, &bytes);
    };
    check(edit, &[(Class::Edit, 7, 7)]);
    let reencode = |db: &DB| {
        let mut entry = Entry::decode(&row(db, 7)).unwrap();
        entry.body.count = 2;
        put(db, 7, &entry.encode());
    };
    check(reencode, &[(Class::Edit, 7, 7)]);
    check(|db| delete(db, 7), &[(Class::Missing, 7, 7)]);
    check(|db| (5..9).for_each(|seq| delete(db, seq)), &[(Class::Missing, 5, 8)]);
    check(|db| delete(db, 0), &[(Class::Missing, 0, 0)]);
    check(|db| (15..20).for_each(|seq| delete(db, seq)), &[(Class::Truncated, 15, 19)]);
    let swap = |db: &DB| {
        let (a, b) = (row(db, 4), row(db, 9));
        put(db, 4, &b);
        put(db, 9, &a);
    };
    check(swap, &[(Class::Reorder, 4, 4), (Class::Reorder, 9, 9)]);
    check(|db| put(db, 4, &row(db, 3)), &[(Class::Duplicate, 4, 4)]);
    check(|db| db.delete(b"head").unwrap(), &[(Class::Head, 19, 19)]);
}

/// Cuts the tail and makes the head row fit: self-consistent, and only the head file knows.
fn cut_with_head(data_dir: &Path, left: u64) {
    let db = raw(data_dir);
    let mut state = ChainState::new(Entry::decode(&row(&db, 0)).unwrap().log);
    for seq in 0..left {
        let bytes = row(&db, seq);
        state.head.last = chain::leaf_hash(&bytes);
        state.head.last_at = Entry::decode(&bytes).unwrap().at;
        state.head.frontier.push(state.head.last);
    }
    (left..20).for_each(|seq| delete(&db, seq));
    db.put(b"head", state.head.encode(&state.chain)).unwrap();
}

#[test]
fn a_cut_tail_with_a_fitting_head_row_is_found_by_the_checkpoint_alone() {
    let data_dir = log(20);
    cut_with_head(data_dir.path(), 15);
    let report = verify(data_dir.path()).unwrap();
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!((finding.class, finding.first, finding.last), (Class::Truncated, 15, 19));
    // Control: without the checkpoint nothing is found, and that is inconclusive.
    std::fs::remove_file(data_dir.path().join("audit/checkpoint")).unwrap();
    let report = verify(data_dir.path()).unwrap();
    assert_eq!((report.findings.len(), report.verdict()), (0, Verdict::Inconclusive));
}

#[test]
fn entries_beyond_the_checkpoint_can_be_cut_unseen_and_are_counted() {
    let data_dir = log(15);
    let (mut committer, _) = open(data_dir.path());
    (15..20).for_each(|number| commit(&mut committer, number, entry(body(number))));
    drop(committer);
    assert_eq!(verify(data_dir.path()).unwrap().newer, Some(5));
    cut_with_head(data_dir.path(), 15);
    let report = verify(data_dir.path()).unwrap();
    assert_eq!((report.verdict(), report.newer), (Verdict::Verified, Some(0)));
}

#[test]
fn a_damaged_or_missing_checkpoint_is_not_success() {
    let data_dir = log(5);
    let file = data_dir.path().join("audit/checkpoint");
    let text = std::fs::read_to_string(&file).unwrap();
    for damaged in [text.replace("\n5\n", "\n4\n"), text.replace("\n5\n", "\n05\n"), String::new()] {
        std::fs::write(&file, damaged).unwrap();
        let report = verify(data_dir.path()).unwrap();
        assert_eq!(report.findings.iter().map(|finding| finding.class).collect::<Vec<_>>(), [Class::BadSignature]);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(verify(data_dir.path()).unwrap().verdict(), Verdict::Inconclusive);
}

/// The files of the database that hold rows.
fn row_files(data_dir: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(data_dir.join("audit/db")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn bits_flipped_in_the_databases_files_never_pass_as_verified_with_other_content() {
    let data_dir = log(20);
    // Two shapes: rows still in the write-ahead log, and rows flushed to tables.
    for extension in ["log", "sst"] {
        if extension == "sst" {
            let (mut committer, _) = open(data_dir.path());
            append(&mut committer, 20..21);
            drop(committer);
            let db = raw(data_dir.path());
            ["default", "entry", "index"].iter().for_each(|name| db.flush_cf(db.cf_handle(name).unwrap()).unwrap());
        }
        let intact = verify(data_dir.path()).unwrap();
        assert_eq!(intact.verdict(), Verdict::Verified);
        let (mut cases, mut found) = (0, 0);
        for file in row_files(data_dir.path(), extension) {
            let bytes = std::fs::read(&file).unwrap();
            for at in (0..bytes.len()).step_by(bytes.len() / 12 + 1) {
                let mut bad = bytes.clone();
                bad[at] ^= 0x10;
                std::fs::write(&file, bad).unwrap();
                cases += 1;
                match verify(data_dir.path()) {
                    Err(error) => {
                        assert!(error.is_damage(), "{error}");
                        found += 1;
                    }
                    Ok(report) if report.verdict() == Verdict::Tampered => found += 1,
                    // A byte that means nothing, such as a table's statistics: every entry is there all the same.
                    Ok(report) => assert_eq!((report.rows, report.root), (intact.rows, intact.root)),
                }
            }
            std::fs::write(&file, bytes).unwrap();
        }
        println!("{extension}: {found} of {cases} flips found, the others change no entry");
        assert!(found > 0 && cases > 5);
    }
}

#[test]
fn a_removed_write_ahead_log_is_found() {
    let data_dir = log(20);
    row_files(data_dir.path(), "log").iter().for_each(|file| std::fs::remove_file(file).unwrap());
    match verify(data_dir.path()) {
        Ok(report) => assert_eq!(report.verdict(), Verdict::Tampered),
        Err(error) => assert!(error.is_damage() || matches!(error, StoreError::Database { .. }), "{error}"),
    }
}
