//! One Kafka for all tests, and weirs before it whose issuers are real servers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_testkit::{
    ClientProperties, Console, Guarded, Kafka, KafkaOptions, Listener, OidcOptions, OidcServer, PortBlock, Ready,
    RunningTool, WeirOptions, WeirProcess, WeirYaml, WorkDir, python_env,
};

use crate::wire::{Client, Login};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) const TOPICS: [&str; 4] = ["orders.discovered", "orders.addressed", "orders.rotated", "orders.stale"];

/// The broker behind every weir of this file.
static KAFKA: LazyLock<Kafka> = LazyLock::new(|| {
    let kafka = Kafka::start(KafkaOptions::default()).unwrap();
    TOPICS.iter().for_each(|topic| kafka.create_topic(topic, 1).unwrap());
    kafka
});

const POLICY: &str = r#"version: 1
access:
  - name: apps
    principals: { groups: [apps] }
    allow:
      - produce: ["orders.*"]
      - consume: ["orders.*"]
        consumer_groups: ["apps-*"]
"#;

/// Where clients get tokens.
pub(crate) struct Tokens {
    pub(crate) url: String,
    pub(crate) scope: &'static str,
}

impl Tokens {
    pub(crate) fn of(server: &OidcServer) -> Self {
        Self { url: server.token_url(), scope: OidcServer::SCOPE }
    }
}

/// A server whose tokens live that long.
pub(crate) fn server(seconds: u64) -> OidcServer {
    OidcServer::start(OidcOptions { lifetime: Duration::from_secs(seconds), tls: None }).unwrap()
}

/// A running weir with one listener for tokens of one issuer.
pub(crate) struct Weir {
    process: WeirProcess,
    ports: PortBlock,
    dir: WorkDir,
}

impl Weir {
    /// Starts one, and waits until it is ready, keys included.
    pub(crate) fn start(issuer: &str, jwks: &str) -> Self {
        let weir = Self::start_anyhow(issuer, jwks, &[]);
        weir.until("it is ready", |weir| weir.readyz().starts_with("HTTP/1.1 200"));
        weir
    }

