//! librdkafka as an application team uses it: logins with OAUTHBEARER tokens of its refresh callback, producers, consumers.
//!
//! Every client is made, used and dropped inside a network namespace.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use weir_testkit::{Namespace, TokenIssuer};

use crate::stage::Who;

/// How a client reaches a broker or weir.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) bootstrap: String,
    pub(crate) login: Option<Login>,
    pub(crate) namespace: Namespace,
}

/// Where the token-refresh callback gets its tokens.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) issuer: Arc<TokenIssuer>,
    pub(crate) who: Who,
    pub(crate) lifetime: Duration,
}

/// What a client heard and did.
pub(crate) struct Ears {
    login: Option<Login>,
    /// How often the token-refresh callback was asked.
    pub(crate) refreshed: AtomicUsize,
    errors: Mutex<Vec<String>>,
    deliveries: Mutex<Vec<Delivery>>,
}

/// What became of a record: its number in the run, and its partition and offset or the library's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) number: usize,
    pub(crate) result: Result<(i32, i64), RDKafkaErrorCode>,
}

/// A record to send, or one that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    /// Of a received one.
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// Longest wait for anything that takes milliseconds on an idle machine.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

impl Door {
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("broker.address.family", "v4");
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        if self.login.is_some() {
            config.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanisms", "OAUTHBEARER");
        }
        config
    }

    pub(crate) fn ears(&self) -> Ears {
        Ears {
            login: self.login.clone(),
            refreshed: AtomicUsize::new(0),
            errors: Mutex::default(),
            deliveries: Mutex::default(),
        }
    }

    /// A producer; call it inside the door's namespace.
    pub(crate) fn producer(&self, settings: &[(&str, &str)]) -> BaseProducer<Ears> {
        let mut config = self.config();
        config.set("acks", "all").set("linger.ms", "50").set("message.timeout.ms", "120000");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create_with_context(self.ears()).unwrap()
    }

    /// A consumer; call it inside the door's namespace.
    pub(crate) fn consumer(&self, group: &str) -> BaseConsumer<Ears> {
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        config.set("check.crcs", "true").set("enable.partition.eof", "true").set("fetch.wait.max.ms", "100");
        config.create_with_context(self.ears()).unwrap()
    }

    /// Sends the records in order and says what became of each.
    pub(crate) fn send(&self, settings: &[(&str, &str)], topic: &str, records: &[Record]) -> Vec<Delivery> {
        self.namespace.run(|| send(&self.producer(settings), topic, records)).unwrap()
    }

    /// Reads partitions `0..partitions` from the beginning to their ends.
    pub(crate) fn read(&self, group: &str, topic: &str, partitions: i32) -> Vec<Record> {
        self.namespace.run(|| read_to_end(&self.consumer(group), topic, partitions)).unwrap()
    }
}

/// Sends through a producer that stays.
pub(crate) fn send(producer: &BaseProducer<Ears>, topic: &str, records: &[Record]) -> Vec<Delivery> {
    for (number, record) in records.iter().enumerate() {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut outgoing = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, number);
        outgoing = outgoing.partition(record.partition).headers(headers);
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        while let Err((error, back)) = producer.send(outgoing) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(POLL);
            outgoing = back;
        }
    }
    producer.flush(WAIT_MAX).unwrap();
    let ears = producer.context();
    wait("the deliveries", || {
        producer.poll(POLL);
        (ears.delivered() >= records.len()).then_some(())
    });
    ears.take_deliveries()
}

fn read_to_end(consumer: &BaseConsumer<Ears>, topic: &str, partitions: i32) -> Vec<Record> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut records, mut open) = (Vec::new(), (0..partitions).collect::<BTreeSet<_>>());
    let mut last = Instant::now();
    while !open.is_empty() {
        assert!(
            last.elapsed() < WAIT_MAX,
            "{topic}: partitions {open:?} did not end; {:?}",
            consumer.context().errors()
        );
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                records.push(Record::of(&message));
                last = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => consumer.context().hear(&error.to_string()),
            None => {}
        }
    }
    records
}

impl Record {
    pub(crate) fn value(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    pub(crate) fn of(message: &impl Message) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Ears {
    pub(crate) fn hear(&self, text: &str) {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// What went wrong on its connections so far, in the library's own words.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many records have their result.
    pub(crate) fn delivered(&self) -> usize {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take_deliveries(&self) -> Vec<Delivery> {
        let mut deliveries = std::mem::take(&mut *self.deliveries.lock().unwrap_or_else(PoisonError::into_inner));
        deliveries.sort_by_key(|delivery| delivery.number);
        deliveries
    }
}

impl ClientContext for Ears {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let login = self.login.as_ref().ok_or("this client has no login")?;
        self.refreshed.fetch_add(1, Ordering::Relaxed);
        let Who { subject, group } = login.who;
        let token = login.issuer.token(subject).groups(&[group]).expires_in(login.lifetime).sign()?;
        let expires = SystemTime::now().duration_since(UNIX_EPOCH)? + login.lifetime;
        let lifetime_ms = i64::try_from(expires.as_millis())?;
        Ok(OAuthToken { token, principal_name: subject.to_owned(), lifetime_ms })
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(&format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Ears {}

impl ProducerContext for Ears {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let result = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).push(Delivery { number, result });
    }
}

/// Calls `step` until it has something.
pub(crate) fn wait<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = step() {
            return found;
        }
        assert!(started.elapsed() < WAIT_MAX, "waited in vain for {what}");
    }
}
