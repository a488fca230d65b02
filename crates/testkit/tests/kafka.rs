//! The testkit's broker is a real one: what Kafka's own clients write is read back, from the wire and from the disk.

use std::path::Path;
use std::time::Duration;

use weir_testkit::{
    ClientProperties, Console, Error, Kafka, KafkaOptions, KeyKind, PortBlock, TokenIssuer, WorkDir, wire,
};

#[test]
fn stores_what_a_producer_sent_also_over_a_crash() {
    let mut kafka = Kafka::start(KafkaOptions::default()).unwrap();
    kafka.create_topic_with("orders", 2, &[("message.timestamp.type", "LogAppendTime")]).unwrap();
    let console = Console::new(kafka.bootstrap());

    let sent = console.clone().argument("--compression-codec").argument("none");
    sent.produce("orders", &["plain canary-1"]).unwrap().success("produce").unwrap();
    let sent = console.clone().argument("--compression-codec").argument("zstd");
    sent.produce("orders", &[&"canary-2 ".repeat(20)]).unwrap().success("produce").unwrap();

    let received = console.consume("orders", 2).unwrap().success("consume").unwrap();
    assert!(received.stdout.contains("plain canary-1\n") && received.stdout.contains("canary-2 canary-2"));

    let dump = [kafka.dump_log("orders", 0).unwrap(), kafka.dump_log("orders", 1).unwrap()].concat();
    assert!(dump.contains("payload: plain canary-1") && dump.contains("payload: canary-2 canary-2"), "{dump}");
    assert!(dump.contains("compresscodec: zstd") && dump.contains("isvalid: true"), "{dump}");

    // The raw scan sees plain bytes and, as its documentation says, does not open compressed ones.
    let found = kafka.find_bytes(b"plain canary-1").unwrap();
    assert!(found.iter().any(|(path, _)| path.extension().unwrap() == "log"), "{found:?}");
    assert!(kafka.find_bytes(b"canary-2 canary-2 canary-2").unwrap().is_empty());
    assert!(
        !kafka.segment_bytes("orders", 0).unwrap().is_empty() || !kafka.segment_bytes("orders", 1).unwrap().is_empty()
    );

    kafka.kill().unwrap();
    assert!(wire::metadata(kafka.bootstrap(), &[]).is_err(), "dead");
    kafka.start_again().unwrap();
    let stored: i64 = [0, 1].iter().map(|partition| kafka.end_offset("orders", *partition).unwrap()).sum();
    assert_eq!(stored, 2);
    kafka.stop().unwrap();
}

#[test]
fn says_why_a_broker_does_not_start() {
    let options = KafkaOptions { ready_within: Duration::from_secs(60), ..KafkaOptions::default() };
    let error = Kafka::start(options.property("log.retention.bytes", "many")).unwrap_err().to_string();
    assert!(error.contains("log.retention.bytes"), "{error}");
}

#[test]
fn reports_the_broker_s_error_codes() {
    let kafka = Kafka::start(KafkaOptions::default()).unwrap();
    kafka.create_topic("orders", 1).unwrap();
    let again = kafka.create_topic("orders", 1);
    assert!(matches!(again, Err(Error::Kafka { api: "CreateTopics", code: 36 })), "{again:?}");
    let absent = kafka.end_offset("absent", 0);
    assert!(matches!(absent, Err(Error::Kafka { api: "ListOffsets", code: 3 })), "{absent:?}");
    assert!(kafka.create_topic("no spaces", 1).is_err());
}

#[test]
fn console_clients_log_in_with_a_token_file() {
    let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
    let issuer = TokenIssuer::new("https://issuer.test", &[("rsa-1", KeyKind::Rsa2048)]).unwrap();
    let jwks = dir.path().join("jwks.json");
    issuer.write_jwks(&jwks).unwrap();
    let good = dir.write("good.jwt", issuer.token("checkout").sign().unwrap()).unwrap();
    let expired = dir.write("expired.jwt", issuer.token("checkout").expired(Duration::from_secs(180)).sign().unwrap());

    let kafka = Kafka::start(broker_with_oauthbearer(&ports, &jwks)).unwrap();
    kafka.create_topic("orders", 1).unwrap();
    let console = Console::new(&ports.address(1)).within(Duration::from_secs(90));

    let in_time = console.clone().with(ClientProperties::oauthbearer(&good));
    in_time.produce("orders", &["logged in"]).unwrap().success("produce").unwrap();
    assert_eq!(in_time.consume("orders", 1).unwrap().success("consume").unwrap().stdout, "logged in\n");

    // Negative controls: the broker does ask for a token, and for one that is in time.
    let short =
        |console: Console| console.argument("--max-block-ms").argument("4000").produce("orders", &["no"]).unwrap();
    short(console.clone());
    short(console.with(ClientProperties::oauthbearer(&expired.unwrap())));
    assert_eq!(kafka.end_offset("orders", 0).unwrap(), 1);
}

/// A broker with a second listener, on the block's port 1, that checks tokens against a key set file.
fn broker_with_oauthbearer(ports: &PortBlock, jwks: &Path) -> KafkaOptions {
    let url = format!("file://{}", jwks.display());
    let (plain, oauth) = (ports.address(0), ports.address(1));
    let advertised = format!("PLAINTEXT://{plain},OAUTH://{oauth}");
    let class = "org.apache.kafka.common.security.oauthbearer";
    let listener = "listener.name.oauth";
    let mut options = KafkaOptions { port: Some(ports.port(0)), ..KafkaOptions::default() }
        .property("listeners", &format!("{advertised},CONTROLLER://{}", ports.address(2)))
        .property("advertised.listeners", &advertised)
        .property("controller.quorum.voters", &format!("1@{}", ports.address(2)))
        .property("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OAUTH:SASL_PLAINTEXT")
        .property("inter.broker.listener.name", "PLAINTEXT")
        .property(&format!("{listener}.sasl.enabled.mechanisms"), "OAUTHBEARER");
    let settings = [
        ("sasl.jaas.config", format!("{class}.OAuthBearerLoginModule required;")),
        ("sasl.server.callback.handler.class", format!("{class}.OAuthBearerValidatorCallbackHandler")),
        ("sasl.oauthbearer.jwks.endpoint.url", url.clone()),
        ("sasl.oauthbearer.expected.issuer", "https://issuer.test".to_owned()),
        ("sasl.oauthbearer.expected.audience", "kafka".to_owned()),
    ];
    for (name, value) in settings {
        options = options.property(&format!("{listener}.oauthbearer.{name}"), &value);
    }
    options.jvm.push(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={url}"));
    options
}
