//! Signs and keeps checkpoints on a thread of its own: its syncs are nothing that a commit should wait for.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_audit::checkpoint::SignerError;
use weir_audit::{ChainState, Checkpoint, CheckpointKey, KeptCheckpoint, SignedCheckpoint, Signer};
use weir_audit_store::{CheckpointFile, StoreError};

use super::anchors::Anchors;
use crate::config::Anchor;
use crate::gateway::telemetry::Metrics;

/// Entries after which a checkpoint is due before its time.
const ENTRIES_MAX: u64 = 10_000;

/// How many failures in a row share one log line.
const FAILURES_PER_LINE: u32 = 20;

/// What checkpoints are made with.
#[derive(Debug)]
pub(crate) struct Signing {
    pub(crate) signer: Signer,
    /// How often, while entries are written.
    pub(crate) every: Duration,
    /// After so long without an entry a heartbeat is one.
    pub(crate) idle: Duration,
    pub(crate) anchors: Vec<Anchor>,
}

/// Says, beside the database and elsewhere, what the log holds. At most one checkpoint is under way, so that an older one never replaces
/// a newer.
pub(super) struct Keeper {
    key: CheckpointKey,
    states: SyncSender<ChainState>,
    results: Receiver<Result<KeptCheckpoint, Failure>>,
    thread: JoinHandle<()>,
    writing: bool,
    /// Entries of the last checkpoint, or of the one under way.
    offered: Option<u64>,
    due: Instant,
    every: Duration,
    failures: u32,
    /// Entries that the file is known to vouch for.
    covered: u64,
    metrics: Arc<Metrics>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Signer(#[from] SignerError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the tree is not the one that was signed")]
    Tree,
}

impl Keeper {
    pub(super) fn start(file: CheckpointFile, signing: Signing, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let Signing { mut signer, every, idle: _, anchors } = signing;
        let key = signer.key().clone();
        // What this key did not sign yet it does not prune either: the log tells of it first, and then it signs.
        let own = signer.last().filter(|_| signer.last_by_another_key().is_none());
        let covered = own.map_or(0, |last| last.checkpoint().size);
        let anchors = Anchors::start(&anchors, Arc::clone(&metrics))?;
        let (states, to_sign) = mpsc::sync_channel::<ChainState>(1);
        let (done, results) = mpsc::sync_channel(1);
        let work = move || {
            while let Ok(state) = to_sign.recv() {
                let kept = keep(&file, &mut signer, &state);
                let signed = kept.as_ref().ok().map(|kept| kept.signed().clone());
                // First the ledger hears of it: where lines go may be stuck.
                if done.send(kept).is_err() {
                    break;
                }
                if let Some(signed) = signed {
                    anchors.publish(&signed);
                }
            }
            anchors.finish();
        };
        let thread = std::thread::Builder::new().name("ledger-keeper".to_owned()).spawn(work)?;
        let due = Instant::now();
        let (writing, offered, failures) = (false, None, 0);
        Ok(Self { key, states, results, thread, writing, offered, due, every, failures, covered, metrics })
    }

    /// Entries that the file is known to vouch for.
    pub(super) fn covered(&self) -> u64 {
        self.covered
    }

    /// The key that signs.
    pub(super) fn key(&self) -> &CheckpointKey {
        &self.key
    }

    /// How often checkpoints are made.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// Has a checkpoint made when one is due and the log has grown. Gives the one before, once it is kept: a row for the database.
    pub(super) fn offer(&mut self, state: Option<&ChainState>) -> Option<KeptCheckpoint> {
        let mut kept = None;
        if self.writing {
            match self.results.try_recv() {
                Ok(result) => kept = self.made(result),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => self.writing = false,
            }
        }
        let Some(state) = state else { return kept };
        let (now, size) = (Instant::now(), state.head.size());
        // After a failure only time counts.
        let grown = self.offered.map_or(0, |offered| size.saturating_sub(offered));
        let due = now >= self.due || grown >= ENTRIES_MAX;
        if due && self.offered != Some(size) && size > 0 && self.states.try_send(state.clone()).is_ok() {
            self.writing = true;
            self.offered = Some(size);
            self.due = now + self.every;
        }
        kept
    }

    /// Waits for the checkpoint under way: the log is about to be opened again.
    pub(super) fn settle(&mut self) {
        if self.writing {
            match self.results.recv() {
                Ok(result) => drop(self.made(result)),
                Err(_) => self.writing = false,
            }
        }
    }

    /// Makes the last checkpoint.
    pub(super) fn finish(mut self, state: Option<&ChainState>) {
        self.settle();
        let last = state.filter(|state| self.offered != Some(state.head.size()) && state.head.size() > 0);
        if let Some(state) = last
            && self.states.send(state.clone()).is_ok()
        {
            self.writing = true;
            self.settle();
        }
        drop(self.states);
        if self.thread.join().is_err() {
            tracing::error!(event = "audit.keeper_panicked");
        }
    }

    fn made(&mut self, result: Result<KeptCheckpoint, Failure>) -> Option<KeptCheckpoint> {
        self.writing = false;
        match result {
            Ok(kept) => {
                self.failures = 0;
                self.covered = kept.signed().checkpoint().size;
                self.metrics.audit.checkpoints.inc();
                self.metrics
                    .audit
                    .checkpoint_size
                    .set(i64::try_from(kept.signed().checkpoint().size).unwrap_or(i64::MAX));
                Some(kept)
            }
            Err(error) => {
                self.offered = None;
                self.metrics.audit.checkpoint_failures.inc();
                if self.failures.is_multiple_of(FAILURES_PER_LINE) {
                    tracing::error!(event = "audit.checkpoint_failed", error = %error, again_in = ?self.every,
                        hint = "entries since the last checkpoint could be cut off unnoticed");
                }
                self.failures = self.failures.saturating_add(1);
                None
            }
        }
    }
}

/// Signs, writes the file; the row goes with the next batch of entries.
fn keep(file: &CheckpointFile, signer: &mut Signer, state: &ChainState) -> Result<KeptCheckpoint, Failure> {
    let signed: SignedCheckpoint = signer.sign(&Checkpoint::of(state))?;
    file.write(&signed)?;
    KeptCheckpoint::new(signed, state.head.frontier.clone()).ok_or(Failure::Tree)
}

#[cfg(test)]
mod tests;
