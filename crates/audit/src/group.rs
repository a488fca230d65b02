//! The steps of a group commit, without its queue, its clock and its sink.
//!
//! ```text
//!          ┌─────────────── queue ◄── what arrives, also during a commit
//!          ▼
//!   step ─► Wait      nothing is queued
//!        ├► Dwell     somebody just released still owes its next commit, or nobody waits for what is queued: wait so long at most
//!        └► Commit ──► take ──► Committer ──► queue what arrived meanwhile ──► released ──► hand out the receipts
//! ```

use std::time::Duration;

use crate::committer::{BATCH_ENTRIES_MAX, Commit, Receipt};
use crate::dwell::Dwell;
use crate::ids::{ConnectionId, Ticket};

/// What is queued for the next commit, and when that is due. `now` is the time since any fixed moment.
#[derive(Clone, Debug, Default)]
pub struct GroupCommit {
    queued: Vec<(Ticket, Commit)>,
    dwell: Dwell,
    /// When what nobody waits for is due; `None` while somebody waits for a part of it.
    unawaited_due: Option<Duration>,
}

/// How long a commit that nobody waits for may wait for others.
pub const UNAWAITED_MAX: Duration = Duration::from_millis(25);

/// What a group commit does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is queued.
    Wait,
    /// Something is queued, and more is due: wait for it, but not longer than this.
    Dwell(Duration),
    /// What is queued is committed now.
    Commit,
}

impl GroupCommit {
    /// Nothing is queued, and nobody owes anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a commit that somebody waits for into the next group.
    pub fn queue(&mut self, ticket: Ticket, commit: Commit) {
        self.unawaited_due = None;
        self.dwell.arrived(ticket.connection());
        self.queued.push((ticket, commit));
    }

    /// Takes a commit that nobody waits for into the next group. A sync for each of them would cost more than everything else that is
    /// done for its request, so they wait for others, [`UNAWAITED_MAX`] at most.
    pub fn queue_unawaited(&mut self, ticket: Ticket, commit: Commit, now: Duration) {
        self.dwell.arrived(ticket.connection());
        if self.queued.is_empty() {
            self.unawaited_due = Some(now.saturating_add(UNAWAITED_MAX));
        }
        self.queued.push((ticket, commit));
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Whether the group is as large as one batch may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queued.len() >= BATCH_ENTRIES_MAX
    }

    /// What to do next.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        let wait = match self.unawaited_due {
            Some(due) => due.checked_sub(now).filter(|left| !left.is_zero()),
            None => self.dwell.wait(now),
        };
        match wait {
            _ if self.is_empty() => Step::Wait,
            Some(wait) if !self.is_full() => Step::Dwell(wait),
            Some(_) | None => Step::Commit,
        }
    }

    /// The group, to be committed.
    #[must_use]
    pub fn take(&mut self) -> Vec<(Ticket, Commit)> {
        self.unawaited_due = None;
        std::mem::take(&mut self.queued)
    }

    /// A commit that `took` so long ended at `now`, and gave these receipts. To be called after what arrived during it was queued, and
    /// before the receipts are handed out: what was queued all the time is nobody's answer to them.
    pub fn released(&mut self, receipts: &[Receipt], took: Duration, now: Duration) {
        self.dwell.released(receipts.iter().map(Receipt::ticket), took, now);
    }

    /// This connection is gone and will queue nothing.
    pub fn gone(&mut self, connection: ConnectionId) {
        self.dwell.gone(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChainId, ChainState, Committer, EntryBody, EventId, Kind, MemorySink};

    const MS: Duration = Duration::from_millis(1);

    fn commit(connection: u64, serial: u64) -> (Ticket, Commit) {
        let entry = EntryBody::new(Kind::Boot, EventId::new(0, [0; 10]), 0);
        (Ticket::new(ConnectionId(connection), serial), Commit::Entry { entry, closes: Vec::new() })
    }

    fn queue(group: &mut GroupCommit, connection: u64, serial: u64) {
        let (ticket, commit) = commit(connection, serial);
        group.queue(ticket, commit);
    }

    #[test]
    fn waits_then_commits_and_dwells_only_for_those_it_released() {
        let mut committer = Committer::open(MemorySink::default(), ChainState::new(ChainId([7; 16])));
        let mut group = GroupCommit::new();
        assert_eq!(group.step(Duration::ZERO), Step::Wait);
        queue(&mut group, 1, 1);
        assert_eq!(group.step(Duration::ZERO), Step::Commit, "nobody owes anything");
        let receipts = committer.commit(group.take()).receipts;
        assert_eq!(group.step(8 * MS), Step::Wait);
        // Arrived during the commit: not the next one of connection 1.
        queue(&mut group, 1, 2);
        group.released(&receipts, 8 * MS, 8 * MS);
        assert_eq!(group.step(8 * MS), Step::Dwell(MS));
        queue(&mut group, 2, 1);
        assert_eq!(group.step(8 * MS), Step::Dwell(MS), "another connection's");
        assert_eq!(group.step(9 * MS), Step::Commit, "an eighth of the commit is over");
        queue(&mut group, 1, 3);
        assert_eq!(group.step(8 * MS), Step::Commit, "its next one is here");
    }

    #[test]
    fn what_nobody_waits_for_waits_for_others() {
        let mut group = GroupCommit::new();
        let unawaited = |group: &mut GroupCommit, serial: u64, now: Duration| {
            let (ticket, commit) = commit(1, serial);
            group.queue_unawaited(ticket, commit, now);
        };
        unawaited(&mut group, 0, 10 * MS);
        unawaited(&mut group, 1, 20 * MS);
        assert_eq!(group.step(20 * MS), Step::Dwell(UNAWAITED_MAX - 10 * MS), "the first is the measure");
        assert_eq!(group.step(10 * MS + UNAWAITED_MAX), Step::Commit);
        assert_eq!(group.take().len(), 2);
        unawaited(&mut group, 2, 60 * MS);
        queue(&mut group, 2, 0);
        unawaited(&mut group, 3, 60 * MS);
        assert_eq!(group.step(60 * MS), Step::Commit, "somebody waits");
        assert_eq!(group.take().len(), 3);
        (0..BATCH_ENTRIES_MAX as u64).for_each(|serial| unawaited(&mut group, 10 + serial, 70 * MS));
        assert_eq!(group.step(70 * MS), Step::Commit, "it is full");
    }

    #[test]
    fn a_full_group_does_not_dwell() {
        let mut committer = Committer::open(MemorySink::default(), ChainState::new(ChainId([7; 16])));
        let mut group = GroupCommit::new();
        queue(&mut group, 1, 0);
        let receipts = committer.commit(group.take()).receipts;
        group.released(&receipts, 8 * MS, Duration::ZERO);
        (0..BATCH_ENTRIES_MAX as u64).for_each(|serial| queue(&mut group, 2, serial));
        assert_eq!(group.step(Duration::ZERO), Step::Commit);
    }

    #[test]
    fn does_not_dwell_for_a_connection_that_is_gone() {
        let mut committer = Committer::open(MemorySink::default(), ChainState::new(ChainId([7; 16])));
        let mut group = GroupCommit::new();
        queue(&mut group, 1, 0);
        let receipts = committer.commit(group.take()).receipts;
        group.released(&receipts, 8 * MS, Duration::ZERO);
        queue(&mut group, 2, 0);
        group.gone(ConnectionId(1));
        assert_eq!(group.step(Duration::ZERO), Step::Commit);
    }
}
