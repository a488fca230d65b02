//! The Fetch response: where the records of each partition stand, and how weir's decisions are written into it.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::answer::{FetchRefusal, by_topic, put_topic};
use crate::api::ApiKey;
use crate::envelope::{RecordsField, TopicKey, TopicRef, int16, int32, put_size, read, size, span};
use crate::guard::walk::{ArrayPrefix, Value, Visitor};
use crate::guard::{Fault, GuardError, Response};
use crate::schema::id::fetch_response as id;
use crate::schema::{self, Field, Kind};
use crate::splice::{Splices, compact_string, put_unsigned_varint};

/// The preferred read replica when there is none (KIP-392).
const NO_REPLICA: i32 = -1;

/// A Fetch response, by its spans.
///
/// Fields that the version lacks have the value that a client assumes, and no span.
#[derive(Debug, Clone)]
pub struct FetchResponse {
    /// How long a quota held the answer, in milliseconds.
    pub throttle_time_ms: i32,
    /// The error of the whole request, from version 7.
    pub error_code: i16,
    /// The fetch session, 0 for none, from version 7.
    pub session_id: i32,
    /// Where `session_id` stands, from version 7.
    pub session_id_at: Option<Range<usize>>,
    /// The topics, in response order.
    pub topics: Vec<FetchedTopic>,
    /// Addresses of leaders that partitions name, from version 16 (KIP-951).
    pub node_endpoints: Vec<NodeEndpoint>,
    topics_count_at: Range<usize>,
    topics_end: usize,
    tags_at: Option<Range<usize>>,
    version: i16,
    flexible: bool,
}

/// One topic of a Fetch response.
#[derive(Debug, Clone)]
pub struct FetchedTopic {
    /// Its name, or its id from version 13 on.
    pub topic: TopicRef,
    /// The partitions, in response order.
    pub partitions: Vec<FetchedPartition>,
    key: TopicKey,
    partitions_count_at: Range<usize>,
    partitions_end: usize,
}

/// One partition of a Fetch response.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// The partition's number.
    pub index: i32,
    /// The error of this partition, 0 for none.
    pub error_code: i16,
    /// Where `error_code` stands.
    pub error_code_at: Range<usize>,
    /// The offset up to which replicas have the log.
    pub high_watermark: i64,
    /// The broker from which the consumer should read instead, -1 for none, from version 11 (KIP-392).
    pub preferred_read_replica: i32,
    /// The record batches without the length in front; `None` is null.
    pub records: Option<Range<usize>>,
    preferred_read_replica_at: Option<Range<usize>>,
    field: RecordsField,
}

/// The address of a broker in a Fetch response.
#[derive(Debug, Clone)]
pub struct NodeEndpoint {
    /// The broker's id.
    pub node_id: i32,
    /// The host name with the length in front.
    pub host: Range<usize>,
    /// The port.
    pub port: Range<usize>,
    /// The rack, encoded; it survives when the address is written anew.
    rack: Bytes,
}

impl FetchResponse {
    /// Reads a frame that the guard checked.
    ///
    /// # Errors
    ///
    /// [`GuardError`] when it is not the Fetch response that was checked.
    pub fn read(frame: &[u8], version: i16, response: &Response) -> Result<Self, GuardError> {
        let schemas = schema::api(ApiKey::Fetch.code())
            .filter(|schemas| schemas.response.versions.contain(version))
            .ok_or(GuardError::UnsupportedVersion { api: ApiKey::Fetch, version })?;
        let mut fetched = Self {
            throttle_time_ms: 0,
            error_code: 0,
            session_id: 0,
            session_id_at: None,
            topics: Vec::new(),
            node_endpoints: Vec::new(),
            topics_count_at: 0..0,
            topics_end: 0,
            tags_at: None,
            version,
            flexible: schemas.response.flexible.contain(version),
        };
        read(frame, response.body, &schemas.response, version, &mut fetched)?;
        Ok(fetched)
    }

    /// Says that there is no fetch session.
    pub fn make_sessionless(&self, splices: &mut Splices) {
        if let Some(at) = self.session_id_at.clone().filter(|_| self.session_id != 0) {
            splices.replace(at, int32(0));
        }
    }

    /// Puts `records`, which may be empty, in the place of one partition's, with their length in front. A partition
    /// that does not exist is left alone.
    pub fn replace_records(&self, topic: usize, partition: usize, records: Bytes, splices: &mut Splices) {
        if let Some(partition) = self.partition_at(topic, partition) {
            partition.field.replace(records, self.flexible, splices);
        }
    }

