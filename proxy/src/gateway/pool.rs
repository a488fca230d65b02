//! A fixed number of threads for inspection that is too large to run inline: a Heartbeat never waits for somebody's 16 MiB batch.
//!
//! Connections take turns, a job each: who has one job waits at most for the jobs that are running, however many another
//! connection has queued.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use weir_audit::ConnectionId;
use weir_session::{Done, Job, Scratch};

use super::inbox::{Inbox, Message};
use super::telemetry::Telemetry;

/// The threads. They end, once nothing is queued, when this is dropped.
pub(crate) struct Pool {
    work: Arc<Work>,
}

struct Work {
    telemetry: Telemetry,
    turns: Mutex<Turns<(Job, Inbox)>>,
    changed: Condvar,
}

/// What waits. It is bounded by what sessions may have in flight (`inflight_requests_max`, `memory_max`).
struct Turns<T> {
    queued: HashMap<u64, VecDeque<T>>,
    /// Connections with something queued, each once, the next first.
    order: VecDeque<u64>,
    closed: bool,
}

impl Pool {
    /// Starts `threads` of them.
    pub(crate) fn start(threads: usize, telemetry: Telemetry) -> std::io::Result<Self> {
        let work = Work { telemetry, turns: Mutex::default(), changed: Condvar::new() };
        let pool = Self { work: Arc::new(work) };
        for at in 0..threads {
            let work = Arc::clone(&pool.work);
            std::thread::Builder::new().name(format!("inspect-{at}")).spawn(move || work.inspect())?;
        }
        Ok(pool)
    }

    /// Hands a job over; its result comes to the inbox.
    pub(crate) fn submit(&self, connection: ConnectionId, job: Job, inbox: Inbox) {
        self.work.lock().push(connection.0, (job, inbox));
        self.work.changed.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.work.lock().closed = true;
        self.work.changed.notify_all();
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, Turns<(Job, Inbox)>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inspect(&self) {
        while let Some((job, inbox)) = self.next() {
            inbox.send(Message::Done(run(job, &self.telemetry)));
        }
    }

    fn next(&self) -> Option<(Job, Inbox)> {
        let mut turns = self.lock();
        loop {
            if let Some(next) = turns.pop() {
                return Some(next);
            }
            if turns.closed {
                return None;
            }
            turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Turns<T> {
    fn push(&mut self, connection: u64, work: T) {
        let queued = self.queued.entry(connection).or_default();
        if queued.is_empty() {
            self.order.push_back(connection);
        }
        queued.push_back(work);
    }

    fn pop(&mut self) -> Option<T> {
        let connection = self.order.pop_front()?;
        let queued = self.queued.get_mut(&connection)?;
        let next = queued.pop_front();
        if queued.is_empty() {
            self.queued.remove(&connection);
        } else {
            self.order.push_back(connection);
        }
        next
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { queued: HashMap::new(), order: VecDeque::new(), closed: false }
    }
}

/// Runs a job on this thread, with the thread's scratch. A job that panics refuses what it held.
fn run(job: Job, telemetry: &Telemetry) -> Done {
    let slot = job.slot();
    guarded((slot, telemetry), |scratch| job.run(scratch)).unwrap_or_else(|| Done::failed(slot))
}

/// The same for a small job, on the connection's own thread; a job that is not small comes back.
pub(crate) fn run_inline(job: Job, telemetry: &Telemetry) -> Result<Done, Box<Job>> {
    let slot = job.slot();
    guarded((slot, telemetry), |scratch| job.run_inline(scratch)).unwrap_or_else(|| Ok(Done::failed(slot)))
}

fn guarded<T>((slot, telemetry): (u64, &Telemetry), work: impl FnOnce(&mut Scratch) -> T) -> Option<T> {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let guarded = || {
            #[cfg(feature = "sabotage")]
            panic_if_asked();
            work(scratch)
        };
        let done = catch_unwind(AssertUnwindSafe(guarded)).ok();
        if done.is_none() {
            telemetry.inspection_panicked(slot);
            *scratch = Scratch::default();
        }
        done
    })
}

/// A defect with the text that a test asks for: what panics say may hold bytes of a record.
#[cfg(feature = "sabotage")]
#[expect(clippy::panic, reason = "the defect itself")]
fn panic_if_asked() {
    if let Ok(text) = std::env::var("WEIR_SABOTAGE_PANIC") {
        panic!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns() {
        let mut turns = Turns::default();
        for (connection, work) in [(1, "1a"), (1, "1b"), (1, "1c"), (2, "2a"), (3, "3a"), (2, "2b")] {
            turns.push(connection, work);
        }
        let mut order = Vec::new();
        order.extend(turns.pop());
        turns.push(4, "4a");
        order.extend(std::iter::from_fn(|| turns.pop()));
        assert_eq!(order, ["1a", "2a", "3a", "1b", "4a", "2b", "1c"]);
        assert!(turns.queued.is_empty() && turns.order.is_empty());
    }
}
