//! Real clients, librdkafka and Kafka's own in Java, log in with OAUTHBEARER, produce and consume through weir on a real Apache Kafka,
//! in a network in which they can reach weir and nothing else.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

#[path = "common/librdkafka.rs"]
mod librdkafka;
#[path = "common/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};
use weir_testkit::{Namespace, Network};

use librdkafka::{Door, Ears, Record, WAIT_MAX, wait};
use stage::{Setting, Stage, Who};

const APP: Who = Who { subject: "orders-app", group: "apps" };

const POLICY: &str = r#"version: 1
access:
  - name: apps
    principals: { groups: [apps] }
    allow:
      - produce: ["orders.*"]
      - consume: ["orders.*"]
        consumer_groups: ["apps-*"]
rules:
  - name: cards
    match: { topics: ["orders.*"], direction: both }
    fields:
      - { path: "$.card.number", transform: { mask: { keep_last: 4 } } }
      - { path: "$..email", transform: redact }
"#;

const SETTING: Setting<'static> = Setting {
    policy: POLICY,
    topics: &[
        ("orders.mixed", 1),
        ("orders.group", 4),
        ("orders.tokens", 1),
        ("orders.refused", 1),
        ("orders.many", 4),
    ],
    env: &[],
};

#[test]
fn librdkafka_and_java_clients_understand_each_other() {
    let stage = stage::shared(&SETTING);
    let order = |id: &str| format!(r#"{{"id":"{id}","card":{{"number":"4111111111111111"}},"email":"a@b.c"}}"#);
    let records: Vec<Record> = (0..10).map(|n| Record::value(order(&format!("c-{n}")))).collect();
    let sent = stage.door(APP).send(&[], "orders.mixed", &records);
    assert!(sent.iter().all(|delivery| delivery.result.is_ok()), "{sent:?}");
    let lines: Vec<String> = (0..10).map(|n| order(&format!("java-{n}"))).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let produced = stage.console(APP).produce("orders.mixed", &lines).unwrap().success("produce").unwrap();
    assert!(!produced.stderr.contains("Exception"), "{}", produced.stderr);

    let expected: BTreeSet<String> = (0..10)
        .flat_map(|n| [format!("c-{n}"), format!("java-{n}")])
        .map(|id| order(&id).replace("4111111111111111", "************1111").replace("a@b.c", "[redacted]"))
        .collect();
    let read = stage.door(APP).read("apps-mixed", "orders.mixed", 1);
    assert_eq!(read.iter().map(Record::text).collect::<BTreeSet<_>>(), expected, "librdkafka");
    assert_eq!(read.iter().map(|record| record.offset).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    let console = stage.console(APP).argument("--group").argument("apps-java");
    let received = console.consume("orders.mixed", 20).unwrap().success("consume").unwrap().stdout;
    assert_eq!(received.lines().map(str::to_owned).collect::<BTreeSet<_>>(), expected, "java");
}

#[test]
fn both_clients_are_told_why_a_login_is_refused() {
    let stage = stage::shared(&SETTING);
    let (door, app) = (stage.door(APP), || stage.issuer.token("orders-app").groups(&["apps"]));
    let expired = app().expired(Duration::from_secs(180)).sign().unwrap();
    let heard = door.namespace.run(|| {
        let mut config = door.config();
        config.set("group.id", "apps-refused");
        let context = Fixed { token: expired, heard: Mutex::default() };
        let consumer: BaseConsumer<Fixed> = config.create_with_context(context).unwrap();
        wait("a refusal", || {
            drop(consumer.poll(Duration::from_millis(20)));
            consumer.context().heard.lock().unwrap().iter().find(|text| text.contains("expired")).cloned()
        })
    });
    let heard = heard.unwrap();
    assert!(heard.contains("SASL") || heard.contains("Authentication"), "{heard}");

    let foreign = app().audience("another").sign().unwrap();
    let console = stage.console_with(&foreign).argument("--max-block-ms").argument("5000");
    let refused = console.produce("orders.refused", &["{}"]).unwrap();
    assert!(refused.stderr.contains("SaslAuthenticationException"), "{}", refused.stderr);
    assert_eq!(stage.kafka.end_offset("orders.refused", 0).unwrap(), 0);
}

/// A login that sends one token, whatever it is worth: librdkafka would not send one that it knows to have expired.
struct Fixed {
    token: String,
    heard: Mutex<Vec<String>>,
}

impl rdkafka::ClientContext for Fixed {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
        let (token, principal_name) = (self.token.clone(), "orders-app".to_owned());
        Ok(rdkafka::client::OAuthToken { token, principal_name, lifetime_ms: i64::MAX / 1000 })
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        self.heard.lock().unwrap().push(format!("{error}: {reason}"));
    }
}

impl rdkafka::consumer::ConsumerContext for Fixed {}

#[test]
fn tokens_are_refreshed_on_the_open_connection() {
    // librdkafka logs in again when 80 % of a session's time have passed, and nobody may within a second of the last login.
    const LIFETIME: Duration = Duration::from_secs(20);
    let stage = stage::shared(&SETTING);
    let door = stage.door_with(Who { subject: "refreshing-app", ..APP }, LIFETIME);
    let (sent, refreshed, errors) = door
        .namespace
        .run(|| {
            let producer = door.producer(&[("linger.ms", "0")]);
            let (started, mut sent) = (Instant::now(), 0);
            while started.elapsed() < LIFETIME + Duration::from_secs(6) {
                let deliveries = librdkafka::send(&producer, "orders.tokens", &[Record::value(r#"{"n":1}"#)]);
                assert!(deliveries.iter().all(|delivery| delivery.result.is_ok()), "{deliveries:?}");
                sent += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            let ears = producer.context();
            (sent, ears.refreshed.load(Ordering::Relaxed), ears.errors())
        })
        .unwrap();
    assert!(refreshed >= 2, "{refreshed} tokens");
    assert!(!errors.iter().any(|error| error.contains("SASL")), "{errors:?}");
    assert_eq!(stage.kafka.end_offset("orders.tokens", 0).unwrap(), sent);
    let mut peers = BTreeSet::new();
    let log = stage.weir().output().unwrap();
    let logins = log.lines().filter(|line| line.contains(r#""login.ok""#) && line.contains("refreshing-app"));
    let again = logins
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|line| !peers.insert(line["peer"].as_str().unwrap().to_owned()));
    assert!(again.count() >= 1, "a connection on which a client logged in twice");
}

#[test]
fn a_group_shares_partitions_and_keeps_its_offsets_when_a_member_leaves() {
    let stage = stage::shared(&SETTING);
    let door = stage.door(APP);
    let orders = |from: i32, to: i32| {
        let orders: Vec<Record> = (from..to)
            .map(|n| Record { partition: n % 4, ..Record::value(format!(r#"{{"n":{n},"email":"a@b.c"}}"#)) })
            .collect();
        let sent = door.send(&[], "orders.group", &orders);
        assert!(sent.iter().all(|delivery| delivery.result.is_ok()), "{sent:?}");
    };
    door.namespace
        .run(|| {
            let (first, second) = (door.consumer("apps-shared"), door.consumer("apps-shared"));
            first.subscribe(&["orders.group"]).unwrap();
            second.subscribe(&["orders.group"]).unwrap();
            wait("two members with two partitions each", || {
                assert!(poll(&first).is_empty() && poll(&second).is_empty());
                let shares = (assigned(&first), assigned(&second));
                (shares.0.len() == 2 && shares.1.len() == 2 && shares.0.is_disjoint(&shares.1)).then_some(())
            });
            orders(0, 200);
            let (mut to_first, mut to_second) = (Vec::new(), Vec::new());
            wait("the first 200 records", || {
                to_first.extend(poll(&first));
                to_second.extend(poll(&second));
                (to_first.len() + to_second.len() >= 200).then_some(())
            });
            assert_eq!((to_first.len(), to_second.len()), (100, 100), "each reads its two partitions");
            to_first.extend(to_second);
            assert_eq!(BTreeSet::from_iter(to_first), (0..200).collect());
            commit(&first);
            commit(&second);
            drop(second);
            wait("the other member to take all partitions", || {
                assert!(poll(&first).is_empty(), "what was committed does not come again");
                (assigned(&first).len() == 4).then_some(())
            });
            orders(200, 240);
            let mut later = Vec::new();
            wait("the records after the change", || {
                later.extend(poll(&first));
                (later.len() >= 40).then_some(())
            });
            assert_eq!(later.len(), 40);
            assert_eq!(BTreeSet::from_iter(later), (200..240).collect());
            commit(&first);
        })
        .unwrap();
    let committed = committed(&door, "apps-shared");
    assert_eq!(committed, vec![Offset::Offset(60); 4], "a client that comes later finds the group's offsets");
}

fn poll(consumer: &BaseConsumer<Ears>) -> Vec<i64> {
    let mut numbers = Vec::new();
    while let Some(polled) = consumer.poll(Duration::from_millis(10)) {
        if let Ok(message) = polled {
            let value: serde_json::Value = serde_json::from_str(&Record::of(&message).text()).unwrap();
            assert_eq!(value["email"], "[redacted]");
            numbers.push(value["n"].as_i64().unwrap());
        }
    }
    numbers
}

fn assigned(consumer: &BaseConsumer<Ears>) -> BTreeSet<i32> {
    consumer.assignment().unwrap().elements().iter().map(|element| element.partition()).collect()
}

fn commit(consumer: &BaseConsumer<Ears>) {
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
}

fn committed(door: &Door, group: &str) -> Vec<Offset> {
    let read = door.namespace.run(|| {
        let consumer = door.consumer(group);
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range("orders.group", 0, 3);
        let committed = wait("the committed offsets", || {
            drop(consumer.poll(Duration::from_millis(20)));
            consumer.committed_offsets(partitions.clone(), Duration::from_secs(5)).ok()
        });
        committed.elements().iter().map(|element| element.offset()).collect()
    });
    read.unwrap()
}

/// Enough for several hundred batches of [`IDEMPOTENT`].
const MANY: usize = 100_000;

const IDEMPOTENT: [(&str, &str); 6] = [
    ("enable.idempotence", "true"),
    ("max.in.flight.requests.per.connection", "5"),
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("batch.num.messages", "500"),
    ("queue.buffering.max.messages", "20000"),
];

fn numbered(count: usize) -> Vec<Record> {
    let value = |n: usize| format!(r#"{{"n":{n},"card":{{"number":"4111111111111111"}},"email":"a{n}@example.com"}}"#);
    (0..count).map(|n| Record { partition: partition_of(n), ..Record::value(value(n / 4)) }).collect()
}

fn partition_of(number: usize) -> i32 {
    i32::try_from(number % 4).unwrap()
}

#[test]
fn an_idempotent_producer_loses_doubles_and_swaps_nothing() {
    let stage = stage::shared(&SETTING);
    let deliveries = stage.door(APP).send(&IDEMPOTENT, "orders.many", &numbered(MANY));
    assert_eq!(deliveries.iter().filter(|delivery| delivery.result.is_ok()).count(), MANY);
    check_stored(&stage, "orders.many", MANY);
}

#[test]
fn an_idempotent_producer_survives_a_crash_of_weir() {
    const COUNT: usize = 40_000;
    let stage = Stage::start(&Setting { topics: &[("orders.crash", 4)], ..SETTING });
    let door = stage.door(APP);
    let records = numbered(COUNT);
    let deliveries = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let settings = [&IDEMPOTENT[..], &[("socket.timeout.ms", "10000")]].concat();
            door.send(&settings, "orders.crash", &records)
        });
        wait("the first thousand records", || {
            std::thread::sleep(Duration::from_millis(5));
            (stage.kafka.end_offset("orders.crash", 3).unwrap() >= 1000).then_some(())
        });
        stage.weir().kill().unwrap();
        assert!(!sending.is_finished(), "it was killed while records were under way");
        stage.weir().start_again().unwrap();
        sending.join().unwrap()
    });
    assert_eq!(deliveries.iter().filter(|delivery| delivery.result.is_ok()).count(), COUNT);
    check_stored(&stage, "orders.crash", COUNT);
}

/// Reads directly from the broker: each partition holds its numbers once, in order, at offsets without gaps, with masks on.
fn check_stored(stage: &Stage, topic: &str, count: usize) {
    let stored = stage.back_door().read("direct", topic, 4);
    for partition in 0..4 {
        let records = stored.iter().filter(|record| record.partition == partition);
        let numbers: Vec<(i64, i64)> = records
            .map(|record| {
                let value: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
                assert_eq!(value["card"]["number"], "************1111");
                assert_eq!(value["email"], "[redacted]");
                (record.offset, value["n"].as_i64().unwrap())
            })
            .collect();
        check_sequence(&numbers, count / 4).unwrap_or_else(|what| panic!("partition {partition}: {what}"));
    }
}

/// `numbers` are (offset, number) in the order of a partition.
fn check_sequence(numbers: &[(i64, i64)], count: usize) -> Result<(), String> {
    for (expected, (offset, number)) in (0_i64..).zip(numbers) {
        if *offset != expected || *number != expected {
            return Err(format!("offset {offset} holds number {number}, expected {expected} in both"));
        }
    }
    if numbers.len() == count { Ok(()) } else { Err(format!("{} records, expected {count}", numbers.len())) }
}

#[test]
fn the_sequence_check_sees_loss_doubles_and_swaps() {
    assert_eq!(check_sequence(&[(0, 0), (1, 1), (2, 2)], 3), Ok(()));
    for (wrong, what) in [
        (vec![(0, 0), (1, 2), (2, 3)], "lost inside"),
        (vec![(0, 0), (1, 1)], "lost at the end"),
        (vec![(0, 0), (1, 1), (2, 1), (3, 2)], "double"),
        (vec![(0, 0), (1, 2), (2, 1)], "swapped"),
        (vec![(0, 0), (1, 1), (3, 2)], "a gap in the offsets"),
    ] {
        assert!(check_sequence(&wrong, 3).is_err(), "{what}");
    }
}

#[test]
fn clients_cannot_reach_the_broker_past_weir() {
    let stage = Stage::start(&Setting { topics: &[("orders.past", 1)], ..SETTING });
    let door = stage.door(APP);
    let past = Door { namespace: door.namespace.clone(), ..stage.back_door() };
    let broker: SocketAddr = stage.kafka.bootstrap().parse().unwrap();

    let sent = door.send(&[], "orders.past", &[Record::value("{}")]);
    assert!(sent.iter().all(|delivery| delivery.result.is_ok()), "through weir: {sent:?}");
    assert!(reaches(stage.network.weir(), broker), "weir reaches the broker");
    assert!(!reaches(stage.network.clients(), broker), "clients do not");
    assert_eq!(brokers(&past, 5), None, "nor does a Kafka client that is given the broker's address");
    assert_eq!(brokers(&door, 60).unwrap(), [(1, format!("{}:9193", Network::WEIR_ADDRESS))], "told of weir alone");

    // Negative control: the broker would have answered, were there a way.
    stage.network.open_bypass().unwrap();
    assert!(reaches(stage.network.clients(), broker), "the bypass works");
    assert_eq!(brokers(&past, 60).unwrap(), [(1, stage.kafka.bootstrap().to_owned())]);
}

fn reaches(from: &Namespace, address: SocketAddr) -> bool {
    from.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()).unwrap()
}

/// The brokers that Metadata names, or nothing within that many seconds.
fn brokers(door: &Door, seconds: u64) -> Option<Vec<(i32, String)>> {
    let within = Duration::from_secs(seconds).min(WAIT_MAX);
    let asked = door.namespace.run(|| {
        let (producer, started) = (door.producer(&[]), Instant::now());
        while started.elapsed() < within {
            // Serves the token-refresh callback.
            producer.poll(Duration::from_millis(20));
            if let Ok(metadata) = producer.client().fetch_metadata(None, Duration::from_secs(1)) {
                let named = |broker: &rdkafka::metadata::MetadataBroker| {
                    (broker.id(), format!("{}:{}", broker.host(), broker.port()))
                };
                return Some(metadata.brokers().iter().map(named).collect());
            }
        }
        None
    });
    asked.unwrap()
}