    /// Gives one partition an error, and takes its records out.
    pub fn set_partition_error(&self, topic: usize, partition: usize, code: i16, splices: &mut Splices) {
        if let Some(partition) = self.partition_at(topic, partition) {
            splices.replace(partition.error_code_at.clone(), int16(code));
            if partition.records.is_some() {
                partition.field.replace(Bytes::new(), self.flexible, splices);
            }
        }
    }

    /// Takes the hint to read from another broker out, for one that clients cannot reach.
    pub fn clear_preferred_read_replica(&self, topic: usize, partition: usize, splices: &mut Splices) {
        if let Some(partition) = self.partition_at(topic, partition)
            && let Some(at) = partition.preferred_read_replica_at.clone()
        {
            splices.replace(at, int32(NO_REPLICA));
        }
    }

    /// Gives each endpoint, in the order of [`Self::node_endpoints`], the address in `addresses`, or takes it out where
    /// there is none.
    ///
    /// An endpoint without an element in `addresses` goes as well: a broker's own address never reaches a client. Where
    /// all go the tag goes, and the client asks for metadata instead.
    pub fn rewrite_endpoints<H, P>(&self, addresses: &[Option<(H, P)>], splices: &mut Splices)
    where
        H: AsRef<str>,
        P: Copy + Into<i32>,
    {
        let Some(tags_at) = self.tags_at.clone().filter(|_| !self.node_endpoints.is_empty()) else { return };
        let pairs = self.node_endpoints.iter().zip(addresses);
        let kept = || pairs.clone().filter_map(|(endpoint, address)| Some((endpoint, address.as_ref()?)));
        let mut value = BytesMut::new();
        put_size(kept().count(), true, &mut value);
        for (endpoint, (host, port)) in kept() {
            value.put_i32(endpoint.node_id);
            value.put_slice(&compact_string(host.as_ref()));
            value.put_i32((*port).into());
            value.put_slice(&endpoint.rack);
            put_unsigned_varint(0, &mut value);
        }
        let mut tags = BytesMut::new();
        if kept().next().is_none() {
            put_unsigned_varint(0, &mut tags);
        } else {
            put_unsigned_varint(1, &mut tags);
            put_unsigned_varint(NODE_ENDPOINTS_TAG, &mut tags);
            put_unsigned_varint(u32::try_from(value.len()).unwrap_or(u32::MAX), &mut tags);
            tags.put_slice(&value);
        }
        splices.replace(tags_at, tags.freeze());
    }

    /// Adds partitions that were refused before the broker saw them: their code, no records, unknown offsets.
    ///
    /// They join the entry of their topic where the response has one, since some clients (sarama) keep only the last
    /// entry of a topic. To be called once.
    pub fn add_errors(&self, refusals: &[FetchRefusal], splices: &mut Splices) {
        let more = by_topic(refusals, self.version);
        if more.is_empty() {
            return;
        }
        // The last entry, should a broker repeat a topic: that is the one such clients keep.
        let known: BTreeMap<&TopicKey, &FetchedTopic> = self.topics.iter().map(|topic| (&topic.key, topic)).collect();
        let (mut topics, mut added) = (BytesMut::new(), 0_usize);
        for (key, partitions) in more {
            if let Some(topic) = known.get(key) {
                let count = topic.partitions.len().saturating_add(partitions.count);
                splices.replace(topic.partitions_count_at.clone(), size(count, self.flexible));
                splices.insert(topic.partitions_end, partitions.encoded.freeze());
            } else {
                added = added.saturating_add(1);
                put_topic(key, &partitions, self.version, &mut topics);
            }
        }
        if added > 0 {
            splices.replace(self.topics_count_at.clone(), size(self.topics.len().saturating_add(added), self.flexible));
            splices.insert(self.topics_end, topics.freeze());
        }
    }

    fn partition_at(&self, topic: usize, partition: usize) -> Option<&FetchedPartition> {
        self.topics.get(topic)?.partitions.get(partition)
    }

