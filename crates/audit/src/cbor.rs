//! The part of CBOR that entries use, in the one deterministic form of RFC 8949 section 4.2.1: shortest heads, definite lengths, map keys
//! that are small unsigned integers in ascending order, no tags, no floats, no null.
//!
//! The decoder accepts nothing else and leaves nothing over, so that one value has one encoding and the hash of the bytes is the hash
//! of the value.

/// Bytes that are not in the deterministic form, or not of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes end inside an item.
    #[error("the bytes end inside an item that starts at byte {at}")]
    Short {
        /// Offset of the item.
        at: usize,
    },
    /// Bytes follow the last item.
    #[error("{left} bytes are left over")]
    LeftOver {
        /// How many.
        left: usize,
    },
    /// A head that is longer than needed, indefinite or reserved.
    #[error("the head at byte {at} is not in its shortest form")]
    NotShortest {
        /// Offset of the head.
        at: usize,
    },
    /// Another type than the field has.
    #[error("the item at byte {at} has the wrong type")]
    WrongType {
        /// Offset of the item.
        at: usize,
    },
    /// A number outside the field's range.
    #[error("the number at byte {at} is out of range")]
    OutOfRange {
        /// Offset of the number.
        at: usize,
    },
    /// A text that is not UTF-8.
    #[error("the text at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Offset of the text.
        at: usize,
    },
    /// A map whose keys do not ascend.
    #[error("the key at byte {at} does not follow the key before it")]
    KeyOrder {
        /// Offset of the key.
        at: usize,
    },
    /// A key that the format does not have.
    #[error("unknown key {key} before byte {at}")]
    UnknownKey {
        /// The key.
        key: u64,
        /// Offset behind it.
        at: usize,
    },
    /// A field that must be there.
    #[error("key {key} is missing")]
    Missing {
        /// The key.
        key: u64,
    },
}

/// Writes items one after another.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

/// Writes the fields of one map; made by [`Encoder::map`].
#[derive(Debug)]
pub struct MapEncoder<'a> {
    encoder: &'a mut Encoder,
    fields: u8,
}

