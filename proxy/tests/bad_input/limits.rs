//! Limits on how much is there at once: connections, and requests of one connection.

use std::time::Duration;

use crate::batch;
use crate::ground::{WEIR, Weir, token, topic, until};
use crate::wire::{
    API_VERSIONS, Client, FETCH, METADATA, PRODUCE, fetch_body, fetched, metadata_body, produce_body, produced,
    request, sized,
};

/// Connects until the limit turns somebody away: who is inside goes on, and a place given back is taken.
#[track_caller]
fn check(weir: &Weir, connect: impl Fn() -> Client, limit: &str, places: usize) {
    let serves = |client: &mut Client| client.call(API_VERSIONS, 0, &[]).is_some();
    let mut inside: Vec<Client> = (0..places).map(|_| connect()).collect();
    assert!(inside.iter_mut().all(serves), "{places} connections are let in");
    let mut outside = connect();
    outside.is_closed();
    let line = weir.logs(&[("event", "connection.refused"), ("peer", &outside.peer())]);
    assert_eq!((line["limit"].as_str(), line["level"].as_str()), (Some(limit), Some("WARN")));
    assert!(inside.iter_mut().all(serves));
    inside.pop();
    until("a place is free again", || serves(&mut connect()));
}

#[test]
fn one_address_has_so_many_connections() {
    let weir = Weir::start(|yaml| yaml.section("limits", "connections_per_address_max: 3"));
    check(&weir, || weir.open(), "connections_per_address_max", 3);
    until("everybody left", || weir.metric("weir_connections{listener=\"open\"}") == 0.0);
    weir.lives();
}

#[test]
fn the_process_has_so_many_connections() {
    let weir = Weir::start(|yaml| yaml.section("limits", "connections_max: 3"));
    check(&weir, || weir.open(), "connections_max", 3);
    until("everybody left", || weir.metric("weir_connections{listener=\"open\"}") == 0.0);
    weir.lives();
}

/// Who is logged in does not count, and neither does who need not log in.
#[test]
fn so_many_may_be_on_their_way_in() {
    let weir = Weir::start(|yaml| yaml.section("limits", "handshakes_max: 2"));
    let mut logged_in: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = weir.apps();
            assert_eq!(client.login(&token("inside")).error, 0);
            client
        })
        .collect();
    check(&weir, || weir.apps(), "handshakes_max", 2);
    assert!(logged_in.iter_mut().all(|client| client.call(METADATA, 1, &metadata_body(&["alive"])).is_some()));
    weir.lives();
}

/// An address that takes all the places it can get, again and again, leaves some to others.
#[test]
fn one_address_has_a_share_of_those_on_their_way_in() {
    let weir = Weir::start(|yaml| yaml.section("limits", "handshakes_max: 8"));
    let serves = |client: &mut Client| client.call(API_VERSIONS, 0, &[]).is_some();
    let mut greedy = (0..4).map(|_| weir.apps()).collect::<Vec<_>>();
    assert!(greedy.iter_mut().all(serves));
    let mut fifth = weir.apps();
    fifth.is_closed();
    let line = weir.logs(&[("event", "connection.refused"), ("peer", &fifth.peer())]);
    assert_eq!(line["limit"], "handshakes_per_address");
    let mut other = weir.apps_from("127.0.0.2");
    assert!(serves(&mut other) && greedy.iter_mut().all(serves));
    weir.lives();
}

/// What is beyond the limit waits unread; it is neither lost nor taken for a frame that does not arrive.
#[test]
fn requests_beyond_those_in_flight_wait_for_their_turn() {
    topic("in-flight", 1);
    let weir = Weir::start(|yaml| {
        ["inflight_requests_max: 2", "body_timeout: 1s"].iter().fold(yaml, |yaml, line| yaml.section("limits", line))
    });
    let mut client = weir.open();
    let poll = request(FETCH, 11, 1, &fetch_body("in-flight", 0, 0, 2500));
    let rest = (2..=20).map(|id| sized(&request(METADATA, 1, id, &metadata_body(&["alive"]))));
    let mut bytes = [vec![sized(&poll)], rest.collect()].concat().concat();
    // Also the last of them comes in two parts, the second of which weir reads long after the first.
    let last = bytes.split_off(bytes.len() - 3);
    client.send(&bytes);
    std::thread::sleep(Duration::from_millis(1500));
    client.send(&last);
    let (correlation_id, body) = client.answer().unwrap();
    assert_eq!((correlation_id, fetched(&body).0), (1, 0));
    for expected in 2..=20 {
        assert_eq!(client.answer().unwrap().0, expected);
    }
    weir.lives();
}

/// The same without a limit that is reached.
#[test]
fn many_requests_at_once_are_answered_in_order() {
    let mut client = WEIR.open();
    let all: Vec<u8> = (1..=200).flat_map(|id| sized(&request(METADATA, 1, id, &metadata_body(&["alive"])))).collect();
    client.send(&all);
    for expected in 1..=200 {
        assert_eq!(client.answer().unwrap().0, expected);
    }
    WEIR.lives();
}

/// Answers that nobody takes are not kept for ever.
#[test]
fn a_client_that_does_not_read_is_cut() {
    topic("unread", 1);
    let weir = Weir::start(|yaml| yaml.section("limits", "idle_timeout: 2s").section("log", "level: debug"));
    let large = batch::plain(&[&"x".repeat(1_000_000)]);
    let answer = weir.open().call(PRODUCE, 8, &produce_body(-1, &[("unread", &[(0, &large)])])).unwrap();
    assert_eq!(produced(&answer)[0].error, 0);
    let fetches = |count: i32| (1..=count).map(|id| sized(&request(FETCH, 11, id, &fetch_body("unread", 0, 0, 0))));
    let mut deaf = weir.open();
    deaf.send(&fetches(60).flatten().collect::<Vec<u8>>());
    let line = weir.logs(&[("event", "connection.closed"), ("peer", &deaf.peer())]);
    assert_eq!(line["reason"], "idle", "{line}");
    until("what was kept for it is gone", || weir.metric("weir_frame_bytes_held") == 0.0);
    let mut reading = weir.open();
    reading.send(&fetches(60).flatten().collect::<Vec<u8>>());
    assert!((1..=60).all(|id| reading.answer().is_some_and(|(found, body)| found == id && body.len() > 1_000_000)));
    weir.lives();
}
