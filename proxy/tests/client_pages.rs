//! The properties on the pages of `docs/clients`, each given to the client that it is for: TLS, the client's own OIDC login, a record that is
//! masked, and one that is refused.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use weir_testkit::{
    Authority, ClientProperties, Console, Kafka, KafkaOptions, Listener, OidcOptions, OidcServer, PortBlock, Ready,
    WeirOptions, WeirProcess, WeirYaml, WorkDir, python_env,
};

const SENT: &str = r#"{"order":17,"card":{"number":"4111111111111111"}}"#;
const MASKED: &str = r#"{"order":17,"card":{"number":"************1111"}}"#;

const POLICY: &str = r#"
version: 1
access:
  - name: apps
    principals: { groups: [apps] }
    allow:
      - produce: ["orders"]
      - consume: ["orders"]
        consumer_groups: ["checkout-*"]
rules:
  - name: card-numbers
    match: { topics: ["orders"], direction: produce }
    fields: [{ path: "$.card.number", transform: { mask: { keep_last: 4 } } }]
"#;

static KAFKA: LazyLock<Kafka> = LazyLock::new(|| Kafka::start(KafkaOptions::default()).unwrap());
static ISSUER: LazyLock<OidcServer> =
    LazyLock::new(|| OidcServer::start(OidcOptions { lifetime: Duration::from_secs(300), tls: None }).unwrap());

/// A weir with TLS and tokens, in front of a broker whose topic is empty.
struct Stage {
    weir: WeirProcess,
    ports: PortBlock,
    dir: WorkDir,
}

impl Stage {
    fn start() -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let authority = Authority::new("the company's CA").unwrap();
        let certificate = authority.issue(&["127.0.0.1"]).unwrap();
        dir.write("ca.pem", authority.pem()).unwrap();
        dir.write("door.crt", &certificate.cert).unwrap();
        dir.write("door.key", &certificate.key).unwrap();
        let door = Listener::oauthbearer("apps", &ports.address(0)).line("tls: { cert: door.crt, key: door.key }");
        let yaml = WeirYaml::new(KAFKA.bootstrap())
            .node_ids("1")
            .listener(door)
            .issuer_at(ISSUER.issuer(), "kafka", "discover")
            .policy("orders", POLICY)
            .metrics(&ports.address(15));
        let ready = Ready::Readyz(ports.address(15).parse().unwrap());
        let config = yaml.write(&dir).unwrap();
        let options = WeirOptions::new(Path::new(env!("CARGO_BIN_EXE_weir")), &config, ready);
        Self { weir: WeirProcess::start(options).unwrap(), ports, dir }
    }

    /// A block of a page, with the names of this stage in the place of the page's.
    fn fill(&self, text: &str) -> String {
        let ca = self.dir.path().join("ca.pem").display().to_string();
        let names = [
            ("kafka.example.com:9192", self.ports.address(0)),
            ("/etc/kafka/ca.pem", ca),
            ("https://sso.example.com/token", ISSUER.token_url()),
            ("orders-app", OidcServer::CLIENT.to_owned()),
            ("s3cret", OidcServer::SECRET.to_owned()),
            ("scope=kafka", format!("scope={}", OidcServer::SCOPE)),
        ];
        names.iter().fold(text.to_owned(), |text, (page, here)| {
            assert!(text.contains(page) || *page == "scope=kafka", "the page has no {page}");
            text.replace(page, here)
        })
    }
}

/// The block of a language on a page.
fn block(page: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/clients").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, from) = text.split_once(&format!("```{language}\n")).unwrap();
    from.split_once("```").unwrap().0.to_owned()
}

fn properties(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// What a Python program prints.
fn python(program: &str) -> String {
    let mut command = Command::new(python_env().unwrap().join("bin/python"));
    let output = command.args(["-c", program]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_pages_of_the_clients_hold() {
    KAFKA.create_topic("orders", 1).unwrap();
    let stage = Stage::start();
    python_page(&stage);
    librdkafka_page(&stage);
    java_page(&stage);
    assert!(KAFKA.find_bytes(b"4111111111111111").unwrap().is_empty());
    assert!(stage.weir.output().unwrap().contains("login.ok"));
}

/// The program as it stands there; what it prints stands there too.
fn python_page(stage: &Stage) {
    let page = block("python.md", "python");
    assert_eq!(python(&stage.fill(&page)), block("python.md", "text"));
    // The control: without the login it neither sends nor receives.
    let without = page.replace("SASL_SSL", "SSL").replace("flush(60)", "flush(2)").replace("poll(60)", "poll(2)");
    let without = without.replace("message.error() or message.value().decode()", "message");
    assert_eq!(python(&stage.fill(&without)), "None\n");
}

/// The properties, in a program that does nothing but produce with them.
fn librdkafka_page(stage: &Stage) {
    let page = stage.fill(&block("librdkafka.md", "ini"));
    let settings = serde_json::to_string(&properties(&page).into_iter().collect::<std::collections::BTreeMap<_, _>>());
    let program = format!(
        "from confluent_kafka import Producer\nproducer = Producer({})\n\
         producer.produce('orders', '{SENT}', on_delivery=lambda error, message: print(error or message.offset()))\n\
         producer.flush(60)\n",
        settings.unwrap()
    );
    assert_eq!(python(&program), "1\n");
}

/// The properties, given to the console tools.
fn java_page(stage: &Stage) {
    let page = stage.fill(&block("java.md", "properties"));
    let own = properties(&page).into_iter().filter(|(name, _)| name != "bootstrap.servers");
    let given = own.fold(ClientProperties::plaintext(), |given, (name, value)| given.property(&name, &value));
    let given = given.allow_url(&ISSUER.token_url());
    let console = Console::new(&stage.ports.address(0)).with(given).within(Duration::from_secs(120));
    console.produce("orders", &[SENT]).unwrap().success("produce").unwrap();
    let refused = console.produce("orders", &["not json"]).unwrap();
    assert!(refused.stderr.contains("weir: rule \"card-numbers\" refused this record"), "{}", refused.stderr);
    let console = console.argument("--group").argument("checkout-2");
    let received = console.consume("orders", 3).unwrap().success("consume").unwrap().stdout;
    assert_eq!(received.lines().collect::<Vec<_>>(), [MASKED; 3]);
}
