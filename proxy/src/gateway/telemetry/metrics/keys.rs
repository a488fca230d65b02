//! The keys that tokens are checked with.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::Maker;

/// The keys that are fetched from issuers. Labels name issuers of the configuration.
#[derive(Debug)]
pub(crate) struct KeyMetrics {
    pub(crate) age: IntGaugeVec,
    pub(crate) age_max: IntGauge,
    pub(crate) refreshes: IntCounterVec,
}

impl KeyMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            age: maker.gauges(
                "weir_key_set_age_seconds",
                "Time since the keys of this issuer were fetched; absent until they were.",
                &["issuer"],
            )?,
            age_max: maker.gauge(
                "weir_key_set_age_max_seconds",
                "Age at which fetched keys let nobody in any more (`identity.keys_age_max`).",
            )?,
            refreshes: maker.counters(
                "weir_key_set_refreshes_total",
                "Attempts to fetch the keys of this issuer, by result: ok or failed.",
                &["issuer", "result"],
            )?,
        })
    }
}
