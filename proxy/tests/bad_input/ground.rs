//! One Kafka for all tests, and weirs before it.

use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_testkit::{
    Kafka, KafkaOptions, KeyKind, Listener, PortBlock, Ready, TokenIssuer, Usage, WeirOptions, WeirProcess, WeirYaml,
    WorkDir, settle_log,
};

use crate::wire::{self, API_VERSIONS, Client, METADATA, PATIENCE};

/// The broker behind every weir of this file.
pub(crate) static KAFKA: LazyLock<Kafka> = LazyLock::new(|| {
    let kafka = Kafka::start(KafkaOptions::default()).unwrap();
    kafka.create_topic(ALIVE, 1).unwrap();
    kafka
});

/// Signs the tokens that are let in.
pub(crate) static ISSUER: LazyLock<TokenIssuer> = LazyLock::new(|| {
    TokenIssuer::new("https://issuer.test", &[("ec-1", KeyKind::P256), ("rsa-1", KeyKind::Rsa2048)]).unwrap()
});

/// The weir that most tests share, with default limits.
pub(crate) static WEIR: LazyLock<Weir> = LazyLock::new(|| Weir::start(|yaml| yaml));

/// The topic of the good request after each bad one.
const ALIVE: &str = "alive";

/// Whose records are opened: every topic called `ruled…`. Everything else is passed unopened.
const POLICY: &str = r#"
version: 1
access:
  - name: everybody
    principals: { groups: [apps] }
    allow:
      - produce: ["*"]
      - consume: ["*"]
        consumer_groups: ["*"]
rules:
  - name: cards
    match: { topics: ["ruled*"], direction: both }
    fields: [{ path: "$.card", transform: { mask: { keep_last: 4 } } }]
    on_failure: refuse
tests:
  - name: a card keeps its last four digits
    given: { topic: ruled, direction: produce, groups: [apps], value: { card: "4111111111111111" } }
    expect: { value: { card: "************1111" }, rules: [cards] }
"#;

/// A running weir: an anonymous listener `open` and one with tokens, `apps`.
pub(crate) struct Weir {
    pub(crate) process: Mutex<WeirProcess>,
    pub(crate) pid: u32,
    pub(crate) ports: PortBlock,
    dir: WorkDir,
}

impl Weir {
    /// Starts one; `adjust` may change its configuration.
    pub(crate) fn start(adjust: impl FnOnce(WeirYaml) -> WeirYaml) -> Self {
        Self::before(&KAFKA, adjust)
    }

    /// The same before another broker.
    pub(crate) fn before(kafka: &Kafka, adjust: impl FnOnce(WeirYaml) -> WeirYaml) -> Self {
        Self::start_with(kafka, adjust, &[])
    }