/// Reads items one after another.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Encoder {
    /// An encoder without bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Number of bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// An unsigned integer.
    pub fn unsigned(&mut self, value: u64) {
        self.head(UNSIGNED, value);
    }

    /// A signed integer.
    pub fn signed(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.head(UNSIGNED, value),
            // -1 - n, which for a negative n is its bitwise complement.
            Err(_) => self.head(NEGATIVE, (!value).cast_unsigned()),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) {
        self.head(BYTES, length(value.len()));
        self.bytes.extend_from_slice(value);
    }

    /// A text.
    pub fn text(&mut self, value: &str) {
        self.head(TEXT, length(value.len()));
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// `true`. There is no `false`: a field that is not true is left out.
    pub fn truth(&mut self) {
        self.bytes.push(TRUE);
    }

    /// The head of an array; `items` items must follow.
    pub fn array(&mut self, items: usize) {
        self.head(ARRAY, length(items));
    }

    /// A map whose fields `write` writes in ascending order of their keys.
    pub fn map(&mut self, write: impl FnOnce(&mut MapEncoder<'_>)) {
        let head = self.bytes.len();
        self.bytes.push(MAP);
        let mut map = MapEncoder { encoder: self, fields: 0 };
        write(&mut map);
        let fields = map.fields;
        if let Some(byte) = self.bytes.get_mut(head) {
            *byte = MAP | fields;
        }
    }

    fn head(&mut self, major: u8, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
        match value {
            0..=23 => self.bytes.push(major | h),
            24..=0xff => self.bytes.extend_from_slice(&[major | ONE_BYTE, h]),
            0x100..=0xffff => self.bytes.extend_from_slice(&[major | TWO_BYTES, g, h]),
            0x1_0000..=0xffff_ffff => self.bytes.extend_from_slice(&[major | FOUR_BYTES, e, f, g, h]),
            _ => self.bytes.extend_from_slice(&[major | EIGHT_BYTES, a, b, c, d, e, f, g, h]),
        }
    }
}

impl MapEncoder<'_> {
    /// Starts a field and gives the encoder for its value. Keys are 0 to 22 (so that a map's head is one byte) and must ascend.
    pub fn field(&mut self, key: u8) -> &mut Encoder {
        debug_assert!(key <= MAP_KEY_MAX, "keys beyond {MAP_KEY_MAX} need a longer map head");
        self.fields += 1;
        self.encoder.unsigned(u64::from(key));
        self.encoder
    }
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next item.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// # Errors
    /// When bytes are left.
    pub fn finish(self) -> Result<(), CborError> {
        match self.bytes.len().saturating_sub(self.at) {
            0 => Ok(()),
            left => Err(CborError::LeftOver { left }),
        }
    }

    /// # Errors
    /// When the next item is no unsigned integer in its shortest form.
    pub fn unsigned(&mut self) -> Result<u64, CborError> {
        self.expect(UNSIGNED)
    }

    /// An unsigned integer that fits `T`.
    ///
    /// # Errors
    /// As [`Decoder::unsigned`], or when it does not fit.
    pub fn number<T: TryFrom<u64>>(&mut self) -> Result<T, CborError> {
        let at = self.at;
        T::try_from(self.unsigned()?).map_err(|_| CborError::OutOfRange { at })
    }

    /// A signed integer that fits `T`.
    ///
    /// # Errors
    /// When the next item is no integer in its shortest form, or does not fit.
    pub fn signed<T: TryFrom<i64>>(&mut self) -> Result<T, CborError> {
        let at = self.at;
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| CborError::OutOfRange { at })?;
        let value = match major {
            UNSIGNED => value,
            NEGATIVE => !value,
            _ => return Err(CborError::WrongType { at }),
        };
        T::try_from(value).map_err(|_| CborError::OutOfRange { at })
    }

    /// # Errors
    /// When the next item is no byte string, or is longer than what is left.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let start = self.at;
        let length = self.expect(BYTES)?;
        self.take(length, start)
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// As [`Decoder::bytes`], or when it has another length.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let at = self.at;
        self.bytes()?.try_into().map_err(|_| CborError::OutOfRange { at })
    }

    /// # Errors
    /// When the next item is no text, is longer than what is left, or is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let start = self.at;
        let length = self.expect(TEXT)?;
        std::str::from_utf8(self.take(length, start)?).map_err(|_| CborError::NotUtf8 { at: start })
    }

    /// # Errors
    /// When the next item is not `true`.
    pub fn truth(&mut self) -> Result<(), CborError> {
        let at = self.at;
        match self.bytes.get(at) {
            Some(&TRUE) => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(CborError::WrongType { at }),
            None => Err(CborError::Short { at }),
        }
    }

    /// The head of an array: its number of items, at most the number of bytes left (each item has one at least).
    ///
    /// # Errors
    /// When the next item is no array, or announces more items than bytes are left.
    pub fn array(&mut self) -> Result<usize, CborError> {
        let at = self.at;
        let items = usize::try_from(self.expect(ARRAY)?).map_err(|_| CborError::OutOfRange { at })?;
        if items > self.bytes.len().saturating_sub(self.at) { Err(CborError::Short { at }) } else { Ok(items) }
    }

    /// An array of exactly `items` items.
    ///
    /// # Errors
    /// As [`Decoder::array`], or when it has another length.
    pub fn array_of(&mut self, items: usize) -> Result<(), CborError> {
        let at = self.at;
        if self.array()? == items { Ok(()) } else { Err(CborError::OutOfRange { at }) }
    }

    /// A map: `read` is called with each key and must read its value, or give `None` for a key that it does not know.
    ///
    /// # Errors
    /// When the next item is no map, when keys do not ascend, when a key is unknown, or what `read` gives.
    pub fn map(
        &mut self,
        mut read: impl FnMut(u64, &mut Self) -> Result<Option<()>, CborError>,
    ) -> Result<(), CborError> {
        let fields = self.expect(MAP)?;
        let mut last = None;
        for _ in 0..fields {
            let at = self.at;
            let key = self.unsigned()?;
            if last.is_some_and(|last| key <= last) {
                return Err(CborError::KeyOrder { at });
            }
            last = Some(key);
            read(key, self)?.ok_or(CborError::UnknownKey { key, at: self.at })?;
        }
        Ok(())
    }

    fn expect(&mut self, major: u8) -> Result<u64, CborError> {
        let at = self.at;
        let (found, value) = self.head()?;
        if found == major { Ok(value) } else { Err(CborError::WrongType { at }) }
    }

    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let at = self.at;
        let short = CborError::Short { at };
        let first = *self.bytes.get(at).ok_or(short)?;
        let (major, info) = (first & 0xe0, first & 0x1f);
        let extra = match info {
            0..=23 => {
                self.at = at + 1;
                return Ok((major, u64::from(info)));
            }
            ONE_BYTE => 1,
            TWO_BYTES => 2,
            FOUR_BYTES => 4,
            EIGHT_BYTES => 8,
            _ => return Err(CborError::NotShortest { at }),
        };
        let digits = self.bytes.get(at + 1..at + 1 + extra).ok_or(short)?;
        let value = digits.iter().fold(0, |value: u64, digit| (value << 8) | u64::from(*digit));
        let smallest: u64 = match extra {
            1 => 24,
            2 => 0x100,
            4 => 0x1_0000,
            _ => 0x1_0000_0000,
        };
        if value < smallest {
            return Err(CborError::NotShortest { at });
        }
        self.at = at + 1 + extra;
        Ok((major, value))
    }

    fn take(&mut self, length: u64, start: usize) -> Result<&'a [u8], CborError> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let end = end.ok_or(CborError::Short { at: start })?;
        let taken = self.bytes.get(self.at..end).ok_or(CborError::Short { at: start })?;
        self.at = end;
        Ok(taken)
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The largest key of a map: with keys 0 to 22 a map has at most 23 fields, and its head is one byte.
const MAP_KEY_MAX: u8 = 22;

