//! promtool, which knows the conventions: of metrics, and of rules and alerts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs promtool with that on its standard input.
pub(crate) fn promtool(arguments: &[&str], input: &str) -> Output {
    let found = Command::new(root().join("tools/promtool")).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let path = String::from_utf8(found.stdout).unwrap();
    let mut child = Command::new(path.trim())
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_alerts_are_well_formed_and_fire_when_they_must() {
    for arguments in [["check", "rules", "alerts/weir.rules.yaml"], ["test", "rules", "alerts/weir.tests.yaml"]] {
        let output = promtool(&arguments, "");
        assert!(output.status.success(), "{}", told(&output));
    }
}

/// The control: rules that do not fire are found out by the same tests.
#[test]
fn alerts_that_never_fire_fail_their_tests() {
    let dir = weir_testkit::WorkDir::new().unwrap();
    let rules = std::fs::read_to_string(root().join("alerts/weir.rules.yaml")).unwrap();
    let deaf = rules.replace("expr: weir_audit_up == 0", "expr: weir_audit_up == 2");
    assert_ne!(rules, deaf);
    dir.write("weir.rules.yaml", deaf).unwrap();
    let tests = std::fs::read_to_string(root().join("alerts/weir.tests.yaml")).unwrap();
    let tests = dir.write("weir.tests.yaml", tests).unwrap();
    let output = promtool(&["test", "rules", tests.to_str().unwrap()], "");
    assert!(!output.status.success());
    assert!(told(&output).contains("WeirAuditDown"), "{}", told(&output));
}
