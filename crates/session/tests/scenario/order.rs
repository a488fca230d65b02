//! Requests and replies keep their order, whoever answers.

use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, HeartbeatRequest, HeartbeatResponse, MetadataRequest, ProduceRequest,
};

use crate::batch::Batch;
use crate::messages::{
    FETCH, HEARTBEAT, METADATA, PRODUCE, code, fetch, fetched, heartbeat, metadata, metadata_answer, produce, produced,
    shown,
};
use crate::stage::play;

#[test]
fn answers_of_weirs_own_wait_for_their_turn() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        stage.ask(HEARTBEAT, &heartbeat("payroll"));
        stage.ask(0, &ApiVersionsRequest::default());
        stage.ask(METADATA, &metadata());
        stage.no_answer();
        let (first, _) = stage.heard::<MetadataRequest>();
        let (second, _) = stage.heard::<MetadataRequest>();
        stage.say(&first, &metadata_answer());
        stage.answer::<MetadataRequest>();
        assert_eq!(stage.answer::<HeartbeatRequest>().error_code, 30);
        stage.answer::<ApiVersionsRequest>();
        stage.no_answer();
        stage.say(&second, &metadata_answer());
        stage.answer::<MetadataRequest>();
    });
}

#[test]
fn correlation_ids_may_be_odd_and_repeat() {
    play(|stage| {
        stage.login();
        for correlation_id in [5, 5, i32::MIN, -1, i32::MAX, 5] {
            stage.ask_as(correlation_id, None, METADATA, &metadata());
        }
        for correlation_id in [5, 5, i32::MIN, -1, i32::MAX, 5] {
            let (asked, _) = stage.heard::<MetadataRequest>();
            assert_eq!((asked.correlation_id, asked.client_id.as_str()), (correlation_id, "weir/"));
            stage.say(&asked, &metadata_answer());
            assert_eq!(stage.answer_with::<MetadataRequest>().0.correlation_id, correlation_id);
        }
    });
}

#[test]
fn client_ids_are_made_harmless_upstream() {
    play(|stage| {
        stage.login();
        for (given, expected) in [("__admin_client", "weir/__admin_client"), ("a b\n", "weir/a_b_"), ("", "weir/")] {
            stage.ask_as(9, Some(given), METADATA, &metadata());
            let (asked, _) = stage.heard::<MetadataRequest>();
            assert_eq!(asked.client_id, expected);
            stage.say(&asked, &metadata_answer());
            stage.answer::<MetadataRequest>();
        }
    });
}

#[test]
fn requests_reach_the_broker_in_the_order_sent_also_around_an_inspection_and_an_intent() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("payments.eu", &Batch::of(["{}"])));
        stage.ask(METADATA, &metadata());
        stage.ask(FETCH, &fetch(&["orders"]));
        stage.ask(PRODUCE, &produce("clicks", &Batch::of(["c"])));
        stage.heard_nothing();
        stage.record(1);
        let (first, request) = stage.heard::<ProduceRequest>();
        let (second, _) = stage.heard::<MetadataRequest>();
        let (third, asked) = stage.heard::<FetchRequest>();
        let (fourth, clicks) = stage.heard::<ProduceRequest>();
        stage.release_log();
        stage.say(&first, &produced(&request, 0, 0));
        stage.say(&second, &metadata_answer());
        stage.say(&third, &fetched(&asked, &Batch::of(["a"]).encode()));
        stage.say(&fourth, &produced(&clicks, 1, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        stage.answer::<MetadataRequest>();
        assert_eq!(shown(&stage.answer::<FetchRequest>()).1.len(), 1);
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
    });
}

#[test]
fn inspection_and_recording_go_on_behind_what_waits() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        for _ in 0..5 {
            stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        }
        // No entry is waited for before the next request is inspected: one group takes all five intents.
        assert_eq!(stage.queued().len(), 5);
        stage.record(5);
        let asked: Vec<_> = (0..5).map(|_| stage.heard::<ProduceRequest>()).collect();
        for (offset, (asked, request)) in (0..).zip(&asked) {
            stage.say(asked, &produced(request, offset, 0));
        }
        stage.no_answer();
        assert_eq!(stage.queued().len(), 5);
        stage.record(5);
        for _ in 0..5 {
            assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        }
    });
}

#[test]
fn an_answer_to_another_request_ends_the_connection() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        let (mut asked, _) = stage.heard::<MetadataRequest>();
        asked.correlation_id += 1;
        stage.say(&asked, &metadata_answer());
        stage.no_answer();
        stage.closed_by("malformed_response");
    });
}

#[test]
fn an_answer_that_nobody_asked_for_ends_the_connection() {
    play(|stage| {
        stage.login();
        stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
        let (asked, _) = stage.heard::<HeartbeatRequest>();
        stage.say(&asked, &HeartbeatResponse::default());
        stage.answer::<HeartbeatRequest>();
        stage.say(&asked, &HeartbeatResponse::default());
        stage.no_answer();
        stage.closed_by("malformed_response");
    });
}

#[test]
fn weir_introduces_itself_before_the_first_request_and_keeps_the_answer_to_itself() {
    play(|stage| {
        stage.greets = false;
        stage.login();
        stage.ask(METADATA, &metadata());
        let (own, request) = stage.heard::<ApiVersionsRequest>();
        assert_eq!((own.client_id.as_str(), request.client_software_name.to_string()), ("weir/", "weir".to_owned()));
        let (asked, _) = stage.heard::<MetadataRequest>();
        // Whatever the broker makes of it: the answer is not for the client.
        let refusal = kafka_protocol::messages::ApiVersionsResponse::default().with_error_code(35);
        stage.say(&crate::stage::Heard { version: 0, ..own }, &refusal);
        stage.no_answer();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
    });
}

#[test]
fn a_client_that_is_malformed_gets_what_it_asked_for_before() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        // Metadata 12 with a byte behind its end.
        stage.send_raw(&crate::stage::sized(&[0, 3, 0, 12, 0, 0, 0, 9, 0xff, 0xff, 0, 1, 0, 0, 0, 0xee]));
        stage.ask(METADATA, &metadata());
        let (first, _) = stage.heard::<MetadataRequest>();
        let (second, request) = stage.heard::<ProduceRequest>();
        stage.heard_nothing();
        stage.say(&first, &metadata_answer());
        stage.answer::<MetadataRequest>();
        assert!(!stage.session.is_closing());
        stage.say(&second, &produced(&request, 0, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        stage.no_answer();
        stage.closed_by("malformed_request");
    });
}
