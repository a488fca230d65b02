//! The records of one opened batch, read strictly.
//!
//! ```text
//! record  := length attributes timestampDelta offsetDelta keyLength key valueLength value headersCount header*
//! header  := keyLength key valueLength value
//!            └ every length a zigzag varint, -1 for null where null is allowed ┘
//! ```
//!
//! Readers in the field disagree about records that break their own lengths: one trusts the length, the next the
//! fields, a third reads on past the announced count. A batch is accepted only when all of them see the same records.

use std::ops::Range;

use super::Limits;
use super::error::{BatchError, RecordPart};
use crate::varint::{self, VarintError};

/// One record, as [`Inspect`](super::Inspect) sees it.
#[derive(Clone, Copy)]
pub struct RecordView<'a> {
    /// Place in the batch, from 0.
    pub index: u32,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null, a tombstone on a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order, duplicates included.
    pub headers: Headers<'a>,
}

impl std::fmt::Debug for RecordView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordView")
            .field("index", &self.index)
            .field("key_bytes", &self.key.map(<[u8]>::len))
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .field("headers", &self.headers.count)
            .finish()
    }
}

/// The headers of a record, read as they are asked for.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: u32,
}

impl<'a> Headers<'a> {
    /// Reads `count` headers, which must fill `bytes`, in Kafka's encoding.
    ///
    /// # Errors
    /// As for the headers of a record; the record is called 0.
    pub fn read(bytes: &'a [u8], count: u32) -> Result<Self, BatchError> {
        let mut fields = Fields { rest: bytes, start: 0, whole: bytes.len(), record: 0 };
        for _ in 0..count {
            fields.header()?;
        }
        if fields.rest.is_empty() { Ok(Self { bytes, count }) } else { Err(BatchError::RecordLength { record: 0 }) }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The headers in order.
    pub fn iter(&self) -> impl Iterator<Item = HeaderView<'a>> + use<'a> {
        let bytes = self.bytes;
        HeaderSpans::new(bytes, 0, self.count).map(move |spans| HeaderView {
            key: bytes.get(spans.key).unwrap_or_default(),
            value: spans.value.and_then(|value| bytes.get(value)),
        })
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Headers").field("count", &self.count).field("bytes", &self.bytes.len()).finish()
    }
}

/// One header of a record.
#[derive(Clone, Copy)]
pub struct HeaderView<'a> {
    /// The key; Kafka's clients write UTF-8, its brokers do not check.
    pub key: &'a [u8],
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl std::fmt::Debug for HeaderView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderView")
            .field("key_bytes", &self.key.len())
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .finish()
    }
}

/// Where a record and its fields lie in the payload.
#[derive(Clone)]
pub(crate) struct RecordSpans {
    pub(crate) index: u32,
    /// From the record's length on.
    pub(crate) start: usize,
    /// Behind the record's length.
    pub(crate) body: usize,
    pub(crate) end: usize,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<Range<usize>>,
    pub(crate) value: Option<Range<usize>>,
    pub(crate) headers: Range<usize>,
    pub(crate) header_count: u32,
}

impl RecordSpans {
    pub(crate) fn view<'a>(&self, payload: &'a [u8]) -> RecordView<'a> {
        let bytes = |span: &Range<usize>| payload.get(span.clone()).unwrap_or_default();
        RecordView {
            index: self.index,
            key: self.key.as_ref().map(bytes),
            value: self.value.as_ref().map(bytes),
            headers: Headers { bytes: bytes(&self.headers), count: self.header_count },
        }
    }

    /// The headers' places in the payload.
    pub(crate) fn header_spans<'a>(&self, payload: &'a [u8]) -> HeaderSpans<'a> {
        HeaderSpans::new(payload.get(self.headers.clone()).unwrap_or_default(), self.headers.start, self.header_count)
    }
}

/// Where a header's key and value lie.
pub(crate) struct HeaderFieldSpans {
    pub(crate) key: Range<usize>,
    pub(crate) value: Option<Range<usize>>,
}

/// The spans of headers that were read before, so that no error is left.
pub(crate) struct HeaderSpans<'a> {
    fields: Fields<'a>,
    left: u32,
}

impl<'a> HeaderSpans<'a> {
    fn new(bytes: &'a [u8], start: usize, count: u32) -> Self {
        Self { fields: Fields { rest: bytes, start, whole: bytes.len(), record: 0 }, left: count }
    }
}

impl Iterator for HeaderSpans<'_> {
    type Item = HeaderFieldSpans;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.fields.header().ok()
    }
}

/// Walks the records of an opened payload.
pub(crate) struct Walk<'a> {
    payload: &'a [u8],
    rest: &'a [u8],
    index: u32,
    limits: &'a Limits,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(payload: &'a [u8], limits: &'a Limits) -> Self {
        Self { payload, rest: payload, index: 0, limits }
    }

    /// Reads the next record; every one of its bytes is accounted for.
    #[inline]
    pub(crate) fn record(&mut self) -> Result<RecordSpans, BatchError> {
        let index = self.index;
        let start = self.payload.len() - self.rest.len();
        let length = varint::take_i32(&mut self.rest).map_err(|error| varint_error(error, index))?;
        let length = usize::try_from(length).map_err(|_| BatchError::NegativeLength { record: index })?;
        let body = self.payload.len() - self.rest.len();
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(BatchError::RecordCut { record: index })?;
        let mut fields = Fields { rest: bytes, start: body, whole: length, record: index };
        fields.attributes()?;
        fields.varlong()?;
        let offset_delta = fields.varint()?;
        let limits = self.limits;
        let key = fields.nullable()?;
        fields.within(RecordPart::Key, key.as_ref(), limits.key_bytes_max)?;
        let value = fields.nullable()?;
        fields.within(RecordPart::Value, value.as_ref(), limits.value_bytes_max)?;
        let header_count = fields.header_count(limits.headers_max)?;
        let headers_from = fields.at();
        for _ in 0..header_count {
            let header = fields.header()?;
            fields.within(RecordPart::HeaderName, Some(&header.key), limits.header_name_bytes_max)?;
            fields.within(RecordPart::HeaderValue, header.value.as_ref(), limits.value_bytes_max)?;
        }
        if !fields.rest.is_empty() {
            return Err(BatchError::RecordLength { record: index });
        }
        let end = body + length;
        self.rest = rest;
        self.index = index.saturating_add(1);
        let headers = headers_from..end;
        Ok(RecordSpans { index, start, body, end, offset_delta, key, value, headers, header_count })
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// When bytes follow the records that were read.
    pub(crate) fn finish(&self) -> Result<(), BatchError> {
        if self.rest.is_empty() { Ok(()) } else { Err(BatchError::BytesAfterRecords(self.rest.len())) }
    }
}

