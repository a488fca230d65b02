//! Tests of weir-audit-store on real RocksDB files.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod begin;
mod checkpoints;
mod common;
mod crash;
mod loss;
mod open;
mod prune;
mod query;
mod rotation;
mod steps;
mod tamper;
