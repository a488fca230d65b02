//! A reader that cannot panic: every step is checked against the bytes that remain.

use std::ops::Range;

use super::fault::Fault;

/// Kafka's longest string, in bytes, in both encodings.
const STRING_BYTES_MAX: usize = 32_767;

/// A position in a frame, and the end up to which it may move.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    frame: &'a [u8],
    at: usize,
    end: usize,
}

/// A value that may be null, by its place: the bytes without their length.
pub(crate) type Content = Option<Range<usize>>;

impl<'a> Reader<'a> {
    /// A reader of `frame` from `at` to its end.
    pub(crate) fn new(frame: &'a [u8], at: usize) -> Self {
        Self { frame, at, end: frame.len() }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn frame(&self) -> &'a [u8] {
        self.frame
    }

    pub(crate) fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Lets the reader go on for `bytes` only, and gives back the end that held before.
    pub(crate) fn narrow(&mut self, bytes: usize) -> Result<usize, Fault> {
        if bytes > self.remaining() {
            return Err(Fault::Truncated);
        }
        let end = self.end;
        self.end = self.at.saturating_add(bytes);
        Ok(end)
    }

    /// Undoes [`Self::narrow`].
    pub(crate) fn widen(&mut self, end: usize) {
        self.end = end;
    }

    /// The span of the next `bytes` bytes.
    pub(crate) fn skip(&mut self, bytes: usize) -> Result<Range<usize>, Fault> {
        if bytes > self.remaining() {
            return Err(Fault::Truncated);
        }
        let from = self.at;
        self.at = from.saturating_add(bytes);
        Ok(from..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let span = self.skip(N)?;
        self.frame.get(span).and_then(|bytes| bytes.first_chunk::<N>()).copied().ok_or(Fault::Truncated)
    }

    pub(crate) fn int8(&mut self) -> Result<i8, Fault> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn int16(&mut self) -> Result<i16, Fault> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn int32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_be_bytes)
    }

    /// An unsigned varint of at most 32 bits, in its shortest form only.
    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, Fault> {
        let mut value = 0_u32;
        for place in 0..5_u32 {
            let [byte] = self.array()?;
            if place == 4 && byte > 0x0f {
                return Err(Fault::Varint);
            }
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return if byte == 0 && place > 0 { Err(Fault::Varint) } else { Ok(value) };
            }
        }
        Err(Fault::Varint)
    }

    /// A length or count in either encoding; `None` is null.
    pub(crate) fn length(&mut self, classic: Width, flexible: bool) -> Result<Option<usize>, Fault> {
        if flexible {
            let plus_one = usize::try_from(self.unsigned_varint()?).map_err(|_| Fault::Truncated)?;
            return Ok(plus_one.checked_sub(1));
        }
        let length = match classic {
            Width::Int16 => i32::from(self.int16()?),
            Width::Int32 => self.int32()?,
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Fault::NegativeLength),
        }
    }

    /// A string without its length, checked to be UTF-8.
    pub(crate) fn string(&mut self, flexible: bool) -> Result<Content, Fault> {
        let Some(length) = self.length(Width::Int16, flexible)? else {
            return Ok(None);
        };
        if length > STRING_BYTES_MAX {
            return Err(Fault::StringTooLong);
        }
        let span = self.skip(length)?;
        let bytes = self.frame.get(span.clone()).ok_or(Fault::Truncated)?;
        std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
        Ok(Some(span))
    }

    /// Bytes without their length.
    pub(crate) fn bytes(&mut self, flexible: bool) -> Result<Content, Fault> {
        let Some(length) = self.length(Width::Int32, flexible)? else {
            return Ok(None);
        };
        self.skip(length).map(Some)
    }
}

/// How wide a length is where it is not compact.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Width {
    Int16,
    Int32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<u32, Fault>) {
        assert_eq!(Reader::new(bytes, 0).unsigned_varint(), expected, "{bytes:02x?}");
    }

    #[test]
    fn reads_varints_in_their_shortest_form_only() {
        check(&[0], Ok(0));
        check(&[0x7f], Ok(127));
        check(&[0x80, 0x01], Ok(128));
        check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX));
        check(&[0x80, 0x00], Err(Fault::Varint));
        check(&[0xff, 0x80, 0x00], Err(Fault::Varint));
        check(&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(Fault::Varint));
        check(&[0xff, 0xff, 0xff, 0xff, 0x8f, 0x00], Err(Fault::Varint));
        check(&[0x80], Err(Fault::Truncated));
        check(&[], Err(Fault::Truncated));
    }
}
