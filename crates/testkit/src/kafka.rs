use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::child::{self, Guarded, POLL};
use crate::netns::Namespace;
use crate::{Error, PortBlock};

pub(crate) mod console;
pub mod jars;
mod stored;
pub mod wire;

/// One Apache Kafka broker ([`jars::BROKER_VERSION`], KRaft, broker and controller in one), in a temporary folder.
///
/// ```no_run
/// # use weir_testkit::{Kafka, KafkaOptions};
/// let mut kafka = Kafka::start(KafkaOptions::default())?;
/// kafka.create_topic("orders", 1)?;
/// // ... produce through weir ...
/// assert!(kafka.find_bytes(b"4111111111111111")?.is_empty());
/// assert!(kafka.dump_log("orders", 0)?.contains("************1111"));
/// kafka.kill()?; // a crash; its data stays
/// kafka.start_again()?;
/// # Ok::<(), weir_testkit::Error>(())
/// ```
#[derive(Debug)]
pub struct Kafka {
    options: KafkaOptions,
    jars: PathBuf,
    bootstrap: String,
    process: Option<Guarded>,
    dir: TempDir,
    _ports: PortBlock,
}

/// How a [`Kafka`] is started. `KafkaOptions::default()` listens on free ports of 127.0.0.1.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// The address that it listens on and advertises.
    pub host: String,
    /// The port for clients; none takes a free one.
    pub port: Option<u16>,
    /// Its broker id.
    pub node_id: i32,
    /// The network namespace that it runs in; none is the test's own.
    pub namespace: Option<Namespace>,
    /// More doors beside the one without TLS and login: name, security protocol, port. The host is the same.
    pub listeners: Vec<(String, String, u16)>,
    /// Lines of its properties file; a later line wins over an earlier one and over the testkit's own.
    pub properties: Vec<(String, String)>,
    /// More options for its JVM.
    pub jvm: Vec<String>,
    /// More arguments for `StorageTool format`, such as `--add-scram`.
    pub format: Vec<String>,
    /// How long it may take to get ready, in the face of a busy machine.
    pub ready_within: Duration,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: None,
            node_id: 1,
            namespace: None,
            listeners: Vec::new(),
            properties: Vec::new(),
            jvm: Vec::new(),
            format: Vec::new(),
            ready_within: Duration::from_secs(120),
        }
    }
}

