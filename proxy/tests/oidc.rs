//! Keys from a real OIDC server: found by discovery or by address, fetched before a login is decided, changed while clients are at work.
//!
//! Logins are those of the clients themselves: Java's `OAuthBearerLoginCallbackHandler` and librdkafka's `oidc` method, in Python.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;
#[path = "oidc/ground.rs"]
mod ground;
#[expect(
    dead_code,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    reason = "made for another test, used in part"
)]
#[path = "bad_input/wire.rs"]
mod wire;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use weir_testkit::{Authority, KeyKind, OidcOptions, OidcServer, TokenIssuer, WorkDir};

use ground::{Tokens, Weir, server};

/// Restated from `gateway/keys.rs`: time between two attempts that logins ask for.
const ASK_PAUSE: Duration = Duration::from_secs(3);

const UNKNOWN_KEY: &str = "the token is signed with a key that its issuer does not publish";
const CANNOT_ASK: &str =
    "the token is signed with a key that is not known here, and its issuer cannot be asked now; try again in a while";
const NO_KEYS: &str = "the keys of the token's issuer could not be fetched yet; try again in a while";

#[test]
fn both_clients_log_in_with_keys_by_discovery_and_by_address() {
    let server = server(60);
    let tokens = Tokens::of(&server);
    let address = format!("{{ url: \"{}\" }}", server.jwks_url());
    for (topic, jwks) in [("orders.discovered", "discover"), ("orders.addressed", address.as_str())] {
        let weir = Weir::start(server.issuer(), jwks);
        let python = weir.python(&tokens, "producer", &json!({ "do": "produce", "topic": topic, "count": 3 })).ends();
        assert_eq!((python.heard("delivered").len(), python.heard("error").len()), (3, 0), "{:?}", python.said());
        let java =
            weir.java(&tokens).produce(topic, &["{\"id\":3}", "{\"id\":4}"]).unwrap().success("produce").unwrap();
        assert!(!java.stderr.contains("Exception"), "{}", java.stderr);

        let all: Vec<String> = (0..5).map(|id| format!("{{\"id\":{id}}}")).collect();
        let asked = json!({ "do": "consume", "topic": topic, "group": "apps-python", "count": 5 });
        let python = weir.python(&tokens, "consumer", &asked).ends();
        assert_eq!(python.heard("received"), all.iter().map(|text| json!(text)).collect::<Vec<_>>());
        let java = weir.java(&tokens).argument("--group").argument("apps-java");
        let received = java.consume(topic, 5).unwrap().success("consume").unwrap().stdout;
        assert_eq!(received.lines().collect::<Vec<_>>(), all);

        assert_eq!((weir.logins("refused"), weir.refreshes(server.issuer(), "failed")), (0.0, 0.0));
        assert!(weir.metric(&format!("weir_key_set_age_seconds{{issuer=\"{}\"}}", server.issuer())).is_some());
        // The control: a client with a wrong secret gets no token, and so nothing in.
        let wrong = json!({ "do": "produce", "topic": topic, "count": 0, "secret": "wrong" });
        let python = weir.python(&tokens, "stranger", &wrong);
        weir.until("a stranger hears of it", |_| !python.heard("error").is_empty());
        assert_eq!(python.heard("delivered").len(), 0);
    }
}

