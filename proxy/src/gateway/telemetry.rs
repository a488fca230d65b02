//! Log lines and metrics from what sessions say. No label takes a value that a client can choose, but for the listener's and the
//! API's names.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use weir_audit::Kind;
use weir_session::{CloseReason, Event};

/// Every metric of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) connections: IntGaugeVec,
    pub(crate) connections_refused: IntCounterVec,
    pub(crate) logins: IntCounterVec,
    pub(crate) closes: IntCounterVec,
    pub(crate) requests: HistogramVec,
    pub(crate) refusals: IntCounterVec,
    pub(crate) records: IntCounterVec,
    pub(crate) records_changed: IntCounterVec,
    pub(crate) records_refused: IntCounterVec,
    pub(crate) record_bytes: IntCounterVec,
    pub(crate) audit_commit_seconds: Histogram,
    pub(crate) audit_commits: IntCounter,
    pub(crate) audit_unrecorded: IntCounter,
    pub(crate) refusals_unrecorded: IntCounter,
    pub(crate) audit_queue: IntGauge,
    pub(crate) audit_up: IntGauge,
    pub(crate) cluster_up: IntGauge,
    pub(crate) brokers_hidden: IntGauge,
    pub(crate) memory_held: IntGauge,
}

/// In the place of an API that weir does not serve, or could not read.
const API_OTHER: &str = "other";

/// Upper bounds in seconds: from a tenth of a millisecond, where weir itself lives, to a long poll.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    ///
    /// When two have one name, which a test would have found.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        let seconds = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        Ok(Self {
            connections: register(
                &registry,
                IntGaugeVec::new(Opts::new("weir_connections", "Client connections that are open."), &["listener"])?,
            )?,
            connections_refused: counters(
                "weir_connections_refused_total",
                "Client connections that a limit turned away.",
                &["listener", "limit"],
            )?,
            logins: counters("weir_logins_total", "Logins by result.", &["listener", "result"])?,
            closes: counters("weir_connections_closed_total", "Connections that weir ended, by reason.", &["reason"])?,
            requests: register(
                &registry,
                HistogramVec::new(
                    seconds(
                        "weir_request_seconds",
                        "From the last byte of a request read to its answer, the broker included.",
                    ),
                    &["api"],
                )?,
            )?,
            refusals: counters(
                "weir_refusals_total",
                "Refused requests by API and Kafka error code.",
                &["api", "code"],
            )?,
            records: counters("weir_records_total", "Records that passed inspection, by API.", &["api"])?,
            records_changed: counters(
                "weir_records_changed_total",
                "Records in which a rule changed something.",
                &["api"],
            )?,
            records_refused: counters("weir_records_refused_total", "Records refused or withheld.", &["api"])?,
            record_bytes: counters("weir_record_bytes_total", "Record bytes that came in, as on the wire.", &["api"])?,
            audit_commit_seconds: register(
                &registry,
                Histogram::with_opts(seconds("weir_audit_commit_seconds", "Time of one group commit, sync included."))?,
            )?,
            audit_commits: counter("weir_audit_commits_total", "Intents and entries made durable.")?,
            audit_unrecorded: counter("weir_audit_unrecorded_total", "Intents and entries that could not be written.")?,
            refusals_unrecorded: counter(
                "weir_audit_refusals_dropped_total",
                "Refusals that were not recorded because the queue was full.",
            )?,
            audit_queue: gauge("weir_audit_queue", "Commits that wait for the audit log.")?,
            audit_up: gauge("weir_audit_up", "1 while the audit log can be written.")?,
            cluster_up: gauge("weir_cluster_up", "1 while the control connection to the cluster stands.")?,
            brokers_hidden: gauge("weir_brokers_hidden", "Brokers whose node id is not in `upstream.node_ids`.")?,
            memory_held: gauge("weir_frame_bytes_held", "Frame bytes that all sessions hold.")?,
            registry,
        })
    }
}