/// Takes the next record off a payload that was walked before; `None` at its end. Only its content matters: the bytes
/// from the key's length to the end of the headers.
pub(crate) fn take_content<'a>(payload: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint::take_i32(payload).ok()?).ok()?;
    let (body, rest) = payload.split_at_checked(length)?;
    *payload = rest;
    let mut content = body.get(1..)?;
    varint::take_i64(&mut content).ok()?;
    varint::take_i32(&mut content).ok()?;
    Some(content)
}

/// The bytes of one record that are still to be read.
struct Fields<'a> {
    rest: &'a [u8],
    /// Where the `whole` bytes begin in the payload.
    start: usize,
    whole: usize,
    record: u32,
}

impl Fields<'_> {
    #[inline(always)]
    fn at(&self) -> usize {
        self.start + (self.whole - self.rest.len())
    }

    /// Kafka has assigned no record attributes: a set bit is a byte that nobody inspects.
    #[inline(always)]
    fn attributes(&mut self) -> Result<(), BatchError> {
        match *self.rest {
            [0, ref rest @ ..] => {
                self.rest = rest;
                Ok(())
            }
            [_, ..] => Err(BatchError::RecordAttributes { record: self.record }),
            [] => Err(BatchError::RecordCut { record: self.record }),
        }
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<i32, BatchError> {
        varint::take_i32(&mut self.rest).map_err(|error| varint_error(error, self.record))
    }

    #[inline(always)]
    fn varlong(&mut self) -> Result<i64, BatchError> {
        varint::take_i64(&mut self.rest).map_err(|error| varint_error(error, self.record))
    }

    #[inline(always)]
    fn nullable(&mut self) -> Result<Option<Range<usize>>, BatchError> {
        match self.varint()? {
            -1 => Ok(None),
            length => self.bytes(length).map(Some),
        }
    }

    #[inline(always)]
    fn bytes(&mut self, length: i32) -> Result<Range<usize>, BatchError> {
        let length = usize::try_from(length).map_err(|_| BatchError::NegativeLength { record: self.record })?;
        let from = self.at();
        self.rest = self.rest.get(length..).ok_or(BatchError::RecordCut { record: self.record })?;
        Ok(from..from + length)
    }

    /// A part that is there is no longer than its limit.
    #[inline(always)]
    fn within(&self, part: RecordPart, span: Option<&Range<usize>>, max: usize) -> Result<(), BatchError> {
        match span {
            Some(span) if span.len() > max => {
                Err(BatchError::PartBytes { record: self.record, part, bytes: span.len(), max })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A header takes at least two bytes, which bounds their number before anything is read.
    #[inline]
    fn header_count(&mut self, headers_max: usize) -> Result<u32, BatchError> {
        let record = self.record;
        let count = u32::try_from(self.varint()?).map_err(|_| BatchError::NegativeLength { record })?;
        let wide = usize::try_from(count).unwrap_or(usize::MAX);
        if wide > headers_max {
            return Err(BatchError::TooManyHeaders { record, headers: count, max: headers_max });
        }
        if wide > self.rest.len() / 2 {
            return Err(BatchError::RecordCut { record });
        }
        Ok(count)
    }

    #[inline(always)]
    fn header(&mut self) -> Result<HeaderFieldSpans, BatchError> {
        let length = self.varint()?;
        let key = self.bytes(length)?;
        let value = self.nullable()?;
        Ok(HeaderFieldSpans { key, value })
    }
}

fn varint_error(error: VarintError, record: u32) -> BatchError {
    match error {
        VarintError::Truncated => BatchError::RecordCut { record },
        VarintError::Overlong => BatchError::Overlong { record },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], count: u32, expected: Result<&str, BatchError>) {
        let text = |bytes: Option<&[u8]>| bytes.map_or("null".into(), String::from_utf8_lossy).into_owned();
        let read = Headers::read(bytes, count).map(|headers| {
            assert_eq!(headers.count(), count);
            headers.iter().map(|header| text(Some(header.key)) + "=" + &text(header.value) + ";").collect::<String>()
        });
        assert_eq!(read, expected.map(String::from));
    }

    #[test]
    fn headers_fill_their_bytes() {
        check(&[], 0, Ok(""));
        check(&[2, b'a', 1, 2, b'a', 2, b'b'], 2, Ok("a=null;a=b;"));
        check(&[2, b'a', 1, 2, b'a', 2, b'b'], 1, Err(BatchError::RecordLength { record: 0 }));
        check(&[2, b'a', 1], 2, Err(BatchError::RecordCut { record: 0 }));
        check(&[1, 1], 1, Err(BatchError::NegativeLength { record: 0 }));
    }
}
