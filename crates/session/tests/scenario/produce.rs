//! Produce: what passes, what is changed, what is refused, and how the answers come together.

use std::sync::Arc;

use kafka_protocol::messages::{MetadataRequest, ProduceRequest, ProduceResponse};
use uuid::Uuid;
use weir_audit::{Decision, Kind, Outcome};

use crate::batch::{Batch, TRANSACTIONAL, read};
use crate::messages::{
    METADATA, PRODUCE, PRODUCE_BY_ID, code, codes, metadata, produce, produce_by_id, produce_to, produced,
};
use crate::stage::{Setup, Stage, play, play_in};
use crate::world::{self, HIDDEN, ORDERS, PAYMENTS};

const CARD: &str = r#"{"card":{"number":"4111111111111111"}}"#;
const MASKED: &str = r#"{"card":{"number":"************1111"}}"#;
const SECRET: &str = r#"{"card":{"cvc":"123"}}"#;

fn records(request: &ProduceRequest, topic: usize, partition: usize) -> Vec<(i64, String)> {
    read(request.topic_data[topic].partition_data[partition].records.as_ref().unwrap())
}

/// The broker stores the next request from this offset on.
#[track_caller]
fn store(stage: &mut Stage, base_offset: i64) -> ProduceRequest {
    let (asked, request) = stage.heard::<ProduceRequest>();
    stage.say(&asked, &produced(&request, base_offset, 0));
    request
}

fn refusal(answer: &ProduceResponse) -> (i16, String, Vec<(i32, String)>) {
    let partition = &answer.responses[0].partition_responses[0];
    let text =
        |text: &Option<kafka_protocol::protocol::StrBytes>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    let records = partition.record_errors.iter().map(|e| (e.batch_index, text(&e.batch_index_error_message)));
    (partition.error_code, text(&partition.error_message), records.collect())
}

#[test]
fn what_no_rule_touches_goes_on_byte_identical() {
    play(|stage| {
        stage.login();
        let batch = Batch::of(["a", "b"]).by(7, 0, 0);
        stage.ask(PRODUCE, &produce("orders", &batch));
        let (asked, request) = stage.heard::<ProduceRequest>();
        assert_eq!((request.acks, asked.client_id.as_str()), (-1, "weir/app"));
        assert_eq!(request.topic_data[0].partition_data[0].records.as_deref(), Some(&batch.encode()[..]));
        stage.say(&asked, &produced(&request, 40, 0));
        assert_eq!(codes(&stage.answer::<ProduceRequest>()), [("orders".to_owned(), vec![(0, 0, 40)])]);
        let entries = stage.entries();
        let entry = entries.last().unwrap();
        assert_eq!((entry.kind, entry.decision, entry.outcome), (Kind::Produce, Decision::Pass, Outcome::Stored));
        assert!(entry.intent_at.is_some());
        let part = &entry.parts[0];
        assert_eq!((part.base_offset, part.last_offset, part.records), (Some(40), Some(41), 2));
        assert_eq!(part.producer, Some((7, 0, 0)));
    });
}

#[test]
fn a_field_is_masked_before_the_broker_sees_it() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of([CARD, "{}"])));
        let request = store(stage, 0);
        assert_eq!(records(&request, 0, 0), [(0, MASKED.to_owned()), (1, "{}".to_owned())]);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        let entries = stage.entries();
        let entry = entries.last().unwrap();
        assert_eq!((entry.decision, entry.parts[0].digest.is_some()), (Decision::Mask, true));
        let hits: Vec<_> =
            entry.rule_hits.iter().map(|hit| (hit.rule.as_str(), hit.action.as_str(), hit.count)).collect();
        assert_eq!(hits, [("card-numbers", "mask", 1)]);
    });
}

#[test]
fn a_topic_that_is_not_allowed_is_refused_and_nothing_goes_on() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("salaries", &Batch::of(["{}"])));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 29);
        stage.heard_nothing();
        assert_eq!(stage.refused(), [(29, "topic_not_allowed", Some("salaries".to_owned()))]);
        stage.stays_open();
    });
}

