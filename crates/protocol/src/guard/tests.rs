//! The guard against messages that are made from the schema table, with kafka-protocol as the oracle: it was generated
//! by other people from the same message JSON.

#![expect(clippy::wildcard_enum_match_arm, clippy::type_complexity, reason = "test code")]

mod hostile;
mod made;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as OracleKey, RequestKind, ResponseKind};
use proptest::prelude::*;

use self::made::{Made, Side, made};
use super::*;

/// The correlation id of all messages here.
const ID: i32 = 0x0102_0304;

/// Every (API, version) that weir serves.
fn served() -> impl Iterator<Item = (ApiKey, i16)> {
    ApiKey::ALL.iter().flat_map(|&api| api.versions().map(move |version| (api, version)))
}

/// What the guard would cut out of a frame that it lets pass.
fn check(side: Side, api: ApiKey, version: i16, frame: &[u8]) -> Result<Splices, GuardError> {
    match side {
        Side::Request => check_request(frame).map(|request| {
            assert_eq!((request.api, request.version, request.correlation_id), (api, version, ID));
            request.cleaning
        }),
        Side::Response => check_response(api, version, ID, frame).map(|response| response.cleaning),
    }
}

/// Decodes a body with kafka-protocol and encodes what it read; the second is what is left of the frame.
fn oracle(side: Side, api: ApiKey, version: i16, body: &[u8]) -> (BytesMut, usize) {
    let key = OracleKey::try_from(api.code()).unwrap();
    let mut bytes = Bytes::copy_from_slice(body);
    let mut again = BytesMut::new();
    match side {
        Side::Request => RequestKind::decode(key, &mut bytes, version).unwrap().encode(&mut again, version).unwrap(),
        Side::Response => ResponseKind::decode(key, &mut bytes, version).unwrap().encode(&mut again, version).unwrap(),
    }
    (again, bytes.len())
}

fn body_of(side: Side, api: ApiKey, version: i16, frame: &[u8]) -> usize {
    match side {
        Side::Request => check_request(frame).unwrap().body,
        Side::Response => check_response(api, version, ID, frame).unwrap().body,
    }
}

#[test]
fn defaults_of_the_oracle_pass_and_nothing_shorter_or_longer_does() {
    for (api, version) in served() {
        for (side, body) in
            [(Side::Request, default_request(api, version)), (Side::Response, default_response(api, version))]
        {
            let mut frame = side.header(api, version);
            frame.put_slice(&body);
            assert!(check(side, api, version, &frame).unwrap().is_empty(), "{api} {version} {side:?}");
            check_edges(side, api, version, &frame);
        }
    }
}

