//! Stops in order: requests that are open are answered, nobody new is let in, and the log says what became of the connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::gateway::connection::Stopping;
use crate::gateway::telemetry::Metrics;

/// How long cut connections may take to close their intents.
const CUT_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of the connections that were open when weir was told to stop.
#[derive(Debug)]
pub(crate) struct Drained {
    metrics: Arc<Metrics>,
    began: Instant,
    timeout: Duration,
    /// How many there were.
    connections: usize,
    /// How many of them were cut after the drain timeout.
    cut: usize,
    /// Intents and entries that were on record before.
    recorded: u64,
}

impl Drained {
    /// The drain timeout, if connections were cut after it.
    pub(crate) fn cut_after(&self) -> Option<Duration> {
        (self.cut > 0).then_some(self.timeout)
    }

    /// The last line: after it nothing is written any more.
    pub(crate) fn tell(&self) {
        let recorded = self.metrics.audit.commits.get().saturating_sub(self.recorded);
        tracing::info!(
            event = "weir.stopped",
            connections_drained = self.connections.saturating_sub(self.cut),
            connections_cut = self.cut,
            recorded,
            took = ?self.began.elapsed()
        );
    }
}

/// Waits for the connections behind all doors, at most for `timeout`, and cuts those that are left.
pub(crate) async fn drain(
    stopping: &watch::Sender<Stopping>,
    doors: &mut JoinSet<()>,
    timeout: Duration,
    metrics: Arc<Metrics>,
) -> Drained {
    let (connections, recorded) = (metrics.clients.open(), metrics.audit.commits.get());
    let mut drained = Drained { metrics, began: Instant::now(), timeout, connections, cut: 0, recorded };
    stopping.send_replace(Stopping::Drain);
    let all = async { while doors.join_next().await.is_some() {} };
    if tokio::time::timeout(timeout, all).await.is_ok() {
        return drained;
    }
    // Ports whose connections have all ended just now are not worth an exit code.
    drained.cut = drained.metrics.clients.open();
    stopping.send_replace(Stopping::Now);
    let all = async { while doors.join_next().await.is_some() {} };
    if tokio::time::timeout(CUT_TIMEOUT, all).await.is_err() {
        let connections = drained.metrics.clients.open();
        let hint = "their open intents are recovered at the next start";
        tracing::error!(event = "weir.connections_left", connections, hint);
    }
    drained
}
