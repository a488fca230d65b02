//! What the benchmarks share: batches of JSON records, the rules, the rows of the tables, and the same work done with libraries that
//! build values.
//!
//! Figures are the time of the best of many samples, printed beside the comparison made in the same run.

#![expect(clippy::unwrap_used, reason = "a benchmark whose input is wrong must stop")]

pub mod cases;
pub mod codecs;
pub mod conditions;
pub mod e2e;
pub mod fair;
mod latency;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record, RecordBatchDecoder,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use weir_policy::{Direction, KeyRing, PolicyLimits, PolicySet, RuleSet, Source, Subject};
use weir_protocol::records::Codec;
use weir_yaml::Problems;

use crate::codecs::{Effort, Own};

pub use latency::Latencies;

/// Records in the batch.
pub const RECORDS: usize = 1000;

/// A JSON document of about 1 KB: an order with a card, two people, and lines.
pub fn document(at: usize) -> String {
    let lines = (0..6)
        .map(|line| {
            format!(
                r#"{{"sku":"SKU-{:05}","name":"Widget number {line}","quantity":{},"price":{}.{:02}}}"#,
                at * 7 + line,
                line + 1,
                line * 13 + 5,
                (at + line) % 100
            )
        })
        .collect::<Vec<_>>()
        .join(",");
    format!(
        r#"{{"order":{at},"channel":"web","created":"2026-11-24T10:02:11Z","customer":{{"id":"c-{at:06}","name":"Ada Lovelace","email":"ada.lovelace@example.com","address":{{"street":"12 St James's Square","city":"London","zip":"SW1Y 4LB","country":"GB"}}}},"card":{{"number":"4111111111111111","holder":"ADA LOVELACE","expiry":"12/29"}},"lines":[{lines}],"note":"leave at the door, please; ring twice \u2014 the bell is quiet","total":{}.95,"currency":"EUR","flags":[true,false,null],"trace":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}"#,
        at % 977
    )
}

/// A JSON document of exactly 100 bytes: a person's plan.
pub fn small_document(at: usize) -> String {
    let (id, seats) = (10_000_000 + at, at % 9 + 1);
    let text = format!(r#"{{"id":{id},"email":"ada.lovelace@example.com","plan":"basic","seats":{seats},"note":""#);
    format!("{text:-<98}\"}}")
}

/// One uncompressed v2 batch of these values.
pub fn batch_of(values: impl Iterator<Item = String>) -> Vec<u8> {
    coded_batch_of(values, Codec::None)
}

/// One v2 batch of these values, compressed with zstd at a producer's ordinary level.
pub fn compressed_batch_of(values: impl Iterator<Item = String>) -> Vec<u8> {
    coded_batch_of(values, Codec::Zstd)
}

/// One v2 batch of these values, compressed as producers do.
pub fn coded_batch_of(values: impl Iterator<Item = String>, codec: Codec) -> Vec<u8> {
    encode(&records_of(values), codec)
}

fn records_of(values: impl Iterator<Item = String>) -> Vec<Record> {
    values
        .enumerate()
        .map(|(at, value)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            offset: i64::try_from(at).unwrap(),
            sequence: i32::try_from(at).unwrap(),
            timestamp: 1_764_000_000_000,
            key: Some(Bytes::from(format!("c-{at:06}"))),
            value: Some(Bytes::from(value)),
            headers: Default::default(),
        })
        .collect()
}

fn encode(records: &[Record], codec: Codec) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    let compression = match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    };
    let options = RecordEncodeOptions { version: 2, compression };
    let compress = |plain: &mut BytesMut, out: &mut BytesMut, _: Compression| {
        if codec == Codec::None {
            out.extend_from_slice(plain);
        } else {
            out.extend_from_slice(Own::new(plain.len()).compress(codec, plain, Effort::Producer));
        }
        Ok(())
    };
    RecordBatchEncoder::encode_with_custom_compression(&mut buffer, records, &options, Some(compress)).unwrap();
    buffer.to_vec()
}

/// The rules of a policy with these fields, for one topic on produce.
///
/// # Panics
/// When it does not compile.
pub fn rules(fields: &str) -> Arc<RuleSet> {
    let text = format!(
        "version: 1\naccess:\n  - name: all\n    principals: {{ groups: [all] }}\n    allow: [{{ produce: [\"orders\"] }}]\n\
         rules:\n  - name: bench\n    match: {{ topics: [\"orders\"], direction: produce }}\n    fields: [{fields}]\n"
    );
    let mut problems = Problems::default();
    let source = Source { name: "bench.yaml".to_owned(), text };
    let limits = PolicyLimits { json_depth_max: 64 };
    let policy = PolicySet::compile(&[source], &KeyRing::new(Vec::new()), &limits, &mut problems);
    let groups = ["all".to_owned()];
    let subject = Subject { id: "bench", groups: &groups };
    policy.unwrap().rules(&subject, "orders", Direction::Produce).unwrap()
}

/// Which values the library path masks.
#[derive(Clone, Copy, Debug)]
pub enum Selector {
    /// `$.card.number`, `$.customer.email`, `$.customer.name`.
    Fixed,
    /// `$..email`.
    Anywhere,
    /// A path that no document has.
    Nothing,
    /// `$.email` of a small document.
    Small,
}

/// The same work with `kafka-protocol`'s record module and `serde_json`: decode, parse, mask, write, encode.
///
/// # Panics
/// When the batch cannot be read.
#[expect(clippy::disallowed_methods, reason = "the comparison that weir is measured against")]
pub fn library_path(batch: &[u8], selector: Selector) -> Vec<u8> {
    let mut set = RecordBatchDecoder::decode(&mut Bytes::copy_from_slice(batch)).unwrap();
    for record in &mut set.records {
        let mut value: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        match selector {
            Selector::Fixed => {
                for path in ["/card/number", "/customer/email", "/customer/name"] {
                    mask(value.pointer_mut(path).unwrap());
                }
            }
            Selector::Small => mask(value.pointer_mut("/email").unwrap()),
            Selector::Anywhere => mask_named(&mut value, "email"),
            Selector::Nothing => assert!(value.pointer_mut("/absent/field").is_none()),
        }
        record.value = Some(serde_json::to_vec(&value).unwrap().into());
    }
    encode(&set.records, Codec::None)
}

/// A batch decoded and encoded again with `kafka-protocol`'s record module, nothing read in it.
///
/// # Panics
/// When the batch cannot be read.
#[expect(clippy::disallowed_methods, reason = "the comparison that weir is measured against")]
pub fn library_pass(batch: &[u8]) -> Vec<u8> {
    encode(&RecordBatchDecoder::decode(&mut Bytes::copy_from_slice(batch)).unwrap().records, Codec::None)
}

fn mask(value: &mut serde_json::Value) {
    if let serde_json::Value::String(text) = value {
        *text = "*".repeat(text.chars().count());
    }
}

fn mask_named(value: &mut serde_json::Value, name: &str) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, field) in fields {
                if key == name {
                    mask(field);
                } else {
                    mask_named(field, name);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| mask_named(item, name)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// The best time of one call of each of `contenders`, taken in turns so that the machine's moods meet all of them.
pub fn best_of<const N: usize>(rounds: usize, mut contenders: [&mut dyn FnMut() -> Duration; N]) -> [Duration; N] {
    let mut best = [Duration::MAX; N];
    for _ in 0..rounds {
        for (best, contender) in best.iter_mut().zip(&mut contenders) {
            *best = (*best).min(contender());
        }
    }
    best
}

/// How long one call takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}