#[test]
fn a_refused_record_names_the_rule_and_the_event_and_is_recorded_before_the_answer() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of(["{}", SECRET])));
        stage.no_answer();
        stage.record(1);
        let answer = stage.answer::<ProduceRequest>();
        let entries = stage.entries();
        let entry = entries.last().unwrap();
        assert_eq!((entry.kind, entry.outcome), (Kind::Block, Outcome::Refused { code: 87 }));
        let (code, message, records) = refusal(&answer);
        let event = entry.event_id.to_string();
        assert_eq!(code, 87);
        assert_eq!(message, format!("weir: rule \"card-secrets\" refused 1 of the batch's records (event {event})"));
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].0, 1);
        assert!(records[0].1.contains("card-secrets") && records[0].1.contains(&event));
        assert!(!message.contains("123"));
        stage.heard_nothing();
    });
}

#[test]
fn a_batch_that_cannot_be_read_is_refused() {
    play(|stage| {
        stage.login();
        for topic in ["orders", "payments.eu"] {
            let damaged = Batch::of(["{}"]).encode_damaged();
            stage.ask(PRODUCE, &produce_to(vec![(topic, vec![(0, damaged)])]));
            let (code, message, _) = refusal(&stage.answer::<ProduceRequest>());
            assert_eq!(code, 87);
            assert!(message.contains("cannot be read"), "{message}");
        }
        stage.heard_nothing();
    });
}

/// The right to use a transactional id was asked for nowhere (T21): a broker would be asked in weir's own name.
#[test]
fn a_batch_of_a_transaction_that_the_request_does_not_name_is_refused() {
    play(|stage| {
        stage.login();
        for topic in ["orders", "payments.eu"] {
            let batch = Batch::of(["{}"]).by(7, 0, 0);
            stage.ask(PRODUCE, &produce(topic, &batch.clone().with(TRANSACTIONAL)));
            let (code, message, _) = refusal(&stage.answer::<ProduceRequest>());
            assert_eq!(code, 87);
            assert!(message.contains("part of a transaction, but the request names none"), "{message}");
            stage.heard_nothing();
            // The control: the same batch outside of a transaction.
            stage.ask(PRODUCE, &produce(topic, &batch));
            store(stage, 0);
            assert_eq!(crate::messages::code(&stage.answer::<ProduceRequest>()), 0);
        }
    });
}

#[test]
fn batches_behind_a_refused_one_of_the_same_producer_wait_for_sequence_zero() {
    play(|stage| {
        stage.login();
        let batch = |sequence, value: &str| Batch::of([value]).by(7, 0, sequence);
        // All in flight at once: the second must not overtake the first's refusal.
        stage.ask(PRODUCE, &produce("payments.eu", &batch(0, SECRET)));
        stage.ask(PRODUCE, &produce("payments.eu", &batch(1, "{}")));
        stage.ask(PRODUCE, &produce("payments.us", &batch(1, "{}")));
        stage.ask(PRODUCE, &produce("payments.eu", &batch(2, "{}")));
        stage.ask(PRODUCE, &produce("payments.eu", &batch(0, "{}")));
        stage.ask(PRODUCE, &produce("payments.eu", &batch(1, "{}")));
        for _ in 0..3 {
            store(stage, 9);
        }
        let codes: Vec<_> = (0..6).map(|_| code(&stage.answer::<ProduceRequest>())).collect();
        assert_eq!(codes, [87, 45, 0, 45, 0, 0]);
        stage.heard_nothing();
    });
}

