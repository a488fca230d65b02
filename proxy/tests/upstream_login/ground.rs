//! One Kafka that asks for logins, and weirs before it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_testkit::{
    Console, Kafka, KafkaOptions, Listener, PortBlock, Ready, WeirOptions, WeirProcess, WeirYaml, WorkDir, settle_log,
};

/// The password of user `weir`. In no other place of this repository.
pub(crate) const PASSWORD: &str = "S3cret-of-the-brokers-7f2c";

/// Longest wait for anything that takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Lets everybody do everything.
const POLICY: &str = r#"
version: 1
access:
  - name: everybody
    principals: { groups: [apps] }
    allow: [{ produce: ["*"] }, { consume: ["*"], consumer_groups: ["*"] }]
"#;

/// The broker: `LOGIN` wants a login, `SHORT` wants it again every so often.
pub(crate) static KAFKA: LazyLock<Kafka> = LazyLock::new(|| Kafka::start(options(crate::LIMIT)).unwrap());

/// The ports of those two.
static PORTS: LazyLock<PortBlock> = LazyLock::new(|| PortBlock::reserve().unwrap());

/// Where a listener of the broker is.
fn address(listener: &str) -> String {
    PORTS.address(u16::from(listener == "SHORT"))
}

/// A broker whose listener `SHORT` cuts a login off after so long.
fn options(limit: Duration) -> KafkaOptions {
    let mut options = KafkaOptions::default()
        .listener("LOGIN", "SASL_PLAINTEXT", PORTS.port(0))
        .listener("SHORT", "SASL_PLAINTEXT", PORTS.port(1))
        .scram_user("weir", PASSWORD)
        .scram_user("mover", "the-old-one")
        .property("listener.name.short.connections.max.reauth.ms", &limit.as_millis().to_string());
    let plain = format!("org.apache.kafka.common.security.plain.PlainLoginModule required user_weir=\"{PASSWORD}\";");
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    for name in ["login", "short"] {
        let property = |rest: &str| format!("listener.name.{name}.{rest}");
        options = options
            .property(&property("sasl.enabled.mechanisms"), "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
            .property(&property("plain.sasl.jaas.config"), &plain)
            .property(&property("scram-sha-256.sasl.jaas.config"), scram)
            .property(&property("scram-sha-512.sasl.jaas.config"), scram);
    }
    options
}

/// Kafka's own tools, at the listener that asks nobody.
pub(crate) fn console() -> Console {
    Console::new(KAFKA.bootstrap()).within(Duration::from_secs(90))
}

/// A running weir with one anonymous listener.
pub(crate) struct Weir {
    process: Mutex<WeirProcess>,
    pid: Option<u32>,
    ports: PortBlock,
    pub(crate) dir: WorkDir,
}

impl Weir {
    /// Starts one in front of that listener of the broker; it serves whether the broker lets it in or not. `upstream` is a line of that
    /// section.
    pub(crate) fn start(listener: &str, upstream: &str, prepare: impl Fn(&WorkDir), env: &[(&str, &str)]) -> Self {
        LazyLock::force(&KAFKA);
        Self::start_at(&address(listener), upstream, prepare, env)
    }

    pub(crate) fn start_at(bootstrap: &str, upstream: &str, prepare: impl Fn(&WorkDir), env: &[(&str, &str)]) -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        prepare(&dir);
        let config = WeirYaml::new(bootstrap)
            .node_ids("1")
            .upstream(upstream)
            .listener(Listener::anonymous("open", &ports.address(0), &["apps"]))
            .policy("everybody", POLICY)
            .metrics(&ports.address(15))
            // What may not appear in the log must not appear at its most talkative either.
            .section("log", "level: trace")
            .write(&dir)
            .unwrap();
        let ready = Ready::Ports([0, 15].map(|index| ports.address(index).parse().unwrap()).to_vec());
        let mut options = WeirOptions::new(Path::new(env!("CARGO_BIN_EXE_weir")), &config, ready);
        options.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = WeirProcess::start(options).unwrap();
        Self { pid: process.pid(), process: Mutex::new(process), ports, dir }
    }

    /// Where clients connect.
    pub(crate) fn bootstrap(&self) -> String {
        self.ports.address(0)
    }

    /// How it is run, for other verbs of the same binary.
    pub(crate) fn options(&self) -> WeirOptions {
        self.process.lock().unwrap().options().clone()
    }

    /// weir becomes ready.
    #[track_caller]
    pub(crate) fn is_ready(&self) {
        let end = Instant::now() + PATIENCE;
        while self.page("/readyz").0 != 200 {
            assert!(Instant::now() < end, "weir is not ready: {:?}\n{}", self.page("/readyz"), self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    pub(crate) fn is_the_same_process(&self) {
        let mut process = self.process.lock().unwrap();
        assert!(process.ended().unwrap().is_none());
        assert_eq!(process.pid(), self.pid);
    }

    /// A client that connects is closed without an answer.
    #[track_caller]
    pub(crate) fn refuses_clients(&self) {
        assert_eq!(self.ask_for_metadata(), Vec::<u8>::new());
    }

    /// A client that asks a broker something; whether it is answered or closed is for the caller to find out otherwise.
    pub(crate) fn bare_client_is_closed(&self) {
        drop(self.ask_for_metadata());
    }

    /// Metadata version 1 for all topics, and what comes until the end of the answer or of the connection.
    fn ask_for_metadata(&self) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.bootstrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 9, 0, 0, 0xff, 0xff, 0xff, 0xff]).unwrap();
        let mut size = [0; 4];
        match stream.read_exact(&mut size) {
            Ok(()) => size.to_vec(),
            Err(_) => Vec::new(),
        }
    }

    /// Status and body of an admin page.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.ports.address(15)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// A counter of `/metrics`, by its whole name with labels; 0 when it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.page("/metrics");
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok();
        text.lines().find_map(value).unwrap_or(0.0)
    }

    pub(crate) fn stdout(&self) -> String {
        self.dir.read("weir.stdout").unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.pid.into_iter().for_each(settle_log);
        self.dir.read("weir.stderr").unwrap()
    }

    /// The log lines of an event.
    pub(crate) fn lines(&self, event: &str) -> Vec<Value> {
        let log = self.log();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["event"] == event && line["level"] != "DEBUG").collect()
    }

    /// Waits for the first log line of an event.
    #[track_caller]
    pub(crate) fn logs(&self, event: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.lines(event).into_iter().next() {
                return line;
            }
            assert!(Instant::now() < end, "no line `{event}` in\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Waits for something that others bring about.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it does not come about that {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
