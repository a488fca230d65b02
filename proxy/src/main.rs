//! The `weir` binary: reads the command line and hands over.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weir::cli::{audit, check, init, policy, serve, token};

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
    /// Write a first configuration and policy.
    Init(init::InitArgs),
    /// Show every problem of a configuration and its policies.
    Check(check::CheckArgs),
    /// Work with policies.
    Policy(policy::PolicyArgs),
    /// Ask and prove the audit log.
    Audit(audit::AuditArgs),
    /// Make a token for trying things.
    Token(token::TokenArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    match arguments.verb {
        // Its outputs may be stuck, and it has its own way with them.
        Verb::Serve(args) => serve::run(&args),
        Verb::Init(args) => init::run(&args, &mut out, &mut err),
        Verb::Check(args) => check::run(&args, &mut out),
        Verb::Policy(args) => policy::run(&args, &mut out),
        Verb::Audit(args) => audit::run(&args, &mut out, &mut err),
        Verb::Token(args) => token::run(&args, &mut out, &mut err),
    }
}
