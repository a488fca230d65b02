//! The loop of the ledger's thread.

mod room;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use weir_audit::{BATCH_ENTRIES_MAX, EventId, GroupCommit, IntentRow, Kind, Merger, SignedCheckpoint, Step, Ticket};
use weir_audit_store::Store;

use super::Order;
use super::book::{Book, Look, Written};
use super::disk::{Disk, WATCH_EVERY};
use super::idle::Idle;
use super::keeper::Keeper;
use super::own::Own;
use super::queue::Queue;
use super::room::Stop;
use crate::config::RetainConfig;
use crate::gateway::clock::Clock;
use crate::gateway::inbox::{Inbox, Message};
use crate::gateway::telemetry::{Metrics, Part};

/// Pause before a log that cannot be written is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// What the system says of a full disk, in the database's words.
const NO_SPACE: &str = "No space left";
/// How many failures to open it again share one log line.
const REOPEN_FAILURES_PER_LINE: u32 = 20;

use self::room::Stopped;

/// What the thread owns.
pub(super) struct Writer {
    book: Book<Store>,
    keeper: Keeper,
    idle: Idle,
    queue: Queue,
    group: GroupCommit,
    /// Where the receipts of the group go.
    inboxes: HashMap<Ticket, Inbox>,
    stop: bool,
    merger: Merger,
    own: Own,
    turned_away: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    /// Whether the log can be written.
    recording: watch::Sender<bool>,
    started: Instant,
    reopen_at: Instant,
    reopen_failures: u32,
    retain: RetainConfig,
    disk: Disk,
    stopped: Option<Stopped>,
    /// The first entry that is left.
    first: u64,
    /// The entry that says that another key signs from now on, until it is durable. Nothing is signed before: a checkpoint by a key
    /// that the log does not tell of would look like a forged one.
    key_change: Option<EventId>,
    /// How much later than due everything becomes durable.
    #[cfg(feature = "sabotage")]
    lag: Duration,
    /// Refusals are not merged.
    #[cfg(feature = "sabotage")]
    unmerged: bool,
}

impl Writer {
    pub(super) fn new(
        book: Book<Store>,
        (keeper, idle): (Keeper, Duration),
        queue: Queue,
        own: Own,
        (retain, disk, first): (RetainConfig, Disk, u64),
        turned_away: Arc<AtomicU64>,
        (metrics, recording): (Arc<Metrics>, watch::Sender<bool>),
    ) -> Self {
        Self {
            book,
            keeper,
            idle: Idle::new(idle, Instant::now()),
            queue,
            group: GroupCommit::new(),
            inboxes: HashMap::new(),
            stop: false,
            merger: Merger::new(),
            own,
            turned_away,
            metrics,
            recording,
            started: Instant::now(),
            reopen_at: Instant::now(),
            reopen_failures: 0,
            retain,
            disk,
            stopped: None,
            first,
            key_change: None,
            #[cfg(feature = "sabotage")]
            lag: lag(),
            #[cfg(feature = "sabotage")]
            unmerged: std::env::var_os("WEIR_SABOTAGE_UNMERGED").is_some(),
        }
    }

    /// `before`: the last checkpoint, when another key than the one of now signed it.
    pub(super) fn run(mut self, in_doubt: &[IntentRow], before: Option<SignedCheckpoint>) {
        if let Some(before) = before {
            // First of all: what comes before it is the other key's.
            let change = self.own.entry(Kind::KeyChange, before.to_string());
            self.key_change = Some(change.event_id);
            self.book.owe(change, Vec::new());
        }
        self.queue.attend();
        self.begin(in_doubt);
        loop {
            // The first time around there is nothing but the start itself: it is on record before anything else is.
            self.commit();
            self.watch();
            self.key_change = self.key_change.filter(|change| self.book.owes(*change));
            let state = self.book.state().filter(|_| self.key_change.is_none());
            if let Some(kept) = self.keeper.offer(state) {
                self.book.keep(kept);
            }
            self.disk.cover(self.keeper.covered());
            if self.stop && self.take_queued() == 0 && self.group.is_empty() {
                return self.end();
            }
            self.collect();
        }
    }