/// A number of records with a short secret, which masking makes longer (`world::GROWING`).
fn growing<const N: usize>(sequence: i32) -> Batch {
    Batch::of([r#"{"t":"x"}"#; N]).by(7, 0, sequence)
}

#[test]
fn a_batch_that_grows_beyond_its_topic_is_split_by_who_can() {
    play_in(growing_world, |stage| {
        stage.login();
        let limit = world::TOPIC_BYTES_MAX;
        // 61 bytes of header, 16 for each record, 25 with the edit.
        stage.ask(PRODUCE, &produce("payments.eu", &growing::<37>(0)));
        let request = store(stage, 0);
        assert_eq!(request.topic_data[0].partition_data[0].records.as_ref().unwrap().len(), 61 + 37 * 25);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        stage.ask(PRODUCE, &produce("payments.eu", &growing::<38>(37)));
        stage.ask(PRODUCE, &produce("payments.eu", &growing::<1>(75)));
        let (refused, message, records) = refusal(&stage.answer::<ProduceRequest>());
        assert_eq!((refused, records), (10, vec![]));
        let sizes = format!("1011 bytes of 669, and its topic takes {limit}");
        assert!(message.starts_with(&format!("weir: rule \"short\" makes this batch {sizes} (event ")), "{message}");
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 45, "what is behind it waits for its parts");
        let entries = stage.entries();
        let entry = entries.last().unwrap();
        assert_eq!((entry.kind, entry.outcome), (Kind::Block, Outcome::Refused { code: 10 }));
        let reason = entry.reason.as_deref().unwrap();
        assert!(reason.contains("1011 bytes of 669") && reason.ends_with("rules: short"), "{reason}");
        // Java sends the same records in two batches.
        for (sequence, batch) in [(37, growing::<20>(37)), (57, growing::<18>(57)), (75, growing::<1>(75))] {
            stage.ask(PRODUCE, &produce("payments.eu", &batch));
            store(stage, i64::from(sequence));
            assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        }
        stage.heard_nothing();
    });
}

#[test]
fn a_record_that_grows_beyond_its_topic_is_refused() {
    play_in(growing_world, |stage| {
        stage.login();
        let long = format!(r#"{{"t":[{}"x"]}}"#, r#""x","#.repeat(100));
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of([&long])));
        let (code, message, _) = refusal(&stage.answer::<ProduceRequest>());
        assert_eq!(code, 87);
        assert!(message.contains("rule \"short\" makes this batch"), "{message}");
        assert_eq!(stage.entries().last().unwrap().outcome, Outcome::Refused { code: 87 });
        stage.heard_nothing();
        // A topic that is not known has the limit of the configuration, 2000.
        stage.ask(PRODUCE, &produce("payments.us", &growing::<77>(0)));
        store(stage, 0);
        assert_eq!(crate::messages::code(&stage.answer::<ProduceRequest>()), 0);
        stage.ask(PRODUCE, &produce("payments.us", &growing::<78>(77)));
        assert_eq!(refusal(&stage.answer::<ProduceRequest>()).0, 10);
    });
}

/// What is too large without an edit is not weir's to refuse, whether an edit makes it larger still or not.
#[test]
fn a_batch_that_was_too_large_as_it_came_goes_on_to_the_broker() {
    play_in(growing_world, |stage| {
        stage.login();
        for batch in [growing::<100>(0), Batch::of([r#"{"u":"x"}"#; 100]).by(7, 0, 100)] {
            stage.ask(PRODUCE, &produce("payments.eu", &batch));
            let (asked, request) = stage.heard::<ProduceRequest>();
            stage.say(&asked, &produced(&request, 0, 10));
            assert_eq!(code(&stage.answer::<ProduceRequest>()), 10);
        }
    });
}

fn growing_world() -> Setup {
    Setup {
        context: weir_session::Context { policy: world::compiled(world::GROWING), ..world::context() },
        ..Setup::default()
    }
}

#[test]
fn a_new_epoch_starts_a_refused_producer_anew() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of([SECRET]).by(7, 0, 5)));
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of(["{}"]).by(7, 1, 3)));
        store(stage, 0);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 87);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
    });
}

#[test]
fn a_request_goes_on_without_its_refused_partitions_and_is_answered_in_its_own_order() {
    play(|stage| {
        stage.login();
        let (good, bad) = (Batch::of([CARD]).encode(), Batch::of([SECRET]).encode());
        let partitions = vec![(2, good.clone()), (0, bad), (1, good.clone())];
        stage.ask(
            PRODUCE,
            &produce_to(vec![
                ("salaries", vec![(0, good.clone())]),
                ("payments.eu", partitions),
                ("orders", vec![(4, good)]),
            ]),
        );
        let (asked, request) = stage.heard::<ProduceRequest>();
        let sent: Vec<_> = request
            .topic_data
            .iter()
            .map(|topic| (topic.name.to_string(), topic.partition_data.iter().map(|p| p.index).collect::<Vec<_>>()))
            .collect();
        assert_eq!(sent, [("payments.eu".to_owned(), vec![2, 1]), ("orders".to_owned(), vec![4])]);
        assert_eq!(records(&request, 0, 1), [(0, MASKED.to_owned())]);
        // The broker answers in another order.
        let mut answer = produced(&request, 3, 0);
        answer.responses.reverse();
        answer.responses[1].partition_responses.reverse();
        stage.say(&asked, &answer);
        let answer = stage.answer::<ProduceRequest>();
        assert_eq!(
            codes(&answer),
            [
                ("salaries".to_owned(), vec![(0, 29, -1)]),
                ("payments.eu".to_owned(), vec![(2, 0, 3), (0, 87, -1), (1, 0, 3)]),
                ("orders".to_owned(), vec![(4, 0, 3)]),
            ]
        );
        let entries = stage.entries();
        let entry = entries.last().unwrap();
        assert_eq!((entry.decision, entry.outcome), (Decision::Refuse, Outcome::Stored));
        assert_eq!(entry.parts.iter().map(|part| part.error_code).collect::<Vec<_>>(), [0, 87, 0, 0]);
    });
}

