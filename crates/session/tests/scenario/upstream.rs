//! weir's own login to the broker: before the first request, and again before the broker's limit (KIP-368).

mod refused;
mod renewed;
mod scram;

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, MetadataRequest, ProduceRequest, SaslAuthenticateRequest,
};
use weir_session::{Context, DoorAuth, UpstreamLogin, UpstreamMechanism};

use crate::batch::Batch;
use crate::messages::{HEARTBEAT, METADATA, PRODUCE, heartbeat, metadata, metadata_answer, produce, produced};
use crate::stage::{Heard, Setup, Stage, play_in};
use crate::world;

pub(crate) const PASSWORD: &str = "hunter2";

pub(crate) fn login(mechanism: UpstreamMechanism, username: &str, password: &str) -> Arc<UpstreamLogin> {
    Arc::new(UpstreamLogin::new(mechanism, username.to_owned(), password.to_owned().into()))
}

/// A context in which brokers ask for a password.
pub(crate) fn context() -> Context {
    Context { upstream: Some(login(UpstreamMechanism::Plain, "weir", PASSWORD)), ..world::context() }
}

/// Brokers ask for a password, clients are anonymous.
fn setup() -> Setup {
    Setup { context: context(), door: world::door(DoorAuth::Anonymous { groups: vec!["checkout".to_owned()] }) }
}

fn play(script: impl Fn(&mut Stage)) {
    play_in(setup, script);
}

/// The broker hears a password.
#[track_caller]
fn hears_password(stage: &mut Stage, password: &str) -> Heard {
    stage.takes("PLAIN");
    let (heard, asked) = stage.heard::<SaslAuthenticateRequest>();
    assert_eq!(&*asked.auth_bytes, format!("\0weir\0{password}").as_bytes());
    stage.heard_nothing();
    heard
}

/// The broker hears the password and lets weir in.
#[track_caller]
fn lets_in(stage: &mut Stage, lifetime: Duration) {
    let heard = hears_password(stage, PASSWORD);
    stage.let_in(&heard, "", i64::try_from(lifetime.as_millis()).unwrap());
}

/// A Heartbeat goes through; the client's session is fresh or works again.
#[track_caller]
fn beats(stage: &mut Stage) {
    stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
    let (heard, _) = stage.heard::<HeartbeatRequest>();
    stage.say(&heard, &HeartbeatResponse::default());
    stage.answer::<HeartbeatRequest>();
}

#[test]
fn nothing_of_a_client_leaves_before_the_broker_has_let_weir_in() {
    play(|stage| {
        stage.ask(METADATA, &metadata());
        stage.ask(PRODUCE, &produce("orders", &Batch::of(["{}"])));
        lets_in(stage, Duration::ZERO);
        let (asked, _) = stage.heard::<MetadataRequest>();
        let (sent, request) = stage.heard::<ProduceRequest>();
        stage.say(&asked, &metadata_answer());
        stage.say(&sent, &produced(&request, 0, 0));
        stage.answer::<MetadataRequest>();
        stage.answer::<ProduceRequest>();
        assert_eq!(stage.asked_for(), ["broker Some(0)", "in, again false, for None"]);
        assert!(stage.session.is_broker_open());
        stage.wait(Duration::from_secs(500));
        stage.heard_nothing();
        beats(stage);
    });
}

#[test]
fn a_client_that_is_being_logged_in_is_not_kept_from_it() {
    play_in(
        || Setup { context: context(), ..Setup::default() },
        |stage| {
            stage.login();
            assert!(!stage.session.is_broker_open());
            stage.ask(METADATA, &metadata());
            lets_in(stage, Duration::ZERO);
            let (asked, _) = stage.heard::<MetadataRequest>();
            stage.say(&asked, &metadata_answer());
            stage.answer::<MetadataRequest>();
        },
    );
}

#[test]
fn versions_are_those_of_the_broker() {
    let with = |api: i16, versions: Option<(i16, i16)>| {
        let mut setup = setup();
        let mut view = world::view();
        for broker in view.brokers.values_mut() {
            match versions {
                Some(versions) => drop(broker.apis.insert(api, versions)),
                None => drop(broker.apis.remove(&api)),
            }
        }
        setup.context.view = Some(Arc::new(view));
        setup
    };
    play_in(
        || with(36, Some((0, 0))),
        |stage| {
            stage.ask(METADATA, &metadata());
            let heard = hears_password(stage, PASSWORD);
            assert_eq!(heard.version, 0, "which tells no lifetime");
            stage.let_in(&heard, "", 0);
            stage.heard::<MetadataRequest>();
        },
    );
    for (api, versions) in [(17, Some((0, 0))), (17, None), (36, None), (36, Some((3, 3)))] {
        play_in(
            || with(api, versions),
            |stage| {
                stage.ask(METADATA, &metadata());
                stage.closed_by("broker_login_failed");
                assert!(stage.last_words.starts_with("the broker does not serve Sasl"), "{}", stage.last_words);
            },
        );
    }
}
