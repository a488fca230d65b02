//! What rules do to records.

use crate::support::{Rec, compile, inspect, rule_set, value};
use weir_policy::{Direction, SELECTED_VALUES_MAX};

/// Inspects `record` under the rules; gives what came out, the hits, the refusals.
fn check(rules: &str, record: &Rec, expected: Option<&str>, hits: &[&str], refused: &[&str]) {
    let policy = compile(rules);
    let set = rule_set(&policy, "t", Direction::Produce).unwrap();
    let seen = inspect(&set, record);
    let value = seen.record.map(|record| record.value.unwrap_or_else(|| "null".to_owned()));
    assert_eq!(value.as_deref(), expected, "{rules}");
    assert_eq!(seen.hits, hits, "{rules}");
    assert_eq!(seen.refused, refused, "{rules}");
}

const MASK_A: &str = "
rules:
  - name: mask-a
    match: { topics: [t], direction: produce }
    fields: [ { path: $.a, transform: { mask: { keep_last: 1 } } } ]
";

const TWO: &str = "
rules:
  - name: lenient
    match: { topics: [t], direction: produce }
    fields: [ { path: $.a, transform: redact } ]
    on_failure: redact
  - name: strict
    match: { topics: [t], direction: produce }
    fields: [ { path: $.b, transform: redact } ]
";

const LENIENT: &str = "
rules:
  - name: lenient
    match: { topics: [t], direction: produce }
    fields: [ { path: $.a, transform: redact }, { header: h, transform: redact } ]
    on_failure: redact
";

const REFUSE: &str = "
rules:
  - name: outer
    match: { topics: [t], direction: produce }
    action: refuse
    fields: [ { path: $.x.y }, { header: secret } ]
  - name: inner
    match: { topics: [t], direction: produce }
    action: refuse
    fields: [ { path: $.x.y.z } ]
  - name: mask
    match: { topics: [t], direction: produce }
    fields: [ { path: $.x, transform: redact } ]
";

