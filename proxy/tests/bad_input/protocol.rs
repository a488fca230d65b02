//! Requests that are no part of what weir serves, or not yet.

use std::time::Duration;

use crate::batch;
use crate::ground::{WEIR, Weir, end_offset, token, topic};
use crate::wire::{
    self, API_VERSIONS, Bytes, Client, FETCH, METADATA, PRODUCE, SASL_AUTHENTICATE, api_versions, flexible,
    metadata_body, oauthbearer, produce_body, produced, request, sized,
};

/// UNSUPPORTED_VERSION.
const UNSUPPORTED_VERSION: i16 = 35;

/// The connection is closed, and the log and the entries say what was asked.
#[track_caller]
fn check_not_served(frame: &[u8], detail: &str) {
    let mut client = WEIR.open();
    client.send_frame(frame);
    client.is_closed();
    WEIR.closed(&client, "not_served", detail);
    let refused = WEIR.logs(&[("event", "request.refused"), ("peer", &client.peer())]);
    assert_eq!((refused["reason"].as_str(), refused["principal"].as_str()), (Some("not_served"), Some("anonymous")));
}

#[test]
fn an_unknown_api_is_closed() {
    check_not_served(&request(999, 0, 1, &[]), "API key 999 version 0 is not served");
    check_not_served(&request(-1, 0, 1, &[]), "API key -1 version 0 is not served");
}

/// What Kafka has and weir does not let through: it mints access beside weir, writes transaction markers, wraps other requests.
#[test]
fn an_api_that_is_not_served_is_refused_in_its_own_form_or_closed() {
    // Without a place for an error in the answer: CreateAcls, DeleteAcls, WriteTxnMarkers.
    check_not_served(&flexible(30, 2, 1, &[]), "API key 30 version 2 is not served");
    check_not_served(&flexible(31, 2, 1, &[]), "API key 31 version 2 is not served");
    check_not_served(&flexible(27, 1, 1, &[]), "API key 27 version 1 is not served");
    // With one: DescribeAcls, CreateDelegationToken, DescribeUserScramCredentials, Envelope.
    for (api, version) in [(29, 3), (38, 3), (50, 0), (58, 0)] {
        let mut client = WEIR.open();
        client.send_frame(&flexible(api, version, 9, b"the body is not read"));
        let (correlation_id, body) = client.answer().unwrap();
        assert_eq!(correlation_id, 9);
        let code = UNSUPPORTED_VERSION.to_be_bytes();
        assert!(body.windows(2).take(8).any(|two| two == code), "{api} {body:?}");
        let refused = WEIR.logs(&[("event", "request.refused"), ("peer", &client.peer())]);
        assert_eq!(refused["api_key"], api, "{refused}");
        assert_eq!(refused["api_version"], version, "{refused}");
        assert_eq!(refused["code"], UNSUPPORTED_VERSION, "{refused}");
        assert!(client.call(METADATA, 1, &metadata_body(&["alive"])).is_some(), "the connection goes on");
    }
    WEIR.lives();
}

#[test]
fn an_unknown_version_is_refused_or_closed() {
    topic("versions", 1);
    let body = produce_body(-1, &[("versions", &[(0, &batch::plain(&["one"]))])]);
    // Advertised for old librdkafka, and never served.
    check_not_served(&request(PRODUCE, 2, 1, &body), "Produce version 2 is not served");
    check_not_served(&request(PRODUCE, 99, 1, &body), "Produce version 99 is not served");
    check_not_served(&request(METADATA, 99, 1, &[]), "Metadata version 99 is not served");
    check_not_served(&request(METADATA, -1, 1, &[]), "Metadata version -1 is not served");
    check_not_served(&request(FETCH, 3, 1, &[]), "Fetch version 3 is not served");
    assert_eq!(end_offset("versions", 0), 0);
    assert_eq!(produced(&WEIR.open().call(PRODUCE, 8, &body).unwrap())[0].error, 0);
    assert_eq!(end_offset("versions", 0), 1);
}

