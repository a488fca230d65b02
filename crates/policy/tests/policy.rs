//! The rules side of policies, through the public API.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

#[path = "policy/check.rs"]
mod check;
#[path = "policy/formats.rs"]
mod formats;
#[path = "policy/framing.rs"]
mod framing;
#[path = "policy/inside.rs"]
mod inside;
#[path = "policy/inspector.rs"]
mod inspector;
#[path = "policy/runner.rs"]
mod runner;
#[path = "policy/set.rs"]
mod set;
#[path = "policy/support.rs"]
mod support;
