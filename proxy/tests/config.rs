//! What `weir.yaml` becomes, and what each mistake in it is answered with.
#![expect(clippy::unwrap_used, reason = "test code")]

#[path = "config/auth.rs"]
mod auth;
#[path = "config/tls.rs"]
mod tls;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use weir::config::{
    Anchor, Config, Digest, Durability, KeyPlace, ListenerAuth, LogFormat, LogLevel, RetainConfig, Surroundings, Then,
    load, load_and_compile,
};
use weir_yaml::Problems;

/// Everything that this build supports.
const WHOLE: &str = r#"version: 1
data_dir: data
upstream:
  bootstrap: ["kafka-1.internal:9092", "[2001:db8::1]:9092"]
  node_ids: ["0-2", "10"]
  connect_timeout: 3s
listeners:
  - name: apps
    bind: "0.0.0.0:9192"
    advertise: "kafka.example.com:9192"
    auth: [oauthbearer]
    insecure: true
  - name: try
    bind: "127.0.0.1:19092"
    auth: { anonymous: { groups: [try, testers] } }
identity:
  clock_skew: 10s
  session_max: 30m
  issuers:
    - issuer: "https://sso.example.com/realms/kafka"
      audience: [kafka]
      jwks: { file: jwks.json }
      algorithms: [ES256]
      principal: email
      groups: realm_access.roles
policies: ["policies/*.yaml"]
keys:
  - { id: links-2026, use: hash, file: links.key }
  - { id: links-2025, use: hash, env: LINKS_2025, retired: true }
audit:
  durability: outcome
  topics:
    - { match: ["clicks.*"], durability: async, digest: none }
    - { match: ["clicks.paid"], durability: strict }
  digest: batch
  hold_max: 5s
limits:
  connections_max: 1
  connections_per_address_max: 2
  handshakes_max: 3
  frame_bytes_max: { before_login: 4KiB, after: 5MiB }
  inflight_requests_max: 6
  fetch_bytes_max: 7KiB
  memory_max: 8MiB
  batch_bytes_max: 9MiB
  inflate_ratio_max: 10
  records_per_batch_max: 11
  headers_per_record_max: 12
  json_depth_max: 13
  idle_timeout: 14m
  drain_timeout: 15s
  login_timeout: 16s
  body_timeout: 17s
  key_bytes_max: 18KiB
  value_bytes_max: 19KiB
  header_name_bytes_max: 20B
admin: { metrics: "0.0.0.0:9990" }
log: { level: debug, format: json }
"#;

#[test]
fn what_brokers_take_in_one_batch_can_be_said() {
    let line = "  connect_timeout: 3s\n";
    let with = |value: &str| format!("{line}  message_bytes_max: {value}\n");
    let (config, problems) = load_text(&folder(), &WHOLE.replacen(line, &with("2MiB"), 1));
    assert_eq!(problems, [""; 0]);
    assert_eq!(config.unwrap().upstream.message_bytes_max, 2 << 20);
    let (config, _) = load_text(&folder(), WHOLE);
    assert_eq!(config.unwrap().upstream.message_bytes_max, 1_048_588, "Kafka's own default");
    let place = "| weir.yaml:7:22";
    let zero = "error: `message_bytes_max` is zero, so nothing would work";
    check(line, &with("0B"), &[&format!("{zero} {place} leave it out to have the default")]);
    let large = "error: `message_bytes_max` is too large";
    check(line, &with("2GiB"), &[&format!("{large} {place} at most 2147483647B")]);
}

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A folder with the files that [`WHOLE`] names.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("policies")).unwrap();
    fs::copy("tests/check/policies/good.yaml", path("policies/good.yaml")).unwrap();
    fs::copy("tests/check/jwks.json", path("jwks.json")).unwrap();
    write_key(&path("links.key"), KEY, 0o640);
    folder
}

