//! The clients of the demonstration: librdkafka, as an application team would use it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::DemoError;

/// How a client reaches its broker.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// `bootstrap.servers`.
    pub(crate) bootstrap: String,
    /// The token it logs in with; none means no login.
    pub(crate) token: Option<String>,
}

impl Door {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("broker.address.family", "v4");
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        if self.token.is_some() {
            config.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanisms", "OAUTHBEARER");
        }
        config
    }

    fn ears(&self) -> Ears {
        Ears { token: self.token.clone(), said: Mutex::default(), delivered: Mutex::default() }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The broker has it at this offset.
    Stored { offset: i64 },
    /// It was refused; the text is the client library's own.
    Refused { error: String },
}

/// Sends one record to partition 0 and waits for its acknowledgement.
pub(crate) fn send(door: &Door, topic: &str, value: &str) -> Result<Delivery, DemoError> {
    let mut config = door.config();
    config.set("linger.ms", "0").set("acks", "all").set("message.timeout.ms", "20000");
    let producer: BaseProducer<Ears> =
        config.create_with_context(door.ears()).map_err(DemoError::client("make a producer"))?;
    let record = BaseRecord::<str, str>::to(topic).partition(0).key("order-17").payload(value);
    producer.send(record).map_err(|(error, _)| DemoError::Client { what: "send a record", source: error })?;
    let ears = producer.context();
    let delivery = wait(WAIT_MAX, || {
        producer.poll(POLL);
        ears.take_delivery()
    });
    delivery.ok_or_else(|| ears.nothing("no acknowledgement came"))
}

/// Reads the record at an offset of partition 0, as a consumer that was assigned it.
pub(crate) fn receive(door: &Door, group: &str, topic: &str, offset: i64) -> Result<String, DemoError> {
    let consumer = consumer(door, group)?;
    let mut partitions = TopicPartitionList::new();
    partitions
        .add_partition_offset(topic, 0, Offset::Offset(offset))
        .and_then(|()| consumer.assign(&partitions))
        .map_err(DemoError::client("assign a partition"))?;
    let read = wait(WAIT_MAX, || match consumer.poll(POLL) {
        Some(Ok(message)) => Some(String::from_utf8_lossy(message.payload().unwrap_or(b"null")).into_owned()),
        // Errors of a connection are repaired by the library; what it said is kept for the case that nothing comes.
        Some(Err(error)) => {
            consumer.context().hear(&error.to_string());
            None
        }
        None => None,
    });
    read.ok_or_else(|| consumer.context().nothing("no record came"))
}

/// How many records partition 0 has, as the broker says.
pub(crate) fn count(door: &Door, topic: &str) -> Result<i64, DemoError> {
    let marks = consumer(door, "demo-count")?.fetch_watermarks(topic, 0, WAIT_MAX);
    marks.map(|(low, high)| high.saturating_sub(low)).map_err(DemoError::client("ask for the end of a partition"))
}

/// Tries to log in and returns what the client library says about it; none if the door opens.
pub(crate) fn refusal(door: &Door, topic: &str) -> Result<Option<String>, DemoError> {
    let consumer = consumer(door, "checkout-demo")?;
    let ended = wait(WAIT_MAX, || {
        drop(consumer.poll(POLL));
        let context = consumer.context();
        if let Some(error) = context.refused() {
            return Some(Some(error));
        }
        consumer.fetch_metadata(Some(topic), POLL).is_ok().then_some(None)
    });
    ended.ok_or_else(|| consumer.context().nothing("the login neither failed nor succeeded"))
}

fn consumer(door: &Door, group: &str) -> Result<BaseConsumer<Ears>, DemoError> {
    let mut config = door.config();
    // A batch whose bytes were changed without its checksum would be refused by the library.
    config.set("check.crcs", "true").set("group.id", group).set("enable.auto.commit", "false");
    config.set("fetch.wait.max.ms", "100");
    config.create_with_context(door.ears()).map_err(DemoError::client("make a consumer"))
}

/// Listens to what the client library says.
pub(crate) struct Ears {
    token: Option<String>,
    said: Mutex<Said>,
    delivered: Mutex<Option<Delivery>>,
}

#[derive(Default)]
struct Said {
    last: Option<String>,
    refused: Option<String>,
}

impl Ears {
    fn hear(&self, text: &str) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).last = Some(text.to_owned());
    }

    fn refused(&self) -> Option<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }

    fn take_delivery(&self) -> Option<Delivery> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn nothing(&self, what: &str) -> DemoError {
        let heard = self.said.lock().unwrap_or_else(PoisonError::into_inner).last.clone();
        DemoError::Nothing { what: what.to_owned(), within: WAIT_MAX, heard }
    }
}

impl ClientContext for Ears {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let token = self.token.clone().ok_or("this client has no token")?;
        // The library believes this and sends the token, expired or not: whether it is good is weir's to say.
        let later = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(300);
        let lifetime_ms = i64::try_from(later.as_millis())?;
        Ok(OAuthToken { token, principal_name: "demo".to_owned(), lifetime_ms })
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.last = Some(reason.to_owned());
        if matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
        ) {
            // Around the server's answer stand the connection's name and how long it took.
            let answer = reason.split_once("error: ").map_or(reason, |(_, answer)| answer);
            said.refused = Some(answer.split_once(" (after").map_or(answer, |(answer, _)| answer).to_owned());
        }
    }

    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        self.hear(message);
    }
}

impl ConsumerContext for Ears {}

impl ProducerContext for Ears {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let delivery = match result {
            Ok(message) => Delivery::Stored { offset: message.offset() },
            Err((error, _)) => Delivery::Refused { error: describe(error) },
        };
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivery);
    }
}

fn describe(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

/// Calls `step` until it has something or the time is over.
fn wait<T>(within: Duration, mut step: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    while started.elapsed() < within {
        if let Some(found) = step() {
            return Some(found);
        }
    }
    None
}

const POLL: Duration = Duration::from_millis(20);

/// Longest wait for one record, one acknowledgement or one login. Each takes some milliseconds.
const WAIT_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::{Delivery, Door, count, receive, send};
    use crate::stage::{TOPIC, embedded_broker};

    #[test]
    fn without_weir_everything_arrives_as_sent() {
        let broker = embedded_broker().unwrap();
        let door = Door { bootstrap: broker.bootstrap_servers(), token: None };
        assert_eq!(send(&door, TOPIC, "first").unwrap(), Delivery::Stored { offset: 0 });
        assert_eq!(send(&door, TOPIC, "second").unwrap(), Delivery::Stored { offset: 1 });
        assert_eq!(receive(&door, "demo-group", TOPIC, 1).unwrap(), "second");
        assert_eq!(receive(&door, "demo-group", TOPIC, 0).unwrap(), "first");
        assert_eq!(count(&door, TOPIC).unwrap(), 2);
    }
}
