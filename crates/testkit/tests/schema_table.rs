//! The committed schema table is what the generator makes of Kafka's own message JSON today.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use weir_testkit::jars;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/src/schema/table.rs");

fn generate(folder: &Path, target: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_schema-gen")).arg(folder).arg(target).output().unwrap()
}

/// The folder with the message JSON; on a developer's machine without Java or network there may be none.
fn messages() -> Option<PathBuf> {
    match jars::messages() {
        Ok(folder) => Some(folder),
        Err(error) if std::env::var_os("CI").is_some_and(|value| value == "true") => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

#[test]
fn committed_table_is_what_the_generator_writes() {
    let Some(folder) = messages() else { return };
    let made = tempfile::tempdir().unwrap();
    let target = made.path().join("table.rs");
    let output = generate(&folder, &target);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Not assert_eq: a difference would print both files.
    assert!(
        fs::read_to_string(&target).unwrap() == fs::read_to_string(TABLE).unwrap(),
        "crates/protocol/src/schema/table.rs is not what `schema-gen` makes of {}; its README has the recipe",
        folder.display()
    );
}

#[test]
fn negative_control_another_schema_makes_another_table() {
    let Some(folder) = messages() else { return };
    let made = tempfile::tempdir().unwrap();
    for name in ["HeartbeatRequest.json", "HeartbeatResponse.json"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        fs::write(made.path().join(name), text.replace("\"validVersions\": \"0-4\"", "\"validVersions\": \"0-5\""))
            .unwrap();
    }
    let target = made.path().join("table.rs");
    let output = generate(made.path(), &target);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = fs::read_to_string(&target).unwrap();
    assert!(table.contains("message(\"HeartbeatRequest\", between(0, 5), since(4), &HEARTBEAT_REQUEST)"));
}

#[test]
fn folder_without_messages_is_an_error() {
    let empty = tempfile::tempdir().unwrap();
    let output = generate(empty.path(), &empty.path().join("table.rs"));
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no request or response in it"));
}