const UNSIGNED: u8 = 0x00;
const NEGATIVE: u8 = 0x20;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
const MAP: u8 = 0xa0;
const TRUE: u8 = 0xf5;
const ONE_BYTE: u8 = 24;
const TWO_BYTES: u8 = 25;
const FOUR_BYTES: u8 = 26;
const EIGHT_BYTES: u8 = 27;

#[cfg(test)]
mod tests {
    use super::*;

    fn check_signed(value: i64, expected: &[u8]) {
        let mut encoder = Encoder::new();
        encoder.signed(value);
        let bytes = encoder.into_bytes();
        assert_eq!(bytes, expected, "{value}");
        assert_eq!(Decoder::new(&bytes).signed(), Ok(value));
    }

    #[test]
    fn integers_have_the_encodings_of_rfc_8949_appendix_a() {
        check_signed(0, &[0x00]);
        check_signed(23, &[0x17]);
        check_signed(24, &[0x18, 0x18]);
        check_signed(100, &[0x18, 0x64]);
        check_signed(1000, &[0x19, 0x03, 0xe8]);
        check_signed(1_000_000, &[0x1a, 0x00, 0x0f, 0x42, 0x40]);
        check_signed(1_000_000_000_000, &[0x1b, 0x00, 0x00, 0x00, 0xe8, 0xd4, 0xa5, 0x10, 0x00]);
        check_signed(-1, &[0x20]);
        check_signed(-10, &[0x29]);
        check_signed(-1000, &[0x39, 0x03, 0xe7]);
        check_signed(i64::MIN, &[0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn longer_heads_indefinite_lengths_and_other_types_are_refused() {
        assert_eq!(Decoder::new(&[0x18, 0x17]).unsigned(), Err(CborError::NotShortest { at: 0 }));
        assert_eq!(Decoder::new(&[0x19, 0x00, 0xff]).unsigned(), Err(CborError::NotShortest { at: 0 }));
        assert_eq!(Decoder::new(&[0x1a, 0, 0, 0xff, 0xff]).unsigned(), Err(CborError::NotShortest { at: 0 }));
        assert_eq!(Decoder::new(&[0x5f, 0xff]).bytes(), Err(CborError::NotShortest { at: 0 }));
        assert_eq!(Decoder::new(&[0xc0, 0x00]).unsigned(), Err(CborError::WrongType { at: 0 }));
        assert_eq!(Decoder::new(&[0xf4]).truth(), Err(CborError::WrongType { at: 0 }));
        assert_eq!(Decoder::new(&[0x42, 0x00]).bytes(), Err(CborError::Short { at: 0 }));
        assert_eq!(
            Decoder::new(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).bytes(),
            Err(CborError::Short { at: 0 })
        );
        assert_eq!(Decoder::new(&[0x61, 0xff]).text(), Err(CborError::NotUtf8 { at: 0 }));
        assert_eq!(Decoder::new(&[0x9a, 0xff, 0xff, 0xff, 0xff]).array(), Err(CborError::Short { at: 0 }));
        assert_eq!(Decoder::new(&[]).unsigned(), Err(CborError::Short { at: 0 }));
        assert_eq!(Decoder::new(&[0x00]).finish(), Err(CborError::LeftOver { left: 1 }));
    }

    #[test]
    fn map_keys_must_ascend_and_be_known() {
        let read = |bytes: &[u8]| {
            Decoder::new(bytes).map(|key, value| match key {
                0 | 1 => value.unsigned().map(|_| Some(())),
                _ => Ok(None),
            })
        };
        assert_eq!(read(&[0xa2, 0, 5, 1, 6]), Ok(()));
        assert_eq!(read(&[0xa2, 1, 5, 0, 6]), Err(CborError::KeyOrder { at: 3 }));
        assert_eq!(read(&[0xa2, 0, 5, 0, 6]), Err(CborError::KeyOrder { at: 3 }));
        assert_eq!(read(&[0xa1, 2, 5]), Err(CborError::UnknownKey { key: 2, at: 2 }));
        assert_eq!(read(&[0xa1]), Err(CborError::Short { at: 1 }));
    }
}
