//! What the tests of this binary share: one broker with four doors, weir before it, and a client that looks at certificates.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::Value;
use weir_testkit::{
    Authority, Certificate, Kafka, KafkaOptions, PortBlock, Ready, WeirOptions, WeirProcess, WeirYaml, WorkDir,
};

/// Longest wait for anything that takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Everybody may do everything with `orders`, and sees no card and no e-mail.
pub(crate) const POLICY: &str = r#"version: 1
access:
  - name: apps
    principals: { groups: [apps] }
    allow:
      - produce: ["orders"]
      - consume: ["orders"]
        consumer_groups: ["apps-*"]
rules:
  - name: cards
    match: { topics: ["orders"], direction: both }
    fields:
      - { path: "$.card.number", transform: { mask: { keep_last: 4 } } }
      - { path: "$..email", transform: redact }
"#;

/// One broker, and the authority that it trusts and is trusted by.
pub(crate) struct Cluster {
    pub(crate) kafka: Kafka,
    pub(crate) authority: Authority,
    /// A door whose certificate is good; it wants one, too.
    pub(crate) tls: String,
    /// A door whose certificate is for `kafka.internal`.
    pub(crate) named: String,
    /// A door whose certificate has expired.
    pub(crate) old: String,
    _dir: WorkDir,
    _ports: PortBlock,
}

/// The cluster that the tests share while any of them runs.
pub(crate) fn cluster() -> Arc<Cluster> {
    static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut cluster = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Cluster::start());
        *cluster = Arc::downgrade(&started);
        started
    })
}

impl Cluster {
    fn start() -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let authority = Authority::new("the company's CA").unwrap();
        let ca = dir.write("ca.pem", authority.pem()).unwrap();
        let mut options = KafkaOptions::default()
            .property("listener.name.tls.ssl.client.auth", "required")
            .property("listener.name.tls.ssl.truststore.type", "PEM")
            .property("listener.name.tls.ssl.truststore.location", &ca.display().to_string());
        let doors = [
            ("TLS", authority.issue(&["127.0.0.1"]).unwrap()),
            ("NAMED", authority.issue(&["kafka.internal"]).unwrap()),
            ("OLD", authority.issue_expired(&["127.0.0.1"]).unwrap()),
        ];
        for (index, (name, certificate)) in (0..).zip(doors) {
            let keystore = dir.write(&format!("{name}.pem"), certificate.keystore()).unwrap();
            let prefix = format!("listener.name.{}.ssl.keystore", name.to_lowercase());
            options = options
                .listener(name, "SSL", ports.port(index))
                .property(&format!("{prefix}.type"), "PEM")
                .property(&format!("{prefix}.location"), &keystore.display().to_string());
        }
        let kafka = Kafka::start(options).unwrap();
        kafka.create_topic("orders", 1).unwrap();
        let [tls, named, old] = [0, 1, 2].map(|index| ports.address(index));
        Self { kafka, authority, tls, named, old, _dir: dir, _ports: ports }
    }
}

/// A weir with a folder of its own. The listener is at port 0 of its block, metrics at port 15.
pub(crate) struct Weir {
    pub(crate) process: WeirProcess,
    pub(crate) dir: WorkDir,
    pub(crate) ports: PortBlock,
}

