//! `weir check` and `weir policy test` on whole files: the exact output. `UPDATE_GOLDEN=1` writes the expected files anew.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};

use weir::cli::check::{self, CheckArgs};
use weir::cli::policy::{self, TestArgs};
use weir::config::Surroundings;

/// An environment without variables, so that the machine's own do not matter.
fn surroundings() -> Surroundings<'static> {
    Surroundings { variable: &|_| None, root: false }
}

fn compare(expected: &str, output: &str) {
    let path = Path::new("tests/check").join(expected);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, output).unwrap();
    }
    assert_eq!(output, std::fs::read_to_string(&path).unwrap(), "{expected}");
    assert!(
        !output.contains("must-not-be-printed") && !output.contains("must not be") && !output.contains("must+not"),
        "a secret was printed"
    );
    assert!(!output.contains('\u{1b}'), "colours were printed");
}

fn check(config: &str, strict: bool, good: bool, expected: &str) {
    let mut out = Vec::new();
    let args = CheckArgs { config: PathBuf::from(config), strict, show: false, connect: false };
    assert_eq!(check::report(&args, &surroundings(), &mut out).unwrap(), good, "{config}");
    compare(expected, &String::from_utf8(out).unwrap());
}

fn check_policy(files: &[&str], config: Option<&str>, good: bool, expected: &str) {
    let mut out = Vec::new();
    let args = TestArgs { files: files.iter().map(PathBuf::from).collect(), config: config.map(PathBuf::from) };
    assert_eq!(policy::report(&args, &surroundings(), &mut out).unwrap(), good, "{files:?}");
    compare(expected, &String::from_utf8(out).unwrap());
}

#[test]
fn a_good_configuration_is_summed_up() {
    check("tests/check/good.yaml", true, true, "good.expected");
}

#[test]
fn five_errors_are_reported_at_once() {
    check("tests/check/five-errors.yaml", false, false, "five-errors.expected");
}

#[test]
fn many_errors_are_reported_at_once() {
    check("tests/check/many-errors.yaml", false, false, "many-errors.expected");
}

#[test]
fn a_policy_that_fails_its_own_test_is_an_error() {
    check("tests/check/failing-test.yaml", false, false, "failing-test.expected");
}

#[test]
fn warnings_count_only_when_strict() {
    check("tests/check/one-warning.yaml", false, true, "one-warning.expected");
    check("tests/check/one-warning.yaml", true, false, "one-warning.expected");
}

#[test]
fn policies_are_checked_even_when_the_configuration_is_wrong() {
    check("tests/check/both-wrong.yaml", false, false, "both-wrong.expected");
}

#[test]
fn a_missing_configuration_is_an_error() {
    check("tests/check/absent.yaml", false, false, "absent.expected");
}

#[test]
fn five_errors_of_a_policy_are_reported_at_once() {
    check_policy(&["tests/check/policies/five-errors.yaml"], None, false, "policy-five-errors.expected");
}

#[test]
fn policy_tests_pass_or_fail_with_their_place() {
    check_policy(&["tests/check/policies/good.yaml"], None, true, "policy-good.expected");
    check_policy(&["tests/check/policies/failing.yaml"], None, false, "policy-failing.expected");
    check_policy(&[], Some("tests/check/good.yaml"), true, "policy-good.expected");
    check_policy(&["tests/check/policies/absent.yaml"], None, false, "policy-absent.expected");
}
