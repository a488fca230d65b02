//! When the committer waits a little before it commits.
//!
//! Requests in flight on one connection that arrive apart split into cohorts: while one is being synced the others queue, and since each
//! answer releases the next request, the cohorts never merge again. With five in flight that was simulated as 2.6 times the
//! throughput of one instead of 5.0. So after a commit the committer waits for those whom it just released, but at most an eighth of
//! what the commit took, and for nobody who owes nothing.

use std::collections::HashMap;
use std::time::Duration;

use crate::ids::{ConnectionId, Ticket};

/// Decides how long to dwell. No clock: `now` is the time since any fixed moment.
#[derive(Clone, Debug, Default)]
pub struct Dwell {
    owed: HashMap<ConnectionId, usize>,
    until: Duration,
}

impl Dwell {
    /// Nobody owes anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A commit that `took` so long ended at `now` and released these tickets: each owes its connection's next commit. Who still owed
    /// something from before is forgotten.
    ///
    /// Take what was queued during the commit before calling this, and send the receipts after: else a commit that was queued all the
    /// time passes for the next one of somebody just released.
    pub fn released(&mut self, tickets: impl IntoIterator<Item = Ticket>, took: Duration, now: Duration) {
        self.owed.clear();
        for ticket in tickets {
            *self.owed.entry(ticket.connection()).or_default() += 1;
        }
        self.until = now.saturating_add(took / DWELL_PART);
    }

    /// A commit of this connection was queued.
    pub fn arrived(&mut self, connection: ConnectionId) {
        if let Some(owed) = self.owed.get_mut(&connection) {
            *owed -= 1;
            if *owed == 0 {
                self.owed.remove(&connection);
            }
        }
    }

    /// This connection is gone and will queue nothing.
    pub fn gone(&mut self, connection: ConnectionId) {
        self.owed.remove(&connection);
    }

    /// How long to wait for more before committing what is queued; `None` = commit now.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        let left = self.until.checked_sub(now).filter(|left| !left.is_zero())?;
        (!self.owed.is_empty()).then_some(left)
    }
}

/// The dwell is at most one part in this many of the last commit's time.
const DWELL_PART: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ticket(connection: u64, serial: u64) -> Ticket {
        Ticket::new(ConnectionId(connection), serial)
    }

    #[test]
    fn waits_an_eighth_of_the_last_commit_while_somebody_owes() {
        let mut dwell = Dwell::new();
        assert_eq!(dwell.wait(Duration::ZERO), None);
        dwell.released([ticket(1, 1), ticket(1, 2), ticket(2, 1)], 8 * MS, 100 * MS);
        assert_eq!(dwell.wait(100 * MS), Some(MS));
        assert_eq!(dwell.wait(100 * MS + MS / 2), Some(MS / 2));
        assert_eq!(dwell.wait(101 * MS), None);
    }

    #[test]
    fn commits_at_once_when_everybody_released_is_back() {
        let mut dwell = Dwell::new();
        dwell.released([ticket(1, 1), ticket(1, 2), ticket(2, 1)], 8 * MS, 100 * MS);
        dwell.arrived(ConnectionId(1));
        dwell.arrived(ConnectionId(3));
        dwell.arrived(ConnectionId(2));
        assert_eq!(dwell.wait(100 * MS), Some(MS));
        dwell.arrived(ConnectionId(1));
        assert_eq!(dwell.wait(100 * MS), None);
    }

    #[test]
    fn does_not_wait_for_a_connection_that_is_gone() {
        let mut dwell = Dwell::new();
        dwell.released([ticket(1, 1)], 8 * MS, 100 * MS);
        dwell.gone(ConnectionId(1));
        assert_eq!(dwell.wait(100 * MS), None);
    }

    /// Takes what arrived until `now`.
    fn take(arrivals: &mut Vec<Duration>, now: Duration, dwell: &mut Dwell) -> u64 {
        arrivals.sort();
        let arrived = arrivals.partition_point(|arrival| *arrival <= now);
        arrivals.drain(..arrived).map(|_| dwell.arrived(ConnectionId(1))).fold(0, |count, ()| count + 1)
    }

    /// Virtual time: five requests in flight on one connection, a commit takes 4 ms, each released request queues its next after
    /// `apart` times its number. Gives requests per commit.
    fn requests_per_commit(dwelling: bool) -> f64 {
        let (sync, in_flight, commits) = (4 * MS, 5_u64, 200);
        let mut dwell = Dwell::new();
        let mut arrivals: Vec<Duration> = (0..in_flight).map(|i| Duration::from_micros(i * 900)).collect();
        let (mut now, mut served, mut queued) = (Duration::ZERO, 0.0, 0);
        for _ in 0..commits {
            arrivals.sort();
            if queued == 0 {
                now = now.max(arrivals[0]);
            }
            loop {
                queued += take(&mut arrivals, now, &mut dwell);
                let wait = dwell.wait(now).filter(|_| dwelling);
                let Some(wait) = wait else { break };
                now = arrivals.first().map_or(now + wait, |arrival| (*arrival).min(now + wait));
            }
            now += sync;
            let released = std::mem::take(&mut queued);
            queued = take(&mut arrivals, now, &mut dwell);
            dwell.released((0..released).map(|i| ticket(1, i)), sync, now);
            arrivals.extend((1..=released).map(|i| now + Duration::from_micros(40 * i)));
            served += f64::from(u32::try_from(released).unwrap());
        }
        served / f64::from(commits)
    }

    #[test]
    fn cohorts_merge_with_dwelling_and_not_without() {
        let (with, without) = (requests_per_commit(true), requests_per_commit(false));
        assert!(with > 4.5, "with dwelling {with} requests a commit");
        assert!(without < 3.0, "control: without dwelling {without} requests a commit");
    }
}
