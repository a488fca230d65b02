//! Takes a changed configuration while weir runs: on SIGHUP, and when a file that it was read from is another.
//!
//! ```text
//! poll ─► changed, and the same for one more poll ─► read and check all of it ─► record the change ─► swap the context whole
//!                                                        │ errors, or another listener: one line       │ not recorded: what
//!                                                        │ each, what runs stays                       └─ runs stays, again soon
//!                                                        └─ other keys that need a restart: named
//! ```

mod entry;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use weir_audit::{Commit, ConnectionId, EntryBody, Receipt, Ticket};
use weir_authn::Identity;
use weir_policy::PolicySet;
use weir_session::Context;
use weir_yaml::{Place, Problem, Problems, Severity};

use super::connection::Shared;
use super::inbox::{Inbox, Message};
use super::listener::Gate;
use super::serve::context;
use super::telemetry::Metrics;
use crate::config::{self, Config, Effective, Limits, Listener, Seen, Surroundings, Upstream};
use crate::tls::{Renewals, TlsStore};

/// How often the files of the configuration are looked at. What changed must stay the same for one more look: so a change acts within
/// two of these, and no file is taken while it is being written.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// The connection of this task's tickets: clients' are numbered from 1, and the ledger's own is 0.
const OWN_CONNECTION: ConnectionId = ConnectionId(u64::MAX);

/// What a configuration was read from, and what it became.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Its policies.
    pub policy: PolicySet,
    /// Where it came from: the file that is read again.
    pub path: PathBuf,
    /// Everything that was read for it.
    pub seen: Seen,
}

/// The task that watches the configuration.
pub(crate) struct Reloader {
    path: PathBuf,
    hangup: Signal,
    shared: Arc<Shared>,
    gate: Arc<Gate>,
    tls: Arc<TlsStore>,
    metrics: Arc<Metrics>,
    /// What is in force.
    running: Config,
    /// What weir was started with: what needs a restart is measured against it.
    started: Effective,
    /// What that in force was read from.
    applied: Seen,
    /// What was read last, in force or not.
    tried: Seen,
    /// It could not be recorded, and is tried again.
    unrecorded: bool,
    serial: u64,
}

/// A configuration that is right, before it is in force.
struct Candidate {
    /// With everything old that only a restart changes.
    config: Config,
    context: Context,
    /// Still without the keys that are fetched.
    identity: Identity,
    /// As they are written, for their certificates.
    listeners: Vec<Listener>,
    upstream: Upstream,
    seen: Seen,
    /// The keys that differ from those that weir was started with, and need a restart.
    restart: String,
    /// The keys that differ from those in force, and act now.
    changed: String,
}

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Applied,
    Unchanged,
    Rejected,
    Unrecorded,
}

impl Attempt {
    fn name(self) -> &'static str {
        match self {
            Attempt::Applied => "applied",
            Attempt::Unchanged => "unchanged",
            Attempt::Rejected => "rejected",
            Attempt::Unrecorded => "unrecorded",
        }
    }
}

impl Reloader {
    /// Watches what `running` was read from; `hangup` says that somebody wants it read again at once.
    pub(crate) fn new(
        running: Config,
        (path, seen): (PathBuf, Seen),
        hangup: Signal,
        (shared, gate, tls): (Arc<Shared>, Arc<Gate>, Arc<TlsStore>),
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.config.current.set(1);
        metrics.config.last_success.set(unix_seconds());
        let started = running.effective.clone();
        let (applied, tried) = (seen.clone(), seen);
        Self {
            path,
            hangup,
            shared,
            gate,
            tls,
            metrics,
            running,
            started,
            applied,
            tried,
            unrecorded: false,
            serial: 0,
        }
    }

