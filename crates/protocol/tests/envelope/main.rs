//! The cursors over Produce and Fetch, with kafka-protocol as the oracle: it encodes, weir edits, it decodes, and the
//! edit is all that differs.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

mod fetch_request;
mod fetch_response;
mod produce;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use uuid::Uuid;
use weir_protocol::{ApiKey, Request, Response, Splices, TopicRef, check_request, check_response};

const ID: i32 = 77;

/// A request of the oracle in a frame, checked.
fn request(api: ApiKey, version: i16, body: &impl Encodable) -> (Bytes, Request) {
    let mut frame = BytesMut::new();
    frame.put_i16(api.code());
    frame.put_i16(version);
    frame.put_i32(ID);
    frame.put_slice(&[0, 3, b'a', b'p', b'p']);
    if api.request_header_version(version) >= 2 {
        // One tagged field that nobody knows.
        frame.put_slice(&[1, 9, 2, 0xee, 0xee]);
    }
    body.encode(&mut frame, version).unwrap();
    let request = check_request(&frame).unwrap();
    assert_eq!(&frame[request.client_id.clone().unwrap()], b"app");
    (frame.freeze(), request)
}

/// A response of the oracle in a frame, checked.
fn response(version: i16, body: &impl Encodable) -> (Bytes, Response) {
    let mut frame = BytesMut::new();
    frame.put_i32(ID);
    if ApiKey::Fetch.response_header_version(version) >= 1 {
        frame.put_slice(&[1, 9, 2, 0xee, 0xee]);
    }
    body.encode(&mut frame, version).unwrap();
    let response = check_response(ApiKey::Fetch, version, ID, &frame).unwrap();
    (frame.freeze(), response)
}

/// Applies cleaning and edits, checks the outcome, and decodes it.
fn edited_request<T: Decodable>(frame: Bytes, request: &Request, edits: Splices) -> T {
    let mut splices = request.cleaning.clone();
    splices.merge(edits);
    let edited = splices.apply(frame).to_bytes();
    let again = check_request(&edited).unwrap();
    assert!(again.cleaning.is_empty());
    decode(&edited[again.body..], request.version)
}

/// The same for a response.
fn edited_response<T: Decodable>(frame: Bytes, version: i16, response: &Response, edits: Splices) -> T {
    let mut splices = response.cleaning.clone();
    splices.merge(edits);
    let edited = splices.apply(frame).to_bytes();
    let again = check_response(ApiKey::Fetch, version, ID, &edited).unwrap();
    assert!(again.cleaning.is_empty());
    decode(&edited[again.body..], version)
}

fn decode<T: Decodable>(body: &[u8], version: i16) -> T {
    let mut body = Bytes::copy_from_slice(body);
    let message = T::decode(&mut body, version).unwrap();
    assert!(!body.has_remaining());
    message
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn name(version: i16, name: &'static str) -> TopicName {
    TopicName(if version < 13 { text(name) } else { text("") })
}

fn id(version: i16, id: u128) -> Uuid {
    if version < 13 { Uuid::nil() } else { Uuid::from_u128(id) }
}

#[track_caller]
fn assert_topic(frame: &[u8], topic: &TopicRef, version: i16, name: &str, id: u128) {
    match topic {
        TopicRef::Name(span) => assert_eq!((&frame[span.clone()], version < 13), (name.as_bytes(), true)),
        TopicRef::Id(found) => assert_eq!((*found, version >= 13), (Uuid::from_u128(id), true)),
    }
}
