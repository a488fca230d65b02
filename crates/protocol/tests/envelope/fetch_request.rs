//! Fetch requests.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use kafka_protocol::messages::{BrokerId, FetchRequest as Body};
use weir_protocol::FetchRequest;

use super::*;

/// Everything that a follower and a session would send, in every version that can carry it.
fn body(version: i16) -> Body {
    let mut body =
        Body::default().with_max_wait_ms(500).with_min_bytes(1).with_max_bytes(50_000_000).with_isolation_level(1);
    if version <= 14 {
        body.replica_id = BrokerId(3);
    } else {
        body.replica_state = ReplicaState::default().with_replica_id(BrokerId(3)).with_replica_epoch(9);
    }
    if version >= 7 {
        let forgotten = ForgottenTopic::default().with_topic(name(version, "gone")).with_topic_id(id(version, 9));
        body.forgotten_topics_data = vec![forgotten.with_partitions(vec![1, 2, 3])];
        (body.session_id, body.session_epoch) = (1234, 5);
    }
    if version >= 11 {
        body.rack_id = text("rack-a");
    }
    if version >= 12 {
        body.cluster_id = Some(text("cluster"));
        body.unknown_tagged_fields.insert(50, Bytes::from_static(b"what"));
    }
    body.topics = vec![topic(version, 1, "first", &[0, 1, 2]), topic(version, 2, "second", &[4])];
    body
}

fn topic(version: i16, number: u128, called: &'static str, partitions: &[i32]) -> FetchTopic {
    let partitions = partitions.iter().map(|index| {
        let mut partition = FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(i64::from(*index) + 1000)
            .with_partition_max_bytes(1_048_576 << *index);
        if version >= 12 {
            partition.unknown_tagged_fields.insert(7, Bytes::from_static(b"else"));
        }
        if version >= 17 {
            partition.replica_directory_id = Uuid::from_u128(77);
        }
        if version >= 18 {
            partition.high_watermark = 88;
        }
        partition
    });
    let mut topic = FetchTopic::default().with_topic(name(version, called)).with_topic_id(id(version, number));
    topic.partitions = partitions.collect();
    topic
}

fn clean(mut body: Body) -> Body {
    body.unknown_tagged_fields.clear();
    for partition in body.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.unknown_tagged_fields.clear();
    }
    body
}

/// The same from a consumer without a session.
fn plain(mut body: Body) -> Body {
    let default = Body::default();
    (body.session_id, body.session_epoch) = (0, -1);
    body.replica_id = BrokerId(-1);
    body.replica_state = default.replica_state;
    body.cluster_id = None;
    body.forgotten_topics_data.clear();
    for partition in body.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.replica_directory_id = Uuid::nil();
        partition.high_watermark = i64::MAX;
    }
    body
}

fn check(edit: impl Fn(&FetchRequest, &mut Splices), expect: impl Fn(Body) -> Body) {
    for version in ApiKey::Fetch.versions() {
        let (frame, request) = request(ApiKey::Fetch, version, &body(version));
        let fetch = FetchRequest::read(&frame, &request).unwrap();
        let mut splices = Splices::default();
        edit(&fetch, &mut splices);
        let edited = edited_request::<Body>(frame, &request, splices);
        assert_eq!(edited, expect(clean(body(version))), "version {version}");
    }
}

