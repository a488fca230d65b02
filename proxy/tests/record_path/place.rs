//! The broker with its topics, and weir before it.

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use weir_testkit::{Kafka, KafkaOptions};

use crate::ground::Weir;
use crate::grown;
use crate::wire::PATIENCE;

/// The broker and weir of all tests of this file.
pub(crate) static PLACE: LazyLock<Place> = LazyLock::new(Place::new);

pub(crate) struct Place {
    pub(crate) kafka: Kafka,
    pub(crate) weir: Weir,
}

/// Cards are masked in `ruled…` on both ways; in `grow…`, short texts become longer on their way in.
const POLICY: &str = r#"
version: 1
access:
  - name: everybody
    principals: { groups: [apps] }
    allow:
      - produce: ["*"]
      - consume: ["*"]
        consumer_groups: ["*"]
rules:
  - name: cards
    match: { topics: ["ruled*"], direction: both }
    fields: [{ path: "$.card", transform: { mask: { keep_last: 4 } } }]
    on_failure: refuse
  - name: short
    match: { topics: ["grow*"], direction: produce }
    fields: [{ path: "$.t", transform: redact }]
"#;

/// What the log cleaner may clean at once: every segment but the newest, each of a tenth of a second.
const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "100"),
    ("min.cleanable.dirty.ratio", "0.0"),
    ("min.compaction.lag.ms", "0"),
];

pub(crate) const CARD: &str = "4111111111111111";
pub(crate) const MASKED: &str = "************1111";

impl Place {
    fn new() -> Self {
        let mut kafka = Kafka::start(KafkaOptions::default().property("log.cleaner.backoff.ms", "100")).unwrap();
        let topic =
            |kafka: &Kafka, name: &str, configs: &[(&str, &str)]| kafka.create_topic_with(name, 1, configs).unwrap();
        topic(&kafka, "ruled-append-time", &[("message.timestamp.type", "LogAppendTime")]);
        topic(&kafka, "ruled-compacted", COMPACTED);
        topic(&kafka, "ruled-old", &[]);
        topic(&kafka, "ruled-partial", &[]);
        topic(&kafka, "ruled-transactions", &[]);
        for (name, limit) in grown::topics() {
            topic(&kafka, &name, &[("max.message.bytes", &limit.to_string())]);
        }
        keep_an_old_message(&mut kafka, "ruled-old");
        let weir = Weir::before(&kafka, |yaml| yaml.policy("test", POLICY));
        Self { kafka, weir }
    }
}

/// Puts a message of version 1 (KIP-32) where a broker of another time would have stored it: brokers of today write none.
fn keep_an_old_message(kafka: &mut Kafka, topic: &str) {
    kafka.stop().unwrap();
    let value = format!(r#"{{"card":"{CARD}"}}"#);
    let mut checked = vec![1, 0];
    checked.extend(1_400_000_000_000_i64.to_be_bytes());
    checked.extend((-1_i32).to_be_bytes());
    checked.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
    checked.extend(value.as_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&checked);
    let mut segment = 0_i64.to_be_bytes().to_vec();
    segment.extend(i32::try_from(checked.len() + 4).unwrap().to_be_bytes());
    segment.extend(crc.sum().to_be_bytes());
    segment.extend(checked);
    let folder = kafka.log_dir().join(format!("{topic}-0"));
    fs::write(folder.join("00000000000000000000.log"), segment).unwrap();
    // As after a crash, it looks at its segments anew.
    fs::remove_file(kafka.log_dir().join(".kafka_cleanshutdown")).unwrap();
    kafka.start_again().unwrap();
    let end = Instant::now() + PATIENCE;
    while kafka.end_offset(topic, 0).ok() != Some(1) {
        assert!(Instant::now() < end, "{topic} ends at {:?}", kafka.end_offset(topic, 0));
        std::thread::sleep(Duration::from_millis(50));
    }
}
