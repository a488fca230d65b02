//! Every tampering of a 50-entry log is found, and an intact log gives no finding.

use crate::common::{body, committer, log_of};
use weir_audit::verify::{Class, Expected, Report, UNCOVERED_ENTRIES_MAX, Verdict, verify};
use weir_audit::{ChainId, ChainState, Entry, Hash, chain};

type Rows = Vec<(u64, Vec<u8>)>;

struct Log {
    rows: Rows,
    expected: Expected,
}

/// 50 entries of all kinds, their head, and a head file that is five entries behind.
fn log() -> Log {
    log_with_tail(45, 5)
}

/// So many entries, then a head file, then so many more.
fn log_with_tail(covered: u64, tail: u64) -> Log {
    let mut committer = committer();
    log_of(&mut committer, 0..covered);
    let note = committer.state().head.note(committer.state().chain);
    for from in (covered..covered + tail).step_by(1000) {
        log_of(&mut committer, from..(from + 1000).min(covered + tail));
    }
    let state = committer.state().clone();
    let rows = committer.sink_mut().entries().iter().map(|sealed| (sealed.entry.seq, sealed.bytes.clone())).collect();
    Log { rows, expected: Expected { chain: state.chain, head: Some(state), note: Some(note), cut: None } }
}

fn run(expected: &Expected, rows: &Rows) -> Report {
    verify(expected.clone(), rows.iter().map(|(seq, bytes)| (*seq, bytes.as_slice())))
}

/// Runs a tampered log and compares the findings, as (class, first, last).
#[track_caller]
fn check(expected: &Expected, rows: &Rows, findings: &[(Class, u64, u64)]) {
    let report = run(expected, rows);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.class, finding.first, finding.last)).collect();
    assert_eq!(found, findings, "{:?}", report.findings);
    assert_eq!(report.verdict(), Verdict::Tampered);
}

#[test]
fn an_intact_log_is_verified_without_a_finding() {
    let Log { rows, expected } = log();
    let report = run(&expected, &rows);
    assert_eq!(report.findings, []);
    assert_eq!(report.verdict(), Verdict::Verified);
    assert_eq!((report.rows, report.newer), (50, Some(5)));
    assert_eq!(report.good, [(0, 49)]);
    assert_eq!(report.root, expected.head.unwrap().head.frontier.root());
}

/// weir covers its entries again and again: a tail that is longer than it ever leaves says that what covered it is gone.
#[test]
fn a_tail_that_nothing_covers_is_verified_up_to_the_limit() {
    for (tail, verdict) in
        [(UNCOVERED_ENTRIES_MAX, Verdict::Verified), (UNCOVERED_ENTRIES_MAX + 1, Verdict::Inconclusive)]
    {
        let Log { rows, expected } = log_with_tail(45, tail);
        let report = run(&expected, &rows);
        assert_eq!((report.findings.as_slice(), report.newer, report.verdict()), (&[][..], Some(tail), verdict));
    }
}

#[test]
fn every_flipped_bit_is_an_edit_of_its_entry_and_of_no_other() {
    let Log { mut rows, expected } = log();
    let mut cases = 0_u32;
    for row in 0..rows.len() {
        for bit in 0..rows[row].1.len() * 8 {
            rows[row].1[bit / 8] ^= 1 << (bit % 8);
            let report = run(&expected, &rows);
            let seq = rows[row].0;
            let [finding] = report.findings.as_slice() else { panic!("entry {seq}, bit {bit}: {:?}", report.findings) };
            assert_eq!((finding.class, finding.first, finding.last), (Class::Edit, seq, seq), "bit {bit}");
            let good: u64 = report.good.iter().map(|(first, last)| last - first + 1).sum();
            assert_eq!(good, 49, "entry {seq}, bit {bit}: {:?}", report.good);
            rows[row].1[bit / 8] ^= 1 << (bit % 8);
            cases += 1;
        }
    }
    assert!(cases > 50_000, "{cases} cases");
    assert_eq!(run(&expected, &rows).verdict(), Verdict::Verified);
}