#[test]
fn reads_what_the_oracle_wrote() {
    for version in ApiKey::Fetch.versions() {
        let (frame, request) = request(ApiKey::Fetch, version, &body(version));
        let fetch = FetchRequest::read(&frame, &request).unwrap();
        let int = |at: &std::ops::Range<usize>| i32::from_be_bytes(frame[at.clone()].try_into().unwrap());
        assert_eq!((fetch.max_wait_ms, int(&fetch.max_wait_ms_at)), (500, 500));
        assert_eq!((fetch.min_bytes, int(&fetch.min_bytes_at)), (1, 1));
        assert_eq!((fetch.max_bytes, int(&fetch.max_bytes_at)), (50_000_000, 50_000_000));
        assert_eq!((fetch.isolation_level, fetch.replica_id), (1, 3));
        assert_eq!(fetch.replica_id_at.is_some(), version <= 14);
        assert_eq!((fetch.session_id, fetch.session_epoch), if version >= 7 { (1234, 5) } else { (0, -1) });
        assert_eq!(fetch.session_id_at.as_ref().map(int), (version >= 7).then_some(1234));
        assert_eq!(fetch.session_epoch_at.as_ref().map(int), (version >= 7).then_some(5));
        assert_eq!(fetch.rack_id.map(|at| &frame[at]), (version >= 11).then_some(&b"rack-a"[..]));
        assert_eq!(fetch.forgotten_topics_at.is_some(), version >= 7);
        let [first, second] = fetch.topics.as_slice() else { panic!("two topics") };
        assert_topic(&frame, &first.topic, version, "first", 1);
        assert_topic(&frame, &second.topic, version, "second", 2);
        let partitions = first.partitions.iter().chain(&second.partitions);
        let partitions: Vec<_> =
            partitions.map(|it| (it.index, it.fetch_offset, it.max_bytes, int(&it.max_bytes_at))).collect();
        let expected =
            [0, 1, 2, 4].map(|index| (index, i64::from(index) + 1000, 1_048_576 << index, 1_048_576 << index));
        assert_eq!(partitions, expected);
    }
}

#[test]
fn leaves_everything_alone_unless_told() {
    check(|_, _| {}, |body| body);
    check(|fetch, splices| fetch.retain(|_, _| true, splices), |body| body);
    check(|fetch, splices| fetch.clamp_max_bytes(i32::MAX, splices), |body| body);
}

#[test]
fn becomes_a_plain_consumer_without_a_session() {
    check(FetchRequest::make_sessionless, plain);
}

#[test]
fn plain_consumer_without_a_session_stays_byte_identical() {
    for version in ApiKey::Fetch.versions() {
        let mut body = plain(clean(body(version)));
        body.unknown_tagged_fields.clear();
        let (frame, request) = request(ApiKey::Fetch, version, &body);
        let mut splices = Splices::default();
        FetchRequest::read(&frame, &request).unwrap().make_sessionless(&mut splices);
        assert!(splices.is_empty(), "version {version}");
    }
}

#[test]
fn clamps_bytes_of_the_whole_and_of_each_partition() {
    check(
        |fetch, splices| fetch.clamp_max_bytes(4_194_304, splices),
        |mut body| {
            body.max_bytes = 4_194_304;
            body.topics[1].partitions[0].partition_max_bytes = 4_194_304;
            body
        },
    );
}

#[test]
fn drops_partitions_and_topics_left_empty() {
    check(
        |fetch, splices| fetch.retain(|topic, partition| (topic, partition) == (0, 1), splices),
        |mut body| {
            body.topics.truncate(1);
            body.topics[0].partitions.swap_remove(0);
            body.topics[0].partitions.remove(0);
            body.topics[0].partitions[0] = topic_partition(&body);
            body
        },
    );
    check(
        |fetch, splices| fetch.retain(|_, _| false, splices),
        |mut body| {
            body.topics.clear();
            body
        },
    );
}

/// Partition 1 of the first topic, at the version of `body`.
fn topic_partition(body: &Body) -> FetchPartition {
    let kept = &body.topics[0].partitions[0];
    kept.clone().with_partition(1).with_fetch_offset(1001).with_partition_max_bytes(2_097_152)
}

#[test]
fn all_edits_go_together() {
    check(
        |fetch, splices| {
            fetch.make_sessionless(splices);
            fetch.clamp_max_bytes(100, splices);
            fetch.retain(|topic, _| topic == 1, splices);
        },
        |body| {
            let mut body = plain(body);
            body.max_bytes = 100;
            body.topics.remove(0);
            body.topics[0].partitions[0].partition_max_bytes = 100;
            body
        },
    );
}
