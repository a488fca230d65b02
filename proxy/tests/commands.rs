//! The commands of the first minutes and of an operator, as the built binary runs them.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_authn::{Algorithm, Identity, IssuerConfig, IssuerKeys, Jwks, parse_client_initial};
use weir_testkit::{Kafka, KafkaOptions, KeyKind, Listener, TokenIssuer, WeirYaml, WorkDir};

fn weir(dir: &WorkDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).current_dir(dir.path()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs it, and gives what it printed when it ends as expected.
fn run(dir: &WorkDir, code: i32, arguments: &[&str]) -> (String, String) {
    let output = weir(dir, arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "weir {}:\n{out}{err}", arguments.join(" "));
    (out, err)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_first_configuration_passes_its_own_checks_and_overwrites_nothing() {
    let dir = WorkDir::new().unwrap();
    let (out, _) = run(&dir, 0, &["init", "--upstream", "localhost:9092"]);
    for next in ["weir check", "weir policy test", "weir serve", "127.0.0.1:9192"] {
        assert!(out.contains(next), "{out}");
    }
    assert_eq!(dir.read("weir.yaml").unwrap().lines().count(), 4);
    run(&dir, 0, &["check", "--strict"]);
    assert!(run(&dir, 0, &["policy", "test"]).0.contains("1 test, all passed"));

    dir.write("weir.yaml", "mine").unwrap();
    let (_, err) = run(&dir, 1, &["init", "--upstream", "localhost:9092"]);
    assert!(err.contains("`weir.yaml` is there already") && err.contains("--force"), "{err}");
    assert_eq!(dir.read("weir.yaml").unwrap(), "mine");
    std::fs::remove_file(dir.path().join("weir.yaml")).unwrap();
    run(&dir, 1, &["init", "--upstream", "localhost:9092"]);
    assert!(!dir.path().join("weir.yaml").exists(), "both files or none");
    run(&dir, 0, &["init", "--upstream", "localhost:9092", "--force"]);
    run(&dir, 0, &["check"]);
    run(&dir, 2, &["init", "--upstream", "localhost"]);
    // A broker where weir itself would listen.
    let (_, err) = run(&dir, 1, &["init", "--upstream", "localhost:9192", "--force"]);
    assert!(err.contains("weir itself"), "{err}");
}

/// Whether a weir with that key set lets the token in, and as whom.
fn login(jwks: &str, token: &str) -> Result<(String, Vec<String>), String> {
    let issuer = IssuerConfig {
        issuer: "weir-dev".to_owned(),
        audience: vec!["kafka".to_owned()],
        algorithms: vec![Algorithm::ES256],
        principal_path: "sub".to_owned(),
        groups_path: "groups".to_owned(),
        keys: IssuerKeys::Given(Jwks::parse(jwks).unwrap()),
    };
    let identity = Identity::new(vec![issuer], Duration::ZERO, Duration::from_secs(3600)).unwrap();
    let initial = parse_client_initial(format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").as_bytes()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let known = identity.verify(&initial, now).map_err(|error| error.to_string())?;
    Ok((known.principal.id, known.principal.groups))
}

#[test]
fn a_token_for_trying_things_is_made_where_the_keys_are_a_file() {
    let dir = WorkDir::new().unwrap();
    run(&dir, 0, &["init", "--upstream", "localhost:9092", "--with-tokens"]);
    run(&dir, 0, &["check"]);
    run(&dir, 0, &["policy", "test"]);
    let jwks = dir.read("dev-jwks.json").unwrap();
    assert_eq!(mode(&dir.path().join("dev-jwks.json.dev-key")), 0o600);

    let arguments = ["token", "--dev", "--group", "checkout", "--group", "b", "--subject", "me", "--expires-in", "10m"];
    let (out, err) = run(&dir, 0, &arguments);
    assert_eq!((out.lines().count(), err.as_str()), (1, ""), "the token alone");
    assert_eq!(login(&jwks, out.trim()).unwrap(), ("me".to_owned(), vec!["checkout".to_owned(), "b".to_owned()]));
    assert_eq!(dir.read("dev-jwks.json").unwrap(), jwks, "the key is there already");

    // Without its key the same token is nothing: the key set is what counts.
    std::fs::remove_file(dir.path().join("dev-jwks.json.dev-key")).unwrap();
    let (other, err) = run(&dir, 0, &["token", "--dev", "--group", "checkout"]);
    assert!(err.contains("added key `weir-dev-"), "{err}");
    assert!(login(&jwks, other.trim()).is_err());
    let both = dir.read("dev-jwks.json").unwrap();
    assert!(login(&both, other.trim()).is_ok() && login(&both, out.trim()).is_ok());
    assert!(weir(&dir, &["token", "--dev", "--expires-in", "1s"]).status.success());

    std::fs::set_permissions(dir.path().join("dev-jwks.json.dev-key"), PermissionsExt::from_mode(0o640)).unwrap();
    assert!(run(&dir, 1, &["token", "--dev"]).1.contains("open to others"));
    for wrong in
        [&["token"] as &[&str], &["token", "--dev", "--expires-in", "2d"], &["token", "--dev", "--expires-in", "0s"]]
    {
        run(&dir, 2, wrong);
    }
}

#[test]
fn a_token_is_not_made_for_issuers_that_sign_themselves() {
    let dir = WorkDir::new().unwrap();
    let config = |jwks: &str| {
        format!(
            "identity: {{ issuers: [ {{ issuer: \"https://sso.test\", audience: [kafka], jwks: {jwks}, groups: a.b }} ] }}\n"
        )
    };
    for jwks in ["discover", "{ url: \"https://sso.test/keys\" }"] {
        dir.write("weir.yaml", config(jwks)).unwrap();
        assert!(run(&dir, 1, &["token", "--dev"]).1.contains("only it can sign"));
    }
    dir.write("weir.yaml", "version: 1\n").unwrap();
    assert!(run(&dir, 1, &["token", "--dev"]).1.contains("no issuer is configured"));
    // What is no key set is left alone.
    dir.write("weir.yaml", config("{ file: keys.json }")).unwrap();
    dir.write("keys.json", "[]").unwrap();
    assert!(run(&dir, 1, &["token", "--dev"]).1.contains("not a key set"));
    assert_eq!(dir.read("keys.json").unwrap(), "[]");
    std::fs::remove_file(dir.path().join("keys.json")).unwrap();
    let (token, _) = run(&dir, 0, &["token", "--dev", "--group", "g"]);
    let claims = token.split('.').nth(1).unwrap();
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["a"]["b"], serde_json::json!(["g"]), "{claims}");
}

const POLICY: &str = "version: 1\naccess: []\n";

#[test]
fn the_configuration_is_shown_as_yaml_that_means_the_same() {
    let dir = WorkDir::new().unwrap();
    WeirYaml::new("localhost:9092")
        .listener(Listener::anonymous("try", "127.0.0.1:9192", &["a"]))
        .policy("p", POLICY)
        .key("links-2026", &[7; 32])
        .write(&dir)
        .unwrap();
    let (shown, _) = run(&dir, 0, &["check", "--show"]);
    assert!(shown.contains("json_depth_max: 64") && shown.contains("file: keys/links-2026"), "{shown}");
    let secret = dir.read("keys/links-2026").unwrap();
    assert!(!shown.contains(secret.trim()), "a secret is shown");
    dir.write("again.yaml", &shown).unwrap();
    assert_eq!(run(&dir, 0, &["check", "--show", "--config", "again.yaml"]).0, shown);
    // The control: what is wrong is not shown.
    dir.write("again.yaml", shown.replace("json_depth_max: 64", "json_depth_max: 0")).unwrap();
    assert!(run(&dir, 1, &["check", "--show", "--config", "again.yaml"]).0.starts_with("error: "));
    run(&dir, 2, &["check", "--show", "--connect"]);
}

#[test]
fn what_the_configuration_names_is_tried() {
    let kafka = Kafka::start(KafkaOptions::default()).unwrap();
    kafka.create_topic("orders", 1).unwrap();
    let dir = WorkDir::new().unwrap();
    let yaml = |bootstrap: &str, ids: &str| {
        WeirYaml::new(bootstrap)
            .node_ids(ids)
            .listener(Listener::anonymous("try", "127.0.0.1:9192", &["a"]))
            .policy("p", POLICY)
            .write(&dir)
            .unwrap();
    };
    yaml(kafka.bootstrap(), "1");
    let (out, _) = run(&dir, 0, &["check", "--connect"]);
    assert!(out.contains("1 broker (1), ") && out.contains("not there yet"), "{out}");
    assert!(out.contains(&format!("broker    1   {}", kafka.bootstrap())), "{out}");
    assert!(!dir.path().join("data").exists(), "nothing is made");
    std::fs::create_dir(dir.path().join("data")).unwrap();
    assert!(run(&dir, 0, &["check", "--connect"]).0.contains("a sync takes "));
    assert_eq!(std::fs::read_dir(dir.path().join("data")).unwrap().count(), 0, "nothing is left behind");

    yaml(kafka.bootstrap(), "2-4");
    let (out, _) = run(&dir, 0, &["check", "--connect"]);
    assert!(out.contains("warning: clients cannot reach broker 1") && out.contains("`upstream.node_ids`"), "{out}");
    run(&dir, 1, &["check", "--connect", "--strict"]);

    // Nobody there; and somebody who is no broker.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let closes = std::thread::spawn(move || drop(silent.accept().unwrap()));
    yaml(&address, "1");
    assert!(run(&dir, 1, &["check", "--connect"]).0.contains("closed the connection"));
    closes.join().unwrap();
    assert!(run(&dir, 1, &["check", "--connect"]).0.contains(&format!("cannot reach {address}")));
}

/// Serves a key set over HTTP, with that `Date`, and gives its address.
fn key_server(jwks: String, date: &'static str) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            let asked = stream.read(&mut [0; 4096]);
            let length = jwks.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{date}connection: close\r\n\r\n");
            drop((asked, stream.write_all(format!("{head}{jwks}").as_bytes())));
        }
    });
    format!("http://{address}/keys")
}

