//! Fetch responses.

use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchResponse as Body, ProducerId};
use weir_protocol::{FetchRefusal, FetchResponse, TopicKey, fetch_error_response};

use super::*;

fn body(version: i16) -> Body {
    let mut body = Body::default().with_throttle_time_ms(3);
    if version >= 7 {
        (body.error_code, body.session_id) = (0, 99);
    }
    body.responses = vec![
        topic(version, 1, "first", vec![partition(version, 0, b"records"), partition(version, 1, b"")]),
        topic(version, 2, "second", vec![partition(version, 5, b"more records")]),
    ];
    if version >= 16 {
        body.node_endpoints =
            [(1, "kafka-1.internal", Some("a")), (2, "kafka-2.internal", None), (3, "kafka-3.internal", Some(""))]
                .into_iter()
                .map(|(node, host, rack)| {
                    let endpoint =
                        NodeEndpoint::default().with_node_id(BrokerId(node)).with_host(text(host)).with_port(9092);
                    endpoint
                        .with_rack(rack.map(text))
                        .with_unknown_tagged_field(4, Bytes::from_static(b"in here as well"))
                })
                .collect();
    }
    if version >= 12 {
        body.unknown_tagged_fields.insert(8, Bytes::from_static(b"what"));
    }
    body
}

fn topic(version: i16, number: u128, called: &'static str, partitions: Vec<PartitionData>) -> FetchableTopicResponse {
    FetchableTopicResponse::default()
        .with_topic(name(version, called))
        .with_topic_id(id(version, number))
        .with_partitions(partitions)
}

fn partition(version: i16, index: i32, records: &'static [u8]) -> PartitionData {
    let aborted = AbortedTransaction::default().with_producer_id(ProducerId(7)).with_first_offset(3);
    let mut partition = PartitionData::default()
        .with_partition_index(index)
        .with_high_watermark(1000 + i64::from(index))
        .with_last_stable_offset(900)
        .with_aborted_transactions(Some(vec![aborted]))
        .with_records(Some(Bytes::from_static(records)));
    if version >= 5 {
        partition.log_start_offset = 12;
    }
    if version >= 11 {
        partition.preferred_read_replica = BrokerId(2);
    }
    if version >= 12 {
        partition.current_leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(1)).with_leader_epoch(6);
        partition.unknown_tagged_fields.insert(9, Bytes::from_static(b"else"));
    }
    partition
}

fn clean(mut body: Body) -> Body {
    body.unknown_tagged_fields.clear();
    body.node_endpoints.iter_mut().for_each(|endpoint| endpoint.unknown_tagged_fields.clear());
    for partition in body.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.unknown_tagged_fields.clear();
    }
    body
}

fn check(edit: impl Fn(&FetchResponse, i16, &mut Splices), expect: impl Fn(&mut Body, i16)) {
    for version in ApiKey::Fetch.versions() {
        let (frame, response) = response(version, &body(version));
        let fetched = FetchResponse::read(&frame, version, &response).unwrap();
        let mut splices = Splices::default();
        edit(&fetched, version, &mut splices);
        let mut expected = clean(body(version));
        expect(&mut expected, version);
        assert_eq!(edited_response::<Body>(frame, version, &response, splices), expected, "version {version}");
    }
}

fn key(version: i16, number: u128, name: &str) -> TopicKey {
    if version < 13 { TopicKey::Name(name.to_owned()) } else { TopicKey::Id(Uuid::from_u128(number)) }
}

fn refusal(topic: TopicKey, partitions: &[i32], code: i16) -> FetchRefusal {
    FetchRefusal { topic, partitions: partitions.to_vec(), code }
}

/// What weir answers for a partition that it refuses.
fn refused(version: i16, index: i32, code: i16) -> PartitionData {
    let mut partition = PartitionData::default()
        .with_partition_index(index)
        .with_error_code(code)
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_aborted_transactions(Some(vec![]))
        .with_records(Some(Bytes::new()));
    if version >= 5 {
        partition.log_start_offset = -1;
    }
    partition
}