fn register<T: Collector + Clone + 'static>(registry: &Registry, metric: T) -> Result<T, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Turns events into log lines and counts.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    metrics: Arc<Metrics>,
}

impl Telemetry {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    pub(crate) fn opened(&self, listener: &str) {
        self.metrics.connections.with_label_values(&[listener]).inc();
    }

    pub(crate) fn closed(&self, listener: &str) {
        self.metrics.connections.with_label_values(&[listener]).dec();
    }

    /// A limit on connections was reached.
    pub(crate) fn turned_away(&self, listener: &str, peer: SocketAddr, limit: &str) {
        self.metrics.connections_refused.with_label_values(&[listener, limit]).inc();
        tracing::warn!(event = "connection.refused", listener, peer = %peer, limit);
    }

    pub(crate) fn record(&self, event: &Event, listener: &str, peer: SocketAddr, principal: Option<&str>) {
        let principal = principal.unwrap_or("-");
        match event {
            // Acted upon by the connection.
            Event::ConnectBroker { .. } | Event::ResolveTopics { .. } => {}
            Event::LoggedIn { principal, lifetime } => {
                self.metrics.logins.with_label_values(&[listener, "ok"]).inc();
                let lifetime = lifetime.map_or(0, |lifetime| lifetime.as_secs());
                tracing::info!(event = "login.ok", listener, peer = %peer, principal, lifetime_seconds = lifetime);
            }
            Event::Refused { reason, entry, .. } if entry.kind == Kind::AuthFail => {
                self.metrics.logins.with_label_values(&[listener, "refused"]).inc();
                tracing::warn!(event = "login.refused", listener, peer = %peer, reason);
            }
            Event::Refused { api, code, reason, resource, entry } => {
                let api = api.map_or(API_OTHER, weir_protocol::ApiKey::name);
                self.metrics.refusals.with_label_values(&[api, &code.to_string()]).inc();
                let resource = resource.as_deref().unwrap_or("-");
                let (api_key, api_version) = entry.api.unzip();
                tracing::warn!(event = "request.refused", listener, peer = %peer, principal, api, api_key, api_version,
                    code, reason, resource, event_id = %entry.event_id);
            }
            Event::RecordsRefused { api, topic, partition, rule, records, event_id } => {
                self.metrics.records_refused.with_label_values(&[api.name()]).inc_by(*records);
                tracing::warn!(
                    event = "records.refused",
                    listener,
                    principal,
                    api = api.name(),
                    topic,
                    partition,
                    rule,
                    records,
                    event_id
                );
            }
            Event::Answered { api, took, records, changed, bytes } => {
                self.metrics.requests.with_label_values(&[api.name()]).observe(took.as_secs_f64());
                if *records > 0 {
                    self.metrics.records.with_label_values(&[api.name()]).inc_by(*records);
                    self.metrics.records_changed.with_label_values(&[api.name()]).inc_by(*changed);
                    self.metrics.record_bytes.with_label_values(&[api.name()]).inc_by(*bytes);
                }
                tracing::trace!(event = "request.answered", listener, principal, api = api.name(), records, changed);
            }
            Event::Closing { reason } => self.closing(reason, listener, peer, principal),
        }
    }

    fn closing(&self, reason: &CloseReason, listener: &str, peer: SocketAddr, principal: &str) {
        self.metrics.closes.with_label_values(&[reason.code()]).inc();
        let (code, text) = (reason.code(), reason.to_string());
        if is_ordinary(reason) {
            tracing::debug!(event = "connection.closed", listener, peer = %peer, principal, reason = code);
        } else {
            tracing::warn!(event = "connection.closed", listener, peer = %peer, principal, reason = code, detail = text);
        }
    }
}

/// The level at which the end of a connection is logged: its own end is nothing to look at.
fn is_ordinary(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::ClientGone | CloseReason::Drained | CloseReason::Idle(_))
}
