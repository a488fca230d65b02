//! TLS on both sides of weir: real clients, a real broker that wants a certificate, certificates that change while weir runs, and
//! everything that can be wrong with one.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "test code; a client of weir writes what it wants"
)]

#[path = "tls/clients.rs"]
mod clients;
#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;
#[path = "tls/ground.rs"]
mod ground;
#[path = "tls/idle.rs"]
mod idle;
#[path = "tls/listener.rs"]
mod listener;
#[path = "tls/reload.rs"]
mod reload;
#[path = "tls/upstream.rs"]
mod upstream;
