//! Requests and records.

use prometheus::{HistogramVec, IntCounterVec};

use super::Maker;

/// Requests and records.
#[derive(Debug)]
pub(crate) struct TrafficMetrics {
    pub(crate) requests: HistogramVec,
    pub(crate) refusals: IntCounterVec,
    pub(crate) records: IntCounterVec,
    pub(crate) records_changed: IntCounterVec,
    pub(crate) records_refused: IntCounterVec,
    pub(crate) record_bytes: IntCounterVec,
}

impl TrafficMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: maker.seconds_by(
                "weir_request_seconds",
                "From the last byte of a request read to its answer, the broker included.",
                &["api"],
            )?,
            refusals: maker.counters(
                "weir_refusals_total",
                "Refused requests by API and Kafka error code.",
                &["api", "code"],
            )?,
            records: maker.counters("weir_records_total", "Records that passed inspection, by API.", &["api"])?,
            records_changed: maker.counters(
                "weir_records_changed_total",
                "Records in which a rule changed something.",
                &["api"],
            )?,
            records_refused: maker.counters("weir_records_refused_total", "Records refused or withheld.", &["api"])?,
            record_bytes: maker.counters(
                "weir_record_bytes_total",
                "Record bytes that came in, as on the wire.",
                &["api"],
            )?,
        })
    }
}
