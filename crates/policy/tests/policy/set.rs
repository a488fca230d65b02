//! Which rules apply, and what is shared.

use std::sync::Arc;

use crate::support::{compile, compile_all, rule_set};
use weir_policy::{Direction, PolicySet, Subject, TOPICS_CACHED_MAX};

const RULES: &str = r#"
rules:
  - name: payments
    match: { topics: ["payments.*"], direction: both }
    fields: [ { path: $.card, transform: redact } ]
  - name: produce-only
    match: { topics: ["*"], direction: produce }
    inspect: always
  - name: for-most
    match: { topics: ["payments.eu", "orders"], direction: consume }
    unless: { principals: { groups: [desk], users: [ada] } }
    fields: [ { path: $.email, transform: redact } ]
"#;

fn check(policy: &PolicySet, id: &str, groups: &[&str], topic: &str, direction: Direction, expected: &[&str]) {
    let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
    let set = policy.rules(&Subject { id, groups: &groups }, topic, direction);
    let names: Vec<String> =
        set.iter().flat_map(|set| set.rules().map(|(_, name)| name.to_owned()).collect::<Vec<_>>()).collect();
    assert_eq!(names, expected, "{id} {groups:?} {topic} {direction:?}");
    assert_eq!(set.is_none(), expected.is_empty());
}

#[test]
fn every_matching_rule_applies_unless_the_subject_is_exempt() {
    let policy = compile(RULES);
    use Direction::{Consume, Produce};
    // Twice: the second time from the caches.
    for _ in 0..2 {
        check(&policy, "x", &[], "payments.eu", Consume, &["payments", "for-most"]);
        check(&policy, "x", &["desk"], "payments.eu", Consume, &["payments"]);
        check(&policy, "ada", &[], "payments.eu", Consume, &["payments"]);
        check(&policy, "desk", &["ada", "desks"], "payments.eu", Consume, &["payments", "for-most"]);
        check(&policy, "x", &[], "payments.eu", Produce, &["payments", "produce-only"]);
        check(&policy, "x", &["desk"], "orders", Consume, &[]);
        check(&policy, "x", &[], "stock", Consume, &[]);
        check(&policy, "x", &[], "__consumer_offsets", Produce, &["produce-only"]);
    }
}

#[test]
fn equal_sets_are_one() {
    let policy = compile(RULES);
    let set = |topic| rule_set(&policy, topic, Direction::Consume).unwrap();
    assert!(Arc::ptr_eq(&set("payments.us"), &set("payments.jp")));
    assert!(!Arc::ptr_eq(&set("payments.us"), &set("payments.eu")));
}

#[test]
fn more_topics_than_are_cached_change_no_answer() {
    let policy = compile(RULES);
    for index in 0..TOPICS_CACHED_MAX + 10 {
        assert!(rule_set(&policy, &format!("stock.{index}"), Direction::Consume).is_none());
    }
    check(&policy, "x", &[], "payments.eu", Direction::Consume, &["payments", "for-most"]);
    check(&policy, "x", &[], "stock.0", Direction::Consume, &[]);
}

#[test]
fn more_than_64_rules_apply() {
    let rule = |index: usize| {
        format!("  - {{ name: r{index}, match: {{ topics: [t{}], direction: both }}, inspect: always }}\n", index % 2)
    };
    let policy = compile(&format!("rules:\n{}", (0..200).map(rule).collect::<String>()));
    assert_eq!(policy.rule_count(), 200);
    let set = rule_set(&policy, "t1", Direction::Consume).unwrap();
    assert_eq!(set.rules().count(), 100);
    assert_eq!(set.rules().last().unwrap().1, "r199");
}

#[test]
fn sources_join_and_the_digest_names_them() {
    let access = "access: [ { name: a, principals: { groups: [g] }, allow: [ { produce: [orders] } ] } ]";
    let policy = |texts: &[&str]| {
        let (policy, problems) = compile_all(texts);
        policy.unwrap_or_else(|| panic!("{problems}"))
    };
    let (one, other) = (policy(&[access, RULES]), policy(&[RULES, access]));
    let groups = ["g".to_owned()];
    let subject = Subject { id: "x", groups: &groups };
    assert!(one.access(&subject).may_produce("orders") && one.rule_count() == 3);
    assert_ne!(one.digest(), other.digest());
    assert_eq!(one.digest(), policy(&[access, RULES]).digest());
    assert_ne!(one.digest(), policy(&[access, &format!("{RULES}#")]).digest());
}

#[test]
fn several_documents_in_a_file_join() {
    let policy = compile(&format!("version: 1\n---\n{RULES}---\nversion: 1\n"));
    assert_eq!(policy.rule_count(), 3);
}

#[test]
fn no_policy_allows_nothing() {
    let (policy, problems) = compile_all(&[]);
    let policy = policy.unwrap();
    assert!(problems.is_empty());
    assert!(!policy.access(&Subject { id: "x", groups: &[] }).may_describe("t"));
    assert!(rule_set(&policy, "t", Direction::Produce).is_none());
}

#[test]
fn a_policy_set_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<PolicySet>();
    shared::<weir_policy::Access>();
    shared::<Arc<weir_policy::RuleSet>>();
}
