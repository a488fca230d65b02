//! TLS: handshakes of clients, and the certificates.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::Maker;

/// TLS: handshakes of clients, and the certificates.
#[derive(Debug)]
pub(crate) struct TlsMetrics {
    pub(crate) handshakes: IntCounterVec,
    pub(crate) expiry: IntGaugeVec,
    pub(crate) reloads: IntCounterVec,
}

impl TlsMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            handshakes: maker.counters(
                "weir_tls_handshakes_total",
                "TLS handshakes of clients by result.",
                &["listener", "result"],
            )?,
            expiry: maker.gauges(
                "weir_certificate_expiry_timestamp_seconds",
                "When a certificate in use ends to be valid; of authorities the first of them.",
                &["where"],
            )?,
            reloads: maker.counters(
                "weir_certificate_reloads_total",
                "Changes of certificate files: loaded, or kept what was there because they were wrong.",
                &["where", "result"],
            )?,
        })
    }
}
