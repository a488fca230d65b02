//! A weir with a log of its own, and what its `audit` verbs say of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weir_testkit::{Listener, PortBlock, Ready, WeirOptions, WeirProcess, WeirYaml, WorkDir};

/// What every record of the load carries; weir masks all but its end.
pub(crate) const CARD: &str = "4111111111111111";
pub(crate) const MASKED: &str = "************1111";

/// weir as a process of its own, which can be killed and comes back on the same ports and the same log.
pub(crate) struct Gateway {
    pub(crate) weir: WeirProcess,
    pub(crate) bootstrap: String,
    _prepared: Box<dyn Send>,
    dir: WorkDir,
    _ports: PortBlock,
}

/// Makes of a data directory what it shall be before the first start; what it gives is dropped after the last end.
pub(crate) type Prepare = fn(&Path) -> Box<dyn Send>;

/// What differs between gateways.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting<'a> {
    /// Lines of its `audit` section.
    pub(crate) audit: &'a [&'a str],
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Program and arguments that weir is run by.
    pub(crate) wrapper: &'a [&'a str],
    pub(crate) prepare: Option<Prepare>,
}

impl Gateway {
    /// Starts one in front of a broker.
    pub(crate) fn start(broker: &str, setting: &Setting<'_>) -> Self {
        let Setting { audit, env, wrapper, prepare } = setting;
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let bootstrap = ports.address(0);
        let mut yaml = WeirYaml::new(broker)
            .node_ids("1")
            .listener(Listener::anonymous("apps", &bootstrap, &["apps"]))
            .policy("cards", POLICY)
            .metrics(&ports.address(15));
        for line in *audit {
            yaml = yaml.section("audit", line);
        }
        let config = yaml.write(&dir).unwrap();
        let ready = Ready::Ports(vec![bootstrap.parse().unwrap()]);
        // A link of its own: a build that runs meanwhile would change what a restart starts.
        let binary = dir.path().join("weir");
        if fs::hard_link(env!("CARGO_BIN_EXE_weir"), &binary).is_err() {
            // On another file system. Not copied by this process: whatever another test starts meanwhile would inherit the open file,
            // and nobody may run a file that somebody can write ("text file busy").
            let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_weir")).arg(&binary).status().unwrap();
            assert!(copied.success(), "cp: {copied}");
        }
        let mut options = WeirOptions::new(&binary, &config, ready);
        options.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        options.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let prepared =
            prepare.map_or_else(|| Box::new(()) as Box<dyn Send>, |prepare| prepare(&dir.path().join("data")));
        let weir = WeirProcess::start(options).unwrap();
        let sabotaged = weir.output().unwrap().contains("weir.sabotaged");
        assert!(sabotaged || env.is_empty(), "this weir was built without the feature `sabotage`");
        Self { weir, bootstrap, _prepared: prepared, dir, _ports: ports }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Every entry of the log, as `weir audit query` gives it.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let finished = self.weir.options().run(&["audit", "query", "-o", "ndjson", "-n", "100000000"]).unwrap();
        let finished = finished.success("weir audit query").unwrap();
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How `weir audit verify` ends, and its report.
    pub(crate) fn verify(&self) -> (Option<i32>, Value) {
        let finished = self.weir.options().run(&["audit", "verify", "--report", "json"]).unwrap();
        (finished.status.code(), serde_json::from_str(&finished.stdout).unwrap_or(Value::Null))
    }

    /// Stops weir in order, and gives the intents that are open in the log then.
    pub(crate) fn stop(&mut self) -> usize {
        let status = self.weir.stop().unwrap();
        assert!(status.success(), "{status}: {}", self.weir.output().unwrap());
        let (_, opened) = weir_audit_store::Store::open(&self.data_dir()).unwrap();
        opened.in_doubt.len()
    }
}

/// How many entries there are of each kind and outcome.
pub(crate) fn count(entries: &[Value]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        let text = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
        *counts.entry((text("kind"), text("outcome"))).or_default() += 1;
    }
    counts
}

const POLICY: &str = r#"version: 1
access:
  - name: apps
    principals: { groups: [apps] }
    allow:
      - produce: ["*"]
      - consume: ["*"]
        consumer_groups: ["*"]
rules:
  - name: cards
    match: { topics: ["*"], direction: both }
    fields:
      - { path: "$.card", transform: { mask: { keep_last: 4 } } }
tests:
  - name: keeps the last four digits
    given:
      topic: load
      direction: produce
      groups: [apps]
      value: { card: "4111111111111111" }
    expect:
      decision: masked
      value: { card: "************1111" }
"#;
