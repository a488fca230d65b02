//! Says checkpoints elsewhere. What takes them may be slow or stuck; neither the log nor its checkpoints wait for it. Each checkpoint covers
//! all before it: where some must be left out, it is never the newest.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir_audit::SignedCheckpoint;

use crate::config::Anchor;
use crate::gateway::clock::Clock;
use crate::gateway::telemetry::Metrics;
use crate::output;

/// Lines that wait for standard output. The next one takes the place of all of them.
const LINES_MAX: usize = 64;

/// A line that is not taken for so long means that nobody reads; only the newest waits from then on.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How long the end waits for lines that nobody takes.
const LAST_LINES_MAX: Duration = Duration::from_secs(2);

/// The anchors of a gateway.
pub(super) struct Anchors {
    stdout: Option<Arc<Lines>>,
}

/// Lines on their way to a thread that writes them.
struct Lines {
    state: Mutex<State>,
    changed: Condvar,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<String>,
    /// Since when one is being written.
    writing: Option<Instant>,
    stuck: bool,
    /// Lines that were left out since it is.
    left_out: u64,
    closing: bool,
    ended: bool,
}

impl Anchors {
    pub(super) fn start(anchors: &[Anchor], metrics: Arc<Metrics>) -> io::Result<Self> {
        let stdout = anchors.contains(&Anchor::Stdout);
        Ok(Self { stdout: if stdout { Some(Lines::start(output::stdout()?, metrics)?) } else { None } })
    }

    pub(super) fn publish(&self, checkpoint: &SignedCheckpoint) {
        if let Some(stdout) = &self.stdout {
            stdout.push(checkpoint.line(Clock::wall_ns()), Instant::now());
        }
    }

    /// Waits for the last lines, but not for ever.
    pub(super) fn finish(self) {
        if let Some(stdout) = self.stdout {
            stdout.finish(LAST_LINES_MAX);
        }
    }
}

impl Lines {
    fn start(out: impl Write + Send + 'static, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let lines = Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), metrics });
        let writer = Arc::clone(&lines);
        std::thread::Builder::new().name("ledger-anchors".to_owned()).spawn(move || writer.write(out))?;
        Ok(lines)
    }

    fn push(&self, line: String, now: Instant) {
        let mut state = self.lock();
        let waits = state.writing.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let got_stuck = waits >= STUCK_AFTER && !state.stuck;
        state.stuck |= got_stuck;
        if state.stuck || state.waiting.len() >= LINES_MAX {
            let covered = state.waiting.len().try_into().unwrap_or(u64::MAX);
            state.waiting.clear();
            self.leave_out(&mut state, covered);
        }
        state.waiting.push_back(line);
        self.changed.notify_all();
        drop(state);
        if got_stuck {
            self.tell_stuck();
        }
    }

    fn write(&self, mut out: impl Write) {
        let mut torn = false;
        while let Some(line) = self.take() {
            let begin = if torn { "\n" } else { "" };
            let put = output::put(&mut out, [begin, &line].concat().as_bytes());
            torn = put.is_err();
            self.wrote(put.is_ok());
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for a line and takes it; none at the end.
    fn take(&self) -> Option<String> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.waiting.pop_front() {
                state.writing = Some(Instant::now());
                return Some(line);
            }
            if state.closing {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A line is out; or it is not, and whoever closed standard output, or filled its disk, may come back.
    fn wrote(&self, out: bool) {
        let mut state = self.lock();
        state.writing = None;
        let was_stuck = std::mem::replace(&mut state.stuck, !out);
        if !out {
            self.leave_out(&mut state, 1);
        }
        let left_out = if out { std::mem::take(&mut state.left_out) } else { 0 };
        drop(state);
        if out && was_stuck {
            self.metrics.audit.anchor_stuck.set(0);
            tracing::info!(event = "audit.anchor_moves", anchor = "stdout", left_out);
        }
        if !out && !was_stuck {
            self.tell_stuck();
        }
    }

    fn leave_out(&self, state: &mut State, lines: u64) {
        state.left_out = state.left_out.saturating_add(lines);
        self.metrics.audit.anchor_lines_dropped.inc_by(lines);
    }

    fn tell_stuck(&self) {
        self.metrics.audit.anchor_stuck.set(1);
        tracing::warn!(
            event = "audit.anchor_stuck",
            anchor = "stdout",
            hint = "nobody takes checkpoints from standard output; entries since the last one that was taken are not anchored"
        );
    }

    fn finish(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        state.closing = true;
        self.changed.notify_all();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
