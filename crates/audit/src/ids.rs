//! Names of things: connections, sessions, events, intents, chains, tickets.

use std::fmt;
use std::str::FromStr;

/// One client connection of this process; never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// One login, from the socket's opening to its end: 16 random bytes. Displays as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

/// One event that an operator or a client can name: a ULID. Displays as its 26 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

/// One open intent: the durable row that says that a request is about to be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentId(pub [u8; 16]);

/// One chain of entries: 16 random bytes, made at the first start of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(pub [u8; 16]);

/// What a caller holds while something is being recorded. It names its connection, so that a receipt is inert in any other session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    connection: ConnectionId,
    serial: u64,
}

/// A text that names no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Wrong number of characters.
    #[error("an id of {expected} characters is expected, not {found}")]
    Length {
        /// Characters expected.
        expected: usize,
        /// Characters found.
        found: usize,
    },
    /// A character outside the alphabet, or a value that does not fit 128 bits.
    #[error("not an id: character {at} is not allowed there")]
    Character {
        /// Index of the character, from 0.
        at: usize,
    },
}

impl Ticket {
    /// A ticket of one connection; `serial` is unique within it.
    #[must_use]
    pub fn new(connection: ConnectionId, serial: u64) -> Self {
        Self { connection, serial }
    }

    /// The connection that asked.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The number of this ticket within its connection.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }
}

impl EventId {
    /// A ULID from the wall clock in milliseconds (48 bits are kept) and 80 random bits.
    #[must_use]
    pub fn new(wall_ms: u64, random: [u8; 10]) -> Self {
        let [_, _, time @ ..] = wall_ms.to_be_bytes();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(time.into_iter().chain(random)) {
            *to = from;
        }
        Self(id)
    }
}

impl ChainId {
    /// The origin: the name under which checkpoints and proofs of this chain are published. `prev` of entry 0 is its SHA-256.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{ORIGIN_PREFIX}{self}")
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for place in (0..ULID_CHARACTERS).rev() {
            let digit = usize::try_from((value >> (place * 5)) & 31).unwrap_or_default();
            let character = CROCKFORD.get(digit).copied().unwrap_or(b'0');
            write!(f, "{}", char::from(character))?;
        }
        Ok(())
    }
}

impl FromStr for EventId {
    type Err = IdError;

    /// Reads the 26 characters of a ULID, in either case.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let found = text.chars().count();
        if found != ULID_CHARACTERS {
            return Err(IdError::Length { expected: ULID_CHARACTERS, found });
        }
        let mut value: u128 = 0;
        for (at, character) in text.chars().enumerate() {
            let upper = character.to_ascii_uppercase();
            let digit =
                CROCKFORD.iter().position(|known| char::from(*known) == upper).ok_or(IdError::Character { at })?;
            // 26 digits of 5 bits are 130: the first digit must leave its two upper bits clear.
            if at == 0 && digit > 7 {
                return Err(IdError::Character { at });
            }
            value = (value << 5) | u128::try_from(digit).unwrap_or_default();
        }
        Ok(Self(value.to_be_bytes()))
    }
}

macro_rules! hex_id {
    ($($id:ty),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl FromStr for $id {
            type Err = IdError;

            /// Reads 32 lower-case hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, IdError> {
                Ok(Self(parse_hex(text)?))
            }
        }
    )*};
}

hex_id!(SessionId, IntentId, ChainId);

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `N` bytes from lower-case hexadecimal digits.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(IdError::Length { expected: N * 2, found: digits.len() });
    }
    let mut bytes = [0; N];
    for (at, (byte, pair)) in bytes.iter_mut().zip(digits.chunks_exact(2)).enumerate() {
        let [high, low] = pair else { return Err(IdError::Character { at: at * 2 }) };
        let high = hex_digit(*high).ok_or(IdError::Character { at: at * 2 })?;
        let low = hex_digit(*low).ok_or(IdError::Character { at: at * 2 + 1 })?;
        *byte = (high << 4) | low;
    }
    Ok(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

const ULID_CHARACTERS: usize = 26;

/// Crockford's alphabet: no I, L, O, U.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How the origins of all chains start.
pub(crate) const ORIGIN_PREFIX: &str = "weir/audit/";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: EventId, expected: &str) {
        assert_eq!(id.to_string(), expected);
        assert_eq!(expected.parse(), Ok(id));
        assert_eq!(expected.to_lowercase().parse(), Ok(id));
    }

    #[test]
    fn event_ids_are_ulids() {
        check(EventId([0; 16]), "00000000000000000000000000");
        check(EventId([0xff; 16]), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        // The example of the ULID specification: 01ARZ3NDEK is 1469922850259 ms.
        let id: EventId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        let [a, b, c, d, e, f, ..] = id.0;
        assert_eq!(u64::from_be_bytes([0, 0, a, b, c, d, e, f]), 1_469_922_850_259);
        check(id, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    }

    #[test]
    fn texts_that_are_no_ids_are_refused() {
        assert_eq!("".parse::<EventId>(), Err(IdError::Length { expected: 26, found: 0 }));
        assert_eq!("80000000000000000000000000".parse::<EventId>(), Err(IdError::Character { at: 0 }));
        assert_eq!("0000000000000000000000000U".parse::<EventId>(), Err(IdError::Character { at: 25 }));
        assert_eq!("0".repeat(31).parse::<ChainId>(), Err(IdError::Length { expected: 32, found: 31 }));
        assert_eq!("AA".repeat(16).parse::<ChainId>(), Err(IdError::Character { at: 0 }));
    }
}
