//! The keys of issuers: fetched at the start, again from time to time, and when a login needs one that is not there.
//!
//! ```text
//! connection ── ask ──► one task per issuer (follow) ── GET (fetch) ──► issuer
//!     ▲                    │ World::update: the context's identity with fresh keys
//!     └── Message::Keys ◄──┘ the attempt is over: decide
//! ```
//!
//! One attempt at a time per issuer, and at most one in [`follow::ASK_PAUSE`] because of logins, whatever clients send. Keys are kept when
//! an attempt fails, until they are older than `identity.keys_age_max`.

mod fetch;
mod follow;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use weir_authn::{Identity, Jwks};

use self::fetch::{FetchError, Fetcher};
use self::follow::{Ask, Follower};
use super::inbox::Inbox;
use super::telemetry::{Metrics, Part};
use super::world::World;
use crate::config::{IdentityConfig, KeySource};

/// Logins of one issuer that may wait for an attempt: more than connections log in again at once after a rotation. Further ones are
/// decided with the keys that are there.
const ASKS_MAX: usize = 65_536;

/// The part of `keys_age_max`, as a divisor, after which `/readyz` speaks of keys that could not be fetched again.
const NOTED_AFTER: u32 = 2;

/// Fetches the keys of all issuers that publish them over HTTP.
#[derive(Clone)]
pub(crate) struct Keys {
    world: World,
    metrics: Arc<Metrics>,
    issuers: Arc<Mutex<Issuers>>,
    /// How old keys may be.
    age_max: watch::Sender<Duration>,
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
    /// When keys were fetched, last; also of those that are too old by now.
    since: Option<Instant>,
    /// What came of the last attempt, if it failed.
    trouble: Option<String>,
}

/// What one attempt to fetch keys told.
pub(crate) struct Tried {
    /// The key set's length.
    pub(crate) bytes: usize,
    /// How many seconds the issuer's clock is ahead of this machine's, if it told the time.
    pub(crate) clock_ahead: Option<i64>,
}

/// Fetches the keys of one issuer, as they are fetched while weir runs.
///
/// # Errors
///
/// What went wrong, and what to do.
pub(crate) async fn fetch_once(source: KeySource) -> Result<Tried, (String, &'static str)> {
    let told = |error: FetchError| (error.to_string(), error.hint());
    let mut fetcher = Fetcher::new(source).map_err(told)?;
    let fetched = fetcher.fetch().await.map_err(told)?;
    Ok(Tried { bytes: fetched.text.len(), clock_ahead: fetched.clock_ahead })
}

impl Keys {
    pub(crate) fn new(world: World, metrics: Arc<Metrics>, age_max: Duration) -> Self {
        Self { world, metrics, issuers: Arc::default(), age_max: watch::Sender::new(age_max) }
    }

    /// Follows the issuers of a configuration, and no others, and puts the keys that are known into the `identity` that was made of it:
    /// an issuer that was followed before keeps its keys, unless they come from another place now, or nobody who is trusted now vouched
    /// for them. To be called where the context is changed, inside [`World::update`], so that no keys that come meanwhile are lost; and
    /// on the runtime.
    pub(crate) fn follow(&self, config: &IdentityConfig, mut identity: Identity) -> Identity {
        self.age_max.send_replace(config.keys_age_max);
        self.metrics.keys.age_max.set(i64::try_from(config.keys_age_max.as_secs()).unwrap_or(i64::MAX));
        let mut issuers = self.lock();
        let mut before = std::mem::take(&mut issuers.followed);
        issuers.some_given = config.issuers.len() > config.key_sources.len();
        for source in &config.key_sources {
            let followed = match before.remove(&source.issuer) {
                Some(followed) if followed.source == *source => followed,
                Some(old) => {
                    old.task.abort();
                    let known = if still_vouched(&old.source, source) {
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
                // They fit what was configured before: as if there were none, and none had ever come.
                Err(_) => {
                    followed.task.abort();
                    self.forget_age(&followed.source);
                    *followed = self.start(followed.source.clone());
                }
            }
        }
        self.tell_readiness(&issuers);
        identity
    }

    /// A login waits for keys: when an attempt that begins after this is over, its connection hears of it.
    pub(crate) fn ask(&self, issuer: &str, login: u64, inbox: Inbox) {
        let ask = Ask::new(login, inbox);
        let unasked = match self.lock().followed.get(issuer) {
            Some(followed) => followed.asks.try_send(ask).err().map(mpsc::error::TrySendError::into_inner),
            // Gone with a change of the configuration.
            None => Some(ask),
        };
        if let Some(ask) = unasked {
            tracing::debug!(event = "keys.unasked", issuer, limit = ASKS_MAX);
            ask.answer(false);
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

    /// A line for each issuer whose keys are on their way to be too old, for whoever asks whether weir is ready: it is, as yet.
    pub(crate) fn ageing(&self) -> Vec<String> {
        let age_max = *self.age_max.borrow();
        let issuers = self.lock();
        let ageing = issuers.followed.iter().filter_map(|(issuer, followed)| {
            let age = followed.known.jwks.as_ref().and(followed.known.since)?.elapsed();
            let trouble = followed.known.trouble.as_deref().filter(|_| age >= age_max / NOTED_AFTER)?;
            let (age, max) = (age.as_secs(), age_max.as_secs());
            Some(format!("keys of issuer `{issuer}` are {age} s old and let nobody in from {max} s on: {trouble}"))
        });
        ageing.collect()
    }

    fn start(&self, source: KeySource) -> Followed {
        for result in ["ok", "failed"] {
            self.metrics.keys.refreshes.with_label_values(&[&source.issuer, result]).inc_by(0);
        }
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let follower = Follower::new(self.clone(), source.clone());
        let task = tokio::spawn(follower.run(asked)).abort_handle();
        Followed { source, asks, task, known: Known::default() }
    }

    /// While there is an issuer that could let somebody in, weir is ready.
    fn tell_readiness(&self, issuers: &Issuers) {
        let keyless = issuers.followed.iter().filter(|(_, followed)| followed.known.jwks.is_none());
        let reasons = keyless.map(|(issuer, followed)| {
            let trouble = followed.known.trouble.as_deref().unwrap_or("not fetched yet");
            let old = if followed.known.since.is_some() { "those from before are too old: " } else { "" };
            format!("no keys of issuer `{issuer}`: {old}{trouble}")
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

/// Whether keys that came from `old` may be used until those of `new` come: the same place, and whoever vouched for it then is trusted now.
/// Where an authority is gone, what it vouched for is as good as unknown: logins are held for the few moments that the fetch takes, and
/// refused if it fails.
fn still_vouched(old: &KeySource, new: &KeySource) -> bool {
    let authorities = match (&old.ca, &new.ca) {
        (None, None) => true,
        (Some(old), Some(new)) => old.iter().all(|authority| new.contains(authority)),
        (Some(_), None) | (None, Some(_)) => false,
    };
    old.place == new.place && authorities
}

#[cfg(test)]
mod tests;
