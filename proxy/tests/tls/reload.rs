//! A listener's certificate is replaced while weir runs, by renaming files and by leading a symbolic link elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use weir_testkit::{Authority, Certificate, Listener};

use crate::errors::walks_row;
use crate::ground::{Client, Weir, cluster, der, place, wait};

/// The issue's: a new certificate serves after it at the latest.
const WITHIN: Duration = Duration::from_secs(2);

struct Stage {
    weir: Weir,
    ca: String,
}

impl Stage {
    fn connect(&self) -> Client {
        Client::connect(&self.weir.address(), &self.ca, &[&TLS13, &TLS12]).unwrap()
    }

    /// New clients see that certificate, at the latest when the time is over.
    #[track_caller]
    fn shows(&self, certificate: &Certificate, since: Instant) {
        let expected = der(&certificate.cert);
        wait("the new certificate", || (self.connect().shown() == expected).then_some(()));
        assert!(since.elapsed() < WITHIN, "after {:?}", since.elapsed());
    }
}

/// Puts a certificate into the place of another as administrators and tools do: written beside it, then renamed.
fn replace(stage: &Stage, folder: &str, certificate: &Certificate) -> Instant {
    let (cert, key) = place(&stage.weir.dir, &format!("{folder}/new"), certificate);
    fs::rename(key, stage.weir.dir.path().join(folder).join("tls.key")).unwrap();
    fs::rename(cert, stage.weir.dir.path().join(folder).join("tls.crt")).unwrap();
    Instant::now()
}

#[test]
fn a_new_certificate_is_shown_within_two_seconds_and_old_connections_stay() {
    let cluster = cluster();
    let issue = || cluster.authority.issue(&["127.0.0.1"]).unwrap();
    let first = issue();
    let weir = Weir::start(
        cluster.kafka.bootstrap(),
        |dir| {
            place(dir, "v1/tls", &first);
            symlink("v1", dir.path().join("current")).unwrap();
        },
        |yaml, ports| {
            let listener = Listener::anonymous("open", &ports.address(0), &["apps"]);
            yaml.listener(listener.line("tls: { cert: current/tls.crt, key: current/tls.key }"))
        },
    );
    weir.becomes_ready();
    let stage = Stage { weir, ca: cluster.authority.pem().to_owned() };
    let mut old = stage.connect();
    old.asks().unwrap();
    assert_eq!(old.shown(), der(&first.cert));

    let second = issue();
    let since = replace(&stage, "v1", &second);
    stage.shows(&second, since);
    old.asks().unwrap();

    // As Kubernetes does with the volumes of secrets.
    let third = issue();
    place(&stage.weir.dir, "v2/tls", &third);
    let at = |name: &str| stage.weir.dir.path().join(name);
    symlink("v2", at("current.new")).unwrap();
    fs::rename(at("current.new"), at("current")).unwrap();
    stage.shows(&third, Instant::now());
    old.asks_the_broker().unwrap();
    assert_eq!(old.shown(), der(&first.cert), "an open connection keeps what it began with");

    // The control: what is wrong changes nothing, and is said once each.
    for (folder, bad, reason) in [
        ("text", Certificate { cert: "no certificate".into(), key: issue().key }, "there is no certificate in"),
        ("mixed", Certificate { cert: issue().cert, key: issue().key }, "does not belong to certificate"),
        ("old", cluster.authority.issue_expired(&["127.0.0.1"]).unwrap(), "expired on 2021-01-02T00:00:00Z"),
    ] {
        let before = stage.weir.lines("certificate.kept").len();
        place(&stage.weir.dir, &format!("{folder}/tls"), &bad);
        symlink(folder, at("current.new")).unwrap();
        fs::rename(at("current.new"), at("current")).unwrap();
        let kept = wait("a complaint", || stage.weir.lines("certificate.kept").get(before).cloned());
        assert!(kept["reason"].as_str().unwrap().contains(reason), "{kept}");
        assert_eq!(kept["where"], "listener/open");
        assert_eq!(stage.connect().shown(), der(&third.cert), "{reason}");
    }
    let fourth = issue();
    let since = replace(&stage, "old", &fourth);
    stage.shows(&fourth, since);
    old.asks().unwrap();
    let complaints = stage.weir.lines("certificate.kept");
    assert_eq!(complaints.len(), 3, "each once");
    walks_row("certificate-kept").holds("nothing", &complaints, |counter| stage.weir.metric(counter));
    let reloads = |result: &str| {
        let name = format!("weir_certificate_reloads_total{{result=\"{result}\",where=\"listener/open\"}}");
        stage.weir.metric(&name)
    };
    assert_eq!((reloads("kept"), reloads("loaded")), (3.0, 3.0));
    assert!(Path::new(&at("current")).exists());
}