#[test]
fn reads_what_the_oracle_wrote() {
    for version in ApiKey::Fetch.versions() {
        let (frame, response) = response(version, &body(version));
        let fetched = FetchResponse::read(&frame, version, &response).unwrap();
        assert_eq!((fetched.throttle_time_ms, fetched.error_code), (3, 0));
        assert_eq!(fetched.session_id, if version >= 7 { 99 } else { 0 });
        let [first, second] = fetched.topics.as_slice() else { panic!("two topics") };
        assert_topic(&frame, &first.topic, version, "first", 1);
        assert_topic(&frame, &second.topic, version, "second", 2);
        let partitions = first.partitions.iter().chain(&second.partitions);
        let partitions: Vec<_> = partitions
            .map(|it| {
                assert_eq!((it.error_code, &frame[it.error_code_at.clone()]), (0, &[0, 0][..]));
                assert_eq!(it.preferred_read_replica, if version >= 11 { 2 } else { -1 });
                (it.index, it.high_watermark, &frame[it.records.clone().unwrap()])
            })
            .collect();
        assert_eq!(partitions, [(0, 1000, &b"records"[..]), (1, 1001, b""), (5, 1005, b"more records")]);
        let endpoints: Vec<_> = fetched
            .node_endpoints
            .iter()
            .map(|it| (it.node_id, frame[it.host.clone()].to_vec(), frame[it.port.clone()].to_vec()))
            .collect();
        let expected =
            [1, 2, 3].map(|node| (node, format!("\x11kafka-{node}.internal").into_bytes(), vec![0, 0, 0x23, 0x84]));
        assert_eq!(endpoints, if version >= 16 { expected.to_vec() } else { vec![] });
    }
}

#[test]
fn leaves_everything_alone_unless_told() {
    check(|_, _, _| {}, |_, _| {});
    check(|fetched, _, splices| fetched.add_errors(&[], splices), |_, _| {});
}

#[test]
fn forgets_the_session() {
    check(|fetched, _, splices| fetched.make_sessionless(splices), |body, _| body.session_id = 0);
}

#[test]
fn replaces_records_and_sets_errors() {
    for length in [0, 1, 126, 127, 128, 20_000] {
        let records = Bytes::from(vec![b'x'; length]);
        for (topic, partition) in [(0, 0), (0, 1), (1, 0)] {
            check(
                |fetched, _, splices| fetched.replace_records(topic, partition, records.clone(), splices),
                |body, _| body.responses[topic].partitions[partition].records = Some(records.clone()),
            );
        }
    }
    for (topic, partition) in [(0, 0), (0, 1), (1, 0)] {
        check(
            |fetched, _, splices| {
                fetched.replace_records(topic, partition, Bytes::from_static(b"inspected, then withheld"), splices);
                fetched.set_partition_error(topic, partition, 56, splices);
            },
            |body, _| {
                let partition = &mut body.responses[topic].partitions[partition];
                (partition.error_code, partition.records) = (56, Some(Bytes::new()));
            },
        );
    }
}

#[test]
fn takes_the_preferred_replica_out() {
    check(
        |fetched, _, splices| fetched.clear_preferred_read_replica(1, 0, splices),
        |body, _| body.responses[1].partitions[0].preferred_read_replica = BrokerId(-1),
    );
}

