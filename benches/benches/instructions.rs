//! The rows of the record path in instructions and allocations, which a busy machine does not change. Each is counted by valgrind in a
//! process of its own, twice, with different numbers of rounds: the difference is what the rounds took.
//!
//! `--write` writes the expected figures, `--case ID` counts one row alone.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops when its input is wrong")]

use std::alloc::System;
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir_benches::cases::{CASES, Case, Work};
use weir_benches::conditions::conditions;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How far a figure may be above the expected one. The libraries' code depends a little on the processor.
const TOLERANCE: f64 = 0.03;

/// Allocations for each batch at most: a rebuilt batch, its findings, and their buffers.
const ALLOCATIONS_PER_BATCH_MAX: usize = 4;

/// The expected figures.
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

const ROUNDS: [usize; 2] = [1, 4];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Weir,
    Baseline,
    /// The negative control.
    Wasteful,
}

const SIDES: [(&str, Side); 3] = [("weir", Side::Weir), ("baseline", Side::Baseline), ("wasteful", Side::Wasteful)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["--work", id, side, rounds] => {
            let side = SIDES.iter().find(|(name, _)| *name == side).unwrap().1;
            work(find(id), side, rounds.parse().unwrap());
            ExitCode::SUCCESS
        }
        ["--write"] => {
            table(CASES.iter(), true);
            ExitCode::SUCCESS
        }
        ["--case", id] => verdict(table(std::iter::once(find(id)), false)),
        _ => verdict(table(CASES.iter(), false) && control()),
    }
}

fn find(id: &str) -> &'static Case {
    CASES.iter().find(|case| case.id == id).unwrap()
}

fn verdict(holds: bool) -> ExitCode {
    println!("{}", if holds { "PASS" } else { "FAIL" });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Counts the rows and says whether all are as expected; or writes down what is expected from now on.
fn table<'a>(cases: impl Iterator<Item = &'a Case>, writes: bool) -> bool {
    println!(
        "record path: instructions of the whole process for each record, putting the input back included; one thread"
    );
    println!("{}\n", conditions());
    println!(
        "{:<38} {:>11} {:>10} {:>9}   {:<27} {:>11} {:>7} {:>17}",
        "", "instr./rec.", "instr./B", "expected", "beside", "instr./rec.", "", "allocations/batch"
    );
    let expected = expected();
    let mut text = format!(
        "# Instructions for each record on the record path; written by `just bench-instructions --write`.\n# {}\n",
        conditions()
    );
    let mut holds = true;
    for case in cases {
        let (weir, baseline) = (count(case, Side::Weir), count(case, Side::Baseline));
        let work = Work::new(case);
        let per_record = weir.instructions / work.records() as f64;
        let wanted = expected.get(case.id).copied();
        let as_expected = wanted.is_some_and(|wanted| per_record <= wanted * (1.0 + TOLERANCE));
        let allocates = weir.allocations.div_ceil(work.batches());
        let good = as_expected && allocates <= ALLOCATIONS_PER_BATCH_MAX;
        holds &= good;
        text += &format!("{} {per_record:.1}\n", case.id);
        println!(
            "{:<38} {per_record:>11.1} {:>10.2} {:>9}   {:<27} {:>11.1} {:>6.1}x {allocates:>17}   {}",
            case.name,
            weir.instructions / work.plain_bytes() as f64,
            wanted.map_or_else(|| "none".to_owned(), |wanted| format!("{wanted:.1}")),
            case.baseline.name(),
            baseline.instructions / work.records() as f64,
            baseline.instructions / weir.instructions,
            if writes || good { "" } else { "FAIL" }
        );
    }
    if writes {
        std::fs::write(EXPECTED, text).unwrap();
    }
    holds
}

fn expected() -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(EXPECTED).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    lines.map(|(id, figure)| (id.to_owned(), figure.parse().unwrap())).collect()
}

/// One copy and one check of each value more must be seen in both figures.
fn control() -> bool {
    let case = find("fixed");
    let (good, wasteful) = (count(case, Side::Weir), count(case, Side::Wasteful));
    let more = wasteful.instructions / good.instructions - 1.0;
    let records = Work::new(case).records();
    println!(
        "\ncontrol, each value copied and checked once more: {:.0} % more instructions, {} allocations for {records} records",
        more * 100.0,
        wasteful.allocations
    );
    more > TOLERANCE && wasteful.allocations >= records
}

/// What one round takes.
struct Count {
    instructions: f64,
    allocations: usize,
}

fn count(case: &Case, side: Side) -> Count {
    let [few, many] = ROUNDS.map(|rounds| valgrind(case, side, rounds));
    let rounds = ROUNDS[1] - ROUNDS[0];
    Count { instructions: (many.instructions - few.instructions) / rounds as f64, allocations: many.allocations }
}

fn valgrind(case: &Case, side: Side, rounds: usize) -> Count {
    let side = SIDES.iter().find(|(_, known)| *known == side).unwrap().0;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--work", case.id, side, &rounds.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind, which counts the instructions, does not run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let refs = said.lines().find(|line| line.contains("I refs:") || line.contains("I   refs:")).unwrap();
    let digits: String = refs.split(':').nth(1).unwrap().chars().filter(char::is_ascii_digit).collect();
    let allocations = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    Count { instructions: digits.parse().unwrap(), allocations }
}

/// Does the work of a row so many times and prints the allocations of the last time.
fn work(case: &Case, side: Side, rounds: usize) {
    let mut work = Work::new(case);
    if side == Side::Wasteful {
        work = work.wasteful();
    }
    let mut round = || {
        work.reset();
        if side == Side::Baseline { work.baseline() } else { work.weir() }
    };
    // The first grows the memory.
    round();
    let mut allocations = 0;
    for _ in 0..rounds {
        let region = Region::new(ALLOCATOR);
        round();
        let change = region.change();
        allocations = change.allocations + change.reallocations;
    }
    println!("{allocations}");
}
