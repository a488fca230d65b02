//! The testkit's broker is a real one: what Kafka's own clients write is read back, from the wire and from the disk.

use std::time::Duration;

use weir_testkit::{Console, Error, Kafka, KafkaOptions, wire};

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
