//! The Fetch request: what a consumer asks for, and how it is made a plain consumer's.

use std::ops::Range;

use crate::api::ApiKey;
use crate::envelope::{TopicRef, TopicSpans, int32, no_tags, read, retain, size, span};
use crate::guard::walk::{ArrayPrefix, Value, Visitor};
use crate::guard::{Fault, GuardError, Request};
use crate::schema::id::fetch_request as id;
use crate::schema::{self, Field, Kind};
use crate::splice::Splices;

/// The replica id of a consumer.
const CONSUMER: i32 = -1;

/// The session id of a request without a session (KIP-227).
const NO_SESSION: i32 = 0;

/// The session epoch of a request without a session (KIP-227).
const FINAL_EPOCH: i32 = -1;

/// A Fetch request, by its spans.
///
/// Fields that the version lacks have the value that the broker assumes, and no span.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The follower's broker id, -1 for a consumer; from the field or from the `ReplicaState` tag.
    pub replica_id: i32,
    /// Where the field stands, up to version 14.
    pub replica_id_at: Option<Range<usize>>,
    /// How long the broker may wait for bytes, in milliseconds.
    pub max_wait_ms: i32,
    /// Where `max_wait_ms` stands.
    pub max_wait_ms_at: Range<usize>,
    /// The bytes that the broker waits for.
    pub min_bytes: i32,
    /// Where `min_bytes` stands.
    pub min_bytes_at: Range<usize>,
    /// The bytes that the answer should not exceed.
    pub max_bytes: i32,
    /// Where `max_bytes` stands.
    pub max_bytes_at: Range<usize>,
    /// 0 reads uncommitted records too, 1 committed ones only.
    pub isolation_level: i8,
    /// The fetch session, 0 for none.
    pub session_id: i32,
    /// Where `session_id` stands, from version 7.
    pub session_id_at: Option<Range<usize>>,
    /// The epoch of the session: -1 for none, 0 to open one.
    pub session_epoch: i32,
    /// Where `session_epoch` stands, from version 7.
    pub session_epoch_at: Option<Range<usize>>,
    /// The topics, in request order. One may stand there several times, with different partitions.
    pub topics: Vec<FetchTopic>,
    /// The whole array of topics to forget in the session, count included, from version 7.
    pub forgotten_topics_at: Option<Range<usize>>,
    /// The consumer's rack, UTF-8, from version 11.
    pub rack_id: Option<Range<usize>>,
    topics_count_at: Range<usize>,
    tags_at: Option<Range<usize>>,
    /// Tagged sections of partitions that are not empty: only followers send them.
    partition_tags_at: Vec<Range<usize>>,
    flexible: bool,
}

/// One topic of a Fetch request.
#[derive(Debug, Clone)]
pub struct FetchTopic {
    /// Its name, or its id from version 13 on.
    pub topic: TopicRef,
    /// The partitions, in request order.
    pub partitions: Vec<FetchPartition>,
    whole: Range<usize>,
    partitions_count_at: Range<usize>,
}

/// One partition of a Fetch request.
#[derive(Debug, Clone)]
pub struct FetchPartition {
    /// The partition's number.
    pub index: i32,
    /// The offset to read from.
    pub fetch_offset: i64,
    /// The bytes that this partition's share of the answer should not exceed.
    pub max_bytes: i32,
    /// Where `max_bytes` stands.
    pub max_bytes_at: Range<usize>,
    whole: Range<usize>,
}

impl FetchRequest {
    /// Reads a frame that the guard checked.
    ///
    /// # Errors
    ///
    /// [`GuardError`] when it is not the Fetch request that was checked.
    pub fn read(frame: &[u8], request: &Request) -> Result<Self, GuardError> {
        let schemas = schema::api(ApiKey::Fetch.code())
            .filter(|_| request.api == ApiKey::Fetch)
            .ok_or(GuardError::UnknownApi { api_key: request.api.code() })?;
        let mut fetch = Self {
            replica_id: CONSUMER,
            replica_id_at: None,
            max_wait_ms: 0,
            max_wait_ms_at: 0..0,
            min_bytes: 0,
            min_bytes_at: 0..0,
            max_bytes: i32::MAX,
            max_bytes_at: 0..0,
            isolation_level: 0,
            session_id: NO_SESSION,
            session_id_at: None,
            session_epoch: FINAL_EPOCH,
            session_epoch_at: None,
            topics: Vec::new(),
            forgotten_topics_at: None,
            rack_id: None,
            topics_count_at: 0..0,
            tags_at: None,
            partition_tags_at: Vec::new(),
            flexible: schemas.request.flexible.contain(request.version),
        };
        read(frame, request.body, &schemas.request, request.version, &mut fetch)?;
        Ok(fetch)
    }

    /// Makes it the request of a consumer without a session.
    ///
    /// Sessions are not bound to a principal, so that somebody else's could be replayed (KIP-227); a replica id reads
    /// past the high watermark. The tags, `ClusterId`, `ReplicaState` and what followers say about partitions, go.
    pub fn make_sessionless(&self, splices: &mut Splices) {
        if let Some(at) = self.replica_id_at.clone().filter(|_| self.replica_id != CONSUMER) {
            splices.replace(at, int32(CONSUMER));
        }
        if let Some(at) = self.session_id_at.clone().filter(|_| self.session_id != NO_SESSION) {
            splices.replace(at, int32(NO_SESSION));
        }
        if let Some(at) = self.session_epoch_at.clone().filter(|_| self.session_epoch != FINAL_EPOCH) {
            splices.replace(at, int32(FINAL_EPOCH));
        }
        let nothing = size(0, self.flexible);
        if let Some(at) = self.forgotten_topics_at.clone().filter(|at| at.len() > nothing.len()) {
            splices.replace(at, nothing);
        }
        for at in self.tags_at.iter().chain(&self.partition_tags_at) {
            if at.len() > 1 {
                splices.replace(at.clone(), no_tags());
            }
        }
    }