#[test]
fn every_removed_entry_is_found() {
    let Log { rows, expected } = log();
    for row in 0..rows.len() {
        let seq = rows[row].0;
        let mut without = rows.clone();
        without.remove(row);
        let class = if row == rows.len() - 1 { Class::Truncated } else { Class::Missing };
        check(&expected, &without, &[(class, seq, seq)]);
        // The same, with the rows behind it moved up to close the gap.
        for (seq, row) in (0..).zip(&mut without) {
            row.0 = seq;
        }
        assert_eq!(run(&expected, &without).verdict(), Verdict::Tampered, "renumbered without {seq}");
    }
}

#[test]
fn every_swapped_pair_is_found() {
    let Log { rows, expected } = log();
    for a in 0..rows.len() {
        for b in a + 1..rows.len() {
            // The entries under each other's numbers.
            let (first, second) = (rows[a].0, rows[b].0);
            let mut swapped = rows.clone();
            swapped[a].1 = rows[b].1.clone();
            swapped[b].1 = rows[a].1.clone();
            if b == a + 1 {
                check(&expected, &swapped, &[(Class::Reorder, first, second)]);
            } else {
                check(&expected, &swapped, &[(Class::Reorder, first, first), (Class::Reorder, second, second)]);
            }
            // The rows with their numbers.
            let mut moved = rows.clone();
            moved.swap(a, b);
            let report = run(&expected, &moved);
            assert!(
                report.findings.iter().all(|finding| finding.class == Class::Reorder),
                "{a} {b} {:?}",
                report.findings
            );
            assert_eq!(report.verdict(), Verdict::Tampered);
        }
    }
}

#[test]
fn every_duplicate_is_found() {
    let Log { rows, expected } = log();
    for row in 0..rows.len() {
        let seq = rows[row].0;
        let mut twice = rows.clone();
        twice.insert(row, rows[row].clone());
        check(&expected, &twice, &[(Class::Duplicate, seq, seq)]);
        // The same, with the rows behind it moved down.
        for (seq, row) in (0..).zip(&mut twice) {
            row.0 = seq;
        }
        assert_eq!(run(&expected, &twice).verdict(), Verdict::Tampered, "renumbered with two of {seq}");
        // A copy in another's place.
        let mut replaced = rows.clone();
        let other = (row + 7) % rows.len();
        replaced[other].1 = rows[row].1.clone();
        check(&expected, &replaced, &[(Class::Duplicate, rows[other].0, rows[other].0)]);
    }
}

#[test]
fn every_cut_tail_is_found_with_the_head_or_the_head_file() {
    let Log { rows, expected } = log();
    for left in 0..rows.len() {
        let cut = rows[..left].to_vec();
        let size = u64::try_from(left).unwrap();
        check(&expected, &cut, &[(Class::Truncated, size, 49)]);
        // A cut log with a head of its own is consistent in itself; the head file knows better up to its size.
        let mut shorter = committer();
        log_of(&mut shorter, 0..size);
        let expected = Expected { head: Some(shorter.state().clone()), ..expected.clone() };
        let report = run(&expected, &cut);
        let verdict = if size < 45 { Verdict::Tampered } else { Verdict::Verified };
        assert_eq!(report.verdict(), verdict, "cut to {size}");
    }
}

#[test]
fn a_suffix_that_was_rewritten_with_its_hashes_is_a_fork_from_the_head_file() {
    let Log { rows, expected } = log();
    let mut entries: Vec<Entry> = rows.iter().map(|(_, bytes)| Entry::decode(bytes).unwrap()).collect();
    entries[20].body.count += 1;
    let mut state = ChainState::new(expected.chain);
    let mut forged: Rows = Vec::new();
    for entry in &mut entries {
        entry.prev = state.head.last;
        let bytes = entry.encode();
        state.head.last = chain::leaf_hash(&bytes);
        state.head.last_at = entry.at;
        state.head.frontier.push(state.head.last);
        forged.push((entry.seq, bytes));
    }
    let expected = Expected { head: Some(state), ..expected };
    check(&expected, &forged, &[(Class::Fork, 0, 44)]);
    // Control: without the head file nothing is found, and that is not success.
    let report = run(&Expected { note: None, ..expected }, &forged);
    assert_eq!((report.findings.len(), report.verdict()), (0, Verdict::Inconclusive));
}

