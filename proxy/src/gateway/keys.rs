//! The keys of issuers: fetched at the start, again from time to time, and when a login needs one that is not there.
//!
//! ```text
//! connection ── ask ──► one task per issuer ── GET ──► issuer
//!     ▲                    │ World::update: the context's identity with fresh keys
//!     └── Message::Keys ◄──┘ the attempt is over: decide
//! ```
//!
//! One attempt at a time per issuer, and at most one in [`ASK_PAUSE`] because of logins, whatever clients send. Keys are kept when an
//! attempt fails.

mod fetch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use weir_authn::{Identity, Jwks};

use self::fetch::{FetchError, Fetched, Fetcher};
use super::inbox::{Inbox, Message};
use super::telemetry::{Metrics, Part};
use super::world::World;
use crate::config::{IdentityConfig, KeySource};

/// Time from one attempt to the next that logins ask for. At most an attempt's time, so that a login that comes during one attempt still
/// sees the end of the next.
const ASK_PAUSE: Duration = Duration::from_secs(3);

/// How often keys are fetched without a reason, when the issuer does not say how long they stay good.
const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// Bounds on what an issuer may say about it: a key that it withdraws must go, and it must not be asked all the time.
const REFRESH_MIN: Duration = Duration::from_secs(60);
const REFRESH_MAX: Duration = Duration::from_secs(900);

/// Pause after a failed attempt; it doubles from the first to the second.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Logins of one issuer that may wait for an attempt: more than connections log in again at once after a rotation. Further ones are
/// decided with the keys that are there.
const ASKS_MAX: usize = 65_536;

/// Fetches the keys of all issuers that publish them over HTTP.
#[derive(Clone)]
pub(crate) struct Keys {
    world: World,
    metrics: Arc<Metrics>,
    issuers: Arc<Mutex<Issuers>>,
}

#[derive(Default)]
struct Issuers {
    followed: BTreeMap<String, Followed>,
    /// Whether some issuer's keys are given, so that somebody can log in whatever is fetched.
    some_given: bool,
}

/// One issuer.
struct Followed {
    source: KeySource,
    asks: mpsc::Sender<Ask>,
    task: AbortHandle,
    known: Known,
}

/// What is known of an issuer's keys.
#[derive(Default)]
struct Known {
    jwks: Option<Jwks>,
    since: Option<Instant>,
    /// What came of the last attempt, if it failed.
    trouble: Option<String>,
}

/// A login that waits.
struct Ask {
    login: u64,
    inbox: Inbox,
}

/// Fetches the keys of one issuer, as they are fetched while weir runs; how many bytes they are.
///
/// # Errors
///
/// What went wrong, and what to do.
pub(crate) async fn fetch_once(source: KeySource) -> Result<usize, (String, &'static str)> {
    let told = |error: FetchError| (error.to_string(), error.hint());
    let mut fetcher = Fetcher::new(source).map_err(told)?;
    fetcher.fetch().await.map(|fetched| fetched.text.len()).map_err(told)
}

impl Keys {
    pub(crate) fn new(world: World, metrics: Arc<Metrics>) -> Self {
        Self { world, metrics, issuers: Arc::default() }
    }

    /// Follows the issuers of a configuration, and no others, and puts the keys that are known into the `identity` that was made of it:
    /// an issuer that was followed before keeps its keys, unless they come from another place now. To be called where the context is
    /// changed, inside [`World::update`], so that no keys that come meanwhile are lost; and on the runtime.
    pub(crate) fn follow(&self, config: &IdentityConfig, mut identity: Identity) -> Identity {
        let mut issuers = self.lock();
        let mut before = std::mem::take(&mut issuers.followed);
        issuers.some_given = config.issuers.len() > config.key_sources.len();
        for source in &config.key_sources {
            let followed = match before.remove(&source.issuer) {
                Some(followed) if followed.source == *source => followed,
                Some(old) => {
                    old.task.abort();
                    // Another authority vouches for the same place: what came from there stays good.
                    let known = if old.source.place == source.place {
                        old.known
                    } else {
                        self.forget_age(&old.source);
                        Known::default()
                    };
                    Followed { known, ..self.start(source.clone()) }
                }
                None => self.start(source.clone()),
            };
            issuers.followed.insert(source.issuer.clone(), followed);
        }
        for followed in before.into_values() {
            followed.task.abort();
            self.forget_age(&followed.source);
        }
        for (issuer, followed) in &mut issuers.followed {
            let Some(jwks) = followed.known.jwks.clone() else { continue };
            match identity.with_keys(issuer, jwks) {
                Ok(filled) => identity = filled,
                // They fit what was configured before: as if there were none.
                Err(_) => followed.known = Known::default(),
            }
        }
        self.tell_readiness(&issuers);
        identity
    }