#[test]
fn acks_0_goes_on_as_acks_1_and_its_answer_is_swallowed() {
    play(|stage| {
        stage.login();
        stage.ask_silently(PRODUCE, &produce("orders", &Batch::of(["a"])).with_acks(0));
        stage.ask(METADATA, &metadata());
        let request = store(stage, 5);
        assert_eq!(request.acks, 1);
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &crate::messages::metadata_answer());
        stage.answer::<MetadataRequest>();
        stage.no_answer();
        stage.stays_open();
        assert_eq!(stage.entries().last().unwrap().outcome, Outcome::Stored);
    });
}

#[test]
fn an_error_behind_acks_0_ends_the_connection_and_is_recorded() {
    play(|stage| {
        stage.login();
        stage.ask_silently(PRODUCE, &produce("orders", &Batch::of(["a"])).with_acks(0));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &produced(&request, 0, 19));
        stage.no_answer();
        stage.closed_by("silent_request_refused");
        assert_eq!(stage.entries().last().unwrap().outcome, Outcome::BrokerError { code: 19 });
        assert_eq!(stage.open_intents(), []);
    });
}

#[test]
fn a_refused_record_behind_acks_0_ends_the_connection_and_nothing_behind_it_goes_on() {
    play(|stage| {
        stage.login();
        stage.ask_silently(PRODUCE, &produce("payments.eu", &Batch::of([SECRET])).with_acks(0));
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["b"])));
        stage.ask(METADATA, &metadata());
        stage.heard_nothing();
        stage.no_answer();
        stage.closed_by("silent_request_refused");
        assert_eq!(stage.entries().last().unwrap().kind, Kind::Block);
    });
}

#[test]
fn acks_of_another_value_are_refused() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])).with_acks(2));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 21);
        stage.heard_nothing();
    });
}

#[test]
fn a_transactional_id_is_refused() {
    play(|stage| {
        stage.login();
        let id = Some(kafka_protocol::messages::TransactionalId(crate::messages::text("tx-1")));
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])).with_transactional_id(id));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 53);
        stage.heard_nothing();
    });
}

#[test]
fn a_known_topic_id_is_judged_by_its_name() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE_BY_ID, &produce_by_id(PAYMENTS, &Batch::of([CARD])));
        stage.ask(PRODUCE_BY_ID, &produce_by_id(HIDDEN, &Batch::of(["a"])));
        let request = store(stage, 1);
        assert_eq!((request.topic_data[0].topic_id, records(&request, 0, 0)), (PAYMENTS, vec![(0, MASKED.to_owned())]));
        let answer = stage.answer::<ProduceRequest>();
        assert_eq!((answer.responses[0].topic_id, code(&answer)), (PAYMENTS, 0));
        let answer = stage.answer::<ProduceRequest>();
        assert_eq!((answer.responses[0].topic_id, code(&answer)), (HIDDEN, 29));
    });
}

#[test]
fn an_unknown_topic_id_is_asked_for_and_holds_back_what_is_behind_it() {
    play(|stage| {
        stage.login();
        let fresh = Uuid::from_u128(0x77);
        stage.ask(PRODUCE_BY_ID, &produce_by_id(fresh, &Batch::of(["a"]).by(7, 0, 0)));
        stage.ask(PRODUCE_BY_ID, &produce_by_id(ORDERS, &Batch::of(["b"]).by(7, 0, 1)));
        stage.heard_nothing();
        assert!(stage.asked_for().contains(&format!("topics {:?}", [fresh])));
        stage.wait(world::SECOND);
        let mut context = world::context();
        let mut view = world::view();
        view.topics.insert(fresh, Arc::from("orders"));
        context.view = Some(Arc::new(view));
        stage.swap(context);
        assert_eq!(store(stage, 0).topic_data[0].topic_id, fresh);
        assert_eq!(store(stage, 1).topic_data[0].topic_id, ORDERS);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
    });
}

