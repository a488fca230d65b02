//! The JSON side of policies against serde_json and against naive models of what it must do.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, reason = "test code")]

#[path = "json_suite/documents.rs"]
mod documents;
#[path = "json_suite/formats.rs"]
mod formats;
#[path = "json_suite/hard.rs"]
mod hard;
#[path = "json_suite/oracle.rs"]
mod oracle;
#[path = "json_suite/select.rs"]
mod select;
#[path = "json_suite/transforms.rs"]
mod transforms;
#[path = "json_suite/wellformed.rs"]
mod wellformed;
