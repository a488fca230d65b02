//! Requests and answers of the scenarios, short to write.

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, GroupId, HeartbeatRequest, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::batch::Batch;

/// The version of Produce that most scripts speak: the last one with topic names.
pub(crate) const PRODUCE: i16 = 12;
/// The first version of Produce with topic ids.
pub(crate) const PRODUCE_BY_ID: i16 = 13;
/// The version of Fetch that most scripts speak: the last one with topic names.
pub(crate) const FETCH: i16 = 12;
/// A version of Fetch with topic ids.
pub(crate) const FETCH_BY_ID: i16 = 16;
pub(crate) const METADATA: i16 = 12;
pub(crate) const HEARTBEAT: i16 = 4;

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// A Produce of one batch to partition 0 of one topic, acks=all.
pub(crate) fn produce(name: &str, batch: &Batch) -> ProduceRequest {
    produce_to(vec![(name, vec![(0, batch.encode())])])
}

pub(crate) fn produce_to(topics: Vec<(&str, Vec<(i32, Bytes)>)>) -> ProduceRequest {
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| {
            TopicProduceData::default().with_name(topic(name)).with_partition_data(data(partitions))
        })
        .collect();
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(topics)
}

pub(crate) fn produce_by_id(id: Uuid, batch: &Batch) -> ProduceRequest {
    let topic = TopicProduceData::default().with_topic_id(id).with_partition_data(data(vec![(0, batch.encode())]));
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
}

fn data(partitions: Vec<(i32, Bytes)>) -> Vec<PartitionProduceData> {
    let partition = |(index, records)| PartitionProduceData::default().with_index(index).with_records(Some(records));
    partitions.into_iter().map(partition).collect()
}

/// The broker stored everything, from this offset on, or answers this error.
pub(crate) fn produced(request: &ProduceRequest, base_offset: i64, error_code: i16) -> ProduceResponse {
    let responses = request.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|partition| {
            PartitionProduceResponse::default()
                .with_index(partition.index)
                .with_error_code(error_code)
                .with_base_offset(if error_code == 0 { base_offset } else { -1 })
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partition_responses(partitions.collect())
    });
    ProduceResponse::default().with_responses(responses.collect())
}

/// Index, error code and base offset of a partition.
type Answered = (i32, i16, i64);

/// What was answered of each partition, topic by topic.
pub(crate) fn codes(answer: &ProduceResponse) -> Vec<(String, Vec<Answered>)> {
    let partition = |p: &PartitionProduceResponse| (p.index, p.error_code, p.base_offset);
    let topic = |t: &TopicProduceResponse| (t.name.to_string(), t.partition_responses.iter().map(partition).collect());
    answer.responses.iter().map(topic).collect()
}

/// The error code of an answer about one partition.
pub(crate) fn code(answer: &ProduceResponse) -> i16 {
    answer.responses[0].partition_responses[0].error_code
}

/// A Fetch of partition 0 of these topics.
pub(crate) fn fetch(topics: &[&str]) -> FetchRequest {
    let partition = || FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topics = topics
        .iter()
        .map(|name| FetchTopic::default().with_topic(topic(name)).with_partitions(vec![partition()]))
        .collect();
    fetch_of(topics)
}

pub(crate) fn fetch_by_id(ids: &[Uuid]) -> FetchRequest {
    let partition = || FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topics =
        ids.iter().map(|id| FetchTopic::default().with_topic_id(*id).with_partitions(vec![partition()])).collect();
    fetch_of(topics)
}

fn fetch_of(topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest::default().with_max_wait_ms(500).with_max_bytes(50 << 20).with_session_epoch(-1).with_topics(topics)
}

/// The broker's answer with these records for each topic asked for.
pub(crate) fn fetched(request: &FetchRequest, records: &Bytes) -> FetchResponse {
    let responses = request.topics.iter().map(|topic| {
        let partition = PartitionData::default().with_high_watermark(100).with_records(Some(records.clone()));
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(vec![partition])
    });
    FetchResponse::default().with_responses(responses.collect())
}

/// The one partition of an answer about one topic.
pub(crate) fn partition(answer: &FetchResponse) -> &PartitionData {
    &answer.responses[0].partitions[0]
}

/// Error code and records of the one partition of an answer about one topic.
pub(crate) fn shown(answer: &FetchResponse) -> (i16, Vec<(i64, String)>) {
    let partition = partition(answer);
    (partition.error_code, crate::batch::read(partition.records.as_deref().unwrap_or_default()))
}

/// Something that goes to the broker and back without records.
pub(crate) fn metadata() -> MetadataRequest {
    MetadataRequest::default().with_topics(None)
}

pub(crate) fn metadata_answer() -> MetadataResponse {
    MetadataResponse::default()
}

pub(crate) fn heartbeat(name: &str) -> HeartbeatRequest {
    HeartbeatRequest::default().with_group_id(group(name)).with_generation_id(1).with_member_id(text("m-1"))
}