    fn begin(&mut self, in_doubt: &[IntentRow]) {
        let mut reason = format!("weir {}", env!("CARGO_PKG_VERSION"));
        if !in_doubt.is_empty() {
            reason = format!("{reason}; requests in doubt: {}", in_doubt.len());
            tracing::warn!(
                event = "audit.recovered",
                intents = in_doubt.len(),
                hint = "weir ended with these requests open; whether they were stored is unknown"
            );
        }
        let boot = self.own.entry(Kind::Boot, reason);
        self.book.owe(boot, Vec::new());
        for intent in in_doubt {
            self.book.owe(intent.recovered(Clock::wall_ns()), vec![intent.id]);
        }
    }

    fn end(mut self) {
        for entry in self.merger.flush() {
            self.book.owe(entry, Vec::new());
        }
        self.note_turned_away();
        self.give_up_ballast();
        let shutdown = self.own.entry(Kind::Shutdown, "in order");
        self.book.owe(shutdown, Vec::new());
        self.reopen_at = Instant::now();
        self.commit();
        if self.book.owed() > 0 {
            tracing::error!(event = "audit.end_unrecorded", entries = self.book.owed());
        }
        let signs = self.key_change.is_none_or(|change| !self.book.owes(change));
        self.keeper.finish(self.book.state().filter(|_| signs));
        drop(self.book);
        self.disk.finish();
    }

    /// Waits for the first order, takes what is queued, and dwells for what is due.
    fn collect(&mut self) {
        if self.group.is_empty() && !self.stop {
            self.queue.listen();
            if self.take_queued() == 0 {
                self.stop |= self.queue.is_closed();
                self.queue.wait(self.patience());
            }
        }
        self.take_queued();
        while !self.stop
            && let Step::Dwell(wait) = self.group.step(self.started.elapsed())
        {
            self.queue.wait(wait);
            self.take_queued();
        }
        for entry in self.merger.poll(Clock::wall_ns()) {
            self.book.owe(entry, Vec::new());
        }
        self.note_turned_away();
        if let Some(size) = self.book.state().map(|state| state.head.size())
            && !self.stop
            && self.idle.is_due(size, Instant::now())
        {
            let heartbeat = self.own.entry(Kind::Heartbeat, "nothing was recorded for a while");
            self.book.owe(heartbeat, Vec::new());
        }
    }

    /// How long to wait for an order when nothing is queued.
    fn patience(&self) -> Duration {
        if self.book.is_down() {
            self.reopen_at.saturating_duration_since(Instant::now())
        } else {
            self.keeper.every().min(WATCH_EVERY)
        }
    }

