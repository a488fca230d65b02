//! What applications do all the time: an idempotent producer that retries, a consumer that polls. Both note what weir told them in a
//! ledger outside weir.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::gateway::{CARD, MASKED};

/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 3;

/// Records that are on their way at once; with it the rate follows weir's.
const ON_THEIR_WAY: usize = 120;
const POLL: Duration = Duration::from_millis(2);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A record that a client saw acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) partition: i32,
    /// Where the client was told that it is; negative when it was told nothing, which a retry may bring about.
    pub(crate) offset: i64,
    /// Its number within its partition, from 0; also its key.
    pub(crate) number: u64,
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of partition {}, said to be at offset {}", self.number, self.partition, self.offset)
    }
}

/// The ledger outside weir.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Partition and offset of each record that the consumer was given.
    pub(crate) consumed: BTreeSet<(i32, i64)>,
    /// What should not have happened, in words.
    pub(crate) failures: Vec<String>,
}

/// Both clients, running.
pub(crate) struct Load {
    outside: Arc<Mutex<Outside>>,
    acknowledged: Arc<AtomicU64>,
    producing: Arc<AtomicBool>,
    consuming: Arc<AtomicBool>,
    producer: JoinHandle<()>,
    consumer: JoinHandle<String>,
}

struct Ears {
    outside: Arc<Mutex<Outside>>,
    acknowledged: Arc<AtomicU64>,
}

impl Load {
    /// Starts both through weir.
    pub(crate) fn start(bootstrap: &str, topic: &str) -> Self {
        let outside = Arc::new(Mutex::new(Outside::default()));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let (producing, consuming) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let ears = Ears { outside: Arc::clone(&outside), acknowledged: Arc::clone(&acknowledged) };
        let producer = producer_config(bootstrap).create_with_context(ears).unwrap();
        let consumer: BaseConsumer = consumer_config(bootstrap).create().unwrap();
        let (to, go) = (topic.to_owned(), Arc::clone(&producing));
        let producer = std::thread::spawn(move || produce(&producer, &to, &go));
        let (from, go, notes) = (topic.to_owned(), Arc::clone(&consuming), Arc::clone(&outside));
        let consumer = std::thread::spawn(move || consume(&consumer, &from, &go, &notes));
        Self { outside, acknowledged, producing, consuming, producer, consumer }
    }

    /// Waits until the producer has its id and the first record is acknowledged.
    pub(crate) fn wait_for_first(&self) {
        let waiting = Instant::now();
        while self.acknowledged() == 0 {
            assert!(waiting.elapsed() < WAIT_MAX, "nothing is acknowledged: {:?}", lock(&self.outside).failures);
            std::thread::sleep(POLL);
        }
    }

    /// Records acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets the producer have everything acknowledged and the consumer read all of it, and gives the ledger.
    pub(crate) fn finish(self) -> Outside {
        self.producing.store(false, Ordering::Relaxed);
        self.producer.join().unwrap();
        let waiting = Instant::now();
        let behind = |outside: &Outside| outside.consumed.len() < outside.acknowledged.len();
        while waiting.elapsed() < WAIT_MAX && behind(&lock(&self.outside)) {
            std::thread::sleep(POLL);
        }
        self.consuming.store(false, Ordering::Relaxed);
        let last_error = self.consumer.join().unwrap();
        if behind(&lock(&self.outside)) {
            let mut outside = lock(&self.outside);
            let (consumed, of) = (outside.consumed.len(), outside.acknowledged.len());
            outside.failures.push(format!("the consumer stopped at {consumed} of {of}; it said last: {last_error}"));
        }
        std::mem::take(&mut *lock(&self.outside))
    }
}

fn produce(producer: &BaseProducer<Ears>, topic: &str, go: &AtomicBool) {
    let mut sent = [0_u64; 3];
    while go.load(Ordering::Relaxed) {
        let room = ON_THEIR_WAY.saturating_sub(usize::try_from(producer.in_flight_count()).unwrap());
        for partition in (0..PARTITIONS).cycle().take(room) {
            let number = &mut sent[usize::try_from(partition).unwrap()];
            let (key, value) = (number.to_string(), format!("{{\"number\":{number},\"card\":\"{CARD}\"}}"));
            let record = BaseRecord::<str, str, usize>::with_opaque_to(topic, usize::try_from(*number).unwrap());
            if producer.send(record.partition(partition).key(&key).payload(&value)).is_ok() {
                *number += 1;
            }
        }
        producer.poll(POLL);
    }
    if let Err(error) = producer.flush(WAIT_MAX) {
        lock(&producer.context().outside).failures.push(format!("flush: {error}"));
    }
}

/// Gives the last error that it heard: most are connections that a kill cut, and the library goes on by itself.
fn consume(consumer: &BaseConsumer, topic: &str, go: &AtomicBool, outside: &Mutex<Outside>) -> String {
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut last_error = String::new();
    while go.load(Ordering::Relaxed) {
        let message = match consumer.poll(POLL) {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                last_error = error.to_string();
                continue;
            }
            None => continue,
        };
        let mut outside = lock(outside);
        if !message.payload().is_some_and(|value| String::from_utf8_lossy(value).contains(MASKED)) {
            outside.failures.push(format!("{}-{} came unmasked", message.partition(), message.offset()));
        }
        if !outside.consumed.insert((message.partition(), message.offset())) {
            outside.failures.push(format!("{}-{} came twice", message.partition(), message.offset()));
        }
    }
    last_error
}

fn producer_config(bootstrap: &str) -> ClientConfig {
    let mut config = common(bootstrap);
    config.set("enable.idempotence", "true").set("max.in.flight.requests.per.connection", "5");
    config.set("linger.ms", "2").set("batch.num.messages", "10").set("message.timeout.ms", "120000");
    config.set("retry.backoff.ms", "20").set("retry.backoff.max.ms", "100");
    config
}

fn consumer_config(bootstrap: &str) -> ClientConfig {
    let mut config = common(bootstrap);
    config.set("group.id", "load").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    config.set("fetch.wait.max.ms", "50").set("check.crcs", "true");
    config
}

fn common(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("broker.address.family", "v4");
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
    config
}

fn lock(outside: &Mutex<Outside>) -> std::sync::MutexGuard<'_, Outside> {
    outside.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Ears {
    fn error(&self, error: KafkaError, reason: &str) {
        // Cut connections are what this is about; what the library cannot mend is not.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            lock(&self.outside).failures.push(format!("fatal: {reason}"));
        }
    }
}

impl ProducerContext for Ears {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut outside = lock(&self.outside);
        match result {
            Ok(message) => {
                let (partition, offset) = (message.partition(), message.offset());
                let number = u64::try_from(number).unwrap();
                outside.acknowledged.push(Acknowledged { partition, offset, number });
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, message)) => {
                outside.failures.push(format!("record {number} of {}: {error}", message.partition()));
            }
        }
    }
}
