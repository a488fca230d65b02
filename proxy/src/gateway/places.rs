//! Places for clients: how many one address may take of what is there for all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The part of `limits.handshakes_max` that one address may take, as a divisor: three others at least find a place beside one that
/// takes all it can, again and again.
const HANDSHAKES_SHARE: usize = 4;

/// Handshakes that one address may always have open: with a small `handshakes_max` a share of it would let nobody's clients start
/// together.
const HANDSHAKES_PER_ADDRESS_MIN: usize = 4;

/// Leading bits of an IPv6 address that are one customer's: whoever has one address there has all of them.
const IPV6_SITE_BITS: u32 = 64;

/// A number of seats, taken without waiting.
#[derive(Debug)]
pub(crate) struct Room {
    max: AtomicUsize,
    taken: AtomicUsize,
}

/// One seat, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Room>);

impl Room {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: AtomicUsize::new(max), taken: AtomicUsize::new(0) })
    }

    /// Another number from now on. Seats that are taken stay taken.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A seat, if one is left.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Seat> {
        let max = self.max.load(Ordering::Relaxed);
        let one_more = |taken: usize| taken.checked_add(1).filter(|taken| *taken <= max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Seat(Arc::clone(self)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts what each address has taken.
#[derive(Debug)]
pub(crate) struct Places {
    max: AtomicUsize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One place of an address, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    /// At most `max` for each address.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: AtomicUsize::new(max), taken: Mutex::default() })
    }

    /// Another number for each address from now on. What is taken stays taken.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A place, if whoever stands behind the address has one left.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = site(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= self.max.load(Ordering::Relaxed) {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Clients on their way in: `limits.handshakes_max` of them, of which each address has a share.
#[derive(Debug)]
pub(crate) struct Handshakes {
    all: Arc<Room>,
    places: Arc<Places>,
}

/// A client on its way in; dropped once it is logged in.
#[derive(Debug)]
pub(crate) struct Handshake {
    _seat: Seat,
    _place: Place,
}

impl Handshakes {
    pub(crate) fn new(max: usize) -> Self {
        Self { all: Room::new(max), places: Places::new(share(max)) }
    }

    /// Another number from now on.
    pub(crate) fn set_max(&self, max: usize) {
        self.all.set_max(max);
        self.places.set_max(share(max));
    }

    /// Lets a client try.
    ///
    /// # Errors
    ///
    /// The name of the limit that it ran into.
    pub(crate) fn enter(&self, address: IpAddr) -> Result<Handshake, &'static str> {
        let seat = self.all.take().ok_or("handshakes_max")?;
        let place = self.places.take(address).ok_or("handshakes_per_address")?;
        Ok(Handshake { _seat: seat, _place: place })
    }
}

/// How many of `max` handshakes one address may have.
fn share(max: usize) -> usize {
    (max / HANDSHAKES_SHARE).max(HANDSHAKES_PER_ADDRESS_MIN).min(max)
}

/// Who stands behind an address: the address itself, of IPv6 its network. IPv4 in the clothes of IPv6 is IPv4.
pub(crate) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - IPV6_SITE_BITS))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many handshakes one address gets of `max`, and how many all get together.
    fn taken(max: usize) -> (usize, usize) {
        let handshakes = Handshakes::new(max);
        let alone = std::iter::from_fn(|| handshakes.enter(address("10.0.0.1")).ok()).take(max + 1).collect::<Vec<_>>();
        let others =
            (2..255).filter_map(|last| handshakes.enter(address(&format!("10.0.0.{last}"))).ok()).collect::<Vec<_>>();
        (alone.len(), alone.len() + others.len())
    }

    #[test]
    fn one_address_has_a_share_of_the_handshakes() {
        assert_eq!(taken(64), (16, 64));
        assert_eq!(taken(63), (15, 63));
        assert_eq!(taken(16), (4, 16));
        assert_eq!(taken(8), (4, 8), "a small limit is not cut to nothing");
        assert_eq!(taken(2), (2, 2));
    }

    #[test]
    fn a_handshake_that_ended_gives_its_place_back() {
        let handshakes = Handshakes::new(8);
        let mut open = (0..4).map(|_| handshakes.enter(address("10.0.0.1")).expect("a place")).collect::<Vec<_>>();
        assert_eq!(handshakes.enter(address("10.0.0.1")).err(), Some("handshakes_per_address"));
        assert!(handshakes.enter(address("10.0.0.2")).is_ok());
        open.pop();
        open.push(handshakes.enter(address("10.0.0.1")).expect("the place of the one that ended"));
        let _others = (0..4).map(|_| handshakes.enter(address("10.0.0.2")).expect("a place")).collect::<Vec<_>>();
        assert_eq!(handshakes.enter(address("10.0.0.3")).err(), Some("handshakes_max"));
        drop(open);
        assert!(handshakes.enter(address("10.0.0.3")).is_ok());
        assert_eq!(handshakes.places.taken.lock().expect("a lock").len(), 1, "who has nothing is not kept");
    }

    #[test]
    fn another_limit_acts_on_who_comes_next() {
        let room = Room::new(2);
        let mut seats = vec![room.take().expect("a seat"), room.take().expect("a seat")];
        assert!(room.take().is_none());
        room.set_max(3);
        seats.push(room.take().expect("one more"));
        room.set_max(1);
        assert!(room.take().is_none(), "and nobody was put out");
        seats.truncate(1);
        assert!(room.take().is_none());
        seats.clear();
        assert!(room.take().is_some());

        let handshakes = Handshakes::new(4);
        let _open = (0..4).map(|_| handshakes.enter(address("10.0.0.1")).expect("a place")).collect::<Vec<_>>();
        assert!(handshakes.enter(address("10.0.0.2")).is_err());
        handshakes.set_max(32);
        let _more = (0..4).map(|_| handshakes.enter(address("10.0.0.1")).expect("a place")).collect::<Vec<_>>();
        assert_eq!(handshakes.enter(address("10.0.0.1")).err(), Some("handshakes_per_address"));
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_together_have_the_places_of_one() {
        let places = Places::new(2);
        let mut open = vec![
            places.take(address("2001:db8:1:2::1")).expect("a place"),
            places.take(address("2001:db8:1:2:ffff::2")).expect("a place"),
        ];
        assert!(places.take(address("2001:db8:1:2:3:4:5:6")).is_none(), "a third address of the same network");
        assert!(places.take(address("2001:db8:1:3::1")).is_some(), "the control: the network beside it");
        open.pop();
        assert!(places.take(address("2001:db8:1:2:3:4:5:6")).is_some(), "given back under the same name");
        // IPv4 by its address, however it is written.
        let _v4 = [places.take(address("10.0.0.1")), places.take(address("::ffff:10.0.0.1"))];
        assert!(places.take(address("10.0.0.1")).is_none() && places.take(address("10.0.0.2")).is_some());
    }

    #[test]
    fn ipv6_is_counted_by_network() {
        assert_eq!(site(address("2001:db8:1:2:3:4:5:6")), address("2001:db8:1:2::"));
        assert_eq!(site(address("::ffff:10.0.0.1")), address("10.0.0.1"));
        assert_eq!(site(address("10.0.0.1")), address("10.0.0.1"));
    }
}
