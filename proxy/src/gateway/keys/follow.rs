//! The task of one issuer: when its keys are fetched, who waits for that, and when they are too old.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_authn::Jwks;

use super::fetch::{FetchError, Fetched, Fetcher};
use super::{ASKS_MAX, Keys, Known};
use crate::config::KeySource;
use crate::gateway::inbox::{Inbox, Message};

/// Time from one attempt to the next that logins ask for. At most an attempt's time, so that a login that comes during one attempt still
/// sees the end of the next.
pub(super) const ASK_PAUSE: Duration = Duration::from_secs(3);

/// How often keys are fetched without a reason, when the issuer does not say how long they stay good.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// Bounds on what an issuer may say about it: a key that it withdraws must go, and it must not be asked all the time.
pub(super) const REFRESH_MIN: Duration = Duration::from_secs(60);
pub(super) const REFRESH_MAX: Duration = Duration::from_secs(900);

/// Attempts at least in the time that keys may become old.
const REFRESHES_MIN: u32 = 2;

/// Pause after a failed attempt; it doubles from the first to the second.
pub(super) const RETRY_MIN: Duration = Duration::from_secs(1);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);

/// More than it takes from `RETRY_MIN` to `RETRY_MAX`.
pub(super) const DOUBLINGS_MAX: u32 = 10;

/// A login that waits. It is answered in any case: when nobody does, because the task that was to do it is gone, by being dropped.
pub(super) struct Ask {
    login: u64,
    inbox: Option<Inbox>,
}

impl Ask {
    pub(super) fn new(login: u64, inbox: Inbox) -> Self {
        Self { login, inbox: Some(inbox) }
    }

    pub(super) fn answer(mut self, fetched: bool) {
        self.say(fetched);
    }

    fn say(&mut self, fetched: bool) {
        if let Some(inbox) = self.inbox.take() {
            inbox.send(Message::Keys { login: self.login, fetched });
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.say(false);
    }
}

/// The task of one issuer.
pub(super) struct Follower {
    keys: Keys,
    source: KeySource,
    age_max: watch::Receiver<Duration>,
    fetcher: Option<Fetcher>,
    /// The key set as it came last, while it is in use.
    text: Option<String>,
    /// The trouble that was reported last.
    trouble: Option<&'static str>,
    /// Failed attempts in a row.
    failures: u32,
}

impl Follower {
    pub(super) fn new(keys: Keys, source: KeySource) -> Self {
        let age_max = keys.age_max.subscribe();
        Self { keys, source, age_max, fetcher: None, text: None, trouble: None, failures: 0 }
    }

    /// Runs until the process ends or the issuer is followed no more.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut due = Instant::now();
        let mut may_ask = due;
        let mut waiting = Vec::new();
        loop {
            let attempt_at = if waiting.is_empty() { due } else { due.min(may_ask) };
            let next = self.too_old_at().map_or(attempt_at, |at| at.min(attempt_at));
            tokio::select! {
                ask = asked.recv(), if waiting.len() < ASKS_MAX => match ask {
                    Some(ask) => waiting.push(ask),
                    None => return,
                },
                changed = self.age_max.changed() => match changed {
                    Ok(()) => due = due.min(Instant::now() + self.pause_max()),
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(next) => {
                    self.drop_old_keys();
                    if attempt_at > Instant::now() {
                        continue;
                    }
                    // Who asks from now on is answered by the next attempt: this one may find what was there before.
                    let answered = std::mem::take(&mut waiting);
                    may_ask = Instant::now() + ASK_PAUSE;
                    let (fetched, pause) = match self.attempt().await {
                        Ok(pause) => (true, pause),
                        Err(pause) => (false, pause),
                    };
                    due = Instant::now() + pause;
                    answered.into_iter().for_each(|ask: Ask| ask.answer(fetched));
                }
            }
        }
    }

