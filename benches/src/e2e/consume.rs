//! Reads a topic from its beginning again and again, one Fetch after the other, as a consumer of one partition does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::wire::{read_frame, read_response, request};

/// With topic ids and without a replica id (KIP-516, KIP-903): what current clients send.
const FETCH_VERSION: i16 = 16;
const METADATA_VERSION: i16 = 12;
/// What Kafka's consumers ask of one partition by default.
const PARTITION_BYTES_MAX: i32 = 1 << 20;
const BYTES_MAX: i32 = 50 << 20;

/// A topic with one partition, by the id that Fetch needs.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    id: uuid::Uuid,
    /// The offset after its last record.
    pub end: i64,
}

/// Asks for a topic's id.
///
/// # Panics
/// When there is no such topic.
pub async fn find_topic(address: SocketAddr, name: &str, end: i64) -> Topic {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let topic = MetadataRequestTopic::default().with_name(Some(StrBytes::from(name.to_owned()).into()));
    let body = MetadataRequest::default().with_topics(Some(vec![topic]));
    stream.write_all(&request(ApiKey::Metadata, METADATA_VERSION, 1, &body)).await.unwrap();
    let frame = read_frame(&mut stream).await.unwrap();
    let (_, answer) = read_response::<MetadataResponse>(frame, ApiKey::Metadata, METADATA_VERSION);
    let topic = answer.topics.first().unwrap();
    assert_eq!(topic.error_code, 0, "the topic is there");
    Topic { id: topic.topic_id, end }
}

/// Reads records over one connection, from the beginning again whenever the end is reached, until there were `records_min`; returns
/// how many there were and how long it took.
///
/// # Panics
/// When a Fetch is refused, or brings nothing.
pub async fn drain(address: SocketAddr, topic: Topic, records_min: i64) -> (i64, Duration) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut offset, mut records) = (0, 0);
    let began = Instant::now();
    for correlation_id in 1.. {
        stream.write_all(&fetch(topic, correlation_id, offset)).await.unwrap();
        let frame = read_frame(&mut stream).await.unwrap();
        let (id, answer) = read_response::<FetchResponse>(frame, ApiKey::Fetch, FETCH_VERSION);
        assert_eq!((id, answer.error_code), (correlation_id, 0));
        let partition =
            answer.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next()).unwrap();
        assert_eq!(partition.error_code, 0);
        let next = next_offset(partition.records.unwrap_or_default()).unwrap_or(offset);
        assert!(next > offset, "a Fetch below the end brings records");
        records += next - offset;
        if records >= records_min {
            break;
        }
        offset = if next == topic.end { 0 } else { next };
    }
    (records, began.elapsed())
}

fn fetch(topic: Topic, correlation_id: i32, offset: i64) -> bytes::BytesMut {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(PARTITION_BYTES_MAX);
    let topic = FetchTopic::default().with_topic_id(topic.id).with_partitions(vec![partition]);
    let body = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(BYTES_MAX)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    request(ApiKey::Fetch, FETCH_VERSION, correlation_id, &body)
}

/// The offset after the last whole batch; brokers cut the last one where the size they were asked for ends.
fn next_offset(mut records: Bytes) -> Option<i64> {
    let mut next = None;
    while records.len() > BATCH_HEADER_BYTES {
        let base = records.get_i64();
        let size = usize::try_from(records.get_i32()).unwrap();
        if records.len() < size {
            break;
        }
        let batch = records.split_to(size);
        let delta = batch.get(LAST_OFFSET_DELTA_AT..LAST_OFFSET_DELTA_AT + 4).unwrap();
        next = Some(base + i64::from(i32::from_be_bytes(delta.try_into().unwrap())) + 1);
    }
    next
}

const BATCH_HEADER_BYTES: usize = 61;
/// Counted from behind the batch's length.
const LAST_OFFSET_DELTA_AT: usize = 11;