fn write_key(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn load_text(folder: &TempDir, text: &str) -> (Option<Config>, Vec<String>) {
    let path = folder.path().join("weir.yaml");
    fs::write(&path, text).unwrap();
    let mut problems = Problems::default();
    let variable = |name: &str| match name {
        "LINKS_2025" => Some(KEY.to_owned()),
        "KAFKA_PASSWORD" => Some("must-not-be-printed".to_owned()),
        "KAFKA_PASSWORDS" => Some("must-not-be-printed\nmust-not-be-printed".to_owned()),
        _ => None,
    };
    let surroundings = Surroundings { variable: &variable, root: false };
    let config = load_and_compile(&path, &surroundings, &mut problems).map(|(config, _)| config);
    let prefix = format!("{}/", folder.path().display());
    let shown = problems.iter().map(|problem| problem.to_string().replace(&prefix, "").replace("\n ", " |"));
    (config, shown.collect())
}

/// Loads [`WHOLE`] with `from` replaced by `to`, in a folder changed by `prepare`.
fn check_in(prepare: impl Fn(&Path), from: &str, to: &str, expected: &[&str]) {
    assert!(WHOLE.contains(from), "{from}");
    let folder = folder();
    prepare(folder.path());
    let (config, problems) = load_text(&folder, &WHOLE.replacen(from, to, 1));
    let problems: Vec<String> =
        problems.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(problems, expected, "{to}");
    assert_eq!(config.is_some(), expected.iter().all(|problem| problem.starts_with("warning")), "{to}");
}

fn check(from: &str, to: &str, expected: &[&str]) {
    check_in(|_| {}, from, to, expected);
}

#[test]
fn everything_supported_is_read() {
    let folder = folder();
    let (config, problems) = load_text(&folder, WHOLE);
    assert_eq!(problems, [""; 0]);
    let config = config.unwrap();
    assert_eq!(config.data_dir, folder.path().join("data"));
    assert_eq!(
        config.upstream.bootstrap.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["kafka-1.internal:9092", "[2001:db8::1]:9092"]
    );
    assert_eq!(config.upstream.node_ids.iter().collect::<Vec<_>>(), [0, 1, 2, 10]);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(3));
    let [apps, try_it] = config.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!((apps.name.as_str(), apps.bind.to_string().as_str(), apps.insecure), ("apps", "0.0.0.0:9192", true));
    assert_eq!(
        (apps.advertise.to_string().as_str(), &apps.auth),
        ("kafka.example.com:9192", &ListenerAuth::Oauthbearer)
    );
    assert_eq!((try_it.advertise.to_string().as_str(), try_it.insecure), ("127.0.0.1:19092", false));
    assert_eq!(try_it.auth, ListenerAuth::Anonymous { groups: vec!["try".into(), "testers".into()] });
    let identity = &config.identity;
    assert_eq!((identity.clock_skew, identity.session_max), (Duration::from_secs(10), Duration::from_secs(1800)));
    assert_eq!(identity.keys_age_max, Duration::from_secs(24 * 3600));
    assert_eq!(identity.issuers[0].audience, ["kafka"]);
    assert_eq!(
        (identity.issuers[0].principal_path.as_str(), identity.issuers[0].groups_path.as_str()),
        ("email", "realm_access.roles")
    );
    identity.build().unwrap();
    assert_eq!(config.policies.len(), 1);
    assert_eq!(
        config.keys.iter().map(|key| (key.id.as_str(), key.retired)).collect::<Vec<_>>(),
        [("links-2026", false), ("links-2025", true)]
    );
    assert_eq!(config.keys[0].secret, config.keys[1].secret);
    assert_eq!(config.keys[0].secret[31], 31);
    assert_eq!(config.audit.hold_max, Duration::from_secs(5));
    assert_eq!(config.audit.of_topic("orders"), (Durability::Outcome, Digest::Batch));
    assert_eq!(config.audit.of_topic("clicks.free"), (Durability::Async, Digest::None));
    assert_eq!(config.audit.of_topic("clicks.paid"), (Durability::Strict, Digest::None), "the surest that matches");
    assert_eq!(config.admin.metrics.to_string(), "0.0.0.0:9990");
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
}

