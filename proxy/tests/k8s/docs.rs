//! Every block of docs/kubernetes.md, tried as far as it can be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use weir_testkit::WorkDir;

use crate::render::{BASE, Objects, environment, items, objects, render, root, validate};

/// The fenced blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/kubernetes.md")).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_overlays_of_the_documentation_are_valid() {
    let blocks = blocks("yaml");
    assert!(blocks.len() >= 2);
    let base = render(&root().join("k8s").join(BASE));
    for block in blocks {
        assert!(block.contains("kind: Kustomization"), "nothing tries this block: {block}");
        let folder = WorkDir::new().unwrap();
        let copied = Command::new("cp").arg("-r").arg(root().join("k8s")).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        folder.write("k8s/overlays/mine/kustomization.yaml", &block).unwrap();
        let rendered = render(&folder.path().join("k8s/overlays/mine"));
        validate(&rendered).unwrap_or_else(|problems| panic!("{block}\n{problems}"));
        assert_ne!(rendered, base, "it changes nothing: {block}");
    }
}

#[test]
fn the_commands_of_the_documentation_exist() {
    let folder = WorkDir::new().unwrap();
    let pair = rcgen::generate_simple_self_signed(["weir.weir.svc.cluster.local".to_owned()]).unwrap();
    folder.write("tls.crt", pair.cert.pem()).unwrap();
    folder.write("tls.key", pair.signing_key.serialize_pem()).unwrap();
    folder.write("ca.crt", pair.cert.pem()).unwrap();
    folder.write("password", "of-no-broker").unwrap();
    let mut secrets = BTreeMap::new();
    let text = blocks("sh").join("");
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let words =
            words.strip_prefix(&["kubectl", "--namespace", "weir"]).or_else(|| words.strip_prefix(&["kubectl"]));
        let words = words.map(|words| words.strip_prefix(&["--namespace", "streams"]).unwrap_or(words));
        match words {
            Some(["create", "secret", rest @ ..]) => {
                let (name, keys) = secret(folder.path(), rest);
                secrets.insert(name, keys);
            }
            Some(["apply", "-k", path] | ["kustomize", path]) => assert!(!render(&root().join(path)).is_empty()),
            Some(["apply", "-f", path]) => {
                drop(validate(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap())
            }
            Some(["exec", pod, "--", "weir", verbs @ ..]) => {
                assert!(pod.starts_with("weir-"), "{line}");
                let verbs = verbs.iter().take_while(|word| !word.starts_with('-'));
                let help = Command::new(env!("CARGO_BIN_EXE_weir")).args(verbs).arg("--help").output().unwrap();
                assert!(help.status.success(), "{line}");
            }
            Some(["rollout", "status", "statefulset/weir"]) => {}
            Some(_) => panic!("nothing tries this command: {line}"),
            None if line.starts_with("docker build ") => {
                assert!(line.ends_with(" .") && root().join("Dockerfile").exists())
            }
            None if line.starts_with("docker push ") => {}
            None => {
                let done = Command::new("sh").args(["-euc", line]).current_dir(folder.path()).status().unwrap();
                assert!(done.success(), "{line}");
            }
        }
    }
    assert_eq!(secrets, mounted_secrets(&objects(BASE)), "the Secrets that are made, and those that are mounted");
}

/// Name and keys of the Secret that `kubectl create secret` with these words makes.
fn secret(folder: &Path, words: &[&str]) -> (String, BTreeSet<String>) {
    let mut command = Command::new(environment().join("bin/kubectl"));
    command.args(["create", "secret"]).args(words).args(["--dry-run=client", "--output=json"]);
    let output = command.current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = made["data"].as_object().unwrap().keys().cloned().collect();
    (made["metadata"]["name"].as_str().unwrap().to_owned(), keys)
}

fn mounted_secrets(objects: &Objects) -> BTreeMap<String, BTreeSet<String>> {
    let secrets = items(&objects.pod()["volumes"]).iter().filter_map(|volume| volume.get("secret"));
    secrets
        .map(|secret| {
            let mut keys: BTreeSet<String> =
                items(&secret["items"]).iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect();
            if keys.is_empty() {
                // All keys, which of a Secret for TLS are these.
                keys = ["tls.crt", "tls.key"].map(str::to_owned).into();
            }
            (secret["secretName"].as_str().unwrap().to_owned(), keys)
        })
        .collect()
}
