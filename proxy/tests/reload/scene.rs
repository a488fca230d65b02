//! One weir whose files the tests change, one test at a time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::consumer::Consumer;
use serde_json::Value;

use crate::librdkafka::{Door, Record, WAIT_MAX, wait};
use crate::stage::{self, METRICS, Setting, Stage, Who};

pub(crate) const APP: Who = Who { subject: "orders-app", group: "apps" };

pub(crate) const POLICY: &str = r#"version: 1
access:
  - name: apps
    principals: { groups: [apps] }
    allow:
      - produce: ["orders.*"]
      - consume: ["orders.*"]
rules:
  - name: cards
    match: { topics: ["orders.*"], direction: produce }
    fields:
      - { path: "$.card", transform: { mask: { keep_last: 4 } } }
tests: []
"#;

const SETTING: Setting<'static> =
    Setting { policy: POLICY, topics: &[("orders.policies", 1), ("orders.links", 1), ("orders.keys", 1)], env: &[] };

/// A record's value.
pub(crate) fn order(id: &str) -> String {
    format!(r#"{{"id":"{id}","card":"4111111111111111","email":"a@b.c","phone":"555-0100"}}"#)
}

/// The stage while one test has it for itself.
pub(crate) struct Scene {
    pub(crate) stage: Arc<Stage>,
    pub(crate) topic: &'static str,
    first_yaml: String,
    _alone: MutexGuard<'static, ()>,
}

impl Drop for Scene {
    /// Leaves the files as they were found.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let dir = self.stage.dir.path();
        for name in ["policies/live.yaml", "policies/phones.yaml"] {
            drop(std::fs::remove_file(dir.join(name)));
        }
        self.change("config.reloaded", || {
            self.write("policies/test.yaml", &format!("{POLICY}# after {}\n", self.topic));
            self.write("jwks-0.json", &self.stage.issuer.jwks());
            self.write("weir.yaml", &self.first_yaml);
        });
    }
}

impl Scene {
    pub(crate) fn enter(topic: &'static str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = stage::shared(&SETTING);
        let first_yaml = stage.dir.read("weir.yaml").unwrap();
        Self { stage, topic, first_yaml, _alone: alone }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        self.stage.dir.write(name, text).unwrap();
    }

    pub(crate) fn hang_up(&self) {
        let pid = self.stage.weir().pid().unwrap();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGHUP).unwrap();
    }

    pub(crate) fn in_clients(&self, act: impl FnOnce() + Send) {
        self.stage.network.clients().run(act).unwrap();
    }

    /// What weir logged of that name so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        self.stage.weir().settle_log();
        let log = std::fs::read_to_string(self.stage.weir().stderr_file()).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == name).collect()
    }

    /// Makes a change and waits for the event that it leads to.
    pub(crate) fn change(&self, event: &str, act: impl FnOnce()) -> Value {
        let before = self.events(event).len();
        act();
        wait(event, || {
            std::thread::sleep(Duration::from_millis(50));
            self.events(event).into_iter().nth(before)
        })
    }

    /// The value of a metric, given with its labels.
    pub(crate) fn metric(&self, name: &str) -> String {
        let scrape = || {
            let mut stream = TcpStream::connect(METRICS).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let text = self.stage.network.weir().run(scrape).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
        assert!(line.is_some(), "no {name} in\n{text}");
        line.unwrap_or_default()
    }

    /// Whether a client that comes that way is let in.
    pub(crate) fn lets_in(&self, door: &Door) -> bool {
        let refused = self.events("login.refused").len();
        // A client that is refused tries again and again: the first word of weir decides.
        let attempt = || {
            let (consumer, started) = (door.consumer("login"), Instant::now());
            while started.elapsed() < WAIT_MAX && self.events("login.refused").len() == refused {
                // Callbacks are served while polling, tokens among them.
                drop(consumer.poll(Duration::from_millis(50)));
                if consumer.fetch_metadata(Some(self.topic), Duration::from_secs(1)).is_ok() {
                    return true;
                }
            }
            false
        };
        door.namespace.run(attempt).unwrap()
    }

    /// The values that the broker has.
    pub(crate) fn stored(&self) -> Vec<String> {
        self.stage.back_door().read("check", self.topic, 1).iter().map(Record::text).collect()
    }

    /// The log has an entry of each change, ahead of the first decision that was made under it.
    pub(crate) fn every_change_is_on_record_before_it_decides(&self) {
        let told = self.stage.weir().options().run(&["audit", "query", "-o", "ndjson", "--limit", "1000"]).unwrap();
        let told = told.success("audit query").unwrap();
        let entries: Vec<Value> = told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let first = |found: &dyn Fn(&Value) -> bool| entries.iter().position(found);
        let changes: Vec<&Value> = entries.iter().filter(|entry| entry["kind"] == "policy_change").collect();
        assert!(changes.len() >= 3, "{changes:?}");
        let mut decided = 0;
        for change in changes {
            let digest = &change["policy_digest"];
            let recorded = first(&|entry| entry["event"] == change["event"]).unwrap();
            let reason = change["reason"].as_str().unwrap();
            assert!(reason.starts_with("policy digest before: ") && reason.contains("policies/"), "{reason}");
            // The same set may have been in force before: what matters is where it first appears after another one.
            let produced = first(&|entry| entry["kind"] == "produce" && entry["policy_digest"] == *digest);
            decided += usize::from(produced.is_some_and(|produced| recorded < produced));
        }
        assert!(decided >= 2, "the sets that decided something were on record first: {decided}");
    }
}