#[test]
fn limits_are_read_each_into_its_place() {
    let limits = load_text(&folder(), WHOLE).0.unwrap().limits;
    assert_eq!(
        [
            limits.connections_max,
            limits.connections_per_address_max,
            limits.handshakes_max,
            limits.inflight_requests_max
        ],
        [1, 2, 3, 6]
    );
    assert_eq!([limits.frame_bytes_max.before_login, limits.frame_bytes_max.after], [4 << 10, 5 << 20]);
    assert_eq!([limits.fetch_bytes_max, limits.memory_max, limits.batch_bytes_max], [7 << 10, 8 << 20, 9 << 20]);
    assert_eq!(
        [limits.inflate_ratio_max, limits.records_per_batch_max, limits.headers_per_record_max, limits.json_depth_max],
        [10, 11, 12, 13]
    );
    assert_eq!([limits.key_bytes_max, limits.value_bytes_max, limits.header_name_bytes_max], [18 << 10, 19 << 10, 20]);
    let timeouts = [limits.idle_timeout, limits.drain_timeout, limits.login_timeout, limits.body_timeout];
    assert_eq!(timeouts.map(|timeout| timeout.as_secs()), [14 * 60, 15, 16, 17]);
}

#[test]
fn four_lines_are_enough() {
    let mut problems = Problems::default();
    let config = load(Path::new("tests/check/good.yaml"), &mut problems).unwrap();
    assert!(problems.is_empty());
    assert_eq!(config.upstream.node_ids.len(), 10);
    assert_eq!(config.listeners[0].auth, ListenerAuth::Anonymous { groups: vec!["anonymous".into()] });
    assert_eq!(config.audit.of_topic("orders"), (Durability::Strict, Digest::Batch));
    assert_eq!(config.limits, weir::config::Limits::default());
    assert_eq!(config.admin.metrics.to_string(), "127.0.0.1:9190");
}

#[test]
fn checkpoints_are_read_and_their_key_is_never_in_the_file_itself() {
    let with = |lines: &str| WHOLE.replacen("  hold_max: 5s\n", &format!("  hold_max: 5s\n{lines}"), 1);
    let given = "  checkpoint: { every: 500ms, idle: 2m, key: { file: links.key } }\n  anchors: []\n";
    let (config, problems) = load_text(&folder(), &with(given));
    assert_eq!(problems, [""; 0]);
    let audit = config.unwrap().audit;
    assert_eq!((audit.checkpoint.every, audit.checkpoint.idle), (Duration::from_millis(500), Duration::from_secs(120)));
    assert_eq!((audit.checkpoint.key.map(|key| key[31]), audit.anchors.len()), (Some(31), 0));
    assert!(!format!("{:?}", audit.checkpoint).contains("31"));
    let (config, _) = load_text(&folder(), &with(""));
    let audit = config.unwrap().audit;
    assert_eq!((audit.checkpoint.every, audit.checkpoint.idle), (Duration::from_secs(1), Duration::from_secs(60)));
    assert_eq!((audit.checkpoint.key, audit.anchors), (None, vec![Anchor::Stdout]));
    for (lines, expected) in [
        ("  checkpoint: { every: 99ms }\n", "`audit.checkpoint.every` is out of range"),
        ("  checkpoint: { every: 3601s }\n", "`audit.checkpoint.every` is out of range"),
        ("  checkpoint: { idle: 999ms }\n", "`audit.checkpoint.idle` is out of range"),
        ("  checkpoint: { idle: 86401s }\n", "`audit.checkpoint.idle` is out of range"),
        ("  checkpoint: { keys: 1 }\n", "unknown key `keys`"),
        (
            "  checkpoint: { key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= }\n",
            "`audit.checkpoint.key` is a literal",
        ),
        ("  checkpoint: { key: { file: weir.yaml } }\n", "weir.yaml"),
        ("  checkpoint: { key: { env: ABSENT } }\n", "is not set"),
        ("  checkpoint: { key: {} }\n", "a key needs `file` or `env`"),
        ("  anchors: [stdout, stdout]\n", "`stdout` is listed twice"),
        ("  anchors: [stderr]\n", "an entry of `audit.anchors` is unknown"),
        ("  anchors: [{ kafka: { topic: a } }]\n", "`kafka` is not supported yet"),
        ("  anchors: stdout\n", "audit.anchors"),
    ] {
        let (config, problems) = load_text(&folder(), &with(lines));
        let [problem] = problems.as_slice() else { panic!("{lines}: {problems:?}") };
        assert!(config.is_none() && problem.contains(expected) && !problem.contains("AAEC"), "{lines}: {problem}");
    }
    for edge in ["every: 100ms", "every: 1h", "idle: 1s", "idle: 1d"] {
        assert!(load_text(&folder(), &with(&format!("  checkpoint: {{ {edge} }}\n"))).0.is_some(), "{edge}");
    }
}

