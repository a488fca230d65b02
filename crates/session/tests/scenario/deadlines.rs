//! What ends a session by time alone: not a tick early, not a tick late.

use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, ProduceRequest};
use std::time::Duration;

use crate::batch::Batch;
use crate::messages::{METADATA, PRODUCE, PRODUCE_BY_ID, metadata, metadata_answer, produce, produce_by_id, produced};
use crate::stage::{Setup, Stage, play, play_in};
use crate::world::{SECOND, TICK};

/// Nothing ends the session before `after` is over, and `reason` does then.
#[track_caller]
fn ends(stage: &mut Stage, after: Duration, reason: &str) {
    stage.wait(after - TICK);
    stage.stays_open();
    stage.wait(TICK);
    stage.closed_by(reason);
}

#[test]
fn a_client_that_does_not_log_in() {
    play(|stage| ends(stage, 10 * SECOND, "login_timeout"));
    play(|stage| {
        stage.ask(0, &ApiVersionsRequest::default());
        stage.answer::<ApiVersionsRequest>();
        stage.wait(6 * SECOND);
        // A step on the way does not set the clock back.
        stage.handshake();
        ends(stage, 4 * SECOND, "login_timeout");
        assert_eq!(stage.refused(), [(58, "login_timeout", None)]);
    });
}

#[test]
fn a_login_in_time_ends_the_wait_for_it() {
    play(|stage| {
        stage.wait(10 * SECOND - TICK);
        stage.login();
        stage.wait(TICK);
        stage.stays_open();
    });
}

#[test]
fn a_frame_that_does_not_come_whole() {
    play(|stage| {
        stage.login();
        stage.wait(100 * SECOND);
        stage.send_raw(&[0, 0, 0]);
        stage.wait(10 * SECOND);
        // A trickle does not set the clock back.
        stage.send_raw(&[9, 0]);
        ends(stage, 10 * SECOND, "body_timeout");
    });
}

#[test]
fn a_frame_behind_a_whole_one_has_its_own_time() {
    play(|stage| {
        stage.login();
        let bytes = {
            let asked = crate::witness::Asked { api: 18, version: 0, correlation_id: 7, silent: false };
            crate::stage::request_bytes(asked, Some("app"), &ApiVersionsRequest::default())
        };
        stage.send_raw(&bytes[..5]);
        stage.wait(19 * SECOND);
        let asked = crate::witness::Asked { api: 18, version: 0, correlation_id: 7, silent: false };
        stage.send(asked, &bytes[5..]);
        stage.send_raw(&[0]);
        stage.answer::<ApiVersionsRequest>();
        ends(stage, 20 * SECOND, "body_timeout");
    });
}

#[test]
fn a_frame_that_weir_does_not_read_is_not_late() {
    let one = || {
        let mut setup = Setup::default();
        setup.context.limits.inflight_requests_max = 1;
        setup
    };
    play_in(one, |stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        stage.settle();
        // A whole frame that waits for its turn, and the beginning of one.
        stage.ask(METADATA, &metadata());
        stage.send_raw(&[0, 0]);
        stage.wait(300 * SECOND);
        stage.stays_open();
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        ends(stage, 20 * SECOND, "body_timeout");
    });
}

#[test]
fn an_idle_client() {
    play(|stage| {
        stage.login();
        ends(stage, 600 * SECOND, "idle");
    });
}

#[test]
fn a_client_that_waits_for_an_answer_is_not_idle_and_has_its_time_after_it() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        stage.wait(599 * SECOND);
        stage.stays_open();
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        ends(stage, 600 * SECOND, "idle");
    });
}

#[test]
fn an_expired_login_with_requests_in_flight() {
    play(|stage| {
        stage.login_as("svc-1", 60 * SECOND);
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        ends(stage, 60 * SECOND, "expired");
        // What was fetched or stored meanwhile is not told any more.
        stage.say(&asked, &produced(&request, 0, 0));
        stage.no_answer();
        assert_eq!(stage.open_intents(), []);
    });
}

#[test]
fn a_broker_that_is_not_reached() {
    let unreached = || {
        let mut setup = Setup::default();
        setup.context.view = None;
        setup
    };
    play_in(unreached, |stage| {
        stage.ask(0, &ApiVersionsRequest::default());
        ends(stage, 5 * SECOND, "broker_down");
    });
    play_in(unreached, |stage| {
        stage.login();
        stage.wait(SECOND);
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.ask(METADATA, &metadata());
        ends(stage, 5 * SECOND, "broker_down");
        stage.heard_nothing();
    });
}

#[test]
fn a_topic_id_that_nobody_resolves() {
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE_BY_ID, &produce_by_id(uuid::Uuid::from_u128(0x77), &Batch::of(["a"])));
        ends(stage, 5 * SECOND, "broker_down");
    });
}

#[test]
fn a_log_that_takes_neither_intent_nor_entry_nor_login() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        ends(stage, 10 * SECOND, "audit_hold");
        stage.heard_nothing();
    });
    play(|stage| {
        stage.login();
        stage.hold_log();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.wait(9 * SECOND);
        stage.record(1);
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.wait(9 * SECOND);
        stage.say(&asked, &produced(&request, 0, 0));
        // Each wait has its own time.
        ends(stage, 10 * SECOND, "audit_hold");
        stage.no_answer();
    });
    play(|stage| {
        stage.handshake();
        stage.hold_log();
        stage.ask(2, &crate::stage::authentication(&crate::world::token("svc-1", "checkout", stage.now, 60 * SECOND)));
        ends(stage, 10 * SECOND, "audit_hold");
        stage.no_answer();
    });
}

#[test]
fn a_session_that_is_at_rest_asks_for_no_time_that_is_past() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        assert!(stage.session.poll_timeout().unwrap() > stage.now.monotonic);
    });
}

#[test]
fn weir_stops_a_connection_without_requests_at_once_and_others_when_forced() {
    play(|stage| {
        stage.login();
        stage.session.handle_shutdown(false, stage.now);
        stage.closed_by("drained");
    });
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.session.handle_shutdown(false, stage.now);
        stage.stays_open();
        // Nothing more is read of the client.
        stage.send_raw(&[0, 0, 0, 9]);
        assert_eq!(stage.unread(), 4);
        stage.say(&asked, &produced(&request, 0, 0));
        stage.answer::<ProduceRequest>();
        stage.session.handle_shutdown(false, stage.now);
        stage.closed_by("drained");
    });
    play(|stage| {
        stage.login();
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["a"])));
        stage.heard::<ProduceRequest>();
        stage.session.handle_shutdown(true, stage.now);
        stage.closed_by("drained");
        assert_eq!(stage.open_intents(), []);
    });
}
