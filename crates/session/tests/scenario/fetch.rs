//! Fetch: what is shown, what is changed on the way, what is withheld.

use std::sync::Arc;

use kafka_protocol::messages::fetch_response::NodeEndpoint;
use kafka_protocol::messages::{FetchRequest, MetadataRequest};
use uuid::Uuid;
use weir_audit::{Decision, Kind, Outcome};
use weir_session::DoorAuth;

use crate::batch::Batch;
use crate::messages::{
    FETCH, FETCH_BY_ID, METADATA, fetch, fetch_by_id, fetched, metadata, metadata_answer, partition, shown, text,
};
use crate::stage::{Setup, Stage, play, play_in};
use crate::world::{self, HIDDEN, ORDERS, PAYMENTS};

const CARD: &str = r#"{"card":{"number":"4111111111111111"}}"#;
const MASKED: &str = r#"{"card":{"number":"************1111"}}"#;

/// The broker gives this batch for each topic of the next request.
#[track_caller]
fn give(stage: &mut Stage, batch: &Batch) -> FetchRequest {
    let (asked, request) = stage.heard::<FetchRequest>();
    stage.say(&asked, &fetched(&request, &batch.encode()));
    request
}

#[test]
fn what_no_rule_touches_is_shown_byte_identical() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["orders"]).with_session_id(0));
        let batch = Batch::of(["a", "b"]).at(40);
        let request = give(stage, &batch);
        assert_eq!((request.session_id, request.session_epoch, request.max_bytes), (0, -1, 256 * 1024));
        let answer = stage.answer::<FetchRequest>();
        assert_eq!(answer.session_id, 0);
        assert_eq!(partition(&answer).records.as_deref(), Some(&batch.encode()[..]));
        let entries = stage.entries();
        let entry = entries.last().unwrap();
        assert_eq!((entry.kind, entry.decision, entry.outcome), (Kind::Fetch, Decision::Pass, Outcome::Delivered));
        assert_eq!((entry.parts[0].base_offset, entry.parts[0].last_offset), (Some(40), Some(41)));
    });
}

#[test]
fn a_field_is_masked_before_the_client_sees_it_and_offsets_stay() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["payments.eu"]));
        give(stage, &Batch::of(["{}", CARD]).at(7));
        let answer = stage.answer::<FetchRequest>();
        assert_eq!(shown(&answer), (0, vec![(7, "{}".to_owned()), (8, MASKED.to_owned())]));
        assert_eq!(stage.entries().last().unwrap().decision, Decision::Mask);
    });
}

#[test]
fn a_record_that_may_not_be_shown_is_left_out_and_the_others_keep_their_offsets() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["payments.eu"]));
        give(stage, &Batch::of(["{}", r#"{"private":1}"#, CARD]).at(7));
        let answer = stage.answer::<FetchRequest>();
        assert_eq!(shown(&answer), (0, vec![(7, "{}".to_owned()), (9, MASKED.to_owned())]));
        let entries = stage.entries();
        let entry = entries.last().unwrap();
        assert_eq!((entry.decision, entry.parts[0].last_offset), (Decision::Withhold, Some(9)));
    });
}

#[test]
fn a_batch_that_cannot_be_read_is_withheld_and_its_neighbour_is_not() {
    play(|stage| {
        stage.login();
        for topic in ["orders", "payments.eu"] {
            stage.ask(FETCH, &fetch(&[topic]));
            let (asked, request) = stage.heard::<FetchRequest>();
            let mut records = Batch::of(["{}"]).at(3).encode_damaged().to_vec();
            records.extend(Batch::of(["{}"]).at(4).encode());
            stage.say(&asked, &fetched(&request, &records.into()));
            let answer = stage.answer::<FetchRequest>();
            assert_eq!(shown(&answer), (0, vec![(4, "{}".to_owned())]));
            assert_eq!(stage.entries().last().unwrap().decision, Decision::Withhold);
        }
    });
}

#[test]
fn a_partial_batch_at_the_end_is_cut_off() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        let whole = Batch::of(["a"]).at(3).encode();
        let mut records = whole.to_vec();
        records.extend(&Batch::of(["b"]).at(4).encode()[..40]);
        stage.say(&asked, &fetched(&request, &records.into()));
        assert_eq!(partition(&stage.answer::<FetchRequest>()).records.as_ref(), Some(&whole));
    });
}

#[test]
fn topics_that_are_not_allowed_get_29_and_the_others_are_fetched() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["salaries", "orders"]));
        let request = give(stage, &Batch::of(["a"]));
        assert_eq!(request.topics.iter().map(|topic| topic.topic.to_string()).collect::<Vec<_>>(), ["orders"]);
        let answer = stage.answer::<FetchRequest>();
        let mut codes: Vec<_> =
            answer.responses.iter().map(|topic| (topic.topic.to_string(), topic.partitions[0].error_code)).collect();
        codes.sort();
        assert_eq!(codes, [("orders".to_owned(), 0), ("salaries".to_owned(), 29)]);
        stage.ask(FETCH, &fetch(&["salaries"]));
        assert_eq!(partition(&stage.answer::<FetchRequest>()).error_code, 29);
        stage.heard_nothing();
    });
}

#[test]
fn records_that_nobody_asked_for_are_not_shown() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, mut request) = stage.heard::<FetchRequest>();
        request.topics[0].topic = crate::messages::topic("salaries");
        stage.say(&asked, &fetched(&request, &Batch::of(["secret"]).encode()));
        assert_eq!(shown(&stage.answer::<FetchRequest>()), (29, vec![]));
    });
}

