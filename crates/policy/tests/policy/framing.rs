//! The five bytes that Confluent's serializers write before a document: a zero byte and the id of its schema.

use weir_policy::Direction;

use crate::support::{Rec, compile, inspect, rule_set};

const JSON: &str = "fields: [ { path: $.a, transform: redact } ]";

/// Inspects the bytes under one rule; expected: what comes out, or the cause of the refusal.
#[track_caller]
fn check(rule: &str, bytes: &[u8], expected: Result<&[u8], &str>) {
    let text = format!("rules:\n  - name: r\n    match: {{ topics: [t], direction: both }}\n    {rule}\n");
    let policy = compile(&text);
    for direction in [Direction::Produce, Direction::Consume] {
        let set = rule_set(&policy, "t", direction).unwrap();
        let seen = inspect(&set, &Rec { value: Some(bytes.to_vec()), ..Rec::default() });
        let got = seen.record.map(|record| record.value.unwrap()).ok_or_else(|| seen.refused[0].clone());
        match expected {
            Ok(value) => assert_eq!(got, Ok(String::from_utf8_lossy(value).into_owned())),
            Err(cause) => assert!(got.unwrap_err().ends_with(cause), "{bytes:?}"),
        }
    }
}

#[test]
fn framing_before_json_is_stepped_over_and_kept() {
    check(JSON, b"\0\0\0\0\x07{\"a\":\"x\"}", Ok(b"\0\0\0\0\x07{\"a\":\"[redacted]\"}"));
    // Ids look like anything: here like the beginning of a document, and like a second framing.
    check(JSON, b"\0{\"a\"{\"a\":1}", Ok(b"\0{\"a\"{\"a\":0}"));
    check(JSON, b"\0\xff\xff\xff\xff [1]", Ok(b"\0\xff\xff\xff\xff [1]"));
    check(JSON, b"\0\0\0\0\x011", Ok(b"\0\0\0\0\x011"));
    let refused = "action: refuse\n    fields: [ { path: $.a } ]";
    check(refused, b"\0\0\0\0\x07{\"a\":1}", Err("rule"));
    check(refused, b"\0\0\0\0\x07{\"b\":1}", Ok(b"\0\0\0\0\x07{\"b\":1}"));
}

#[test]
fn framing_before_anything_else_falls_to_on_failure() {
    for bytes in [
        &b"\0\0\0\0\x07"[..],
        b"\0\0\0\0",
        b"\0",
        b"",
        b"\0\0\0\0\x07 ",
        b"\0\0\0\0\x07\x02\x06abc",
        b"\0\0\0\0\x07\0\0\0\0\x07{}",
        b"\0\0\0\0\x07\xef\xbb\xbf{}",
        b"\0\0\0\0{}",
        b"\x01\0\0\0\x07{}",
    ] {
        check(JSON, bytes, Err("not_json"));
        check(&format!("{JSON}\n    on_failure: redact"), bytes, Ok(b"\"[redacted]\""));
    }
    // Lines and tables have no framing: nobody writes it there, and a zero byte is no text.
    check("format: ndjson\n    fields: [ { path: $.a, transform: redact } ]", b"\0\0\0\0\x07{}\n", Err("not_json"));
}

#[test]
fn a_policy_tests_framed_values_as_raw_text() {
    let policy = |expected: &str| {
        format!(
            "access: [ {{ name: a, principals: {{ groups: [g] }}, allow: [ {{ produce: [t] }} ] }} ]\n\
             rules: [ {{ name: r, match: {{ topics: [t], direction: produce }}, {JSON} }} ]\n\
             tests:\n  - name: the schema id stays\n    \
             given: {{ topic: t, direction: produce, groups: [g], raw: \"\\0\\0\\0\\0\\a{{\\\"a\\\":\\\"x\\\"}}\" }}\n    \
             expect: {{ raw: \"{expected}\", rules: [r] }}\n"
        )
    };
    let kept = r#"\0\0\0\0\a{\"a\":\"[redacted]\"}"#;
    assert!(compile(&policy(kept)).run_tests().iter().all(|test| test.passed));
    let lost = r#"{\"a\":\"[redacted]\"}"#;
    assert!(compile(&policy(lost)).run_tests().iter().any(|test| !test.passed), "the control");
}
