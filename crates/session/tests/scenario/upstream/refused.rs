//! A broker that does not let weir in.

use std::time::Duration;

use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse};
use weir_audit::Outcome;

use super::{PASSWORD, hears_password, play};
use crate::batch::Batch;
use crate::messages::{METADATA, PRODUCE, metadata, produce, text};
use crate::stage::Stage;

#[track_caller]
fn given_up(stage: &mut Stage, words: &str) {
    stage.closed_by("broker_login_failed");
    assert_eq!(stage.last_words, words);
    assert!(!stage.session.is_broker_open());
    stage.no_answer();
    stage.heard_nothing();
}

#[test]
fn a_refusal_closes_the_connection_and_says_what_the_broker_said() {
    play(|stage| {
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["{}"])));
        let heard = hears_password(stage, PASSWORD);
        let answer = SaslAuthenticateResponse::default().with_error_code(58);
        stage.say(&heard, &answer.with_error_message(Some(text("Authentication failed:\nInvalid username"))));
        given_up(
            stage,
            "the broker refused the login of `weir` with PLAIN: error 58: Authentication failed: Invalid username",
        );
        // The Produce had its intent and never left.
        let entries = stage.entries();
        assert_eq!(entries.iter().map(|entry| entry.outcome).collect::<Vec<_>>(), [Outcome::None]);
    });
}

#[test]
fn a_broker_cannot_make_weir_write_the_password_down() {
    play(|stage| {
        stage.ask(METADATA, &metadata());
        let heard = hears_password(stage, PASSWORD);
        let answer = SaslAuthenticateResponse::default().with_error_code(58);
        stage.say(&heard, &answer.with_error_message(Some(text("hunter2 is not the password of weir"))));
        stage.closed_by("broker_login_failed");
        assert!(!stage.last_words.contains(PASSWORD), "{}", stage.last_words);
    });
}

#[test]
fn a_mechanism_or_a_login_that_the_port_does_not_take_is_named() {
    let check = |code: i16, offered: &[&str], words: &str| {
        play(|stage| {
            stage.ask(METADATA, &metadata());
            let (heard, _) = stage.heard::<SaslHandshakeRequest>();
            let mechanisms = offered.iter().map(|name| text(name)).collect();
            stage.say(&heard, &SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(mechanisms));
            given_up(stage, words);
        });
    };
    check(
        33,
        &["SCRAM-SHA-512", "GSSAPI"],
        "the broker does not take PLAIN on this port; it takes SCRAM-SHA-512, GSSAPI",
    );
    check(33, &[], "the broker does not take PLAIN on this port; it takes none");
    check(34, &[], "the broker takes no login on this port (error 34): it is one for clients without SASL");
    check(-1, &[], "the broker refused the login of `weir` with PLAIN: error -1: no reason given");
}

#[test]
fn what_cannot_be_read_lets_nobody_in() {
    for bytes in [&[0, 0, 0, 4, 0, 0, 0, 1][..], &[0, 0, 0, 5, 0x7f, 0xff, 0xff, 0xff, 9]] {
        play(|stage| {
            stage.ask(METADATA, &metadata());
            hears_password(stage, PASSWORD);
            stage.say_raw(bytes);
            stage.closed_by("broker_login_failed");
            assert!(stage.last_words.starts_with("the broker's answer to the login cannot be read: "));
        });
    }
}

#[test]
fn a_broker_that_says_nothing_is_given_up() {
    play(|stage| {
        stage.ask(METADATA, &metadata());
        hears_password(stage, PASSWORD);
        stage.wait(Duration::from_secs(10) - Duration::from_nanos(1));
        stage.stays_open();
        stage.wait(Duration::from_nanos(1));
        stage.closed_by("broker_down");
        assert_eq!(stage.last_words, "the broker is not reachable: no answer to weir's login within 10s");
    });
}
