//! Bad input, one test each, against the built `weir` and a real Kafka: what the client gets, that the process lives, that a log line
//! says why, and that nothing of it reached the broker. Each refusal has its control: the same input without the fault is taken.
#![expect(
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "test code"
)]

#[path = "bad_input/batch.rs"]
mod batch;
#[path = "bad_input/framing.rs"]
mod framing;
#[path = "bad_input/ground.rs"]
mod ground;
#[path = "bad_input/limits.rs"]
mod limits;
#[path = "bad_input/protocol.rs"]
mod protocol;
#[path = "bad_input/records.rs"]
mod records;
#[path = "bad_input/tokens.rs"]
mod tokens;
#[path = "bad_input/wire.rs"]
mod wire;
