//! The `weir` binary: reads the command line and hands over.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weir::cli::{audit, check, policy, serve};

/// A gateway in front of Apache Kafka that stops sensitive data from crossing it.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway.
    Serve(serve::ServeArgs),
    /// Show every problem of a configuration and its policies.
    Check(check::CheckArgs),
    /// Work with policies.
    Policy(policy::PolicyArgs),
    /// Ask and prove the audit log.
    Audit(audit::AuditArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    match arguments.verb {
        Verb::Serve(args) => serve::run(&args, &mut out, &mut err),
        Verb::Check(args) => check::run(&args, &mut out),
        Verb::Policy(args) => policy::run(&args, &mut out),
        Verb::Audit(args) => audit::run(&args, &mut out, &mut err),
    }
}
