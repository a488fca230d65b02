//! `weir audit key`.

use std::io::{self, Write};

use super::{Exit, LogArgs};
use crate::config::Surroundings;

/// Arguments of `weir audit key`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The lines are what a trust file needs (C2SP tlog-policy). Take them once, right after the first start, and keep them where \
                  the gateway cannot write: who can change the log can change this list too.\n\n\
                  Exit codes: 0 printed; 2 wrong usage; 3 there is no log, or it was never started; 4 the list cannot be read.\n\n\
                  Examples:\n  weir audit key > trust.txt\n  weir audit verify --trust trust.txt"
)]
pub struct KeyArgs {
    /// Which log.
    #[command(flatten)]
    pub log: LogArgs,
}

pub(super) fn run(args: &KeyArgs, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let data_dir = match args.log.data_dir(&Surroundings::of_process()) {
        Ok(data_dir) => data_dir,
        Err(message) => {
            writeln!(err, "error: {message}")?;
            return Ok(Exit::Usage);
        }
    };
    match weir_audit_store::listed_keys(&data_dir) {
        Ok(Some(keys)) => {
            for key in keys.all() {
                writeln!(out, "log {key}")?;
            }
            out.flush()?;
            Ok(Exit::Good)
        }
        Ok(None) => {
            writeln!(err, "error: no key has signed a log in `{}` yet", data_dir.display())?;
            Ok(Exit::Inconclusive)
        }
        Err(error) => {
            writeln!(err, "error: {error}")?;
            Ok(Exit::of(&error))
        }
    }
}