#[test]
fn rewrites_endpoints_and_drops_those_without_an_address() {
    let cases: [[Option<(&str, u16)>; 3]; 3] = [
        [Some(("weir.example", 19_092)), Some(("weir.example", 19_093)), Some(("weir.example", 19_094))],
        [None, Some(("a-rather-long-name-for-a-gateway.example.com", 19_093)), None],
        [None, None, None],
    ];
    for addresses in cases {
        check(
            |fetched, _, splices| fetched.rewrite_endpoints(&addresses, splices),
            |body, _| {
                let mut at = addresses.iter();
                body.node_endpoints.retain_mut(|endpoint| {
                    let Some((host, port)) = at.next().unwrap() else { return false };
                    (endpoint.host, endpoint.port) = (StrBytes::from_static_str(host), i32::from(*port));
                    true
                });
            },
        );
    }
    // Fewer addresses than endpoints: the rest goes too.
    check(
        |fetched, _, splices| fetched.rewrite_endpoints(&[Some(("weir", 1_u16))], splices),
        |body, _| {
            body.node_endpoints.truncate(1);
            for endpoint in &mut body.node_endpoints {
                (endpoint.host, endpoint.port) = (text("weir"), 1);
            }
        },
    );
}

#[test]
fn adds_refused_partitions_to_their_topic_or_as_a_new_one() {
    check(
        |fetched, version, splices| {
            let refusals = [
                refusal(key(version, 2, "second"), &[6, 7], 29),
                refusal(key(version, 3, "third"), &[0], 29),
                refusal(key(version, 3, "third"), &[1], 100),
                refusal(key(version, 4, "nothing"), &[], 100),
            ];
            fetched.add_errors(&refusals, splices);
        },
        |body, version| {
            body.responses[1].partitions.extend([refused(version, 6, 29), refused(version, 7, 29)]);
            body.responses.push(topic(version, 3, "third", vec![refused(version, 0, 29), refused(version, 1, 100)]));
        },
    );
}

#[test]
fn all_edits_go_together() {
    check(
        |fetched, version, splices| {
            fetched.add_errors(
                &[refusal(key(version, 1, "first"), &[8], 29), refusal(key(version, 3, "third"), &[0], 29)],
                splices,
            );
            fetched.set_partition_error(1, 0, 56, splices);
            fetched.rewrite_endpoints(&[None, Some(("weir", 2_u16)), None], splices);
            fetched.replace_records(0, 0, Bytes::from_static(b"masked"), splices);
            fetched.make_sessionless(splices);
        },
        |body, version| {
            body.session_id = 0;
            body.responses[0].partitions[0].records = Some(Bytes::from_static(b"masked"));
            body.responses[0].partitions.push(refused(version, 8, 29));
            (body.responses[1].partitions[0].error_code, body.responses[1].partitions[0].records) =
                (56, Some(Bytes::new()));
            body.responses.push(topic(version, 3, "third", vec![refused(version, 0, 29)]));
            if version >= 16 {
                body.node_endpoints = vec![body.node_endpoints[1].clone().with_host(text("weir")).with_port(2)];
            }
        },
    );
}

#[test]
fn answers_without_the_broker() {
    for version in ApiKey::Fetch.versions() {
        let refusals = [
            refusal(key(version, 2, "second"), &[6, 7], 29),
            refusal(key(version, 1, "first"), &[0], 29),
            refusal(key(version, 2, "second"), &[8], 100),
        ];
        let frame = fetch_error_response(version, ID, &refusals, 0);
        let response = check_response(ApiKey::Fetch, version, ID, &frame).unwrap();
        assert!(response.cleaning.is_empty());
        let mut expected = Body::default();
        expected.responses = vec![
            topic(version, 1, "first", vec![refused(version, 0, 29)]),
            topic(
                version,
                2,
                "second",
                vec![refused(version, 6, 29), refused(version, 7, 29), refused(version, 8, 100)],
            ),
        ];
        assert_eq!(decode::<Body>(&frame[response.body..], version), expected, "version {version}");
        let whole = fetch_error_response(version, ID, &[], 70);
        let response = check_response(ApiKey::Fetch, version, ID, &whole).unwrap();
        let code = decode::<Body>(&whole[response.body..], version).error_code;
        assert_eq!(code, if version >= 7 { 70 } else { 0 });
    }
}