    /// The limits that are in force.
    pub(crate) fn limits(&self) -> &Limits {
        &self.running.limits
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(&mut self) -> std::convert::Infallible {
        let mut changing = None;
        loop {
            let told = tokio::select! {
                Some(()) = self.hangup.recv() => true,
                () = tokio::time::sleep(POLL_EVERY) => false,
            };
            if !told {
                let Some(now) = self.look().await else { continue };
                if now == self.tried && !self.unrecorded {
                    changing = None;
                    continue;
                }
                if changing.as_ref() != Some(&now) {
                    changing = Some(now);
                    continue;
                }
            }
            changing = None;
            let attempt = self.attempt(told).await;
            self.unrecorded = attempt == Attempt::Unrecorded;
            self.metrics.config.reloads.with_label_values(&[attempt.name()]).inc();
        }
    }

    /// The files as they are now.
    async fn look(&self) -> Option<Seen> {
        let tried = self.tried.clone();
        tokio::task::spawn_blocking(move || tried.again()).await.ok()
    }

    async fn attempt(&mut self, told: bool) -> Attempt {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut problems = Problems::default();
            let (loaded, seen) = config::load_watched(&path, &Surroundings::of_process(), &mut problems);
            problems.sort();
            (loaded, seen, problems)
        });
        let Ok((loaded, seen, problems)) = read.await else { return Attempt::Rejected };
        let good = loaded.filter(|_| problems.errors() == 0);
        let Some(candidate) = good.and_then(|(config, policy)| self.candidate(config, policy, seen.clone())) else {
            self.tried = seen;
            self.metrics.config.current.set(0);
            problems.iter().for_each(rejected);
            return Attempt::Rejected;
        };
        if seen == self.applied {
            self.tried = seen;
            self.settle(&candidate.restart);
            if told {
                tracing::info!(event = "config.unchanged", hint = "every file is what it was when it was read last");
            }
            return Attempt::Unchanged;
        }
        let attempt = self.apply(candidate).await;
        if attempt == Attempt::Applied {
            warn(&problems);
        }
        attempt
    }

    /// What would be in force.
    fn candidate(&self, fresh: Config, policy: PolicySet, seen: Seen) -> Option<Candidate> {
        let (listeners, upstream) = (fresh.listeners.clone(), fresh.upstream.clone());
        let doors = self.doors(&listeners, &upstream);
        let needs = |key: &String| {
            let behind = |door: &String| key.strip_prefix(door.as_str()).is_some_and(|rest| rest.starts_with('.'));
            !config::is_reloaded(key) || doors.iter().any(behind)
        };
        let restart = fresh.effective.changes(&self.started).into_iter().filter(needs).collect::<Vec<_>>();
        let doors_changed = doors_among(&restart);
        if !doors_changed.is_empty() {
            let detail = format!("who may come in by a listener is changed by a restart alone: {doors_changed}");
            reject(None, &detail, "restart weir; until then nothing of this configuration acts");
            return None;
        }
        let restart = restart.join(", ");
        let changed = fresh.effective.changes(&self.running.effective).into_iter().filter(|key| !needs(key));
        let changed = changed.collect::<Vec<_>>().join(", ");
        let key = self.shared.world.context().audit.digest_key.0;
        let config = self.with_what_stays(fresh);
        let made = context(&config, policy, key).and_then(|context| Ok((context, config.identity.build()?)));
        let (context, identity) = made.map_err(|error| cannot(&error)).ok()?;
        Some(Candidate { config, context, identity, listeners, upstream, seen, restart, changed })
    }

    /// Where TLS begins or ends: that needs a restart, while another certificate does not.
    fn doors(&self, listeners: &[Listener], upstream: &Upstream) -> Vec<String> {
        let old = |name: &str| self.running.listeners.iter().find(|listener| listener.name == name);
        let other =
            |listener: &&Listener| old(&listener.name).is_none_or(|old| old.tls.is_some() != listener.tls.is_some());
        let mut doors: Vec<String> =
            listeners.iter().filter(other).map(|listener| format!("listeners.{}", listener.name)).collect();
        let gone = |old: &&Listener| !listeners.iter().any(|listener| listener.name == old.name);
        doors.extend(self.running.listeners.iter().filter(gone).map(|old| format!("listeners.{}", old.name)));
        if self.running.upstream.tls.is_some() != upstream.tls.is_some() {
            doors.push("upstream.tls".to_owned());
        }
        doors
    }

    async fn apply(&mut self, candidate: Candidate) -> Attempt {
        let files = candidate.seen.changes(&self.applied).map(|path| path.display().to_string());
        let files = files.collect::<Vec<_>>().join(", ");
        let (before, after) = (self.shared.world.context().policy.digest(), candidate.context.policy.digest());
        let entry = entry::policy_change(before, after, &candidate.changed, &files);
        let event_id = entry.event_id;
        // Nothing may fail once the change is on record: what can is done before.
        let renewals = match self.tls.prepare(&candidate.listeners, &candidate.upstream) {
            Ok(renewals) => renewals,
            Err(error) => {
                self.tried = candidate.seen;
                self.metrics.config.current.set(0);
                cannot(&error);
                return Attempt::Rejected;
            }
        };
        let Some(recorded) = self.record(entry).await else {
            if !self.unrecorded {
                tracing::error!(
                    event = "config.unrecorded",
                    files,
                    hint = "the change acts once the audit log can be written; until then what runs stays"
                );
            }
            self.metrics.config.current.set(0);
            return Attempt::Unrecorded;
        };
        self.tried = candidate.seen.clone();
        let (changed, restart) = (candidate.changed.clone(), candidate.restart.clone());
        self.put_in_force(candidate, renewals, &recorded);
        tracing::info!(event = "config.reloaded", files, changed, policy_digest = hex(&after), event_id = %event_id);
        self.settle(&restart);
        Attempt::Applied
    }

    /// What weir runs with from now on, all of it or nothing. The change is on record: `_recorded` proves it.
    fn put_in_force(&mut self, candidate: Candidate, renewals: Renewals, _recorded: &Receipt) {
        let Candidate { config, context: fresh, identity, seen, .. } = candidate;
        self.tls.take(renewals);
        self.shared.budget.set_max(config.limits.memory_max);
        self.gate.set_limits(&config.limits);
        self.shared.broker_logins.set_max(config.limits.handshakes_max);
        let keys = &self.shared.keys;
        self.shared.world.update(|context| {
            let identity = Arc::new(keys.follow(&config.identity, identity));
            // What is known of the cluster and of the log is not configured.
            *context = Context { view: context.view.take(), identity, recording: context.recording, ..fresh };
        });
        (self.running, self.applied) = (config, seen);
    }

    /// Says how what runs relates to what is written.
    fn settle(&self, restart: &str) {
        self.metrics.config.current.set(i64::from(restart.is_empty()));
        self.metrics.config.last_success.set(unix_seconds());
        if !restart.is_empty() {
            tracing::warn!(
                event = "config.restart_needed",
                keys = restart,
                hint = "these keep the value that weir was started with"
            );
        }
    }

    /// The new configuration with everything old that only a restart changes.
    fn with_what_stays(&self, fresh: Config) -> Config {
        let old = &self.running;
        Config {
            data_dir: old.data_dir.clone(),
            upstream: Upstream { auth: fresh.upstream.auth.clone(), ..old.upstream.clone() },
            listeners: old.listeners.clone(),
            admin: old.admin.clone(),
            log: old.log,
            ..fresh
        }
    }

    /// Has the entry written, and waits as long as a reply would.
    async fn record(&mut self, entry: EntryBody) -> Option<Receipt> {
        self.serial = self.serial.saturating_add(1);
        let ticket = Ticket::new(OWN_CONNECTION, self.serial);
        let (sender, mut messages) = mpsc::unbounded_channel();
        let commit = Commit::Entry { entry, closes: Vec::new() };
        if !self.shared.ledger.submit(ticket, commit, Inbox::new(sender), true) {
            return None;
        }
        match tokio::time::timeout(self.running.audit.hold_max, messages.recv()).await {
            Ok(Some(Message::Receipt(receipt))) => Some(receipt),
            Ok(Some(Message::Unrecorded(_) | Message::Done(_) | Message::Salted(_) | Message::Keys { .. }) | None)
            | Err(_) => None,
        }
    }
}

/// Those of `keys`, which need a restart, that belong to a listener. Policies and identity are written for the listeners that stand beside
/// them: with a door that still stands open as before, a policy that was widened for the new one would let in whom nobody meant.
fn doors_among(keys: &[String]) -> String {
    keys.iter().filter(|key| key.starts_with("listeners.")).map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn rejected(problem: &Problem) {
    if problem.severity == Severity::Error {
        reject(problem.place.as_ref(), &problem.message, problem.cure.as_deref().unwrap_or_default());
    }
}

/// What was right when it was read and cannot be used all the same.
fn cannot(error: &impl std::fmt::Display) {
    reject(None, &error.to_string(), "");
}

fn reject(place: Option<&Place>, detail: &str, hint: &str) {
    let place = place.map(ToString::to_string).unwrap_or_default();
    tracing::error!(event = "config.rejected", place, detail, hint);
}

/// Logs the warnings about a configuration that is used all the same.
pub(crate) fn warn(problems: &Problems) {
    for warning in problems.iter() {
        let place = warning.place.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(event = "config.warning", place, detail = warning.message, hint = warning.cure);
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