#[test]
fn a_fetch_by_topic_id_is_judged_by_the_name() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH_BY_ID, &fetch_by_id(&[PAYMENTS]));
        give(stage, &Batch::of([CARD]));
        let answer = stage.answer::<FetchRequest>();
        assert_eq!((answer.responses[0].topic_id, shown(&answer)), (PAYMENTS, (0, vec![(0, MASKED.to_owned())])));
        // Not even described: the id is unknown to this client.
        stage.ask(FETCH_BY_ID, &fetch_by_id(&[HIDDEN]));
        assert_eq!(partition(&stage.answer::<FetchRequest>()).error_code, 100);
        stage.heard_nothing();
    });
}

#[test]
fn an_unknown_topic_id_is_asked_for_then_fetched_or_100() {
    let fresh = Uuid::from_u128(0x77);
    let with = |known: bool| {
        let mut context = world::context();
        let mut view = world::view();
        if known {
            view.topics.insert(fresh, Arc::from("orders"));
        } else {
            view.unknown_topics.insert(fresh);
        }
        context.view = Some(Arc::new(view));
        context
    };
    play(|stage| {
        stage.login();
        stage.ask(FETCH_BY_ID, &fetch_by_id(&[fresh]));
        stage.heard_nothing();
        assert!(stage.asked_for().contains(&format!("topics {:?}", [fresh])));
        stage.swap(with(true));
        give(stage, &Batch::of(["a"]));
        assert_eq!(shown(&stage.answer::<FetchRequest>()), (0, vec![(0, "a".to_owned())]));
    });
    play(|stage| {
        stage.login();
        stage.ask(FETCH_BY_ID, &fetch_by_id(&[fresh]));
        stage.no_answer();
        stage.swap(with(false));
        assert_eq!(partition(&stage.answer::<FetchRequest>()).error_code, 100);
        stage.heard_nothing();
    });
}

#[test]
fn a_session_of_somebody_else_is_not_found() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["orders"]).with_session_id(4711).with_session_epoch(3));
        assert_eq!(stage.answer::<FetchRequest>().error_code, 70);
        stage.heard_nothing();
    });
}

#[test]
fn a_session_that_the_broker_opens_is_not_told() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        stage.say(&asked, &fetched(&request, &Batch::of(["a"]).encode()).with_session_id(99));
        assert_eq!(stage.answer::<FetchRequest>().session_id, 0);
    });
}

#[test]
fn an_empty_answer_waits_for_no_entry() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        stage.say(&asked, &fetched(&request, &bytes::Bytes::new()));
        assert_eq!(shown(&stage.answer::<FetchRequest>()), (0, vec![]));
        assert_eq!(stage.queued(), []);
    });
}

#[test]
fn records_wait_for_their_entry_and_what_is_behind_waits_too() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(FETCH, &fetch(&["orders"]));
        stage.ask(METADATA, &metadata());
        give(stage, &Batch::of(["a"]));
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.no_answer();
        stage.record(1);
        assert_eq!(shown(&stage.answer::<FetchRequest>()), (0, vec![(0, "a".to_owned())]));
        stage.answer::<MetadataRequest>();
    });
}

#[test]
fn an_async_topic_is_shown_at_once_and_recorded_all_the_same() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(FETCH, &fetch(&["clicks"]));
        give(stage, &Batch::of(["a"]));
        assert_eq!(shown(&stage.answer::<FetchRequest>()), (0, vec![(0, "a".to_owned())]));
        stage.release_log();
        assert_eq!(stage.entries().last().unwrap().kind, Kind::Fetch);
    });
}

#[test]
fn endpoints_of_new_leaders_are_weirs_own() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH_BY_ID, &fetch_by_id(&[ORDERS]));
        let (asked, request) = stage.heard::<FetchRequest>();
        let mut answer = fetched(&request, &bytes::Bytes::new());
        answer.node_endpoints = (0..3)
            .map(|id: i32| {
                let host = text(&format!("{}-{id}", world::BROKER_HOST));
                NodeEndpoint::default().with_node_id(id.into()).with_host(host).with_port(9092)
            })
            .collect();
        stage.say(&asked, &answer);
        let answer = stage.answer::<FetchRequest>();
        let mut told: Vec<_> =
            answer.node_endpoints.iter().map(|e| (e.node_id.0, e.host.to_string(), e.port)).collect();
        told.sort();
        let weir = world::ADVERTISED_HOST.to_owned();
        assert_eq!(told, [(0, weir.clone(), 9193), (1, weir, 9194)]);
    });
}

#[test]
fn an_anonymous_reader_is_recorded_as_such() {
    let anonymous =
        || Setup { door: world::door(DoorAuth::Anonymous { groups: vec!["readers".to_owned()] }), ..Setup::default() };
    play_in(anonymous, |stage| {
        stage.ask(FETCH, &fetch(&["orders", "payments.eu"]));
        give(stage, &Batch::of(["a"]));
        let answer = stage.answer::<FetchRequest>();
        assert_eq!(answer.responses.len(), 2);
        let entries = stage.entries();
        let principal = entries.last().unwrap().principal.clone().unwrap();
        assert_eq!((principal.kind, principal.id.as_str()), (weir_audit::PrincipalKind::Anonymous, "anonymous"));
    });
}
