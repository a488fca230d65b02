//! What the demonstration is played on: the embedded broker, a folder with weir's files, a token issuer, and weir as its own process.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey;
use serde_json::Value;
use weir_testkit::{
    Finished, KeyKind, Listener, PortBlock, Ready, TokenIssuer, WeirOptions, WeirProcess, WeirYaml, WorkDir,
};

use crate::client::Door;
use crate::error::DemoError;

/// Everything that runs. Dropping it ends weir and removes its folder. Stays on the thread that made it, as the embedded broker must.
pub(crate) struct Stage {
    weir: WeirProcess,
    config: PathBuf,
    bootstrap: String,
    visitors: Option<String>,
    metrics: String,
    issuer: TokenIssuer,
    broker: MockCluster<'static, DefaultProducerContext>,
    _ports: PortBlock,
    folder: WorkDir,
}

impl Stage {
    /// Starts the broker and weir in front of it; with a second listener for clients without a token if `opens_to_visitors`.
    pub(crate) fn build(weir: &Path, policy: &str, opens_to_visitors: bool) -> Result<Self, DemoError> {
        if !weir.is_file() {
            return Err(DemoError::NoWeir { path: weir.display().to_string() });
        }
        let broker = embedded_broker()?;
        let issuer = TokenIssuer::new("https://issuer.demo", &[("demo-1", KeyKind::P256)])?;
        let (folder, ports) = (WorkDir::new()?, PortBlock::reserve()?);
        let (bootstrap, metrics) = (ports.address(0), ports.address(PortBlock::LEN - 1));
        let mut yaml = WeirYaml::new(&broker.bootstrap_servers())
            .node_ids("1")
            .listener(Listener::oauthbearer("apps", &bootstrap))
            .issuer(issuer.name(), "kafka", &issuer.jwks(), &["ES256"])
            .policy("payments", policy)
            .metrics(&metrics);
        let visitors = opens_to_visitors.then(|| ports.address(VISITORS_PORT));
        if let Some(address) = &visitors {
            yaml = yaml.listener(Listener::anonymous("try", address, &["analytics"]));
        }
        let config = yaml.write(&folder)?;
        // The port of broker 1 follows the bootstrap port.
        let ready = [ports.address(0), ports.address(1)].iter().filter_map(|address| address.parse().ok()).collect();
        let weir = WeirProcess::start(WeirOptions::new(weir, &config, Ready::Ports(ready)))?;
        Ok(Self { weir, config, bootstrap, visitors, metrics, issuer, broker, _ports: ports, folder })
    }

    /// The address for clients without a token, which are in the group analytics; only when it was asked for.
    pub(crate) fn visitors(&self) -> Option<&str> {
        self.visitors.as_deref()
    }

    /// Where `/metrics` is served.
    pub(crate) fn metrics(&self) -> &str {
        &self.metrics
    }

    /// The broker's own address.
    pub(crate) fn broker(&self) -> String {
        self.broker.bootstrap_servers()
    }

    /// How long weir took from its start until its ports answered.
    pub(crate) fn ready_after(&self) -> Duration {
        self.weir.ready_after()
    }

    /// Past weir, straight to the broker.
    pub(crate) fn back_door(&self) -> Door {
        Door { bootstrap: self.broker(), token: None }
    }

    /// Through weir, with a good token for a principal that is in a group of its own name.
    pub(crate) fn door(&self, name: &str) -> Result<Door, DemoError> {
        let token = self.issuer.token(name).groups(&[name]).sign()?;
        Ok(Door { bootstrap: self.bootstrap.clone(), token: Some(token) })
    }

    /// Through weir, with a token that was good once.
    pub(crate) fn expired_door(&self, name: &str, ago: Duration) -> Result<Door, DemoError> {
        let token = self.issuer.token(name).groups(&[name]).expired(ago).sign()?;
        Ok(Door { bootstrap: self.bootstrap.clone(), token: Some(token) })
    }

