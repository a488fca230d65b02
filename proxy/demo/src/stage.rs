//! What the demonstration is played on: the embedded broker, a folder with weir's files, a token issuer, and weir as its own process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
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
    _folder: WorkDir,
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
        Ok(Self { weir, config, bootstrap, visitors, metrics, issuer, broker, _ports: ports, _folder: folder })
    }

    /// The address that clients are given.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
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

    /// Runs another verb of the same weir beside the one that serves.
    pub(crate) fn verb(&self, words: &[&str]) -> Result<Finished, DemoError> {
        let config = self.config.display().to_string();
        Ok(self.weir.options().run(&[words, &["--config", &config]].concat())?)
    }

    /// Stops weir in good order.
    pub(crate) fn close(mut self) -> Result<(), DemoError> {
        self.weir.stop()?;
        Ok(())
    }
}

/// One broker, node id 1, with the topic of the demonstration.
pub(crate) fn embedded_broker() -> Result<MockCluster<'static, DefaultProducerContext>, DemoError> {
    let broker = MockCluster::new(1).map_err(DemoError::client("start the embedded broker"))?;
    broker.create_topic(TOPIC, 1, 1).map_err(DemoError::client("make a topic"))?;
    Ok(broker)
}

/// The topic of the demonstration.
pub(crate) const TOPIC: &str = "payments.eu";

/// Which port of the block the second listener takes; its broker has the next one.
const VISITORS_PORT: u16 = 8;