#[test]
fn keys_rotate_while_clients_are_at_work_and_nobody_notices() {
    // librdkafka gets a new token after four fifths of a lifetime. What is left must be more than a busy machine takes for it, and more
    // than the second in which a connection may not log in again.
    let server = server(16);
    let tokens = Tokens::of(&server);
    let weir = Weir::start(server.issuer(), "discover");
    let topic = "orders.rotated";
    let producer = weir.python(&tokens, "producer", &json!({ "do": "produce", "topic": topic, "count": 0 }));
    let consumer = weir.java_consumer(&tokens, topic, "apps-rotated");
    weir.until("the consumer gets records", |_| consumer.received().len() > 3);
    for round in 0..2 {
        let (keys, before) = (weir.log("keys.fetched").len(), weir.logins("ok"));
        server.rotate().unwrap();
        if round == 1 {
            // At once: tokens of the key from before are still about, and good for the connections that they opened.
            server.drop_old().unwrap();
        }
        // Each client has two connections: to the bootstrap and to the broker, and logs in again on those it uses.
        weir.until("both log in again with the new key", |weir| {
            weir.log("keys.fetched").len() > keys && weir.logins("ok") >= before + 4.0
        });
    }
    let now = producer.heard("delivered").len();
    weir.until("records go on to flow", |_| producer.heard("delivered").len() > now + 5);
    let producer = producer.stops();
    let delivered = producer.heard("delivered");
    assert_eq!((producer.heard("failed").len(), producer.heard("error")), (0, vec![]), "{:?}", producer.heard("text"));
    weir.until("the consumer gets every record", |_| consumer.received().len() >= delivered.len());
    assert_eq!(consumer.received().into_iter().map(|line| json!(line)).collect::<Vec<_>>(), delivered);
    drop(consumer);
    assert_eq!(weir.logins("refused"), 0.0, "{}", weir.log_text());
    // A connection that its client does not use any more is not logged in to again.
    let closed = weir.log("connection.closed");
    assert!(closed.iter().all(|line| line["reason"] == "expired"), "{closed:?}");
    assert_eq!(weir.log("keys.fetched").len(), 3);

    // The control: with keys that stay as they were, the same clients are refused.
    let stale = Weir::start_anyhow(server.issuer(), "{ file: stale.json }", &[("stale.json", &server.jwks().unwrap())]);
    let producer = stale.python(&tokens, "producer", &json!({ "do": "produce", "topic": "orders.stale", "count": 0 }));
    stale.until("records flow", |_| producer.heard("delivered").len() > 3);
    server.rotate().unwrap();
    stale.until("the client is refused", |stale| stale.logins("refused") > 0.0 && !producer.heard("error").is_empty());
}

#[test]
fn a_dropped_key_takes_its_tokens_with_it() {
    let server = server(300);
    let weir = Weir::start(server.issuer(), "discover");
    let old = server.token().unwrap();
    weir.lets_in(&old);
    server.rotate().unwrap();
    server.drop_old().unwrap();
    // weir has not heard of it.
    weir.lets_in(&old);
    weir.lets_in(&server.token().unwrap());
    weir.refuses(&old, UNKNOWN_KEY);
    assert_eq!(weir.log("login.refused").last().unwrap()["reason"], "token_unknown_key");
}

#[test]
fn known_keys_go_on_while_the_issuer_is_down() {
    let mut server = server(300);
    let weir = Weir::start(server.issuer(), "discover");
    let known = server.token().unwrap();
    server.rotate().unwrap();
    let unknown = server.token().unwrap();
    server.stop().unwrap();
    weir.lets_in(&known);
    weir.refuses(&unknown, CANNOT_ASK);
    weir.refuses(&unknown, CANNOT_ASK);
    let counted = |counter: &str| weir.metric(counter).unwrap_or(0.0);
    errors::walks_row("keys-unavailable").holds("58", &weir.log("login.refused"), counted);
    weir.lets_in(&known);
    assert!(weir.readyz().starts_with("HTTP/1.1 200"));
    assert!(weir.refreshes(server.issuer(), "failed") >= 2.0);
    // One line for the trouble, however often it was tried.
    let kept = weir.log("keys.kept");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!((kept[0]["reason"].as_str(), kept[0]["issuer"].as_str()), (Some("connect"), Some(server.issuer())));
    server.start_again().unwrap();
    weir.lets_in(&unknown);
    assert_eq!(weir.log("keys.fetched").len(), 2);
}