    /// Takes what is queued now, and says how many orders that were; not more than a batch of them, so that a flood of refusals, which
    /// fill no batch, ends too.
    fn take_queued(&mut self) -> usize {
        for taken in 0..BATCH_ENTRIES_MAX {
            if self.group.is_full() {
                return taken;
            }
            let Some(order) = self.queue.take() else { return taken };
            self.take(order);
        }
        BATCH_ENTRIES_MAX
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Commit { ticket, commit, inbox, is_awaited } => {
                self.metrics.audit.queue.dec();
                self.inboxes.insert(ticket, inbox);
                if is_awaited {
                    self.group.queue(ticket, *commit);
                } else {
                    self.group.queue_unawaited(ticket, *commit, self.started.elapsed());
                }
            }
            #[cfg(feature = "sabotage")]
            Order::Refusal { entry, .. } if self.unmerged => self.book.owe(*entry, Vec::new()),
            Order::Refusal { entry, resource } => {
                let now = entry.at;
                if entry.principal.is_none() {
                    self.merger.before_login(*entry, now);
                } else if let Some(entry) = self.merger.after_login(*entry, resource.as_deref().unwrap_or(""), now) {
                    self.book.owe(entry, Vec::new());
                }
            }
            Order::Owed { entry, closes } => self.book.owe(*entry, closes),
            Order::Stop => self.stop = true,
        }
    }

    /// Commits the group, takes what was queued meanwhile into the next, and tells each connection.
    fn commit(&mut self) {
        self.reopen_if_due();
        let (queued, mut inboxes) = (self.group.take(), std::mem::take(&mut self.inboxes));
        if queued.is_empty() && !self.book.has_due() {
            return;
        }
        #[cfg(feature = "sabotage")]
        std::thread::sleep(self.lag);
        let was_up = self.book.state().is_some();
        let began = Instant::now();
        let Written { receipts, unrecorded, failure } = self.book.commit(queued);
        let took = began.elapsed();
        if was_up {
            self.metrics.audit.commit_seconds.observe(took.as_secs_f64());
        }
        self.metrics.audit.commits.inc_by(u64::try_from(receipts.len()).unwrap_or(u64::MAX));
        self.metrics.audit.unrecorded.inc_by(u64::try_from(unrecorded.len()).unwrap_or(u64::MAX));
        if let Some(error) = failure {
            self.failed(&error);
        }
        // What arrived during the commit is nobody's answer to it.
        self.take_queued();
        self.group.released(&receipts, took, self.started.elapsed());
        for receipt in receipts {
            if let Some(inbox) = inboxes.remove(&receipt.ticket()) {
                inbox.send(Message::Receipt(receipt));
            }
        }
        for ticket in unrecorded {
            if let Some(inbox) = inboxes.remove(&ticket) {
                inbox.send(Message::Unrecorded(ticket));
            }
        }
    }

    /// Says whether the log can be written, to whoever watches and to all sessions.
    fn set_up(&self, up: bool) {
        self.metrics.audit.up.set(i64::from(up));
        self.recording.send_replace(up);
    }

    /// The log went down.
    fn failed(&mut self, error: &str) {
        self.set_up(false);
        self.metrics.ready.block(Part::Audit, "the audit log cannot be written");
        self.reopen_at = Instant::now() + REOPEN_PAUSE;
        tracing::error!(
            event = "audit.write_failed",
            error,
            hint = "writes are refused and reads withheld until the log can be written again"
        );
        if error.contains(NO_SPACE) {
            self.stop_for(Stop::DiskFull, true);
        }
    }

    /// After a failed write the position is unknown: nothing is numbered before the store was read again.
    fn reopen_if_due(&mut self) {
        if !self.book.is_down() || Instant::now() < self.reopen_at {
            return;
        }
        self.keeper.settle();
        match self.book.reopen(Clock::wall_ns()) {
            Look::Up { size, disowned } => {
                tracing::info!(event = "audit.reopened", size, disowned);
                self.reopen_failures = 0;
                // A prune entry whose write failed may be durable all the same.
                self.first = self.book.sink_mut().map_or(self.first, |store| store.first());
                match self.stopped {
                    // It can be written, and has no room.
                    Some(stopped) => self.metrics.ready.block(Part::Audit, stopped.reason()),
                    None => {
                        self.set_up(true);
                        self.metrics.ready.clear(Part::Audit);
                    }
                }
                let lost = self.book.take_lost();
                if lost > 0 {
                    self.gap(lost, "the log could not be written; what a client waits for is written again");
                }
            }
            Look::Down(error) => {
                if self.reopen_failures.is_multiple_of(REOPEN_FAILURES_PER_LINE) {
                    tracing::error!(event = "audit.reopen_failed", error = %error, again_in = ?REOPEN_PAUSE);
                }
                self.reopen_failures = self.reopen_failures.saturating_add(1);
                self.reopen_at = Instant::now() + REOPEN_PAUSE;
            }
            Look::Ended(error) => {
                tracing::error!(event = "audit.damaged", error = %error, hint = "nothing is served until weir is restarted");
            }
        }
    }

    fn note_turned_away(&mut self) {
        let turned_away = self.turned_away.swap(0, Ordering::Relaxed);
        if turned_away > 0 {
            self.gap(turned_away, "more came than the log could take; what a client waits for is written again");
        }
    }

    /// Says how many events may be missing in the log, at most.
    fn gap(&mut self, events: u64, reason: &str) {
        let mut gap = self.own.entry(Kind::Gap, reason);
        gap.count = events;
        self.book.owe(gap, Vec::new());
    }
}

/// The lag that a negative control asks for.
#[cfg(feature = "sabotage")]
fn lag() -> Duration {
    let asked = std::env::var("WEIR_SABOTAGE_LAG_MS").ok().and_then(|text| text.parse().ok());
    let lag_ms = asked.unwrap_or(0);
    tracing::warn!(event = "weir.sabotaged", lag_ms, hint = "a build for negative controls; it must not be shipped");
    Duration::from_millis(lag_ms)
}