    /// When the keys that are in use are too old.
    fn too_old_at(&self) -> Option<Instant> {
        let issuers = self.keys.lock();
        let known = &issuers.followed.get(&self.source.issuer).filter(|followed| followed.source == self.source)?.known;
        known.jwks.as_ref().and(known.since)?.checked_add(*self.age_max.borrow())
    }

    /// Longest pause between two attempts.
    fn pause_max(&self) -> Duration {
        *self.age_max.borrow() / REFRESHES_MIN
    }

    /// Takes keys out of use that are too old: nothing is known of what the issuer withdrew since.
    fn drop_old_keys(&mut self) {
        if self.too_old_at().is_none_or(|at| at > Instant::now()) {
            return;
        }
        let issuer = self.source.issuer.as_str();
        let (age, trouble) = {
            let mut issuers = self.keys.lock();
            let followed = issuers.followed.get_mut(issuer).filter(|followed| followed.source == self.source);
            let Some(followed) = followed else { return };
            followed.known.jwks = None;
            let told = (followed.known.since, followed.known.trouble.clone());
            self.keys.tell_readiness(&issuers);
            told
        };
        self.text = None;
        self.keys.world.update(|context| {
            if self.is_followed()
                && let Ok(identity) = context.identity.without_keys(issuer)
            {
                context.identity = Arc::new(identity);
            }
        });
        let age_seconds = age.map_or(0, |since| since.elapsed().as_secs());
        let error = trouble.unwrap_or_default();
        let hint = "nobody logs in with a token of this issuer until its keys can be fetched; `identity.keys_age_max`";
        tracing::error!(event = "keys.expired", issuer, age_seconds, error, hint);
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

    /// In a task of its own, which ends with this one: a defect in what reads an issuer's answer is a failed attempt, and no end of all.
    async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let mut fetcher = match self.fetcher.take() {
            Some(fetcher) => fetcher,
            None => Fetcher::new(self.source.clone())?,
        };
        let mut attempt = JoinSet::new();
        attempt.spawn(async move {
            let fetched = fetcher.fetch().await;
            (fetcher, fetched)
        });
        match attempt.join_next().await {
            Some(Ok((fetcher, fetched))) => {
                self.fetcher = Some(fetcher);
                fetched
            }
            Some(Err(_)) | None => Err(FetchError::Panicked),
        }
    }

    fn publish(&mut self, Fetched { jwks, text, max_age, .. }: Fetched) -> Result<Duration, FetchError> {
        let issuer = self.source.issuer.as_str();
        let changed = self.text.as_ref() != Some(&text);
        // A set in which no key fits is not to be published, nor kept as the fresh one.
        self.keys.world.context().identity.with_keys(issuer, jwks.clone())?;
        let count = jwks.len();
        if changed {
            let mut put = Ok(());
            self.keys.world.update(|context| {
                // Whoever changed the configuration meanwhile may have another place for these keys, or other algorithms.
                if self.is_followed() {
                    put = context.identity.with_keys(issuer, jwks.clone()).map(|identity| {
                        context.identity = Arc::new(identity);
                        self.remember(jwks);
                    });
                }
            });
            put?;
        } else {
            self.remember(jwks);
        }
        if changed || self.trouble.is_some() {
            tracing::info!(event = "keys.fetched", issuer, keys = count);
        }
        (self.text, self.trouble, self.failures) = (Some(text), None, 0);
        let pause = max_age.map_or(REFRESH_EVERY, |age| age.clamp(REFRESH_MIN, REFRESH_MAX));
        Ok(pause.min(self.pause_max()))
    }

    /// These are the keys from now on, and fresh.
    fn remember(&self, jwks: Jwks) {
        let mut issuers = self.keys.lock();
        let followed = issuers.followed.get_mut(&self.source.issuer).filter(|followed| followed.source == self.source);
        if let Some(followed) = followed {
            followed.known = Known { jwks: Some(jwks), since: Some(Instant::now()), trouble: None };
        }
        self.keys.tell_readiness(&issuers);
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
                known.jwks.as_ref().and(known.since)
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