    /// Asks for at most `max` bytes, of the whole and of each partition.
    pub fn clamp_max_bytes(&self, max: i32, splices: &mut Splices) {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        let partitions = partitions.map(|partition| (partition.max_bytes, &partition.max_bytes_at));
        for (bytes, at) in std::iter::once((self.max_bytes, &self.max_bytes_at)).chain(partitions) {
            if bytes > max && !at.is_empty() {
                splices.replace(at.clone(), int32(max));
            }
        }
    }

    /// Keeps the partitions for which `keep(topic, partition)` holds, both by their place in the request, and drops
    /// topics that are left without one.
    pub fn retain(&self, keep: impl Fn(usize, usize) -> bool, splices: &mut Splices) {
        retain(
            (&self.topics, &self.topics_count_at),
            |topic| TopicSpans {
                whole: &topic.whole,
                count_at: &topic.partitions_count_at,
                partitions: &topic.partitions,
            },
            |partition| &partition.whole,
            keep,
            self.flexible,
            splices,
        );
    }

    fn partition(&mut self) -> Option<&mut FetchPartition> {
        self.topics.last_mut()?.partitions.last_mut()
    }

    fn partition_value(&mut self, field: u16, value: &Value<'_>) {
        let Some(partition) = self.partition() else { return };
        match field {
            id::TOPICS_PARTITIONS_PARTITION => partition.index = value.int32(),
            id::TOPICS_PARTITIONS_FETCH_OFFSET => partition.fetch_offset = value.int64(),
            id::TOPICS_PARTITIONS_PARTITION_MAX_BYTES => {
                (partition.max_bytes, partition.max_bytes_at) = (value.int32(), value.whole.clone());
            }
            _ => {}
        }
    }
}

impl Visitor for FetchRequest {
    fn value(&mut self, field: &'static Field, value: &Value<'_>) -> Result<(), Fault> {
        let at = || value.whole.clone();
        match field.id {
            id::REPLICA_ID => (self.replica_id, self.replica_id_at) = (value.int32(), span(value)),
            id::REPLICA_STATE_REPLICA_ID => self.replica_id = value.int32(),
            id::MAX_WAIT_MS => (self.max_wait_ms, self.max_wait_ms_at) = (value.int32(), at()),
            id::MIN_BYTES => (self.min_bytes, self.min_bytes_at) = (value.int32(), at()),
            id::MAX_BYTES => (self.max_bytes, self.max_bytes_at) = (value.int32(), at()),
            id::ISOLATION_LEVEL => self.isolation_level = value.int8(),
            id::SESSION_ID => (self.session_id, self.session_id_at) = (value.int32(), span(value)),
            id::SESSION_EPOCH => (self.session_epoch, self.session_epoch_at) = (value.int32(), span(value)),
            id::RACK_ID => self.rack_id = span(value),
            id::TOPICS_TOPIC => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.topic = TopicRef::name(value);
                }
            }
            id::TOPICS_TOPIC_ID => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.topic = TopicRef::Id(value.uuid());
                }
            }
            other => self.partition_value(other, value),
        }
        Ok(())
    }

    fn array_begin(&mut self, field: &'static Field, _element: Kind, array: &ArrayPrefix) -> Result<(), Fault> {
        match field.id {
            id::TOPICS => self.topics_count_at = array.at.clone(),
            id::TOPICS_PARTITIONS => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.partitions_count_at = array.at.clone();
                }
            }
            id::FORGOTTEN_TOPICS_DATA => self.forgotten_topics_at = Some(array.at.clone()),
            _ => {}
        }
        Ok(())
    }

    fn array_end(&mut self, field: &'static Field, at: usize) -> Result<(), Fault> {
        if let Some(forgotten) = self.forgotten_topics_at.as_mut().filter(|_| field.id == id::FORGOTTEN_TOPICS_DATA) {
            forgotten.end = at;
        }
        Ok(())
    }

    fn struct_begin(&mut self, field: &'static Field, at: usize) {
        match field.id {
            id::TOPICS => self.topics.push(FetchTopic {
                topic: TopicRef::UNKNOWN,
                partitions: Vec::new(),
                whole: at..at,
                partitions_count_at: at..at,
            }),
            id::TOPICS_PARTITIONS => {
                let partition =
                    FetchPartition { index: 0, fetch_offset: 0, max_bytes: 0, max_bytes_at: at..at, whole: at..at };
                if let Some(topic) = self.topics.last_mut() {
                    topic.partitions.push(partition);
                }
            }
            _ => {}
        }
    }

    fn struct_end(&mut self, field: &'static Field, at: usize) {
        match field.id {
            id::TOPICS => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.whole.end = at;
                }
            }
            id::TOPICS_PARTITIONS => {
                if let Some(partition) = self.partition() {
                    partition.whole.end = at;
                }
            }
            _ => {}
        }
    }

    fn tags_end(&mut self, owner: Option<&'static Field>, section: Range<usize>) {
        match owner.map(|field| field.id) {
            None => self.tags_at = Some(section),
            Some(id::TOPICS_PARTITIONS) if section.len() > 1 => self.partition_tags_at.push(section),
            Some(_) => {}
        }
    }
}
