//! The process-wide budget of frame bytes (`limits.memory_max`).
//!
//! Sessions report what they hold. Over the budget they stop reading, all but one: the first that holds something may go on
//! until it holds nothing or the budget is no longer exceeded, so that holding the budget never waits for itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Shared by all connections.
#[derive(Debug)]
pub(crate) struct Budget {
    max: AtomicUsize,
    held: AtomicUsize,
    /// The connection that may go on over the budget; 0 = nobody.
    finisher: AtomicU64,
    freed: Notify,
}

/// One connection's part of it.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    connection: u64,
    held: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: AtomicUsize::new(max),
            held: AtomicUsize::new(0),
            finisher: AtomicU64::new(0),
            freed: Notify::new(),
        }
    }

    /// `connection` must not be 0.
    pub(crate) fn share(&self, connection: u64) -> Share<'_> {
        Share { budget: self, connection, held: 0 }
    }

    /// Another budget from now on. What is held stays held.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Resolves once somebody gave something back. To be enabled before the budget is looked at, or a notice is missed.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

impl Share<'_> {
    /// Reports what the connection holds now.
    pub(crate) fn set(&mut self, held: usize) {
        if held == self.held {
            return;
        }
        if held > self.held {
            self.budget.held.fetch_add(held - self.held, Ordering::Relaxed);
        } else {
            self.budget.held.fetch_sub(self.held - held, Ordering::Relaxed);
            self.budget.freed.notify_waiters();
        }
        self.held = held;
        if held == 0 {
            self.step_back();
        }
    }

    /// Whether the connection may read on.
    pub(crate) fn may_read(&self) -> bool {
        let finisher = &self.budget.finisher;
        if self.budget.held() < self.budget.max.load(Ordering::Relaxed) {
            self.step_back();
            return true;
        }
        finisher.load(Ordering::Relaxed) == self.connection
            || (self.held > 0
                && finisher.compare_exchange(0, self.connection, Ordering::Relaxed, Ordering::Relaxed).is_ok())
    }

    fn step_back(&self) {
        let finisher = &self.budget.finisher;
        if finisher.compare_exchange(self.connection, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.budget.freed.notify_waiters();
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.set(0);
        self.step_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_budget_one_connection_may_finish() {
        let budget = Budget::new(100);
        let (mut one, mut two, mut three) = (budget.share(1), budget.share(2), budget.share(3));
        one.set(99);
        assert!(two.may_read(), "below the budget everybody may");
        two.set(1);
        assert!(!three.may_read(), "who holds nothing has nothing to finish");
        assert!(one.may_read(), "at the budget the first holder that asks may");
        assert!(!two.may_read());
        one.set(0);
        assert!(two.may_read(), "and gives way when it holds nothing");
        three.set(200);
        assert!(!one.may_read());
        budget.set_max(300);
        assert!(one.may_read(), "a larger budget acts at once");
        drop(three);
        assert_eq!(budget.held(), 1);
    }
}
