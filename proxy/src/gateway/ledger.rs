//! The one thread that writes the audit log: group commit in, receipts out.
//!
//! It takes what is queued, dwells a moment where the [`Dwell`] rule says that more is due, commits with one sync, and hands each
//! receipt to the connection whose ticket it carries. When a write fails everything is unrecorded until the store was opened
//! again and has shown where it stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_audit::{
    Commit, Committed, Committer, ConnectionId, Decision, Dwell, EntryBody, EventId, IntentRow, Kind, Merger, Outcome,
    PrincipalKind, PrincipalRef, Ticket,
};
use weir_audit_store::{HeadFile, Opened, Store, StoreError};

use super::clock::Clock;
use super::connection::{Inbox, Message};
use super::telemetry::Metrics;

/// Commits that may be queued, of all connections together; beyond it they are refused as unrecorded.
const COMMITS_QUEUED_MAX: usize = 65_536;
/// How often the head file beside the database is written (L4).
const HEAD_EVERY: Duration = Duration::from_secs(1);
/// Pause before the store is opened again after a failed write.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);
/// The connection id of weir's own entries; clients begin at 1.
const OWN: ConnectionId = ConnectionId(0);

enum Order {
    Commit { ticket: Ticket, commit: Box<Commit>, inbox: Inbox },
    Refusal { entry: Box<EntryBody>, resource: Option<String> },
    Stop,
}

/// Handle to the thread.
#[derive(Clone)]
pub(crate) struct Ledger {
    orders: mpsc::SyncSender<Order>,
    metrics: Arc<Metrics>,
}

/// The thread itself.
pub(crate) struct LedgerThread {
    thread: JoinHandle<()>,
}

impl Ledger {
    /// Starts the thread on an opened store: records the start, and what a crash left open.
    pub(crate) fn start(
        store: Store,
        opened: Opened,
        metrics: Arc<Metrics>,
        seed: [u8; 32],
    ) -> std::io::Result<(Self, LedgerThread)> {
        let (orders, queue) = mpsc::sync_channel(COMMITS_QUEUED_MAX);
        let head_file = store.head_file();
        let writer = Writer {
            committer: Some(Committer::open(store, opened.chain)),
            queue,
            dwell: Dwell::new(),
            merger: Merger::new(),
            own: OwnIds { seed, next: 0 },
            head_file,
            metrics: Arc::clone(&metrics),
            started: Instant::now(),
        };
        let in_doubt = opened.in_doubt;
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || writer.run(&in_doubt))?;
        Ok((Self { orders, metrics }, LedgerThread { thread }))
    }

    /// Queues a commit; false when the queue is full, which is the same as unrecorded.
    pub(crate) fn submit(&self, ticket: Ticket, commit: Commit, inbox: Inbox) -> bool {
        self.metrics.audit_queue.inc();
        match self.orders.try_send(Order::Commit { ticket, commit: Box::new(commit), inbox }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.audit_queue.dec();
                false
            }
        }
    }

    /// Queues a refusal to be merged with its like. A flood of them is cut at the queue: the refusals themselves stand.
    pub(crate) fn refusal(&self, entry: EntryBody, resource: Option<String>) {
        if self.orders.try_send(Order::Refusal { entry: Box::new(entry), resource }).is_err() {
            self.metrics.refusals_unrecorded.inc();
        }
    }

    /// Asks the thread to write what is queued, the end, and its head file.
    pub(crate) fn stop(&self, thread: LedgerThread) {
        if self.orders.send(Order::Stop).is_ok() && thread.thread.join().is_err() {
            tracing::error!(event = "audit.thread_panicked");
        }
    }
}

struct OwnIds {
    seed: [u8; 32],
    next: u64,
}

impl OwnIds {
    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket::new(OWN, self.next)
    }

    fn event(&mut self) -> EventId {
        self.next += 1;
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(self.next.to_be_bytes().iter().chain(&self.seed)) {
            *to = *from;
        }
        EventId::new(Clock::wall_ns() / 1_000_000, random)
    }
}

struct Writer {
    committer: Option<Committer<Store>>,
    queue: mpsc::Receiver<Order>,
    dwell: Dwell,
    merger: Merger,
    own: OwnIds,
    head_file: HeadFile,
    metrics: Arc<Metrics>,
    started: Instant,
}

/// What is about to be committed.
#[derive(Default)]
struct Batch {
    queued: Vec<(Ticket, Commit)>,
    inboxes: HashMap<Ticket, Inbox>,
    stop: bool,
}

impl Writer {
    fn run(mut self, in_doubt: &[IntentRow]) {
        let boot = self.own_entry(Kind::Boot, format!("weir {}", env!("CARGO_PKG_VERSION")));
        self.commit_own(boot, Vec::new());
        for intent in in_doubt {
            let recovered = intent.recovered(Clock::wall_ns());
            self.commit_own(recovered, vec![intent.id]);
        }
        if !in_doubt.is_empty() {
            tracing::warn!(
                event = "audit.recovered",
                intents = in_doubt.len(),
                hint = "weir ended with these requests open; whether they were stored is unknown"
            );
        }
        let mut head_due = Instant::now();
        loop {
            if head_due <= Instant::now() {
                self.sync_head();
                head_due = Instant::now() + HEAD_EVERY;
            }
            let batch = self.collect(head_due);
            let stop = batch.stop;
            self.commit(batch);
            if stop {
                break;
            }
        }
        for entry in self.merger.flush() {
            self.commit_own(entry, Vec::new());
        }
        let shutdown = self.own_entry(Kind::Shutdown, "in order".to_owned());
        self.commit_own(shutdown, Vec::new());
        self.sync_head();
    }

