//! Each row of `docs/errors.md` walked: what the client gets, the log line, the counter. A row that needs more of a stage than one weir before
//! one broker is walked by the test of its subject, which says so by the row's name.
#![expect(
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "test code"
)]
#![expect(dead_code, reason = "what is shared with other tests is not all used here")]

#[path = "bad_input/batch.rs"]
mod batch;
#[path = "common/errors.rs"]
mod errors;
#[path = "bad_input/ground.rs"]
mod ground;
#[path = "errors/walks.rs"]
mod walks;
#[path = "bad_input/wire.rs"]
mod wire;

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::errors::{Row, rows, says};
use crate::walks::{Got, Walk, walks};
use crate::wire::PATIENCE;

/// Walks a row: the client gets its answer, a log line says it, of this client where it names one, and the counter moves.
fn walk(row: &Row, walk: &Walk, patience: Duration) -> Result<(), String> {
    let counted = || row.counter().map_or(0.0, |counter| walk.weir.metric(counter));
    let (before, lines) = (counted(), matching(row, walk, None).len());
    let got = (walk.act)(walk.weir);
    if row.code() != got.code || row.gets.starts_with("closed") != got.code.is_none() {
        return Err(format!("`{}`: the client got {:?} and not {}", row.key, got.code, row.gets));
    }
    let least = if got.peer.is_some() { 1 } else { lines + 1 };
    within(patience, || matching(row, walk, got.peer.as_deref()).len() >= least)
        .ok_or_else(|| format!("`{}`: no log line\n{}", row.key, walk.weir.log_text()))?;
    within(patience, || row.counter().is_none() || counted() > before)
        .ok_or_else(|| format!("`{}`: `{}` stands still", row.key, row.counter().unwrap_or("-")))?;
    walk.weir.lives();
    Ok(())
}

fn within(patience: Duration, holds: impl Fn() -> bool) -> Option<()> {
    let end = Instant::now() + patience;
    while !holds() {
        if Instant::now() > end {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Some(())
}

fn matching(row: &Row, walk: &Walk, peer: Option<&str>) -> Vec<serde_json::Value> {
    let members = row.members();
    assert!(!members.is_empty(), "`{}` has no log line", row.key);
    walk.weir.log(|line| says(line, &members) && peer.is_none_or(|peer| line["peer"] == *peer))
}

#[test]
fn every_row_is_walked() {
    let (rows, walks) = (rows(), walks());
    for (key, steps) in &walks {
        let row = rows.iter().find(|row| row.key == *key).unwrap_or_else(|| panic!("no row `{key}`"));
        walk(row, steps, PATIENCE).unwrap();
    }
    // The rest is walked by the tests of their subject.
    let elsewhere = named_in_other_tests();
    for row in &rows {
        let here = walks.iter().filter(|(key, _)| *key == row.key).count();
        assert_eq!(here, usize::from(!elsewhere.contains(&row.key)), "`{}` is walked once", row.key);
    }
    assert!(elsewhere.iter().all(|key| rows.iter().any(|row| row.key == *key)), "{elsewhere:?}");
}

/// The keys in `walks_row("…")` of all other tests.
fn named_in_other_tests() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("errors.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let calls = text.split("walks_row(\"").skip(1);
                keys.extend(calls.filter_map(|rest| rest.split_once('"')).map(|(key, _)| key.to_owned()));
            }
        }
    }
    keys
}

#[test]
fn control_a_walk_notices_an_answer_a_log_line_and_a_counter_that_are_not_the_rows() {
    let (rows, walks) = (rows(), walks());
    let (key, steps) = &walks[0];
    let row = rows.iter().find(|row| row.key == *key).unwrap();
    let goes = |row: &Row| walk(row, steps, Duration::from_secs(1));
    goes(row).unwrap();
    let told = |row: Row| goes(&row).unwrap_err();
    assert!(told(row.with("29 TOPIC_AUTHORIZATION_FAILED", None, None)).contains("the client got"));
    assert!(told(row.with("closed", Some("`event=connection.closed` `reason=idle`"), None)).contains("no log line"));
    let counter = Some("`weir_connections_closed_total{reason=\"idle\"}`");
    assert!(told(row.with("closed", None, counter)).contains("stands still"));
}

/// What a client saw of it.
fn closed(mut client: wire::Client) -> Got {
    client.is_closed();
    Got { code: None, peer: Some(client.peer()) }
}
