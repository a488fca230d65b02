//! Coordinators, groups, offsets and producer ids.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse, TransactionalId,
};
use kafka_protocol::protocol::Request;
use weir_session::DoorAuth;

use crate::messages::{HEARTBEAT, group, heartbeat, text, topic};
use crate::stage::{Setup, Stage, play, play_in};
use crate::world::{self, ADVERTISED_HOST, BROKER_HOST};

const MINE: &str = "checkout-1";
const FOREIGN: &str = "payroll";

/// The request goes to the broker, and its answer comes back.
#[track_caller]
fn passes<R: Request>(stage: &mut Stage, version: i16, request: &R, answer: &R::Response) -> R::Response {
    stage.ask(version, request);
    let (asked, _) = stage.heard::<R>();
    stage.say(&asked, answer);
    stage.answer::<R>()
}

/// The request is answered without the broker.
#[track_caller]
fn refused<R: Request>(stage: &mut Stage, version: i16, request: &R) -> R::Response {
    stage.ask(version, request);
    let answer = stage.answer::<R>();
    stage.heard_nothing();
    answer
}

fn coordinator(id: i32) -> Coordinator {
    let host = text(&format!("{BROKER_HOST}-{id}"));
    Coordinator::default().with_key(text(MINE)).with_node_id(id.into()).with_host(host).with_port(9092)
}

#[test]
fn a_coordinator_is_named_by_weirs_port() {
    play(|stage| {
        stage.login();
        let asked = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(MINE), text(FOREIGN)]);
        stage.ask(4, &asked);
        let (heard, request) = stage.heard::<FindCoordinatorRequest>();
        assert_eq!(request.coordinator_keys, [text(MINE)]);
        stage.say(&heard, &FindCoordinatorResponse::default().with_coordinators(vec![coordinator(1)]));
        let answer = stage.answer::<FindCoordinatorRequest>();
        let found: Vec<_> = answer
            .coordinators
            .iter()
            .map(|c| (c.key.to_string(), c.error_code, c.node_id.0, c.host.to_string(), c.port))
            .collect();
        assert_eq!(found[0], (MINE.to_owned(), 0, 1, ADVERTISED_HOST.to_owned(), 9194));
        assert_eq!((found[1].0.as_str(), found[1].1, found[1].2), (FOREIGN, 30, -1));
    });
}

#[test]
fn a_coordinator_is_named_by_weirs_port_in_old_versions_too() {
    play(|stage| {
        stage.login();
        let asked = FindCoordinatorRequest::default().with_key(text(MINE));
        let answer = FindCoordinatorResponse::default()
            .with_node_id(BrokerId(0))
            .with_host(text(&format!("{BROKER_HOST}-0")))
            .with_port(9092)
            .with_error_message(Some(text("ask kafka-internal-0")));
        let found = passes(stage, 2, &asked, &answer);
        assert_eq!((found.node_id.0, found.host.to_string(), found.port), (0, ADVERTISED_HOST.to_owned(), 9193));
        let found = refused(stage, 2, &FindCoordinatorRequest::default().with_key(text(FOREIGN)));
        assert_eq!((found.error_code, found.node_id.0), (30, -1));
    });
}

#[test]
fn a_coordinator_without_a_port_is_not_available() {
    play(|stage| {
        stage.login();
        let asked = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(MINE)]);
        let answer = FindCoordinatorResponse::default().with_coordinators(vec![coordinator(2)]);
        let found = passes(stage, 4, &asked, &answer);
        assert_eq!((found.coordinators[0].error_code, found.coordinators[0].node_id.0), (15, -1));
    });
}

#[test]
fn coordinators_of_transactions_and_share_groups_are_refused() {
    play(|stage| {
        stage.login();
        let asked = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(MINE)]);
        let found = refused(stage, 4, &asked.clone().with_key_type(1));
        assert_eq!(found.coordinators[0].error_code, 53);
        let found = refused(stage, 6, &asked.with_key_type(2));
        assert_eq!(found.coordinators[0].error_code, 42);
    });
}