#[test]
fn a_topic_id_that_the_cluster_does_not_have_gets_100() {
    play(|stage| {
        stage.login();
        let never = Uuid::from_u128(0x77);
        stage.ask(PRODUCE_BY_ID, &produce_by_id(never, &Batch::of(["a"])));
        stage.no_answer();
        let mut context = world::context();
        let mut view = world::view();
        view.unknown_topics.insert(never);
        context.view = Some(Arc::new(view));
        stage.swap(context);
        let answer = stage.answer::<ProduceRequest>();
        assert_eq!((answer.responses[0].topic_id, code(&answer)), (never, 100));
        stage.heard_nothing();
    });
}

#[test]
fn a_request_is_decided_by_the_policy_in_force_when_its_inspection_begins() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of([CARD])));
        assert_eq!(records(&store(stage, 0), 0, 0), [(0, MASKED.to_owned())]);
        let mut context = world::context();
        let access =
            "access: [ { name: all, principals: { groups: [checkout] }, allow: [ { produce: [\"orders\"] } ] } ]";
        context.policy = world::compiled(&format!("version: 1\n{access}\n"));
        let digest = context.policy.digest();
        stage.swap(context);
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of([CARD])));
        stage.ask(PRODUCE, &produce("orders", &Batch::of([CARD])));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 29);
        store(stage, 0);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        let entries = stage.entries();
        let digests: Vec<_> = entries.iter().filter_map(|entry| entry.policy_digest).collect();
        assert_eq!(digests[1], world::policy().digest());
        assert_eq!(digests[2], digest);
    });
}

#[test]
fn a_version_that_the_broker_does_not_know_ends_the_connection() {
    let old = || {
        let mut setup = Setup::default();
        let mut view = world::view();
        for broker in view.brokers.values_mut() {
            broker.apis.insert(0, (3, 9));
        }
        setup.context.view = Some(Arc::new(view));
        setup
    };
    play_in(old, |stage| {
        stage.login();
        stage.ask(9, &produce("orders", &Batch::of(["a"])));
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["b"])));
        store(stage, 0);
        // Produce has no place for an error of the whole answer.
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        stage.heard_nothing();
        stage.closed_by("not_served");
    });
}

#[test]
fn a_brokers_name_in_its_message_does_not_reach_the_client() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        let mut answer = produced(&request, 0, 6);
        let partition = &mut answer.responses[0].partition_responses[0];
        partition.error_message = Some(crate::messages::text("not the leader: ask kafka-internal-2:9092"));
        answer.node_endpoints = (0..3)
            .map(|id| {
                kafka_protocol::messages::produce_response::NodeEndpoint::default()
                    .with_node_id(id.into())
                    .with_host(crate::messages::text(&format!("kafka-internal-{id}")))
                    .with_port(9092)
            })
            .collect();
        stage.say(&asked, &answer);
        let answer = stage.answer::<ProduceRequest>();
        assert_eq!(refusal(&answer), (6, String::new(), vec![]));
        let told: Vec<_> = answer.node_endpoints.iter().map(|e| (e.node_id.0, e.host.to_string(), e.port)).collect();
        assert_eq!(told, [(0, "weir.example".to_owned(), 9193), (1, "weir.example".to_owned(), 9194)]);
    });
}

#[test]
fn refusals_of_one_request_are_told_one_by_one_up_to_a_limit() {
    play(|stage| {
        stage.login();
        let names: Vec<_> = (0..30).map(|at| format!("salaries-{at}")).collect();
        let batch = Batch::of(["{}"]).encode();
        let topics = names.iter().map(|name| (name.as_str(), vec![(0, batch.clone())])).collect();
        stage.ask(PRODUCE, &produce_to(topics));
        assert_eq!(stage.answer::<ProduceRequest>().responses.len(), 30);
        let refused = stage.refused();
        assert_eq!((refused.len(), refused[16].1), (17, "others_not_allowed"));
    });
}

#[test]
fn null_records_are_refused() {
    play(|stage| {
        stage.login();
        let mut request = produce("orders", &Batch::of(["{}"]));
        request.topic_data[0].partition_data[0].records = None;
        stage.ask(PRODUCE, &request);
        assert_eq!(refusal(&stage.answer::<ProduceRequest>()).0, 87);
        stage.heard_nothing();
    });
}
