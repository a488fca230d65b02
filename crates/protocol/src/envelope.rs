//! Cursors over the envelopes that carry records: spans of what weir reads and edits, nothing copied.
//!
//! A cursor is filled by one walk over a frame that passed the guard, so there is one reading of the bytes, the schema
//! table's. Edits leave as [`Splices`] over the same frame. Several edits of one cursor may go into one `Splices`, and
//! so may the frame's cleaning: first the cleaning, then the edits, of which the outer and the later one wins.

pub mod fetch;
pub mod produce;

use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use crate::guard::walk::{Value, Visitor, Walk};
use crate::guard::{Content, GuardError};
use crate::schema::Message;
use crate::splice::{Splices, put_unsigned_varint};

pub use self::fetch::{
    FetchPartition, FetchRefusal, FetchRequest, FetchResponse, FetchTopic, FetchedPartition, FetchedTopic,
    NodeEndpoint, fetch_error_response,
};
pub use self::produce::{ProducePartition, ProduceRequest, ProduceTopic};

/// How a frame names a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRef {
    /// By name: the span of its UTF-8 bytes.
    Name(Range<usize>),
    /// By id (KIP-516), from Produce 13 and Fetch 13 on.
    Id(Uuid),
}

impl TopicRef {
    /// The place of a name that the walk has not met yet.
    const UNKNOWN: Self = Self::Name(0..0);

    fn name(value: &Value<'_>) -> Self {
        Self::Name(value.content.clone().unwrap_or_default())
    }
}

/// A topic, away from the frame that named it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKey {
    /// By name.
    Name(String),
    /// By id.
    Id(Uuid),
}

/// Walks a checked body once more, for a cursor.
fn read(
    frame: &[u8],
    body: usize,
    message: &'static Message,
    version: i16,
    visitor: &mut impl Visitor,
) -> Result<(), GuardError> {
    let flexible = message.flexible.contain(version);
    Walk::new(frame, body, version, flexible, visitor).body(message.fields).map_err(|failure| failure.of(message.name))
}

/// The place of a `records` field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct RecordsField {
    length_at: Range<usize>,
    content: Range<usize>,
}

impl RecordsField {
    fn new(value: &Value<'_>) -> Self {
        let content = value.content.clone().unwrap_or(value.whole.end..value.whole.end);
        Self { length_at: value.whole.start..content.start, content }
    }

    /// Puts `records` in the place of what is there, with their length in front.
    fn replace(&self, records: Bytes, flexible: bool, splices: &mut Splices) {
        let length = size(records.len(), flexible);
        if self.content.is_empty() {
            // An insertion at the end of the field would not belong to it any more: it would outlive the removal of the
            // partition.
            let mut whole = BytesMut::from(length.as_ref());
            whole.put_slice(&records);
            splices.replace(self.length_at.clone(), whole.freeze());
        } else {
            splices.replace(self.length_at.clone(), length);
            splices.replace(self.content.clone(), records);
        }
    }
}

/// Where the count of an array and each of its elements stand, for dropping some.
struct TopicSpans<'a, P> {
    whole: &'a Range<usize>,
    count_at: &'a Range<usize>,
    partitions: &'a [P],
}

/// Drops partitions, and topics that are left without one, and corrects the counts.
fn retain<T, P>(
    (topics, count_at): (&[T], &Range<usize>),
    spans: impl Fn(&T) -> TopicSpans<'_, P>,
    partition_span: impl Fn(&P) -> &Range<usize>,
    keep: impl Fn(usize, usize) -> bool,
    flexible: bool,
    splices: &mut Splices,
) {
    let mut dropped = Vec::new();
    let mut topics_kept = 0_usize;
    for (topic_at, topic) in topics.iter().enumerate() {
        let spans = spans(topic);
        dropped.clear();
        let partitions = spans.partitions.iter().enumerate();
        dropped
            .extend(partitions.filter(|(at, _)| !keep(topic_at, *at)).map(|(_, partition)| partition_span(partition)));
        if dropped.len() == spans.partitions.len() {
            splices.remove(spans.whole.clone());
            continue;
        }
        topics_kept = topics_kept.saturating_add(1);
        if !dropped.is_empty() {
            splices
                .replace(spans.count_at.clone(), size(spans.partitions.len().saturating_sub(dropped.len()), flexible));
            dropped.iter().for_each(|span| splices.remove((*span).clone()));
        }
    }
    if topics_kept < topics.len() {
        splices.replace(count_at.clone(), size(topics_kept, flexible));
    }
}

/// A count, or the length of bytes, in either encoding.
fn size(number: usize, flexible: bool) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5);
    put_size(number, flexible, &mut bytes);
    bytes.freeze()
}

/// Appends a count, or the length of bytes. One that Kafka cannot carry becomes the largest, which every peer refuses.
fn put_size(number: usize, flexible: bool, to: &mut BytesMut) {
    if flexible {
        put_unsigned_varint(u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1), to);
    } else {
        to.put_i32(i32::try_from(number).unwrap_or(i32::MAX));
    }
}

fn int16(number: i16) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn int32(number: i32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// An empty section of tagged fields.
fn no_tags() -> Bytes {
    Bytes::from_static(&[0])
}

/// The span of a value that cannot be null.
fn span(value: &Value<'_>) -> Content {
    value.content.clone()
}
