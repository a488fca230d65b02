//! librdkafka without a login: a producer and a consumer that tell of every error.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use crate::ground::PATIENCE;

const POLL: Duration = Duration::from_millis(20);

/// What went wrong, in the library's own words: lost connections are among it.
#[derive(Default)]
struct Ears {
    errors: Mutex<Vec<String>>,
    delivered: Mutex<usize>,
}

impl Ears {
    fn hear(&self, error: String) {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
    }

    fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn delivered(&self) -> usize {
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Ears {
    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Ears {}

impl ProducerContext for Ears {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => *self.delivered.lock().unwrap_or_else(PoisonError::into_inner) += 1,
            Err((error, _)) => self.hear(error.to_string()),
        }
    }
}

pub(crate) struct Producer(BaseProducer<Ears>);

impl Producer {
    pub(crate) fn new(bootstrap: &str) -> Self {
        let mut config = config(bootstrap);
        config.set("acks", "all").set("linger.ms", "0").set("message.timeout.ms", "60000");
        Self(config.create_with_context(Ears::default()).unwrap())
    }

    /// Sends so many records, numbered from 0, and waits until the broker has each.
    #[track_caller]
    pub(crate) fn send(&self, topic: &str, count: usize) {
        let before = self.0.context().delivered();
        for number in 0..count {
            let value = number.to_string();
            self.0
                .send(BaseRecord::<(), str>::to(topic).payload(&value))
                .unwrap_or_else(|(error, _)| panic!("{error}"));
        }
        self.0.flush(PATIENCE).unwrap();
        assert_eq!(self.0.context().delivered() - before, count, "{:?}", self.errors());
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.0.context().errors()
    }
}

pub(crate) struct Consumer(BaseConsumer<Ears>);

impl Consumer {
    /// In a group of its own, from the beginning.
    pub(crate) fn new(bootstrap: &str, topic: &str) -> Self {
        let mut config = config(bootstrap);
        config.set("group.id", format!("group-of-{topic}")).set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<Ears> = config.create_with_context(Ears::default()).unwrap();
        consumer.subscribe(&[topic]).unwrap();
        Self(consumer)
    }

    /// What is there now.
    pub(crate) fn take_some(&self) -> Vec<String> {
        let mut values = Vec::new();
        while let Some(polled) = self.0.poll(POLL) {
            match polled {
                Ok(message) => values.push(String::from_utf8_lossy(message.payload().unwrap()).into_owned()),
                Err(error) => self.0.context().hear(error.to_string()),
            }
        }
        values
    }

    /// So many records.
    #[track_caller]
    pub(crate) fn take(&self, count: usize) -> Vec<String> {
        let mut values = Vec::new();
        let end = Instant::now() + PATIENCE;
        while values.len() < count {
            assert!(Instant::now() < end, "{} of {count} records came: {:?}", values.len(), self.errors());
            values.extend(self.take_some());
        }
        values
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.0.context().errors()
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("broker.address.family", "v4");
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
    config
}
