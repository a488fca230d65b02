//! Connections of clients and their logins.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::Maker;

/// Connections of clients and their logins.
#[derive(Debug)]
pub(crate) struct ClientMetrics {
    pub(crate) connections: IntGaugeVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) logins: IntCounterVec,
    pub(crate) closes: IntCounterVec,
}

impl ClientMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            connections: maker.gauges("weir_connections", "Client connections that are open.", &["listener"])?,
            refused: maker.counters(
                "weir_connections_refused_total",
                "Client connections that a limit turned away.",
                &["listener", "limit"],
            )?,
            logins: maker.counters("weir_logins_total", "Logins by result.", &["listener", "result"])?,
            closes: maker.counters(
                "weir_connections_closed_total",
                "Connections that weir ended, by reason.",
                &["reason"],
            )?,
        })
    }
}
