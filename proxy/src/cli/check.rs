//! `weir check`: every problem of a configuration and its policies at once, each with its place and its cure.

mod connect;
mod outlook;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use weir_policy::PolicySet;
use weir_yaml::Problems;

use crate::config::{self, Config, Surroundings};
use crate::gateway::Clock;

/// Arguments of `weir check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 no errors, 1 errors (with --strict also warnings), 2 wrong usage.\n\n\
                  Examples:\n  weir check\n  weir check --strict --config /etc/weir/weir.yaml\n  weir check --show\n  weir check --connect")]
pub struct CheckArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "weir.yaml")]
    pub config: PathBuf,
    /// Let warnings count as errors.
    #[arg(long)]
    pub strict: bool,
    /// Print the configuration with every default, as YAML that is the same configuration in the same directory
    #[arg(long)]
    pub show: bool,
    /// Also try what the configuration names: brokers, issuers, the disk
    #[arg(long, conflicts_with = "show")]
    pub connect: bool,
}

/// Checks and reports to `out`.
pub fn run(args: &CheckArgs, out: &mut impl Write) -> ExitCode {
    match report(args, &Surroundings::of_process(), out) {
        Ok(true) => ExitCode::SUCCESS,
        // Whoever closed the output does not read this either.
        Ok(false) | Err(_) => ExitCode::from(super::EXIT_ERRORS),
    }
}

/// Whether the configuration may be used.
///
/// # Errors
///
/// When `out` cannot be written.
pub fn report(args: &CheckArgs, surroundings: &Surroundings<'_>, out: &mut impl Write) -> io::Result<bool> {
    let mut problems = Problems::default();
    let (loaded, _) = config::load_watched(&args.config, surroundings, &mut problems);
    problems.sort();
    let good = loaded.is_some() && problems.errors() == 0 && !(args.strict && problems.warnings() > 0);
    if let (true, true, Some((config, _))) = (args.show, good, &loaded) {
        // What is left to say must not spoil the YAML.
        for line in problems.to_string().lines() {
            writeln!(out, "{}", format!("# {line}").trim_end())?;
        }
        write!(out, "{}", config.effective)?;
        return Ok(good);
    }
    let mut tried = Vec::new();
    if let (true, true, Some((config, _))) = (args.connect, good, &loaded) {
        connect::try_all(config, &mut problems, &mut tried)?;
    }
    let good = good && problems.errors() == 0 && !(args.strict && problems.warnings() > 0);
    out.write_all(&tried)?;
    if !tried.is_empty() && !problems.is_empty() {
        writeln!(out)?;
    }
    write!(out, "{problems}")?;
    if let (true, true, Some((config, policies))) = (good, problems.is_empty(), &loaded) {
        writeln!(out, "{}: no problems: {}", args.config.display(), summary(config, policies))?;
    }
    if let (true, Some((config, _))) = (good, &loaded)
        && let Some(outlook) = outlook::outlook(config, Clock::wall_ns())
    {
        writeln!(out, "{outlook}")?;
    }
    if let (true, Some((config, _))) = (good, &loaded)
        && let Ok(Some(keys)) = weir_audit_store::listed_keys(&config.data_dir)
        && let Some(key) = keys.all().last()
    {
        writeln!(out, "checkpoints of the audit log are signed by {key}")?;
    }
    Ok(good)
}

/// What a good configuration amounts to, in a line.
fn summary(config: &Config, policies: &PolicySet) -> String {
    [
        super::count(config.listeners.len(), "listener"),
        super::count(config.identity.issuers.len(), "issuer"),
        super::count(config.policies.len(), "policy file"),
        super::count(policies.rule_count(), "rule"),
        super::count(policies.test_count(), "test"),
    ]
    .join(", ")
}
