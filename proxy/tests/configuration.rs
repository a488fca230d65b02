//! docs/configuration.md against the code: its YAML, its commands, and every key with its default and whether it reloads.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use weir::config::is_reloaded;
use weir_testkit::WorkDir;
use weir_yaml::{Node, Problems, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn document() -> String {
    std::fs::read_to_string(root().join("docs/configuration.md")).unwrap()
}

fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let after = text.split(fence.as_str()).skip(1);
    after.map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// Rows of the table of keys: name, default, whether it reloads.
fn rows() -> BTreeMap<String, (String, bool)> {
    let text = document();
    let rows = text.lines().skip_while(|line| !line.starts_with("| key | default |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let key = cells[0].trim_matches(['|', ' ', '`']).to_owned();
        assert!(matches!(cells[2], "yes" | "no"), "{line}");
        (key, (cells[1].trim_matches('`').to_owned(), cells[2] == "yes"))
    });
    rows.collect()
}

fn weir(dir: &WorkDir, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).current_dir(dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

const POLICY: &str = "version: 1\naccess: []\n";

/// Every value of a document by its key, items of lists as `*`.
fn leaves(node: &Node, path: &str, into: &mut BTreeMap<String, String>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                leaves(&entry.value, &path, into);
            }
        }
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
            items.iter().for_each(|item| leaves(item, &format!("{path}.*"), into));
        }
        Value::List(items) => {
            let items = items.iter().map(scalar).collect::<Vec<_>>().join(", ");
            into.insert(path.to_owned(), format!("[{items}]"));
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {
            into.insert(path.to_owned(), scalar(node));
        }
    }
}

fn scalar(node: &Node) -> String {
    match &node.value {
        Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['.', '-']) => {
            format!("\"{text}\"")
        }
        Value::String(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null | Value::Float(_) | Value::List(_) | Value::Map(_) => String::new(),
    }
}

#[test]
fn every_default_is_the_one_in_force() {
    let dir = WorkDir::new().unwrap();
    dir.write("policies/p.yaml", POLICY).unwrap();
    let yaml = "upstream: { bootstrap: [\"localhost:9092\"] }\npolicies: [\"policies/*.yaml\"]\n\
                listeners: [ { name: try, bind: \"127.0.0.1:9192\", auth: { anonymous: {} } } ]\n\
                identity: { issuers: [ { issuer: i, audience: [a], jwks: { file: k.json } } ] }\n";
    std::fs::copy("tests/check/jwks.json", dir.path().join("k.json")).unwrap();
    dir.write("weir.yaml", yaml).unwrap();
    let (code, shown) = weir(&dir, &["check", "--show"]);
    assert_eq!(code, Some(0), "{shown}");
    let mut problems = Problems::default();
    let documents = weir_yaml::parse("shown", &shown, &mut problems);
    let mut found = BTreeMap::new();
    leaves(&documents[0], "", &mut found);
    let rows = rows();
    for (key, value) in &found {
        let Some((default, _)) = rows.get(key) else { panic!("{key} is not documented") };
        let given = matches!(default.as_str(), "required" | "absent" | "bind") || key == "data_dir";
        assert!(given || default == value, "{key}: documented {default}, in force {value}");
    }
    for (key, (default, _)) in &rows {
        let shown = found.contains_key(key) || found.keys().any(|other| other.starts_with(&format!("{key}.")));
        let inside = key.contains("tls") || key.starts_with("keys.") || key.starts_with("audit.topics.");
        assert!(
            shown || inside || matches!(default.as_str(), "absent" | "required"),
            "{key} is documented and not there"
        );
    }
}

#[test]
fn every_key_is_documented_and_reloads_as_it_says() {
    let rows = rows();
    for (key, (_, reloads)) in &rows {
        // Where TLS begins or ends is for a restart, which only the running weir can tell.
        if !key.ends_with(".tls") {
            assert_eq!(is_reloaded(key), *reloads, "{key}");
        }
    }
    // The names that the code takes out of the mappings.
    let documented: BTreeSet<&str> = rows.keys().flat_map(|key| key.split('.')).collect();
    let mut sources = Vec::new();
    let mut folders = vec![root().join("proxy/src/config"), root().join("proxy/src/config.rs")];
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            sources.push(std::fs::read_to_string(path).unwrap());
        }
    }
    let mut taken = 0;
    for source in &sources {
        for call in ["take(\"", "required(\"", "count(\"", "size(\"", "memory(\"", "duration(\""] {
            for rest in source.split(call).skip(1) {
                let name = rest.split('"').next().unwrap();
                assert!(documented.contains(name), "`{name}` is not in docs/configuration.md");
                taken += 1;
            }
        }
    }
    assert!(taken > 50, "the search finds the keys: {taken}");
}

#[test]
fn its_configuration_is_accepted_and_its_commands_run() {
    let text = document();
    for yaml in blocks(&text, "yaml") {
        let dir = WorkDir::new().unwrap();
        dir.write("policies/p.yaml", POLICY).unwrap();
        dir.write("weir.yaml", yaml).unwrap();
        let (code, told) = weir(&dir, &["check"]);
        assert_eq!(code, Some(0), "{told}");
        // The control.
        dir.write("weir.yaml", yaml.replacen("bootstrap", "bootstarp", 1)).unwrap();
        assert_eq!(weir(&dir, &["check"]).0, Some(1));
    }
    for commands in blocks(&text, "sh") {
        let dir = WorkDir::new().unwrap();
        if !commands.contains("weir init") {
            assert_eq!(weir(&dir, &["init", "--upstream", "127.0.0.1:9"]).0, Some(0));
        }
        for command in commands.lines() {
            let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
            let (code, told) = match arguments.as_slice() {
                // Needs ports of its own; every end-to-end test runs it.
                ["serve"] => weir(&dir, &["serve", "--help"]),
                all => weir(&dir, all),
            };
            // Nobody listens at the discard port.
            let expected = if command.ends_with("--connect") { Some(1) } else { Some(0) };
            assert_eq!(code, expected, "{command}: {told}");
        }
    }
}
