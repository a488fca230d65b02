//! The keys that tokens are checked with.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::Maker;

/// The keys that are fetched from issuers. Labels name issuers of the configuration.
#[derive(Debug)]
pub(crate) struct KeyMetrics {
    pub(crate) age: IntGaugeVec,
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
            refreshes: maker.counters(
                "weir_key_set_refreshes_total",
                "Attempts to fetch the keys of this issuer, by result: ok or failed.",
                &["issuer", "result"],
            )?,
        })
    }
}