#[test]
fn data_lies_beside_the_configuration_unless_root_runs_weir() {
    let data_dir = |root| {
        let surroundings = Surroundings { variable: &|_| None, root };
        let path = Path::new("tests/check/good.yaml");
        load_and_compile(path, &surroundings, &mut Problems::default()).unwrap().0.data_dir
    };
    assert_eq!(data_dir(false), Path::new("tests/check/weir-data"));
    assert_eq!(data_dir(true), Path::new("/var/lib/weir"));
}

#[test]
fn plaintext_off_loopback_must_be_meant() {
    let expected = "error: `bind` of listener `apps` is off loopback and has no TLS \
                    | weir.yaml:9:11 tokens cross the network in clear text; if that is meant, add insecure: true";
    check("    insecure: true\n", "", &[expected]);
    check("insecure: true", "insecure: false", &[expected]);
    check(
        "bind: \"127.0.0.1:19092\"",
        "bind: \"192.0.2.1:19092\"",
        &["error: `bind` of listener `try` is off loopback and has no TLS \
           | weir.yaml:14:11 anybody who reaches it comes in; if that is meant, add insecure: true"],
    );
    check("bind: \"127.0.0.1:19092\"", "bind: \"[::1]:19092\"", &[]);
    check("bind: \"127.0.0.1:19092\"", "bind: \"192.0.2.1:19092\"\n    insecure: true", &[]);
}

#[test]
fn clients_must_be_told_an_address() {
    check(
        "    advertise: \"kafka.example.com:9192\"\n",
        "",
        &["error: `advertise` is required, because `bind` is 0.0.0.0 \
           | weir.yaml:9:11 say which name and port clients are to use"],
    );
    check(
        "kafka.example.com:9192",
        "[::]:9192",
        &["error: `advertise` is ::, where no client can connect to \
           | weir.yaml:10:16 say which name and port clients are to use"],
    );
}

#[test]
fn ports_must_not_meet() {
    check(
        "127.0.0.1:19092",
        "127.0.0.1:9195",
        &["error: port 9195 is used twice \
           | weir.yaml:14:11 broker 2 of listener `apps` and the bootstrap of `try`; move `try` above 9196"],
    );
    check("127.0.0.1:19092", "127.0.0.1:9197", &[]);
    check(
        "127.0.0.1:19092",
        "127.0.0.1:9190",
        &["error: port 9192 is used twice \
           | weir.yaml:14:11 the bootstrap of listener `apps` and broker 1 of `try`; move `try` above 9196"],
    );
    check(
        "metrics: \"0.0.0.0:9990\"",
        "metrics: \"127.0.0.1:9196\"",
        &["error: port 9196 is used twice \
           | weir.yaml:57:19 broker 10 of listener `apps` and `admin.metrics`; move one of them"],
    );
    check(
        "127.0.0.1:19092\"",
        "127.0.0.1:19092\"\n    advertise: \"KAFKA.example.com:9196\"",
        &["error: port 9196 of `KAFKA.example.com` is advertised twice \
           | weir.yaml:15:16 by `apps` and by `try`; move `try` above 9196"],
    );
    check(
        "127.0.0.1:19092",
        "127.0.0.1:65533",
        &["error: `bind` of listener `try` leaves no ports for its brokers \
           | weir.yaml:14:11 4 ports follow it, one for each of `node_ids`: at most 65531"],
    );
}

#[test]
fn weir_is_not_its_own_upstream() {
    for own in ["localhost:9192", "127.0.0.1:9195"] {
        let message =
            format!("error: upstream `{own}` is weir itself, listener `apps` | weir.yaml:4:15 name a Kafka broker");
        check("kafka-1.internal:9092", own, &[&message]);
    }
    check("kafka-1.internal:9092", "localhost:9092", &[]);
}

