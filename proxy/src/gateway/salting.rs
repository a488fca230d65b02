//! Salts passwords for weir's own logins on threads that may be busy for milliseconds: what goes on on the runtime does not wait.

use std::sync::Arc;

use tokio::sync::Semaphore;
use weir_session::{Salted, Salting};

use super::inbox::{Inbox, Message};

/// Passwords that are salted at the same moment: brokers that give out ever new salts must not take all processors.
const SALTINGS_MAX: usize = 2;

/// Salts the passwords of all connections.
#[derive(Clone, Debug)]
pub(crate) struct Saltings(Arc<Semaphore>);

impl Saltings {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(SALTINGS_MAX)))
    }

    /// Has the work done; its result comes to the inbox. Nothing comes when it cannot be done: a login without an answer has an end.
    pub(crate) fn submit(&self, salting: Salting, inbox: Inbox) {
        let free = Arc::clone(&self.0);
        tokio::spawn(async move {
            let Ok(_place) = free.acquire().await else { return };
            if let Some(salted) = salted(salting).await {
                inbox.send(Message::Salted(salted));
            }
        });
    }
}

/// Does the work at once; `None` when that is a defect.
pub(crate) async fn salted(salting: Salting) -> Option<Salted> {
    let salted = tokio::task::spawn_blocking(move || salting.run()).await;
    salted.inspect_err(|error| tracing::error!(event = "login.unsalted", error = %error)).ok()
}
