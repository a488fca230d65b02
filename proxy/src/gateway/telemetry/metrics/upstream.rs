//! The cluster behind weir.

use prometheus::IntGauge;

use super::Maker;

/// The cluster behind weir.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    pub(crate) up: IntGauge,
    pub(crate) brokers_hidden: IntGauge,
}

impl UpstreamMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            up: maker.gauge("weir_cluster_up", "1 while the control connection to the cluster stands.")?,
            brokers_hidden: maker
                .gauge("weir_brokers_hidden", "Brokers whose node id is not in `upstream.node_ids`.")?,
        })
    }
}
