//! Prints the folder of Apache Kafka's broker jars, tools or message definitions, downloading them the first time.
//!
//! ```text
//! kafka-jars broker|tools|messages
//! ```

use std::io::Write;
use std::process::ExitCode;

use weir_testkit::jars;

fn main() -> ExitCode {
    let found = match std::env::args().nth(1).as_deref() {
        Some("broker") => jars::broker(),
        Some("tools") => jars::tools(),
        Some("messages") => jars::messages(),
        _ => return fail("usage: kafka-jars broker|tools|messages"),
    };
    match found {
        Ok(folder) => match writeln!(std::io::stdout(), "{}", folder.display()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(problem: &str) -> ExitCode {
    // When standard error is gone, the exit code still tells.
    writeln!(std::io::stderr(), "kafka-jars: {problem}").ok();
    ExitCode::FAILURE
}