    /// A login waits for keys: when an attempt that begins after this is over, its connection hears of it.
    pub(crate) fn ask(&self, issuer: &str, login: u64, inbox: Inbox) {
        let ask = Ask { login, inbox };
        let unasked = match self.lock().followed.get(issuer) {
            Some(followed) => followed.asks.try_send(ask).err().map(mpsc::error::TrySendError::into_inner),
            // Gone with a change of the configuration.
            None => Some(ask),
        };
        if let Some(Ask { login, inbox }) = unasked {
            tracing::debug!(event = "keys.unasked", issuer, limit = ASKS_MAX);
            inbox.send(Message::Keys { login, fetched: false });
        }
    }

    /// Brings the ages up to date.
    pub(crate) fn observe(&self) {
        for (issuer, followed) in &self.lock().followed {
            if let Some(since) = followed.known.since {
                let age = i64::try_from(since.elapsed().as_secs()).unwrap_or(i64::MAX);
                self.metrics.keys.age.with_label_values(&[issuer]).set(age);
            }
        }
    }

    fn start(&self, source: KeySource) -> Followed {
        for result in ["ok", "failed"] {
            self.metrics.keys.refreshes.with_label_values(&[&source.issuer, result]).inc_by(0);
        }
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let follower = Follower {
            keys: self.clone(),
            source: source.clone(),
            fetcher: None,
            text: None,
            trouble: None,
            failures: 0,
        };
        let task = tokio::spawn(follower.run(asked)).abort_handle();
        Followed { source, asks, task, known: Known::default() }
    }

    /// While there is an issuer that could let somebody in, weir is ready.
    fn tell_readiness(&self, issuers: &Issuers) {
        let keyless = issuers.followed.iter().filter(|(_, followed)| followed.known.jwks.is_none());
        let reasons = keyless.map(|(issuer, followed)| {
            let trouble = followed.known.trouble.as_deref().unwrap_or("not fetched yet");
            format!("no keys of issuer `{issuer}`: {trouble}")
        });
        let reasons = reasons.collect::<Vec<_>>();
        if reasons.is_empty() || issuers.some_given || reasons.len() < issuers.followed.len() {
            self.metrics.ready.clear(Part::Keys);
        } else {
            self.metrics.ready.block(Part::Keys, reasons.join("; "));
        }
    }

    /// Keys that are not used any more have no age.
    fn forget_age(&self, source: &KeySource) {
        // An error means that there was none.
        drop(self.metrics.keys.age.remove_label_values(&[&source.issuer]));
    }

    fn lock(&self) -> MutexGuard<'_, Issuers> {
        self.issuers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of one issuer.
struct Follower {
    keys: Keys,
    source: KeySource,
    fetcher: Option<Fetcher>,
    /// The key set as it came last.
    text: Option<String>,
    /// The trouble that was reported last.
    trouble: Option<&'static str>,
    /// Failed attempts in a row.
    failures: u32,
}

impl Follower {
    /// Runs until the process ends or the issuer is followed no more.
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut due = Instant::now();
        let mut may_ask = due;
        let mut waiting = Vec::new();
        loop {
            let next = if waiting.is_empty() { due } else { due.min(may_ask) };
            tokio::select! {
                ask = asked.recv(), if waiting.len() < ASKS_MAX => match ask {
                    Some(ask) => waiting.push(ask),
                    None => return,
                },
                () = tokio::time::sleep_until(next) => {
                    // Who asks from now on is answered by the next attempt: this one may find what was there before.
                    let answered = std::mem::take(&mut waiting);
                    may_ask = Instant::now() + ASK_PAUSE;
                    let (fetched, pause) = match self.attempt().await {
                        Ok(pause) => (true, pause),
                        Err(pause) => (false, pause),
                    };
                    due = Instant::now() + pause;
                    for Ask { login, inbox } in answered {
                        inbox.send(Message::Keys { login, fetched });
                    }
                }
            }
        }
    }