    /// The last entry of a kind, as `weir audit query` gives it. Failed logins are merged for a second before there is one.
    pub(crate) fn entry(&self, kind: &str) -> Result<Value, DemoError> {
        let last = |answer: &str| {
            let mut entries = answer.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            entries.rfind(|entry| entry.get("kind").and_then(Value::as_str) == Some(kind))
        };
        let found = self.verb_until(&["audit", "query", "--output", "ndjson"], |answer| last(answer).is_some())?.stdout;
        Ok(last(&found).unwrap_or(Value::Null))
    }

    /// Runs another verb of the same weir beside the one that serves.
    pub(crate) fn verb(&self, words: &[&str]) -> Result<Finished, DemoError> {
        self.verb_until(words, |_| true)
    }

    /// Runs another verb of the same weir beside the one that serves, again until its output is as expected or the time is over.
    pub(crate) fn verb_until(&self, words: &[&str], expected: impl Fn(&str) -> bool) -> Result<Finished, DemoError> {
        let config = self.config.display().to_string();
        let started = Instant::now();
        loop {
            let finished = self.weir.options().run(&[words, &["--config", &config]].concat())?;
            if expected(&finished.stdout) || started.elapsed() > LOG_WAIT_MAX {
                return Ok(finished);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Copies the log, changes the copy, and lets weir verify it.
    pub(crate) fn verify_tampered_copy(&self, tampering: Tampering) -> Result<Finished, DemoError> {
        let copy = self.folder.path().join("copy");
        copy_folder(&self.folder.path().join("data"), &copy)?;
        tampering.apply(&copy.join("audit").join("db"))?;
        let finished = self.weir.options().run(&["audit", "verify", "--data-dir", &copy.display().to_string()])?;
        fs::remove_dir_all(&copy).map_err(DemoError::io("remove the copy of the log"))?;
        Ok(finished)
    }

    /// What weir wrote so far.
    pub(crate) fn log(&self) -> Result<String, DemoError> {
        Ok(self.weir.output()?)
    }

    /// Stops weir in good order.
    pub(crate) fn close(mut self) -> Result<(), DemoError> {
        self.weir.stop()?;
        Ok(())
    }
}

/// What somebody might do to a log that shows too much.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tampering {
    /// Changes one bit in the middle.
    FlipBit,
    /// Leaves the end away.
    CutShort,
}

impl Tampering {
    /// Works on the file that the newest entries are in.
    fn apply(self, database: &Path) -> Result<(), DemoError> {
        let failed = |error| DemoError::io("change the copy of the log")(error);
        let mut newest = None;
        for entry in fs::read_dir(database).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                newest = newest.max(Some(path));
            }
        }
        let path = newest.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut bytes = fs::read(&path).map_err(failed)?;
        let middle = bytes.len() / 2;
        match self {
            Self::FlipBit => bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1),
            Self::CutShort => bytes.truncate(middle),
        }
        fs::write(&path, bytes).map_err(failed)
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), DemoError> {
    let failed = |error| DemoError::io("copy the log")(error);
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).map_err(failed)?;
        }
    }
    Ok(())
}

/// One broker, node id 1, with the topic of the demonstration.
pub(crate) fn embedded_broker() -> Result<MockCluster<'static, DefaultProducerContext>, DemoError> {
    let broker = MockCluster::new(1).map_err(DemoError::client("start the embedded broker"))?;
    // From version 9 on, the mock ends its Metadata response with one byte too many, which weir refuses, as it must. With 8 there are no
    // topic ids either.
    let capped = broker.apiversion(RDKafkaApiKey::Metadata, Some(0), Some(METADATA_MAX));
    capped.map_err(DemoError::client("cap the versions of Metadata"))?;
    broker.create_topic(TOPIC, 1, 1).map_err(DemoError::client("make a topic"))?;
    Ok(broker)
}

/// The topic of the demonstration.
pub(crate) const TOPIC: &str = "payments.eu";

/// Longest wait for the log to be complete; it follows within a second.
const LOG_WAIT_MAX: Duration = Duration::from_secs(5);

/// The last version of Metadata that is not flexible, in librdkafka's mock.
const METADATA_MAX: i16 = 8;

/// Which port of the block the second listener takes; its broker has the next one.
const VISITORS_PORT: u16 = 8;
