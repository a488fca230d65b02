//! librdkafka, Kafka's console clients and bare Fetch, at weir or at the broker itself.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use weir_testkit::Console;

use crate::place::PLACE;
use crate::wire::{Bytes, Client, FETCH, fetched};

/// Longest wait for anything that takes milliseconds on an idle machine.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(90);

/// Where a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Broker,
    Weir,
}

impl At {
    pub(crate) fn address(self) -> String {
        match self {
            Self::Broker => PLACE.kafka.bootstrap().to_owned(),
            Self::Weir => PLACE.weir.ports.address(0),
        }
    }

    pub(crate) fn console(self) -> Console {
        Console::new(&self.address()).within(WAIT_MAX)
    }

    fn config(self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("broker.address.family", "v4");
        config
    }

    pub(crate) fn producer(self, settings: &[(&str, &str)]) -> BaseProducer<Heard> {
        let mut config = self.config();
        config.set("acks", "all").set("message.timeout.ms", "60000");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create_with_context(Heard::default()).unwrap()
    }

    /// Offset, timestamp, key and value of every record from the beginning to the end.
    pub(crate) fn read(self, topic: &str, isolation: &str) -> Vec<Read> {
        let mut config = self.config();
        config.set("group.id", "direct").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("check.crcs", "true").set("isolation.level", isolation);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let (mut read, end) = (Vec::new(), Instant::now() + WAIT_MAX);
        loop {
            assert!(Instant::now() < end, "{topic} does not end at {self:?}: {read:?}");
            match consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => {
                    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
                    read.push((message.offset(), message.timestamp(), text(message.key()), text(message.payload())));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return read,
                Some(Err(_)) | None => {}
            }
        }
    }

    /// What a bare Fetch brings, batch by batch to the end, asked for in pieces of that size at most; and how many answers ended within a
    /// batch.
    pub(crate) fn fetch(self, topic: &str, bytes_max: i32) -> (Vec<Vec<u8>>, usize) {
        let mut client = Client::connect(&self.address());
        let (mut batches, mut partial, mut next) = (Vec::new(), 0, 0_i64);
        let end = PLACE.kafka.end_offset(topic, 0).unwrap();
        while next < end {
            let body = Bytes::default().i32(-1).i32(1000).i32(1).i32(bytes_max).i8(0).i32(0).i32(-1);
            let body = body.count(1).string(topic).count(1).i32(0).i32(-1).i64(next).i64(-1).i32(bytes_max);
            let (error, _, bytes) = fetched(&client.call(FETCH, 11, &body.count(0).string("").0).unwrap());
            assert_eq!(error, 0, "{topic} at {self:?}");
            let mut rest = &bytes[..];
            while let Some((batch, behind)) = whole(rest) {
                next = i64::from_be_bytes(batch[..8].try_into().unwrap())
                    + i64::from(i32::from_be_bytes(batch[23..27].try_into().unwrap()))
                    + 1;
                batches.push(batch.to_vec());
                rest = behind;
            }
            partial += usize::from(!rest.is_empty());
        }
        (batches, partial)
    }
}

/// A record as librdkafka shows it.
pub(crate) type Read = (i64, Timestamp, Option<String>, Option<String>);

/// The first batch, if all of it is there.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(i32::from_be_bytes(bytes.get(8..12)?.try_into().unwrap())).unwrap();
    bytes.split_at_checked(12 + length)
}

/// What became of each record, in order.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<(usize, Result<i64, RDKafkaErrorCode>)>>);

impl ClientContext for Heard {}

impl ProducerContext for Heard {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.0.lock().unwrap().push((number, result));
    }
}

/// Sends keys and values, and waits until each is decided.
pub(crate) fn send(
    producer: &BaseProducer<Heard>,
    topic: &str,
    records: &[(Option<&str>, Option<&str>)],
) -> Vec<Result<i64, RDKafkaErrorCode>> {
    for (number, (key, value)) in records.iter().enumerate() {
        let mut record = BaseRecord::<str, str, usize>::with_opaque_to(topic, number).partition(0);
        (record.key, record.payload) = (*key, *value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT_MAX).unwrap();
    let end = Instant::now() + WAIT_MAX;
    loop {
        let mut heard = producer.context().0.lock().unwrap();
        if heard.len() == records.len() {
            let mut heard = std::mem::take(&mut *heard);
            heard.sort_by_key(|(number, _)| *number);
            return heard.into_iter().map(|(_, result)| result).collect();
        }
        drop(heard);
        assert!(Instant::now() < end, "deliveries are missing");
        producer.poll(Duration::from_millis(20));
    }
}
