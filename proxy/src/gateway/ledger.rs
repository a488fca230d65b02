//! The one thread that writes the audit log: group commit in, receipts out.
//!
//! It takes what is queued, dwells a moment where `weir_audit::GroupCommit` says that more is due, commits with one sync, and hands each
//! receipt to the connection whose ticket it carries. When a write fails everything is unrecorded until the store was opened
//! again and has shown where it stands.
//!
//! ```text
//! connections ──Order──► queue ──► group ──► Book ──► Committer ──► Store      receipts ──► each connection's inbox
//!                                              └────► Keeper ──► audit/checkpoint and anchors, once a second
//! ```

mod anchors;
mod book;
mod disk;
mod idle;
mod keeper;
mod own;
mod queue;
mod room;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::TrySendError;
use std::thread::JoinHandle;

use tokio::sync::watch;
use weir_audit::{Commit, EntryBody, IntentId, Ticket};
use weir_audit_store::{Opened, Store};

use self::book::{Book, Reopening};
pub(crate) use self::disk::make_room;
use self::disk::{Disk, Shared};
use self::keeper::Keeper;
pub(crate) use self::keeper::Signing;
use self::own::Own;
use self::queue::Orders;
use self::writer::Writer;
use super::inbox::Inbox;
use super::telemetry::Metrics;
use crate::config::RetainConfig;

/// Commits that may be queued, of all connections together; beyond it they are refused as unrecorded.
const COMMITS_QUEUED_MAX: usize = 65_536;

enum Order {
    Commit {
        ticket: Ticket,
        commit: Box<Commit>,
        inbox: Inbox,
        is_awaited: bool,
    },
    Refusal {
        entry: Box<EntryBody>,
        resource: Option<String>,
    },
    /// An entry of a connection that is gone: it is tried until it is on record.
    Owed {
        entry: Box<EntryBody>,
        closes: Vec<IntentId>,
    },
    Stop,
}

impl Order {
    /// Whether somebody waits for what it asks.
    fn is_urgent(&self) -> bool {
        match self {
            Self::Commit { is_awaited, .. } => *is_awaited,
            Self::Refusal { .. } | Self::Owed { .. } => false,
            Self::Stop => true,
        }
    }
}

/// Handle to the thread.
#[derive(Clone)]
pub(crate) struct Ledger {
    orders: Orders,
    recording: watch::Receiver<bool>,
    /// Entries that found the queue full.
    turned_away: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
}

/// The thread itself.
pub(crate) struct LedgerThread {
    thread: JoinHandle<()>,
}

impl Ledger {
    /// Starts the thread on an opened store: records the start, and what a crash left open.
    pub(crate) fn start(
        (store, opened): (Store, Opened),
        data_dir: PathBuf,
        signing: Signing,
        retain: RetainConfig,
        metrics: Arc<Metrics>,
        seed: [u8; 32],
    ) -> std::io::Result<(Self, LedgerThread)> {
        let (orders, queue) = queue::queue(COMMITS_QUEUED_MAX);
        let turned_away = Arc::new(AtomicU64::new(0));
        let (before, idle) = (signing.signer.last_by_another_key().cloned(), signing.idle);
        let keeper = Keeper::start(store.checkpoint_file(), signing, Arc::clone(&metrics))?;
        let (first, shared) = (store.first(), Arc::new(Shared::default()));
        shared.opened(store.pruner(), first);
        let disk = Disk::start(data_dir.clone(), retain, Arc::clone(&shared), Arc::clone(&metrics))?;
        let mut book = Book::new(store, opened.chain, move || match Store::open(&data_dir) {
            Ok((store, opened)) => {
                shared.opened(store.pruner(), store.first());
                Reopening::Open(store, opened.chain, opened.in_doubt, opened.checkpoint.map(Box::new))
            }
            Err(error) if error.is_damage() => Reopening::Never(error.to_string()),
            Err(error) => Reopening::Later(error.to_string()),
        });
        // It may be in its file alone.
        opened.checkpoint.into_iter().for_each(|kept| book.keep(kept));
        let (turned, counts) = (Arc::clone(&turned_away), Arc::clone(&metrics));
        let (keeping, room) = ((keeper, idle), (retain, disk, first));
        let (up, recording) = watch::channel(true);
        let writer = Writer::new(book, keeping, queue, Own::new(seed), room, turned, (counts, up));
        let in_doubt = opened.in_doubt;
        let thread =
            std::thread::Builder::new().name("ledger".to_owned()).spawn(move || writer.run(&in_doubt, before))?;
        Ok((Self { orders, recording, turned_away, metrics }, LedgerThread { thread }))
    }

    /// Whether the log can be written.
    pub(crate) fn recording(&self) -> watch::Receiver<bool> {
        self.recording.clone()
    }

    /// Queues a commit; false when the queue is full, which is the same as unrecorded. `is_awaited`: something is held for it.
    pub(crate) fn submit(&self, ticket: Ticket, commit: Commit, inbox: Inbox, is_awaited: bool) -> bool {
        self.metrics.audit.queue.inc();
        let order = Order::Commit { ticket, commit: Box::new(commit), inbox, is_awaited };
        let Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) = self.orders.try_send(order) else {
            return true;
        };
        self.metrics.audit.queue.dec();
        self.metrics.audit.unrecorded.inc();
        if let Order::Commit { commit, .. } = refused
            && matches!(*commit, Commit::Entry { .. })
        {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        false
    }

    /// Hands over an entry that nobody waits for any more and that must not be lost.
    pub(crate) fn owe(&self, entry: EntryBody, closes: Vec<IntentId>) {
        if self.orders.try_send(Order::Owed { entry: Box::new(entry), closes }).is_err() {
            self.metrics.audit.unrecorded.inc();
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Queues a refusal to be merged with its like. A flood of them is cut at the queue: the refusals themselves stand.
    pub(crate) fn refusal(&self, entry: EntryBody, resource: Option<String>) {
        if self.orders.try_send(Order::Refusal { entry: Box::new(entry), resource }).is_err() {
            self.metrics.audit.refusals_dropped.inc();
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks the thread to write what is queued, the end, and its checkpoint; returns when it has.
    pub(crate) fn stop(&self, thread: LedgerThread) {
        // Without a thread to take it there is nothing to wait for but its end.
        let _taken = self.orders.send(Order::Stop);
        if thread.thread.join().is_err() {
            tracing::error!(event = "audit.thread_panicked");
        }
    }
}