#[test]
fn weir_starts_without_its_issuer_and_says_so() {
    let mut server = server(300);
    let token = server.token().unwrap();
    server.stop().unwrap();
    let weir = Weir::start_anyhow(server.issuer(), "discover", &[]);
    weir.refuses(&token, NO_KEYS);
    let counted = |counter: &str| weir.metric(counter).unwrap_or(0.0);
    errors::walks_row("keys-missing").holds("58", &weir.log("login.refused"), counted);
    weir.until("the broker is no trouble", |weir| !weir.readyz().contains("broker"));
    let ready = weir.readyz();
    let expected = format!("no keys of issuer `{}`: cannot connect to ", server.issuer());
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(&expected), "{ready}");
    assert_eq!((weir.log("keys.missing").len(), weir.log("keys.kept").len()), (1, 0));
    server.start_again().unwrap();
    // Held until the keys are there.
    weir.lets_in(&token);
    weir.until("it is ready", |weir| weir.readyz().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_flood_of_unknown_keys_costs_the_issuer_next_to_nothing() {
    const CLIENTS: usize = 8;
    let server = server(300);
    let weir = Weir::start(server.issuer(), "discover");
    let strangers: Vec<String> = (0..CLIENTS)
        .map(|client| {
            let stranger = TokenIssuer::new(server.issuer(), &[(&format!("none-{client}"), KeyKind::P256)]).unwrap();
            stranger.token("orders-app").groups(&["apps"]).sign().unwrap()
        })
        .collect();
    let before = server.requests().unwrap();
    let (stop, refused, started) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for token in &strangers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    weir.refuses(token, UNKNOWN_KEY);
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while refused.load(Ordering::Relaxed) < 3 * CLIENTS as u64 {
            std::thread::sleep(Duration::from_millis(50));
        }
        // In the midst of it a key changes, and its client is let in all the same.
        server.rotate().unwrap();
        weir.lets_in(&server.token().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    let (after, refused) = (server.requests().unwrap(), refused.into_inner());
    let (asked, attempts) = (after.keys - before.keys, started.elapsed().as_secs() / ASK_PAUSE.as_secs() + 1);
    assert!((1..=attempts).contains(&asked), "{asked} requests for keys in {:?}", started.elapsed());
    assert_eq!(after.discovery, before.discovery);
    // The control: without the limit each of these logins would have been a request.
    assert!(refused > 3 * asked, "{refused} logins, {asked} requests");
}

#[test]
fn keys_come_from_their_new_place_alone_after_a_reload() {
    let (server, other) = (server(300), server(300));
    let weir = Weir::start(server.issuer(), "discover");
    let token = server.token().unwrap();
    weir.lets_in(&token);
    // Another server's keys under this issuer's name: those from before are good no more.
    weir.keys_move_to(server.issuer(), &format!("{{ url: \"{}\" }}", other.jwks_url()));
    weir.refuses(&token, UNKNOWN_KEY);
    weir.keys_move_to(server.issuer(), &format!("{{ url: \"{}\" }}", server.jwks_url()));
    weir.lets_in(&token);
}

#[test]
fn keys_that_are_too_old_let_nobody_in() {
    let mut server = server(300);
    let weir = Weir::start(server.issuer(), "discover");
    let token = server.token().unwrap();
    weir.keys_live_for(server.issuer(), "10s");
    // The control: as long as the issuer is there, its keys are fetched before they are old.
    let fetched = weir.refreshes(server.issuer(), "ok");
    weir.until("they are fetched anew", |weir| weir.refreshes(server.issuer(), "ok") >= fetched + 3.0);
    weir.lets_in(&token);
    assert_eq!(weir.log("keys.expired").len(), 0);

    server.stop().unwrap();
    weir.lets_in(&token);
    weir.until("it says that they age", |weir| {
        let ready = weir.readyz();
        ready.starts_with("HTTP/1.1 200") && ready.contains(" s old and let nobody in from 10 s on: cannot connect to ")
    });
    weir.until("they are too old", |weir| !weir.log("keys.expired").is_empty());
    weir.refuses(&token, NO_KEYS);
    let counted = |counter: &str| weir.metric(counter).unwrap_or(0.0);
    errors::walks_row("keys-expired").holds("58", &weir.log("keys.expired"), counted);
    let ready = weir.readyz();
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("those from before are too old: "), "{ready}");
    let age = |weir: &Weir| weir.metric(&format!("weir_key_set_age_seconds{{issuer=\"{}\"}}", server.issuer()));
    assert!(age(&weir).is_some_and(|age| age >= 10.0), "an alert on it must go on");
    assert_eq!(weir.metric("weir_key_set_age_max_seconds"), Some(10.0));

    server.start_again().unwrap();
    weir.lets_in(&token);
    weir.until("it is ready", |weir| weir.readyz().starts_with("HTTP/1.1 200"));
    assert_eq!(weir.log("keys.expired").len(), 1, "once");
}

#[test]
fn keys_that_no_longer_fit_are_none() {
    let server = server(300);
    let weir = Weir::start(server.issuer(), "discover");
    let token = server.token().unwrap();
    weir.lets_in(&token);
    // The server signs with RS256: none of its keys is for what may be used now.
    weir.keys_move_to(server.issuer(), "discover\n      algorithms: [ES256]");
    weir.until("it says so", |weir| weir.log("keys.missing").iter().any(|line| line["reason"] == "no_key_fits"));
    assert_eq!(weir.login(&token).error, 58);
    assert!(weir.readyz().starts_with("HTTP/1.1 503"), "{}", weir.readyz());
    // The control: the same keys fit again.
    weir.keys_move_to(server.issuer(), "discover\n      algorithms: [RS256]");
    weir.lets_in(&token);
}

#[test]
fn an_authority_that_is_trusted_no_more_takes_its_keys_with_it() {
    let (authority, other) = (Authority::new("test authority").unwrap(), Authority::new("another").unwrap());
    let certificate = authority.issue(&["localhost"]).unwrap();
    let folder = WorkDir::new().unwrap();
    let (cert, key) = (folder.write("tls.crt", certificate.cert), folder.write("tls.key", certificate.key));
    let options = OidcOptions { tls: Some((cert.unwrap(), key.unwrap())), ..OidcOptions::default() };
    let mut server = OidcServer::start(options).unwrap();
    let token = server.token().unwrap();
    let weir = Weir::start_anyhow(server.issuer(), "{ discover: true, ca: ca.pem }", &[("ca.pem", authority.pem())]);
    weir.lets_in(&token);
    server.stop().unwrap();
    // The control: one authority more takes nothing away, though nobody can be asked.
    weir.put("ca.pem", &format!("{}{}", authority.pem(), other.pem()));
    weir.lets_in(&token);
    weir.put("ca.pem", other.pem());
    weir.refuses(&token, NO_KEYS);
    weir.put("ca.pem", authority.pem());
    server.start_again().unwrap();
    weir.lets_in(&token);
}

#[test]
fn keys_come_from_a_server_whose_certificate_holds() {
    let authority = Authority::new("test authority").unwrap();
    let certificate = authority.issue(&["localhost"]).unwrap();
    let folder = WorkDir::new().unwrap();
    let (cert, key) = (folder.write("tls.crt", certificate.cert), folder.write("tls.key", certificate.key));
    let options = OidcOptions { tls: Some((cert.unwrap(), key.unwrap())), ..OidcOptions::default() };
    let server = OidcServer::start(options).unwrap();
    let token = server.token().unwrap();
    let files = [("ca.pem", authority.pem())];
    let weir = Weir::start_anyhow(server.issuer(), "{ discover: true, ca: ca.pem }", &files);
    weir.lets_in(&token);
    // The control: an authority that nobody named.
    let weir = Weir::start_anyhow(server.issuer(), "discover", &[]);
    weir.refuses(&token, NO_KEYS);
    let missing = &weir.log("keys.missing")[0];
    assert_eq!(missing["reason"], "connect");
    assert!(missing["error"].as_str().unwrap().contains("signed by nobody whom weir trusts"), "{missing}");
}

#[test]
fn a_discovery_document_of_another_issuer_is_not_believed() {
    let server = server(300);
    // The same server by another name.
    let name = server.issuer().replace("127.0.0.1", "localhost");
    let weir = Weir::start_anyhow(&name, "discover", &[]);
    weir.until("it says so", |weir| weir.log("keys.missing").iter().any(|line| line["reason"] == "other_issuer"));
    assert!(weir.readyz().contains("is of another issuer"), "{}", weir.readyz());
    assert_eq!(server.requests().unwrap().keys, 0);
}
