//! `weir policy`: what can be done with policies without a running gateway.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use weir_policy::{KeyRing, PolicyLimits, PolicySet, Source, TestOutcome};
use weir_yaml::Problems;

use crate::config::{self, Limits, Surroundings};

/// Arguments of `weir policy`.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// The verbs of `weir policy`.
#[derive(Debug, clap::Subcommand)]
pub enum PolicyCommand {
    /// Run the tests that policies carry
    Test(TestArgs),
}

/// Arguments of `weir policy test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all tests passed, 1 errors or failed tests, 2 wrong usage.\n\n\
                  Examples:\n  weir policy test\n  weir policy test policies/try.yaml")]
pub struct TestArgs {
    /// Policy files; without any, those of the configuration
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub files: Vec<PathBuf>,
    /// The configuration that names policies and keys [default: weir.yaml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Does what is asked and reports to `out`.
pub fn run(args: &PolicyArgs, out: &mut impl Write) -> ExitCode {
    let PolicyCommand::Test(args) = &args.command;
    match report(args, &Surroundings::of_process(), out) {
        Ok(true) => ExitCode::SUCCESS,
        // Whoever closed the output does not read this either.
        Ok(false) | Err(_) => ExitCode::from(super::EXIT_ERRORS),
    }
}

/// Whether every test passed.
///
/// # Errors
///
/// When `out` cannot be written.
pub fn report(args: &TestArgs, surroundings: &Surroundings<'_>, out: &mut impl Write) -> io::Result<bool> {
    let mut problems = Problems::default();
    let policies = if args.files.is_empty() {
        let config = args.config.as_deref().unwrap_or(Path::new("weir.yaml"));
        config::load_and_compile(config, surroundings, &mut problems).map(|(_, policies)| policies)
    } else {
        compile(&args.files, &mut problems)
    };
    problems.sort();
    write!(out, "{problems}")?;
    let Some(policies) = policies else { return Ok(false) };
    if !problems.is_empty() {
        writeln!(out)?;
    }
    let outcomes = policies.run_tests();
    write_outcomes(&outcomes, out)?;
    Ok(outcomes.iter().all(|outcome| outcome.passed))
}

/// Files alone have no keys: rules that hash need the configuration.
fn compile(files: &[PathBuf], problems: &mut Problems) -> Option<PolicySet> {
    let sources: Vec<Option<Source>> = files.iter().map(|file| config::read_policy(file, problems)).collect();
    let sources: Vec<Source> = sources.into_iter().collect::<Option<_>>()?;
    let limits = PolicyLimits { json_depth_max: Limits::default().json_depth_max };
    PolicySet::compile(&sources, &KeyRing::new(Vec::new()), &limits, problems)
}

fn write_outcomes(outcomes: &[TestOutcome], out: &mut impl Write) -> io::Result<()> {
    let width = outcomes.iter().map(|outcome| outcome.name.chars().count()).max().unwrap_or(0).min(NAME_WIDTH_MAX);
    for outcome in outcomes {
        let verdict = if outcome.passed { "ok" } else { "FAILED" };
        writeln!(out, "{verdict:<6}  {:<width$}  {}", outcome.name, outcome.place)?;
        if !outcome.passed {
            for line in outcome.detail.lines() {
                writeln!(out, "        {line}")?;
            }
        }
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    let tests = super::count(outcomes.len(), "test");
    if outcomes.is_empty() {
        writeln!(out, "no tests")
    } else if failed == 0 {
        writeln!(out, "\n{tests}, all passed")
    } else {
        writeln!(out, "\n{tests}, {failed} failed")
    }
}

/// Names longer than this do not push the places of all others aside.
const NAME_WIDTH_MAX: usize = 60;
