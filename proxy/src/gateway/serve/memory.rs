//! What memory the limits add up to.

use crate::config::Limits;

/// What the limits add up to. Small jobs, which connections run themselves, hold next to nothing.
pub(crate) fn memory(limits: &Limits, threads: usize) -> String {
    let inspection = threads.saturating_mul(INSPECTION_BATCHES).saturating_mul(limits.batch_bytes_max);
    let connections = limits.connections_max.saturating_mul(CONNECTION_MEMORY_BYTES);
    let parts = [limits.memory_max, inspection, connections, AUDIT_MEMORY_BYTES, PROGRAM_MEMORY_BYTES];
    format!(
        "at most {} MiB by limits: {} frames, {} inspection ({threads} threads), {} connections, {} audit, {} program",
        parts.into_iter().fold(0, usize::saturating_add) >> 20,
        limits.memory_max >> 20,
        inspection >> 20,
        connections >> 20,
        AUDIT_MEMORY_BYTES >> 20,
        PROGRAM_MEMORY_BYTES >> 20,
    )
}

/// Memory of the audit log (L6), bytes.
const AUDIT_MEMORY_BYTES: usize = 32 << 20;

/// Memory of the program itself: code, runtime, policies, metrics; bytes.
const PROGRAM_MEMORY_BYTES: usize = 32 << 20;

/// Memory of a connection that holds no frame, bytes.
const CONNECTION_MEMORY_BYTES: usize = 32 << 10;

/// What one inspection may hold in units of `batch_bytes_max`: the batch opened, edited, and compressed again, and the edits
/// themselves, which take up to twice as much.
const INSPECTION_BATCHES: usize = 5;
