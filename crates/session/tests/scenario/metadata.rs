//! Metadata: addresses, topics, and that nothing is created.

use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use uuid::Uuid;

use crate::messages::{METADATA, metadata, text, topic};
use crate::stage::{Stage, play};
use crate::world::{ADVERTISED_HOST, BROKER_HOST, HIDDEN, ORDERS};

fn of(names: &[&str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic(name)))).collect();
    MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(true)
}

/// The whole cluster: three brokers, the third of which has no port here, and these topics.
fn cluster(topics: &[(&str, Uuid)]) -> MetadataResponse {
    let broker = |id: i32| {
        let host = text(&format!("{BROKER_HOST}-{id}"));
        MetadataResponseBroker::default().with_node_id(id.into()).with_host(host).with_port(9092)
    };
    let topic = |(name, id): &(&str, Uuid)| {
        let partition =
            MetadataResponsePartition::default().with_leader_id(2.into()).with_replica_nodes(vec![2.into()]);
        MetadataResponseTopic::default()
            .with_name(Some(topic(name)))
            .with_topic_id(*id)
            .with_partitions(vec![partition])
    };
    MetadataResponse::default()
        .with_brokers((0..3).map(broker).collect())
        .with_controller_id(BrokerId(2))
        .with_topics(topics.iter().map(topic).collect())
}

fn names(answer: &MetadataResponse) -> Vec<(String, i16)> {
    let name = |name: &Option<TopicName>| name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default();
    answer.topics.iter().map(|topic| (name(&topic.name), topic.error_code)).collect()
}

#[track_caller]
fn broker_answers(stage: &mut Stage, topics: &[(&str, Uuid)]) -> (i16, MetadataRequest) {
    let (asked, request) = stage.heard::<MetadataRequest>();
    stage.say(&asked, &cluster(topics));
    (asked.version, request)
}

#[test]
fn brokers_are_shown_at_weirs_ports_and_those_without_one_are_hidden() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        let (asked, _) = stage.heard::<MetadataRequest>();
        let mut cluster = cluster(&[("orders", ORDERS)]);
        cluster.topics[0].topic_authorized_operations = 0x7fff;
        stage.say(&asked, &cluster);
        let answer = stage.answer::<MetadataRequest>();
        let told: Vec<_> = answer.brokers.iter().map(|b| (b.node_id.0, b.host.to_string(), b.port)).collect();
        assert_eq!(told, [(0, ADVERTISED_HOST.to_owned(), 9193), (1, ADVERTISED_HOST.to_owned(), 9194)]);
        assert_eq!(answer.controller_id.0, -1, "the controller has no port here");
        // Ids are weir's and Kafka's alike: leaders stay as they are.
        assert_eq!(answer.topics[0].partitions[0].leader_id.0, 2);
        assert_eq!(answer.topics[0].topic_authorized_operations, i32::MIN);
    });
}

#[test]
fn all_topics_are_those_that_the_client_may_see() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        broker_answers(stage, &[("orders", ORDERS), ("salaries", HIDDEN)]);
        assert_eq!(names(&stage.answer::<MetadataRequest>()), [("orders".to_owned(), 0)]);
    });
}

#[test]
fn a_topic_asked_for_by_name_that_may_not_be_seen_gets_29() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &of(&["salaries", "orders"]));
        let (_, request) = broker_answers(stage, &[("orders", ORDERS)]);
        assert_eq!(request.topics.unwrap().len(), 1, "the broker is not asked for the other");
        let mut found = names(&stage.answer::<MetadataRequest>());
        found.sort();
        assert_eq!(found, [("orders".to_owned(), 0), ("salaries".to_owned(), 29)]);
    });
}

#[test]
fn a_topic_asked_for_by_id_that_may_not_be_seen_is_an_unknown_id() {
    play(|stage| {
        stage.login();
        let by_id = |id: &Uuid| MetadataRequestTopic::default().with_name(None).with_topic_id(*id);
        let asked = [HIDDEN, ORDERS].iter().map(by_id).collect();
        stage.ask(METADATA, &MetadataRequest::default().with_topics(Some(asked)));
        broker_answers(stage, &[("salaries", HIDDEN), ("orders", ORDERS)]);
        let answer = stage.answer::<MetadataRequest>();
        let found: Vec<_> = answer.topics.iter().map(|topic| (topic.topic_id, topic.error_code)).collect();
        assert_eq!(found, [(HIDDEN, 100), (ORDERS, 0)]);
        assert_eq!(names(&answer)[0].0, "", "its name is not told");
        assert!(answer.topics[0].partitions.is_empty());
    });
}

#[test]
fn no_version_creates_topics() {
    for version in 0..=13 {
        play(|stage| {
            stage.login();
            let asked = of(&["orders"]).with_allow_auto_topic_creation(true);
            stage.ask(version, &asked);
            let (upstream, request) = broker_answers(stage, &[("orders", ORDERS)]);
            assert!(!request.allow_auto_topic_creation);
            assert_eq!(upstream, version.max(4), "version 4 is the first that can say so");
            assert_eq!(names(&stage.answer::<MetadataRequest>()), [("orders".to_owned(), 0)]);
        });
    }
}

#[test]
fn an_empty_list_means_all_topics_in_version_0_and_none_later() {
    let asked = |version: i16| {
        play(|stage| {
            stage.login();
            stage.ask(version, &MetadataRequest::default().with_topics(Some(vec![])));
            let (_, request) = broker_answers(stage, &[]);
            assert_eq!(request.topics.is_none(), version == 0);
            stage.answer::<MetadataRequest>();
        });
    };
    asked(0);
    asked(1);
}
