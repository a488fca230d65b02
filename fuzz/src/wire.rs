//! Frames and messages.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey as OracleKey, FetchRequest as OracleFetchRequest, FetchResponse as OracleFetchResponse,
    ProduceRequest as OracleProduce, RequestKind, ResponseKind,
};
use kafka_protocol::protocol::Decodable as _;
use weir_protocol::{
    ApiKey, FetchRequest, FetchResponse, FrameError, FrameReader, ProduceRequest, Request, Response, Splices,
    check_request, check_response,
};

/// The correlation id of all messages here.
const ID: i32 = 0x0102_0304;

/// Frames come out alike however their bytes arrive, and are those that the stream announces. `[max, cut, stream…]`
pub(crate) fn frame(data: &[u8]) -> bool {
    let Some((&[max, cut], stream)) = data.split_first_chunk() else { return false };
    let max = usize::from(max) * 16 + 1;
    let whole = frames(stream.chunks(stream.len().max(1)), max);
    assert_eq!(whole, frames(stream.chunks(usize::from(cut) + 1), max));
    let mut rest = stream;
    for frame in &whole.0 {
        let (size, behind) = rest.split_first_chunk().unwrap();
        let size = usize::try_from(i32::from_be_bytes(*size)).unwrap();
        assert!((1..=max).contains(&size));
        assert_eq!(behind.split_at(size), (frame.as_ref(), &behind[size..]));
        rest = &behind[size..];
    }
    !whole.0.is_empty()
}

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>, max: usize) -> (Vec<BytesMut>, Option<FrameError>) {
    let (mut reader, mut found) = (FrameReader::new(), Vec::new());
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_frame(max) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// What the guard lets pass, kafka-protocol can read to its last byte. `[side, api, version, message…]`
pub(crate) fn guard(data: &[u8]) -> bool {
    let Some((&[side, api, version], message)) = data.split_first_chunk() else { return false };
    let api = ApiKey::ALL[usize::from(api) % ApiKey::ALL.len()];
    let version = version_of(api, version);
    if side & 1 == 0 {
        let Some((frame, request)) = asked(api, version, message) else { return false };
        decode_request(api, version, &frame[request.body..]);
    } else {
        let Some((frame, response)) = answered(api, version, message) else { return false };
        decode_response(api, version, &frame[response.body..]);
    }
    true
}

/// The spans of a Produce request are what kafka-protocol reads, and its edits leave a request. `[version, choice, message…]`
pub(crate) fn produce(data: &[u8]) -> bool {
    let Some((&[version, choice], message)) = data.split_first_chunk() else { return false };
    let version = version_of(ApiKey::Produce, version);
    let Some((frame, request)) = asked(ApiKey::Produce, version, message) else { return false };
    let produce = ProduceRequest::read(&frame, &request).unwrap();
    let oracle = OracleProduce::decode(&mut frame.slice(request.body..), version).unwrap();
    assert_eq!((produce.acks, produce.timeout_ms), (oracle.acks, oracle.timeout_ms));
    assert_eq!(produce.topics.len(), oracle.topic_data.len());
    for (topic, other) in produce.topics.iter().zip(&oracle.topic_data) {
        let found: Vec<_> =
            topic.partitions.iter().map(|each| (each.index, cut(&frame, each.records.clone()))).collect();
        let wanted: Vec<_> = other.partition_data.iter().map(|each| (each.index, each.records.clone())).collect();
        assert_eq!(found, wanted);
    }
    let mut splices = Splices::default();
    produce.set_acks(1, &mut splices);
    produce.replace_records(0, 0, Bytes::from_static(b"instead"), &mut splices);
    produce.retain(|topic, partition| topic + partition != usize::from(choice), &mut splices);
    let edited = splices.apply(frame).to_bytes();
    let request = check_request(&edited).unwrap();
    assert!(request.cleaning.is_empty());
    let produce = ProduceRequest::read(&edited, &request).unwrap();
    assert_eq!(produce.acks, 1);
    decode_request(ApiKey::Produce, version, &edited[request.body..]);
    true
}

/// The same for a Fetch request. `[version, choice, message…]`
pub(crate) fn fetch_request(data: &[u8]) -> bool {
    let Some((&[version, choice], message)) = data.split_first_chunk() else { return false };
    let version = version_of(ApiKey::Fetch, version);
    let Some((frame, request)) = asked(ApiKey::Fetch, version, message) else { return false };
    let fetch = FetchRequest::read(&frame, &request).unwrap();
    let oracle = OracleFetchRequest::decode(&mut frame.slice(request.body..), version).unwrap();
    assert_eq!((fetch.max_wait_ms, fetch.max_bytes), (oracle.max_wait_ms, oracle.max_bytes));
    assert_eq!(fetch.topics.len(), oracle.topics.len());
    for (topic, other) in fetch.topics.iter().zip(&oracle.topics) {
        let found: Vec<_> = topic.partitions.iter().map(|each| (each.index, each.fetch_offset)).collect();
        let wanted: Vec<_> = other.partitions.iter().map(|each| (each.partition, each.fetch_offset)).collect();
        assert_eq!(found, wanted);
    }
    let mut splices = Splices::default();
    fetch.make_sessionless(&mut splices);
    fetch.clamp_max_bytes(4096, &mut splices);
    fetch.retain(|topic, partition| topic + partition != usize::from(choice), &mut splices);
    let edited = splices.apply(frame).to_bytes();
    let request = check_request(&edited).unwrap();
    let fetch = FetchRequest::read(&edited, &request).unwrap();
    assert!(fetch.max_bytes <= 4096 && fetch.session_id == 0);
    decode_request(ApiKey::Fetch, version, &edited[request.body..]);
    true
}

/// The same for a Fetch response. `[version, choice, message…]`
pub(crate) fn fetch_response(data: &[u8]) -> bool {
    let Some((&[version, choice], message)) = data.split_first_chunk() else { return false };
    let version = version_of(ApiKey::Fetch, version);
    let Some((frame, response)) = answered(ApiKey::Fetch, version, message) else { return false };
    let fetched = FetchResponse::read(&frame, version, &response).unwrap();
    let oracle = OracleFetchResponse::decode(&mut frame.slice(response.body..), version).unwrap();
    assert_eq!(fetched.topics.len(), oracle.responses.len());
    for (topic, other) in fetched.topics.iter().zip(&oracle.responses) {
        let found: Vec<_> =
            topic.partitions.iter().map(|each| (each.index, cut(&frame, each.records.clone()))).collect();
        let wanted: Vec<_> = other.partitions.iter().map(|each| (each.partition_index, each.records.clone())).collect();
        assert_eq!(found, wanted);
    }
    let mut splices = Splices::default();
    fetched.make_sessionless(&mut splices);
    fetched.clear_preferred_read_replica(0, 0, &mut splices);
    fetched.set_partition_error(0, usize::from(choice), 56, &mut splices);
    fetched.replace_records(0, 0, Bytes::from_static(b"instead"), &mut splices);
    let addresses = vec![Some(("broker", 9092)); usize::from(choice & 3)];
    fetched.rewrite_endpoints(&addresses, &mut splices);
    let edited = splices.apply(frame).to_bytes();
    let response = check_response(ApiKey::Fetch, version, ID, &edited).unwrap();
    let fetched = FetchResponse::read(&edited, version, &response).unwrap();
    assert!(fetched.session_id == 0 && fetched.node_endpoints.len() <= addresses.len());
    decode_response(ApiKey::Fetch, version, &edited[response.body..]);
    true
}

fn version_of(api: ApiKey, byte: u8) -> i16 {
    let versions = api.versions();
    versions.start() + i16::from(byte) % (versions.end() - versions.start() + 1)
}

fn cut(frame: &Bytes, span: Option<std::ops::Range<usize>>) -> Option<Bytes> {
    span.map(|span| frame.slice(span))
}

/// The request as it leaves the guard, if it passes.
fn asked(api: ApiKey, version: i16, message: &[u8]) -> Option<(Bytes, Request)> {
    let prefix = [api.code().to_be_bytes(), version.to_be_bytes()].concat();
    let frame = Bytes::from([&prefix, ID.to_be_bytes().as_slice(), message].concat());
    let request = check_request(&frame).ok()?;
    let frame = request.cleaning.apply(frame).to_bytes();
    let request = check_request(&frame).unwrap();
    assert!(request.cleaning.is_empty(), "what was cleaned is clean");
    Some((frame, request))
}

/// The response as it leaves the guard, if it passes.
fn answered(api: ApiKey, version: i16, message: &[u8]) -> Option<(Bytes, Response)> {
    let frame = Bytes::from([ID.to_be_bytes().as_slice(), message].concat());
    let response = check_response(api, version, ID, &frame).ok()?;
    let frame = response.cleaning.apply(frame).to_bytes();
    let response = check_response(api, version, ID, &frame).unwrap();
    assert!(response.cleaning.is_empty(), "what was cleaned is clean");
    Some((frame, response))
}

fn decode_request(api: ApiKey, version: i16, body: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(body);
    let key = OracleKey::try_from(api.code()).unwrap();
    drop(RequestKind::decode(key, &mut bytes, version).unwrap());
    assert!(bytes.is_empty(), "{api:?} {version}: {} bytes left", bytes.len());
}

fn decode_response(api: ApiKey, version: i16, body: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(body);
    let key = OracleKey::try_from(api.code()).unwrap();
    drop(ResponseKind::decode(key, &mut bytes, version).unwrap());
    assert!(bytes.is_empty(), "{api:?} {version}: {} bytes left", bytes.len());
}
