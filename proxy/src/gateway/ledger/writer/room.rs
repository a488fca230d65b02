//! What the writer does when there is no room, when there is again, and when entries are to go.

use std::time::Instant;

use weir_audit::Kind;
use weir_audit_store::Plan;

use super::Writer;
use crate::gateway::ledger::room::{Stop, policy};
use crate::gateway::telemetry::Part;

/// Nothing new is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped {
    why: Stop,
    since: Instant,
    /// The log does not say so yet.
    words_due: bool,
}

impl Stopped {
    pub(super) fn reason(self) -> &'static str {
        self.why.reason()
    }
}

impl Writer {
    /// Looks whether there is room; the disk was measured by its own thread.
    pub(super) fn watch(&mut self) {
        match (self.stopped, self.disk.judge(self.stopped.map(|stopped| stopped.why))) {
            (None, Some(why)) => self.stop_for(why, false),
            (Some(stopped), Some(why)) if stopped.why != why => {
                self.stopped = Some(Stopped { why, ..stopped });
                self.metrics.ready.block(Part::Audit, why.reason());
            }
            (Some(stopped), None) if self.book.is_up() => self.go_on(stopped),
            (Some(_), _) | (None, None) => {}
        }
        self.say_last_words();
        if let Some(plan) = self.disk.plan() {
            self.prune(plan);
            self.disk.planned(self.first);
        }
    }

    /// From now on nothing new is recorded, and so nothing is let through. `found_full`: the database was told so by the disk.
    pub(super) fn stop_for(&mut self, why: Stop, found_full: bool) {
        if self.stopped.is_some() {
            if found_full {
                // What is left to say needs the ballast now.
                self.disk.room_for_last_words(true);
            }
            return;
        }
        self.book.pause();
        self.stopped = Some(Stopped { why, since: Instant::now(), words_due: true });
        self.disk.room_for_last_words(found_full);
        self.set_up(false);
        self.metrics.audit.stops.with_label_values(&[why.name()]).inc();
        self.metrics.ready.block(Part::Audit, why.reason());
        let (free, used) = self.disk.seen().map_or((0, 0), |look| (look.space.free, look.used));
        match why {
            Stop::DiskFull => tracing::error!(
                event = "audit.disk_full",
                free_bytes = free,
                log_bytes = used,
                hint = "writes are refused and reads withheld until there is room on the disk of `data_dir`"
            ),
            Stop::BytesMax => tracing::error!(
                event = "audit.bytes_max",
                free_bytes = free,
                log_bytes = used,
                hint = "writes are refused and reads withheld; raise `audit.retain.bytes_max`, or say  then: prune"
            ),
        }
    }

    fn go_on(&mut self, stopped: Stopped) {
        // Measured while there was room; somebody else may have taken it.
        if !self.disk.ballast() {
            return;
        }
        self.stopped = None;
        self.book.resume();
        let seconds = stopped.since.elapsed().as_secs();
        let entry = self.own.entry(Kind::Resumed, format!("after {seconds} s: {}", stopped.why.reason()));
        self.book.owe(entry, Vec::new());
        let lost = self.book.take_lost();
        if lost > 0 {
            self.gap(lost, "there was no room for the log; what a client waits for is written again");
        }
        self.set_up(true);
        self.metrics.ready.clear(Part::Audit);
        tracing::info!(event = "audit.resumed", reason = stopped.why.name(), seconds);
    }

    /// An entry that says that none follow, as soon as the log can be written.
    fn say_last_words(&mut self) {
        let Some(stopped) = self.stopped.filter(|stopped| stopped.words_due && self.book.is_up()) else { return };
        let free = self.disk.seen().map_or(0, |look| look.space.free);
        let reason = format!("{}, {free} bytes free; nothing is let through", stopped.why.reason());
        let entry = self.own.entry(Kind::Degraded, reason);
        match self.book.say(entry) {
            (_, Some(error)) => self.failed(&error),
            (said, None) => self.stopped = Some(Stopped { words_due: !said, ..stopped }),
        }
    }

    /// Before the end: what waits is written after all, if the ballast makes room for it.
    pub(super) fn give_up_ballast(&mut self) {
        if self.stopped.take().is_some() {
            self.disk.room_for_last_words(true);
            self.book.resume();
        }
    }

    fn prune(&mut self, plan: Plan) {
        let mut prune = plan.prune.clone();
        prune.note = Some(self.keeper.key().sign_prune(&prune));
        let (from, to) = (prune.from, prune.cut.size());
        if !self.book.sink_mut().is_some_and(|store| store.stage(plan)) {
            return;
        }
        let mut entry = self.own.entry(Kind::Prune, policy(&self.retain));
        entry.prune = Some(Box::new(prune));
        let (done, failure) = self.book.say(entry);
        if done {
            self.first = to;
            self.metrics.audit.pruned.inc_by(to - from);
            tracing::info!(event = "audit.pruned", first = from, last = to - 1, entries = to - from);
        }
        if let Some(error) = failure {
            self.failed(&error);
        }
    }
}