/// The client gets what it needs to try again, on the same connection, before login as after it.
#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let check = |client: &mut Client, version: i16| {
        client.send_frame(&flexible(API_VERSIONS, version, 5, &Bytes::default().compact("x").compact("1").varint(0).0));
        let (correlation_id, body) = client.answer().unwrap();
        assert_eq!(correlation_id, 5);
        assert_eq!(api_versions(&body), (UNSUPPORTED_VERSION, vec![(API_VERSIONS, 0, 4)]));
        assert_eq!(api_versions(&client.call(API_VERSIONS, 0, &[]).unwrap()).0, 0);
    };
    for version in [5, 99, i16::MAX, -1] {
        check(&mut WEIR.open(), version);
        check(&mut WEIR.apps(), version);
    }
    let mut client = WEIR.apps();
    check(&mut client, 99);
    assert_eq!(client.login(&token("versions")).error, 0, "and it may log in afterwards");
    WEIR.lives();
}

#[test]
fn a_software_name_that_is_none_is_answered_with_an_error() {
    let body = |name: &str| Bytes::default().compact(name).compact("1").varint(0).0;
    let mut client = WEIR.open();
    client.send_frame(&flexible(API_VERSIONS, 3, 1, &body("rm -rf")));
    assert_eq!(client.answer().unwrap().1[..2], 42_i16.to_be_bytes(), "INVALID_REQUEST");
    client.send_frame(&flexible(API_VERSIONS, 3, 2, &body("client")));
    assert_eq!(client.answer().unwrap().1[..2], [0, 0]);
    WEIR.lives();
}

#[test]
fn nothing_but_the_login_is_heard_before_it() {
    topic("early", 1);
    let body = produce_body(-1, &[("early", &[(0, &batch::plain(&["one"]))])]);
    let check = |mut client: Client, frame: &[u8], detail: &str| {
        client.send_frame(frame);
        client.is_closed();
        WEIR.closed(&client, "not_logged_in", detail);
        let refused = WEIR.logs(&[("event", "login.refused"), ("peer", &client.peer())]);
        assert_eq!(refused["reason"], "not_logged_in");
    };
    check(WEIR.apps(), &request(PRODUCE, 8, 1, &body), "Produce before login");
    check(WEIR.apps(), &request(METADATA, 1, 1, &metadata_body(&[])), "Metadata before login");
    check(WEIR.apps(), &request(999, 1, 1, &[]), "API key 999 before login");
    // Decided by the key alone: a body that nobody could read makes no difference.
    check(WEIR.apps(), &request(PRODUCE, 8, 1, &[0xff; 40]), "Produce before login");
    let mut between = WEIR.apps();
    assert_eq!(between.handshake("OAUTHBEARER").0, 0);
    check(between, &request(PRODUCE, 8, 1, &body), "Produce before login");
    assert_eq!(end_offset("early", 0), 0);

    let mut client = WEIR.apps();
    assert_eq!(client.login(&token("early")).error, 0);
    assert_eq!(produced(&client.call(PRODUCE, 8, &body).unwrap())[0].error, 0);
    assert_eq!(end_offset("early", 0), 1);
}

/// A request that is sent right behind a token that is refused must not be carried out.
#[test]
fn what_follows_a_refused_login_is_not_done() {
    topic("behind-login", 1);
    let body = produce_body(-1, &[("behind-login", &[(0, &batch::plain(&["one"]))])]);
    let message = oauthbearer("no.good.token");
    let login = request(SASL_AUTHENTICATE, 1, 2, &Bytes::default().count(message.len()).raw(&message).0);
    let mut client = WEIR.apps();
    assert_eq!(client.handshake("OAUTHBEARER").0, 0);
    client.send(&[sized(&login), sized(&request(PRODUCE, 8, 3, &body))].concat());
    let (correlation_id, answer) = client.answer().unwrap();
    assert_eq!((correlation_id, &answer[..2]), (2, &58_i16.to_be_bytes()[..]), "SASL_AUTHENTICATION_FAILED");
    client.is_closed();
    WEIR.closed(&client, "login_failed", "the token is not a signed JSON web token");
    assert_eq!(end_offset("behind-login", 0), 0);
    WEIR.lives();
}

