//! Tests of weir-audit from the outside.
#![expect(clippy::unwrap_used, reason = "test code")]

mod cbor;
mod commit;
mod common;
mod tamper;
mod vectors;
