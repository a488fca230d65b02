#![doc = include_str!("../README.md")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a target panics where weir is wrong"
)]

mod identity;
mod json;
mod log;
mod records;
mod text;
mod wire;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// Counts what a target allocates.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Inputs longer than this find nothing that shorter ones do not, bytes.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// One thing to feed with bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its corpus.
    pub name: &'static str,
    /// What eats the bytes and says whether they are a whole thing; it panics where something is wrong.
    pub run: fn(&[u8]) -> bool,
    /// What it may allocate in all, whatever the input, bytes.
    pub allocated_max: usize,
    /// What it may allocate on top for each byte of input, oracles included.
    pub allocated_per_byte_max: usize,
}

/// Batches open to at most this here, bytes, so that each input is done with quickly.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

const fn target(
    name: &'static str,
    run: fn(&[u8]) -> bool,
    allocated_max: usize,
    allocated_per_byte_max: usize,
) -> Target {
    Target { name, run, allocated_max, allocated_per_byte_max }
}

/// A batch that opens to its limit, some copies of it as buffers grow, and the codecs' contexts.
const BATCH_MEMORY: usize = 32 * BATCH_BYTES_MAX;

const KIB: usize = 1024;

/// All targets.
pub const TARGETS: &[Target] = &[
    target("frame", wire::frame, 16 * KIB, 64),
    target("guard", wire::guard, 256 * KIB, 4 * KIB),
    target("produce", wire::produce, 256 * KIB, 4 * KIB),
    target("fetch_request", wire::fetch_request, 256 * KIB, 4 * KIB),
    target("fetch_response", wire::fetch_response, 256 * KIB, 4 * KIB),
    target("batch", records::batch, BATCH_MEMORY, 256),
    target("gzip", records::gzip, BATCH_MEMORY, 256),
    target("snappy", records::snappy, BATCH_MEMORY, 256),
    target("lz4", records::lz4, BATCH_MEMORY, 256),
    target("zstd", records::zstd, BATCH_MEMORY, 256),
    target("patch", records::patch, BATCH_MEMORY, 4 * KIB),
    target("json", json::json, 256 * KIB, 4 * KIB),
    target("path", json::path, 64 * KIB, 256),
    target("oauthbearer", identity::oauthbearer, 64 * KIB, 64),
    target("token", identity::token, 256 * KIB, 256),
    target("jwks", identity::jwks, 256 * KIB, 256),
    target("scram", identity::scram, 64 * KIB, 64),
    target("entry", log::entry, 256 * KIB, 512),
    target("note", log::note, 64 * KIB, 128),
    target("head", log::head, 64 * KIB, 256),
    target("policy", text::policy, 4 * KIB * KIB, 16 * KIB),
];

/// Feeds a target, and holds what it allocates against its limit. The count is the whole process's: one at a time. Says whether the
/// bytes are a whole thing.
pub fn run(name: &str, data: &[u8]) -> bool {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    if data.len() > INPUT_BYTES_MAX {
        return false;
    }
    let region = Region::new(ALLOCATOR);
    let accepted = (target.run)(data);
    let allocated = region.change().bytes_allocated;
    let max = target.allocated_max + target.allocated_per_byte_max * data.len();
    assert!(allocated <= max, "{name}: {} bytes of input made it allocate {allocated}, allowed are {max}", data.len());
    accepted
}
