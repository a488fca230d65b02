//! The queue before the ledger's thread, with a bell beside it.
//!
//! To be woken for each of thousands of entries a second that nobody waits for would cost more than what is done for them: of those
//! only the first rings, and the others are found when the thread looks again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use super::Order;

/// Where orders are put.
#[derive(Clone)]
pub(super) struct Orders {
    orders: SyncSender<Order>,
    bell: Arc<Bell>,
}

/// Where the thread takes them.
pub(super) struct Queue {
    orders: Receiver<Order>,
    bell: Arc<Bell>,
    /// Nobody can put anything in any more, and nothing is left.
    closed: bool,
}

#[derive(Default)]
struct Bell {
    /// Whom it wakes; set when that thread begins.
    thread: OnceLock<Thread>,
    /// It rang since the thread last listened.
    rung: AtomicBool,
}

/// A queue for so many orders.
pub(super) fn queue(orders_max: usize) -> (Orders, Queue) {
    let (give, orders) = mpsc::sync_channel(orders_max);
    let bell = Arc::new(Bell::default());
    (Orders { orders: give, bell: Arc::clone(&bell) }, Queue { orders, bell, closed: false })
}

impl Orders {
    /// Puts an order in, or gives it back when there is no room.
    pub(super) fn try_send(&self, order: Order) -> Result<(), TrySendError<Order>> {
        let urgent = order.is_urgent();
        self.orders.try_send(order)?;
        self.bell.ring(urgent);
        Ok(())
    }

    /// Puts an order in as soon as there is room.
    pub(super) fn send(&self, order: Order) -> Result<(), SendError<Order>> {
        let urgent = order.is_urgent();
        self.orders.send(order)?;
        self.bell.ring(urgent);
        Ok(())
    }
}

impl Queue {
    /// From now on the bell wakes the thread that calls this.
    pub(super) fn attend(&self) {
        self.bell.thread.get_or_init(thread::current);
    }

    /// The next order, if there is one.
    pub(super) fn take(&mut self) -> Option<Order> {
        match self.orders.try_recv() {
            Ok(order) => Some(order),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.closed = true;
                None
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Has the next order ring, whatever it is. What was put in before is to be taken after this call and before [`Queue::wait`].
    pub(super) fn listen(&self) {
        // The swap, and not a store, sees what whoever rang last had put in.
        self.bell.rung.swap(false, Ordering::AcqRel);
    }

    /// Waits for the bell, or so long.
    pub(super) fn wait(&self, at_most: Duration) {
        thread::park_timeout(at_most);
    }
}

impl Bell {
    fn ring(&self, urgent: bool) {
        let first = !self.rung.swap(true, Ordering::AcqRel);
        if let Some(thread) = self.thread.get()
            && (first || urgent)
        {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use weir_audit::{Commit, ConnectionId, EntryBody, EventId, Kind, Ticket};

    use super::*;
    use crate::gateway::inbox::Inbox;

    /// Longer than any test takes, and short enough to end one that fails.
    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(20);

    fn commit(is_awaited: bool) -> Order {
        let entry = EntryBody::new(Kind::Boot, EventId::new(0, [0; 10]), 0);
        let commit = Box::new(Commit::Entry { entry, closes: Vec::new() });
        let inbox = Inbox::new(tokio::sync::mpsc::unbounded_channel().0);
        Order::Commit { ticket: Ticket::new(ConnectionId(1), 1), commit, inbox, is_awaited }
    }

    /// Whether an order rings after so many that nobody waits for.
    #[track_caller]
    fn check(unawaited_before: usize, is_awaited: bool, rings: bool) {
        let (orders, mut queue) = queue(8);
        queue.attend();
        queue.listen();
        for _ in 0..unawaited_before {
            orders.try_send(commit(false)).ok().unwrap();
        }
        while queue.take().is_some() {}
        // Takes the sign of what rang until now.
        queue.wait(Duration::ZERO);
        orders.try_send(commit(is_awaited)).ok().unwrap();
        let (began, patience) = (Instant::now(), if rings { LONG } else { SHORT });
        queue.wait(patience);
        assert_eq!(began.elapsed() < patience, rings, "{unawaited_before} before, awaited: {is_awaited}");
        assert!(queue.take().is_some(), "the order is there in any case");
    }

    #[test]
    fn the_first_order_rings_and_then_only_those_that_somebody_waits_for() {
        check(0, false, true);
        check(1, false, false);
        check(1, true, true);
        check(0, true, true);
    }

    #[test]
    fn a_queue_that_nobody_can_fill_is_closed() {
        let (orders, mut queue) = queue(1);
        assert!(queue.take().is_none() && !queue.is_closed());
        drop(orders);
        assert!(queue.take().is_none() && queue.is_closed());
    }
}
