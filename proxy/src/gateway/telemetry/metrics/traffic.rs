//! Requests, records and bytes.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{HistogramVec, IntCounter, IntCounterVec};
use weir_audit::RuleHit;
use weir_session::{Ending, Stages};

use super::Maker;

/// In the place of an API that weir does not serve or could not read, and of rules beyond [`RULE_LABELS_MAX`].
pub(crate) const OTHER: &str = "other";

/// Rules that have series of their own since the start of the process, the first that do something; the others share `other`. Each
/// has at most one series per action, and every reload may bring new names.
const RULE_LABELS_MAX: usize = 200;

/// Requests, records and bytes.
#[derive(Debug)]
pub(crate) struct TrafficMetrics {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    added_seconds: HistogramVec,
    stage_seconds: HistogramVec,
    pub(crate) refusals: IntCounterVec,
    pub(crate) records_inspected: IntCounterVec,
    pub(crate) records_changed: IntCounterVec,
    pub(crate) records_refused: IntCounterVec,
    pub(crate) batches_unreadable: IntCounterVec,
    pub(crate) batches_grown: IntCounter,
    pub(crate) old_formats: IntCounter,
    pub(crate) record_bytes: IntCounterVec,
    rule_hits: IntCounterVec,
    rules: Mutex<HashSet<String>>,
    pub(crate) from_client: IntCounter,
    pub(crate) from_broker: IntCounter,
    pub(crate) to_client: IntCounter,
    pub(crate) to_broker: IntCounter,
}

impl TrafficMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let received =
            maker.counters("weir_received_bytes_total", "Bytes that came in, by who sent them.", &["peer"])?;
        let sent = maker.counters("weir_sent_bytes_total", "Bytes that went out, by who got them.", &["peer"])?;
        Ok(Self {
            requests: maker.counters("weir_requests_total", "Requests by API and outcome.", &["api", "outcome"])?,
            request_seconds: maker.seconds_by(
                "weir_request_seconds",
                "From the last byte of a request read to the first byte of its answer written, the broker included.",
                &["api"],
            )?,
            added_seconds: maker.seconds_by(
                "weir_added_seconds",
                "The same without the time at the broker: what weir adds.",
                &["api"],
            )?,
            stage_seconds: maker.seconds_by(
                "weir_stage_seconds",
                "Time of a request in one stage: inspect, commit (the audit log) or broker.",
                &["api", "stage"],
            )?,
            refusals: maker.counters(
                "weir_refusals_total",
                "Refused requests by API and Kafka error code; 0 for a connection that was cut.",
                &["api", "code"],
            )?,
            records_inspected: maker.counters(
                "weir_records_inspected_total",
                "Records that were inspected, by API.",
                &["api"],
            )?,
            records_changed: maker.counters(
                "weir_records_changed_total",
                "Records in which a rule changed something.",
                &["api"],
            )?,
            records_refused: maker.counters("weir_records_refused_total", "Records refused or withheld.", &["api"])?,
            batches_unreadable: maker.counters(
                "weir_batches_unreadable_total",
                "Batches refused or withheld because they cannot be read.",
                &["api"],
            )?,
            batches_grown: maker.counter(
                "weir_batches_grown_total",
                "Batches refused because edits made them larger than their topic takes.",
            )?,
            old_formats: maker.counter(
                "weir_old_format_answers_total",
                "Partitions in Fetch answers refused because the broker has them in message format 0 or 1.",
            )?,
            record_bytes: maker.counters(
                "weir_record_bytes_total",
                "Record bytes that came in, as on the wire.",
                &["api"],
            )?,
            rule_hits: maker.counters(
                "weir_rule_hits_total",
                "What each rule did: fields changed; records refused, or replaced whole because they cannot be read.",
                &["rule", "action"],
            )?,
            rules: Mutex::default(),
            from_client: received.with_label_values(&["client"]),
            from_broker: received.with_label_values(&["broker"]),
            to_client: sent.with_label_values(&["client"]),
            to_broker: sent.with_label_values(&["broker"]),
        })
    }

    /// A request is over.
    pub(crate) fn ended(&self, api: &str, ending: Ending, took: std::time::Duration, stages: &Stages) {
        self.requests.with_label_values(&[api, ending.name()]).inc();
        let stages_of = [("inspect", stages.inspect), ("commit", stages.commit), ("broker", stages.broker)];
        for (stage, time) in stages_of {
            if let Some(time) = time {
                self.stage_seconds.with_label_values(&[api, stage]).observe(time.as_secs_f64());
            }
        }
        match ending {
            Ending::Answered | Ending::Refused | Ending::Unrecorded => {
                self.request_seconds.with_label_values(&[api]).observe(took.as_secs_f64());
                let added = took.saturating_sub(stages.broker.unwrap_or_default());
                self.added_seconds.with_label_values(&[api]).observe(added.as_secs_f64());
            }
            // It has no time to its answer.
            Ending::Unanswered => {}
        }
    }

    /// A rule did something.
    pub(crate) fn hit(&self, hit: &RuleHit) {
        let rule = if self.is_named(&hit.rule) { hit.rule.as_str() } else { OTHER };
        self.rule_hits.with_label_values(&[rule, &hit.action]).inc_by(hit.count);
    }

    /// Whether the rule has series of its own.
    fn is_named(&self, rule: &str) -> bool {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.contains(rule) || (rules.len() < RULE_LABELS_MAX && rules.insert(rule.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::telemetry::Metrics;

    #[test]
    fn rules_beyond_the_limit_share_one_name() {
        let metrics = Metrics::new().expect("metrics");
        let hit = |rule: usize| RuleHit { rule: format!("rule-{rule}"), action: "mask".to_owned(), count: 2 };
        for rule in 0..RULE_LABELS_MAX + 50 {
            metrics.traffic.hit(&hit(rule));
        }
        metrics.traffic.hit(&hit(RULE_LABELS_MAX - 1));
        let count = |rule: &str| metrics.traffic.rule_hits.with_label_values(&[rule, "mask"]).get();
        assert_eq!(count(&format!("rule-{}", RULE_LABELS_MAX - 1)), 4);
        assert_eq!(count(OTHER), 100);
        let family = metrics.registry.gather().into_iter().find(|family| family.name() == "weir_rule_hits_total");
        assert_eq!(family.map(|family| family.get_metric().len()), Some(RULE_LABELS_MAX + 1));
    }
}
