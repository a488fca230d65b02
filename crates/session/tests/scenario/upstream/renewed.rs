//! The login is renewed while requests go on.

use std::time::Duration;

use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};
use weir_session::{Context, UpstreamMechanism};

use super::{PASSWORD, beats, context, hears_password, lets_in, login, play};
use crate::messages::{HEARTBEAT, METADATA, heartbeat, metadata, metadata_answer};
use crate::stage::Stage;

const LIFETIME: Duration = Duration::from_secs(30);
/// Before the renewal, whatever the jitter.
const EARLY: Duration = Duration::from_secs(20);
/// From then until it is due, whatever the jitter.
const REST: Duration = Duration::from_secs(4);

fn in_use(stage: &mut Stage) {
    stage.ask(METADATA, &metadata());
    lets_in(stage, LIFETIME);
    let (asked, _) = stage.heard::<MetadataRequest>();
    stage.say(&asked, &metadata_answer());
    stage.answer::<MetadataRequest>();
    stage.wait(EARLY);
    stage.heard_nothing();
}

#[test]
fn requests_in_flight_are_answered_and_those_behind_wait() {
    play(|stage| {
        in_use(stage);
        stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
        let (polled, _) = stage.heard::<HeartbeatRequest>();
        stage.wait(REST);
        // The handshake is behind it, and what comes now is behind the handshake.
        stage.ask(METADATA, &metadata());
        let (shaken, asked) = stage.heard::<SaslHandshakeRequest>();
        assert_eq!(&*asked.mechanism, "PLAIN");
        stage.heard_nothing();
        stage.say(&polled, &HeartbeatResponse::default());
        stage.answer::<HeartbeatRequest>();
        stage.say(&shaken, &SaslHandshakeResponse::default());
        let (heard, _) = stage.heard::<SaslAuthenticateRequest>();
        stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
        stage.heard_nothing();
        stage.let_in(&heard, "", 30_000);
        let (asked, _) = stage.heard::<MetadataRequest>();
        let (beaten, _) = stage.heard::<HeartbeatRequest>();
        stage.say(&asked, &metadata_answer());
        stage.say(&beaten, &HeartbeatResponse::default());
        stage.answer::<MetadataRequest>();
        stage.answer::<HeartbeatRequest>();
        assert_eq!(
            stage.asked_for()[1..],
            ["in, again false, for Some(30s)".to_owned(), "in, again true, for Some(30s)".to_owned()]
        );
        stage.stays_open();
    });
}

#[test]
fn an_idle_connection_is_renewed_over_and_over_and_is_as_idle_as_before() {
    play(|stage| {
        in_use(stage);
        let mut renewed = 0;
        for _ in 0..200 {
            stage.wait(REST);
            if stage.session.is_closing() {
                break;
            }
            if stage.next_heard().is_some() {
                lets_in(stage, LIFETIME);
                renewed += 1;
            }
        }
        // 600 s of idleness, a login about every 22 s.
        assert!((20..=30).contains(&renewed), "{renewed}");
        stage.closed_by("idle");
    });
}

#[test]
fn a_long_poll_before_it_takes_the_time_that_it_takes() {
    play(|stage| {
        in_use(stage);
        stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
        let (polled, _) = stage.heard::<HeartbeatRequest>();
        stage.wait(Duration::from_secs(60));
        stage.stays_open();
        stage.say(&polled, &HeartbeatResponse::default());
        stage.answer::<HeartbeatRequest>();
        // Only now is the broker the one that is waited for.
        stage.wait(Duration::from_secs(9));
        lets_in(stage, LIFETIME);
        beats(stage);
    });
}

#[test]
fn the_password_of_the_day_is_used() {
    play(|stage| {
        in_use(stage);
        stage.swap(Context { upstream: Some(login(UpstreamMechanism::Plain, "weir", "hunter3")), ..context() });
        beats(stage);
        stage.wait(REST);
        let heard = hears_password(stage, "hunter3");
        stage.let_in(&heard, "", 0);
        beats(stage);
        stage.wait(2 * LIFETIME);
        stage.heard_nothing();
    });
}

#[test]
fn another_user_needs_another_connection() {
    let others = [
        Some(login(UpstreamMechanism::Plain, "else", PASSWORD)),
        Some(login(UpstreamMechanism::Scram(weir_authn::ScramHash::Sha256), "weir", PASSWORD)),
        None,
    ];
    for other in others {
        play(|stage| {
            in_use(stage);
            stage.swap(Context { upstream: other.clone(), ..context() });
            beats(stage);
            stage.wait(REST);
            stage.closed_by("broker_login_failed");
            assert_eq!(
                stage.last_words,
                "the login to the broker was to be renewed: `upstream.auth` names another user or mechanism now; \
                 connections log in anew"
            );
            stage.heard_nothing();
        });
    }
}

#[test]
fn a_refused_renewal_ends_the_connection() {
    play(|stage| {
        in_use(stage);
        stage.wait(REST);
        let heard = hears_password(stage, PASSWORD);
        stage.say(&heard, &SaslAuthenticateResponse::default().with_error_code(58));
        stage.closed_by("broker_login_failed");
        assert!(stage.last_words.starts_with("the login to the broker was to be renewed: the broker refused"));
    });
}

#[test]
fn a_connection_that_drains_is_still_renewed() {
    play(|stage| {
        in_use(stage);
        stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
        let (polled, _) = stage.heard::<HeartbeatRequest>();
        stage.session.handle_shutdown(false, stage.now);
        stage.wait(REST);
        stage.say(&polled, &HeartbeatResponse::default());
        stage.answer::<HeartbeatRequest>();
        stage.stays_open();
        lets_in(stage, LIFETIME);
        stage.closed_by("drained");
    });
}

/// Negative control: without it the limit passes unnoticed.
#[cfg(feature = "sabotage")]
#[test]
fn control_a_session_that_does_not_renew_is_seen() {
    let sabotaged = || {
        let mut setup = super::setup();
        setup.context.sabotage = Some(weir_session::Sabotage::RenewOff);
        setup
    };
    crate::stage::play_in(sabotaged, |stage| {
        in_use(stage);
        stage.wait(LIFETIME);
        stage.heard_nothing();
    });
}

#[test]
fn a_login_without_a_limit_is_never_renewed() {
    play(|stage| {
        stage.ask(METADATA, &metadata());
        lets_in(stage, Duration::ZERO);
        stage.heard::<MetadataRequest>();
        stage.wait(Duration::from_secs(500));
        stage.heard_nothing();
    });
}
