//! `weir audit accept-loss`.

use std::io::{self, Write};

use weir_audit_store::{REASON_BYTES_MAX, StoreError};

use super::{Exit, LogArgs};
use crate::config::Surroundings;

/// Arguments of `weir audit accept-loss`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For a log that `weir serve` refuses because it is behind its checkpoint, was rewritten, or lacks database or checkpoint, when \
                  there is no better copy. The old log is moved to DATA_DIR/audit-lost-CHAIN and never deleted; a new chain begins, whose first entry names the old \
                  one, what is missing, and the reason. The new log has another key unless the configuration gives one: add it to \
                  trust files. weir must not run meanwhile.\n\n\
                  Exit codes: 0 a new log is there; 2 wrong usage, or nothing is lost; 3 there is no log; 4 it cannot be done now.\n\n\
                  Examples:\n  weir audit accept-loss --reason 'disk replaced, ticket OPS-1234'"
)]
pub struct AcceptLossArgs {
    /// Which log.
    #[command(flatten)]
    pub log: LogArgs,
    /// Why, and who decided it: one line that stays in the new log for good
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: String,
}

pub(super) fn run(args: &AcceptLossArgs, now: u64, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let data_dir = match args.log.data_dir(&Surroundings::of_process()) {
        Ok(data_dir) => data_dir,
        Err(message) => {
            writeln!(err, "error: {message}")?;
            return Ok(Exit::Usage);
        }
    };
    match weir_audit_store::accept_loss(&data_dir, &args.reason, now) {
        Ok(accepted) => {
            writeln!(out, "the old log is in {}", accepted.aside.display())?;
            writeln!(out, "the new log {}", accepted.statement)?;
            writeln!(out, "start weir, then add its key to the trust file:  weir audit key")?;
            out.flush()?;
            Ok(Exit::Good)
        }
        Err(error) => {
            writeln!(err, "error: {error}")?;
            Ok(if matches!(error, StoreError::NothingLost) {
                Exit::Usage
            } else if matches!(error, StoreError::NotFound { .. }) {
                Exit::Inconclusive
            } else {
                Exit::Io
            })
        }
    }
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > REASON_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!("one line of 1 to {REASON_BYTES_MAX} bytes"));
    }
    Ok(text.to_owned())
}
