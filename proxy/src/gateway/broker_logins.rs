//! How many connections may log in to the brokers at once: a login costs the brokers processor time, and after a restart of theirs every
//! client is back at the same moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places, of which a connection has one from the moment it is connected until weir is in.
#[derive(Clone, Debug)]
pub(crate) struct BrokerLogins {
    places: Arc<Mutex<Places>>,
    wait_max: Duration,
}

#[derive(Debug)]
struct Places {
    max: usize,
    free: Arc<Semaphore>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct BrokerLoginPlace {
    _permit: OwnedSemaphorePermit,
}

impl BrokerLogins {
    /// At most `max` at once; further ones wait for a place, that long.
    pub(crate) fn new(max: usize, wait_max: Duration) -> Self {
        let places = Places { max, free: Arc::new(Semaphore::new(max)) };
        Self { places: Arc::new(Mutex::new(places)), wait_max }
    }

    /// Another number from now on; logins that are going on do not count in it.
    pub(crate) fn set_max(&self, max: usize) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.max != max {
            *places = Places { max, free: Arc::new(Semaphore::new(max)) };
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    ///
    /// When none is free in time, in words for the log.
    pub(crate) async fn enter(&self) -> Result<BrokerLoginPlace, String> {
        let free = Arc::clone(&self.places.lock().unwrap_or_else(PoisonError::into_inner).free);
        match tokio::time::timeout(self.wait_max, free.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(BrokerLoginPlace { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(format!(
                "`handshakes_max` logins to brokers were going on, and none ended within {:?}",
                self.wait_max
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_waited_for_and_given_back() {
        let logins = BrokerLogins::new(2, Duration::from_millis(20));
        let (one, _two) = (logins.enter().await.unwrap(), logins.enter().await.unwrap());
        let refused = logins.enter().await.unwrap_err();
        assert_eq!(refused, "`handshakes_max` logins to brokers were going on, and none ended within 20ms");
        drop(one);
        let three = logins.enter().await;
        assert!(three.is_ok());
        logins.set_max(2);
        assert!(logins.enter().await.is_err(), "the same number is no change");
        logins.set_max(1);
        assert!(logins.enter().await.is_ok());
    }
}
