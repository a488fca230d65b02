//! Looks at the disk under the log, keeps the ballast, and plans what the retention policy lets go: each on a thread of its own. A disk in
//! trouble answers late; and a compaction takes its time, in which the disk must be looked at all the same.
//!
//! ```text
//! ledger-disk  ── Look, twice a second ──► ledger: stop, last words, go on
//! ledger-prune ── Plan ──────────────────► ledger: one prune entry      ── done ──► ledger-prune: compact
//! ```

mod retention;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use weir_audit_store::{Ballast, Plan, Pruner, Space, StoreError, used_bytes};

use self::retention::Retention;
use super::room::{self, Look, Stop};
use crate::config::RetainConfig;
use crate::gateway::telemetry::Metrics;

/// How often the disk is looked at. At 100 MiB/s, more than a log ever wrote, that is less than the reserve.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the ledger hears what was seen while nothing else happens.
pub(super) const WATCH_EVERY: Duration = Duration::from_millis(250);
/// Less free than this is too little for last words: the ballast is given up for them.
const LAST_WORDS_BYTES: u64 = 1 << 20;

/// The ledger's side.
pub(super) struct Disk {
    retain: RetainConfig,
    ballast: Ballast,
    shared: Arc<Shared>,
    plans: Receiver<Plan>,
    threads: Vec<Thread>,
}

/// Something that is done twice a second.
struct Thread {
    /// Dropped to stop it.
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
        let ballast = Ballast::of(&data_dir);
        let looked = Arc::clone(&shared);
        let mut watch = Watch { data_dir, ballast: ballast.clone(), shared: looked, metrics, unseen: false };
        watch.look();
        let mut retention = Retention::new(retain, Arc::clone(&shared), give);
        let threads = vec![
            Thread::start("ledger-disk", move || watch.look())?,
            Thread::start("ledger-prune", move || retention.prune())?,
        ];
        let disk = Self { retain, ballast, shared, plans, threads };
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

    /// Ends the threads. The store must be gone by now: that ends a compaction.
    pub(super) fn finish(self) {
        for Thread { go_on, thread } in self.threads {
            drop(go_on);
            if thread.join().is_err() {
                tracing::error!(event = "audit.disk_thread_panicked");
            }
        }
    }
}

impl Thread {
    fn start(name: &str, mut work: impl FnMut() + Send + 'static) -> std::io::Result<Self> {
        let (go_on, stopped) = mpsc::sync_channel(1);
        let work = move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                work();
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { go_on, thread })
    }
}

impl Shared {
    /// Another store is open now.
    pub(super) fn opened(&self, pruner: Pruner, first: u64) {
        self.first.store(first, Ordering::Relaxed);
        *lock(&self.pruner) = Some(pruner);
    }
}

/// Looks at the disk.
struct Watch {
    data_dir: PathBuf,
    ballast: Ballast,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// The last look failed.
    unseen: bool,
}

impl Watch {
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use weir_audit_store::Store;

    use super::*;
    use crate::config::Then;

    /// Held up for as long as the test likes, as by a compaction.
    #[test]
    fn the_disk_is_looked_at_while_pruning_takes_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        let shared = Arc::new(Shared::default());
        shared.opened(store.pruner(), 0);
        let retain = RetainConfig { then: Then::Prune, days: Some(1), reserve: 4 << 20, ..RetainConfig::default() };
        let metrics = Arc::new(Metrics::new().unwrap());
        let held_up = lock(&shared.pruner);
        let disk = Disk::start(dir.path().to_owned(), retain, Arc::clone(&shared), metrics).unwrap();
        for megabytes in 1..4 {
            let file = dir.path().join("audit").join(megabytes.to_string());
            std::fs::write(file, vec![0; 1 << 20]).unwrap();
            let began = Instant::now();
            while disk.seen().unwrap().used < megabytes << 20 {
                assert!(began.elapsed() < Duration::from_secs(60), "{megabytes} MiB are not seen");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        drop(held_up);
        drop(store);
        disk.finish();
    }
}