#[test]
fn the_login_is_taken_in_order_only() {
    let mut client = WEIR.apps();
    let early = client.authenticate(&oauthbearer(&token("order")));
    assert_eq!((early.error, early.message.as_str()), (34, "weir: send SaslHandshake first"));
    client.is_closed();
    WEIR.closed(&client, "login_failed", "SaslAuthenticate before SaslHandshake");

    let mut client = WEIR.apps();
    for mechanism in ["PLAIN", "GSSAPI", "", "oauthbearer"] {
        assert_eq!(client.handshake(mechanism), (33, vec!["OAUTHBEARER".to_owned()]), "{mechanism}");
        let refused = WEIR.logs(&[("event", "login.refused"), ("peer", &client.peer())]);
        assert_eq!(refused["reason"], "unsupported_mechanism");
    }
    assert_eq!(client.login(&token("order")).error, 0, "the right mechanism may follow");
    WEIR.lives();
}

/// With version 0 of the handshake raw tokens would follow without a header.
#[test]
fn the_old_handshake_is_refused() {
    let mut client = WEIR.apps();
    client.send_frame(&request(wire::SASL_HANDSHAKE, 0, 1, &Bytes::default().string("OAUTHBEARER").0));
    let (_, body) = client.answer().unwrap();
    assert_eq!(body[..2], UNSUPPORTED_VERSION.to_be_bytes());
    let refused = WEIR.logs(&[("event", "login.refused"), ("peer", &client.peer())]);
    assert_eq!(refused["reason"], "not_served");
    assert_eq!(client.login(&token("old")).error, 0);
    WEIR.lives();
}

#[test]
fn an_anonymous_listener_takes_no_login() {
    let mut client = WEIR.open();
    assert_eq!(client.handshake("OAUTHBEARER").0, 34, "ILLEGAL_SASL_STATE");
    WEIR.logs(&[("event", "login.refused"), ("peer", &client.peer()), ("reason", "no_login_here")]);
    assert!(client.call(METADATA, 1, &metadata_body(&["alive"])).is_some());
    WEIR.lives();
}

/// Limits in time, short here: silence, trickle, and everything but a login.
#[test]
fn who_does_not_log_in_is_cut() {
    let weir = Weir::start(|yaml| yaml.section("limits", "login_timeout: 1500ms"));
    let mut silent = weir.apps();
    let mut talking = weir.apps();
    while let Some(body) = talking.call(API_VERSIONS, 0, &[]) {
        assert_eq!(api_versions(&body).0, 0);
        std::thread::sleep(Duration::from_millis(100));
    }
    silent.is_closed();
    for client in [&silent, &talking] {
        weir.closed(client, "login_timeout", "no login within 1.5s");
        let refused = weir.logs(&[("event", "login.refused"), ("peer", &client.peer())]);
        assert_eq!(refused["reason"], "login_timeout");
    }
    let mut prompt = weir.apps();
    assert_eq!(prompt.login(&token("prompt")).error, 0);
    std::thread::sleep(Duration::from_millis(1600));
    assert!(prompt.call(METADATA, 1, &metadata_body(&["alive"])).is_some(), "who logged in stays");
}

#[test]
fn who_says_nothing_after_login_is_cut() {
    let weir = Weir::start(|yaml| yaml.section("limits", "idle_timeout: 1s").section("log", "level: debug"));
    let (mut idle, mut busy) = (weir.open(), weir.open());
    for _ in 0..8 {
        assert!(busy.call(METADATA, 1, &metadata_body(&["alive"])).is_some());
        std::thread::sleep(Duration::from_millis(200));
    }
    idle.is_closed();
    let line = weir.logs(&[("event", "connection.closed"), ("peer", &idle.peer())]);
    assert_eq!((line["reason"].as_str(), line["level"].as_str()), (Some("idle"), Some("DEBUG")));
    assert!(busy.call(METADATA, 1, &metadata_body(&["alive"])).is_some());
}
