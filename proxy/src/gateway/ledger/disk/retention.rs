//! Plans what the retention policy lets go, and gives its space back: on a thread of its own, since both read much and take their time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use weir_audit_store::{Age, Demand, Plan, Pruner};

use super::{Shared, lock};
use crate::config::{RetainConfig, Then};
use crate::gateway::clock::Clock;
use crate::gateway::ledger::room;

/// How often it is asked whether something is old enough to go.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Plans after which space is given back although more is to go.
const PLANS_PER_COMPACTION: u32 = 16;

pub(super) struct Retention {
    retain: RetainConfig,
    shared: Arc<Shared>,
    plans: SyncSender<Plan>,
    prune_at: Instant,
    since_compaction: u32,
    /// The last plan left something for the next.
    more: bool,
    /// Something is kept that is old by the clock alone.
    held: bool,
}

impl Retention {
    pub(super) fn new(retain: RetainConfig, shared: Arc<Shared>, plans: SyncSender<Plan>) -> Self {
        Self { retain, shared, plans, prune_at: Instant::now(), since_compaction: 0, more: false, held: false }
    }

    /// Asks for what may go, or gives back the space of what went.
    pub(super) fn prune(&mut self) {
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
        let max = self.retain.days.map(|days| days.saturating_mul(NANOS_PER_DAY));
        let age = max.map(|max| Age { max, now: Clock::wall_ns() });
        match pruner.plan(&Demand { age, bytes: surplus, covered }) {
            Ok(Some(plan)) => {
                self.held = false;
                self.more = plan.more;
                self.since_compaction += 1;
                self.shared.planned.store(true, Ordering::Release);
                if self.plans.try_send(plan).is_err() {
                    self.shared.planned.store(false, Ordering::Release);
                }
            }
            Ok(None) => {
                self.more = false;
                self.tell_held(&pruner, age);
            }
            Err(error) => {
                self.more = false;
                tracing::error!(event = "audit.prune_failed", error = %error, hint = "nothing is pruned");
            }
        }
    }

    /// Says once that entries stay which the clock alone would let go.
    fn tell_held(&mut self, pruner: &Pruner, age: Option<Age>) {
        // What cannot be read now is read again by the next plan.
        let held = age.and_then(|age| pruner.held(&age).ok().flatten());
        if let Some(held) = held.filter(|_| !self.held) {
            tracing::warn!(
                event = "audit.prune_held",
                uncounted_seconds = held.uncounted / NANOS_PER_SECOND,
                hint = "the clock jumped ahead, or weir was off: that time makes no entry older"
            );
        }
        self.held = held.is_some();
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_DAY: u64 = 24 * 60 * 60 * NANOS_PER_SECOND;