    fn partition_value(&mut self, field: u16, value: &Value<'_>) {
        let Some(partition) = self.topics.last_mut().and_then(|topic| topic.partitions.last_mut()) else { return };
        match field {
            id::RESPONSES_PARTITIONS_PARTITION_INDEX => partition.index = value.int32(),
            id::RESPONSES_PARTITIONS_ERROR_CODE => {
                (partition.error_code, partition.error_code_at) = (value.int16(), value.whole.clone());
            }
            id::RESPONSES_PARTITIONS_HIGH_WATERMARK => partition.high_watermark = value.int64(),
            id::RESPONSES_PARTITIONS_PREFERRED_READ_REPLICA => {
                partition.preferred_read_replica = value.int32();
                partition.preferred_read_replica_at = span(value);
            }
            id::RESPONSES_PARTITIONS_RECORDS => {
                partition.records = value.content.clone();
                partition.field = RecordsField::new(value);
            }
            _ => {}
        }
    }

    fn endpoint_value(&mut self, field: u16, value: &Value<'_>) {
        let Some(endpoint) = self.node_endpoints.last_mut() else { return };
        match field {
            id::NODE_ENDPOINTS_NODE_ID => endpoint.node_id = value.int32(),
            id::NODE_ENDPOINTS_HOST => endpoint.host = value.whole.clone(),
            id::NODE_ENDPOINTS_PORT => endpoint.port = value.whole.clone(),
            id::NODE_ENDPOINTS_RACK => endpoint.rack = Bytes::copy_from_slice(value.encoded()),
            _ => {}
        }
    }
}

impl Visitor for FetchResponse {
    fn value(&mut self, field: &'static Field, value: &Value<'_>) -> Result<(), Fault> {
        match field.id {
            id::THROTTLE_TIME_MS => self.throttle_time_ms = value.int32(),
            id::ERROR_CODE => self.error_code = value.int16(),
            id::SESSION_ID => (self.session_id, self.session_id_at) = (value.int32(), span(value)),
            id::RESPONSES_TOPIC => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.topic = TopicRef::name(value);
                    topic.key = TopicKey::Name(String::from_utf8_lossy(value.bytes()).into_owned());
                }
            }
            id::RESPONSES_TOPIC_ID => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.topic = TopicRef::Id(value.uuid());
                    topic.key = TopicKey::Id(value.uuid());
                }
            }
            id::NODE_ENDPOINTS_NODE_ID
            | id::NODE_ENDPOINTS_HOST
            | id::NODE_ENDPOINTS_PORT
            | id::NODE_ENDPOINTS_RACK => self.endpoint_value(field.id, value),
            other => self.partition_value(other, value),
        }
        Ok(())
    }

    fn array_begin(&mut self, field: &'static Field, _element: Kind, array: &ArrayPrefix) -> Result<(), Fault> {
        match field.id {
            id::RESPONSES => self.topics_count_at = array.at.clone(),
            id::RESPONSES_PARTITIONS => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.partitions_count_at = array.at.clone();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn array_end(&mut self, field: &'static Field, at: usize) -> Result<(), Fault> {
        match field.id {
            id::RESPONSES => self.topics_end = at,
            id::RESPONSES_PARTITIONS => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.partitions_end = at;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn struct_begin(&mut self, field: &'static Field, at: usize) {
        match field.id {
            id::RESPONSES => self.topics.push(FetchedTopic {
                topic: TopicRef::UNKNOWN,
                partitions: Vec::new(),
                key: TopicKey::Name(String::new()),
                partitions_count_at: at..at,
                partitions_end: at,
            }),
            id::RESPONSES_PARTITIONS => {
                let partition = FetchedPartition {
                    index: 0,
                    error_code: 0,
                    error_code_at: at..at,
                    high_watermark: 0,
                    preferred_read_replica: NO_REPLICA,
                    records: None,
                    preferred_read_replica_at: None,
                    field: RecordsField::default(),
                };
                if let Some(topic) = self.topics.last_mut() {
                    topic.partitions.push(partition);
                }
            }
            id::NODE_ENDPOINTS => {
                let endpoint = NodeEndpoint { node_id: 0, host: at..at, port: at..at, rack: Bytes::new() };
                self.node_endpoints.push(endpoint);
            }
            _ => {}
        }
    }

    fn tags_end(&mut self, owner: Option<&'static Field>, section: Range<usize>) {
        if owner.is_none() {
            self.tags_at = Some(section);
        }
    }
}

/// The tag of `NodeEndpoints` in the message schema.
const NODE_ENDPOINTS_TAG: u32 = 0;
