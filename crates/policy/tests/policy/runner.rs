//! The tests that policies carry: shipped ones hold, and a test that must fail does.

use std::path::Path;

use crate::support::compile;
use weir_policy::TestOutcome;

fn failures(text: &str) -> Vec<TestOutcome> {
    compile(text).run_tests().into_iter().filter(|test| !test.passed).collect()
}

/// Every file of `policies/` with its text.
fn shipped() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!files.is_empty());
    files
}

#[test]
fn shipped_policies_hold_on_their_own_examples() {
    for (name, text) in shipped() {
        let policy = compile(&text);
        assert!(policy.test_count() > 0, "{name} has no tests");
        for test in policy.run_tests() {
            assert!(test.passed, "{name}: {}: {}", test.name, test.detail);
        }
    }
}

/// The control: with any one rule of a shipped policy gone, a test of it fails.
#[test]
fn shipped_examples_fail_without_the_rule() {
    for (name, text) in shipped() {
        let rules: Vec<&str> = text
            .split("\ntests:")
            .next()
            .unwrap()
            .split("\nrules:")
            .nth(1)
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("  - name: "))
            .collect();
        assert_eq!(rules.len(), compile(&text).rule_count(), "{name}");
        for rule in rules {
            // The rule stays, so that tests may name it, but is for a topic that no test uses.
            let (before, behind) = text.split_once(&format!("- name: {rule}\n    match: {{ topics: [")).unwrap();
            let (_, behind) = behind.split_once(']').unwrap();
            let without = format!("{before}- name: {rule}\n    match: {{ topics: [\"elsewhere\"]{behind}");
            let (policy, problems) = crate::support::compile_all(&[&without]);
            let policy = policy.unwrap_or_else(|| panic!("{name}: {problems}"));
            assert!(policy.run_tests().iter().any(|test| !test.passed), "{name} does not test rule {rule}");
        }
    }
}

const POLICY: &str = r#"
access:
  - name: all
    principals: { groups: [g] }
    allow: [ { produce: [t, u], consume: [t], consumer_groups: ["*"] } ]
rules:
  - name: mask
    match: { topics: [t], direction: both }
    fields: [ { path: $.a, transform: { mask: { keep_last: 1 } } }, { header: h, transform: redact } ]
  - name: block
    match: { topics: [t], direction: both }
    action: refuse
    fields: [ { path: $.b } ]
"#;

/// A policy with one test; gives what the test says is wrong.
fn detail(given: &str, expect: &str) -> String {
    let text =
        format!("{POLICY}tests:\n  - name: it\n    given: {{ topic: t, {given} }}\n    expect: {{ {expect} }}\n");
    let outcomes = compile(&text).run_tests();
    assert_eq!(outcomes.len(), 1);
    assert_eq!((outcomes[0].name.as_str(), outcomes[0].place.to_string().as_str()), ("it", "p.yaml:15:5"));
    assert_eq!(outcomes[0].passed, outcomes[0].detail.is_empty());
    outcomes[0].detail.clone()
}

#[test]
fn a_test_that_must_pass_passes() {
    for (given, expect) in [
        ("direction: produce, groups: [g], value: { a: abc }", "value: { a: '**c' }, rules: [mask], decision: masked"),
        ("direction: consume, groups: [g], value: { a: abc }", "value: { a: '**c' }, rules: [mask]"),
        ("direction: produce, groups: [g], raw: '{ \"a\" : \"abc\" }'", "raw: '{ \"a\" : \"**c\" }'"),
        ("direction: produce, groups: [g], value: { c: 1.5 }", "decision: pass, value: { c: 1.5 }, rules: []"),
        ("direction: produce, groups: [g], value: { b: 1 }", "decision: refused, rules: [block]"),
        ("direction: consume, groups: [g], value: { b: 1 }", "decision: refused, rules: [block]"),
        ("direction: consume, groups: [g], raw: x", "decision: refused, rules: [block, mask]"),
        ("direction: produce, value: { a: abc }", "decision: denied, rules: []"),
        ("direction: produce, groups: [g], key: k, value: null", "decision: pass, key: k, value: null"),
        (
            "direction: produce, groups: [g], value: {}, headers: { h: v, i: null }",
            "headers: { h: '[redacted]', i: null }, rules: [mask]",
        ),
    ] {
        assert_eq!(detail(given, expect), "", "{given} {expect}");
    }
}

#[test]
fn a_test_that_must_fail_fails_and_says_why() {
    let masked = "direction: produce, groups: [g], value: { a: abc }";
    for (given, expect, said) in [
        (masked, "value: { a: abc }", "value at $.a differs\n  expected  \"abc\"\n  actual    \"**c\""),
        (masked, "raw: x", "value differs\n  expected  x\n  actual    {\"a\":\"**c\"}"),
        (masked, "value: null", "value differs\n  expected  null\n  actual    {\"a\":\"**c\"}"),
        (masked, "decision: pass", "decision differs\n  expected  pass\n  actual    masked"),
        (masked, "rules: []", "rules differ\n  expected  []\n  actual    [mask]"),
        (masked, "rules: [mask, block]", "rules differ\n  expected  [mask, block]\n  actual    [mask]"),
        (masked, "key: k", "key differs\n  expected  k\n  actual    null"),
        (masked, "headers: { h: v }", "headers differ\n  expected  [h: v]\n  actual    []"),
        (
            "direction: produce, groups: [g], value: { b: 1 }",
            "value: { b: 1 }",
            "decision differs\n  expected  a record\n  actual    refused",
        ),
        (
            "direction: consume, groups: [x], value: { a: abc }",
            "decision: masked",
            "decision differs\n  expected  masked\n  actual    denied\n\
             no access entry lets `test` in groups [x] consume `t`",
        ),
    ] {
        assert_eq!(detail(given, expect), said, "{given} {expect}");
    }
}

#[test]
fn a_policy_whose_rule_is_switched_off_fails_its_test() {
    let test = "tests:\n  - name: it\n    given: { topic: t, direction: produce, groups: [g], value: { a: abc } }\n    expect: { value: { a: '**c' } }\n";
    assert!(failures(&format!("{POLICY}{test}")).is_empty());
    let off = POLICY.replace("name: mask\n    match: { topics: [t]", "name: mask\n    match: { topics: [u]");
    assert_eq!(failures(&format!("{off}{test}")).len(), 1);
}
