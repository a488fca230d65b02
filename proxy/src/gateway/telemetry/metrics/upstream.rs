//! The cluster behind weir.

use prometheus::{IntCounterVec, IntGauge};

use super::Maker;

/// The cluster behind weir.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    pub(crate) up: IntGauge,
    pub(crate) brokers_hidden: IntGauge,
    logins: IntCounterVec,
}

impl UpstreamMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let logins = maker.counters(
            "weir_upstream_logins_total",
            "weir's logins to brokers, by kind (first, renewal) and result (ok, refused).",
            &["kind", "result"],
        )?;
        for (kind, result) in [("first", "ok"), ("first", "refused"), ("renewal", "ok"), ("renewal", "refused")] {
            logins.with_label_values(&[kind, result]);
        }
        Ok(Self {
            logins,
            up: maker.gauge("weir_cluster_up", "1 while the control connection to the cluster stands.")?,
            brokers_hidden: maker
                .gauge("weir_brokers_hidden", "Brokers whose node id is not in `upstream.node_ids`.")?,
        })
    }

    /// A login of weir's came to its end; `again`: on a connection that was in already.
    pub(crate) fn logged_in(&self, again: bool, ok: bool) {
        let labels = [if again { "renewal" } else { "first" }, if ok { "ok" } else { "refused" }];
        self.logins.with_label_values(&labels).inc();
    }
}