    /// One attempt, and the pause until the next.
    async fn attempt(&mut self) -> Result<Duration, Duration> {
        let fetched = match self.fetch().await {
            Ok(fetched) => self.publish(fetched),
            Err(error) => Err(error),
        };
        let result = if fetched.is_ok() { "ok" } else { "failed" };
        self.keys.metrics.keys.refreshes.with_label_values(&[&self.source.issuer, result]).inc();
        fetched.map_err(|error| self.failed(&error))
    }

    async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let fetcher = match &mut self.fetcher {
            Some(fetcher) => fetcher,
            none @ None => none.insert(Fetcher::new(self.source.clone())?),
        };
        fetcher.fetch().await
    }

    fn publish(&mut self, Fetched { jwks, text, max_age }: Fetched) -> Result<Duration, FetchError> {
        let issuer = self.source.issuer.as_str();
        let changed = self.text.as_ref() != Some(&text);
        // A set in which no key fits is not to be published, nor kept as the fresh one.
        self.keys.world.context().identity.with_keys(issuer, jwks.clone())?;
        {
            let mut issuers = self.keys.lock();
            if let Some(followed) = issuers.followed.get_mut(issuer).filter(|followed| followed.source == self.source) {
                followed.known = Known { jwks: Some(jwks.clone()), since: Some(Instant::now()), trouble: None };
            }
            self.keys.tell_readiness(&issuers);
        }
        if changed {
            let count = jwks.len();
            self.keys.world.update(|context| {
                // Whoever changed the configuration meanwhile may have another place for these keys.
                if self.is_followed()
                    && let Ok(identity) = context.identity.with_keys(issuer, jwks)
                {
                    context.identity = Arc::new(identity);
                }
            });
            tracing::info!(event = "keys.fetched", issuer, keys = count);
        } else if self.trouble.is_some() {
            tracing::info!(event = "keys.fetched", issuer, keys = jwks.len());
        }
        (self.text, self.trouble, self.failures) = (Some(text), None, 0);
        Ok(max_age.map_or(REFRESH_EVERY, |age| age.clamp(REFRESH_MIN, REFRESH_MAX)))
    }

    fn is_followed(&self) -> bool {
        self.keys.lock().followed.get(&self.source.issuer).is_some_and(|followed| followed.source == self.source)
    }

    /// Keeps the keys that are there. The same trouble is reported once, however often it comes.
    fn failed(&mut self, error: &FetchError) -> Duration {
        let issuer = self.source.issuer.as_str();
        let text = error.to_string();
        let age = {
            let mut issuers = self.keys.lock();
            let known = issuers.followed.get_mut(issuer).map(|followed| &mut followed.known);
            let since = known.and_then(|known| {
                known.trouble = Some(text.clone());
                known.since
            });
            self.keys.tell_readiness(&issuers);
            since.map(|since| since.elapsed().as_secs())
        };
        if self.trouble != Some(error.code()) {
            self.trouble = Some(error.code());
            let (reason, hint) = (error.code(), error.hint());
            match age {
                Some(age) => {
                    tracing::warn!(event = "keys.kept", issuer, reason, error = text, age_seconds = age, hint);
                }
                None => tracing::warn!(event = "keys.missing", issuer, reason, error = text, hint),
            }
        }
        let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// More than it takes from `RETRY_MIN` to `RETRY_MAX`.
const DOUBLINGS_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use weir_session::KEYS_WAIT_MAX;

    use super::{ASK_PAUSE, REFRESH_EVERY, REFRESH_MAX, REFRESH_MIN, RETRY_MAX, RETRY_MIN, fetch::FETCH_TIMEOUT};

    #[test]
    fn a_login_sees_the_end_of_the_attempt_that_is_made_for_it() {
        // It may come when an attempt has just begun, which says nothing about its key.
        assert!(ASK_PAUSE.max(FETCH_TIMEOUT) + FETCH_TIMEOUT < KEYS_WAIT_MAX);
        assert!(REFRESH_MIN < REFRESH_EVERY && REFRESH_EVERY < REFRESH_MAX && RETRY_MIN < RETRY_MAX);
        assert!(RETRY_MIN * (1 << super::DOUBLINGS_MAX) > RETRY_MAX);
    }
}
