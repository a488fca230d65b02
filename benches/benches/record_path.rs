//! The record path of weir, each row beside the same work done otherwise, in turns in one run.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::time::Duration;

use weir_benches::cases::{CASES, Case, Goal, Work};
use weir_benches::conditions::{conditions, load};
use weir_benches::{best_of, timed};

const ROUNDS: usize = 60;

fn main() {
    // `cargo test` runs benches too; the figures mean nothing there.
    let quick = std::env::args().any(|argument| argument == "--test");
    let rounds = if quick { 1 } else { ROUNDS };
    println!("record path: one thread, best of {rounds} rounds in turns; GB are those of the batch uncompressed");
    println!("{}", conditions());
    println!(
        "\n{:<38} {:>9} {:>6} {:>9}   {:<27} {:>9} {:>11}   goal",
        "", "weir µs", "GB/s", "M rec./s", "beside", "µs", ""
    );
    let mut missed = 0;
    for case in CASES {
        let mut work = Work::new(case);
        let [weir, baseline] = measure(&mut work, rounds);
        missed += usize::from(!print(case, &work, weir, baseline));
    }
    println!("\nload afterwards {}; {missed} of {} rows below their goal", load(), CASES.len());
}

fn measure(work: &mut Work, rounds: usize) -> [Duration; 2] {
    let work = std::cell::RefCell::new(work);
    let mut weir = || {
        let mut work = work.borrow_mut();
        work.reset();
        timed(|| work.weir())
    };
    let mut baseline = || timed(|| work.borrow_mut().baseline());
    best_of(rounds, [&mut weir, &mut baseline])
}

/// Prints a row, and says whether it reached its goal.
fn print(case: &Case, work: &Work, weir: Duration, baseline: Duration) -> bool {
    let per_second = |amount: usize| amount as f64 / weir.as_secs_f64();
    let (gb, records) = (per_second(work.plain_bytes()) / 1e9, per_second(work.records()) / 1e6);
    let times = baseline.as_secs_f64() / weir.as_secs_f64();
    let extra = (weir.as_secs_f64() - baseline.as_secs_f64()) * 1e3 / (work.plain_bytes() as f64 / 1e6);
    let (against, goal, reached) = match case.goal {
        Goal::Speed { gb_per_s, times: 0.0 } => (format!("{times:.1} x"), format!("{gb_per_s} GB/s"), gb >= gb_per_s),
        Goal::Speed { gb_per_s, times: wanted } => {
            (format!("{times:.1} x"), format!("{gb_per_s} GB/s, {wanted} x"), gb >= gb_per_s && times >= wanted)
        }
        Goal::Records { m_per_s } => (format!("{times:.1} x"), format!("{m_per_s} M records/s"), records >= m_per_s),
        Goal::Extra { ms_per_mb } => {
            (format!("{extra:+.2} ms/MB"), format!("at most {ms_per_mb:+} ms/MB"), extra <= ms_per_mb)
        }
        Goal::None => (format!("{times:.1} x"), String::new(), true),
    };
    let verdict = match (matches!(case.goal, Goal::None), reached) {
        (true, _) => "",
        (false, true) => ": reached",
        (false, false) => ": MISSED",
    };
    println!(
        "{:<38} {:>9.1} {gb:>6.2} {records:>9.2}   {:<27} {:>9.1} {against:>11}   {goal}{verdict}",
        case.name,
        weir.as_secs_f64() * 1e6,
        case.baseline.name(),
        baseline.as_secs_f64() * 1e6,
    );
    reached
}
