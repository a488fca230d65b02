//! Negative controls of what `operations/stuck.rs` proves, and what weir tells of its own defects.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
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
#[path = "operations/stuck.rs"]
mod stuck;
#[path = "bad_input/wire.rs"]
mod wire;

use crate::errors::walks_row;
use crate::ground::{KAFKA, Weir, topic, until};
use crate::wire::{PRODUCE, produce_body};

/// The log is written by whoever has something to log.
const IN_PLACE: (&str, &str) = ("WEIR_SABOTAGE_LOG_IN_PLACE", "1");

/// What a panic says: it could be a record.
const CANARY: &str = "4111-1111-1111-1111";

#[test]
fn a_log_that_is_written_in_place_is_found() {
    let told = stuck::nothing_waits(&[IN_PLACE]).unwrap_err();
    println!("{told}");
    assert!(told.contains("answered"), "clients wait for whoever reads the log: {told}");
}

/// Makes so many inspections panic, and gives what weir printed.
fn panicked(times: u64, env: &[(&str, &str)]) -> Weir {
    static TOPIC: std::sync::Once = std::sync::Once::new();
    TOPIC.call_once(|| topic("ruled-panics", 1));
    let weir = Weir::start_with(&KAFKA, |yaml| yaml, &[&[("WEIR_SABOTAGE_PANIC", CANARY)], env].concat());
    let body = produce_body(-1, &[("ruled-panics", &[(0, &batch::plain(&["{}"]))])]);
    for _ in 0..times {
        let mut client = weir.open();
        client.send_frame(&wire::request(PRODUCE, 8, 1, &body));
        client.is_closed();
    }
    weir
}

/// Whoever found out how to cause a defect fills no disk with it, and reads nothing there.
#[test]
fn a_defect_is_told_of_without_what_it_says_and_not_without_end() {
    const TIMES: u64 = 150;
    let weir = panicked(TIMES, &[]);
    until("each is counted", || weir.metric("weir_panics_total") == TIMES as f64);
    weir.logs(&[("event", "inspection.panicked")]);
    walks_row("defect").holds("closed", &weir.log(|_| true), |counter| weir.metric(counter));
    assert!(weir.process.lock().unwrap().stop().unwrap().success());
    for event in ["inspection.panicked", "weir.panicked"] {
        let lines = weir.log(|line| line["event"] == event);
        // The first hundred, and one more each five seconds that it took.
        assert!((100..130).contains(&lines.len()), "{} lines {event}", lines.len());
    }
    let line = &weir.log(|line| line["event"] == "weir.panicked")[0];
    assert!(line["place"].as_str().unwrap().contains("pool.rs:"), "{line}");
    assert!(!weir.log_text().contains(CANARY), "{}", weir.log_text());
}

/// The control: what the standard library prints of a panic has it all.
#[test]
fn what_a_panic_says_would_be_seen() {
    let weir = panicked(1, &[IN_PLACE]);
    assert!(weir.log_text().contains(CANARY), "{}", weir.log_text());
}
