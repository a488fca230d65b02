//! One record at a time, and how long its acknowledgement took.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::gateway::CARD;

/// Sends single records through weir.
pub(crate) struct Single {
    producer: BaseProducer,
}

const WAIT_MAX: Duration = Duration::from_secs(60);

impl Single {
    pub(crate) fn new(bootstrap: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("broker.address.family", "v4");
        config.set("linger.ms", "0").set("acks", "all");
        Self { producer: config.create().unwrap() }
    }

    /// Sends one and gives the time until it was acknowledged.
    pub(crate) fn send(&self, topic: &str) -> Duration {
        let value = format!("{{\"card\":\"{CARD}\"}}");
        let started = Instant::now();
        self.producer
            .send(BaseRecord::<str, str>::to(topic).partition(0).payload(&value))
            .map_err(|(error, _)| error)
            .unwrap();
        while self.producer.in_flight_count() > 0 {
            assert!(started.elapsed() < WAIT_MAX, "no answer about {topic}");
            self.producer.poll(Duration::from_millis(1));
        }
        started.elapsed()
    }
}