    /// Starts one, whether it gets keys or not. `files` are put beside its configuration.
    pub(crate) fn start_anyhow(issuer: &str, jwks: &str, files: &[(&str, &str)]) -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        for (name, content) in files {
            dir.write(name, content).unwrap();
        }
        let config = yaml(&ports, issuer, jwks).write(&dir).unwrap();
        let ready = Ready::Ports(vec![ports.address(2).parse().unwrap(), ports.address(15).parse().unwrap()]);
        let mut options = WeirOptions::new(Path::new(env!("CARGO_BIN_EXE_weir")), &config, ready);
        // Nothing of the environment may change where keys come from.
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            options.env.push((name.to_owned(), "http://127.0.0.1:9".to_owned()));
        }
        Self { process: WeirProcess::start(options).unwrap(), ports, dir }
    }

    /// Lets it take its issuer's keys from elsewhere, without a restart. `jwks` may have further lines of the issuer behind it.
    pub(crate) fn keys_move_to(&self, issuer: &str, jwks: &str) {
        self.becomes(yaml(&self.ports, issuer, jwks));
    }

    /// Lets keys that are so old let nobody in, without a restart.
    pub(crate) fn keys_live_for(&self, issuer: &str, age_max: &str) {
        self.becomes(yaml(&self.ports, issuer, "discover").section("identity", &format!("keys_age_max: {age_max}")));
    }

    /// Puts a file beside its configuration in the place of another.
    pub(crate) fn put(&self, name: &str, content: &str) {
        let reloaded = self.log("config.reloaded").len();
        self.dir.write(name, content).unwrap();
        self.until("it has reloaded", |weir| weir.log("config.reloaded").len() > reloaded);
    }

    fn becomes(&self, yaml: WeirYaml) {
        let reloaded = self.log("config.reloaded").len();
        yaml.write(&self.dir).unwrap();
        self.until("it has reloaded", |weir| weir.log("config.reloaded").len() > reloaded);
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.ports.address(2)
    }

    /// What a client with that token is told.
    pub(crate) fn login(&self, token: &str) -> Login {
        Client::connect(&self.bootstrap()).login(token)
    }

    #[track_caller]
    pub(crate) fn lets_in(&self, token: &str) {
        let login = self.login(token);
        assert_eq!((login.error, login.message.as_str()), (0, ""), "{}", self.log_text());
        assert!(login.lifetime_ms > 0, "{login:?}");
    }

    #[track_caller]
    pub(crate) fn refuses(&self, token: &str, message: &str) {
        let login = self.login(token);
        assert_eq!((login.error, login.message), (58, format!("weir: {message}")));
    }

    /// The whole answer of `/readyz`.
    pub(crate) fn readyz(&self) -> String {
        self.http("/readyz")
    }

    /// A gauge or counter, by its name and labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.http("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line?.parse().ok()
    }

    pub(crate) fn refreshes(&self, issuer: &str, result: &str) -> f64 {
        let name = format!("weir_key_set_refreshes_total{{issuer=\"{issuer}\",result=\"{result}\"}}");
        self.metric(&name).unwrap()
    }

    pub(crate) fn logins(&self, result: &str) -> f64 {
        self.metric(&format!("weir_logins_total{{listener=\"apps\",result=\"{result}\"}}")).unwrap_or(0.0)
    }

    fn http(&self, path: &str) -> String {
        let mut client = Client::connect(&self.ports.address(15));
        client.send(format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").as_bytes());
        String::from_utf8(client.until_end()).unwrap()
    }

    pub(crate) fn log_text(&self) -> String {
        self.process.output().unwrap()
    }

    /// The log lines of that event.
    pub(crate) fn log(&self, event: &str) -> Vec<Value> {
        self.process.settle_log();
        let text = self.dir.read("weir.stderr").unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["event"] == event).collect()
    }

    /// Waits for something that comes about by itself.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "it does not come about that {what}:\n{}", self.log_text());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Java's own OIDC login.
    pub(crate) fn java(&self, tokens: &Tokens) -> Console {
        let (client, secret) = (OidcServer::CLIENT, OidcServer::SECRET);
        let properties = ClientProperties::oidc(&tokens.url, client, secret, tokens.scope);
        Console::new(&self.bootstrap()).with(properties).within(PATIENCE)
    }

    /// librdkafka's own OIDC login, in Python.
    pub(crate) fn python(&self, tokens: &Tokens, name: &str, more: &Value) -> Python {
        let mut arguments = json!({ "bootstrap": self.bootstrap(), "token_url": tokens.url, "scope": tokens.scope });
        let (into, more) = (arguments.as_object_mut().unwrap(), more.as_object().unwrap().clone());
        into.extend(more);
        let output = self.dir.path().join(format!("{name}.ndjson"));
        let (file, errors) = (File::create(&output).unwrap(), File::create(output.with_extension("stderr")).unwrap());
        let mut command = Command::new(python_env().unwrap().join("bin/python"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oidc/client.py")).arg(arguments.to_string());
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        Python { process: Guarded::spawn(&mut command, name).unwrap(), output }
    }

    /// Java's console consumer, which reads that topic until it is dropped.
    pub(crate) fn java_consumer(&self, tokens: &Tokens, topic: &str, group: &str) -> JavaConsumer {
        let output = self.dir.path().join("java.txt");
        let arguments = ["--topic", topic, "--from-beginning", "--group", group];
        let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        let tool = self.java(tokens).spawn(class, &arguments, File::create(&output).unwrap()).unwrap();
        JavaConsumer { _tool: tool, output }
    }
}

/// A running console consumer.
pub(crate) struct JavaConsumer {
    _tool: RunningTool,
    output: PathBuf,
}

impl JavaConsumer {
    /// The records so far. What the client says beside them may be warnings, and nothing worse.
    #[track_caller]
    pub(crate) fn received(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.output).unwrap();
        assert!(!text.contains("Exception") && !text.contains(" ERROR "), "{text}");
        text.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect()
    }
}

fn yaml(ports: &PortBlock, issuer: &str, jwks: &str) -> WeirYaml {
    WeirYaml::new(KAFKA.bootstrap())
        .node_ids("1")
        .listener(Listener::oauthbearer("apps", &ports.address(2)))
        .issuer_at(issuer, "kafka", jwks)
        .section("identity", "clock_skew: 1s")
        .policy("test", POLICY)
        .metrics(&ports.address(15))
}

/// A running Python client.
pub(crate) struct Python {
    process: Guarded,
    output: PathBuf,
}

impl Python {
    /// What it said so far.
    pub(crate) fn said(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.output).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Members of that name in what it said so far.
    pub(crate) fn heard(&self, member: &str) -> Vec<Value> {
        self.said().iter().filter_map(|line| line.get(member)).cloned().collect()
    }

    /// Waits for its end, which must be a good one, and returns what it said.
    #[track_caller]
    pub(crate) fn ends(mut self) -> Self {
        let status = self.process.wait(PATIENCE).unwrap();
        assert!(status.success(), "{:?} {}", self.said(), self.errors());
        self
    }

    /// Asks it to come to its end.
    #[track_caller]
    pub(crate) fn stops(mut self) -> Self {
        let status = self.process.terminate(PATIENCE).unwrap();
        assert!(status.success(), "{:?} {}", self.said(), self.errors());
        self
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.output.with_extension("stderr")).unwrap()
    }
}
