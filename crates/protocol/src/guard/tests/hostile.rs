//! Frames that peers must not send, one by one.

use super::*;

/// Key, version, correlation id, then the rest.
fn frame(api: ApiKey, version: i16, rest: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i16(api.code());
    frame.put_i16(version);
    frame.put_i32(ID);
    frame.put_slice(rest);
    frame.to_vec()
}

/// No client id, and a header without tags.
const CLASSIC: &[u8] = &[0xff, 0xff];
const FLEXIBLE: &[u8] = &[0xff, 0xff, 0];

#[track_caller]
fn refuses(frame: &[u8], fault: Fault, at: &str) {
    match check_request(frame) {
        Err(GuardError::Malformed { message, path, fault: found, .. }) => {
            assert_eq!((found, format!("{message}{path}").as_str()), (fault, at));
        }
        other => panic!("expected {fault:?}, got {other:?}"),
    }
}

#[test]
fn counts_that_would_make_a_codec_reserve_gigabytes() {
    let classic = [CLASSIC, &[0x7f, 0xff, 0xff, 0xff]].concat();
    refuses(&frame(ApiKey::Metadata, 1, &classic), Fault::Truncated, "MetadataRequest.Topics");
    let compact = [FLEXIBLE, &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    refuses(&frame(ApiKey::Metadata, 12, &compact), Fault::Truncated, "MetadataRequest.Topics");
    // One topic less than the bytes that follow could hold if a topic took no more than a byte.
    let topics = [FLEXIBLE, &[9], &[0; 9]].concat();
    refuses(&frame(ApiKey::Metadata, 9, &topics), Fault::Truncated, "MetadataRequest.Topics");
}

#[test]
fn headers_that_are_none() {
    for bytes in 0..8 {
        assert_eq!(check_request(&vec![0; bytes]), Err(GuardError::TooShort { bytes }));
        assert_eq!(peek_request(&vec![0; bytes]), Err(GuardError::TooShort { bytes }));
    }
    let client_id = |length: i16| frame(ApiKey::ApiVersions, 0, &length.to_be_bytes());
    assert_eq!(check_request(&client_id(-1)).unwrap().client_id, None);
    refuses(&client_id(-2), Fault::NegativeLength, "RequestHeader.ClientId");
    refuses(&client_id(i16::MIN), Fault::NegativeLength, "RequestHeader.ClientId");
    refuses(&client_id(1), Fault::Truncated, "RequestHeader.ClientId");
    refuses(&frame(ApiKey::ApiVersions, 0, &[0, 1, 0xff]), Fault::NotUtf8, "RequestHeader.ClientId");
}

#[test]
fn tags_that_lie() {
    let check = |tags: &[u8], fault| {
        let header = [CLASSIC, tags].concat();
        refuses(&frame(ApiKey::ApiVersions, 3, &header), fault, "RequestHeader");
    };
    // 2^31 tags, and 2^32, and two in one byte more than it takes.
    check(&[0x80, 0x80, 0x80, 0x80, 0x08], Fault::Truncated);
    check(&[0x80, 0x80, 0x80, 0x80, 0x10], Fault::Varint);
    check(&[0x82, 0x00, 5, 0, 6, 0], Fault::Varint);
    check(&[2, 5, 0, 5, 0], Fault::TagOrder);
    check(&[2, 6, 0, 5, 0], Fault::TagOrder);
    check(&[1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f], Fault::Truncated);
    // Fetch 15 with a ReplicaState of 12 bytes, announced as 13 and as 11.
    let fetch = |size: u8, bytes: usize| {
        let mut body = [FLEXIBLE, &[0; 21], &[1, 1, 1, 1, 1, size]].concat();
        body.extend(std::iter::repeat_n(0, bytes));
        frame(ApiKey::Fetch, 15, &body)
    };
    assert!(
        matches!(check_request(&fetch(13, 13)), Ok(request) if request.cleaning.is_empty()),
        "12 bytes and no tags"
    );
    refuses(&fetch(14, 14), Fault::TagSize, "FetchRequest.ReplicaState");
    refuses(&fetch(12, 12), Fault::Truncated, "FetchRequest.ReplicaState");
}

#[test]
fn values_without_a_meaning() {
    // Metadata 4: two topics and the flag for automatic creation.
    let metadata = |flag| [CLASSIC, &[0, 0, 0, 1, 0, 1, b't', flag]].concat();
    assert!(check_request(&frame(ApiKey::Metadata, 4, &metadata(1))).is_ok());
    refuses(&frame(ApiKey::Metadata, 4, &metadata(2)), Fault::Marker, "MetadataRequest.AllowAutoTopicCreation");
    let null_topic = [CLASSIC, &[0, 0, 0, 1, 0xff, 0xff, 0]].concat();
    refuses(&frame(ApiKey::Metadata, 4, &null_topic), Fault::Null, "MetadataRequest.Topics.Name");
    // Null topics are legal from version 1 on only.
    let null_topics = [CLASSIC, &[0xff; 4]].concat();
    assert!(check_request(&frame(ApiKey::Metadata, 1, &null_topics)).is_ok());
    refuses(&frame(ApiKey::Metadata, 0, &null_topics), Fault::Null, "MetadataRequest.Topics");
    let negative = [CLASSIC, &[0xff, 0xff, 0xff, 0xfe]].concat();
    refuses(&frame(ApiKey::Metadata, 1, &negative), Fault::NegativeLength, "MetadataRequest.Topics");
    let mut long = [CLASSIC, &[0, 0, 0, 1]].concat();
    long = [&long[..], &[0x7f, 0xff], &vec![b'x'; 32_767], &[0]].concat();
    assert!(check_request(&frame(ApiKey::Metadata, 4, &long)).is_ok());
    let mut longer = [FLEXIBLE, &[2], &[0x81, 0x80, 0x02]].concat();
    longer = [&longer[..], &vec![b'x'; 32_768], &[0, 0, 0, 0, 0]].concat();
    refuses(&frame(ApiKey::Metadata, 9, &longer), Fault::StringTooLong, "MetadataRequest.Topics.Name");
}

/// Produce 3 with these (topic, partitions), no records in any.
fn produce(topics: &[(&str, &[i32])]) -> Vec<u8> {
    let mut rest = BytesMut::from(CLASSIC);
    rest.put_i16(-1);
    rest.put_i16(1);
    rest.put_i32(1000);
    put_topics(topics, &mut rest, |_, _| {}, |to| to.put_i32(-1));
    frame(ApiKey::Produce, 3, &rest)
}

fn put_topics(
    topics: &[(&str, &[i32])],
    to: &mut BytesMut,
    before: impl Fn(&mut BytesMut, i32),
    behind: impl Fn(&mut BytesMut),
) {
    to.put_i32(i32::try_from(topics.len()).unwrap());
    for (name, partitions) in topics {
        to.put_i16(i16::try_from(name.len()).unwrap());
        to.put_slice(name.as_bytes());
        to.put_i32(i32::try_from(partitions.len()).unwrap());
        for index in *partitions {
            before(to, *index);
            to.put_i32(*index);
            behind(to);
        }
    }
}

fn fetch(topics: &[(&str, &[i32])]) -> Vec<u8> {
    let mut rest = BytesMut::from(CLASSIC);
    rest.put_i32(-1);
    rest.put_bytes(0, 13);
    put_topics(topics, &mut rest, |_, _| {}, |to| to.put_bytes(0, 12));
    frame(ApiKey::Fetch, 4, &rest)
}

fn list_offsets(topics: &[(&str, &[i32])]) -> Vec<u8> {
    let mut rest = BytesMut::from(CLASSIC);
    rest.put_i32(-1);
    put_topics(topics, &mut rest, |_, _| {}, |to| to.put_i64(-1));
    frame(ApiKey::ListOffsets, 1, &rest)
}

fn offset_commit(topics: &[(&str, &[i32])]) -> Vec<u8> {
    let mut rest = BytesMut::from(CLASSIC);
    rest.put_slice(&[0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm']);
    rest.put_i64(-1);
    put_topics(
        topics,
        &mut rest,
        |_, _| {},
        |to| {
            to.put_i64(7);
            to.put_i16(-1);
        },
    );
    frame(ApiKey::OffsetCommit, 2, &rest)
}

#[test]
fn topics_and_partitions_twice() {
    let many: Vec<i32> = (0..1000).rev().collect();
    let mut many_twice = many.clone();
    many_twice[3] = 500;
    let names: Vec<String> = (0..100).map(|at| format!("topic-{}", at * 7 % 100)).collect();
    let mut topics: Vec<(&str, &[i32])> = names.iter().map(|name| (name.as_str(), &many[..20])).collect();
    let makers: [(fn(&[(&str, &[i32])]) -> Vec<u8>, &str, &str, bool); 4] = [
        (produce, "ProduceRequest.TopicData", ".PartitionData", false),
        (fetch, "FetchRequest.Topics", ".Partitions", true),
        (list_offsets, "ListOffsetsRequest.Topics", ".Partitions", false),
        (offset_commit, "OffsetCommitRequest.Topics", ".Partitions", false),
    ];
    for (make, array, partitions, may_repeat) in makers {
        let partitions = format!("{array}{partitions}");
        check_request(&make(&[("a", &[0, 1, 2]), ("b", &[0, 1])])).unwrap();
        check_request(&make(&[("a", &many)])).unwrap();
        check_request(&make(&topics)).unwrap();
        refuses(&make(&[("a", &[0, 1, 0])]), Fault::DuplicatePartition, &partitions);
        refuses(&make(&[("b", &[0]), ("a", &many_twice)]), Fault::DuplicatePartition, &partitions);
        if may_repeat {
            check_request(&make(&[("a", &[0]), ("b", &[0]), ("a", &[1])])).unwrap();
            refuses(&make(&[("a", &[0, 2]), ("b", &[0]), ("a", &[1, 2])]), Fault::DuplicatePartition, array);
        } else {
            refuses(&make(&[("a", &[0]), ("b", &[0]), ("a", &[1])]), Fault::DuplicateTopic, array);
        }
        topics.push(topics[42]);
        let fault = if may_repeat { Fault::DuplicatePartition } else { Fault::DuplicateTopic };
        refuses(&make(&topics), fault, array);
        topics.pop();
    }
}

#[test]
fn more_elements_than_any_client_has() {
    let fits: Vec<i32> = (0..100_000 - 1).collect();
    let over: Vec<i32> = (0..100_000).collect();
    let mut frame = list_offsets(&[("a", &fits)]);
    // A frame of this many partitions is larger than the API's limit; the elements are counted all the same.
    assert!(matches!(
        check_request(&frame),
        Err(GuardError::FrameTooLarge { max: limits::REQUEST_FRAME_BYTES_MAX, .. })
    ));
    frame = offset_commit(&[("a", &fits)]);
    check_request(&frame).unwrap();
    refuses(&offset_commit(&[("a", &over)]), Fault::TooManyEntries, "OffsetCommitRequest.Topics.Partitions");
}

#[test]
fn apis_and_versions_that_are_not_served() {
    let check = |key: i16, version: i16, expected| {
        let frame = [key.to_be_bytes(), version.to_be_bytes(), [0; 2], [0; 2]].concat();
        assert_eq!(check_request(&frame), Err(expected));
    };
    // Envelope: by its key, though nothing of its body is there.
    check(58, 0, GuardError::UnknownApi { api_key: 58 });
    check(-1, 0, GuardError::UnknownApi { api_key: -1 });
    check(0, 2, GuardError::UnsupportedVersion { api: ApiKey::Produce, version: 2 });
    check(8, 10, GuardError::UnsupportedVersion { api: ApiKey::OffsetCommit, version: 10 });
    check(18, 99, GuardError::UnsupportedVersion { api: ApiKey::ApiVersions, version: 99 });
    check(17, 0, GuardError::UnsupportedVersion { api: ApiKey::SaslHandshake, version: 0 });
}

#[test]
fn answers_to_another_request() {
    let frame = Side::Response.header(ApiKey::Heartbeat, 0);
    assert_eq!(
        check_response(ApiKey::Heartbeat, 0, 7, &frame),
        Err(GuardError::CorrelationId { expected: 7, found: ID })
    );
    assert_eq!(check_response(ApiKey::Heartbeat, 0, 7, &[0; 3]), Err(GuardError::TooShort { bytes: 3 }));
}

#[test]
fn frames_over_the_limit_of_their_api() {
    let huge = frame(ApiKey::Heartbeat, 0, &vec![0; limits::REQUEST_FRAME_BYTES_MAX]);
    assert_eq!(
        check_request(&huge),
        Err(GuardError::FrameTooLarge {
            api: ApiKey::Heartbeat,
            bytes: huge.len(),
            max: limits::REQUEST_FRAME_BYTES_MAX
        })
    );
}

#[test]
fn errors_say_where_and_never_what() {
    let error =
        check_request(&frame(ApiKey::Metadata, 4, &[CLASSIC, &[0, 0, 0, 1, 0, 3, b's', 0xff, b't', 0]].concat()))
            .unwrap_err();
    assert_eq!(error.to_string(), "MetadataRequest.Topics.Name at byte 19: string is not utf-8");
}

#[test]
fn unsupported_versions_are_answered_in_the_apis_own_schema() {
    use kafka_protocol::messages as m;
    use kafka_protocol::protocol::Decodable as _;

    let mut found = 0;
    for key in 0..=94 {
        for version in 0..=20 {
            let Some(frame) = unsupported_version_response(key, version, ID) else { continue };
            assert_eq!(frame[..4], ID.to_be_bytes());
            found += 1;
            let Some(api) = ApiKey::from_code(key).filter(|api| *api != ApiKey::ApiVersions) else { continue };
            if api.versions().contains(&version) {
                let response = check_response(api, version, ID, &frame).unwrap();
                assert!(response.cleaning.is_empty());
                assert_eq!(oracle(Side::Response, api, version, &frame[response.body..]).1, 0, "{api} {version}");
            }
        }
    }
    assert!(found > 100, "{found} pairs have an answer");

    let mut frame = unsupported_version_response(19, 7, ID);
    assert_eq!(frame, None, "CreateTopics has errors per topic only");
    frame = unsupported_version_response(60, 2, ID);
    let mut body = frame.unwrap().freeze().slice(5..);
    let described = m::DescribeClusterResponse::decode(&mut body, 2).unwrap();
    assert_eq!((described.error_code, described.endpoint_type, body.len()), (35, 1, 0));
    assert_eq!(described.cluster_authorized_operations, i32::MIN);
    assert_eq!(unsupported_version_response(60, 99, ID), None);
    assert_eq!(unsupported_version_response(4, 0, ID), None, "LeaderAndIsr is gone");

    let versions = unsupported_version_response(18, 99, ID).unwrap();
    assert_eq!(versions[4..], [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    check_response(ApiKey::ApiVersions, 0, ID, &versions).unwrap();
}
