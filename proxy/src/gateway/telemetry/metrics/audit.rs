//! The audit log.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Maker;

/// The audit log.
#[derive(Debug)]
pub(crate) struct AuditMetrics {
    pub(crate) up: IntGauge,
    pub(crate) queue: IntGauge,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commits: IntCounter,
    pub(crate) unrecorded: IntCounter,
    pub(crate) refusals_dropped: IntCounter,
    pub(crate) bytes: IntGauge,
    pub(crate) stops: IntCounterVec,
    pub(crate) pruned: IntCounter,
    pub(crate) checkpoints: IntCounter,
    pub(crate) checkpoint_failures: IntCounter,
    pub(crate) checkpoint_size: IntGauge,
    pub(crate) anchor_lines_dropped: IntCounter,
    pub(crate) anchor_stuck: IntGauge,
}

impl AuditMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            up: maker.gauge("weir_audit_up", "1 while the audit log can be written.")?,
            queue: maker.gauge("weir_audit_queue", "Commits that wait for the audit log.")?,
            commit_seconds: maker.seconds("weir_audit_commit_seconds", "Time of one group commit, sync included.")?,
            commits: maker.counter("weir_audit_commits_total", "Intents and entries made durable.")?,
            unrecorded: maker
                .counter("weir_audit_unrecorded_total", "Intents and entries that could not be written.")?,
            refusals_dropped: maker.counter(
                "weir_audit_refusals_dropped_total",
                "Refusals that were not recorded because the queue was full.",
            )?,
            bytes: maker.gauge("weir_audit_bytes", "Bytes of the audit log on disk.")?,
            stops: maker.counters(
                "weir_audit_stops_total",
                "How often recording, and so serving, stopped for want of room, by reason.",
                &["reason"],
            )?,
            pruned: maker.counter("weir_audit_pruned_entries_total", "Entries that retention removed.")?,
            checkpoints: maker.counter("weir_audit_checkpoints_total", "Checkpoints signed and kept.")?,
            checkpoint_failures: maker
                .counter("weir_audit_checkpoint_failures_total", "Checkpoints that could not be signed or kept.")?,
            checkpoint_size: maker
                .gauge("weir_audit_checkpoint_entries", "Entries that the last checkpoint covers.")?,
            anchor_lines_dropped: maker.counter(
                "weir_audit_anchor_lines_dropped_total",
                "Checkpoints that were not printed because nobody took the lines before them.",
            )?,
            anchor_stuck: maker
                .gauge("weir_audit_anchor_stuck", "1 while nobody takes the checkpoints that are printed.")?,
        })
    }
}
