//! Keeps one control connection to the cluster, and publishes what it learns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;
use weir_session::{ClusterView, Control, ControlError, Learned};

use super::dial::{DialError, Dialer};
use super::socket::{self, Read};
use super::telemetry::{Metrics, Part};
use super::world::World;
use crate::config::Upstream;

/// How often the cluster is asked without a reason.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// How long a failed control connection waits before the next attempt.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How long an answer of the broker may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two questions that sessions ask.
const QUESTION_PAUSE: Duration = Duration::from_millis(250);
/// Topic ids that are asked for at once; further ones wait.
const QUESTIONS_MAX: usize = 4096;
/// Topic ids that are remembered as unknown; beyond it they are all asked again.
const UNKNOWN_TOPICS_MAX: usize = 10_000;

/// The task that owns the control connection.
pub(crate) struct Cluster {
    pub(crate) upstream: Upstream,
    pub(crate) dialer: Dialer,
    pub(crate) world: World,
    pub(crate) questions: mpsc::Receiver<Vec<Uuid>>,
    pub(crate) metrics: Arc<Metrics>,
}

#[derive(Debug, thiserror::Error)]
enum ClusterError {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("the connection failed: {0}")]
    Socket(std::io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Silent,
    #[error("{0}")]
    Control(#[from] ControlError),
}

impl ClusterError {
    /// Where to look.
    fn hint(&self) -> &'static str {
        match self {
            Self::Dial(DialError::Tls { .. } | DialError::Name { .. }) => {
                "see what the broker shows:  openssl s_client -connect HOST:PORT -showcerts"
            }
            Self::Dial(DialError::Unreachable { .. } | DialError::Timeout { .. })
            | Self::Socket(_)
            | Self::Closed
            | Self::Silent
            | Self::Control(_) => "is the broker running and `upstream.bootstrap` right?",
        }
    }
}

impl Cluster {
    /// Runs until the process ends.
    pub(crate) async fn run(mut self) {
        let mut view = ClusterView::default();
        let mut reported = HashMap::new();
        let mut generation = 0;
        loop {
            for at in 0..self.upstream.bootstrap.len() {
                let Some(address) = self.upstream.bootstrap.get(at).cloned() else { continue };
                let error = match self.follow(&address.host, address.port, &mut view).await {
                    Ok(never) => match never {},
                    Err(error) => error,
                };
                self.metrics.upstream.up.set(0);
                self.metrics.ready.block(Part::Cluster, "no broker answers");
                if view.generation > generation {
                    generation = view.generation;
                    reported.clear();
                }
                // The same trouble is reported once, not twice a second.
                let (error, hint) = (error.to_string(), error.hint());
                if reported.get(&at) != Some(&error) {
                    tracing::warn!(event = "cluster.unreachable", broker = %address, error, hint);
                    reported.insert(at, error);
                }
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Follows one broker until it fails.
    async fn follow(
        &mut self,
        host: &str,
        port: u16,
        view: &mut ClusterView,
    ) -> Result<std::convert::Infallible, ClusterError> {
        let mut socket = self.dialer.dial(host, port).await?;
        let mut control = Control::open()?;
        let mut asked = HashSet::new();
        let mut refresh = tokio::time::interval(REFRESH_EVERY);
        refresh.tick().await;
        let mut answer_due = Instant::now() + ANSWER_TIMEOUT;
        let mut question_due = Instant::now();
        let mut questions = HashSet::new();
        loop {
            while let Some(cleared) = control.poll_to_broker() {
                socket.queue(cleared);
                socket.flush().await.map_err(ClusterError::Socket)?;
            }
            tokio::select! {
                readable = socket.readable() => {
                    readable.map_err(ClusterError::Socket)?;
                    let read = socket.read(socket::READ_BYTES, |bytes| control.handle_broker_bytes(bytes));
                    match read.map_err(ClusterError::Socket)? {
                        Read::Closed => return Err(ClusterError::Closed),
                        Read::Nothing => {}
                        Read::Taken(learned) => {
                            if let Some(learned) = learned? {
                                self.publish(learned, &mut asked, view);
                            }
                        }
                    }
                }
                Some(ids) = self.questions.recv(), if questions.len() < QUESTIONS_MAX => questions.extend(ids.into_iter().map(Some).chain([None])),
                // Questions wait for each other, so that no client can make weir ask the cluster all the time, and for the
                // answer that is due, so that none is taken for an answer to what came after it was asked.
                () = tokio::time::sleep_until(question_due), if !questions.is_empty() && !control.is_waiting() => {
                    asked.extend(questions.drain().flatten());
                    control.refresh()?;
                    (question_due, answer_due) = (Instant::now() + QUESTION_PAUSE, Instant::now() + ANSWER_TIMEOUT);
                }
                _ = refresh.tick(), if !control.is_waiting() => {
                    control.refresh()?;
                    answer_due = Instant::now() + ANSWER_TIMEOUT;
                }
                () = tokio::time::sleep_until(answer_due), if control.is_waiting() => return Err(ClusterError::Silent),
            }
        }
    }

    fn publish(&self, learned: Learned, asked: &mut HashSet<Uuid>, view: &mut ClusterView) {
        if view.generation == 0 || self.metrics.upstream.up.get() == 0 {
            let brokers = learned.brokers.len();
            tracing::info!(event = "cluster.reached", brokers, topics = learned.topics.len());
        }
        let hidden = self.upstream.node_ids.without(learned.brokers.keys());
        if !hidden.is_empty() && hidden != self.upstream.node_ids.without(view.brokers.keys()) {
            tracing::warn!(
                event = "cluster.brokers_hidden",
                node_ids = join(&hidden),
                hint = "they are not in `upstream.node_ids`; clients cannot reach them"
            );
        }
        self.metrics.upstream.brokers_hidden.set(i64::try_from(hidden.len()).unwrap_or(i64::MAX));
        self.metrics.upstream.up.set(1);
        if hidden.len() == learned.brokers.len() {
            self.metrics.ready.block(Part::Cluster, "no broker of the cluster is in `upstream.node_ids`");
        } else {
            self.metrics.ready.clear(Part::Cluster);
        }
        if view.unknown_topics.len() + asked.len() > UNKNOWN_TOPICS_MAX {
            view.unknown_topics.clear();
        }
        view.unknown_topics.extend(asked.drain().filter(|id| !learned.topics.contains_key(id)));
        view.generation += 1;
        view.brokers = learned.brokers;
        view.topics = learned.topics;
        self.world.update(|context| context.view = Some(Arc::new(view.clone())));
    }
}

/// Node ids as a list for people.
pub(crate) fn join(node_ids: &[i32]) -> String {
    node_ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
