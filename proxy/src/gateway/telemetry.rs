//! Log lines and metrics from what sessions say. No label takes a value that a client can choose, but for the listener's and the
//! API's names.

mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;

use weir_audit::Kind;
use weir_session::{CloseReason, Event};

pub(crate) use self::metrics::{Metrics, Part};
use crate::tls::HandshakeError;

/// In the place of an API that weir does not serve, or could not read.
const API_OTHER: &str = "other";

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
        self.metrics.clients.connections.with_label_values(&[listener]).inc();
    }

    pub(crate) fn closed(&self, listener: &str) {
        self.metrics.clients.connections.with_label_values(&[listener]).dec();
    }

    /// A limit on connections was reached.
    pub(crate) fn turned_away(&self, listener: &str, peer: SocketAddr, limit: &str) {
        self.metrics.clients.refused.with_label_values(&[listener, limit]).inc();
        tracing::warn!(event = "connection.refused", listener, peer = %peer, limit);
    }

    /// A client came through the TLS handshake, or did not.
    pub(crate) fn handshake(&self, listener: &str, peer: SocketAddr, result: Result<(), &HandshakeError>) {
        let label = result.map_or_else(|error| error.result, |()| "ok");
        self.metrics.tls.handshakes.with_label_values(&[listener, label]).inc();
        match result {
            Ok(()) => tracing::trace!(event = "tls.handshake", listener, peer = %peer),
            Err(error) if error.is_ordinary() => {
                tracing::debug!(event = "tls.handshake_failed", listener, peer = %peer, result = label, detail = %error);
            }
            Err(error) => {
                tracing::warn!(event = "tls.handshake_failed", listener, peer = %peer, result = label, detail = %error);
            }
        }
    }

    pub(crate) fn record(&self, event: &Event, listener: &str, peer: SocketAddr, principal: Option<&str>) {
        let principal = principal.unwrap_or("-");
        match event {
            // Acted upon by the connection.
            Event::ConnectBroker { .. } | Event::ResolveTopics { .. } | Event::FetchKeys { .. } => {}
            Event::LoggedIn { principal, lifetime } => {
                self.metrics.clients.logins.with_label_values(&[listener, "ok"]).inc();
                let lifetime = lifetime.map_or(0, |lifetime| lifetime.as_secs());
                tracing::info!(event = "login.ok", listener, peer = %peer, principal, lifetime_seconds = lifetime);
            }
            Event::Refused { reason, entry, .. } if entry.kind == Kind::AuthFail => {
                self.metrics.clients.logins.with_label_values(&[listener, "refused"]).inc();
                tracing::warn!(event = "login.refused", listener, peer = %peer, reason);
            }
            Event::Refused { api, code, reason, resource, entry } => {
                let api = api.map_or(API_OTHER, weir_protocol::ApiKey::name);
                self.metrics.traffic.refusals.with_label_values(&[api, &code.to_string()]).inc();
                let resource = resource.as_deref().unwrap_or("-");
                let (api_key, api_version) = entry.api.unzip();
                tracing::warn!(event = "request.refused", listener, peer = %peer, principal, api, api_key, api_version,
                    code, reason, resource, event_id = %entry.event_id);
            }
            Event::RecordsRefused { api, topic, partition, rule, records, event_id } => {
                self.metrics.traffic.records_refused.with_label_values(&[api.name()]).inc_by(*records);
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
                self.metrics.traffic.requests.with_label_values(&[api.name()]).observe(took.as_secs_f64());
                if *records > 0 {
                    self.metrics.traffic.records.with_label_values(&[api.name()]).inc_by(*records);
                    self.metrics.traffic.records_changed.with_label_values(&[api.name()]).inc_by(*changed);
                    self.metrics.traffic.record_bytes.with_label_values(&[api.name()]).inc_by(*bytes);
                }
                tracing::trace!(event = "request.answered", listener, principal, api = api.name(), records, changed);
            }
            Event::Closing { reason } => self.closing(reason, listener, peer, principal),
        }
    }

    fn closing(&self, reason: &CloseReason, listener: &str, peer: SocketAddr, principal: &str) {
        self.metrics.clients.closes.with_label_values(&[reason.code()]).inc();
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
