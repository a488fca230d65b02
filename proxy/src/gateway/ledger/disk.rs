//! Looks at the disk under the log, keeps the ballast, and plans what the retention policy lets go: on a thread of its own, since a disk in
//! trouble answers late.
//!
//! ```text
//! ledger-disk ── Look, twice a second ──► ledger: stop, last words, go on
//!             ── Plan ──────────────────► ledger: one prune entry      ── done ──► ledger-disk: compact
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_audit_store::{Ballast, Demand, Plan, Pruner, Space, StoreError, used_bytes};

use super::room::{self, Look, Stop};
use crate::config::{RetainConfig, Then};
use crate::gateway::clock::Clock;
use crate::gateway::telemetry::Metrics;

/// How often the disk is looked at. At 100 MiB/s, more than a log ever wrote, that is less than the reserve.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the ledger hears what was seen while nothing else happens.
pub(super) const WATCH_EVERY: Duration = Duration::from_millis(250);
/// How often it is asked whether something is old enough to go.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Plans after which space is given back although more is to go.
const PLANS_PER_COMPACTION: u32 = 16;
/// Less free than this is too little for last words: the ballast is given up for them.
const LAST_WORDS_BYTES: u64 = 1 << 20;

/// The ledger's side.
pub(super) struct Disk {
    retain: RetainConfig,
    ballast: Ballast,
    shared: Arc<Shared>,
    plans: Receiver<Plan>,
    /// Dropped to stop the thread.
    go_on: SyncSender<()>,
    thread: JoinHandle<()>,
}

/// What both sides know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    look: Mutex<Option<Look>>,
    /// Of the store that is open now.
    pruner: Mutex<Option<Pruner>>,
    /// Entries that something outside the log vouches for.
    covered: AtomicU64,
    /// The first entry that is left.
    first: AtomicU64,
    /// A plan was given and is not answered yet.
    planned: AtomicBool,
}

/// Before the log is opened: on a full disk the ballast makes room for that.
pub(crate) fn make_room(data_dir: &Path) {
    let ballast = Ballast::of(data_dir);
    // Nothing is there before the first start.
    let Ok(space) = Space::of(data_dir) else { return };
    if ballast.bytes() > space.free {
        release(&ballast, "the log is opened on a full disk");
    }
}

impl Disk {
    pub(super) fn start(
        data_dir: PathBuf,
        retain: RetainConfig,
        shared: Arc<Shared>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (give, plans) = mpsc::sync_channel(1);
        let (go_on, stopped) = mpsc::sync_channel(1);
        let ballast = Ballast::of(&data_dir);
        let mut keeper = Keeper {
            data_dir,
            retain,
            ballast: ballast.clone(),
            shared: Arc::clone(&shared),
            metrics,
            plans: give,
            prune_at: Instant::now(),
            since_compaction: 0,
            more: false,
            unseen: false,
        };
        keeper.look();
        let work = move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                keeper.look();
                keeper.prune();
            }
        };
        let thread = std::thread::Builder::new().name("ledger-disk".to_owned()).spawn(work)?;
        let disk = Self { retain, ballast, shared, plans, go_on, thread };
        if disk.judge(None).is_none() {
            disk.ballast();
        }
        Ok(disk)
    }

    /// Whether nothing new may be recorded, by the last look. What cannot be measured stays as it was.
    pub(super) fn judge(&self, stopped: Option<Stop>) -> Option<Stop> {
        self.seen().map_or(stopped, |look| room::judge(&self.retain, &look, stopped))
    }

    /// The last look.
    pub(super) fn seen(&self) -> Option<Look> {
        *lock(&self.shared.look)
    }

    /// Makes the ballast if it is not there. False when there is no room for it.
    pub(super) fn ballast(&self) -> bool {
        let Some(look) = self.seen() else { return true };
        match self.ballast.make(room::reserve(&self.retain, look.space)) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(event = "audit.ballast_failed", error = %error);
                !is_no_space(&error)
            }
        }
    }

    /// Gives the ballast up when there is no room for last words without it.
    pub(super) fn room_for_last_words(&self, found_full: bool) {
        if found_full || self.seen().is_none_or(|look| look.space.free < LAST_WORDS_BYTES) {
            release(&self.ballast, "there is no room for the last words");
        }
    }

    /// What is to go next, if anything is.
    pub(super) fn plan(&self) -> Option<Plan> {
        self.plans.try_recv().ok()
    }

    /// The plan was carried out, or not; the first entry that is left now.
    pub(super) fn planned(&self, first: u64) {
        self.shared.first.store(first, Ordering::Relaxed);
        self.shared.planned.store(false, Ordering::Release);
    }

    /// So many entries may go as far as the world outside is concerned.
    pub(super) fn cover(&self, entries: u64) {
        self.shared.covered.store(entries, Ordering::Relaxed);
    }

    /// Ends the thread. The store must be gone by now: that ends a compaction.
    pub(super) fn finish(self) {
        drop(self.go_on);
        if self.thread.join().is_err() {
            tracing::error!(event = "audit.disk_thread_panicked");
        }
    }
}

