//! What weir's log and the broker's disk say, as the comparison needs it.

use serde_json::Value;
use weir_testkit::Kafka;

use crate::load::PARTITIONS;

/// Offsets of one partition, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) partition: i32,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// A batch as its producer numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Numbered {
    pub(crate) partition: i32,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i64,
    pub(crate) base_sequence: i64,
    pub(crate) records: i64,
}

/// What weir's log says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: usize,
    /// Of produce entries with outcome `stored`.
    pub(crate) stored: Vec<Span>,
    /// Of `recovered` entries, and of produce entries whose answer never came.
    pub(crate) in_doubt: Vec<Numbered>,
    pub(crate) recovered: usize,
    /// Of fetch entries.
    pub(crate) fetched: Vec<Span>,
}

/// A record on the broker's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) number: u64,
    /// Its batch, by its place in [`Broker::batches`].
    pub(crate) batch: usize,
}

/// What is on the broker's disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broker {
    pub(crate) batches: Vec<Numbered>,
    pub(crate) records: Vec<Record>,
}

impl Log {
    pub(crate) fn read(entries: &[Value], topic: &str) -> Self {
        let mut log = Self { entries: entries.len(), ..Self::default() };
        for entry in entries {
            let kind = entry["kind"].as_str().unwrap();
            log.recovered += usize::from(kind == "recovered");
            let parts = entry["parts"].as_array().unwrap().iter().filter(|part| part["topic"] == topic);
            for part in parts {
                match (kind, entry["outcome"].as_str()) {
                    ("produce", Some("stored")) => log.stored.extend(span(part)),
                    ("produce" | "recovered", Some("unknown")) => log.in_doubt.extend(numbered(part)),
                    ("fetch", _) => log.fetched.extend(span(part)),
                    (_, _) => {}
                }
            }
        }
        log
    }
}

impl Broker {
    /// Reads what Kafka's own tool prints of the segments: no code of weir is in between.
    pub(crate) fn read(kafka: &Kafka, topic: &str) -> Self {
        let mut broker = Self::default();
        for partition in 0..PARTITIONS {
            for line in kafka.dump_log(topic, partition).unwrap().lines() {
                broker.take(partition, line);
            }
        }
        broker
    }

    fn take(&mut self, partition: i32, line: &str) {
        let words = line.split_whitespace().collect::<Vec<_>>();
        let number = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse::<i64>().ok()
        };
        let of = |name: &str| number(name).ok_or(line).unwrap();
        if line.starts_with("baseOffset:") {
            assert!(line.contains("isvalid: true"), "{line}");
            self.batches.push(Numbered {
                partition,
                producer_id: of("producerId:"),
                producer_epoch: of("producerEpoch:"),
                base_sequence: of("baseSequence:"),
                records: of("count:"),
            });
        } else if line.starts_with("| offset:") {
            let (offset, key) = (of("offset:"), of("key:"));
            let number = u64::try_from(key).unwrap();
            assert!(line.contains(&format!("\"number\":{number},")), "key and value disagree: {line}");
            self.records.push(Record { partition, offset, number, batch: self.batches.len() - 1 });
        }
    }
}

fn span(part: &Value) -> Option<Span> {
    let partition = i32::try_from(part["partition"].as_i64()?).ok()?;
    Some(Span { partition, first: part["base_offset"].as_i64()?, last: part["last_offset"].as_i64()? })
}

fn numbered(part: &Value) -> Option<Numbered> {
    let producer = &part["producer"];
    Some(Numbered {
        partition: i32::try_from(part["partition"].as_i64()?).ok()?,
        producer_id: producer["id"].as_i64()?,
        producer_epoch: producer["epoch"].as_i64()?,
        base_sequence: producer["base_sequence"].as_i64()?,
        records: part["records"].as_i64()?,
    })
}
