//! What memory the limits add up to.

use crate::config::Limits;

/// What the limits add up to. Small jobs, which connections run themselves, hold next to nothing.
pub(crate) fn memory(limits: &Limits, threads: usize) -> String {
    let records = weir_protocol::records::Limits { batch_bytes_max: limits.batch_bytes_max, ..Default::default() };
    let inspection = threads.saturating_mul(records.rewrite_bytes_max() + weir_policy::SELECTION_BYTES_MAX);
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
