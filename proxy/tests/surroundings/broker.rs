//! The broker behind weir is not there, goes away, or says nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_testkit::{Kafka, KafkaOptions, PortBlock, WeirProcess, WorkDir};

use crate::errors::walks_row;
use crate::wire::{self, API_VERSIONS, Client, METADATA, PATIENCE, PRODUCE, metadata_body, produce_body};
use crate::{batch, options, yaml};

/// A weir that was started whether its broker was there or not.
struct Stage {
    weir: WeirProcess,
    pid: Option<u32>,
    ports: PortBlock,
    dir: WorkDir,
}

impl Stage {
    fn start(kafka: &Kafka, lines: &[(&str, &str)]) -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let yaml = yaml(kafka.bootstrap(), &ports).upstream("connect_timeout: 1s");
        let yaml = lines.iter().fold(yaml, |yaml, (section, line)| yaml.section(section, line));
        let weir = WeirProcess::start(options(&yaml, &dir, &ports)).unwrap();
        let pid = weir.pid();
        Self { weir, pid, ports, dir }
    }

    fn client(&self) -> Client {
        Client::connect(&self.ports.address(0))
    }

    /// Status and body of an admin page.
    fn page(&self, path: &str) -> (String, String) {
        let mut client = Client::connect(&self.ports.address(15));
        client.send(format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").as_bytes());
        let answer = String::from_utf8(client.until_end()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }

    /// A metric, by its whole name with labels.
    fn counted(&self, name: &str) -> f64 {
        let (_, page) = self.page("/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.and_then(|line| line.trim().parse().ok()).unwrap_or(0.0)
    }

    /// weir answers `/readyz` with 200.
    #[track_caller]
    fn becomes_ready(&self) {
        let end = Instant::now() + PATIENCE;
        while self.page("/readyz") != ("200".to_owned(), "ready\n".to_owned()) {
            assert!(Instant::now() < end, "{:?}\n{}", self.page("/readyz"), self.log());
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.pid, self.weir.pid(), "without a restart");
    }

    #[track_caller]
    fn becomes_unready(&self) {
        let end = Instant::now() + PATIENCE;
        while self.page("/readyz").0 == "200" {
            assert!(Instant::now() < end, "weir takes itself for ready");
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.page("/readyz"), ("503".to_owned(), "no broker answers\n".to_owned()));
        assert_eq!(self.page("/livez"), ("200".to_owned(), "alive\n".to_owned()));
    }

    fn log(&self) -> String {
        self.weir.settle_log();
        self.dir.read("weir.stderr").unwrap()
    }

    fn lines(&self, event: &str) -> Vec<Value> {
        let log = self.log();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        lines.filter(|line| line["event"] == event).collect()
    }

    /// The connection is closed without an answer, and the log says why.
    #[track_caller]
    fn closed(&self, client: &mut Client, detail: &str) {
        client.is_closed();
        let end = Instant::now() + PATIENCE;
        let line = loop {
            let found = self.lines("connection.closed").into_iter().find(|line| line["peer"] == *client.peer());
            if let Some(line) = found {
                break line;
            }
            assert!(Instant::now() < end, "no line about the end of the connection in\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!((line["reason"].as_str(), line["level"].as_str()), (Some("broker_down"), Some("WARN")), "{line}");
        let text = line["detail"].as_str().unwrap();
        assert!(text.starts_with("the broker is not reachable: ") && text.contains(detail), "{text}");
    }

    /// A client of its own produces one record, which is stored.
    #[track_caller]
    fn produces(&self, kafka: &Kafka) {
        let before = kafka.end_offset("orders", 0).unwrap();
        let body = produce_body(-1, &[("orders", &[(0, &batch::plain(&["{}"]))])]);
        let answer = self.client().call(PRODUCE, 8, &body).expect("an answer");
        assert_eq!(wire::produced(&answer)[0].error, 0);
        assert_eq!(kafka.end_offset("orders", 0).unwrap(), before + 1);
    }
}

/// Starts a broker and makes its topic.
fn kafka() -> Kafka {
    let kafka = Kafka::start(KafkaOptions::default()).unwrap();
    kafka.create_topic("orders", 1).unwrap();
    kafka
}

/// After a start a partition may be without a leader for a moment.
fn start_again(kafka: &mut Kafka) {
    kafka.start_again().unwrap();
    let end = Instant::now() + PATIENCE;
    while kafka.end_offset("orders", 0).is_err() {
        assert!(Instant::now() < end, "the topic has no leader");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let mut kafka = kafka();
    kafka.stop().unwrap();
    let stage = Stage::start(&kafka, &[]);
    stage.becomes_unready();
    // Whoever comes is held a while, since the broker may come; then the client is to try another weir.
    let (mut asking, mut producing) = (stage.client(), stage.client());
    asking.send_frame(&wire::request(API_VERSIONS, 0, 1, &[]));
    producing.send_frame(&wire::request(
        PRODUCE,
        8,
        1,
        &produce_body(-1, &[("orders", &[(0, &batch::plain(&["{}"]))])]),
    ));
    asking.hears_nothing_for(Duration::from_millis(300));
    stage.closed(&mut asking, "no answer within 1s");
    stage.closed(&mut producing, "no answer within 1s");
    walks_row("broker-down").holds("closed", &stage.lines("connection.closed"), |counter| stage.counted(counter));
    let unreachable = stage.lines("cluster.unreachable");
    assert_eq!(unreachable.len(), 1, "the same trouble is reported once: {unreachable:?}");
    assert_eq!(unreachable[0]["broker"], kafka.bootstrap());
    assert!(unreachable[0]["error"].as_str().unwrap().starts_with("cannot reach 127.0.0.1:"), "{}", unreachable[0]);
    assert!(unreachable[0]["hint"].as_str().unwrap().contains("upstream.bootstrap"), "{}", unreachable[0]);

    start_again(&mut kafka);
    stage.becomes_ready();
    assert_eq!(stage.lines("cluster.reached").len(), 1);
    assert_eq!(kafka.end_offset("orders", 0).unwrap(), 0, "what was held is not sent later");
    stage.produces(&kafka);
}

#[test]
fn a_client_that_came_before_the_broker_is_served_when_it_comes() {
    let mut kafka = kafka();
    kafka.stop().unwrap();
    let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
    let yaml = yaml(kafka.bootstrap(), &ports).upstream("connect_timeout: 60s");
    let weir = WeirProcess::start(options(&yaml, &dir, &ports)).unwrap();
    let mut client = Client::connect(&ports.address(0));
    client.send_frame(&wire::request(API_VERSIONS, 0, 1, &[]));
    client.hears_nothing_for(Duration::from_millis(300));
    start_again(&mut kafka);
    let (error, keys) = wire::api_versions(&client.answer().unwrap().1);
    assert!(error == 0 && keys.len() > 10, "{keys:?}");
    drop(weir);
}

#[test]
fn a_second_bootstrap_address_serves_when_the_first_is_dead() {
    let (kafka, (dir, ports)) = (kafka(), (WorkDir::new().unwrap(), PortBlock::reserve().unwrap()));
    let dead = "127.0.0.1:9";
    let options = options(&yaml(dead, &ports), &dir, &ports);
    let both = format!("[\"{dead}\", \"{}\"]", kafka.bootstrap());
    dir.write("weir.yaml", dir.read("weir.yaml").unwrap().replace(&format!("[\"{dead}\"]"), &both)).unwrap();
    let weir = WeirProcess::start(options).unwrap();
    let stage = Stage { pid: weir.pid(), weir, ports, dir };
    stage.becomes_ready();
    stage.produces(&kafka);
    let unreachable = stage.lines("cluster.unreachable");
    assert_eq!((unreachable.len(), unreachable[0]["broker"].as_str()), (1, Some(dead)));
}

/// Its clients would be told to connect to nobody.
#[test]
fn a_cluster_whose_brokers_are_all_hidden_is_not_ready() {
    let (kafka, (dir, ports)) = (kafka(), (WorkDir::new().unwrap(), PortBlock::reserve().unwrap()));
    let options = options(&yaml(kafka.bootstrap(), &ports), &dir, &ports);
    dir.write("weir.yaml", dir.read("weir.yaml").unwrap().replace("node_ids: [\"1\"]", "node_ids: [\"7\"]")).unwrap();
    let weir = WeirProcess::start(options).unwrap();
    let stage = Stage { pid: weir.pid(), weir, ports, dir };
    let end = Instant::now() + PATIENCE;
    while stage.lines("cluster.brokers_hidden").is_empty() {
        assert!(Instant::now() < end, "{}", stage.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(stage.lines("cluster.brokers_hidden")[0]["node_ids"], "1");
    let body =
        "no broker of the cluster is in `upstream.node_ids`\nhidden from clients, not in `upstream.node_ids`: 1\n";
    assert_eq!(stage.page("/readyz"), ("503".to_owned(), body.to_owned()));
    walks_row("brokers-hidden")
        .holds("nothing", &stage.lines("cluster.brokers_hidden"), |counter| stage.counted(counter));
}

/// What stands at `upstream.bootstrap` is no Kafka broker, or not one for this port.
#[test]
fn an_upstream_that_is_no_broker_is_named() {
    let tls_alert = &[0x15, 3, 3, 0, 2, 2, 70][..];
    let huge = &[&i32::MAX.to_be_bytes()[..], &[0; 64]].concat();
    let cases: [(&[u8], &str); 5] = [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the broker's answer cannot be read: peer speaks HTTP where Kafka is spoken",
        ),
        (tls_alert, "the broker's answer cannot be read: peer speaks TLS where Kafka without TLS is spoken"),
        (huge, "the broker's answer cannot be read: frame of 2147483647 bytes is larger than 104857600"),
        (
            &[0, 0, 0, 4, 9, 9, 9, 9],
            "the broker's answer cannot be read: response carries correlation id 151587081, expected 0",
        ),
        (b"", "the broker closed the connection"),
    ];
    for (said, error) in cases {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let upstream = TcpListener::bind(ports.address(8)).unwrap();
        let answer = said.to_vec();
        thread::spawn(move || {
            for stream in upstream.incoming() {
                let mut stream = stream.unwrap();
                // The question is read, so that the answer is not lost in a reset.
                let asked = stream.read(&mut [0; 1024]);
                let answered = stream.write_all(&answer);
                drop((asked, answered));
            }
        });
        let weir = WeirProcess::start(options(&yaml(&ports.address(8), &ports), &dir, &ports)).unwrap();
        let stage = Stage { pid: weir.pid(), weir, ports, dir };
        let end = Instant::now() + PATIENCE;
        while stage.lines("cluster.unreachable").is_empty() {
            assert!(Instant::now() < end, "{}", stage.log());
            thread::sleep(Duration::from_millis(20));
        }
        let line = stage.lines("cluster.unreachable").remove(0);
        assert_eq!((line["error"].as_str(), line["broker"].as_str()), (Some(error), Some(&*stage.ports.address(8))));
        stage.becomes_unready();
        thread::sleep(Duration::from_millis(600));
        assert_eq!(stage.lines("cluster.unreachable").len(), 1, "once, although it is tried again and again");
    }
}

#[test]
fn a_broker_that_goes_and_comes_back_is_found_again() {
    let mut kafka = kafka();
    let stage = Stage::start(&kafka, &[]);
    stage.becomes_ready();
    stage.produces(&kafka);
    for round in 0..2 {
        let mut connected = stage.client();
        assert!(connected.call(METADATA, 1, &metadata_body(&["orders"])).is_some());
        if round == 0 {
            kafka.kill().unwrap()
        } else {
            kafka.stop().unwrap()
        }
        stage.closed(&mut connected, "");
        stage.becomes_unready();
        let mut late = stage.client();
        late.send_frame(&wire::request(METADATA, 1, 1, &metadata_body(&["orders"])));
        stage.closed(&mut late, "refused");
        start_again(&mut kafka);
        stage.becomes_ready();
        stage.produces(&kafka);
    }
    assert_eq!(stage.lines("cluster.reached").len(), 3, "each return is reported");
    let unreachable = stage.lines("cluster.unreachable");
    assert!((2..=6).contains(&unreachable.len()), "each trouble is reported once: {unreachable:?}");
}

/// It takes connections and says nothing: nobody waits for that without end.
#[test]
fn a_broker_that_hangs_is_given_up() {
    let kafka = kafka();
    let stage = Stage::start(&kafka, &[("limits", "idle_timeout: 3s")]);
    stage.becomes_ready();
    let mut before = stage.client();
    assert!(before.call(METADATA, 1, &metadata_body(&["orders"])).is_some());
    kafka.pause(true);
    let mut after = stage.client();
    for client in [&mut before, &mut after] {
        client.send_frame(&wire::request(METADATA, 1, 9, &metadata_body(&["orders"])));
    }
    before.hears_nothing_for(Duration::from_millis(300));
    stage.closed(&mut before, "no answer within 3s");
    stage.closed(&mut after, "no answer within 3s");
    kafka.pause(false);
    stage.produces(&kafka);
}