    /// Waits for the first order, takes what is queued, and dwells for what is due.
    fn collect(&mut self, until: Instant) -> Batch {
        let mut batch = Batch::default();
        match self.queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(order) => self.take(order, &mut batch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => batch.stop = true,
        }
        loop {
            while batch.queued.len() < weir_audit::BATCH_ENTRIES_MAX
                && let Ok(order) = self.queue.try_recv()
            {
                self.take(order, &mut batch);
            }
            if batch.queued.is_empty() || batch.stop || batch.queued.len() >= weir_audit::BATCH_ENTRIES_MAX {
                break;
            }
            let Some(wait) = self.dwell.wait(self.started.elapsed()) else { break };
            match self.queue.recv_timeout(wait) {
                Ok(order) => self.take(order, &mut batch),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        for entry in self.merger.poll(Clock::wall_ns()) {
            batch.queued.push((self.own.ticket(), Commit::Entry { entry, closes: Vec::new() }));
        }
        batch
    }

    fn take(&mut self, order: Order, batch: &mut Batch) {
        match order {
            Order::Commit { ticket, commit, inbox } => {
                self.metrics.audit_queue.dec();
                self.dwell.arrived(ticket.connection());
                batch.inboxes.insert(ticket, inbox);
                batch.queued.push((ticket, *commit));
            }
            Order::Refusal { entry, resource } => {
                let now = entry.at;
                if entry.principal.is_none() {
                    self.merger.before_login(*entry, now);
                } else if let Some(entry) = self.merger.after_login(*entry, resource.as_deref().unwrap_or(""), now) {
                    batch.queued.push((self.own.ticket(), Commit::Entry { entry, closes: Vec::new() }));
                }
            }
            Order::Stop => batch.stop = true,
        }
    }

    fn commit(&mut self, batch: Batch) {
        if batch.queued.is_empty() {
            return;
        }
        let Batch { queued, mut inboxes, .. } = batch;
        self.reopen_if_poisoned();
        let began = Instant::now();
        let Committed { receipts, unrecorded } = match &mut self.committer {
            Some(committer) => committer.commit(queued),
            None => {
                Committed { receipts: Vec::new(), unrecorded: queued.into_iter().map(|(ticket, _)| ticket).collect() }
            }
        };
        let took = began.elapsed();
        self.metrics.audit_commit_seconds.observe(took.as_secs_f64());
        self.metrics.audit_commits.inc_by(u64::try_from(receipts.len()).unwrap_or(u64::MAX));
        self.dwell.released(receipts.iter().map(weir_audit::Receipt::ticket), took, self.started.elapsed());
        if !unrecorded.is_empty() {
            self.metrics.audit_unrecorded.inc_by(u64::try_from(unrecorded.len()).unwrap_or(u64::MAX));
            self.report_failure();
        }
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

    fn report_failure(&mut self) {
        self.metrics.audit_up.set(0);
        let Some(committer) = &mut self.committer else { return };
        if let Some(error) = committer.take_error() {
            tracing::error!(event = "audit.write_failed", error = %error,
                hint = "writes are refused and reads withheld until the log can be written again");
        } else if let Some(fault) = committer.fault() {
            tracing::error!(event = "audit.batch_fault", fault = ?fault, hint = "a batch failed its own check before it was written");
        }
    }

    /// After a failed write the position is unknown: nothing is numbered before the store was read again.
    fn reopen_if_poisoned(&mut self) {
        let poisoned = self.committer.as_ref().is_some_and(Committer::is_poisoned);
        if !poisoned {
            return;
        }
        std::thread::sleep(REOPEN_PAUSE);
        let Some(committer) = self.committer.take() else { return };
        match committer.into_sink().reopen() {
            Ok((store, opened)) => {
                tracing::info!(event = "audit.reopened", size = opened.chain.head.size());
                self.metrics.audit_up.set(1);
                self.committer = Some(Committer::open(store, opened.chain));
            }
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &StoreError) {
        tracing::error!(event = "audit.reopen_failed", error = %error, hint = "nothing is served until weir is restarted");
    }

    fn own_entry(&mut self, kind: Kind, reason: String) -> EntryBody {
        let mut entry = EntryBody::new(kind, self.own.event(), Clock::wall_ns());
        entry.principal = Some(PrincipalRef { kind: PrincipalKind::System, id: "weir".to_owned() });
        entry.decision = Decision::Pass;
        entry.outcome = Outcome::None;
        entry.reason = Some(reason);
        entry
    }

    fn commit_own(&mut self, entry: EntryBody, closes: Vec<weir_audit::IntentId>) {
        let ticket = self.own.ticket();
        self.commit(Batch {
            queued: vec![(ticket, Commit::Entry { entry, closes })],
            inboxes: HashMap::new(),
            stop: false,
        });
    }

    /// The head file says, beside the database, how long the log must be (L4).
    fn sync_head(&mut self) {
        let Some(committer) = &mut self.committer else { return };
        if committer.is_poisoned() {
            return;
        }
        if let Err(error) = committer.sink_mut().sync_head() {
            tracing::error!(event = "audit.head_failed", path = %self.head_file.path().display(), error = %error);
        }
    }
}