#[test]
fn other_files_and_versions_that_the_configuration_names_are_taken() {
    let authority = Authority::new("test CA").unwrap();
    let issue = || authority.issue(&["127.0.0.1"]).unwrap();
    let (first, second) = (issue(), issue());
    let weir = Weir::start(
        "127.0.0.1:1",
        |dir| {
            place(dir, "one", &first);
            place(dir, "two", &second);
        },
        |yaml, ports| {
            let listener = Listener::anonymous("open", &ports.address(0), &["apps"]);
            yaml.listener(listener.line("tls: { cert: one.crt, key: one.key }"))
        },
    );
    let stage = Stage { weir, ca: authority.pem().to_owned() };
    assert_eq!(stage.connect().shown(), der(&first.cert));
    let old = "tls: { cert: one.crt, key: one.key }";
    let yaml = stage.weir.dir.read("weir.yaml").unwrap();
    let write = |tls: &str| drop(stage.weir.dir.write("weir.yaml", yaml.replace(old, tls)).unwrap());
    // The control: half of it is nothing.
    write("tls: { cert: two.crt, key: one.key }");
    wait("a complaint", || (!stage.weir.lines("config.rejected").is_empty()).then_some(()));
    assert_eq!(stage.connect().shown(), der(&first.cert));
    write("tls: { cert: two.crt, key: two.key, min_version: \"1.3\" }");
    wait("the other certificate", || (stage.connect().shown() == der(&second.cert)).then_some(()));
    assert!(Client::connect(&stage.weir.address(), &stage.ca, &[&TLS12]).is_err(), "the version, too");
}

/// The log's entries of changes. A change that could not be carried out is not among them: it is tried before it is recorded.
fn changes(weir: &Weir) -> usize {
    let told = weir.process.options().run(&["audit", "query", "-o", "ndjson", "--limit", "1000"]).unwrap();
    let told = told.success("audit query").unwrap();
    told.stdout.lines().filter(|line| line.contains("\"policy_change\"")).count()
}

#[test]
fn a_certificate_that_cannot_serve_leaves_no_entry_of_its_change() {
    let authority = Authority::new("test CA").unwrap();
    let issue = || authority.issue(&["127.0.0.1"]).unwrap();
    let weir = Weir::start(
        "127.0.0.1:1",
        |dir| {
            place(dir, "one", &issue());
            place(dir, "two", &issue());
            place(dir, "old", &authority.issue_expired(&["127.0.0.1"]).unwrap());
        },
        |yaml, ports| {
            let listener = Listener::anonymous("open", &ports.address(0), &["apps"]);
            yaml.listener(listener.line("tls: { cert: one.crt, key: one.key }"))
        },
    );
    let yaml = weir.dir.read("weir.yaml").unwrap();
    let write = |name: &str| {
        let changed = yaml.replace("cert: one.crt, key: one.key", &format!("cert: {name}.crt, key: {name}.key"));
        assert_ne!(changed, yaml);
        weir.dir.write("weir.yaml", changed + "limits: { idle_timeout: 9m }\n").unwrap();
    };
    // It is read without an error, since at a start it would be taken: only in the place of one that serves it is not.
    write("old");
    let rejected = wait("a complaint", || weir.lines("config.rejected").pop());
    assert!(rejected["detail"].as_str().unwrap().contains("expired on 2021-01-02"), "{rejected}");
    assert_eq!((changes(&weir), weir.lines("config.reloaded").len()), (0, 0));
    // The control: one that can serve is taken, and the change is on record.
    write("two");
    wait("the change", || weir.lines("config.reloaded").pop());
    assert_eq!(changes(&weir), 1);
}
