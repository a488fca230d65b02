//! What a killed process leaves: everything that it said was recorded, and a log that verifies.
//!
//! A kill leaves the page cache, so it proves nothing about syncs; it proves that no receipt comes before the append. The control is a
//! writer that says so before it commits.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use weir_audit::verify::Verdict;
use weir_audit::{Commit, ConnectionId, IntentId, IntentRow, Ticket};
use weir_audit_store::{Query, Reader, verify};

use crate::common::{append, body, checkpoint, commit, entry, open};

const DATA_DIR: &str = "WEIR_TEST_DATA_DIR";
const ORDER: &str = "WEIR_TEST_ORDER";

/// Not a test by itself: the process that is killed. Without its variables it does nothing.
#[test]
fn child_that_writes_until_it_is_killed() {
    let (Ok(data_dir), Ok(order)) = (std::env::var(DATA_DIR), std::env::var(ORDER)) else { return };
    let (mut committer, opened) = open(Path::new(&data_dir));
    if opened.checkpoint.is_none() {
        checkpoint(&mut committer);
    }
    for intent in &opened.in_doubt {
        commit(&mut committer, 0, Commit::Entry { entry: intent.recovered(body(0).at), closes: vec![intent.id] });
    }
    for round in 0_u64.. {
        let first = committer.state().head.size();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&first.to_be_bytes());
        commit(&mut committer, round, Commit::Intent(IntentRow { id: IntentId(id), body: body(round) }));
        let mut queued: Vec<_> = (0..4).map(|i| (Ticket::new(ConnectionId(1), i), entry(body(round)))).collect();
        if let Some((_, Commit::Entry { closes, .. })) = queued.first_mut() {
            closes.push(IntentId(id));
        }
        if order == "print-first" {
            println!("acked {}", first + 4);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert_eq!(committer.commit(queued).receipts.len(), 4);
        if order == "commit-first" {
            println!("acked {}", first + 4);
        }
        if round % 8 == 0 {
            checkpoint(&mut committer);
        }
    }
}

/// Runs the child until it has acknowledged so many more, kills it, and gives the size that it last acknowledged.
fn kill_after(data_dir: &Path, order: &str, acks: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(DATA_DIR, data_dir)
        .env(ORDER, order)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acked = lines.by_ref().filter_map(|line| acknowledged(&line)).nth(acks).expect("the child lives");
    // SIGKILL: nothing of the child runs any more.
    child.kill().unwrap();
    child.wait().unwrap();
    acked = lines.filter_map(|line| acknowledged(&line)).last().unwrap_or(acked);
    acked
}

fn acknowledged(line: &str) -> Option<u64> {
    line.split_once("acked ")?.1.parse().ok()
}

fn size(data_dir: &Path) -> u64 {
    Reader::open_read_only(data_dir).unwrap().head().map_or(0, |state| state.head.size())
}

#[test]
fn everything_acknowledged_before_a_kill_is_in_the_log() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut covered = false;
    for kill in 0..12 {
        let acked = kill_after(data_dir.path(), "commit-first", kill % 5);
        let size = size(data_dir.path());
        assert!(size >= acked, "kill {kill}: {acked} acknowledged, {size} in the log");
        let report = verify(data_dir.path()).unwrap();
        // Until a checkpoint covers the first entry nothing says how many there should be.
        let verdict = if report.kept.is_some() { Verdict::Verified } else { Verdict::Inconclusive };
        assert_eq!((report.verdict(), &report.findings), (verdict, &Vec::new()), "kill {kill}: {:?}", report.doubts);
        assert!(report.kept.is_some() || !covered, "kill {kill}");
        covered = report.kept.is_some();
    }
    assert!(covered);
    let (_, opened) = open(data_dir.path());
    assert!(opened.in_doubt.len() <= 1);
}

#[test]
fn a_writer_that_acknowledges_before_it_commits_is_caught() {
    let data_dir = tempfile::tempdir().unwrap();
    let caught = (0..12).any(|kill| kill_after(data_dir.path(), "print-first", kill % 5) > size(data_dir.path()));
    assert!(caught, "control: the harness must see an acknowledgement that is not in the log");
}

#[test]
fn two_hundred_restarts_in_order_and_out_of_it_stay_verified() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut number = 0;
    for restart in 0..200_u64 {
        let (mut committer, opened) = open(data_dir.path());
        for intent in &opened.in_doubt {
            commit(
                &mut committer,
                0,
                Commit::Entry { entry: intent.recovered(body(number).at), closes: vec![intent.id] },
            );
        }
        append(&mut committer, number..number + 1);
        number += 1;
        if restart % 2 == 1 {
            // Out of order: an open intent, an entry that the head file does not know, and no farewell.
            let mut id = [0; 16];
            id[..8].copy_from_slice(&restart.to_be_bytes());
            commit(&mut committer, 1, Commit::Intent(IntentRow { id: IntentId(id), body: body(number) }));
            commit(&mut committer, 2, entry(body(number)));
        }
        drop(committer);
        let report = verify(data_dir.path()).unwrap();
        assert_eq!(report.verdict(), Verdict::Verified, "restart {restart}: {:?}", report.findings);
    }
    let found = Reader::open_read_only(data_dir.path()).unwrap().query(&Query::default()).unwrap();
    // One entry each, one more for every second, and one recovered for each intent but the last.
    assert_eq!(found.rows.len(), 200 + 100 + 99);
}
