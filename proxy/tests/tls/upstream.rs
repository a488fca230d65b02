//! What is wrong with a broker's certificate, each with one clear line; and authorities that change while weir runs.

use weir_testkit::{Authority, Listener};

use crate::errors::walks_row;
use crate::ground::{Weir, cluster, place};

fn open(weir: weir_testkit::WeirYaml, ports: &weir_testkit::PortBlock) -> weir_testkit::WeirYaml {
    weir.listener(Listener::anonymous("open", &ports.address(0), &["apps"]))
}

#[test]
fn each_thing_that_is_wrong_with_a_broker_has_a_line_of_its_own() {
    let cluster = cluster();
    let (plain, named, old, tls) =
        (cluster.kafka.bootstrap(), cluster.named.as_str(), cluster.old.as_str(), cluster.tls.as_str());
    for (broker, expected) in [
        (plain, "it closed the connection when TLS began; is that a port without TLS?"),
        (named, "its certificate is not for `127.0.0.1` but for kafka.internal; set `upstream.tls.server_name`"),
        (old, "its certificate expired on 2021-01-02T00:00:00Z"),
        // weir shows none, and this one wants one.
        (tls, "`upstream.tls"),
    ] {
        let weir = Weir::start(
            broker,
            |dir| drop(dir.write("ca.pem", cluster.authority.pem()).unwrap()),
            |yaml, ports| open(yaml.upstream("tls: { ca: ca.pem }"), ports),
        );
        let line = weir.line("cluster.unreachable", &[("broker", broker)]);
        let error = line["error"].as_str().unwrap();
        assert!(error.contains(expected), "{line}");
        walks_row("broker-certificate").holds("closed", std::slice::from_ref(&line), |counter| weir.metric(counter));
        // Whoever asks before serving is told the same.
        let config = weir.dir.path().join("weir.yaml").display().to_string();
        let checked = weir.process.options().run(&["check", "--connect", "--config", &config]).unwrap();
        assert_eq!(checked.status.code(), Some(1), "{}", checked.stdout);
        assert!(checked.stdout.contains(expected), "{}", checked.stdout);
        assert!(weir.page("/readyz").starts_with("HTTP/1.1 503"));
        assert_eq!(weir.lines("cluster.unreachable").len(), 1, "one line: {error}");
    }
}

#[test]
fn an_authority_that_is_wrong_is_named_and_may_be_replaced() {
    let cluster = cluster();
    let weir = Weir::start(
        &cluster.named,
        |dir| {
            dir.write("ca.pem", Authority::new("another").unwrap().pem()).unwrap();
            place(dir, "weir", &cluster.authority.issue(&["weir"]).unwrap());
        },
        |yaml, ports| {
            let tls = "tls: { ca: ca.pem, cert: weir.crt, key: weir.key, server_name: kafka.internal }";
            open(yaml.upstream(tls), ports)
        },
    );
    let line = weir.line("cluster.unreachable", &[("broker", &cluster.named)]);
    let error = line["error"].as_str().unwrap();
    let nobody = "signed by nobody whom weir trusts; is `upstream.tls.ca` the authority";
    assert!(error.contains(nobody), "{error}");
    let config = weir.dir.path().join("weir.yaml").display().to_string();
    let check = || weir.process.options().run(&["check", "--connect", "--config", &config]).unwrap();
    assert!(check().stdout.contains(nobody), "{}", check().stdout);
    // The control: with the right one, in place of the wrong one, the same weir reaches the same broker.
    let new = weir.dir.write("ca.new", cluster.authority.pem()).unwrap();
    std::fs::rename(new, weir.dir.path().join("ca.pem")).unwrap();
    weir.becomes_ready();
    assert!(check().status.success(), "{}", check().stdout);
    weir.line("certificate.loaded", &[("where", "upstream")]);
    assert!(weir.metric("weir_certificate_reloads_total{result=\"loaded\",where=\"upstream\"}") >= 1.0);
}
