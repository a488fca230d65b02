//! Writes the head file on a thread of its own: its three syncs are nothing that a commit should wait for.

use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_audit::HeadNote;
use weir_audit_store::{HeadFile, StoreError};

/// How often the head file beside the database is written (L4).
const HEAD_EVERY: Duration = Duration::from_secs(1);

/// Says, beside the database, how long the log must be. At most one write is under way, so that an older head never replaces a newer.
pub(super) struct HeadKeeper {
    file: HeadFile,
    notes: SyncSender<HeadNote>,
    results: Receiver<Result<(), StoreError>>,
    thread: JoinHandle<()>,
    writing: bool,
    /// What the file holds, or will when the write under way is done.
    offered: Option<HeadNote>,
    due: Instant,
    /// Entries that the file is known to vouch for.
    covered: u64,
}

impl HeadKeeper {
    /// `covered`: entries that the file vouches for already.
    pub(super) fn start(file: HeadFile, covered: u64) -> std::io::Result<Self> {
        let (notes, to_write) = mpsc::sync_channel::<HeadNote>(1);
        let (done, results) = mpsc::sync_channel(1);
        let writer = file.clone();
        let work = move || {
            while let Ok(note) = to_write.recv() {
                if done.send(writer.write(&note)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("ledger-head".to_owned()).spawn(work)?;
        Ok(Self { file, notes, results, thread, writing: false, offered: None, due: Instant::now(), covered })
    }

    /// Has the head written, once a second and only when it changed.
    pub(super) fn offer(&mut self, note: impl FnOnce() -> Option<HeadNote>) {
        if self.writing {
            match self.results.try_recv() {
                Ok(result) => self.written(result),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.writing = false,
            }
        }
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + HEAD_EVERY;
        let Some(note) = note().filter(|note| self.offered.as_ref() != Some(note)) else { return };
        if self.notes.try_send(note.clone()).is_ok() {
            self.writing = true;
            self.offered = Some(note);
        }
    }

    /// Entries that the file is known to vouch for.
    pub(super) fn covered(&self) -> u64 {
        self.covered
    }

    /// Waits for the write under way: somebody else is about to write the file.
    pub(super) fn settle(&mut self) {
        if self.writing {
            let result = self.results.recv().unwrap_or(Ok(()));
            self.written(result);
        }
    }

    /// Writes the last head.
    pub(super) fn finish(mut self, note: Option<HeadNote>) {
        self.settle();
        if let Some(note) = note.filter(|note| self.offered.as_ref() != Some(note)) {
            let result = self.file.write(&note);
            self.written(result);
        }
        drop(self.notes);
        if self.thread.join().is_err() {
            tracing::error!(event = "audit.head_thread_panicked");
        }
    }

    fn written(&mut self, result: Result<(), StoreError>) {
        self.writing = false;
        if let Err(error) = result {
            self.offered = None;
            tracing::error!(event = "audit.head_failed", path = %self.file.path().display(), error = %error);
        } else if let Some(note) = &self.offered {
            self.covered = note.size;
        }
    }
}
