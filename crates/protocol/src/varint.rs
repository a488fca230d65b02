//! Variable-length integers, read strictly: a value has exactly one encoding.
//!
//! Kafka writes integers in seven-bit groups, the lowest group first, and sets the top bit of each byte but the last
//! (message protocol, "Protocol Primitive Types"). Its own readers accept encodings with superfluous groups (`80 00`
//! for 0); these are refused here, because two readers that disagree about them see different records.

/// Most bytes of a 32-bit value.
const U32_BYTES_MAX: usize = 5;

/// Most bytes of a 64-bit value.
const U64_BYTES_MAX: usize = 10;

/// Why a variable-length integer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The bytes end before the integer does.
    Truncated,
    /// The integer is longer than its value needs, or does not fit its type.
    Overlong,
}

/// An encoded integer: its bytes, and how many of them count.
#[derive(Clone, Copy)]
pub(crate) struct Encoded {
    bytes: [u8; U64_BYTES_MAX],
    len: usize,
}

impl Encoded {
    /// The bytes on the wire.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// Takes an unsigned 32-bit integer off the front of `bytes`.
#[inline]
pub(crate) fn take_u32(bytes: &mut &[u8]) -> Result<u32, VarintError> {
    match take_short(bytes) {
        Some(value) => Ok(value),
        None => {
            take_long(bytes, U32_BYTES_MAX, u64::from(u32::MAX)).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
        }
    }
}

/// Takes an unsigned 64-bit integer off the front of `bytes`.
#[inline]
pub(crate) fn take_u64(bytes: &mut &[u8]) -> Result<u64, VarintError> {
    match take_short(bytes) {
        Some(value) => Ok(u64::from(value)),
        None => take_long(bytes, U64_BYTES_MAX, u64::MAX),
    }
}

/// Takes a zigzag-encoded signed 32-bit integer off the front of `bytes`.
#[inline]
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Result<i32, VarintError> {
    take_u32(bytes).map(|raw| (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes a zigzag-encoded signed 64-bit integer off the front of `bytes`.
#[inline]
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    take_u64(bytes).map(|raw| (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Encodes a signed 32-bit integer, zigzag.
pub(crate) fn encode_i32(value: i32) -> Encoded {
    encode(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()))
}

/// Encodes an unsigned integer in as few bytes as possible.
pub(crate) fn encode(mut value: u64) -> Encoded {
    let mut bytes = [0; U64_BYTES_MAX];
    let mut len = 0;
    for byte in &mut bytes {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        len += 1;
        if value == 0 {
            *byte = low;
            break;
        }
        *byte = low | 0x80;
    }
    Encoded { bytes, len }
}

/// Lengths below 2 MiB and timestamps within the hour take at most three bytes.
#[inline]
fn take_short(bytes: &mut &[u8]) -> Option<u32> {
    let (value, rest) = match **bytes {
        [first @ 0..0x80, ref rest @ ..] => (u32::from(first), rest),
        [first, second @ 1..0x80, ref rest @ ..] => (u32::from(first & 0x7f) | u32::from(second) << 7, rest),
        [first, second @ 0x80..=0xff, third @ 1..0x80, ref rest @ ..] => {
            (u32::from(first & 0x7f) | u32::from(second & 0x7f) << 7 | u32::from(third) << 14, rest)
        }
        _ => return None,
    };
    *bytes = rest;
    Some(value)
}

#[cold]
fn take_long(bytes: &mut &[u8], bytes_max: usize, value_max: u64) -> Result<u64, VarintError> {
    let mut value: u64 = 0;
    for (place, &byte) in bytes.iter().take(bytes_max).enumerate() {
        let shift = u32::try_from(place * 7).unwrap_or(u32::MAX);
        let group = u64::from(byte & 0x7f);
        let shifted = group.checked_shl(shift).filter(|shifted| shifted >> shift == group);
        value |= shifted.filter(|shifted| *shifted <= value_max).ok_or(VarintError::Overlong)?;
        if byte < 0x80 {
            if byte == 0 && place > 0 {
                return Err(VarintError::Overlong);
            }
            *bytes = bytes.get(place + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(if bytes.len() < bytes_max { VarintError::Truncated } else { VarintError::Overlong })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(bytes: &[u8], expected: Result<(u32, usize), VarintError>) {
        let mut rest = bytes;
        assert_eq!(take_u32(&mut rest).map(|value| (value, rest.len())), expected, "{bytes:02x?}");
    }

    #[test]
    fn reads_minimal_encodings() {
        check(&[0], Ok((0, 0)));
        check(&[0x7f, 9], Ok((127, 1)));
        check(&[0x80, 1], Ok((128, 0)));
        check(&[0xff, 0x7f], Ok((16383, 0)));
        check(&[0x80, 0x80, 1], Ok((16384, 0)));
        check(&[0xff, 0xff, 0xff, 0xff, 0x0f, 7], Ok((u32::MAX, 1)));
    }

    #[test]
    fn refuses_superfluous_groups_and_overflow() {
        check(&[0x80, 0], Err(VarintError::Overlong));
        check(&[0xff, 0x80, 0], Err(VarintError::Overlong));
        check(&[0x81, 0x80, 0x80, 0x80, 0x00], Err(VarintError::Overlong));
        check(&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(VarintError::Overlong));
        check(&[0xff, 0xff, 0xff, 0xff, 0x8f, 0], Err(VarintError::Overlong));
        let mut ten = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..];
        assert_eq!(take_u64(&mut ten), Err(VarintError::Overlong));
    }

    #[test]
    fn refuses_a_cut_integer() {
        check(&[], Err(VarintError::Truncated));
        check(&[0x80], Err(VarintError::Truncated));
        check(&[0xff, 0xff, 0xff, 0xff], Err(VarintError::Truncated));
    }

    proptest! {
        #[test]
        fn writes_what_it_reads(value: u64, small: i32) {
            let encoded = encode(value);
            let mut bytes = encoded.as_slice();
            prop_assert_eq!(take_u64(&mut bytes), Ok(value));
            prop_assert!(bytes.is_empty());
            let encoded = encode_i32(small);
            let mut bytes = encoded.as_slice();
            prop_assert_eq!(take_i32(&mut bytes), Ok(small));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn accepts_one_encoding_only(bytes in proptest::collection::vec(any::<u8>(), 0..11)) {
            let mut rest = bytes.as_slice();
            if let Ok(value) = take_u64(&mut rest) {
                let taken = bytes.len() - rest.len();
                let encoded = encode(value);
                prop_assert_eq!(encoded.as_slice(), &bytes[..taken]);
            }
        }
    }
}
