//! What weir tells about itself: metrics, health, log lines, and its end; and that documentation and alerts say the same.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "test code"
)]

#[path = "bad_input/batch.rs"]
#[expect(dead_code, reason = "shared with bad_input, which says more")]
mod batch;
#[path = "operations/drain.rs"]
mod drain;
#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;
#[path = "bad_input/ground.rs"]
#[expect(dead_code, reason = "shared with bad_input, which asks more")]
mod ground;
#[path = "operations/lines.rs"]
mod lines;
#[path = "operations/promtool.rs"]
mod promtool;
#[path = "operations/scrape.rs"]
mod scrape;
#[path = "operations/series.rs"]
mod series;
#[path = "operations/stuck.rs"]
mod stuck;
#[path = "operations/tables.rs"]
mod tables;
#[path = "bad_input/wire.rs"]
#[expect(dead_code, reason = "shared with bad_input, which says more")]
mod wire;
