//! `weir audit`: asks the log and checks it, while the gateway runs or not.

mod accept_loss;
mod collected;
mod key;
mod place;
mod query;
mod table;
mod time;
mod verify;

use std::io::Write;
use std::process::ExitCode;

pub use accept_loss::AcceptLossArgs;
pub use key::KeyArgs;
pub use place::LogArgs;
pub use query::{QueryArgs, QueryOutput};
pub use time::When;
pub use verify::{ReportFormat, VerifyArgs};

/// Arguments of `weir audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// The verbs of `weir audit`.
#[derive(Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// Find entries by principal, topic, rule and time
    Query(QueryArgs),
    /// Check that nothing in the log was changed, removed, moved or cut off
    Verify(VerifyArgs),
    /// Print the keys that sign the log's checkpoints, for a trust file
    Key(KeyArgs),
    /// Begin a new log in the place of one that is not what it was, and record that
    AcceptLoss(AcceptLossArgs),
}

/// Does what is asked: results go to `out`, everything about them to `err`.
pub fn run(args: &AuditArgs, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let exit = match &args.command {
        AuditCommand::Query(args) => query::run(args, time::now(), out, err),
        AuditCommand::Verify(args) => verify::run(args, time::now(), out, err),
        AuditCommand::Key(args) => key::run(args, out, err),
        AuditCommand::AcceptLoss(args) => accept_loss::run(args, time::now(), out, err),
    };
    // Whoever closed the output does not read this either.
    ExitCode::from(exit.unwrap_or(Exit::Io).code())
}

/// How `weir audit` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Verified, or answered.
    Good,
    /// Tampering or inconsistency is proven.
    Tampered,
    /// Wrong usage.
    Usage,
    /// Nothing to verify, or nothing to verify it with.
    Inconclusive,
    /// The log could not be read.
    Io,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Tampered => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Io => 4,
        }
    }

    /// How a command ends that could not read its log.
    fn of(error: &weir_audit_store::StoreError) -> Self {
        if matches!(error, weir_audit_store::StoreError::NotFound { .. }) {
            Self::Inconclusive
        } else if error.is_damage() {
            Self::Tampered
        } else {
            Self::Io
        }
    }
}

#[cfg(test)]
mod tests;