    /// The same with an environment.
    pub(crate) fn start_with(kafka: &Kafka, adjust: impl FnOnce(WeirYaml) -> WeirYaml, env: &[(&str, &str)]) -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let yaml = WeirYaml::new(kafka.bootstrap())
            .node_ids("1")
            .listener(Listener::anonymous("open", &ports.address(0), &["apps"]))
            .listener(Listener::oauthbearer("apps", &ports.address(2)))
            .issuer(ISSUER.name(), "kafka", &ISSUER.jwks(), &["ES256", "RS256"])
            .section("identity", "clock_skew: 1s")
            .policy("test", POLICY)
            .metrics(&ports.address(15));
        let config = adjust(yaml).write(&dir).unwrap();
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_weir"));
        let ready = Ready::Readyz(ports.address(15).parse().unwrap());
        let mut options = WeirOptions::new(binary, &config, ready);
        options.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = WeirProcess::start(options).unwrap();
        let pid = process.pid().unwrap();
        Self { process: Mutex::new(process), pid, ports, dir }
    }

    /// Where clients without credentials connect.
    pub(crate) fn open(&self) -> Client {
        Client::connect(&self.ports.address(0))
    }

    /// The same, from the network of that number: of lines that are alike the log takes so many from each.
    pub(crate) fn open_from(&self, network: usize) -> Client {
        Client::connect_from(&format!("127.1.{}.1", network % 256), &self.ports.address(0))
    }

    /// Where clients connect that must log in.
    pub(crate) fn apps(&self) -> Client {
        Client::connect(&self.ports.address(2))
    }

    /// The same, from another address of this machine.
    pub(crate) fn apps_from(&self, local: &str) -> Client {
        Client::connect_from(local, &self.ports.address(2))
    }

    /// What it uses now.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.pid).unwrap()
    }

    /// The process is the one that was started, and serves.
    #[track_caller]
    pub(crate) fn lives(&self) {
        let mut process = self.process.lock().unwrap();
        assert!(process.ended().unwrap().is_none(), "weir ended: {}", process.output().unwrap());
        assert_eq!(process.pid(), Some(self.pid));
        drop(process);
        let mut client = self.open();
        let (error, keys) = wire::api_versions(&client.call(API_VERSIONS, 0, &[]).unwrap());
        assert!(error == 0 && keys.len() > 10, "{keys:?}");
        let (brokers, topics) = wire::metadata(&client.call(METADATA, 1, &wire::metadata_body(&[ALIVE])).unwrap());
        assert_eq!(brokers.len(), 1);
        assert_eq!(topics, [(0, ALIVE.to_owned())]);
    }

    /// The log so far, as text.
    pub(crate) fn log_text(&self) -> String {
        settle_log(self.pid);
        self.dir.read("weir.stderr").unwrap()
    }

    /// The log lines that hold.
    pub(crate) fn log(&self, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
        let lines = self.log_text();
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).filter(|line| holds(line)).collect()
    }

    /// Waits for a log line with these members.
    #[track_caller]
    pub(crate) fn logs(&self, members: &[(&str, &str)]) -> Value {
        let holds = |line: &Value| members.iter().all(|(name, value)| line[name] == *value);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log(holds).pop() {
                return line;
            }
            assert!(Instant::now() < until, "no log line {members:?} in\n{}", self.log_text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The log says why the connection ended, and the process goes on.
    #[track_caller]
    pub(crate) fn closed(&self, client: &Client, reason: &str, detail: &str) {
        let line = self.logs(&[("event", "connection.closed"), ("peer", &client.peer())]);
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["detail"], detail, "{line}");
        assert_eq!(line["level"], "WARN", "{line}");
        self.lives();
    }

    /// What `weir audit query` finds.
    pub(crate) fn entries(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments = [&["audit", "query", "--output", "ndjson"], arguments].concat();
        let options = self.process.lock().unwrap().options().clone();
        let found = options.run(&arguments).unwrap().success("weir audit query").unwrap();
        found.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A gauge or counter of `/metrics`, by its whole name with labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.http("/metrics");
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    /// `GET` of the admin port: the whole answer.
    pub(crate) fn http(&self, path: &str) -> String {
        let mut client = Client::connect(&self.ports.address(15));
        client.send(format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").as_bytes());
        String::from_utf8(client.until_end()).unwrap()
    }
}

/// Makes a topic, and waits until its partitions have an end.
pub(crate) fn topic(name: &str, partitions: i32) {
    KAFKA.create_topic(name, partitions).unwrap();
    for partition in 0..partitions {
        // A new leader is known a moment before it leads.
        let until = Instant::now() + PATIENCE;
        while KAFKA.end_offset(name, partition).is_err() && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(end_offset(name, partition), 0);
    }
}

/// How many records the broker itself says that it has.
pub(crate) fn end_offset(topic: &str, partition: i32) -> i64 {
    KAFKA.end_offset(topic, partition).unwrap()
}

/// Waits for something that others bring about.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it does not come about that {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A good token of that subject, in group `apps`.
pub(crate) fn token(subject: &str) -> String {
    ISSUER.token(subject).groups(&["apps"]).sign().unwrap()
}
