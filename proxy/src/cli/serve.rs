//! `weir serve`: checks the configuration, then runs the gateway.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use weir_yaml::Problems;

use crate::config::{self, Log, LogFormat, LogLevel, Surroundings};
use crate::gateway::{self, Loaded, ServeError};

/// Exit code of a gateway that refuses to serve (`EX_CONFIG` of sysexits.h).
pub const EXIT_REFUSED: u8 = 78;

/// Arguments of `weir serve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 stopped in order, 1 connections were cut while stopping, 2 wrong usage, 78 refused to serve.\n\n\
                  Examples:\n  weir serve\n  weir serve --config /etc/weir/weir.yaml"
)]
pub struct ServeArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "weir.yaml")]
    pub config: PathBuf,
}

/// Serves until it is told to stop.
pub fn run(args: &ServeArgs, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let mut problems = Problems::default();
    let (loaded, seen) = config::load_watched(&args.config, &Surroundings::of_process(), &mut problems);
    problems.sort();
    let refused = |err: &mut dyn Write, text: &str| {
        // Whoever closed stderr does not read this either.
        if writeln!(err, "{text}").is_err() {
            return ExitCode::from(EXIT_REFUSED);
        }
        ExitCode::from(EXIT_REFUSED)
    };
    let Some((config, policy)) = loaded.filter(|_| problems.errors() == 0) else {
        return refused(err, &format!("{problems}weir does not serve with errors in its configuration"));
    };
    start_log(config.log);
    gateway::warn(&problems);
    match gateway::serve(Loaded { config, policy, path: args.config.clone(), seen }, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ServeError::DrainTimeout(_)) => {
            tracing::warn!(event = "weir.drain_timeout", detail = %error);
            ExitCode::from(super::EXIT_ERRORS)
        }
        Err(error) => refused(err, &format!("weir does not serve: {error}")),
    }
}

/// Log lines go to stderr, so that stdout stays what the commands print.
fn start_log(log: Log) {
    let level = match log.level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let json = match log.format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder =
        tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_target(false).with_ansi(colours);
    let started = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.try_init()
    };
    debug_assert!(started.is_ok(), "the log is started once");
}