#[test]
fn limits_must_fit_together_and_mean_something() {
    check(
        "memory_max: 8MiB",
        "memory_max: 4MiB",
        &["error: `memory_max` is 4MiB, less than one frame \
           | weir.yaml:44:15 at least 5MiB, which is `frame_bytes_max.after`; or lower that"],
    );
    check("memory_max: 8MiB", "memory_max: 5MiB", &[]);
    check(
        "fetch_bytes_max: 7KiB",
        "fetch_bytes_max: 9MiB",
        &["error: `fetch_bytes_max` is 9MiB, more than `memory_max` | weir.yaml:43:20 at most 8MiB"],
    );
    check(
        "before_login: 4KiB",
        "before_login: 6MiB",
        &["error: `frame_bytes_max.after` is 5MiB, less than before login \
           | weir.yaml:41:20 at least 6MiB, which is `before_login`"],
    );
    check(
        "batch_bytes_max: 9MiB",
        "batch_bytes_max: 0B",
        &["error: `batch_bytes_max` is zero, so nothing would work | weir.yaml:45:20 leave it out to have the default"],
    );
    check(
        "batch_bytes_max: 9MiB",
        "batch_bytes_max: 2GiB",
        &["error: `batch_bytes_max` is too large | weir.yaml:45:20 at most 2147483647B"],
    );
    check(
        "idle_timeout: 14m",
        "idle_timeout: 0s",
        &["error: `idle_timeout` is zero, so nothing would work | weir.yaml:50:17 leave it out to have the default"],
    );
}