#[test]
fn transforms_the_fields_it_names_and_counts_them() {
    let v = value(r#"{"a":"abc","b":"abc","a":"de"}"#);
    check(MASK_A, &v, Some(r#"{"a":"**c","b":"abc","a":"*e"}"#), &["mask-a mask 2"], &[]);
}

#[test]
fn counts_only_what_it_changed() {
    check(MASK_A, &value(r#"{"a":"**c"}"#), Some(r#"{"a":"**c"}"#), &[], &[]);
    check(MASK_A, &value(r#"{"a":null}"#), Some(r#"{"a":null}"#), &[], &[]);
    check(MASK_A, &value(r#"{"b":1}"#), Some(r#"{"b":1}"#), &[], &[]);
}

#[test]
fn null_values_pass_and_empty_ones_are_no_json() {
    check(MASK_A, &Rec::default(), Some("null"), &[], &[]);
    check(MASK_A, &value(""), None, &["mask-a failure_refuse 1"], &["4 mask-a not_json"]);
}

#[test]
fn refuses_what_it_cannot_read() {
    for text in [r#"{"a":"abc""#, r#"{"a":"abc"}x"#, "abc", "{'a':1}", "\u{feff}", "\u{feff}\u{feff}{}"] {
        check(MASK_A, &value(text), None, &["mask-a failure_refuse 1"], &["4 mask-a not_json"]);
    }
    let deep = format!("{}{}", "[".repeat(9), "]".repeat(9));
    check(MASK_A, &value(&deep), None, &["mask-a failure_refuse 1"], &["4 mask-a too_deep"]);
    let deepest = format!("{}{}", "[".repeat(8), "]".repeat(8));
    check(MASK_A, &value(&deepest), Some(&deepest), &[], &[]);
}

#[test]
fn redacts_what_it_cannot_read_where_every_rule_says_so() {
    let bad = Rec { headers: vec![("h", Some("v"))], ..value("no json") };
    let policy = compile(LENIENT);
    let seen = inspect(&rule_set(&policy, "t", Direction::Produce).unwrap(), &bad);
    let record = seen.record.unwrap();
    assert_eq!(record.value.as_deref(), Some(r#""[redacted]""#));
    assert_eq!(record.headers, [Some("[redacted]".to_owned())]);
    assert_eq!(seen.hits, ["lenient redact 1", "lenient failure_redact 1"]);
    check(LENIENT, &value(r#""[redacted]""#), Some(r#""[redacted]""#), &[], &[]);
}

#[test]
fn refuse_beats_redact_on_failure() {
    check(TWO, &value("no json"), None, &["strict failure_refuse 1"], &["4 strict not_json"]);
    check(TWO, &value(r#"{"a":1,"b":2}"#), Some(r#"{"a":0,"b":0}"#), &["lenient redact 1", "strict redact 1"], &[]);
}

#[test]
fn refuses_fields_that_are_present_and_not_null() {
    for (text, hits, refused) in [
        (r#"{"x":{"y":1}}"#, vec!["outer refuse 1"], vec!["4 outer rule"]),
        (r#"{"x":{"y":""}}"#, vec!["outer refuse 1"], vec!["4 outer rule"]),
        (r#"{"x":{"y":{"z":1}}}"#, vec!["outer refuse 1", "inner refuse 1"], vec!["4 outer rule"]),
        (r#"{"x":{"y":{"z":null}}}"#, vec!["outer refuse 1"], vec!["4 outer rule"]),
    ] {
        check(REFUSE, &value(text), None, &hits, &refused);
    }
}

#[test]
fn a_transform_around_a_refused_field_does_not_hide_that_it_is_null() {
    let out = r#"{"x":{"y":null,"w":"[redacted]"}}"#;
    check(REFUSE, &value(r#"{"x":{"y":null,"w":"s"}}"#), Some(out), &["mask redact 1"], &[]);
}

#[test]
fn refuses_headers_by_presence() {
    let with = |header| Rec { headers: vec![("a", None), header], ..value("{}") };
    check(REFUSE, &with(("secret", Some(""))), None, &["outer refuse 1"], &["4 outer rule"]);
    check(REFUSE, &with(("secret", None)), Some("{}"), &[], &[]);
    check(REFUSE, &with(("secrets", Some("x"))), Some("{}"), &[], &[]);
}

#[test]
fn a_refused_record_counts_no_transform() {
    check(REFUSE, &value(r#"{"x":{"y":1,"w":"s"}}"#), None, &["outer refuse 1"], &["4 outer rule"]);
}

#[test]
fn header_rules_read_no_json_and_see_every_header_of_the_name() {
    let policy = compile(
        "
rules:
  - name: headers
    match: { topics: [t], direction: produce }
    fields: [ { header: h, transform: { mask: { keep_last: 1 } } }, { header: H, transform: redact } ]
",
    );
    let set = rule_set(&policy, "t", Direction::Produce).unwrap();
    let headers = vec![("h", Some("abc")), ("x", Some("abc")), ("h", None), ("h", Some("de")), ("H", Some("f"))];
    let seen = inspect(&set, &Rec { headers, ..value("no json") });
    let record = seen.record.unwrap();
    assert_eq!(record.value.as_deref(), Some("no json"));
    let values: Vec<Option<&str>> = record.headers.iter().map(Option::as_deref).collect();
    assert_eq!(values, [Some("**c"), Some("abc"), None, Some("*e"), Some("[redacted]")]);
    assert_eq!(seen.hits, ["headers mask 2", "headers redact 1"]);
}

#[test]
fn hashes_keys_and_refuses_two_hashes_of_one_key() {
    let policy = compile(
        "
rules:
  - name: one
    match: { topics: [/t./, /u/], direction: produce }
    fields: [ { key: true, transform: { hash: { key: links-2026 } } } ]
  - name: two
    match: { topics: [/t|tt/], direction: produce }
    fields: [ { key: true, transform: { hash: { key: other } } } ]
",
    );
    let record = Rec { key: Some(b"ada".to_vec()), ..Rec::default() };
    let seen = inspect(&rule_set(&policy, "u", Direction::Produce).unwrap(), &record);
    assert!(seen.record.unwrap().key.unwrap().starts_with("h:links-2026:"));
    assert_eq!(seen.hits, ["one hash 1"]);

    let both = rule_set(&policy, "tt", Direction::Produce).unwrap();
    let seen = inspect(&both, &record);
    assert!(seen.record.is_none());
    assert_eq!(seen.refused, ["4 two key_conflict"]);
    assert!(inspect(&both, &Rec::default()).record.is_some());
}

#[test]
fn different_transforms_that_meet_redact_and_equal_ones_apply_once() {
    let meet = |second: &str| {
        format!(
            "
rules:
  - name: one
    match: {{ topics: [/t/], direction: produce }}
    fields: [ {{ path: $.a, transform: {{ mask: {{ keep_last: 1 }} }} }}, {{ header: h, transform: redact }} ]
  - name: two
    match: {{ topics: [/t|u/], direction: produce }}
    fields: [ {{ path: $..a, transform: {second} }}, {{ header: h, transform: {second} }} ]
"
        )
    };
    let record = value(r#"{"a":{"a":"abc","b":"de"},"c":{"a":"fgh"}}"#);
    check(
        &meet("{ mask: { keep_first: 1 } }"),
        &record,
        Some(r#"{"a":{"a":"[redacted]","b":"[redacted]"},"c":{"a":"f**"}}"#),
        &["one redact 1", "two mask 1", "two redact 1"],
        &[],
    );
    check(
        &meet("{ mask: { keep_last: 1 } }"),
        &record,
        Some(r#"{"a":{"a":"**c","b":"*e"},"c":{"a":"**h"}}"#),
        &["one mask 1", "two mask 2"],
        &[],
    );
    let policy = compile(&meet("{ hash: { key: other } }"));
    let set = rule_set(&policy, "t", Direction::Produce).unwrap();
    let seen = inspect(&set, &Rec { headers: vec![("h", Some("v"))], ..value("{}") });
    assert_eq!(seen.record.unwrap().headers, [Some("[redacted]".to_owned())]);
}

#[test]
fn inspect_always_opens_and_reads_no_json() {
    let policy = compile(
        "
rules:
  - name: nothing-unopened
    match: { topics: [t], direction: both }
    inspect: always
",
    );
    for direction in [Direction::Produce, Direction::Consume] {
        let set = rule_set(&policy, "t", direction).unwrap();
        let seen = inspect(&set, &value("no json"));
        assert_eq!(seen.record.unwrap().value.as_deref(), Some("no json"));
        assert_eq!((seen.hits.len(), seen.edits), (0, 0));
    }
}

#[test]
fn debug_shows_no_record_byte() {
    let policy = compile(MASK_A);
    let set = rule_set(&policy, "t", Direction::Produce).unwrap();
    let mut scratch = weir_policy::Scratch::default();
    let shown = format!("{:?} {:?}", set.inspector(&mut scratch), weir_policy::Scratch::default());
    assert!(shown.contains("Inspector") && shown.len() < 200, "{shown}");
}

#[test]
fn a_value_in_which_rules_select_too_much_counts_as_unreadable() {
    // At the limit the value is `null`s, which change nothing; one more is not looked at, and so must not pass.
    let many = |count: usize| format!("{{{}}}", vec![r#""a":null"#; count].join(","));
    let most = many(SELECTED_VALUES_MAX);
    check(MASK_A, &value(&most), Some(&most), &[], &[]);
    let over = value(&many(SELECTED_VALUES_MAX + 1));
    check(MASK_A, &over, None, &["mask-a failure_refuse 1"], &["4 mask-a too_many_values"]);
}
