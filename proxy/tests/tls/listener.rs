//! Who comes to a listener with TLS and does not get through.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use weir_testkit::{Authority, Listener};

use crate::errors::walks_row;
use crate::ground::{Client, PATIENCE, Weir, place, wait};

/// A weir whose broker does not matter.
fn weir(authority: &Authority, tls: &str, limits: &str) -> Weir {
    Weir::start(
        "127.0.0.1:1",
        |dir| drop(place(dir, "door", &authority.issue(&["127.0.0.1"]).unwrap())),
        |yaml, ports| {
            let tls = format!("tls: {{ cert: door.crt, key: door.key{tls} }}");
            yaml.listener(Listener::anonymous("open", &ports.address(0), &["apps"]).line(&tls))
                .section("limits", limits)
        },
    )
}

#[test]
fn the_oldest_version_that_clients_may_speak_is_kept() {
    let authority = Authority::new("test CA").unwrap();
    let strict = weir(&authority, ", min_version: \"1.3\"", "handshakes_max: 64");
    assert!(Client::connect(&strict.address(), authority.pem(), &[&TLS12]).is_err());
    let line = strict.line("tls.handshake_failed", &[("result", "version")]);
    assert!(line["detail"].as_str().unwrap().contains("min_version"), "{line}");
    walks_row("tls-version").holds("closed", &[line], |counter| strict.metric(counter));
    assert!(Client::connect(&strict.address(), authority.pem(), &[&TLS13, &TLS12]).is_ok(), "the control");
    assert_eq!(strict.metric("weir_tls_handshakes_total{listener=\"open\",result=\"version\"}"), 1.0);
    assert_eq!(strict.metric("weir_tls_handshakes_total{listener=\"open\",result=\"ok\"}"), 1.0);
    let usual = weir(&authority, "", "handshakes_max: 64");
    assert!(Client::connect(&usual.address(), authority.pem(), &[&TLS12]).is_ok(), "1.2 is the default");
}

#[test]
fn who_speaks_no_tls_is_closed() {
    let weir = weir(&Authority::new("test CA").unwrap(), "", "handshakes_max: 64");
    let mut plain = TcpStream::connect(weir.address()).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    // ApiVersions 0, as a client without TLS begins.
    plain.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).unwrap();
    let mut rest = Vec::new();
    // What comes, if anything, is an alert of TLS; an answer of Kafka's would begin with its size.
    drop(plain.read_to_end(&mut rest));
    assert!(rest.first().is_none_or(|first| *first == 21), "{rest:?}");
    let line = weir.line("tls.handshake_failed", &[("result", "not_tls")]);
    walks_row("tls-missing").holds("closed", &[line], |counter| weir.metric(counter));
}

#[test]
fn who_does_not_finish_the_handshake_is_cut_and_holds_a_place_until_then() {
    let authority = Authority::new("test CA").unwrap();
    let weir = weir(&authority, "", "{ login_timeout: 2s, handshakes_max: 1 }");
    // Who tries whether weir has started holds the one place for a moment.
    let mut silent = wait("the only place", || {
        let stream = TcpStream::connect(weir.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let still_open =
            matches!((&stream).read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        still_open.then_some(stream)
    });
    assert!(Client::connect(&weir.address(), authority.pem(), &[&TLS13]).is_err(), "there is one place");
    weir.line("connection.refused", &[("limit", "handshakes_max")]);
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    let ended = silent.read_to_end(&mut rest);
    assert!(
        rest.is_empty()
            && (ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset))
    );
    let line = weir.line("tls.handshake_failed", &[("result", "timeout")]);
    assert!(line["detail"].as_str().unwrap().contains("within 2s"), "{line}");
    walks_row("tls-late").holds("closed", &[line], |counter| weir.metric(counter));
    // An anonymous client needs no place once it is through: two are, one after the other.
    let through = || {
        wait("a place that is free", || {
            thread::sleep(Duration::from_millis(20));
            Client::connect(&weir.address(), authority.pem(), &[&TLS13]).ok()
        })
    };
    let _both = (through(), through());
}

#[test]
fn half_a_record_is_waited_for_no_longer_than_a_frame_and_is_counted_until_then() {
    let authority = Authority::new("test CA").unwrap();
    let weir = weir(&authority, "", "body_timeout: 3s");
    let connect = || Client::connect(&weir.address(), authority.pem(), &[&TLS13]).unwrap();
    let held = || weir.metric("weir_frame_bytes_held");
    let _quiet = connect();
    let mut half = connect();
    assert_eq!(held(), 0.0);
    half.sends_half_a_record();
    wait("its bytes to be counted", || (held() >= 8_000.0).then_some(()));
    half.is_closed();
    let line = weir.line("connection.closed", &[("reason", "body_timeout")]);
    assert_eq!(line["peer"], half.peer());
    wait("its bytes to be given back", || (held() == 0.0).then_some(()));
    // The control: who says nothing at all is only quiet.
    assert_eq!(weir.lines("connection.closed").len(), 1);
}