#[test]
fn node_ids_must_not_overlap() {
    check(
        r#"["0-2", "10"]"#,
        r#"["0-2", "2-5"]"#,
        &["error: node id 2 is listed twice | weir.yaml:5:21 each broker has one port"],
    );
    check(r#"["0-2", "10"]"#, "[0, 1]", &[]);
    for wrong in ["[5-1]", "[-1]", "[a]", "[2147483648]", "[1.5]"] {
        let expected =
            r#"error: this is not a node id or a range of them | weir.yaml:5:14 as in node_ids: ["0-9", "20"]"#;
        check(r#"["0-2", "10"]"#, wrong, &[expected]);
    }
    check(
        r#"["0-2", "10"]"#,
        "[0-2147483647]",
        &["error: more than 1000 node ids | weir.yaml:5:14 each of them is a port of each listener"],
    );
}

#[test]
fn keys_must_be_kept_from_others() {
    let with = |text: &'static str, mode| move |folder: &Path| write_key(&folder.join("links.key"), text, mode);
    for mode in [0o644, 0o604, 0o602] {
        let expected = "error: key file `links.key` is open to every user of this machine \
                        | weir.yaml:28:40 its owner and group are enough: chmod o-rwx links.key";
        check_in(with(KEY, mode), "version: 1", "version: 1", &[expected]);
    }
    check_in(with(KEY, 0o400), "version: 1", "version: 1", &[]);
    let expected =
        "error: this key is not 32 bytes in base64 | weir.yaml:28:40 make one: head -c 32 /dev/urandom | base64";
    for text in ["", "AAAA", "not base64 at all"] {
        check_in(with(text, 0o600), "version: 1", "version: 1", &[expected]);
    }
    let gone = |folder: &Path| fs::remove_file(folder.join("links.key")).unwrap();
    check_in(
        gone,
        "version: 1",
        "version: 1",
        &["error: cannot read key file `links.key`: there is no such file | weir.yaml:28:40"],
    );
    check(
        "LINKS_2025",
        "LINKS_2024",
        &["error: the environment variable that `env` names is not set | weir.yaml:29:39"],
    );
}

#[test]
fn issuers_must_be_able_to_accept_a_token() {
    let jwks = |text: &'static str| move |folder: &Path| fs::write(folder.join("jwks.json"), text).unwrap();
    let gone = |folder: &Path| fs::remove_file(folder.join("jwks.json")).unwrap();
    check_in(
        gone,
        "version: 1",
        "version: 1",
        &["error: cannot read the key set `jwks.json`: there is no such file \
           | weir.yaml:22:21 save the issuer's key set (its `jwks_uri`) there"],
    );
    check_in(
        jwks("{}"),
        "version: 1",
        "version: 1",
        &[
            "error: key set `jwks.json`: this is not a JSON web key set: it must be an object with a list `keys` | weir.yaml:22:21",
        ],
    );
    check_in(
        jwks(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
        "version: 1",
        "version: 1",
        &[
            "error: key set `jwks.json`: key 1 of the set is a shared secret (`oct`, HS256): only public keys are accepted \
           | weir.yaml:22:21",
        ],
    );
    check(
        "algorithms: [ES256]",
        "algorithms: [RS256]",
        &[
            "error: issuer `https://sso.example.com/realms/kafka` publishes no key for the algorithms that are allowed for it \
           | weir.yaml:22:13",
        ],
    );
    let section = WHOLE.split_once("identity:").unwrap().1.split_once("policies:").unwrap().0;
    check(
        &format!("identity:{section}"),
        "",
        &["error: listener `apps` asks for tokens, and no issuer is configured \
           | weir.yaml:11:11 add identity: { issuers: [ … ] }"],
    );
}

#[test]
fn keys_are_fetched_from_where_the_configuration_says() {
    let sources = |jwks: &str| {
        let folder = folder();
        let authority = rcgen::generate_simple_self_signed(["sso.example.com".to_owned()]).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
        let text = WHOLE.replacen("jwks: { file: jwks.json }", &format!("jwks: {jwks}"), 1);
        let (config, problems) = load_text(&folder, &text);
        assert_eq!(problems, [""; 0], "{jwks}");
        let identity = config.unwrap().identity;
        identity.build().unwrap();
        let [source] = identity.key_sources.as_slice() else { panic!("one source for {jwks}") };
        assert_eq!(source.issuer, "https://sso.example.com/realms/kafka");
        let place = match &source.place {
            KeyPlace::Discover(url) => format!("discover {url}"),
            KeyPlace::Url(url) => format!("url {url}"),
        };
        (place, source.ca.as_ref().map(Vec::len))
    };
    let document = "discover https://sso.example.com/realms/kafka/.well-known/openid-configuration".to_owned();
    assert_eq!(sources("discover"), (document.clone(), None));
    assert_eq!(sources("{ discover: true, ca: ca.pem }"), (document, Some(1)));
    let url = |url: &str| format!("url {url}");
    assert_eq!(sources("{ url: \"https://keys.example.com/k\" }"), (url("https://keys.example.com/k"), None));
    let local = "{ url: \"http://localhost:8080/k\", ca: ca.pem }";
    assert_eq!(sources(local), (url("http://localhost:8080/k"), Some(1)));
    let folder = folder();
    assert_eq!(load_text(&folder, WHOLE).0.unwrap().identity.key_sources, [], "keys in a file are not fetched");
}

#[test]
fn keys_are_not_fetched_from_where_they_could_be_anybodys() {
    let https = "who answers in its place could let anybody in; plain http is for this machine alone (localhost)";
    let jwks = "jwks: { file: jwks.json }";
    let bad = |to: &str, message: &str, place: &str, cure: &str| {
        check(jwks, &format!("jwks: {to}"), &[&format!("error: {message} | weir.yaml:{place} {cure}")]);
    };
    let places = "as in jwks: discover or jwks: { url: … } or jwks: { file: … }";
    bad("{ url: \"http://sso.example.com/jwks\" }", "`jwks.url` is not https", "22:20", https);
    bad("{ url: \"ftp://localhost/jwks\" }", "`jwks.url` is not https", "22:20", https);
    let cure = "as in url: \"https://sso.example.com/jwks\"";
    bad("{ url: \"sso.example.com\" }", "`jwks.url` is not an address", "22:20", cure);
    let named = "{ url: \"https://me:secret@sso.example.com/jwks\" }";
    bad(named, "`jwks.url` has a name or a password in it", "22:20", "public keys need none");
    bad("{}", "`jwks` does not say where the keys are", "22:13", places);
    bad("{ discover: false }", "`discover` is false, so nothing says where the keys are", "22:25", places);
    let both = "{ discover: true, file: jwks.json }";
    bad(both, "`jwks` names more than one place", "22:13", "one of `discover`, `url` and `file`");
    bad("{ file: jwks.json, ca: ca.pem }", "`ca` says nothing about a file", "22:36", "remove it");
    let pem = "a PEM file with the certificate of the authority that signed the issuer's";
    let absent = "{ discover: true, ca: absent.pem }";
    bad(absent, "cannot read the certificates `absent.pem`: there is no such file", "22:35", pem);
    let no_pem = "{ discover: true, ca: jwks.json }";
    bad(no_pem, "`jwks.json` holds no certificates that can be read", "22:35", pem);
    let issuer = "issuer: \"https://sso.example.com/realms/kafka\"";
    let discovered = |name: &str, message: &str, cure: &str| {
        let text = WHOLE.replacen(jwks, "jwks: discover", 1).replacen(issuer, &format!("issuer: \"{name}\""), 1);
        let (config, problems) = load_text(&folder(), &text);
        let problems: Vec<String> =
            problems.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(problems, [format!("error: {message} | weir.yaml:20:15 {cure}")], "{name}");
        assert!(config.is_none());
    };
    let instead = "name the keys instead: jwks: { url: … } or { file: … }";
    for name in
        ["checkout", "urn:example:issuer", "https://sso.example.com/?realm=kafka", "https://a:b@sso.example.com"]
    {
        discovered(name, "`discover` needs an `issuer` that is an address", instead);
    }
    discovered("http://sso.example.com", "`discover` needs an `issuer` that is https", https);
}

#[test]
fn a_configuration_is_one_mapping() {
    let check = |text: &str, expected: &[&str]| {
        let (config, problems) = load_text(&folder(), text);
        assert!(config.is_none());
        assert_eq!(problems, expected, "{text}");
    };
    check("", &["error: `weir.yaml` must be one YAML document, it has 0"]);
    check("a: 1\n---\nb: 2\n", &["error: `weir.yaml` must be one YAML document, it has 2 | weir.yaml:3:1"]);
    check("- 1\n", &["error: the configuration must be a mapping, not a list | weir.yaml:1:1"]);
}

#[test]
fn debug_shows_no_secret() {
    let config = load_text(&folder(), WHOLE).0.unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("links-2026"));
    assert!(!shown.contains("28, 29, 30, 31") && !shown.contains("GBkaGxwdHh8"));
}

/// Everything of a configuration but the text that it was made from.
fn parsed(config: &Config) -> String {
    format!("{config:?}")
}

/// The configuration that `text` means, shown, must mean the same.
fn check_shown(text: &str, expected: &[&str], absent: &[&str]) {
    let folder = folder();
    let (config, problems) = load_text(&folder, text);
    assert_eq!(problems, [""; 0]);
    let config = config.unwrap();
    let shown = config.effective.to_string();
    for line in expected {
        assert!(shown.lines().any(|shown| shown.trim() == *line), "{line} is not in\n{shown}");
    }
    for text in absent {
        assert!(!shown.contains(text), "{text}");
    }
    let (again, problems) = load_text(&folder, &shown);
    assert_eq!(problems, [""; 0], "{shown}");
    let again = again.unwrap();
    assert_eq!(parsed(&again), parsed(&config), "{shown}");
    assert_eq!(again.effective.to_string(), shown);
    assert_eq!(again.effective.changes(&config.effective), [""; 0]);
}

#[test]
fn a_configuration_is_shown_with_every_default_and_without_a_secret() {
    check_shown(
        WHOLE,
        &[
            "data_dir: data",
            "- { id: links-2026, use: hash, file: links.key, retired: false }",
            "clock_skew: 10s",
            "connect_timeout: 3s",
            "version: 1",
        ],
        &[KEY],
    );
    let minimal = "upstream: { bootstrap: [\"localhost:9092\"] }\npolicies: [\"policies/*.yaml\"]\n\
                   listeners: [ { name: try, bind: \"127.0.0.1:9192\", auth: { anonymous: {} } } ]\n\
                   keys: [ { id: links-2026, use: hash, file: links.key } ]\n";
    check_shown(
        minimal,
        &[
            "data_dir: weir-data",
            "advertise: \"127.0.0.1:9192\"",
            "auth: { anonymous: { groups: [anonymous] } }",
            "json_depth_max: 64",
        ],
        &[KEY],
    );
}

#[test]
fn a_default_that_is_shown_is_the_one_in_force() {
    // The control of the comparison above: another value of any default is another configuration.
    let folder = folder();
    let minimal = "upstream: { bootstrap: [\"localhost:9092\"] }\npolicies: [\"policies/*.yaml\"]\n\
                   listeners: [ { name: try, bind: \"127.0.0.1:9192\", auth: { anonymous: {} } } ]\n\
                   keys: [ { id: links-2026, use: hash, file: links.key } ]\n";
    let config = load_text(&folder, minimal).0.unwrap();
    let other = load_text(&folder, &format!("{minimal}limits: {{ json_depth_max: 63 }}\n")).0.unwrap();
    assert_ne!(parsed(&other), parsed(&config));
    assert_eq!(other.effective.changes(&config.effective), ["limits.json_depth_max"]);
    let other = load_text(&folder, &minimal.replace("9192", "9193")).0.unwrap();
    assert_eq!(config.effective.changes(&other.effective), ["listeners.try.advertise", "listeners.try.bind"]);
}

#[test]
fn retention_is_whole_or_refused() {
    let retain = |value: &str| {
        let (config, problems) = load_text(&folder(), &WHOLE.replacen("hold_max: 5s", &format!("retain: {value}"), 1));
        assert_eq!(problems, [""; 0], "{value}");
        config.unwrap().audit.retain
    };
    assert_eq!(retain("{}"), RetainConfig { days: None, bytes_max: None, reserve: 64 << 20, then: Then::Stop });
    let whole = RetainConfig { days: Some(90), bytes_max: Some(200 << 30), reserve: 32 << 20, then: Then::Prune };
    assert_eq!(retain("{ days: 90, bytes_max: 200GiB, reserve: 32MiB, then: prune }"), whole);
    let least = RetainConfig { days: None, bytes_max: Some(32 << 20), reserve: 4 << 20, then: Then::Stop };
    assert_eq!(retain("{ bytes_max: 32MiB, reserve: 4MiB }"), least);

    let line = WHOLE.lines().position(|line| line.contains("hold_max")).unwrap() + 1;
    let check = |value: &str, what: &str, column: u32, cure: &str| {
        let expected = format!("{what} | weir.yaml:{line}:{column} {cure}");
        check("hold_max: 5s", &format!("retain: {value}"), &[&expected]);
    };
    let idle = "error: `then: prune` without a limit prunes nothing";
    check("{ then: prune }", idle, 11, "add days: 90 or bytes_max: 200GiB");
    check("{ bytes_max: 31MiB }", "error: `audit.retain.bytes_max` is too small", 24, "at least 32MiB");
    check("{ reserve: 4095KiB }", "error: `audit.retain.reserve` is too small", 22, "at least 4MiB");
    check("{ then: rotate }", "error: `audit.retain.then` has an unknown value", 19, "one of stop, prune");
    check("{ day: 90 }", "error: unknown key `day`", 13, "did you mean `days`?");
    let kept = "warning: `days` has no effect with `then: stop`: every entry is kept";
    check("{ days: 90 }", kept, 19, "remove it, or say then: prune");
}

#[test]
fn keys_may_not_become_old_before_they_can_be_fetched_again() {
    let check = |age: &str, expected: &[&str]| {
        check("session_max: 30m", &format!("session_max: 30m\n  keys_age_max: {age}"), expected);
    };
    check("1h", &[]);
    let warning = "warning: `keys_age_max` is less than an hour | weir.yaml:AT:17 an issuer that is away for so long keeps everybody out";
    let error =
        "error: `keys_age_max` is too short | weir.yaml:AT:17 at least 10s: keys are fetched twice in this time";
    let line = 2 + WHOLE.lines().position(|line| line.trim() == "session_max: 30m").unwrap();
    let at = |text: &str| text.replace("AT", &line.to_string());
    check("3599s", &[at(warning).as_str()]);
    check("10s", &[at(warning).as_str()]);
    check("9s", &[at(error).as_str()]);
    check("0s", &[at(error).as_str()]);
}
