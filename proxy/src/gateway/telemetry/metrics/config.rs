//! The configuration, and whether it is the one on disk.

use prometheus::{IntCounterVec, IntGauge};

use super::Maker;

/// The configuration, and whether it is the one on disk.
#[derive(Debug)]
pub(crate) struct ConfigMetrics {
    pub(crate) reloads: IntCounterVec,
    pub(crate) last_success: IntGauge,
    pub(crate) current: IntGauge,
}

impl ConfigMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let reloads = maker.counters(
            "weir_config_reloads_total",
            "Attempts to take a changed configuration, by result: applied, unchanged, rejected, unrecorded.",
            &["result"],
        )?;
        for result in ["applied", "unchanged", "rejected", "unrecorded"] {
            reloads.with_label_values(&[result]);
        }
        Ok(Self {
            reloads,
            last_success: maker.gauge(
                "weir_config_last_success_timestamp_seconds",
                "When the configuration was read last and found to be right, seconds since 1970.",
            )?,
            current: maker
                .gauge("weir_config_current", "1 while weir runs with the configuration that is on disk, all of it.")?,
        })
    }
}
