//! Frames by `kafka-protocol`.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, HeartbeatRequest, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt};

pub(crate) const HEARTBEAT_VERSION: i16 = 4;
pub(crate) const PRODUCE_VERSION: i16 = 9;

/// Where the correlation id of a request stands in its frame, size included.
const CORRELATION_ID_AT: usize = 8;

const SIZE_BYTES: usize = 4;

/// A request, with its size in front.
pub(crate) fn request(api: ApiKey, version: i16, correlation_id: i32, body: &impl Encodable) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    framed(&header, api.request_header_version(version), body, version)
}

/// The answer to a request of that API and version, with its size in front.
pub(crate) fn response(api: ApiKey, version: i16, correlation_id: i32, body: &impl Encodable) -> BytesMut {
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    framed(&header, api.response_header_version(version), body, version)
}

/// A Heartbeat of a member of a group that the policy grants.
pub(crate) fn heartbeat(correlation_id: i32) -> BytesMut {
    let body = HeartbeatRequest::default()
        .with_group_id(StrBytes::from_static_str("fair-1").into())
        .with_generation_id(1)
        .with_member_id(StrBytes::from_static_str("member-1"));
    request(ApiKey::Heartbeat, HEARTBEAT_VERSION, correlation_id, &body)
}

/// A Produce request with this batch for partition 0, all replicas to acknowledge.
pub(crate) fn produce(topic: &str, batch: Bytes) -> BytesMut {
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(StrBytes::from(topic.to_owned()).into())
        .with_partition_data(vec![partition]);
    let body = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
    request(ApiKey::Produce, PRODUCE_VERSION, 0, &body)
}

/// Writes a correlation id over that of a request.
pub(crate) fn number(frame: &mut BytesMut, correlation_id: i32) {
    let place = frame.get_mut(CORRELATION_ID_AT..CORRELATION_ID_AT + 4).unwrap();
    place.copy_from_slice(&correlation_id.to_be_bytes());
}

/// Takes the answer to such a Produce request.
///
/// # Panics
/// When the batch was refused, or another request is answered.
pub(crate) fn expect_stored(frame: Bytes, correlation_id: i32) {
    let (id, answer) = read_response::<ProduceResponse>(frame, ApiKey::Produce, PRODUCE_VERSION);
    let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first()).unwrap();
    assert_eq!((id, partition.error_code), (correlation_id, 0), "{:?}", partition.error_message);
}

/// Header and body of an answer.
pub(crate) fn read_response<T: Decodable>(mut frame: Bytes, api: ApiKey, version: i16) -> (i32, T) {
    let header = ResponseHeader::decode(&mut frame, api.response_header_version(version)).unwrap();
    (header.correlation_id, T::decode(&mut frame, version).unwrap())
}

/// The next frame without its size; `None` at the end of the stream.
pub(crate) async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let size = from.read_u32().await.ok()?;
    let mut frame = BytesMut::with_capacity(usize::try_from(size).unwrap());
    let mut limited = from.take(u64::from(size));
    while limited.limit() > 0 {
        if limited.read_buf(&mut frame).await.ok()? == 0 {
            return None;
        }
    }
    Some(frame.freeze())
}

fn framed(header: &impl Encodable, header_version: i16, body: &impl Encodable, version: i16) -> BytesMut {
    let mut frame = BytesMut::zeroed(SIZE_BYTES);
    header.encode(&mut frame, header_version).unwrap();
    body.encode(&mut frame, version).unwrap();
    let size = u32::try_from(frame.len() - SIZE_BYTES).unwrap();
    frame.get_mut(..SIZE_BYTES).unwrap().copy_from_slice(&size.to_be_bytes());
    frame
}
