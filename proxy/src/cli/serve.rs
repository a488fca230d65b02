//! `weir serve`: checks the configuration, then runs the gateway.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use weir_yaml::Problems;

use crate::config::{self, LogFormat, LogLevel, Surroundings};
use crate::gateway::{self, Loaded, Metrics, ServeError, tell_panics};
use crate::output::Log;

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
pub fn run(args: &ServeArgs) -> ExitCode {
    let started = Metrics::new().map_err(|error| error.to_string()).and_then(|metrics| {
        let log = Log::start(metrics.process.log_lines_dropped.clone()).map_err(|error| error.to_string())?;
        Ok((Arc::new(metrics), log))
    });
    match started {
        Ok((metrics, log)) => {
            let code = serve(args, metrics, &log);
            // What was logged is written before the end.
            drop(log);
            code
        }
        // Without a log there is no other place for it.
        Err(error) => match writeln!(io::stderr(), "weir does not serve: cannot start: {error}") {
            Ok(()) | Err(_) => ExitCode::from(EXIT_REFUSED),
        },
    }
}

fn serve(args: &ServeArgs, metrics: Arc<Metrics>, log: &Log) -> ExitCode {
    let mut problems = Problems::default();
    let (loaded, seen) = config::load_watched(&args.config, &Surroundings::of_process(), &mut problems);
    problems.sort();
    let Some((config, policy)) = loaded.filter(|_| problems.errors() == 0) else {
        log.say(&format!("{problems}weir does not serve with errors in its configuration"));
        return ExitCode::from(EXIT_REFUSED);
    };
    start_log(config.log, log);
    if !log.is_in_place() {
        tell_panics(Arc::clone(&metrics));
    }
    gateway::warn(&problems);
    match gateway::serve(Loaded { config, policy, path: args.config.clone(), seen }, metrics) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ServeError::DrainTimeout(_)) => {
            tracing::warn!(event = "weir.drain_timeout", detail = %error);
            ExitCode::from(super::EXIT_ERRORS)
        }
        Err(error) => {
            log.say(&format!("weir does not serve: {error}"));
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

/// Log lines go to stderr, so that stdout stays what the commands print.
fn start_log(log: config::Log, way: &Log) {
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
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(way.lines())
        // It would tell of its own errors past the way that never waits.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(colours);
    let started = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.try_init()
    };
    debug_assert!(started.is_ok(), "the log is started once");
}
