//! Parts of a Fetch response that weir writes itself.

use std::collections::BTreeMap;

use bytes::{BufMut as _, BytesMut};

use crate::api::ApiKey;
use crate::envelope::{TopicKey, put_size};
use crate::splice::{classic_string, compact_string, put_unsigned_varint};

/// Partitions of one topic that are answered without the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRefusal {
    /// The topic, as the request named it.
    pub topic: TopicKey,
    /// The partitions that were asked for.
    pub partitions: Vec<i32>,
    /// Kafka's error code.
    pub code: i16,
}

/// A whole Fetch response, without the size in front, when nothing is left to ask a broker for.
///
/// `code` is the error of the whole response, 0 for none; versions below 7 have no place for it.
#[must_use]
pub fn fetch_error_response(version: i16, correlation_id: i32, refusals: &[FetchRefusal], code: i16) -> BytesMut {
    let flexible = is_flexible(version);
    let mut frame = BytesMut::with_capacity(64);
    frame.put_i32(correlation_id);
    if flexible {
        put_unsigned_varint(0, &mut frame);
    }
    // The throttle time, in every version from 1.
    frame.put_i32(0);
    if version >= 7 {
        frame.put_i16(code);
        // No fetch session.
        frame.put_i32(0);
    }
    let topics = by_topic(refusals, version);
    put_size(topics.len(), flexible, &mut frame);
    for (topic, partitions) in topics {
        put_topic(topic, &partitions, version, &mut frame);
    }
    if flexible {
        put_unsigned_varint(0, &mut frame);
    }
    frame
}

/// Partitions in the encoding of one version.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    pub(super) count: usize,
    pub(super) encoded: BytesMut,
}

/// The refused partitions of each topic, under one entry a topic.
pub(super) fn by_topic(refusals: &[FetchRefusal], version: i16) -> BTreeMap<&TopicKey, Partitions> {
    let mut topics: BTreeMap<&TopicKey, Partitions> = BTreeMap::new();
    for refusal in refusals.iter().filter(|refusal| !refusal.partitions.is_empty()) {
        let topic = topics.entry(&refusal.topic).or_default();
        topic.count = topic.count.saturating_add(refusal.partitions.len());
        refusal.partitions.iter().for_each(|index| put_partition(*index, refusal.code, version, &mut topic.encoded));
    }
    topics
}

/// Appends a topic.
pub(super) fn put_topic(topic: &TopicKey, partitions: &Partitions, version: i16, to: &mut BytesMut) {
    let flexible = is_flexible(version);
    match topic {
        TopicKey::Name(name) if flexible => to.put_slice(&compact_string(name)),
        TopicKey::Name(name) => to.put_slice(&classic_string(name)),
        TopicKey::Id(id) => to.put_slice(id.as_bytes()),
    }
    put_size(partitions.count, flexible, to);
    to.put_slice(&partitions.encoded);
    if flexible {
        put_unsigned_varint(0, to);
    }
}

/// Appends a partition with an error, no records and unknown offsets.
fn put_partition(index: i32, code: i16, version: i16, to: &mut BytesMut) {
    const UNKNOWN_OFFSET: i64 = -1;
    let flexible = is_flexible(version);
    to.put_i32(index);
    to.put_i16(code);
    // The high watermark and the last stable offset, then the log's start, then no aborted transaction.
    to.put_i64(UNKNOWN_OFFSET);
    to.put_i64(UNKNOWN_OFFSET);
    if version >= 5 {
        to.put_i64(UNKNOWN_OFFSET);
    }
    put_size(0, flexible, to);
    if version >= 11 {
        // No preferred read replica.
        to.put_i32(-1);
    }
    put_size(0, flexible, to);
    if flexible {
        put_unsigned_varint(0, to);
    }
}

fn is_flexible(version: i16) -> bool {
    ApiKey::Fetch.is_flexible(version)
}
