//! A broker, weir and their clients, each in a network namespace of its own: clients reach weir and nothing else.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use weir_testkit::{
    ClientProperties, Console, Kafka, KafkaOptions, KeyKind, Listener, Network, Ready, TokenIssuer, WeirOptions,
    WeirProcess, WeirYaml, WorkDir,
};

use crate::librdkafka::{Door, Login};

/// Everything that one test needs of the outside world.
///
/// The fields are dropped in this order: what runs in the namespaces goes before them.
pub(crate) struct Stage {
    weir: Mutex<WeirProcess>,
    pub(crate) kafka: Kafka,
    pub(crate) network: Network,
    pub(crate) dir: WorkDir,
    pub(crate) issuer: Arc<TokenIssuer>,
}

/// What differs between stages.
pub(crate) struct Setting<'a> {
    /// The text of the one policy file.
    pub(crate) policy: &'a str,
    /// Topics and their partitions.
    pub(crate) topics: &'a [(&'a str, i32)],
    /// Environment of weir.
    pub(crate) env: &'a [(&'a str, &'a str)],
}

/// Who a client is.
#[derive(Clone, Copy)]
pub(crate) struct Who {
    pub(crate) subject: &'static str,
    pub(crate) group: &'static str,
}

impl Drop for Stage {
    /// Shows the end of weir's log when a test fails.
    #[expect(clippy::print_stderr, reason = "read by whoever looks at the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = self.weir().output().unwrap_or_default();
            let lines: Vec<&str> = output.lines().collect();
            let from = lines.len().saturating_sub(40);
            eprintln!("the end of weir's log:\n{}", lines.get(from..).unwrap_or_default().join("\n"));
        }
    }
}

const WEIR: &str = "10.77.1.1:9192";
pub(crate) const METRICS: &str = "127.0.0.1:9190";
/// Of a hash key; any will do.
const SECRET: [u8; 32] = [7; 32];

/// The stage that the tests of one binary share while any of them runs. It goes with the last: a `static` would leave its
/// namespaces behind.
pub(crate) fn shared(setting: &Setting<'_>) -> Arc<Stage> {
    static STAGE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
    let mut stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    stage.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Stage::start(setting));
        *stage = Arc::downgrade(&started);
        started
    })
}

impl Stage {
    pub(crate) fn start(setting: &Setting<'_>) -> Self {
        let network = Network::create().unwrap();
        let options = KafkaOptions::default().in_namespace(network.broker(), Network::BROKER_ADDRESS);
        let kafka = Kafka::start(options).unwrap();
        for (topic, partitions) in setting.topics {
            kafka.create_topic(topic, *partitions).unwrap();
        }
        let dir = WorkDir::new().unwrap();
        let issuer = TokenIssuer::new("https://issuer.test", &[("ec-1", KeyKind::P256)]).unwrap();
        let config = WeirYaml::new(kafka.bootstrap())
            .node_ids("1")
            .listener(Listener::oauthbearer("apps", WEIR).insecure())
            .issuer(issuer.name(), "kafka", &issuer.jwks(), &["ES256"])
            .policy("test", setting.policy)
            .key("links-2026", &SECRET)
            .metrics(METRICS)
            // What may not appear in the log must not appear at its most talkative either.
            .section("log", "level: trace")
            .write(&dir)
            .unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_weir"));
        let ready = Ready::Readyz(METRICS.parse().unwrap());
        let mut options = WeirOptions::new(binary, &config, ready).in_namespace(network.weir());
        options.env.extend(setting.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let weir = Mutex::new(WeirProcess::start(options).unwrap());
        Self { weir, kafka, network, dir, issuer: Arc::new(issuer) }
    }

    pub(crate) fn weir(&self) -> MutexGuard<'_, WeirProcess> {
        self.weir.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to weir, with tokens for `who` that live that long.
    pub(crate) fn door_with(&self, who: Who, lifetime: Duration) -> Door {
        let login = Login { issuer: Arc::clone(&self.issuer), who, lifetime };
        Door { bootstrap: WEIR.to_owned(), login: Some(login), namespace: self.network.clients().clone() }
    }

    /// The way to weir.
    pub(crate) fn door(&self, who: Who) -> Door {
        self.door_with(who, Duration::from_secs(300))
    }

    /// The way to the broker, from where the broker is.
    pub(crate) fn back_door(&self) -> Door {
        let namespace = self.network.broker().clone();
        Door { bootstrap: self.kafka.bootstrap().to_owned(), login: None, namespace }
    }

    /// Kafka's console clients, with a token in a file.
    pub(crate) fn console(&self, who: Who) -> Console {
        let token = self.issuer.token(who.subject).groups(&[who.group]).sign().unwrap();
        self.console_with(&token)
    }

    /// Kafka's console clients with that token.
    pub(crate) fn console_with(&self, token: &str) -> Console {
        use std::sync::atomic::{AtomicU32, Ordering};
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!("tokens/{}.jwt", SERIAL.fetch_add(1, Ordering::Relaxed));
        let file = self.dir.write(&name, token).unwrap();
        Console::new(WEIR)
            .with(ClientProperties::oauthbearer(&file))
            .in_namespace(self.network.clients())
            .within(Duration::from_secs(90))
    }
}
