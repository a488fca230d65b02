//! Says checkpoints elsewhere. What takes them may be slow or stuck; neither the log nor its checkpoints wait for it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use weir_audit::SignedCheckpoint;

use crate::config::Anchor;
use crate::gateway::clock::Clock;
use crate::gateway::telemetry::Metrics;

/// Lines that wait for standard output; further ones are dropped, and a later one says the same and more.
const LINES_MAX: usize = 64;

/// How long the end waits for lines that nobody takes.
const LAST_LINES_MAX: Duration = Duration::from_secs(2);

/// The anchors of a gateway.
pub(super) struct Anchors {
    stdout: Option<Lines>,
    metrics: Arc<Metrics>,
    dropping: bool,
}

/// A thread that writes lines.
struct Lines {
    lines: SyncSender<String>,
    ended: Receiver<()>,
}

impl Anchors {
    pub(super) fn start(anchors: &[Anchor], metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let stdout = if anchors.contains(&Anchor::Stdout) { Some(Lines::start()?) } else { None };
        Ok(Self { stdout, metrics, dropping: false })
    }

    pub(super) fn publish(&mut self, checkpoint: &SignedCheckpoint) {
        let Some(stdout) = &self.stdout else { return };
        let dropped = stdout.lines.try_send(checkpoint.line(Clock::wall_ns())).is_err();
        if dropped {
            self.metrics.audit.anchor_lines_dropped.inc();
            if !self.dropping {
                tracing::warn!(
                    event = "audit.anchor_stuck",
                    anchor = "stdout",
                    hint = "nobody reads standard output; entries since the last line that was read are not anchored"
                );
            }
        }
        self.dropping = dropped;
    }

    /// Waits for the last lines, but not for ever.
    pub(super) fn finish(self) {
        if let Some(Lines { lines, ended }) = self.stdout {
            drop(lines);
            // An end, or time: both are the end here.
            let _ended = ended.recv_timeout(LAST_LINES_MAX);
        }
    }
}

impl Lines {
    fn start() -> std::io::Result<Self> {
        // A handle of its own: the one of the standard library is locked by whoever prints the banner.
        let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        let (lines, to_write) = mpsc::sync_channel::<String>(LINES_MAX);
        let (end, ended) = mpsc::sync_channel(1);
        let work = move || {
            let mut torn = false;
            while let Ok(line) = to_write.recv() {
                let start = if torn { "\n" } else { "" };
                match out.write_all([start, &line].concat().as_bytes()) {
                    Ok(()) => torn = false,
                    // Whoever closed it does not read what is next either; the checkpoints are in the data directory.
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
                    // A disk that is full for a while, say: the next line begins anew.
                    Err(_) => torn = true,
                }
            }
            drop(end);
        };
        std::thread::Builder::new().name("ledger-anchors".to_owned()).spawn(work)?;
        Ok(Self { lines, ended })
    }
}