#[test]
fn a_granted_group_is_passed_on() {
    play(|stage| {
        stage.login();
        let join = JoinGroupRequest::default().with_group_id(group(MINE)).with_protocol_type(text("consumer"));
        let answer = JoinGroupResponse::default().with_generation_id(3).with_protocol_name(Some(text("range")));
        assert_eq!(passes(stage, 7, &join, &answer).generation_id, 3);
        let sync = SyncGroupRequest::default().with_group_id(group(MINE));
        assert_eq!(passes(stage, 5, &sync, &SyncGroupResponse::default().with_error_code(27)).error_code, 27);
        assert_eq!(passes(stage, HEARTBEAT, &heartbeat(MINE), &HeartbeatResponse::default()).error_code, 0);
        let leave = LeaveGroupRequest::default().with_group_id(group(MINE));
        assert_eq!(passes(stage, 5, &leave, &LeaveGroupResponse::default()).error_code, 0);
        assert_eq!(stage.entries().len(), 1, "group calls make no entries");
    });
}

#[test]
fn another_group_is_refused() {
    play(|stage| {
        stage.login();
        for version in 0..=9 {
            let join = JoinGroupRequest::default().with_group_id(group(FOREIGN));
            assert_eq!(refused(stage, version, &join).error_code, 30);
        }
        let sync = SyncGroupRequest::default().with_group_id(group(FOREIGN));
        assert_eq!(refused(stage, 5, &sync).error_code, 30);
        assert_eq!(refused(stage, HEARTBEAT, &heartbeat(FOREIGN)).error_code, 30);
        let leave = LeaveGroupRequest::default().with_group_id(group(FOREIGN));
        assert_eq!(refused(stage, 5, &leave).error_code, 30);
        assert_eq!(stage.refused().len(), 13);
        assert!(stage.refused().iter().all(|refusal| refusal.1 == "group_not_allowed"));
    });
}

fn commit(name: &str, topics: &[&str]) -> OffsetCommitRequest {
    let partition = || OffsetCommitRequestPartition::default().with_committed_offset(5);
    let topics = topics
        .iter()
        .map(|name| OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition()]))
        .collect();
    OffsetCommitRequest::default().with_group_id(group(name)).with_topics(topics)
}

fn committed(names: &[&str]) -> OffsetCommitResponse {
    let partition = || OffsetCommitResponsePartition::default();
    let topics = names
        .iter()
        .map(|name| OffsetCommitResponseTopic::default().with_name(topic(name)).with_partitions(vec![partition()]))
        .collect();
    OffsetCommitResponse::default().with_topics(topics)
}

fn commit_codes(answer: &OffsetCommitResponse) -> Vec<(String, i16)> {
    answer.topics.iter().map(|topic| (topic.name.to_string(), topic.partitions[0].error_code)).collect()
}

#[test]
fn offsets_are_committed_for_topics_that_may_be_read() {
    play(|stage| {
        stage.login();
        let answer = passes(stage, 8, &commit(MINE, &["orders"]), &committed(&["orders"]));
        assert_eq!(commit_codes(&answer), [("orders".to_owned(), 0)]);
        stage.ask(8, &commit(MINE, &["salaries", "orders"]));
        let (asked, request) = stage.heard::<OffsetCommitRequest>();
        assert_eq!(request.topics.len(), 1);
        stage.say(&asked, &committed(&["orders"]));
        let answer = stage.answer::<OffsetCommitRequest>();
        assert_eq!(commit_codes(&answer), [("orders".to_owned(), 0), ("salaries".to_owned(), 29)]);
        assert_eq!(commit_codes(&refused(stage, 8, &commit(MINE, &["salaries"]))), [("salaries".to_owned(), 29)]);
        assert_eq!(commit_codes(&refused(stage, 8, &commit(FOREIGN, &["orders"]))), [("orders".to_owned(), 30)]);
    });
}

#[test]
fn committed_offsets_are_shown_for_topics_that_may_be_seen() {
    play(|stage| {
        stage.login();
        let asked = |name: &str| OffsetFetchRequestGroup::default().with_group_id(group(name)).with_topics(None);
        stage.ask(8, &OffsetFetchRequest::default().with_groups(vec![asked(MINE), asked(FOREIGN)]));
        let (heard, request) = stage.heard::<OffsetFetchRequest>();
        assert_eq!(request.groups.len(), 1);
        let topic = |name: &str| {
            let partition = OffsetFetchResponsePartitions::default().with_committed_offset(5);
            OffsetFetchResponseTopics::default().with_name(topic(name)).with_partitions(vec![partition])
        };
        let found = OffsetFetchResponseGroup::default()
            .with_group_id(group(MINE))
            .with_topics(vec![topic("orders"), topic("salaries")]);
        stage.say(&heard, &OffsetFetchResponse::default().with_groups(vec![found]));
        let answer = stage.answer::<OffsetFetchRequest>();
        let topics: Vec<_> = answer.groups[0].topics.iter().map(|topic| topic.name.to_string()).collect();
        assert_eq!(topics, ["orders"]);
        assert_eq!((answer.groups[1].group_id.to_string(), answer.groups[1].error_code), (FOREIGN.to_owned(), 30));
        let foreign = OffsetFetchRequest::default().with_group_id(group(FOREIGN)).with_topics(Some(vec![]));
        assert_eq!(refused(stage, 5, &foreign).error_code, 30);
    });
}