#[test]
fn an_issuer_whose_clock_is_off_is_named() {
    let dir = WorkDir::new().unwrap();
    let issuer = TokenIssuer::new("https://issuer.test", &[("ec-1", KeyKind::P256)]).unwrap();
    let told = |date: &'static str, skew: &str| {
        let jwks = format!("{{ url: \"{}\" }}", key_server(issuer.jwks(), date));
        let yaml = WeirYaml::new("127.0.0.1:1").listener(Listener::anonymous("try", "127.0.0.1:9192", &["a"]));
        let yaml = yaml.issuer_at(issuer.name(), "kafka", &jwks).policy("p", POLICY);
        yaml.section("identity", skew).write(&dir).unwrap();
        // No broker is there: that is an error of its own.
        run(&dir, 1, &["check", "--connect"]).0
    };
    let out = told("date: Fri, 01 Jan 2021 00:00:00 GMT\r\n", "clock_skew: 5m");
    assert!(
        out.contains("warning: issuer `https://issuer.test`: its clock is ") && out.contains(" s behind, more"),
        "{out}"
    );
    let out = told("date: Tue, 01 Jan 2999 00:00:00 GMT\r\n", "clock_skew: 5m");
    assert!(out.contains(" s ahead, more than `identity.clock_skew`"), "{out}");
    // The controls: one that is allowed to be off, and one that does not say.
    let out = told("date: Fri, 01 Jan 2021 00:00:00 GMT\r\n", "clock_skew: 3650d");
    assert!(out.contains(" s behind") && !out.contains("more than `identity.clock_skew`"), "{out}");
    let out = told("", "clock_skew: 5m");
    assert!(out.contains("it does not tell the time") && !out.contains("its clock"), "{out}");
}
