//! Produce (0), request versions 3-13. Transactional ids from 3 (KIP-98), flexible from 9, topic ids from 13 (KIP-516).

use std::ops::Range;

use bytes::Bytes;

use super::{RecordsField, TopicRef, TopicSpans, int16, read};
use crate::api::ApiKey;
use crate::guard::walk::{ArrayPrefix, Value, Visitor};
use crate::guard::{Fault, GuardError, Request};
use crate::schema::id::produce_request as id;
use crate::schema::{self, Field, Kind};
use crate::splice::Splices;

/// A Produce request, by its spans.
#[derive(Debug, Clone)]
pub struct ProduceRequest {
    /// The transactional id, UTF-8; `None` outside a transaction.
    pub transactional_id: Option<Range<usize>>,
    /// Replicas that have to have the records before the answer: 0, 1 or -1 for all. Other numbers pass the guard.
    pub acks: i16,
    /// Where `acks` stands.
    pub acks_at: Range<usize>,
    /// How long the broker may wait for replicas, in milliseconds.
    pub timeout_ms: i32,
    /// The topics, in request order.
    pub topics: Vec<ProduceTopic>,
    topics_count_at: Range<usize>,
    flexible: bool,
}

/// One topic of a Produce request.
#[derive(Debug, Clone)]
pub struct ProduceTopic {
    /// Its name, or its id from version 13 on.
    pub topic: TopicRef,
    /// The partitions, in request order.
    pub partitions: Vec<ProducePartition>,
    whole: Range<usize>,
    partitions_count_at: Range<usize>,
}

/// One partition of a Produce request.
#[derive(Debug, Clone)]
pub struct ProducePartition {
    /// The partition's number.
    pub index: i32,
    /// The record batch without the length in front; `None` is null.
    pub records: Option<Range<usize>>,
    whole: Range<usize>,
    field: RecordsField,
}

impl ProduceRequest {
    /// Reads a frame that the guard checked.
    ///
    /// # Errors
    ///
    /// [`GuardError`] when it is not the Produce request that was checked.
    pub fn read(frame: &[u8], request: &Request) -> Result<Self, GuardError> {
        let schemas = schema::api(ApiKey::Produce.code())
            .filter(|_| request.api == ApiKey::Produce)
            .ok_or(GuardError::UnknownApi { api_key: request.api.code() })?;
        let mut produce = Self {
            transactional_id: None,
            acks: 0,
            acks_at: 0..0,
            timeout_ms: 0,
            topics: Vec::new(),
            topics_count_at: 0..0,
            flexible: schemas.request.flexible.contain(request.version),
        };
        read(frame, request.body, &schemas.request, request.version, &mut produce)?;
        Ok(produce)
    }

    /// Asks for another number of replicas.
    pub fn set_acks(&self, acks: i16, splices: &mut Splices) {
        splices.replace(self.acks_at.clone(), int16(acks));
    }

    /// Puts `records` in the place of one partition's, with their length in front. A partition that does not exist is
    /// left alone.
    pub fn replace_records(&self, topic: usize, partition: usize, records: Bytes, splices: &mut Splices) {
        if let Some(partition) = self.topics.get(topic).and_then(|topic| topic.partitions.get(partition)) {
            partition.field.replace(records, self.flexible, splices);
        }
    }

    /// Keeps the partitions for which `keep(topic, partition)` holds, both by their place in the request, and drops
    /// topics that are left without one.
    pub fn retain(&self, keep: impl Fn(usize, usize) -> bool, splices: &mut Splices) {
        super::retain(
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

    fn partition(&mut self) -> Option<&mut ProducePartition> {
        self.topics.last_mut()?.partitions.last_mut()
    }
}

impl Visitor for ProduceRequest {
    fn value(&mut self, field: &'static Field, value: &Value<'_>) -> Result<(), Fault> {
        match field.id {
            id::TRANSACTIONAL_ID => self.transactional_id = value.content.clone(),
            id::ACKS => (self.acks, self.acks_at) = (value.int16(), value.whole.clone()),
            id::TIMEOUT_MS => self.timeout_ms = value.int32(),
            id::TOPIC_DATA_NAME => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.topic = TopicRef::name(value);
                }
            }
            id::TOPIC_DATA_TOPIC_ID => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.topic = TopicRef::Id(value.uuid());
                }
            }
            id::TOPIC_DATA_PARTITION_DATA_INDEX => {
                if let Some(partition) = self.partition() {
                    partition.index = value.int32();
                }
            }
            id::TOPIC_DATA_PARTITION_DATA_RECORDS => {
                if let Some(partition) = self.partition() {
                    partition.records = value.content.clone();
                    partition.field = RecordsField::new(value);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn array_begin(&mut self, field: &'static Field, _element: Kind, array: &ArrayPrefix) -> Result<(), Fault> {
        match field.id {
            id::TOPIC_DATA => self.topics_count_at = array.at.clone(),
            id::TOPIC_DATA_PARTITION_DATA => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.partitions_count_at = array.at.clone();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn struct_begin(&mut self, field: &'static Field, at: usize) {
        match field.id {
            id::TOPIC_DATA => self.topics.push(ProduceTopic {
                topic: TopicRef::UNKNOWN,
                partitions: Vec::new(),
                whole: at..at,
                partitions_count_at: at..at,
            }),
            id::TOPIC_DATA_PARTITION_DATA => {
                let partition =
                    ProducePartition { index: 0, records: None, whole: at..at, field: RecordsField::default() };
                if let Some(topic) = self.topics.last_mut() {
                    topic.partitions.push(partition);
                }
            }
            _ => {}
        }
    }

    fn struct_end(&mut self, field: &'static Field, at: usize) {
        match field.id {
            id::TOPIC_DATA => {
                if let Some(topic) = self.topics.last_mut() {
                    topic.whole.end = at;
                }
            }
            id::TOPIC_DATA_PARTITION_DATA => {
                if let Some(partition) = self.partition() {
                    partition.whole.end = at;
                }
            }
            _ => {}
        }
    }
}
