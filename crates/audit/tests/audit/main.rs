//! Tests of weir-audit from the outside.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod cbor;
mod commit;
mod common;
mod tamper;
