//! Log lines and metrics from what sessions say. No label takes a value that a client can choose, and nobody can cause more lines
//! than [`throttle`] lets pass. `docs/operations.md` lists all metrics and all events.

mod metrics;
mod panics;
mod throttle;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use weir_audit::{EntryBody, Kind};
use weir_protocol::ApiKey;
use weir_session::{CloseReason, Event, RefusedFor};

use self::metrics::OTHER;
pub(crate) use self::metrics::{Metrics, Part};
pub(crate) use self::panics::tell_panics;
pub(crate) use self::throttle::{Source, Throttle};
use crate::tls::HandshakeError;

/// Bytes of a name that a client or a token chose that a log line shows: the rest tells nobody anything.
const LOG_NAME_BYTES_MAX: usize = 256;

/// What stands for a principal before login.
const NOBODY: &str = "-";

/// What stands for clients that need not log in: they are told apart by their network.
const ANONYMOUS: &str = "anonymous";

/// Turns events into log lines and counts.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    pub(crate) metrics: Arc<Metrics>,
    throttle: Arc<Throttle>,
    started: Instant,
}

impl Telemetry {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, throttle: Arc::default(), started: Instant::now() }
    }

    pub(crate) fn opened(&self, listener: &str) {
        self.metrics.clients.opened(listener);
    }

    pub(crate) fn closed(&self, listener: &str) {
        self.metrics.clients.closed(listener);
    }

    /// A limit on connections was reached.
    pub(crate) fn turned_away(&self, listener: &str, peer: SocketAddr, limit: &str) {
        self.metrics.clients.refused.with_label_values(&[listener, limit]).inc();
        let Some(suppressed) = self.line("connection.refused", listener, (peer, NOBODY), limit) else { return };
        tracing::warn!(event = "connection.refused", listener, peer = %peer, limit, suppressed);
    }

    /// No connection can be taken in.
    pub(crate) fn accept_failed(&self, listener: &str, error: &std::io::Error) {
        let source = Source {
            event: "listener.accept_failed",
            listener: listener.to_owned(),
            who: NOBODY.to_owned(),
            what: error.kind().to_string(),
        };
        let Some(suppressed) = self.pass(source) else { return };
        tracing::warn!(event = "listener.accept_failed", listener, error = %error, suppressed);
    }

    /// The inspection of a frame panicked. A client that found out how can do it again and again.
    pub(crate) fn inspection_panicked(&self, slot: u64) {
        let (listener, who) = (NOBODY.to_owned(), NOBODY.to_owned());
        let source = Source { event: "inspection.panicked", listener, who, what: NOBODY.to_owned() };
        let Some(suppressed) = self.pass(source) else { return };
        let hint = "this is a defect of weir; the frame was refused";
        tracing::error!(event = "inspection.panicked", slot, suppressed, hint);
    }

    /// `Some` when a line about this may be written; in it how many like it were not written since the last one. For every line
    /// that a client can cause again and again. `what` is a stable name of the reason, `event` the name of the event.
    pub(crate) fn line(
        &self,
        event: &'static str,
        listener: &str,
        (peer, principal): (SocketAddr, &str),
        what: &str,
    ) -> Option<Option<u64>> {
        let who = match principal {
            NOBODY | ANONYMOUS => throttle::network(peer.ip()),
            principal => short(principal).to_owned(),
        };
        self.pass(Source { event, listener: listener.to_owned(), who, what: what.to_owned() })
    }

    fn pass(&self, source: Source) -> Option<Option<u64>> {
        let pass = self.throttle.pass(self.started.elapsed(), source);
        pass.silent.iter().for_each(tell_suppressed);
        pass.line
    }

    /// Tells what was not written so far.
    pub(crate) fn finish(&self) {
        self.throttle.finish().iter().for_each(tell_suppressed);
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
                let Some(suppressed) = self.line("tls.handshake_failed", listener, (peer, NOBODY), label) else {
                    return;
                };
                tracing::warn!(event = "tls.handshake_failed", listener, peer = %peer, result = label, detail = %error,
                    suppressed);
            }
        }
    }

    pub(crate) fn record(&self, event: &Event, listener: &str, peer: SocketAddr, principal: Option<&str>) {
        let principal = short(principal.unwrap_or(NOBODY));
        let traffic = &self.metrics.traffic;
        match event {
            // Acted upon by the connection.
            Event::ConnectBroker { .. } | Event::ResolveTopics { .. } | Event::FetchKeys { .. } => {}
            Event::LoggedIn { principal, lifetime } => {
                self.metrics.clients.logins.with_label_values(&[listener, "ok"]).inc();
                let principal = short(principal);
                let Some(suppressed) = self.line("login.ok", listener, (peer, principal), "ok") else { return };
                let lifetime_seconds = lifetime.map_or(0, |lifetime| lifetime.as_secs());
                tracing::info!(event = "login.ok", listener, peer = %peer, principal, lifetime_seconds, suppressed);
            }
            Event::BrokerLoggedIn { again, lifetime } => {
                self.metrics.upstream.logged_in(*again, true);
                let lifetime = lifetime.map_or(0, |lifetime| lifetime.as_secs());
                tracing::debug!(event = "upstream.login_ok", listener, peer = %peer, again, lifetime_seconds = lifetime);
            }
            Event::Refused { reason, entry, .. } if entry.kind == Kind::AuthFail => {
                self.metrics.clients.logins.with_label_values(&[listener, "refused"]).inc();
                self.metrics.clients.login_refusals.with_label_values(&[reason]).inc();
                let Some(suppressed) = self.line("login.refused", listener, (peer, NOBODY), reason) else { return };
                tracing::warn!(event = "login.refused", listener, peer = %peer, reason, suppressed);
            }
            Event::Refused { api, code, reason, resource, entry } => {
                traffic.refusals.with_label_values(&[name(*api), &code.to_string()]).inc();
                self.refused((listener, peer, principal), name(*api), *code, reason, (resource.as_deref(), entry));
            }
            Event::RecordsRefused { api, topic, partition, rule, cause, records, batches, event_id } => {
                traffic.records_refused.with_label_values(&[api.name()]).inc_by(*records);
                traffic.batches_unreadable.with_label_values(&[api.name()]).inc_by(*batches);
                match cause {
                    RefusedFor::Growth => traffic.batches_grown.inc(),
                    RefusedFor::OldFormat => traffic.old_formats.inc(),
                    RefusedFor::Rule | RefusedFor::Unreadable => {}
                }
                let cause = cause.name();
                let (topic, api) = (short(topic), api.name());
                let Some(suppressed) = self.line("records.refused", listener, (peer, principal), rule) else { return };
                tracing::warn!(
                    event = "records.refused",
                    listener,
                    principal,
                    api,
                    topic,
                    partition,
                    rule,
                    cause,
                    records,
                    event_id,
                    suppressed
                );
            }
            Event::Inspected { api, records, changed, bytes, rules } => {
                traffic.records_inspected.with_label_values(&[api.name()]).inc_by(*records);
                traffic.records_changed.with_label_values(&[api.name()]).inc_by(*changed);
                traffic.record_bytes.with_label_values(&[api.name()]).inc_by(*bytes);
                rules.iter().for_each(|hit| traffic.hit(hit));
            }
            Event::RequestEnded { api, ending, took, stages } => {
                traffic.ended(name(*api), *ending, *took, stages);
                let (api, outcome) = (name(*api), ending.name());
                tracing::trace!(event = "request.ended", listener, principal, api, outcome, took = ?took);
            }
            Event::Closing { reason } => self.closing(reason, listener, peer, principal),
        }
    }

    fn refused(
        &self,
        (listener, peer, principal): (&str, SocketAddr, &str),
        api: &str,
        code: i16,
        reason: &'static str,
        (resource, entry): (Option<&str>, &EntryBody),
    ) {
        let Some(suppressed) = self.line("request.refused", listener, (peer, principal), reason) else { return };
        let resource = short(resource.unwrap_or("-"));
        let (api_key, api_version) = entry.api.unzip();
        tracing::warn!(event = "request.refused", listener, peer = %peer, principal, api, api_key, api_version, code,
            reason, resource, event_id = %entry.event_id, suppressed);
    }

    fn closing(&self, reason: &CloseReason, listener: &str, peer: SocketAddr, principal: &str) {
        self.metrics.clients.closes.with_label_values(&[reason.code()]).inc();
        if let CloseReason::BrokerLogin { again, .. } = reason {
            self.metrics.upstream.logged_in(*again, false);
        }
        let code = reason.code();
        if is_ordinary(reason) {
            tracing::debug!(event = "connection.closed", listener, peer = %peer, principal, reason = code);
            return;
        }
        let Some(suppressed) = self.line("connection.closed", listener, (peer, principal), code) else { return };
        let detail = reason.to_string();
        tracing::warn!(event = "connection.closed", listener, peer = %peer, principal, reason = code, detail, suppressed);
    }
}

/// Lines that were not written, of a source that fell silent.
pub(crate) fn tell_suppressed((source, lines): &(Source, u64)) {
    let Source { event, listener, who, what } = source;
    tracing::warn!(event = "log.suppressed", of = event, listener, who, reason = what, lines);
}

fn name(api: Option<ApiKey>) -> &'static str {
    api.map_or(OTHER, ApiKey::name)
}

/// The beginning of a name that somebody else chose.
fn short(name: &str) -> &str {
    name.get(..name.floor_char_boundary(LOG_NAME_BYTES_MAX)).unwrap_or_default()
}

/// The level at which the end of a connection is logged: its own end is nothing to look at.
fn is_ordinary(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::ClientGone | CloseReason::Drained | CloseReason::Idle(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(short(&"x".repeat(256)).len(), 256);
        assert_eq!(short(&"x".repeat(257)).len(), 256);
        assert_eq!(short(&"é".repeat(200)).chars().count(), 128);
        assert_eq!(short(&format!("x{}", "é".repeat(200))).len(), 255);
    }
}