#[test]
fn another_chains_entry_and_a_damaged_head_are_found() {
    let Log { rows, expected } = log();
    let mut other = weir_audit::Committer::open(weir_audit::MemorySink::default(), ChainState::new(ChainId([9; 16])));
    log_of(&mut other, 0..50);
    for row in 0..rows.len() {
        let mut replaced = rows.clone();
        replaced[row].1 = other.sink_mut().entries()[row].bytes.clone();
        check(&expected, &replaced, &[(Class::Edit, rows[row].0, rows[row].0)]);
    }
    let mut bad = expected.clone();
    bad.head.as_mut().unwrap().head.last = Hash([1; 32]);
    check(&bad, &rows, &[(Class::Head, 49, 49)]);
    check(&Expected { head: None, ..expected.clone() }, &rows, &[(Class::Head, 49, 49)]);
    let mut bad = expected.clone();
    bad.note.as_mut().unwrap().chain = ChainId([9; 16]);
    check(&bad, &rows, &[(Class::Head, 50, 50)]);
}

#[test]
fn rows_behind_the_head_are_extra() {
    let Log { rows, expected } = log();
    let mut shorter = committer();
    log_of(&mut shorter, 0..48);
    let expected = Expected { head: Some(shorter.state().clone()), ..expected };
    check(&expected, &rows, &[(Class::Extra, 48, 49)]);
}

#[test]
fn several_damages_are_listed_with_the_intact_ranges_between() {
    let Log { mut rows, expected } = log();
    rows[10].1[40] ^= 1;
    rows.remove(30);
    rows[5].1.pop();
    let report = run(&expected, &rows);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.class, finding.first)).collect();
    assert_eq!(found, [(Class::Edit, 5), (Class::Edit, 10), (Class::Missing, 30)]);
    assert_eq!(report.good, [(0, 4), (6, 9), (11, 29), (31, 49)]);
}

#[test]
fn nothing_to_verify_is_inconclusive() {
    let chain = ChainId([7; 16]);
    let state = ChainState::new(chain);
    let note = Some(state.head.note(chain));
    for (head, note) in [(None, None), (Some(state.clone()), None), (Some(state), note)] {
        let report = run(&Expected { chain, head, note, cut: None }, &Vec::new());
        assert_eq!(report.verdict(), Verdict::Inconclusive, "{:?}", report.findings);
    }
    let Log { rows: _, expected } = log();
    check(&expected, &Vec::new(), &[(Class::Truncated, 0, 49)]);
}

/// Control: with the links, numbers and heads unchecked, and only each row decoded, most tampering passes.
#[test]
fn a_verifier_that_only_decodes_would_miss_most_of_it() {
    let Log { mut rows, .. } = log();
    let found = |rows: &Rows| rows.iter().any(|(_, bytes)| Entry::decode(bytes).is_err());
    let (mut bits, mut missed) = (0_u32, 0_u32);
    for row in 0..rows.len() {
        for bit in 0..rows[row].1.len() * 8 {
            rows[row].1[bit / 8] ^= 1 << (bit % 8);
            bits += 1;
            missed += u32::from(!found(&rows));
            rows[row].1[bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert!(missed > bits / 2, "{missed} of {bits}");
    let (mut swapped, mut removed, mut twice) = (rows.clone(), rows.clone(), rows.clone());
    swapped.swap(3, 4);
    removed.remove(3);
    twice.insert(3, rows[3].clone());
    assert!(!found(&swapped) && !found(&removed) && !found(&twice));
}

#[test]
fn the_bodies_of_the_test_log_differ_in_kind() {
    let kinds: std::collections::HashSet<_> = (0..50).map(|i| body(i).kind).collect();
    assert!(kinds.len() >= 5, "{kinds:?}");
}
