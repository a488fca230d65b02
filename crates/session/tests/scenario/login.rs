//! Who comes in, and what is answered before.

use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, HeartbeatRequest, MetadataRequest, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use weir_audit::Kind;
use weir_protocol::ApiKey;
use weir_session::DoorAuth;

use crate::messages::{HEARTBEAT, METADATA, heartbeat, metadata, metadata_answer, produce, text};
use crate::stage::{Setup, Stage, authentication, play, play_in, sized};
use crate::witness::Asked;
use crate::world::{self, SECOND, token};

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default().with_client_software_name(text("app")).with_client_software_version(text("1.0"))
}

fn versions(answer: &ApiVersionsResponse) -> Vec<(i16, i16, i16)> {
    answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect()
}

fn anonymous() -> Setup {
    let auth = DoorAuth::Anonymous { groups: vec!["anonymous".to_owned()] };
    Setup { door: world::door(auth), ..Setup::default() }
}

#[test]
fn a_good_token_lets_in_and_says_for_how_long() {
    play(|stage| {
        stage.handshake();
        let answer = stage.authenticate(&token("svc-1", "checkout", stage.now, 300 * SECOND));
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 300_000));
        assert_eq!(stage.session.principal(), Some("svc-1"));
        let entries = stage.entries();
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(entry.kind, Kind::AuthOk);
        assert_eq!(entry.principal.as_ref().map(|principal| principal.id.as_str()), Some("svc-1"));
        stage.heard_nothing();
        stage.stays_open();
    });
}

#[test]
fn an_expired_token_is_refused_and_the_connection_ends() {
    play(|stage| {
        stage.handshake();
        let expired = token("svc-1", "checkout", stage.now, SECOND);
        stage.wait(2 * SECOND);
        let answer = stage.authenticate(&expired);
        assert_eq!(answer.error_code, 58);
        assert!(answer.error_message.unwrap().starts_with("weir: "));
        stage.closed_by("login_failed");
        assert_eq!(stage.refused(), [(58, "token_expired", None)]);
        assert_eq!(stage.session.principal(), None);
        assert_eq!(stage.entries(), []);
    });
}

#[test]
fn nothing_behind_a_refused_login_is_looked_at() {
    play(|stage| {
        let good = token("svc-1", "checkout", stage.now, 300 * SECOND);
        stage.handshake();
        stage.ask(2, &authentication("a.b.c"));
        stage.ask(2, &authentication(&good));
        stage.ask(METADATA, &metadata());
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 58);
        stage.no_answer();
        stage.heard_nothing();
        stage.closed_by("login_failed");
        assert_eq!(stage.session.principal(), None);
    });
}

#[test]
fn a_login_again_of_the_same_principal_prolongs_the_session() {
    play(|stage| {
        stage.login_as("svc-1", 60 * SECOND);
        stage.ask(METADATA, &metadata());
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.wait(50 * SECOND);
        // The reply to a request in flight comes before the replies of the login.
        let again = token("svc-1", "checkout", stage.now, 60 * SECOND);
        stage.ask(1, &SaslHandshakeRequest::default().with_mechanism(text("OAUTHBEARER")));
        stage.ask(2, &authentication(&again));
        stage.no_answer();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        assert_eq!(stage.answer::<SaslHandshakeRequest>().error_code, 0);
        let answer = stage.answer::<SaslAuthenticateRequest>();
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 60_000));
        stage.wait(59 * SECOND);
        stage.stays_open();
        stage.wait(SECOND);
        stage.closed_by("expired");
    });
}

#[test]
fn a_login_again_of_another_principal_ends_the_connection() {
    play(|stage| {
        stage.login();
        stage.wait(SECOND);
        stage.handshake();
        let other = token("svc-2", "checkout", stage.now, 60 * SECOND);
        stage.ask(2, &authentication(&other));
        stage.ask(METADATA, &metadata());
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 58);
        stage.heard_nothing();
        stage.closed_by("login_failed");
        assert_eq!(stage.refused(), [(58, "principal_changed", None)]);
    });
}

#[test]
fn between_handshake_and_token_of_a_login_again_other_requests_end_the_connection() {
    play(|stage| {
        stage.login();
        stage.wait(SECOND);
        stage.handshake();
        stage.ask(METADATA, &metadata());
        stage.heard_nothing();
        stage.closed_by("not_logged_in");
    });
}

#[test]
fn a_login_again_within_a_second_is_out_of_order_and_changes_nothing() {
    play(|stage| {
        stage.login();
        stage.wait(SECOND - world::TICK);
        stage.ask(1, &SaslHandshakeRequest::default().with_mechanism(text("OAUTHBEARER")));
        assert_eq!(stage.answer::<SaslHandshakeRequest>().error_code, 34);
        stage.ask(METADATA, &metadata());
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        stage.wait(world::TICK);
        stage.handshake();
        stage.stays_open();
    });
}

#[test]
fn a_token_without_handshake_is_out_of_order() {
    play(|stage| {
        let good = token("svc-1", "checkout", stage.now, 300 * SECOND);
        assert_eq!(stage.authenticate(&good).error_code, 34);
        stage.closed_by("login_failed");
        assert_eq!(stage.session.principal(), None);
    });
}

#[test]
fn another_mechanism_is_refused_and_may_be_corrected() {
    play(|stage| {
        stage.ask(1, &SaslHandshakeRequest::default().with_mechanism(text("PLAIN")));
        let answer = stage.answer::<SaslHandshakeRequest>();
        assert_eq!((answer.error_code, answer.mechanisms), (33, vec![text("OAUTHBEARER")]));
        stage.login();
        stage.stays_open();
    });
}

