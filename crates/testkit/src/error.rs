use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a part of the test ground could not be had, or did not do its work.
///
/// `Debug` prints the same text as `Display`, so that `unwrap()` in a test shows the log tail with its line breaks.
#[derive(thiserror::Error)]
pub enum Error {
    /// The machine lacks something: a program, a permission.
    #[error("{what} is missing; {cure}")]
    Missing {
        /// What was looked for.
        what: String,
        /// What the reader can do about it.
        cure: String,
    },
    /// An operation on a file, socket or process failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A command ended with a failure.
    #[error("{what} failed ({status})\n{output}")]
    Command {
        /// What was run.
        what: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// A process did not get ready, or did not end, in time.
    #[error("{what} within {}s\n{log}", .within.as_secs_f32())]
    TimedOut {
        /// What did not happen.
        what: String,
        /// How long was waited.
        within: Duration,
        /// The end of the process's log.
        log: String,
    },
    /// The broker answered with an error code.
    #[error("{api}: the broker answered error {code}")]
    Kafka {
        /// The API's name.
        api: &'static str,
        /// Kafka's error code.
        code: i16,
    },
    /// The broker's answer could not be read.
    #[error("{api}: the answer ends early or is not as its schema says")]
    Answer {
        /// The API's name.
        api: &'static str,
    },
}

impl Error {
    /// For `map_err`: an I/O error with what was attempted.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For commands that may not be installed: names the program and its Debian package.
    pub(crate) fn spawn(program: &str, cure: &str) -> impl FnOnce(io::Error) -> Self {
        let (program, cure) = (program.to_owned(), cure.to_owned());
        move |source| {
            if source.kind() == io::ErrorKind::NotFound {
                Self::Missing { what: format!("the program `{program}`"), cure }
            } else {
                Self::Io { what: format!("start `{program}`"), source }
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
