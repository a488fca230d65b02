//! Edits that make batches larger than their topic takes: harder compression, then 10, which Java answers by splitting, or 87.

use rdkafka::error::RDKafkaErrorCode;
use weir_protocol::records::{
    BatchError, Change, Edits, Field, Inspect, Limits, Options, RecordView, Scratch, Verdict, rewrite_produce,
};
use weir_testkit::ClientProperties;

use crate::batch::{Codec, Header, Record};
use crate::clients::{At, send};
use crate::errors::walks_row;
use crate::place::PLACE;
use crate::wire::{PRODUCE, produce_body, produced};

/// What the topics of clients take: a batch of Java's default size, and a little.
const TOPIC_BYTES: usize = 17_000;

/// Every topic with its `max.message.bytes`.
pub(crate) fn topics() -> Vec<(String, usize)> {
    let clients = ["grow-java", "grow-rdkafka", "grow-single"].map(|name| (name.to_owned(), TOPIC_BYTES));
    let codecs = COMPRESSED.map(|codec| (topic_of(codec), sizes(codec).1 - 1));
    clients.into_iter().chain(codecs).collect()
}

/// The codecs with levels.
const COMPRESSED: [Codec; 3] = [Codec::Gzip, Codec::Lz4, Codec::Zstd];

fn topic_of(codec: Codec) -> String {
    format!("grow-{codec:?}").to_lowercase()
}

/// Does what the rule does to the values of [`batch`].
struct Redact;

impl Inspect for Redact {
    fn record(&mut self, _: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        edits.replace(Field::Value, 5..8, b"\"[redacted]\"");
        Verdict::Keep
    }
}

