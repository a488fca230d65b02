//! The proof with a product: Keycloak issues the tokens and changes its keys, Java and librdkafka log in by themselves, and nobody notices.
//!
//! Not part of `just test`: `just oidc-proof` runs it and prints what came of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

#[expect(dead_code, reason = "made for another test, used in part")]
#[path = "oidc/ground.rs"]
mod ground;
#[expect(
    dead_code,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    reason = "made for another test, used in part"
)]
#[path = "bad_input/wire.rs"]
mod wire;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use weir_testkit::{Guarded, PortBlock, python_env};

use ground::{Tokens, Weir};

/// A first start imports the realm: half a minute alone, minutes on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(600);

struct Keycloak {
    _process: Guarded,
    base: String,
    _dir: tempfile::TempDir,
    _ports: PortBlock,
}

impl Keycloak {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let built = Command::new(root.join("tools/keycloak")).stderr(Stdio::inherit()).output().unwrap();
        assert!(built.status.success(), "tools/keycloak failed");
        let built = PathBuf::from(String::from_utf8(built.stdout).unwrap().trim_end());
        let (dir, ports) = (tempfile::tempdir().unwrap(), PortBlock::reserve().unwrap());
        let copied = Command::new("cp").arg("-r").arg(&built).arg(dir.path().join("keycloak")).status().unwrap();
        assert!(copied.success());
        let log = File::create(dir.path().join("keycloak.log")).unwrap();
        let mut command = Command::new(dir.path().join("keycloak/bin/kc.sh"));
        command.args(["start", "--optimized", "--import-realm", "--http-enabled=true", "--hostname-strict=false"]);
        command.args(["--http-host=127.0.0.1", &format!("--http-port={}", ports.port(0))]);
        command.args([format!("--http-management-port={}", ports.port(1))]);
        command.envs([("KC_BOOTSTRAP_ADMIN_USERNAME", "admin"), ("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin")]);
        command.envs([("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx384m"), ("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1")]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = Guarded::spawn(&mut command, "Keycloak").unwrap();
        let (base, started) = (format!("http://{}", ports.address(0)), Instant::now());
        let document = "/realms/weir/.well-known/openid-configuration";
        while !answers(&ports.address(0), document) {
            let log = || std::fs::read_to_string(dir.path().join("keycloak.log")).unwrap();
            assert!(process.ended().unwrap().is_none() && started.elapsed() < START_WITHIN, "{}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
        Self { _process: process, base, _dir: dir, _ports: ports }
    }

    fn issuer(&self) -> String {
        format!("{}/realms/weir", self.base)
    }

    fn admin(&self, command: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keycloak/admin.py");
        let python = python_env().unwrap().join("bin/python");
        let done = Command::new(python).args([script, &self.base, command]).status().unwrap();
        assert!(done.success(), "{command}");
    }
}

fn answers(address: &str, path: &str) -> bool {
    use std::io::{Read, Write};
    let ask = || {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        std::io::Result::Ok(status.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

#[test]
fn keycloak_rotates_its_keys_and_no_client_notices() {
    let begun = Instant::now();
    let keycloak = Keycloak::start();
    println!("Keycloak serves realm weir after {} s, tokens live 20 s", begun.elapsed().as_secs());
    let issuer = keycloak.issuer();
    let weir = Weir::start(&issuer, "discover");
    let tokens = Tokens { url: format!("{issuer}/protocol/openid-connect/token"), scope: "profile" };
    let topic = "orders.rotated";
    let producer = weir.python(&tokens, "producer", &json!({ "do": "produce", "topic": topic, "count": 0 }));
    let consumer = weir.java_consumer(&tokens, topic, "apps-keycloak");
    weir.until("the consumer gets records", |_| consumer.received().len() > 3);
    println!("librdkafka (Python) produces, Java consumes; {} logins", weir.logins("ok"));
    for command in ["rotate", "drop-old", "rotate"] {
        let (keys, before, asked) = (weir.log("keys.fetched").len(), weir.logins("ok"), Instant::now());
        keycloak.admin(command);
        weir.until("both clients log in again", |weir| {
            let fetched = command == "drop-old" || weir.log("keys.fetched").len() > keys;
            fetched && weir.logins("ok") >= before + 4.0
        });
        println!(
            "{command:9} {} logins in {} s after it, {} refused; key sets fetched so far: {}",
            weir.logins("ok") - before,
            asked.elapsed().as_secs(),
            weir.logins("refused"),
            weir.log("keys.fetched").len(),
        );
    }
    let producer = producer.stops();
    let delivered = producer.heard("delivered");
    weir.until("the consumer gets every record", |_| consumer.received().len() >= delivered.len());
    let received = consumer.received();
    drop(consumer);
    let (failed, errors) = (producer.heard("failed").len(), producer.heard("error").len());
    println!("librdkafka: {} records delivered, {failed} failed, {errors} errors", delivered.len());
    println!("Java: {} records received", received.len());
    println!("weir: {} logins, {} refused", weir.logins("ok"), weir.logins("refused"));
    assert_eq!(received.into_iter().map(|line| json!(line)).collect::<Vec<_>>(), delivered);
    assert_eq!((failed, errors, weir.logins("refused")), (0, 0, 0.0), "{:?}", producer.said());

    // The control: the same clients before a weir whose keys stay as they were.
    let fetch = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1]).read().decode())";
    let certs = format!("{issuer}/protocol/openid-connect/certs");
    let python = python_env().unwrap().join("bin/python");
    let fetched = Command::new(python).args(["-c", fetch, &certs]).env("no_proxy", "*").output().unwrap();
    let text = String::from_utf8(fetched.stdout).unwrap();
    let weir = Weir::start_anyhow(&issuer, "{ file: stale.json }", &[("stale.json", &text)]);
    let producer = weir.python(&tokens, "producer", &json!({ "do": "produce", "topic": "orders.stale", "count": 0 }));
    weir.until("records flow", |_| producer.heard("delivered").len() > 3);
    keycloak.admin("rotate");
    weir.until("the client is refused", |weir| weir.logins("refused") > 0.0 && !producer.heard("error").is_empty());
    println!("control, keys in a file: after a rotation the client is refused, as it must be");
    println!("PASS after {} s", begun.elapsed().as_secs());
}
