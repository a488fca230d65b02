//! Tests of weir-audit from the outside.
#![expect(clippy::unwrap_used, reason = "test code")]

mod attacks;
mod cbor;
mod checkpoint;
mod commit;
mod common;
mod prune;
mod signed;
mod tamper;
mod vectors;