/// A batch as a client of good compression writes it.
fn batch(codec: Codec) -> Vec<u8> {
    let mut seed = 11_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let words: Vec<String> = (0..500).map(|_| format!("{:x}", next() % 0xffff)).collect();
    let mut text = || (0..40).map(|_| words[(next() % 500) as usize].as_str()).collect::<Vec<_>>().join(" ");
    let records =
        (0..300).flat_map(|at| Record::new(at, format!(r#"{{"t":"x","p":"{}"}}"#, text()).as_bytes()).encode());
    let plain: Vec<u8> = records.collect();
    let compressed = match codec {
        Codec::Lz4 => {
            let mut builder = lz4::EncoderBuilder::new();
            builder.level(12).block_mode(lz4::BlockMode::Independent).checksum(lz4::ContentChecksum::NoChecksum);
            let mut encoder = builder.build(Vec::new()).unwrap();
            std::io::Write::write_all(&mut encoder, &plain).unwrap();
            let (compressed, ended) = encoder.finish();
            ended.unwrap();
            compressed
        }
        Codec::Gzip | Codec::Snappy | Codec::Zstd => codec.compress(&plain),
    };
    Header::of(300).codec(codec).seal(&compressed)
}

/// Its size, and what weir's fast and its harder compression make of it.
fn sizes(codec: Codec) -> (usize, usize, usize) {
    let batch = batch(codec);
    let rewritten = |grown_bytes_max: usize| {
        let limits = Limits { grown_bytes_max, ..Limits::default() };
        let options = Options { limits: &limits, digest_key: None };
        rewrite_produce(&mut batch.clone(), 8, &options, &mut Redact, &mut Scratch::default()).map(|rewritten| {
            let Change::Replaced(bytes) = rewritten.change else { panic!("the lengths change") };
            bytes.len()
        })
    };
    let fast = rewritten(usize::MAX).unwrap();
    let hard = match rewritten(fast - 1) {
        Ok(hard) => hard,
        Err(error @ BatchError::Grown { .. }) => panic!("{codec:?}: {error}"),
        Err(error) => panic!("{error}"),
    };
    (batch.len(), fast, hard)
}

#[test]
fn a_compressed_batch_is_compressed_harder_before_it_is_refused() {
    for codec in COMPRESSED {
        let (came, fast, hard) = sizes(codec);
        assert!(came < fast && hard < fast, "{codec:?}: {came} came, {fast} fast, {hard} hard");
        let topic = topic_of(codec);
        let mut client = PLACE.weir.open();
        let answer = client.call(PRODUCE, 8, &produce_body(-1, &[(&topic, &[(0, &batch(codec))])])).unwrap();
        let produced = produced(&answer).remove(0);
        assert_eq!(produced.error, 0, "{codec:?}: {}", produced.message);
        let (stored, _) = At::Broker.fetch(&topic, 1 << 20);
        assert_eq!(stored.iter().map(Vec::len).collect::<Vec<_>>(), [hard], "{codec:?}");
        assert_eq!(i16::from(stored[0][22]) & 7, codec as i16, "the codec stays");
        let read = At::Broker.read(&topic, "read_committed");
        assert_eq!(read.len(), 300);
        assert!(read.iter().all(|read| read.3.as_deref().unwrap().starts_with(r#"{"t":"[redacted]","p":""#)));
    }
}

/// Values that a rule makes longer.
fn short(count: usize) -> Vec<String> {
    (0..count).map(|n| format!(r#"{{"t":"x","n":{n}}}"#)).collect()
}

#[test]
fn java_splits_a_batch_that_grows_and_all_its_records_land_once() {
    const COUNT: usize = 2000;
    let topic = "grow-java";
    let (before, values) = (PLACE.weir.metric("weir_batches_grown_total"), short(COUNT));
    let properties = ClientProperties::plaintext().property("batch.size", "16000").property("linger.ms", "2000");
    let input = values.join("\n") + "\n";
    let console = At::Weir.console().with(properties);
    let run = console.run("org.apache.kafka.tools.ConsoleProducer", &["--topic", topic], input.as_bytes()).unwrap();
    assert!(!run.stderr.contains("Exception"), "{}", run.stderr);
    assert!(PLACE.weir.metric("weir_batches_grown_total") > before, "no batch grew too large");
    let expected: Vec<String> = values.iter().map(|value| value.replace(r#""x""#, r#""[redacted]""#)).collect();
    let read = At::Broker.read(topic, "read_committed");
    assert_eq!(read.iter().map(|read| read.3.clone().unwrap()).collect::<Vec<_>>(), expected, "each once, in order");
    let line = PLACE.weir.logs(&[("event", "records.refused"), ("topic", topic)]);
    walks_row("batch-grown").holds("10", &[line], |counter| PLACE.weir.metric(counter));
    let entries = PLACE.weir.entries(&["--topic", topic]);
    let refused = entries.iter().find(|entry| entry["error_code"] == 10).unwrap();
    assert!(
        refused["reason"].as_str().unwrap().ends_with("more than the 17000 that the topic takes; rules: short"),
        "{refused}"
    );
}

#[test]
fn librdkafka_is_told_that_a_batch_is_too_large_and_goes_on() {
    let topic = "grow-rdkafka";
    for idempotence in ["false", "true"] {
        let settings = [("linger.ms", "500"), ("batch.num.messages", "10000"), ("enable.idempotence", idempotence)];
        let producer = At::Weir.producer(&settings);
        let stored = PLACE.kafka.end_offset(topic, 0).unwrap();
        let values = short(600);
        let records: Vec<_> = values.iter().map(|value| (None, Some(value.as_str()))).collect();
        let told = send(&producer, topic, &records);
        assert!(told.iter().all(|told| *told == Err(RDKafkaErrorCode::MessageSizeTooLarge)), "{told:?}");
        assert_eq!(PLACE.kafka.end_offset(topic, 0).unwrap(), stored, "nothing was stored");
        let told = send(&producer, topic, &records[..300]);
        assert!(told.iter().all(Result::is_ok), "half of them fit: {told:?}");
        assert_eq!(PLACE.kafka.end_offset(topic, 0).unwrap(), stored + 300);
    }
}

#[test]
fn a_record_that_grows_alone_is_refused_with_the_rule_and_both_sizes() {
    let topic = "grow-single";
    let value = format!(r#"{{"t":[{}"x"]}}"#, r#""x","#.repeat(2000));
    let refused = At::Weir.console().produce(topic, &[&value]).unwrap();
    assert!(refused.stderr.contains("InvalidRecordException"), "{}", refused.stderr);
    let said = r#"weir: rule "short" makes this batch "#;
    assert!(refused.stderr.contains(said) && refused.stderr.contains("its topic takes 17000"), "{}", refused.stderr);
    let producer = At::Weir.producer(&[]);
    assert_eq!(send(&producer, topic, &[(None, Some(&value))]), [Err(RDKafkaErrorCode::InvalidRecord)]);
    assert_eq!(PLACE.kafka.end_offset(topic, 0).unwrap(), 0);
    // The control: without what the rule looks for, the same record is no trouble.
    let other = value.replacen(r#""t""#, r#""u""#, 1);
    assert_eq!(send(&producer, topic, &[(None, Some(&other))]), [Ok(0)]);
    let line = PLACE.weir.logs(&[("event", "records.refused"), ("topic", topic)]);
    walks_row("record-grown").holds("87", &[line], |counter| PLACE.weir.metric(counter));
}