/// Every truncation is refused, and so is every byte more.
fn check_edges(side: Side, api: ApiKey, version: i16, frame: &[u8]) {
    for length in 0..frame.len() {
        assert!(check(side, api, version, &frame[..length]).is_err(), "{api} {version} {side:?} cut to {length}");
    }
    for more in [0, 1, 0x7f, 0xff] {
        let longer = [frame, &[more]].concat();
        assert!(
            matches!(
                check(side, api, version, &longer),
                Err(GuardError::Malformed { fault: Fault::TrailingBytes, .. })
            ),
            "{api} {version} {side:?} with {more:#x} behind it"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn made_messages_pass_and_the_oracle_reads_the_same(entropy in prop::collection::vec(any::<u8>(), 0..400)) {
        for (api, version) in served() {
            for side in [Side::Request, Side::Response] {
                let Made { clean, .. } = made(side, api, version, &entropy);
                prop_assert!(check(side, api, version, &clean).unwrap().is_empty());
                let body = &clean[body_of(side, api, version, &clean)..];
                let (again, left) = oracle(side, api, version, body);
                prop_assert_eq!(left, 0);
                // The oracle leaves tagged fields out that are at their default, which made messages never are.
                prop_assert_eq!(&again[..], body, "{} {} {:?}", api, version, side);
            }
        }
    }

    #[test]
    fn cleaning_takes_exactly_the_unknown_tags_out(entropy in prop::collection::vec(any::<u8>(), 0..400)) {
        for (api, version) in served() {
            for side in [Side::Request, Side::Response] {
                let Made { clean, dirty } = made(side, api, version, &entropy);
                let cleaning = check(side, api, version, &dirty).unwrap();
                prop_assert_eq!(cleaning.is_empty(), clean == dirty);
                let cleaned = cleaning.apply(dirty.freeze()).to_bytes();
                prop_assert_eq!(&cleaned[..], &clean[..], "{} {} {:?}", api, version, side);
            }
        }
    }

    #[test]
    fn made_messages_cut_or_lengthened_are_refused(
        entropy in prop::collection::vec(any::<u8>(), 0..120),
        pick in any::<prop::sample::Index>(),
    ) {
        let pairs: Vec<_> = served().collect();
        let (api, version) = *pick.get(&pairs);
        for side in [Side::Request, Side::Response] {
            let Made { dirty, .. } = made(side, api, version, &entropy);
            check_edges(side, api, version, &dirty);
        }
    }

    #[test]
    fn flipped_bytes_never_panic_and_what_passes_has_one_reading(
        entropy in prop::collection::vec(any::<u8>(), 0..120),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        for (api, version) in served() {
            for side in [Side::Request, Side::Response] {
                let Made { dirty, .. } = made(side, api, version, &entropy);
                let mut frame = dirty.to_vec();
                // Behind key, version and correlation id, so that the message stays this one.
                let free = side.prefix_bytes()..frame.len();
                for (at, flip) in &flips {
                    if !free.is_empty() {
                        frame[free.start + at.index(free.len())] ^= flip;
                    }
                }
                if let Ok(cleaning) = check(side, api, version, &frame) {
                    let cleaned = cleaning.apply(Bytes::from(frame)).to_bytes();
                    prop_assert!(check(side, api, version, &cleaned).unwrap().is_empty());
                    let body = &cleaned[body_of(side, api, version, &cleaned)..];
                    let (_, left) = oracle(side, api, version, body);
                    prop_assert_eq!(left, 0);
                }
            }
        }
    }
}

#[test]
fn every_flexible_message_is_tried_with_unknown_tags_at_each_level() {
    for (api, version) in served().filter(|(api, version)| api.is_flexible(*version)) {
        for side in [Side::Request, Side::Response] {
            let Made { clean, dirty } = made(side, api, version, &[1; 2000]);
            assert_ne!(clean, dirty, "{api} {version} {side:?}");
            let cleaning = check(side, api, version, &dirty).unwrap();
            assert_eq!(cleaning.apply(dirty.freeze()).to_bytes(), clean, "{api} {version} {side:?}");
        }
    }
}

#[test]
fn negative_control_the_oracle_alone_takes_what_the_guard_refuses() {
    let body = default_request(ApiKey::Heartbeat, 4);
    let longer = [&body[..], b"behind"].concat();
    assert_eq!(oracle(Side::Request, ApiKey::Heartbeat, 4, &longer).1, 6, "kafka-protocol leaves six bytes unread");
}

#[test]
fn table_fits_the_walk() {
    fn depth(fields: &[schema::Field]) -> usize {
        let structure = |kind| match kind {
            schema::Kind::Struct(fields) | schema::Kind::Array(&schema::Kind::Struct(fields)) => Some(fields),
            _ => None,
        };
        fields.iter().filter_map(|field| structure(field.kind)).map(|fields| 1 + depth(fields)).max().unwrap_or(0)
    }
    for key in 0..=94 {
        let Some(api) = schema::api(key) else { continue };
        for message in [&api.request, &api.response] {
            assert!(depth(message.fields) < 10, "{}", message.name);
        }
    }
    for (api, version) in served() {
        let schemas = schema::api(api.code()).unwrap();
        for (message, flexible) in [&schemas.request, &schemas.response].map(|it| (it, it.flexible.contain(version))) {
            elements(message.fields, version, &mut |kind| {
                assert!(schema::size_min(kind, version, flexible) > 0, "{} {version}", message.name);
            });
        }
    }
}

/// Calls `each` with the element of every array at a version.
fn elements(fields: &[schema::Field], version: i16, each: &mut impl FnMut(schema::Kind)) {
    for field in fields.iter().filter(|field| field.versions.contain(version)) {
        match field.kind {
            schema::Kind::Array(element) => {
                each(*element);
                if let schema::Kind::Struct(fields) = element {
                    elements(fields, version, each);
                }
            }
            schema::Kind::Struct(fields) => elements(fields, version, each),
            _ => {}
        }
    }
}

fn default_request(api: ApiKey, version: i16) -> BytesMut {
    use kafka_protocol::messages as m;
    let request = match api {
        ApiKey::Produce => RequestKind::Produce(m::ProduceRequest::default()),
        ApiKey::Fetch => RequestKind::Fetch(m::FetchRequest::default()),
        ApiKey::ListOffsets => RequestKind::ListOffsets(m::ListOffsetsRequest::default()),
        ApiKey::Metadata => RequestKind::Metadata(m::MetadataRequest::default()),
        ApiKey::OffsetCommit => RequestKind::OffsetCommit(m::OffsetCommitRequest::default()),
        ApiKey::OffsetFetch => RequestKind::OffsetFetch(m::OffsetFetchRequest::default()),
        ApiKey::FindCoordinator => RequestKind::FindCoordinator(m::FindCoordinatorRequest::default()),
        ApiKey::JoinGroup => RequestKind::JoinGroup(m::JoinGroupRequest::default()),
        ApiKey::Heartbeat => RequestKind::Heartbeat(m::HeartbeatRequest::default()),
        ApiKey::LeaveGroup => RequestKind::LeaveGroup(m::LeaveGroupRequest::default()),
        ApiKey::SyncGroup => RequestKind::SyncGroup(m::SyncGroupRequest::default()),
        ApiKey::SaslHandshake => RequestKind::SaslHandshake(m::SaslHandshakeRequest::default()),
        ApiKey::ApiVersions => RequestKind::ApiVersions(m::ApiVersionsRequest::default()),
        ApiKey::InitProducerId => RequestKind::InitProducerId(m::InitProducerIdRequest::default()),
        ApiKey::DescribeConfigs => RequestKind::DescribeConfigs(m::DescribeConfigsRequest::default()),
        ApiKey::SaslAuthenticate => RequestKind::SaslAuthenticate(m::SaslAuthenticateRequest::default()),
    };
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    body
}

fn default_response(api: ApiKey, version: i16) -> BytesMut {
    use kafka_protocol::messages as m;
    let response = match api {
        ApiKey::Produce => ResponseKind::Produce(m::ProduceResponse::default()),
        ApiKey::Fetch => ResponseKind::Fetch(m::FetchResponse::default()),
        ApiKey::ListOffsets => ResponseKind::ListOffsets(m::ListOffsetsResponse::default()),
        ApiKey::Metadata => ResponseKind::Metadata(m::MetadataResponse::default()),
        ApiKey::OffsetCommit => ResponseKind::OffsetCommit(m::OffsetCommitResponse::default()),
        ApiKey::OffsetFetch => ResponseKind::OffsetFetch(m::OffsetFetchResponse::default()),
        ApiKey::FindCoordinator => ResponseKind::FindCoordinator(m::FindCoordinatorResponse::default()),
        ApiKey::JoinGroup => ResponseKind::JoinGroup(m::JoinGroupResponse::default()),
        ApiKey::Heartbeat => ResponseKind::Heartbeat(m::HeartbeatResponse::default()),
        ApiKey::LeaveGroup => ResponseKind::LeaveGroup(m::LeaveGroupResponse::default()),
        ApiKey::SyncGroup => ResponseKind::SyncGroup(m::SyncGroupResponse::default()),
        ApiKey::SaslHandshake => ResponseKind::SaslHandshake(m::SaslHandshakeResponse::default()),
        ApiKey::ApiVersions => ResponseKind::ApiVersions(m::ApiVersionsResponse::default()),
        ApiKey::InitProducerId => ResponseKind::InitProducerId(m::InitProducerIdResponse::default()),
        ApiKey::DescribeConfigs => ResponseKind::DescribeConfigs(m::DescribeConfigsResponse::default()),
        ApiKey::SaslAuthenticate => ResponseKind::SaslAuthenticate(m::SaslAuthenticateResponse::default()),
    };
    let mut body = BytesMut::new();
    response.encode(&mut body, version).unwrap();
    body
}
