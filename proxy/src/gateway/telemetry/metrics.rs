//! Every metric of the process, a group per part of weir.
//!
//! A new metric goes into the group of its part, or into a new file with a group of its own and one line in [`Metrics`].
//! Names begin with `weir_`, units are base units, counters end in `_total`. A label takes only values that the code or the
//! configuration names, never one that a client can choose. `docs/operations.md` lists them all.

mod audit;
mod clients;
mod config;
mod keys;
mod process;
mod ready;
mod tls;
mod traffic;
mod upstream;

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use self::audit::AuditMetrics;
use self::clients::ClientMetrics;
use self::config::ConfigMetrics;
use self::keys::KeyMetrics;
use self::process::ProcessMetrics;
pub(crate) use self::ready::Part;
use self::ready::Readiness;
use self::tls::TlsMetrics;
pub(crate) use self::traffic::OTHER;
use self::traffic::TrafficMetrics;
use self::upstream::UpstreamMetrics;

/// Every metric of the process, and what keeps it from being ready.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) clients: ClientMetrics,
    pub(crate) traffic: TrafficMetrics,
    pub(crate) audit: AuditMetrics,
    pub(crate) upstream: UpstreamMetrics,
    pub(crate) keys: KeyMetrics,
    pub(crate) process: ProcessMetrics,
    pub(crate) tls: TlsMetrics,
    pub(crate) config: ConfigMetrics,
    pub(crate) ready: Readiness,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    ///
    /// When two have one name, which a test would have found.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let maker = Maker(&registry);
        Ok(Self {
            clients: ClientMetrics::new(&maker)?,
            traffic: TrafficMetrics::new(&maker)?,
            audit: AuditMetrics::new(&maker)?,
            upstream: UpstreamMetrics::new(&maker)?,
            keys: KeyMetrics::new(&maker)?,
            process: ProcessMetrics::new(&maker)?,
            tls: TlsMetrics::new(&maker)?,
            config: ConfigMetrics::new(&maker)?,
            ready: Readiness::new(&maker)?,
            registry,
        })
    }
}

/// Upper bounds in seconds: from a tenth of a millisecond, where weir itself lives, to a long poll.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Makes metrics and registers them.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn number(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::new(name, help)?)
    }

    /// A histogram of times.
    fn seconds(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(latency(name, help))?)
    }

    fn seconds_by(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        self.register(HistogramVec::new(latency(name, help), labels)?)
    }

    fn register<T: Collector + Clone + 'static>(&self, metric: T) -> Result<T, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn latency(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec())
}
