//! weir's own login to a real broker: each mechanism, its renewal, its refusal, its replacement; and that no output shows a secret.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

#[path = "upstream_login/clients.rs"]
mod clients;
#[path = "common/errors.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod errors;
#[path = "upstream_login/ground.rs"]
mod ground;
#[path = "upstream_login/secrets.rs"]
mod secrets;

use std::time::{Duration, Instant};

use clients::{Consumer, Producer};
use ground::{KAFKA, PASSWORD, Weir, console, until};

/// The broker's limit on a login, at the listener `SHORT` (`connections.max.reauth.ms`).
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn records_pass_with_every_mechanism() {
    for (mechanism, name) in
        [("plain", "PLAIN"), ("scram-sha-256", "SCRAM-SHA-256"), ("scram-sha-512", "SCRAM-SHA-512")]
    {
        let topic = format!("each-{mechanism}");
        KAFKA.create_topic(&topic, 1).unwrap();
        let auth = format!("auth: {{ mechanism: {mechanism}, username: weir, password: {{ env: KAFKA_PASSWORD }} }}");
        let weir = Weir::start("LOGIN", &auth, |_| {}, &[("KAFKA_PASSWORD", PASSWORD)]);
        weir.is_ready();
        let banner = weir.stdout();
        assert!(banner.contains(&format!("plaintext, {name} as weir")), "{banner}");
        let producer = Producer::new(&weir.bootstrap());
        producer.send(&topic, 5);
        assert_eq!(KAFKA.end_offset(&topic, 0).unwrap(), 5);
        let consumer = Consumer::new(&weir.bootstrap(), &topic);
        assert_eq!(consumer.take(5), ["0", "1", "2", "3", "4"]);
        // The control connection, and at least one each for the producer and the consumer.
        assert!(weir.metric(r#"weir_upstream_logins_total{kind="first",result="ok"}"#) >= 3.0);
        assert_eq!(weir.metric(r#"weir_upstream_logins_total{kind="first",result="refused"}"#), 0.0);
        assert_eq!((producer.errors(), consumer.errors()), (vec![], vec![]));
    }
}

/// The control of the test above: the listener lets nobody in without a login.
#[test]
fn without_a_login_the_broker_lets_nothing_through_and_the_log_says_what_to_do() {
    let weir = Weir::start("LOGIN", "connect_timeout: 1s", |_| {}, &[]);
    let line = weir.logs("cluster.unreachable");
    assert_eq!(line["error"], "the broker closed the connection");
    assert!(line["hint"].as_str().unwrap().contains("`upstream.auth`"), "{line}");
    weir.refuses_clients();
}

#[test]
fn check_logs_in_as_weir_does() {
    let auth = "auth: { mechanism: scram-sha-512, username: weir, password: { file: kafka.password } }";
    let prepare = |dir: &weir_testkit::WorkDir| drop(dir.write("kafka.password", PASSWORD).unwrap());
    let weir = Weir::start("LOGIN", auth, prepare, &[]);
    let good = weir.options().run(&["check", "--connect"]).unwrap().success("check --connect").unwrap();
    assert!(good.stdout.contains("1 broker (1)"), "{}", good.stdout);
    weir.dir.write("kafka.password", "not-the-password").unwrap();
    let told = weir.options().run(&["check", "--connect"]).unwrap();
    assert!(!told.status.success() && told.stdout.contains("refused the login of `weir`"), "{}", told.stdout);
    assert!(!told.stdout.contains("not-the-password"));
}

#[test]
fn a_port_without_login_is_named() {
    let auth = "auth: { mechanism: plain, username: weir, password: { env: KAFKA_PASSWORD } }";
    let weir = Weir::start_at(KAFKA.bootstrap(), auth, |_| {}, &[("KAFKA_PASSWORD", PASSWORD)]);
    let line = weir.logs("cluster.login_refused");
    assert_eq!(line["error"], "the broker takes no login on this port (error 34): it is one for clients without SASL");
}

#[test]
fn clients_notice_nothing_of_the_brokers_limit() {
    KAFKA.create_topic("renewed", 1).unwrap();
    let auth = "auth: { mechanism: scram-sha-512, username: weir, password: { env: KAFKA_PASSWORD } }";
    let weir = Weir::start("SHORT", auth, |_| {}, &[("KAFKA_PASSWORD", PASSWORD)]);
    weir.is_ready();
    let producer = Producer::new(&weir.bootstrap());
    let consumer = Consumer::new(&weir.bootstrap(), "renewed");
    let (mut sent, mut came) = (0, Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < LIMIT + Duration::from_secs(12) {
        producer.send("renewed", 1);
        sent += 1;
        came.extend(consumer.take_some());
        std::thread::sleep(Duration::from_millis(50));
    }
    came.extend(consumer.take(sent - came.len()));
    // `send` numbers the records of each call from 0.
    assert_eq!(came.len(), sent);
    assert_eq!(i64::try_from(sent).unwrap(), KAFKA.end_offset("renewed", 0).unwrap(), "none twice");
    assert_eq!((producer.errors(), consumer.errors()), (vec![], vec![]));
    // The producer's connection, the consumer's and weir's own.
    assert!(weir.metric(r#"weir_upstream_logins_total{kind="renewal",result="ok"}"#) >= 3.0, "{}", weir.log());
    assert_eq!(weir.lines("connection.closed").len(), 0, "{:?}", weir.lines("connection.closed"));
    assert_eq!(weir.lines("cluster.unreachable").len(), 0);
}

#[test]
fn a_wrong_password_is_one_line_until_it_is_the_right_one() {
    KAFKA.create_topic("wrong", 1).unwrap();
    let auth =
        "auth: { mechanism: scram-sha-256, username: weir, password: { file: kafka.password } }\n  connect_timeout: 1s";
    let weir = Weir::start("LOGIN", auth, |dir| drop(dir.write("kafka.password", "not-the-password").unwrap()), &[]);
    let line = weir.logs("cluster.login_refused");
    assert_eq!(line["level"], "ERROR");
    let error = line["error"].as_str().unwrap();
    let refusal = "the broker refused the login of `weir` with SCRAM-SHA-256: error 58: Authentication failed";
    assert!(error.starts_with(refusal), "{error}");
    assert!(line["hint"].as_str().unwrap().contains("`upstream.auth`"), "{line}");
    assert_eq!(weir.page("/readyz"), (503, "the broker refuses weir's login\n".to_owned()));
    weir.refuses_clients();
    let refused = || weir.metric(r#"weir_upstream_logins_total{kind="first",result="refused"}"#);
    until("weir tries again", || refused() >= 2.0);
    errors::walks_row("broker-login").holds("closed", &[line], |counter| weir.metric(counter));
    assert_eq!(weir.lines("cluster.login_refused").len(), 1, "the same trouble is reported once");

    weir.dir.write("kafka.password", format!("{PASSWORD}\n")).unwrap();
    weir.is_ready();
    weir.is_the_same_process();
    let producer = Producer::new(&weir.bootstrap());
    producer.send("wrong", 1);
    assert_eq!(KAFKA.end_offset("wrong", 0).unwrap(), 1);
}

#[test]
fn a_password_is_replaced_while_weir_runs() {
    const TOPIC: &str = "replaced";
    KAFKA.create_topic(TOPIC, 1).unwrap();
    let auth = "auth: { mechanism: scram-sha-512, username: mover, password: { file: kafka.password } }";
    let weir = Weir::start("LOGIN", auth, |dir| drop(dir.write("kafka.password", "the-old-one").unwrap()), &[]);
    weir.is_ready();
    let before = Producer::new(&weir.bootstrap());
    before.send(TOPIC, 1);

    let user = ["--alter", "--entity-type", "users", "--entity-name", "mover", "--add-config"];
    let change = [&user[..], &["SCRAM-SHA-512=[password=the-new-one]"]].concat();
    console().run("kafka.admin.ConfigCommand", &change, &[]).unwrap().success("kafka-configs").unwrap();
    // The control: who connects now is refused, since weir still says the old one.
    let refused = || weir.metric(r#"weir_upstream_logins_total{kind="first",result="refused"}"#);
    until("a new connection is refused", || {
        weir.bare_client_is_closed();
        refused() >= 1.0
    });
    let closed = weir.logs("connection.closed");
    assert_eq!(closed["reason"], "broker_login_failed", "{closed}");

    weir.dir.write("kafka.password", "the-new-one").unwrap();
    let after = Producer::new(&weir.bootstrap());
    after.send(TOPIC, 1);
    before.send(TOPIC, 1);
    assert_eq!(KAFKA.end_offset(TOPIC, 0).unwrap(), 3);
    assert_eq!(before.errors(), Vec::<String>::new(), "what was connected stayed");
    weir.is_the_same_process();
}
