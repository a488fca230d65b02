//! What memory the limits add up to.

use crate::config::{Config, Limits};

/// What the limits add up to. Small jobs, which connections run themselves, hold next to nothing. What waits under TLS, to be sent or to be
/// whole, is among the frames.
pub(crate) fn memory(config: &Config, threads: usize) -> String {
    let of_clients = usize::from(config.listeners.iter().any(|listener| listener.tls.is_some()));
    let tls = (of_clients + usize::from(config.upstream.tls.is_some())).saturating_mul(TLS_MEMORY_BYTES);
    sum(&config.limits, CONNECTION_MEMORY_BYTES.saturating_add(tls), threads)
}

fn sum(limits: &Limits, connection_bytes: usize, threads: usize) -> String {
    let records = weir_protocol::records::Limits { batch_bytes_max: limits.batch_bytes_max, ..Default::default() };
    let inspection = threads.saturating_mul(records.rewrite_bytes_max() + weir_policy::SELECTION_BYTES_MAX);
    let connections = limits.connections_max.saturating_mul(connection_bytes);
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

/// What one of its sides adds under TLS, bytes: keys (10 KiB), the buffer of the longest record (18 KiB) and what is not counted of one that is
/// not whole (4 KiB, which has its place in that buffer).
const TLS_MEMORY_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_with_tls_is_in_the_sum() {
        let limits = Limits { connections_max: 1024, ..Limits::default() };
        let plain = sum(&limits, CONNECTION_MEMORY_BYTES, 1);
        let both = sum(&limits, CONNECTION_MEMORY_BYTES + 2 * TLS_MEMORY_BYTES, 1);
        assert!(plain.contains(" 32 connections,") && both.contains(" 96 connections,"), "{plain}\n{both}");
        let total = |line: &str| line.split(' ').nth(2).unwrap().parse::<u64>().unwrap();
        assert_eq!(total(&both) - total(&plain), 64);
    }
}