#[test]
fn offsets_are_listed_for_topics_that_may_be_seen_and_as_a_consumer() {
    play(|stage| {
        stage.login();
        let asked = |names: &[&str]| {
            let topics = names
                .iter()
                .map(|name| {
                    ListOffsetsTopic::default()
                        .with_name(topic(name))
                        .with_partitions(vec![ListOffsetsPartition::default()])
                })
                .collect();
            ListOffsetsRequest::default().with_replica_id(BrokerId(3)).with_topics(topics)
        };
        stage.ask(7, &asked(&["salaries", "orders"]));
        let (heard, request) = stage.heard::<ListOffsetsRequest>();
        assert_eq!((request.replica_id.0, request.topics.len()), (-1, 1));
        let partition = ListOffsetsPartitionResponse::default().with_offset(9);
        let found = ListOffsetsTopicResponse::default().with_name(topic("orders")).with_partitions(vec![partition]);
        stage.say(&heard, &ListOffsetsResponse::default().with_topics(vec![found]));
        let answer = stage.answer::<ListOffsetsRequest>();
        let codes: Vec<_> =
            answer.topics.iter().map(|topic| (topic.name.to_string(), topic.partitions[0].error_code)).collect();
        assert_eq!(codes, [("orders".to_owned(), 0), ("salaries".to_owned(), 29)]);
        assert_eq!(refused(stage, 7, &asked(&["salaries"])).topics[0].partitions[0].error_code, 29);
    });
}

#[test]
fn a_producer_id_is_for_those_who_may_produce_and_not_for_transactions() {
    play(|stage| {
        stage.login();
        let asked = InitProducerIdRequest::default().with_transactional_id(None);
        let answer = InitProducerIdResponse::default().with_producer_id(9.into());
        assert_eq!(passes(stage, 4, &asked, &answer).producer_id.0, 9);
        let transactional = asked.with_transactional_id(Some(TransactionalId(text("tx-1"))));
        let answer = refused(stage, 4, &transactional);
        assert_eq!((answer.error_code, answer.producer_id.0), (53, -1));
    });
    let reader =
        || Setup { door: world::door(DoorAuth::Anonymous { groups: vec!["readers".to_owned()] }), ..Setup::default() };
    play_in(reader, |stage| {
        assert_eq!(refused(stage, 4, &InitProducerIdRequest::default().with_transactional_id(None)).error_code, 31);
    });
}

#[test]
fn an_api_that_weir_does_not_serve_is_unsupported_in_its_own_schema() {
    play(|stage| {
        stage.login();
        // DeleteGroups 2 (KIP-229), an empty list of groups.
        let asked = crate::witness::Asked { api: 42, version: 2, correlation_id: 5, silent: false };
        let frame = [0, 42, 0, 2, 0, 0, 0, 5, 0xff, 0xff, 0, 1, 0];
        stage.send(asked, &crate::stage::sized(&frame));
        // It has no error of its own: the connection ends.
        stage.no_answer();
        stage.closed_by("not_served");
    });
    play(|stage| {
        stage.login();
        // DescribeAcls 1 (KIP-133).
        let asked = crate::witness::Asked { api: 29, version: 1, correlation_id: 5, silent: false };
        stage.send(asked, &crate::stage::sized(&[0, 29, 0, 1, 0, 0, 0, 5, 0xff, 0xff]));
        let frame = stage.answer_frame();
        assert_eq!((&frame[..4], &frame[8..10]), (&[0, 0, 0, 5][..], &[0, 35][..]));
        stage.stays_open();
        assert_eq!(stage.refused(), [(35, "not_served", None)]);
    });
}

#[test]
fn a_heartbeat_in_any_version_keeps_its_form() {
    play(|stage| {
        stage.login();
        for version in 0..=4 {
            stage.ask(version, &heartbeat(MINE));
            let (asked, request) = stage.heard::<HeartbeatRequest>();
            assert_eq!((asked.version, request.group_id), (version, group(MINE)));
            stage.say(&asked, &HeartbeatResponse::default());
            stage.answer::<HeartbeatRequest>();
        }
    });
}
