//! librdkafka and Kafka's Java clients log in over TLS and reach, over TLS, a broker that wants weir's certificate.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use weir_testkit::{Authority, ClientProperties, Console, KeyKind, Listener, TokenIssuer};

use crate::ground::{PATIENCE, Weir, cluster, place, wait};

/// A client's tokens, and what it heard.
#[derive(Clone)]
struct Ears {
    token: String,
    errors: Arc<Mutex<Vec<String>>>,
    delivered: Arc<Mutex<usize>>,
}

impl ClientContext for Ears {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let (token, principal_name) = (self.token.clone(), "orders-app".to_owned());
        Ok(OAuthToken { token, principal_name, lifetime_ms: i64::MAX / 1000 })
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        self.errors.lock().unwrap().push(format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Ears {}

impl ProducerContext for Ears {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "{result:?}");
        *self.delivered.lock().unwrap() += 1;
    }
}

struct Clients {
    weir: Weir,
    issuer: TokenIssuer,
}

impl Clients {
    fn ears(&self) -> Ears {
        let token = self.issuer.token("orders-app").groups(&["apps"]).sign().unwrap();
        Ears { token, errors: Arc::default(), delivered: Arc::default() }
    }

    fn config(&self, protocol: &str, ca: &Path) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.weir.address()).set("sasl.mechanisms", "OAUTHBEARER");
        config.set("security.protocol", protocol).set("ssl.ca.location", ca.display().to_string());
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        config
    }

    fn send(&self, ca: &Path, records: &[String]) {
        let mut config = self.config("SASL_SSL", ca);
        config.set("acks", "all").set("linger.ms", "20").set("message.timeout.ms", "120000");
        let ears = self.ears();
        let producer: BaseProducer<Ears> = config.create_with_context(ears.clone()).unwrap();
        for record in records {
            producer.send(BaseRecord::<str, str>::to("orders").payload(record)).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        wait("the deliveries", || {
            producer.poll(Duration::from_millis(20));
            (*ears.delivered.lock().unwrap() == records.len()).then_some(())
        });
    }

    fn read(&self, ca: &Path, count: usize) -> BTreeSet<String> {
        let mut config = self.config("SASL_SSL", ca);
        config.set("group.id", "apps-c").set("fetch.wait.max.ms", "100").set("check.crcs", "true");
        let consumer: BaseConsumer<Ears> = config.create_with_context(self.ears()).unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("orders", 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let mut read = BTreeSet::new();
        wait("the records", || {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
                read.insert(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
            }
            (read.len() == count).then_some(())
        });
        read
    }

    /// Lets a client try until weir's log says of somebody that the handshake ended like this; what the client heard by then.
    fn knocks(&self, protocol: &str, ca: &Path, result: &str) -> (Vec<String>, serde_json::Value) {
        let mut config = self.config(protocol, ca);
        config.set("group.id", "apps-lost");
        let ears = self.ears();
        let consumer: BaseConsumer<Ears> = config.create_with_context(ears.clone()).unwrap();
        let line = wait(result, || {
            assert!(!matches!(consumer.poll(Duration::from_millis(200)), Some(Ok(_))), "nobody got in");
            self.weir.lines("tls.handshake_failed").into_iter().find(|line| line["result"] == result)
        });
        wait("librdkafka's errors", || {
            drop(consumer.poll(Duration::from_millis(20)));
            let heard = ears.errors.lock().unwrap().clone();
            (!heard.is_empty()).then_some((heard, line.clone()))
        })
    }
}

fn order(id: &str, padding: usize) -> String {
    let padding = "x".repeat(padding);
    format!(r#"{{"id":"{id}","card":{{"number":"4111111111111111"}},"email":"a@b.c","note":"{padding}"}}"#)
}

#[test]
fn clients_and_broker_are_spoken_to_with_tls() {
    let cluster = cluster();
    let issuer = TokenIssuer::new("https://issuer.test", &[("ec-1", KeyKind::P256)]).unwrap();
    let weir = Weir::start(
        &cluster.tls,
        |dir| {
            dir.write("ca.pem", cluster.authority.pem()).unwrap();
            place(dir, "door", &cluster.authority.issue(&["127.0.0.1"]).unwrap());
            place(dir, "weir", &cluster.authority.issue(&["weir"]).unwrap());
        },
        |yaml, ports| {
            let tls = "tls: { cert: door.crt, key: door.key }";
            yaml.upstream("tls: { ca: ca.pem, cert: weir.crt, key: weir.key }")
                .listener(Listener::oauthbearer("apps", &ports.address(0)).line(tls))
                .issuer(issuer.name(), "kafka", &issuer.jwks(), &["ES256"])
        },
    );
    weir.becomes_ready();
    let clients = Clients { weir, issuer };
    let ca = clients.weir.dir.path().join("ca.pem");

    // Small ones, and some that are many TLS records each, in both directions and at once.
    let small = (0..10).map(|n| order(&format!("c-{n}"), 0));
    let records: Vec<String> = small.chain((0..8).map(|n| order(&format!("large-{n}"), 700_000))).collect();
    clients.send(&ca, &records);
    let token = clients.issuer.token("orders-app").groups(&["apps"]).sign().unwrap();
    let token = clients.weir.dir.write("app.jwt", token).unwrap();
    let console = Console::new(&clients.weir.address())
        .with(ClientProperties::oauthbearer(&token).over_tls(&ca))
        .within(Duration::from_secs(90));
    let produced = console.produce("orders", &[&order("java", 0)]).unwrap().success("produce").unwrap();
    assert!(!produced.stderr.contains("Exception"), "{}", produced.stderr);

    let masked = |text: &String| text.replace("4111111111111111", "************1111").replace("a@b.c", "[redacted]");
    let expected: BTreeSet<String> = records.iter().chain([&order("java", 0)]).map(masked).collect();
    assert!(clients.read(&ca, expected.len()) == expected, "librdkafka");
    let console = console.argument("--group").argument("apps-java");
    let received = console.consume("orders", expected.len()).unwrap().success("consume").unwrap().stdout;
    assert!(received.lines().map(str::to_owned).collect::<BTreeSet<_>>() == expected, "java");
    assert!(cluster.kafka.find_bytes(b"4111111111111111").unwrap().is_empty(), "masking is on");
    let weir = &clients.weir;
    assert!(weir.metric("weir_tls_handshakes_total{listener=\"apps\",result=\"ok\"}") >= 4.0);
    assert!(weir.metric("weir_certificate_expiry_timestamp_seconds{where=\"listener/apps\"}") > 4e9);
    assert!(weir.metric("weir_certificate_expiry_timestamp_seconds{where=\"upstream/cert\"}") > 4e9);

    // Controls: without TLS, and without trust, nobody gets in, and each has a line.
    let (_, line) = clients.knocks("SASL_PLAINTEXT", &ca, "not_tls");
    assert!(line["detail"].as_str().unwrap().contains("security.protocol"), "{line}");
    let foreign = clients.weir.dir.write("foreign.pem", Authority::new("another").unwrap().pem()).unwrap();
    let (heard, line) = clients.knocks("SASL_SSL", &foreign, "refused");
    assert!(line["detail"].as_str().unwrap().contains("refuses the listener's certificate"), "{line}");
    assert!(heard.iter().any(|text| text.contains("certificate")), "{heard:?}");
    assert!(clients.weir.metric("weir_tls_handshakes_total{listener=\"apps\",result=\"not_tls\"}") >= 1.0);
}