#[test]
fn api_versions_are_told_before_and_after_login_alike() {
    play(|stage| {
        stage.ask(3, &api_versions());
        let before = stage.answer::<ApiVersionsRequest>();
        stage.login();
        stage.ask(0, &api_versions());
        let after = stage.answer::<ApiVersionsRequest>();
        assert_eq!(before.error_code, 0);
        assert_eq!(versions(&before), versions(&after));
        assert_eq!(versions(&before).len(), ApiKey::ALL.len());
        assert!(versions(&before).contains(&(0, 0, 13)), "Produce from 0, for old librdkafka");
        assert!(!versions(&before).iter().any(|(key, ..)| (71..=92).contains(key)), "no telemetry, no share groups");
        stage.heard_nothing();
    });
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    play(|stage| {
        let asked = Asked { api: 18, version: 99, correlation_id: 77, silent: false };
        // The body is of a form that nobody knows.
        stage.send(asked, &sized(&[0, 18, 0, 99, 0, 0, 0, 77, 0, 1, b'x', 0xee, 0xff, 0xff]));
        let answer = stage.answer::<ApiVersionsRequest>();
        assert_eq!((answer.error_code, versions(&answer)), (35, vec![(18, 0, 4)]));
        stage.ask(3, &api_versions());
        assert_eq!(stage.answer::<ApiVersionsRequest>().error_code, 0);
        stage.stays_open();
    });
}

#[test]
fn a_software_name_with_strange_characters_is_an_invalid_request() {
    play(|stage| {
        stage.ask(3, &api_versions().with_client_software_name(text("a b")));
        assert_eq!(stage.answer::<ApiVersionsRequest>().error_code, 42);
        stage.stays_open();
    });
}

#[test]
fn api_versions_wait_until_a_broker_was_reached() {
    let unreached = || {
        let mut setup = Setup::default();
        setup.context.view = None;
        setup
    };
    play_in(unreached, |stage| {
        stage.ask(3, &api_versions());
        stage.no_answer();
        stage.wait(4 * SECOND);
        stage.swap(world::context());
        assert_eq!(stage.answer::<ApiVersionsRequest>().error_code, 0);
    });
    play_in(unreached, |stage| {
        stage.ask(3, &api_versions());
        stage.wait(5 * SECOND);
        stage.no_answer();
        stage.closed_by("broker_down");
    });
}

fn ends_before_login(ask: impl Fn(&mut Stage)) {
    play(|stage| {
        stage.ask(3, &api_versions());
        ask(stage);
        // What came before is answered, however the bytes were cut.
        assert_eq!(stage.answer::<ApiVersionsRequest>().error_code, 0);
        stage.no_answer();
        stage.heard_nothing();
        stage.closed_by("not_logged_in");
        assert_eq!(stage.refused(), [(58, "not_logged_in", None)]);
    });
}

#[test]
fn requests_before_login_end_the_connection() {
    ends_before_login(|stage| {
        stage.ask(METADATA, &metadata());
    });
    ends_before_login(|stage| {
        stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
    });
    ends_before_login(|stage| {
        stage.ask(12, &produce("orders", &crate::batch::Batch::of(["{}"])));
    });
    // By its key alone: the body is no body, the key may be unknown.
    ends_before_login(|stage| stage.send_raw(&sized(&[0, 3, 0, 12, 0, 0, 0, 1, 0xff, 0xff, 0xee])));
    ends_before_login(|stage| stage.send_raw(&sized(&[1, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff])));
}

#[test]
fn a_large_frame_before_login_ends_the_connection_by_its_size_alone() {
    play(|stage| {
        stage.send_raw(&(64 * 1024 + 1_i32).to_be_bytes());
        stage.closed_by("bad_frame");
    });
}

#[test]
fn http_and_tls_end_the_connection() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]] {
        play(|stage| {
            stage.send_raw(bytes);
            stage.closed_by("bad_frame");
        });
    }
}

#[test]
fn an_anonymous_client_is_in_at_once_and_cannot_log_in() {
    play_in(anonymous, |stage| {
        assert_eq!(stage.session.principal(), Some("anonymous"));
        stage.ask(1, &SaslHandshakeRequest::default().with_mechanism(text("OAUTHBEARER")));
        assert_eq!(stage.answer::<SaslHandshakeRequest>().error_code, 34);
        stage.ask(METADATA, &metadata());
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        stage.ask(HEARTBEAT, &heartbeat("checkout-1"));
        assert_eq!(stage.answer::<HeartbeatRequest>().error_code, 30);
        assert_eq!(stage.entries(), []);
        stage.stays_open();
    });
}

#[test]
fn a_login_reply_waits_for_its_entry_and_what_is_behind_waits_too() {
    play(|stage| {
        stage.handshake();
        stage.hold_log();
        let good = token("svc-1", "checkout", stage.now, 300 * SECOND);
        stage.ask(2, &authentication(&good));
        stage.ask(3, &api_versions());
        stage.no_answer();
        stage.record(1);
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 0);
        assert_eq!(stage.answer::<ApiVersionsRequest>().error_code, 0);
    });
}

#[test]
fn a_port_whose_broker_is_not_known_yet_asks_for_it_and_waits() {
    let fresh = || {
        let mut setup = Setup::default();
        setup.door.node = Some(7);
        setup
    };
    play_in(fresh, |stage| {
        stage.login();
        stage.ask(METADATA, &metadata());
        stage.heard_nothing();
        assert!(stage.asked_for().contains(&"topics []".to_owned()));
        let mut context = world::context();
        let mut view = world::view();
        let broker = view.brokers[&0].clone();
        view.brokers.insert(7, broker);
        context.view = Some(std::sync::Arc::new(view));
        stage.swap(context);
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        // A view without it says that it is away, not what it speaks.
        stage.swap(world::context());
        stage.ask(METADATA, &metadata());
        stage.heard::<MetadataRequest>();
    });
}
