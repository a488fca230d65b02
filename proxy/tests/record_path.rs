//! The record path against a real Kafka: batches as only brokers write them, read through weir beside the broker itself; and edits that make
//! batches larger than their topic takes. One broker and one weir for all.
#![expect(
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "test code"
)]
#![expect(dead_code, reason = "what is shared with other tests is not all used here")]

#[path = "bad_input/batch.rs"]
mod batch;
#[path = "record_path/clients.rs"]
mod clients;
#[path = "common/errors.rs"]
mod errors;
#[path = "record_path/fetched.rs"]
mod fetched;
#[path = "bad_input/ground.rs"]
mod ground;
#[path = "record_path/grown.rs"]
mod grown;
#[path = "record_path/place.rs"]
mod place;
#[path = "bad_input/wire.rs"]
mod wire;