impl Shared {
    /// Another store is open now.
    pub(super) fn opened(&self, pruner: Pruner, first: u64) {
        self.first.store(first, Ordering::Relaxed);
        *lock(&self.pruner) = Some(pruner);
    }
}

/// The thread's side.
struct Keeper {
    data_dir: PathBuf,
    retain: RetainConfig,
    ballast: Ballast,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    plans: SyncSender<Plan>,
    prune_at: Instant,
    since_compaction: u32,
    /// The last plan left something for the next.
    more: bool,
    /// The last look failed.
    unseen: bool,
}

impl Keeper {
    fn look(&mut self) {
        let looked = Space::of(&self.data_dir).and_then(|space| Ok((space, used_bytes(&self.data_dir)?)));
        let (space, used) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                if !std::mem::replace(&mut self.unseen, true) {
                    tracing::error!(event = "audit.disk_unseen", error = %error);
                }
                return;
            }
        };
        self.unseen = false;
        self.metrics.audit.bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        *lock(&self.shared.look) = Some(Look { space, used, ballast: self.ballast.bytes() });
    }

    /// Asks for what may go, or gives back the space of what went.
    fn prune(&mut self) {
        if self.retain.then != Then::Prune || self.shared.planned.load(Ordering::Acquire) {
            return;
        }
        let used = lock(&self.shared.look).map_or(0, |look| look.used);
        let surplus = room::surplus(&self.retain, used);
        let Some(pruner) = lock(&self.shared.pruner).clone() else { return };
        if self.since_compaction > 0 && (!self.more || self.since_compaction >= PLANS_PER_COMPACTION) {
            self.since_compaction = 0;
            if let Err(error) = pruner.compact(self.shared.first.load(Ordering::Relaxed)) {
                tracing::warn!(event = "audit.compact_failed", error = %error);
            }
            // How large it is now decides what is next.
            return;
        }
        if !self.more && surplus == 0 && Instant::now() < self.prune_at {
            return;
        }
        self.prune_at = Instant::now() + PRUNE_EVERY;
        let covered = self.shared.covered.load(Ordering::Relaxed);
        let age = self.retain.days.map(|days| days.saturating_mul(NANOS_PER_DAY));
        let not_before = age.map(|age| Clock::wall_ns().saturating_sub(age));
        match pruner.plan(&Demand { not_before, bytes: surplus, covered }) {
            Ok(Some(plan)) => {
                self.more = plan.more;
                self.since_compaction += 1;
                self.shared.planned.store(true, Ordering::Release);
                if self.plans.try_send(plan).is_err() {
                    self.shared.planned.store(false, Ordering::Release);
                }
            }
            Ok(None) => self.more = false,
            Err(error) => {
                self.more = false;
                tracing::error!(event = "audit.prune_failed", error = %error, hint = "nothing is pruned");
            }
        }
    }
}

fn release(ballast: &Ballast, why: &'static str) {
    match ballast.release() {
        Ok(true) => tracing::warn!(event = "audit.ballast_released", why),
        Ok(false) => {}
        Err(error) => tracing::warn!(event = "audit.ballast_failed", error = %error),
    }
}

fn is_no_space(error: &StoreError) -> bool {
    matches!(error, StoreError::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const NANOS_PER_DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