impl KafkaOptions {
    /// Runs the broker inside a network namespace, listening on an address that belongs to it.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &Namespace, host: &str) -> Self {
        self.namespace = Some(namespace.clone());
        host.clone_into(&mut self.host);
        self
    }

    /// Adds a door, such as `TLS` with the protocol `SSL`; its own properties start with `listener.name.tls.`.
    #[must_use]
    pub fn listener(mut self, name: &str, protocol: &str, port: u16) -> Self {
        self.listeners.push((name.to_owned(), protocol.to_owned(), port));
        self
    }

    /// Adds a user that logs in with SCRAM, with both hashes.
    #[must_use]
    pub fn scram_user(mut self, name: &str, password: &str) -> Self {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            self.format.push("--add-scram".to_owned());
            self.format.push(format!("{mechanism}=[name={name},password={password}]"));
        }
        self
    }

    /// Adds a line to the broker's properties.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Kafka {
    /// Formats a folder, starts a broker on it and returns when its Metadata answer names it.
    ///
    /// The first call on a machine downloads the jars (43 MB).
    ///
    /// # Errors
    /// When Java or Maven is missing, and when the broker does not get ready: then with the end of its log.
    pub fn start(options: KafkaOptions) -> Result<Self, Error> {
        let jars = jars::broker()?;
        jars::need("java")?;
        let ports = PortBlock::reserve()?;
        let dir =
            tempfile::Builder::new().prefix("weir-kafka-").tempdir().map_err(Error::io("make a temporary folder"))?;
        let port = options.port.unwrap_or_else(|| ports.port(0));
        let bootstrap = format!("{}:{port}", options.host);
        let kafka = Self { options, jars, bootstrap, process: None, dir, _ports: ports };
        kafka.write_properties(kafka._ports.port(1))?;
        let mut arguments: Vec<String> = ["format", "-t", CLUSTER_ID, "-c"].map(String::from).to_vec();
        arguments.push(kafka.properties_file().display().to_string());
        arguments.extend(kafka.options.format.iter().cloned());
        let mut format = jars::java(&kafka.jars, &[], "kafka.tools.StorageTool", Command::new("java"));
        child::run(format.args(arguments), "StorageTool format", &[], kafka.options.ready_within)?
            .success("StorageTool format")?;
        let mut kafka = kafka;
        kafka.start_again()?;
        Ok(kafka)
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The broker's id.
    #[must_use]
    pub fn node_id(&self) -> i32 {
        self.options.node_id
    }

    /// Kafka's `log.dirs`: a folder `TOPIC-PARTITION` per partition.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What the broker printed, of all its runs.
    #[must_use]
    pub fn output_file(&self) -> PathBuf {
        self.dir.path().join("broker.out")
    }

    /// The broker's process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::pid)
    }

    /// Creates a topic and waits until each partition has a leader.
    ///
    /// # Errors
    /// [`Error::Kafka`] with what the broker refuses.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        self.create_topic_with(name, partitions, &[])
    }

    /// [`Kafka::create_topic`] with topic configuration, such as `("message.timestamp.type", "LogAppendTime")`.
    ///
    /// # Errors
    /// As [`Kafka::create_topic`].
    pub fn create_topic_with(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<(), Error> {
        self.inside(|| wire::create_topic(&self.bootstrap, name, partitions, 1, configs))?;
        self.poll_until("the new topic had no leader", || {
            let metadata = wire::metadata(&self.bootstrap, &[name])?;
            Ok(metadata.topics.iter().any(|topic| {
                topic.error == 0
                    && i32::try_from(topic.partitions.len()) == Ok(partitions)
                    && topic.partitions.iter().all(|(error, _, leader)| *error == 0 && *leader >= 0)
            }))
        })
    }

    /// The offset after the last record of a partition, asked of the broker itself.
    ///
    /// # Errors
    /// [`Error::Kafka`] when there is no such partition.
    pub fn end_offset(&self, topic: &str, partition: i32) -> Result<i64, Error> {
        self.inside(|| wire::end_offset(&self.bootstrap, topic, partition))
    }

    /// Stops it cleanly (SIGTERM). Its data stays until it is dropped; [`Kafka::start_again`] continues with it.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> Result<(), Error> {
        match self.process.take() {
            Some(mut process) => process.terminate(self.options.ready_within).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Kills it (SIGKILL), as a crash does. Its data stays; [`Kafka::start_again`] continues with it.
    ///
    /// # Errors
    /// When the operating system does not say how it ended.
    pub fn kill(&mut self) -> Result<(), Error> {
        match self.process.take() {
            Some(mut process) => process.kill().map(|_| ()),
            None => Ok(()),
        }
    }

    /// Freezes the broker (SIGSTOP) or lets it go on: connections stay open and nothing answers.
    pub fn pause(&self, frozen: bool) {
        if let Some(process) = &self.process {
            process.pause(frozen);
        }
    }

    /// Starts the broker on its data, same address, and waits until it is ready. Does nothing while it runs.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_again(&mut self) -> Result<(), Error> {
        if self.process.is_some() {
            return Ok(());
        }
        let java = match &self.options.namespace {
            Some(namespace) => namespace.command("java"),
            None => Command::new("java"),
        };
        let mut options = vec!["-Xmx512m".to_owned()];
        options.extend(self.options.jvm.iter().cloned());
        let mut command = jars::java(&self.jars, &options, "kafka.Kafka", java);
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.output_file())
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(Error::io("open the broker's output file"))?;
        command.arg(self.properties_file()).stdout(output.0).stderr(output.1).current_dir(self.dir.path());
        let mut process = Guarded::spawn_in(&mut command, "the Kafka broker", Some(self.dir.path()))?;
        let deadline = Instant::now() + self.options.ready_within;
        loop {
            if self.answers() {
                self.process = Some(process);
                return Ok(());
            }
            if let Some(status) = process.ended()? {
                let output = child::tail_of(&self.output_file());
                return Err(Error::Command { what: "the Kafka broker".into(), status, output });
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out("the Kafka broker did not get ready"));
            }
            thread::sleep(POLL);
        }
    }

    /// A port that answers is not a ready broker: Metadata must name it.
    fn answers(&self) -> bool {
        let metadata = self.inside(|| wire::metadata(&self.bootstrap, &[]));
        metadata.is_ok_and(|metadata| metadata.brokers.iter().any(|(id, _, _)| *id == self.options.node_id))
    }

    fn poll_until(&self, what: &str, check: impl Fn() -> Result<bool, Error> + Sync) -> Result<(), Error> {
        let deadline = Instant::now() + self.options.ready_within;
        while !self.inside(&check)? {
            if Instant::now() >= deadline {
                return Err(self.timed_out(what));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn timed_out(&self, what: &str) -> Error {
        let log = child::tail_of(&self.output_file());
        Error::TimedOut { what: what.to_owned(), within: self.options.ready_within, log }
    }

    /// Runs `work` where the broker's address can be reached.
    fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
        match &self.options.namespace {
            Some(namespace) => namespace.run(work)?,
            None => work(),
        }
    }

    fn properties_file(&self) -> PathBuf {
        self.dir.path().join("server.properties")
    }

    fn write_properties(&self, controller_port: u16) -> Result<(), Error> {
        let (node, host) = (self.options.node_id, &self.options.host);
        let more = self.options.listeners.iter();
        let doors: String = more.clone().map(|(name, _, port)| format!(",{name}://{host}:{port}")).collect();
        let protocols: String = more.map(|(name, protocol, _)| format!(",{name}:{protocol}")).collect();
        let mut lines = vec![
            format!("node.id={node}"),
            format!("listeners=PLAINTEXT://{},CONTROLLER://{host}:{controller_port}{doors}", self.bootstrap),
            format!("advertised.listeners=PLAINTEXT://{}{doors}", self.bootstrap),
            format!("listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}"),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
            format!("controller.quorum.voters={node}@{host}:{controller_port}"),
            format!("log.dirs={}", self.log_dir().display()),
        ];
        lines.extend(PROPERTIES.map(str::to_owned));
        lines.extend(self.options.properties.iter().map(|(name, value)| format!("{name}={value}")));
        write_lines(&self.properties_file(), &lines)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Before the folder goes, so that nothing writes into it any more.
        drop(self.process.take());
    }
}

pub(crate) fn write_lines(path: &Path, lines: &[String]) -> Result<(), Error> {
    let write = |mut file: File| lines.iter().try_for_each(|line| writeln!(file, "{line}"));
    File::create(path).and_then(write).map_err(Error::io(format!("write {}", path.display())))
}

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// Few partitions for the internal topics: the default of 50 each costs start time, files and shutdown time.
const PROPERTIES: [&str; 14] = [
    "process.roles=broker,controller",
    "controller.listener.names=CONTROLLER",
    "auto.create.topics.enable=false",
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "transaction.state.log.num.partitions=1",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "share.coordinator.state.topic.num.partitions=1",
    "group.initial.rebalance.delay.ms=0",
    "log.cleaner.dedupe.buffer.size=2097152",
    "num.network.threads=2",
];
