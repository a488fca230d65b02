//! How many connections may log in to the brokers at once: a login costs the brokers processor time, and after a restart of theirs every
//! client is back at the same moment.
//!
//! Each broker has a share of its own, so that one that hangs, and keeps what logs in to it, keeps nobody from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::HostPort;

/// Logins that one broker may always have open: with more brokers than `handshakes_max` a share of it would be none.
const PER_BROKER_MIN: usize = 1;

/// The places, of which a connection has one from the moment it is connected until weir is in.
#[derive(Clone, Debug)]
pub(crate) struct BrokerLogins {
    places: Arc<Mutex<Places>>,
    wait_max: Duration,
}

#[derive(Debug)]
struct Places {
    max: usize,
    /// Brokers that the places are shared out to.
    brokers: usize,
    all: Arc<Semaphore>,
    /// Those of each broker that somebody logs in to; no more of them than there are brokers and logins.
    each: HashMap<HostPort, Arc<Semaphore>>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct BrokerLoginPlace {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl BrokerLogins {
    /// At most `max` at once; further ones wait for a place, that long.
    pub(crate) fn new(max: usize, wait_max: Duration) -> Self {
        Self { places: Arc::new(Mutex::new(Places::new(max, 1))), wait_max }
    }

    /// Another number from now on; logins that are going on do not count in it.
    pub(crate) fn set_max(&self, max: usize) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.max != max {
            *places = Places::new(max, places.brokers);
        }
    }

    /// Waits for a place at one of so many brokers.
    ///
    /// # Errors
    ///
    /// When none is free in time, in words for the log.
    pub(crate) async fn enter(&self, broker: HostPort, brokers: usize) -> Result<BrokerLoginPlace, String> {
        let (own, all, share) = self.places.lock().unwrap_or_else(PoisonError::into_inner).of(&broker, brokers);
        let deadline = Instant::now() + self.wait_max;
        let wait = |free: Arc<Semaphore>| tokio::time::timeout_at(deadline, free.acquire_owned());
        // The broker's own first: who waits for one that hangs must not hold what others could have.
        let Ok(Ok(own)) = wait(own).await else {
            return Err(format!(
                "{share} logins to {broker}, its share of `handshakes_max`, were going on, and none ended within {:?}",
                self.wait_max
            ));
        };
        let Ok(Ok(of_all)) = wait(all).await else {
            return Err(format!(
                "`handshakes_max` logins to brokers were going on, and none ended within {:?}",
                self.wait_max
            ));
        };
        Ok(BrokerLoginPlace { _own: own, _of_all: of_all })
    }
}

impl Places {
    fn new(max: usize, brokers: usize) -> Self {
        Self { max, brokers, all: Arc::new(Semaphore::new(max)), each: HashMap::new() }
    }

    /// The places of one broker, those of all, and how many the broker has.
    fn of(&mut self, broker: &HostPort, brokers: usize) -> (Arc<Semaphore>, Arc<Semaphore>, usize) {
        let brokers = brokers.max(1);
        if self.share_of(brokers) != self.share_of(self.brokers) {
            // Other shares from now on; logins that are going on count in those of all, and not in them.
            self.each.clear();
        }
        self.brokers = brokers;
        let share = self.share_of(brokers);
        if self.each.len() >= brokers && !self.each.contains_key(broker) {
            // Of brokers that went nobody has a place, unless a login is going on yet.
            self.each.retain(|_, free| Arc::strong_count(free) > 1);
        }
        let own = self.each.entry(broker.clone()).or_insert_with(|| Arc::new(Semaphore::new(share)));
        (Arc::clone(own), Arc::clone(&self.all), share)
    }

    fn share_of(&self, brokers: usize) -> usize {
        (self.max / brokers).max(PER_BROKER_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(host: &str) -> HostPort {
        HostPort { host: host.to_owned(), port: 9092 }
    }

    #[tokio::test]
    async fn places_are_waited_for_and_given_back() {
        let logins = BrokerLogins::new(2, Duration::from_millis(20));
        let enter = || logins.enter(broker("a"), 1);
        let (one, _two) = (enter().await.unwrap(), enter().await.unwrap());
        let refused = enter().await.unwrap_err();
        assert_eq!(
            refused,
            "2 logins to a:9092, its share of `handshakes_max`, were going on, and none ended within 20ms"
        );
        drop(one);
        let three = enter().await;
        assert!(three.is_ok());
        logins.set_max(2);
        assert!(enter().await.is_err(), "the same number is no change");
        logins.set_max(1);
        assert!(enter().await.is_ok());
    }

    #[tokio::test]
    async fn a_broker_that_hangs_keeps_nobody_from_the_others() {
        let logins = BrokerLogins::new(6, Duration::from_millis(20));
        let mut stuck = Vec::new();
        while let Ok(place) = logins.enter(broker("stuck"), 3).await {
            stuck.push(place);
        }
        assert_eq!(stuck.len(), 2);
        // Whoever waits for it in vain takes nothing from the others either.
        let waits = tokio::spawn({
            let logins = BrokerLogins { wait_max: Duration::from_secs(60), ..logins.clone() };
            async move { logins.enter(broker("stuck"), 3).await }
        });
        for _ in 0..20 {
            let well = [logins.enter(broker("well"), 3).await, logins.enter(broker("well"), 3).await];
            assert!(well.iter().all(Result::is_ok));
        }
        assert!(!waits.is_finished());
        stuck.pop();
        assert!(waits.await.unwrap().is_ok());
        // The control: two names that share one lot, as all brokers did, keep each other out.
        let shared = BrokerLogins::new(2, Duration::from_millis(20));
        let _all = [shared.enter(broker("stuck"), 1).await.unwrap(), shared.enter(broker("stuck"), 1).await.unwrap()];
        assert!(shared.enter(broker("well"), 1).await.unwrap_err().starts_with("`handshakes_max` logins"));
    }

    #[tokio::test]
    async fn there_is_a_place_for_each_of_more_brokers_than_places_and_no_broker_is_remembered_for_ever() {
        let logins = BrokerLogins::new(2, Duration::from_millis(20));
        let one = logins.enter(broker("0"), 100).await.unwrap();
        assert!(logins.enter(broker("0"), 100).await.is_err());
        let _two = logins.enter(broker("1"), 100).await.unwrap();
        assert!(logins.enter(broker("2"), 100).await.is_err(), "no more than `handshakes_max` in all");
        drop(one);
        for name in 0..1000 {
            assert!(logins.enter(broker(&name.to_string()), 3).await.is_ok() || name == 1, "{name}");
        }
        assert!(logins.places.lock().unwrap().each.len() <= 4);
    }
}
