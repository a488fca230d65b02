//! Keeps one control connection to the cluster, and publishes what it learns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;
use weir_session::{ClusterView, Control, ControlError, Learned, TopicSizes, UpstreamLogin, UpstreamLoginError};

use super::clock::Clock;
use super::dial::{DialError, Dialer};
use super::salting::salted;
use super::socket::{self, Read};
use super::telemetry::{Metrics, Part};
use super::world::World;
use crate::config::Upstream;

/// How often the cluster is asked without a reason.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// How long a failed control connection waits before the next attempt.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How long weir waits after a refused login, unless the password is replaced before: no broker is to take it for somebody who guesses.
const LOGIN_PAUSE: Duration = Duration::from_secs(5);
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
    pub(crate) clock: Clock,
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
    /// Before it had answered any question but the first, which it answers everybody.
    #[error("the broker closed the connection")]
    ClosedUnasked,
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Silent,
    #[error("the password could not be salted: a defect of weir")]
    Unsalted,
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
    #[error("{0}")]
    Control(#[from] ControlError),
}

impl ClusterError {
    fn is_refused_login(&self) -> bool {
        matches!(self, Self::Control(ControlError::Login(_)))
    }

    /// Where to look.
    fn hint(&self) -> &'static str {
        match self {
            Self::Control(ControlError::Login(_)) => "is `upstream.auth` right, and is the user known to the brokers?",
            Self::ClosedUnasked => {
                "does this port of the broker want a login (`upstream.auth`) or TLS (`upstream.tls`)?"
            }
            Self::Dial(DialError::Tls { .. } | DialError::Name { .. }) => {
                "see what the broker shows:  openssl s_client -connect HOST:PORT -showcerts"
            }
            Self::Dial(DialError::Unreachable { .. } | DialError::Timeout { .. })
            | Self::Socket(_)
            | Self::Closed
            | Self::Silent
            | Self::Unsalted
            | Self::Random(_)
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
        // As whom the login was refused, last.
        let mut refused = None;
        loop {
            for at in 0..self.upstream.bootstrap.len() {
                let Some(address) = self.upstream.bootstrap.get(at).cloned() else { continue };
                let user = self.world.context().upstream.clone();
                let error = match self.follow((&address.host, address.port), user.clone(), &mut view).await {
                    Ok(never) => match never {},
                    Err(error) => error,
                };
                self.metrics.upstream.up.set(0);
                if matches!(error, ClusterError::Control(ControlError::Login(UpstreamLoginError::OtherUser))) {
                    // As the configuration says: it is followed with a connection of its own.
                    continue;
                }
                refused = error.is_refused_login().then_some(user);
                let why = if refused.is_some() { "the broker refuses weir's login" } else { "no broker answers" };
                self.metrics.ready.block(Part::Cluster, why);
                if view.generation > generation {
                    generation = view.generation;
                    reported.clear();
                }
                // The same trouble is reported once, not twice a second.
                let (hint, text) = (error.hint(), error.to_string());
                if reported.get(&at) != Some(&text) {
                    if refused.is_some() {
                        tracing::error!(event = "cluster.login_refused", broker = %address, error = text, hint);
                    } else {
                        tracing::warn!(event = "cluster.unreachable", broker = %address, error = text, hint);
                    }
                    reported.insert(at, text);
                }
            }
            match refused.take() {
                Some(user) => self.pause_until_replaced(user).await,
                None => tokio::time::sleep(RECONNECT_PAUSE).await,
            }
        }
    }

    /// Waits after a refused login, until somebody else is to log in.
    async fn pause_until_replaced(&self, user: Option<Arc<UpstreamLogin>>) {
        let mut context = self.world.subscribe();
        let replaced = context.wait_for(|context| match (&context.upstream, &user) {
            (Some(now), Some(before)) => !Arc::ptr_eq(now, before),
            (now, before) => now.is_some() != before.is_some(),
        });
        if tokio::time::timeout(LOGIN_PAUSE, replaced).await.is_ok() {
            tracing::debug!(event = "cluster.login_replaced");
        }
    }

    /// Follows one broker until it fails.
    async fn follow(
        &mut self,
        (host, port): (&str, u16),
        user: Option<Arc<UpstreamLogin>>,
        view: &mut ClusterView,
    ) -> Result<std::convert::Infallible, ClusterError> {
        let mut socket = self.dialer.dial(host, port).await?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(ClusterError::Random)?;
        let mut control = Control::open(user, seed)?;
        let (mut logins, mut reached, mut untold) = (0, false, 0);
        let mut asked = HashSet::new();
        let mut refresh = tokio::time::interval(REFRESH_EVERY);
        refresh.tick().await;
        let mut answer_due = Instant::now() + ANSWER_TIMEOUT;
        let mut question_due = Instant::now();
        let mut questions = HashSet::new();
        loop {
            if let Some(salting) = control.poll_salting() {
                let salted = salted(salting).await.ok_or(ClusterError::Unsalted)?;
                control.handle_salted(&salted, self.clock.now())?;
            }
            while let Some(cleared) = control.poll_to_broker() {
                socket.queue(cleared);
                socket.flush().await.map_err(ClusterError::Socket)?;
                answer_due = Instant::now() + ANSWER_TIMEOUT;
            }
            if control.logins() > logins {
                self.metrics.upstream.logged_in(logins > 0, true);
                logins = control.logins();
            }
            let renew_at = control.poll_timeout().map(|at| Instant::from_std(self.clock.instant(at)));
            tokio::select! {
                readable = socket.readable() => {
                    readable.map_err(ClusterError::Socket)?;
                    let now = self.clock.now();
                    let read = socket.read(socket::READ_BYTES, |bytes| control.handle_broker_bytes(bytes, now));
                    match read.map_err(ClusterError::Socket)? {
                        Read::Closed if reached => return Err(ClusterError::Closed),
                        Read::Closed => return Err(ClusterError::ClosedUnasked),
                        Read::Nothing => {}
                        Read::Taken(learned) => {
                            let learned = learned.inspect_err(|error| {
                                if matches!(error, ControlError::Login(_)) {
                                    self.metrics.upstream.logged_in(logins > 0, false);
                                }
                            });
                            if let Some(learned) = learned? {
                                reached = true;
                                self.publish(learned, &mut asked, view);
                            }
                            if let Some(sizes) = control.take_topic_sizes() {
                                self.publish_sizes(sizes, &mut untold, view);
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
                    question_due = Instant::now() + QUESTION_PAUSE;
                }
                () = tokio::time::sleep_until(renew_at.unwrap_or(answer_due)), if renew_at.is_some() => {
                    control.handle_timeout(self.world.context().upstream.clone(), self.clock.now())?;
                }
                _ = refresh.tick(), if !control.is_waiting() => {
                    control.refresh()?;
                }
                () = tokio::time::sleep_until(answer_due), if control.is_waiting() => return Err(ClusterError::Silent),
            }
        }
    }

    /// `untold`: of how many topics the broker did not tell before.
    fn publish_sizes(&self, sizes: TopicSizes, untold: &mut usize, view: &mut ClusterView) {
        if sizes.untold > *untold {
            let assumed = self.world.context().limits.message_bytes_max;
            tracing::info!(
                event = "cluster.sizes_untold",
                topics = sizes.untold,
                message_bytes_max = assumed,
                hint = "let weir's user describe the configuration of topics, or set `upstream.message_bytes_max`"
            );
        }
        *untold = sizes.untold;
        view.batch_bytes_max = sizes.batch_bytes_max;
        self.world.update(|context| context.view = Some(Arc::new(view.clone())));
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
