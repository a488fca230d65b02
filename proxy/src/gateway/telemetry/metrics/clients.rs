//! Connections of clients and their logins.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::Maker;
use crate::config::{Limits, Listener};

/// Connections of clients and their logins.
#[derive(Debug)]
pub(crate) struct ClientMetrics {
    connections: IntGaugeVec,
    open: AtomicUsize,
    connections_max: IntGauge,
    insecure: IntGaugeVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) logins: IntCounterVec,
    pub(crate) login_refusals: IntCounterVec,
    pub(crate) closes: IntCounterVec,
}

impl ClientMetrics {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            connections: maker.gauges("weir_connections", "Client connections that are open.", &["listener"])?,
            open: AtomicUsize::new(0),
            connections_max: maker.gauge("weir_connections_max", "Client connections that may be open.")?,
            insecure: maker.gauges(
                "weir_listener_insecure",
                "1 for a listener that is neither TLS nor on loopback.",
                &["listener"],
            )?,
            refused: maker.counters(
                "weir_connections_refused_total",
                "Client connections that a limit turned away.",
                &["listener", "limit"],
            )?,
            logins: maker.counters("weir_logins_total", "Logins by result.", &["listener", "result"])?,
            login_refusals: maker.counters(
                "weir_login_refusals_total",
                "Logins that were refused, by reason.",
                &["reason"],
            )?,
            closes: maker.counters(
                "weir_connections_closed_total",
                "Connections that ended, by reason.",
                &["reason"],
            )?,
        })
    }

    /// The limits in force.
    pub(crate) fn limited(&self, limits: &Limits) {
        self.connections_max.set(i64::try_from(limits.connections_max).unwrap_or(i64::MAX));
    }

    /// What the configuration says of the listeners.
    pub(crate) fn listening(&self, listeners: &[Listener]) {
        for listener in listeners {
            self.connections.with_label_values(&[&listener.name]).set(0);
            self.insecure.with_label_values(&[&listener.name]).set(i64::from(listener.insecure));
        }
    }

    pub(crate) fn opened(&self, listener: &str) {
        self.connections.with_label_values(&[listener]).inc();
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self, listener: &str) {
        self.connections.with_label_values(&[listener]).dec();
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many connections are open now, of all listeners.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
