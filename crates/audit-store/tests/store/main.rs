//! Tests of weir-audit-store on real RocksDB files.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod checkpoints;
mod common;
mod crash;
mod open;
mod prune;
mod query;
mod tamper;
