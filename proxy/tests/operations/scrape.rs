//! A scrape of a weir at work: what it says, and how.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::ground::{Weir, token, topic, until};
use crate::promtool::{promtool, told};
use crate::wire::{FETCH, METADATA, PRODUCE, fetch_body, fetched, metadata_body, produce_body, produced};
use crate::{batch, ground};

const CARD: &str = r#"{"card":"4111111111111111"}"#;

impl Weir {
    /// The body of a scrape.
    pub(crate) fn scrape(&self) -> String {
        let answer = self.http("/metrics");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("text/plain"), "{head}");
        body.to_owned()
    }
}

#[track_caller]
fn produce(weir: &Weir, topic: &str, values: &[&str]) -> i16 {
    let body = produce_body(-1, &[(topic, &[(0, &batch::plain(values))])]);
    produced(&weir.open().call(PRODUCE, 8, &body).unwrap())[0].error
}

#[test]
fn a_scrape_says_what_happened_and_keeps_the_conventions() {
    topic("ruled-scrape", 1);
    topic("unruled-scrape", 1);
    let weir = Weir::start(|yaml| yaml);
    assert_eq!(produce(&weir, "ruled-scrape", &[CARD, CARD, "{}"]), 0);
    assert_eq!(produce(&weir, "ruled-scrape", &["no JSON"]), 87);
    assert_eq!(produce(&weir, "unruled-scrape", &["no JSON"]), 0);
    let answer = weir.open().call(FETCH, 11, &fetch_body("ruled-scrape", 0, 0, 0)).unwrap();
    assert_eq!(fetched(&answer).0, 0);
    assert_eq!(weir.apps().login(&token("scraped")).error, 0);
    assert_ne!(weir.apps().login("no.token.atall").error, 0);
    for (name, expected) in [
        (r#"weir_requests_total{api="Produce",outcome="answered"}"#, 2.0),
        (r#"weir_requests_total{api="Produce",outcome="refused"}"#, 1.0),
        (r#"weir_requests_total{api="Fetch",outcome="answered"}"#, 1.0),
        (r#"weir_request_seconds_count{api="Produce"}"#, 3.0),
        (r#"weir_added_seconds_count{api="Fetch"}"#, 1.0),
        (r#"weir_stage_seconds_count{api="Produce",stage="inspect"}"#, 3.0),
        (r#"weir_stage_seconds_count{api="Produce",stage="commit"}"#, 3.0),
        (r#"weir_stage_seconds_count{api="Produce",stage="broker"}"#, 2.0),
        (r#"weir_stage_seconds_count{api="Fetch",stage="broker"}"#, 1.0),
        (r#"weir_records_inspected_total{api="Produce"}"#, 5.0),
        (r#"weir_records_changed_total{api="Produce"}"#, 2.0),
        (r#"weir_records_refused_total{api="Produce"}"#, 1.0),
        (r#"weir_rule_hits_total{action="mask",rule="cards"}"#, 2.0),
        (r#"weir_rule_hits_total{action="failure-refuse",rule="cards"}"#, 1.0),
        (r#"weir_logins_total{listener="apps",result="ok"}"#, 1.0),
        (r#"weir_logins_total{listener="apps",result="refused"}"#, 1.0),
        (r#"weir_connections_max"#, 10_000.0),
        (r#"weir_listener_insecure{listener="open"}"#, 0.0),
        (r#"weir_unready{part="cluster"}"#, 0.0),
        (concat!(r#"weir_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1.0),
    ] {
        assert_eq!(weir.metric(name), expected, "{name} in\n{}", weir.scrape());
    }
    let text = weir.scrape();
    assert_eq!(text.matches("weir_policy_info{digest=\"").count(), 1, "{text}");
    for (name, least) in [
        (r#"weir_received_bytes_total{peer="client"}"#, 500.0),
        (r#"weir_sent_bytes_total{peer="broker"}"#, 500.0),
        ("weir_data_dir_free_bytes", 1e6),
        ("weir_data_dir_size_bytes", 1e6),
        ("weir_audit_commits_total", 7.0),
        ("process_start_time_seconds", 1.7e9),
        ("process_cpu_seconds_total", 0.001),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 10.0),
        ("process_max_fds", 64.0),
    ] {
        assert!(weir.metric(name) >= least, "{name} in\n{text}");
    }

    // Under load, in which every series that there is moves.
    let (done, weir) = (AtomicBool::new(false), &weir);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(produce(weir, "ruled-scrape", &[CARD]), 0);
                    weir.open().call(FETCH, 11, &fetch_body("ruled-scrape", 0, 0, 0)).unwrap();
                    weir.open().call(METADATA, 1, &metadata_body(&["ruled-scrape"])).unwrap();
                }
            });
        }
        let before = weir.metric(r#"weir_records_inspected_total{api="Fetch"}"#);
        until("the load is there", || weir.metric(r#"weir_records_inspected_total{api="Fetch"}"#) > before + 20.0);
        let loaded = weir.scrape();
        done.store(true, Ordering::Relaxed);
        let output = promtool(&["check", "metrics"], &loaded);
        assert!(output.status.success() && told(&output).is_empty(), "{}", told(&output));
    });
    // The control: a scrape that breaks a convention does not pass.
    let broken = weir.scrape().replace("weir_audit_commits_total", "weir_audit_commits");
    let output = promtool(&["check", "metrics"], &broken);
    assert!(!output.status.success() && told(&output).contains("weir_audit_commits"), "{}", told(&output));
    weir.lives();
}

#[test]
fn a_weir_is_alive_and_ready() {
    let weir = &*ground::WEIR;
    for (path, body) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let answer = weir.http(path);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
    }
}