impl Drop for Weir {
    /// Shows the end of weir's log when a test fails.
    #[expect(clippy::print_stderr, reason = "read by whoever looks at the failure")]
    fn drop(&mut self) {
        if thread::panicking() {
            let output = self.process.output().unwrap_or_default();
            let lines: Vec<&str> = output.lines().collect();
            eprintln!("the end of weir's log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

impl Weir {
    /// Starts one; `yaml` says what it serves, in a folder that `prepare` has filled.
    pub(crate) fn start(
        bootstrap: &str,
        prepare: impl FnOnce(&WorkDir),
        yaml: impl FnOnce(WeirYaml, &PortBlock) -> WeirYaml,
    ) -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        prepare(&dir);
        let base = WeirYaml::new(bootstrap).node_ids("1").policy("orders", POLICY).metrics(&ports.address(15));
        let config = yaml(base, &ports).write(&dir).unwrap();
        let ready = Ready::Ports([0, 15].map(|index| ports.address(index).parse().unwrap()).to_vec());
        let options = WeirOptions::new(Path::new(env!("CARGO_BIN_EXE_weir")), &config, ready);
        Self { process: WeirProcess::start(options).unwrap(), dir, ports }
    }

    pub(crate) fn address(&self) -> String {
        self.ports.address(0)
    }

    /// The events of that name in the log so far.
    pub(crate) fn lines(&self, event: &str) -> Vec<Value> {
        self.process.settle_log();
        let log = self.dir.read("weir.stderr").unwrap();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        lines.filter(|line| line["event"] == event).collect()
    }

    /// The first event of that name with these values.
    pub(crate) fn line(&self, event: &str, values: &[(&str, &str)]) -> Value {
        wait(&format!("{event} {values:?}"), || {
            let fits = |line: &Value| values.iter().all(|(key, value)| line[*key] == *value);
            self.lines(event).into_iter().find(fits)
        })
    }

    /// The admin page at `path`, with its head.
    pub(crate) fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.ports.address(15)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// A counter or gauge by its name with labels; 0 when it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.page("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a broker answers.
    pub(crate) fn becomes_ready(&self) {
        wait("weir to get ready", || self.page("/readyz").starts_with("HTTP/1.1 200").then_some(()));
    }
}

/// Calls `step` until it has something.
#[track_caller]
pub(crate) fn wait<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = step() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Writes `NAME.crt` and `NAME.key`, as `tls: { cert: NAME.crt, key: NAME.key }` names them.
pub(crate) fn place(dir: &WorkDir, name: &str, certificate: &Certificate) -> (PathBuf, PathBuf) {
    let key = dir.write(&format!("{name}.key"), &certificate.key).unwrap();
    (dir.write(&format!("{name}.crt"), &certificate.cert).unwrap(), key)
}

/// The first certificate of a PEM text, as a client sees it.
pub(crate) fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A client under TLS that speaks a little Kafka.
pub(crate) struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// Connects and finishes the handshake, trusting `ca`, with one of these versions of TLS.
    pub(crate) fn connect(address: &str, ca: &str, versions: &[&'static SupportedProtocolVersion]) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(der(ca)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut tcp = TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Self(StreamOwned::new(connection, tcp)))
    }

    /// The certificate that it was shown.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// Asks for the API versions, in Kafka's oldest form, and reads the answer.
    pub(crate) fn asks(&mut self) -> io::Result<()> {
        self.call(&[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])
    }

    /// Asks for the cluster, which the broker answers.
    pub(crate) fn asks_the_broker(&mut self) -> io::Result<()> {
        self.call(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// The beginning of a record of TLS, and not its end.
    pub(crate) fn sends_half_a_record(&mut self) {
        self.0.conn.writer().write_all(&[0; 16_000]).unwrap();
        let mut sealed = Vec::new();
        self.0.conn.write_tls(&mut sealed).unwrap();
        self.0.sock.write_all(&sealed[..sealed.len() / 2 + 1_000]).unwrap();
    }

    /// Its own address.
    pub(crate) fn peer(&self) -> String {
        self.0.sock.local_addr().unwrap().to_string()
    }

    /// The other side ends the connection.
    pub(crate) fn is_closed(&mut self) {
        let mut rest = Vec::new();
        let ended = self.0.sock.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
    }

    fn call(&mut self, request: &[u8]) -> io::Result<()> {
        let size = u32::try_from(request.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&size, request].concat())?;
        let mut size = [0; 4];
        self.0.read_exact(&mut size)?;
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
        self.0.read_exact(&mut answer)?;
        assert_eq!(answer[..4], [0, 0, 0, 1], "the correlation id");
        Ok(())
    }
}
