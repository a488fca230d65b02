//! What keeps weir from being ready: `/readyz` names it, `weir_unready` counts it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::IntGaugeVec;

use super::Maker;

/// The part of weir that a reason is about. Each has at most one reason at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// weir is stopping.
    Process,
    /// The audit log.
    Audit,
    /// The cluster.
    Cluster,
    /// The keys that tokens are checked with.
    Keys,
    /// The file system of `data_dir`.
    Disk,
}

impl Part {
    /// All of them, in the order in which `/readyz` shows them.
    const ALL: [Self; 5] = [Self::Process, Self::Audit, Self::Cluster, Self::Keys, Self::Disk];

    fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Audit => "audit",
            Self::Cluster => "cluster",
            Self::Keys => "keys",
            Self::Disk => "disk",
        }
    }
}

/// The reasons of all parts. No reason is left: weir is ready.
#[derive(Debug)]
pub(crate) struct Readiness {
    reasons: Mutex<BTreeMap<Part, String>>,
    unready: IntGaugeVec,
}

impl Readiness {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let unready = maker.gauges("weir_unready", "1 while this part keeps weir from being ready.", &["part"])?;
        for part in Part::ALL {
            unready.with_label_values(&[part.name()]).set(0);
        }
        Ok(Self { reasons: Mutex::default(), unready })
    }

    /// The part keeps weir from being ready. The reason is shown to whoever asks `/readyz`: one line, no secret.
    pub(crate) fn block(&self, part: Part, reason: impl Into<String>) {
        self.unready.with_label_values(&[part.name()]).set(1);
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).insert(part, reason.into());
    }

    /// The part is well.
    pub(crate) fn clear(&self, part: Part) {
        self.unready.with_label_values(&[part.name()]).set(0);
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).remove(&part);
    }

    /// What keeps weir from being ready.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::telemetry::Metrics;

    #[test]
    fn each_part_has_one_reason_at_a_time() {
        let metrics = Metrics::new().expect("metrics");
        let ready = &metrics.ready;
        let unready = |part: Part| ready.unready.with_label_values(&[part.name()]).get();
        assert!(ready.reasons().is_empty());
        ready.block(Part::Cluster, "no broker answers");
        ready.block(Part::Audit, "full");
        ready.block(Part::Audit, "damaged");
        assert_eq!(ready.reasons(), ["damaged", "no broker answers"]);
        ready.clear(Part::Audit);
        assert_eq!((unready(Part::Audit), unready(Part::Cluster)), (0, 1));
        assert_eq!(ready.reasons(), ["no broker answers"]);
    }
}
