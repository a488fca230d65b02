//! The rooms depend on each other one way, and the core ones on nothing that does I/O. Each rule is also run where it must find something.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that take time, keys, policies and bytes as arguments, and fetch none.
const SANS_IO: [(&str, &str); 6] = [
    ("weir-protocol", "crates/protocol"),
    ("weir-policy", "crates/policy"),
    ("weir-yaml", "crates/yaml"),
    ("weir-authn", "crates/authn"),
    ("weir-audit", "crates/audit"),
    ("weir-session", "crates/session"),
];

/// Dependencies that do I/O.
const IO: [&str; 9] =
    ["tokio", "mio", "hyper", "axum", "rocksdb", "librocksdb-sys", "socket2", "rdkafka", "tracing-subscriber"];

/// What a binary that is shipped must not link: a second TLS stack, a second crypto provider, the tests' Kafka client.
const NOT_SHIPPED: [&str; 7] =
    ["openssl", "openssl-sys", "native-tls", "ring", "rdkafka", "rdkafka-sys", "weir-testkit"];

/// What a core crate's source must not say.
const FETCHES: [&str; 10] = [
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
    "getrandom::",
];

/// Crates that decompress; only the capped codecs may name them.
const DECOMPRESSORS: [&str; 4] = ["flate2::", "lz4::", "snap::", "zstd_safe::"];

/// Libraries that build values out of records: none of them on the record path.
const BUILDS_VALUES: [&str; 5] =
    ["kafka_protocol::records", "RecordBatchDecoder", "RecordBatchEncoder", "serde_json::", "serde_json;"];

/// Where the record path is: everything in these folders but what reads policies, runs their tests, or fetches an issuer's keys.
const RECORD_PATH: [&str; 4] = ["crates/protocol/src", "crates/policy/src", "crates/session/src", "proxy/src/gateway"];
const OFF_THE_PATH: [&str; 3] =
    ["crates/policy/src/document", "crates/policy/src/testing", "proxy/src/gateway/keys/fetch"];

#[test]
fn core_crates_depend_on_nothing_that_does_io() {
    for (package, _) in SANS_IO {
        assert_eq!(found(&dependencies(package), &IO), BTreeSet::new(), "{package}");
    }
    assert!(found(&dependencies("weir"), &IO).contains("tokio"), "negative control");
    assert!(found(&dependencies("weir-audit-store"), &IO).contains("rocksdb"), "negative control");
}

#[test]
fn the_shipped_binary_links_one_crypto_provider() {
    assert_eq!(found(&dependencies("weir"), &NOT_SHIPPED), BTreeSet::new());
    assert!(found(&dependencies("weir-demo"), &NOT_SHIPPED).contains("openssl-sys"), "negative control");
}

#[test]
fn core_crates_fetch_neither_time_nor_files() {
    for (_, folder) in SANS_IO {
        for file in sources(&root().join(folder).join("src")) {
            assert_eq!(said(&file, &FETCHES), Vec::<String>::new());
        }
    }
    let said_here: Vec<String> =
        sources(&root().join("crates/testkit/src")).iter().flat_map(|file| said(file, &FETCHES)).collect();
    assert!(said_here.iter().any(|line| line.contains("std::fs")), "negative control");
}

#[test]
fn only_the_capped_codecs_decompress() {
    let codecs = root().join("crates/protocol/src/records/codec");
    let mut inside = 0;
    for folder in ["crates", "proxy/src"] {
        for file in sources(&root().join(folder)) {
            let lines = said(&file, &DECOMPRESSORS);
            if file.with_extension("").starts_with(&codecs) {
                inside += lines.len();
            } else {
                assert_eq!(lines, Vec::<String>::new());
            }
        }
    }
    assert!(inside > 0, "negative control");
}

#[test]
fn no_library_that_builds_values_is_on_the_record_path() {
    let is_off =
        |file: &Path| OFF_THE_PATH.iter().any(|folder| file.with_extension("").starts_with(root().join(folder)));
    let mut elsewhere = 0;
    for folder in RECORD_PATH {
        for file in sources(&root().join(folder)) {
            let lines = said(&file, &BUILDS_VALUES);
            if is_off(&file) {
                elsewhere += lines.len();
            } else {
                assert_eq!(lines, Vec::<String>::new());
            }
        }
    }
    assert!(elsewhere > 0, "negative control");
    let compared: Vec<String> =
        sources(&root().join("benches/src")).iter().flat_map(|file| said(file, &BUILDS_VALUES)).collect();
    assert!(compared.iter().any(|line| line.contains("RecordBatchDecoder")), "negative control");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The names of all crates that a package links, itself included.
fn dependencies(package: &str) -> BTreeSet<String> {
    let mut tree = Command::new(std::env::var_os("CARGO").unwrap());
    tree.args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let output = tree.args(["--locked", "--offline"]).current_dir(root()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let names: BTreeSet<String> = stdout.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(output.status.success() && names.contains(package), "{stderr}");
    names
}

fn found(names: &BTreeSet<String>, wanted: &[&str]) -> BTreeSet<String> {
    names.iter().filter(|name| wanted.contains(&name.as_str())).cloned().collect()
}

/// The source files below a folder that are built into the crate: tests and their modules left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "benches", "fuzz", "examples"].contains(&name) {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    files
}

/// The lines outside comments and the test module that hold one of `words`.
fn said(file: &Path, words: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let spoken = lines.filter(|line| words.iter().any(|word| line.contains(word)));
    spoken.map(|line| format!("{}: {}", file.display(), line.trim())).collect()
}
