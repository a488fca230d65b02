//! Back-pressure: the session says when to stop reading, and goes on where it stopped.

use kafka_protocol::messages::{FetchRequest, HeartbeatRequest, MetadataRequest, ProduceRequest};

use crate::batch::Batch;
use crate::messages::{
    FETCH, HEARTBEAT, METADATA, PRODUCE, code, fetch, fetched, heartbeat, metadata, metadata_answer, produce, produced,
    shown,
};
use crate::stage::{Setup, play, play_in};

#[test]
fn no_more_requests_are_read_than_may_be_in_flight_and_reading_goes_on_with_each_answer() {
    play(|stage| {
        stage.login();
        for _ in 0..12 {
            stage.ask(METADATA, &metadata());
        }
        let mut asked = Vec::new();
        for _ in 0..8 {
            asked.push(stage.heard::<MetadataRequest>().0);
        }
        stage.heard_nothing();
        assert_eq!(stage.session.wants_client_bytes(), 0);
        for answered in 0..12 {
            stage.say(&asked[answered], &metadata_answer());
            stage.answer::<MetadataRequest>();
            if answered < 4 {
                asked.push(stage.heard::<MetadataRequest>().0);
            }
            stage.heard_nothing();
        }
        assert!(stage.session.wants_client_bytes() > 0);
        assert_eq!(stage.session.held_bytes(), 0);
    });
}

#[test]
fn answers_of_weirs_own_count_until_the_client_takes_them() {
    play(|stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        for _ in 0..20 {
            stage.ask(HEARTBEAT, &heartbeat("payroll"));
        }
        stage.no_answer();
        assert_eq!(stage.session.wants_client_bytes(), 0);
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        for _ in 0..20 {
            assert_eq!(stage.answer::<HeartbeatRequest>().error_code, 30);
        }
    });
}

#[test]
fn no_more_bytes_are_read_than_a_session_may_hold_and_reading_goes_on_when_they_left() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        let large = "x".repeat(30 * 1024);
        for _ in 0..6 {
            stage.ask(PRODUCE, &produce("orders", &Batch::of([large.as_str()])));
        }
        let unread = stage.unread();
        assert!(unread > 0, "six do not fit into 64 KiB and what is read at once");
        assert_eq!(stage.session.wants_client_bytes(), 0);
        assert!(stage.session.held_bytes() >= 64 * 1024);
        assert!(stage.session.held_bytes() <= 128 * 1024, "{}", stage.session.held_bytes());
        // Intents are durable: the requests leave, their bytes with them.
        stage.release_log();
        assert_eq!(stage.unread(), 0);
        for offset in 0..6 {
            let (asked, request) = stage.heard::<ProduceRequest>();
            stage.say(&asked, &produced(&request, offset, 0));
            assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
        }
        assert_eq!(stage.session.held_bytes(), 0);
    });
}

#[test]
fn a_frame_larger_than_a_session_may_hold_passes_when_it_is_alone() {
    play(|stage| {
        stage.login();
        let large = "x".repeat(200 * 1024);
        stage.ask(PRODUCE, &produce("orders", &Batch::of([large.as_str()])));
        let (asked, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &produced(&request, 0, 0));
        assert_eq!(code(&stage.answer::<ProduceRequest>()), 0);
    });
}

#[test]
fn the_broker_is_not_read_while_its_answers_wait_for_their_entries() {
    play(|stage| {
        stage.login();
        stage.hold_log();
        let large = Batch::of(["x".repeat(50 * 1024).as_str()]).encode();
        let mut asked = Vec::new();
        for _ in 0..4 {
            stage.ask(FETCH, &fetch(&["orders"]));
            asked.push(stage.heard::<FetchRequest>());
        }
        for (heard, request) in &asked {
            stage.say(heard, &fetched(request, &large));
        }
        stage.no_answer();
        assert_eq!(stage.session.wants_broker_bytes(), 0);
        assert!(stage.session.held_bytes() <= 192 * 1024, "{}", stage.session.held_bytes());
        stage.release_log();
        for _ in 0..4 {
            assert_eq!(shown(&stage.answer::<FetchRequest>()).1.len(), 1);
        }
        assert!(stage.session.wants_broker_bytes() > 0);
        assert_eq!(stage.session.held_bytes(), 0);
    });
}

#[test]
fn the_broker_is_read_for_the_answer_that_is_due_however_much_is_held() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["orders"]));
        let (asked, request) = stage.heard::<FetchRequest>();
        let large = Batch::of(["x".repeat(300 * 1024).as_str()]).encode();
        stage.say(&asked, &fetched(&request, &large));
        assert_eq!(shown(&stage.answer::<FetchRequest>()).1.len(), 1);
    });
}

#[test]
fn one_request_at_a_time_is_enough_to_go_on() {
    let one = || {
        let mut setup = Setup::default();
        setup.context.limits.inflight_requests_max = 1;
        setup
    };
    play_in(one, |stage| {
        stage.login();
        for _ in 0..3 {
            stage.ask(METADATA, &metadata());
        }
        for _ in 0..3 {
            let (asked, _) = stage.heard::<MetadataRequest>();
            stage.heard_nothing();
            stage.say(&asked, &metadata_answer());
            stage.answer::<MetadataRequest>();
        }
    });
}

#[test]
fn nothing_is_read_of_a_broker_that_is_not_there_or_of_a_client_that_is_cut() {
    play(|stage| {
        stage.login();
        assert_eq!(stage.session.wants_broker_bytes(), 0);
        stage.client_goes();
        assert_eq!((stage.session.wants_client_bytes(), stage.session.wants_broker_bytes()), (0, 0));
        stage.closed_by("client_gone");
    });
}
