//! Where other threads leave what they have for a connection.

use tokio::sync::mpsc;
use weir_audit::{Receipt, Ticket};
use weir_session::{Done, Salted};

/// What other threads have for a connection. As many as the session has commits and jobs open.
pub(crate) enum Message {
    Receipt(Receipt),
    Unrecorded(Ticket),
    Done(Done),
    /// The password that weir's own login waits for.
    Salted(Salted),
    /// The attempt to fetch the keys that a login waits for is over; what came of it is in the context.
    Keys {
        login: u64,
        fetched: bool,
    },
}

/// Where a connection's messages are left.
#[derive(Clone)]
pub(crate) struct Inbox(mpsc::UnboundedSender<Message>);

impl Inbox {
    pub(crate) fn new(sender: mpsc::UnboundedSender<Message>) -> Self {
        Self(sender)
    }

    /// A message for a connection whose task is gone is for nobody.
    pub(crate) fn send(&self, message: Message) {
        if self.0.send(message).is_err() {
            tracing::debug!(event = "connection.message_late");
        }
    }
}
