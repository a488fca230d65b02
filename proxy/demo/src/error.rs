use std::io;
use std::time::Duration;

use rdkafka::error::KafkaError;

/// Why the demonstration could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// weir, its folder, its ports or its tokens could not be had.
    #[error(transparent)]
    Ground(#[from] weir_testkit::Error),
    /// The client library failed.
    #[error("{what}: {source}")]
    Client { what: &'static str, source: KafkaError },
    /// Nothing came within the time.
    #[error("{what} within {} s{}", .within.as_secs(), .heard.as_ref().map(|text| format!(": the client says: {text}")).unwrap_or_default())]
    Nothing { what: String, within: Duration, heard: Option<String> },
    /// A file or the terminal failed.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// The binary is not there.
    #[error("no weir at {path}: build it with `cargo build`, or say where it is with --weir PATH")]
    NoWeir { path: String },
}

impl DemoError {
    pub(crate) fn client(what: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Client { what, source }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
