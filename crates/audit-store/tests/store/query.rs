//! Queries find what a full scan finds.

use weir_audit_store::{Query, Reader};

use crate::common::{SECOND, START, log, open, raw};

#[track_caller]
fn check(reader: &Reader, query: &Query, expected: impl Iterator<Item = u64>) {
    let expected: Vec<u64> = expected.collect();
    for scan in [false, true] {
        let found = reader.query(&Query { scan, ..query.clone() }).unwrap();
        let seqs: Vec<u64> = found.rows.iter().map(|row| row.entry.seq).collect();
        assert_eq!(seqs, expected, "scan {scan}");
        assert_eq!(found.undecodable, 0);
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn one_field_or_several_select_what_a_scan_selects() {
    let data_dir = log(300);
    let reader = Reader::open_read_only(data_dir.path()).unwrap();
    let all = || 0..300_u64;
    check(&reader, &Query::default(), all());
    let query = Query { principal: names(&["billing"]), ..Query::default() };
    check(&reader, &query, all().filter(|i| i % 2 == 1));
    let query = Query { topic: names(&["topic-1", "topic-3"]), ..Query::default() };
    check(&reader, &query, all().filter(|i| [1, 3].contains(&(i % 5))));
    let query = Query { rule: names(&["cards"]), topic: names(&["topic-2"]), ..query };
    check(&reader, &query, all().filter(|i| i % 5 == 2 && i % 7 == 0));
    let query = Query { principal: names(&["nobody"]), ..Query::default() };
    check(&reader, &query, std::iter::empty());
    let query = Query { principal: names(&["nobody", "checkout"]), rule: names(&["cards"]), ..Query::default() };
    check(&reader, &query, all().filter(|i| i % 14 == 0));
}

#[test]
fn times_select_a_range_and_the_covered_range_is_told() {
    let data_dir = log(300);
    let reader = Reader::open_read_only(data_dir.path()).unwrap();
    let query = Query { since: Some(START + 100 * SECOND), until: Some(START + 199 * SECOND), ..Query::default() };
    check(&reader, &query, 100..200);
    let covered = reader.query(&Query { topic: names(&["none"]), ..query.clone() }).unwrap().covered.unwrap();
    assert_eq!((covered.first, covered.last), (100, 199));
    assert_eq!((covered.first_at, covered.last_at), (START + 100 * SECOND, START + 199 * SECOND));
    check(&reader, &Query { since: Some(START + 299 * SECOND + 1), ..Query::default() }, std::iter::empty());
    check(&reader, &Query { until: Some(START - 1), ..Query::default() }, std::iter::empty());
    check(&reader, &Query { until: Some(START), ..Query::default() }, 0..1);
    let query = Query { since: Some(START + 9 * SECOND), until: Some(START + 8 * SECOND), ..Query::default() };
    check(&reader, &query, std::iter::empty());
}

#[test]
fn a_limit_keeps_the_newest_and_says_that_there_is_more() {
    let data_dir = log(300);
    let reader = Reader::open_read_only(data_dir.path()).unwrap();
    let query = Query { principal: names(&["checkout"]), limit: Some(10), ..Query::default() };
    check(&reader, &query, (280..300).step_by(2));
    assert!(reader.query(&query).unwrap().more);
    assert!(!reader.query(&Query { limit: Some(150), ..query }).unwrap().more);
    check(&reader, &Query { limit: Some(0), ..Query::default() }, std::iter::empty());
}

#[test]
fn a_lost_index_row_hides_an_entry_from_the_index_but_not_from_a_scan() {
    let data_dir = log(100);
    let db = raw(data_dir.path());
    let index = db.cf_handle("index").unwrap();
    let rows: Vec<_> = db.iterator_cf(index, rocksdb::IteratorMode::Start).map(|row| row.unwrap().0).collect();
    // Two principals, five topics, one rule, in two blocks of 64.
    assert_eq!(rows.len(), 16);
    rows.iter().for_each(|row| db.delete_cf(index, row).unwrap());
    drop(db);
    let reader = Reader::open_read_only(data_dir.path()).unwrap();
    let query = Query { rule: names(&["cards"]), ..Query::default() };
    assert_eq!(reader.query(&query).unwrap().rows.len(), 0);
    assert_eq!(reader.query(&Query { scan: true, ..query }).unwrap().rows.len(), 15);
    open(data_dir.path());
}

#[test]
fn an_empty_log_and_no_log_are_two_things() {
    let data_dir = log(0);
    let found = Reader::open_read_only(data_dir.path()).unwrap().query(&Query::default()).unwrap();
    assert_eq!((found.rows.len(), found.covered), (0, None));
    let nothing = tempfile::tempdir().unwrap();
    let error = Reader::open_read_only(nothing.path()).unwrap_err();
    assert!(matches!(error, weir_audit_store::StoreError::NotFound { .. }));
    assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0, "a reader makes nothing");
}
