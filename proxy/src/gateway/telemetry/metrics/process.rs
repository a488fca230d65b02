//! The process itself.

use prometheus::IntGauge;

use super::Maker;

/// The process itself.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    pub(crate) memory_held: IntGauge,
}

impl ProcessMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self { memory_held: maker.gauge("weir_frame_bytes_held", "Frame bytes that all sessions hold.")? })
    }
}
