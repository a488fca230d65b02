//! The record path of weir beside kafka-protocol's record module with serde_json, on one batch, in one run.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops when its input is wrong")]

use std::hint::black_box;

use weir_benches::{RECORDS, Selector, batch, best_of, library_path, rules, timed};
use weir_policy::Scratch;
use weir_protocol::records::{self, Limits, Options};

const ROUNDS: usize = 60;

fn main() {
    // `cargo test` runs benches too; the figures mean nothing there.
    let quick = std::env::args().any(|argument| argument == "--test");
    let rounds = if quick { 1 } else { ROUNDS };
    let original = batch();
    println!(
        "record path: {RECORDS} JSON records of {} bytes, uncompressed batch of {} bytes, one thread, best of {rounds} rounds in turns",
        original.len() / RECORDS,
        original.len()
    );
    println!("{:<34} {:>10} {:>9} {:>12} {:>9} {:>7}", "", "weir µs", "GB/s", "library µs", "GB/s", "ratio");
    let rows = [
        (
            "three fixed paths, masked",
            r#"{path: "$.card.number", transform: mask}, {path: "$.customer.email", transform: mask}, {path: "$.customer.name", transform: mask}"#,
            Selector::Fixed,
        ),
        ("one `..name`, masked", r#"{path: "$..email", transform: mask}"#, Selector::Anywhere),
        ("selectors that match nothing", r#"{path: "$.absent.field", transform: mask}"#, Selector::Nothing),
    ];
    for (name, fields, selector) in rows {
        let rules = rules(fields);
        let limits = Limits::default();
        let options = Options { limits: &limits, digest_key: None };
        let (mut codec, mut scratch) = (records::Scratch::default(), Scratch::default());
        let mut frame = original.clone();
        let mut weir = || {
            frame.copy_from_slice(&original);
            timed(|| {
                let mut inspector = rules.inspector(&mut scratch);
                let rewritten = records::rewrite_produce(&mut frame, 13, &options, &mut inspector, &mut codec).unwrap();
                black_box((rewritten, inspector.finish()));
            })
        };
        let mut library = || timed(|| drop(black_box(library_path(&original, selector))));
        let [weir, library] = best_of(rounds, [&mut weir, &mut library]);
        let speed = |time: std::time::Duration| original.len() as f64 / time.as_secs_f64() / 1e9;
        println!(
            "{name:<34} {:>10.1} {:>9.2} {:>12.1} {:>9.2} {:>6.1}x",
            weir.as_secs_f64() * 1e6,
            speed(weir),
            library.as_secs_f64() * 1e6,
            speed(library),
            library.as_secs_f64() / weir.as_secs_f64()
        );
    }
    let mut unopened = || timed(|| _ = black_box(records::check_produce(&original, 13).unwrap()));
    let [unopened] = best_of(rounds, [&mut unopened]);
    println!(
        "{:<34} {:>10.1} {:>9.2}",
        "no rule on the topic",
        unopened.as_secs_f64() * 1e6,
        original.len() as f64 / unopened.as_secs_f64() / 1e9
    );
}
