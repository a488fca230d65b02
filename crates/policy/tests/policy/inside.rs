//! JSON inside of headers, keys and strings.

use weir_policy::{Direction, INNER_BYTES_MAX, INNER_EDITS_MAX};

use crate::support::{Rec, Seen, compile, inspect, rule_set, value};

/// Inspects the record under rules of these fields, one rule for each line.
fn seen(lines: &[&str], record: &Rec) -> Seen {
    let rules = lines.iter().enumerate().map(|(index, line)| {
        // Patterns that nothing sees to be alike, so that fields may meet.
        let topic = format!("/t|rule{index}/");
        format!("  - name: r{index}\n    match: {{ topics: [{topic}], direction: produce }}\n    {line}\n")
    });
    let policy = compile(&format!("rules:\n{}", rules.collect::<String>()));
    inspect(&rule_set(&policy, "t", Direction::Produce).unwrap(), record)
}

/// Expected: the value that comes out, or `refused: …`.
fn check(lines: &[&str], text: &str, expected: &str) {
    let seen = seen(lines, &value(text));
    let shown = match seen.record {
        Some(record) => record.value.unwrap(),
        None => format!("refused: {}", seen.refused.join(", ")),
    };
    assert_eq!(shown, expected, "{lines:?} {text}");
}

const SSN: &str = "fields: [ { path: '$.payload|json|$.ssn', transform: { mask: { keep_last: 2 } } } ]";

#[test]
fn edits_documents_in_strings_and_nothing_around_them() {
    for (text, expected) in [
        (r#"{"payload":"{\"ssn\":\"1234\"}"}"#, r#"{"payload":"{\"ssn\":\"**34\"}"}"#),
        (r#"{"payload":"{\"ssn\":1234}","ssn":"1234"}"#, r#"{"payload":"{\"ssn\":0}","ssn":"1234"}"#),
        // Odd spellings stay, on both levels.
        (
            r#"{ "p\u0061yload" : "\u007b\u0022ssn\" :\u0020\"12\u00334\" ,\"\/\\\\\":\"\\n\"}" }"#,
            r#"{ "p\u0061yload" : "\u007b\u0022ssn\" :\u0020\"**\u00334\" ,\"\/\\\\\":\"\\n\"}" }"#,
        ),
        // What is masked was escaped: one star for each character.
        (r#"{"payload":"{\"ssn\":\"\u0031\\u003234\"}"}"#, r#"{"payload":"{\"ssn\":\"**34\"}"}"#),
        (r#"{"payload":"{\"ssn\":\"\\\"\\\\34\"}"}"#, r#"{"payload":"{\"ssn\":\"**34\"}"}"#),
        (r#"{"payload":"{\"ssn\":\"é€34\"}"}"#, r#"{"payload":"{\"ssn\":\"**34\"}"}"#),
        (
            r#"{"payload":"{\"ssn\":\"1234\",\"ssn\":\"5678\"}"}"#,
            r#"{"payload":"{\"ssn\":\"**34\",\"ssn\":\"**78\"}"}"#,
        ),
        // Nothing there.
        (r#"{"payload":"{}"}"#, r#"{"payload":"{}"}"#),
        (r#"{"payload":"7"}"#, r#"{"payload":"7"}"#),
        (r#"{"payload":null}"#, r#"{"payload":null}"#),
        ("{}", "{}"),
        (r#"{"payload":"{\"ssn\":null}"}"#, r#"{"payload":"{\"ssn\":null}"}"#),
    ] {
        check(&[SSN], text, expected);
    }
}

#[test]
fn what_is_no_document_in_a_string_is_a_failure() {
    let redact = format!("on_failure: redact\n    {SSN}");
    for bad in [
        r#"{"payload":"no json"}"#,
        r#"{"payload":""}"#,
        r#"{"payload":"{\"ssn\":\"1234\""}"#,
        r#"{"payload":"{\"ssn\":\"1234\"} x"}"#,
        r#"{"payload":{"ssn":"1234"}}"#,
        r#"{"payload":["ssn"]}"#,
        r#"{"payload":1234}"#,
        r#"{"payload":true}"#,
        r#"{"payload":"\ufeff{}"}"#,
        r#"{"payload":"{\"ssn\":\"1234\"}","payload":"x"}"#,
    ] {
        check(&[SSN], bad, "refused: 4 r0 not_json");
        check(&[&redact], bad, r#""[redacted]""#);
    }
}

#[test]
fn goes_through_three_documents_in_strings() {
    let path = "$.a|json|$.b|json|$.c|json|$..d";
    let nest = |innermost: &str| {
        let mut text = innermost.to_owned();
        for name in ["c", "b", "a"] {
            text = format!("{{\"{name}\":{}}}", serde_json::to_string(&text).unwrap());
        }
        text
    };
    let fields = format!("fields: [ {{ path: '{path}', transform: redact }} ]");
    check(&[&fields], &nest(r#"{"x":[{"d":"secret \" \\ é"}]}"#), &nest(r#"{"x":[{"d":"[redacted]"}]}"#));
    check(&[&fields], &nest(r#"{"d""#), "refused: 4 r0 not_json");
}

#[test]
fn all_documents_together_have_one_limit_of_depth() {
    // The limit here is 8: one object around, so seven inside.
    let nested = |depth: usize| format!("{{\"payload\":\"{}{}\"}}", "[".repeat(depth), "]".repeat(depth));
    check(&[SSN], &nested(7), &nested(7));
    check(&[SSN], &nested(8), "refused: 4 r0 too_deep");
    let around = |inner: &str| format!("{{\"a\":[[{{\"payload\":\"{inner}\"}}]]}}");
    let any = SSN.replace("$.payload", "$..payload");
    check(&[&any], &around("[[[[]]]]"), &around("[[[[]]]]"));
    check(&[&any], &around("[[[[[]]]]]"), "refused: 4 r0 too_deep");
}

#[test]
fn fields_in_one_document_in_a_string_share_it() {
    let text = r#"{"p":"{\"a\":\"abc\",\"b\":\"def\",\"c\":{\"a\":\"x\"}}"}"#;
    let mask = |path: &str| format!("fields: [ {{ path: '{path}', transform: mask }} ]");
    let redact = |path: &str| format!("fields: [ {{ path: '{path}', transform: redact }} ]");
    let (a, b, any) = (mask("$.p|json|$.a"), redact("$.p|json|$.b"), redact("$..p|json|$..a"));
    check(&[&a, &b], text, r#"{"p":"{\"a\":\"***\",\"b\":\"[redacted]\",\"c\":{\"a\":\"x\"}}"}"#);
    // Found by two paths to one string, and different: redacted.
    check(&[&a, &any], text, r#"{"p":"{\"a\":\"[redacted]\",\"b\":\"def\",\"c\":{\"a\":\"[redacted]\"}}"}"#);
    // Another field takes the string whole: its transform where both agree.
    check(&[&a, &redact("$.p")], text, r#"{"p":"[redacted]"}"#);
    check(&[&a, &mask("$.p")], r#"{"p":"{\"a\":1}"}"#, r#"{"p":"*******"}"#);
    check(&[&a, &redact("$")], text, r#"{"p":"[redacted]"}"#);
    check(&[&a, &redact("$.p.x")], text, &text.replace("abc", "***"));
}

#[test]
fn refuses_by_what_is_in_a_string() {
    let refuse = "action: refuse\n    fields: [ { path: '$.p|json|$.cvc' } ]";
    let mask = "fields: [ { path: '$.p|json|$', transform: redact } ]";
    check(&[refuse], r#"{"p":"{\"cvc\":\"737\"}"}"#, "refused: 4 r0 rule");
    check(&[refuse], r#"{"p":"{\"cvc\":null}"}"#, r#"{"p":"{\"cvc\":null}"}"#);
    check(&[refuse], r#"{"p":"{}"}"#, r#"{"p":"{}"}"#);
    check(&[refuse], r#"{"p":"{"}"#, "refused: 4 r0 not_json");
    check(&[mask, refuse], r#"{"p":"{\"cvc\":\"737\"}"}"#, "refused: 4 r1 rule");
    check(&[mask, refuse], r#"{"p":"{\"x\":\"737\"}"}"#, r#"{"p":"{\"x\":\"[redacted]\"}"}"#);
    // A rule that takes the string whole hides nothing from one that refuses.
    let whole = "fields: [ { path: $.p, transform: redact } ]";
    check(&[whole, refuse], r#"{"p":"{\"cvc\":\"737\"}"}"#, "refused: 4 r1 rule");
    check(&[whole, refuse], r#"{"p":"{\"x\":1}"}"#, r#"{"p":"[redacted]"}"#);
}

#[test]
fn documents_in_strings_have_limits() {
    let long = |bytes: usize| format!("{{\"payload\":\"{}{{}}\"}}", " ".repeat(bytes - 2));
    check(&[SSN], &long(INNER_BYTES_MAX), &long(INNER_BYTES_MAX));
    check(&[SSN], &long(INNER_BYTES_MAX + 1), "refused: 4 r0 too_large");
    let all = "fields: [ { path: '$|json|$[*]', transform: mask } ]";
    let numbers = |count: usize, number: &str| format!("\"[{}]\"", vec![number; count].join(","));
    check(&[all], &numbers(INNER_EDITS_MAX, "7"), &numbers(INNER_EDITS_MAX, "0"));
    check(&[all], &numbers(INNER_EDITS_MAX + 1, "7"), "refused: 4 r0 too_many_values");
    // As many edits of one value.
    let one = "fields: [ { path: '$|json|$', transform: mask } ]";
    check(&[one], &numbers(INNER_EDITS_MAX, "7"), &numbers(INNER_EDITS_MAX, "0"));
    check(&[one], &numbers(INNER_EDITS_MAX + 1, "7"), "refused: 4 r0 too_many_values");
}

/// The value of each header that comes out, or `refused: …`.
fn headers(lines: &[&str], sent: &[(&'static str, Option<&'static str>)]) -> Vec<String> {
    let seen = seen(lines, &Rec { headers: sent.to_vec(), ..value("{}") });
    match seen.record {
        Some(record) => record.headers.into_iter().map(|value| value.unwrap_or_else(|| "null".to_owned())).collect(),
        None => vec![format!("refused: {}", seen.refused.join(", "))],
    }
}

#[test]
fn looks_into_every_header_of_a_name() {
    let mask = "fields: [ { header: ctx, path: $.user, transform: mask } ]";
    let sent =
        [("ctx", Some(r#"{"user":"ada"}"#)), ("x", Some(r#"{"user":"ada"}"#)), ("ctx", None), ("ctx", Some("{}"))];
    assert_eq!(headers(&[mask], &sent), [r#"{"user":"***"}"#, r#"{"user":"ada"}"#, "null", "{}"]);
    let bad = [("ctx", Some(r#"{"user":"ada"}"#)), ("ctx", Some("ada"))];
    assert_eq!(headers(&[mask], &bad), ["refused: 4 r0 not_json"]);
    let redact = format!("on_failure: redact\n    {mask}");
    assert_eq!(headers(&[&redact], &bad), [r#"{"user":"***"}"#, r#""[redacted]""#]);
    let refuse = "action: refuse\n    fields: [ { header: ctx, path: $.user } ]";
    assert_eq!(headers(&[refuse], &sent), ["refused: 4 r0 rule"]);
    assert_eq!(headers(&[refuse], &[("ctx", Some(r#"{"user":null}"#))]), [r#"{"user":null}"#]);
    // Another rule takes the header whole.
    let whole = "fields: [ { header: ctx, transform: redact } ]";
    assert_eq!(headers(&[mask, whole], &[("ctx", Some("{}"))]), ["[redacted]"]);
    let nested = "fields: [ { header: ctx, path: '$|json|$.a', transform: redact } ]";
    assert_eq!(headers(&[nested], &[("ctx", Some(r#""{\"a\":1}""#))]), [r#""{\"a\":0}""#]);
}

#[test]
fn withholding_a_header_leaves_the_value_alone() {
    let rules = [
        "on_failure: redact\n    fields: [ { header: h, path: '$.a|json|$.b', transform: redact } ]",
        "fields: [ { path: $.v, transform: redact } ]",
    ];
    // One string of the header was edited before another could not be read.
    let header = r#"{"a":"{\"b\":1}","a":"x"}"#;
    let seen = seen(&rules, &Rec { headers: vec![("h", Some(header))], ..value(r#"{"v":1}"#) });
    let record = seen.record.unwrap();
    assert_eq!((record.value.as_deref(), record.headers[0].as_deref()), (Some(r#"{"v":0}"#), Some(r#""[redacted]""#)));
    assert_eq!(seen.hits, ["r0 failure_redact 1", "r1 redact 1"]);
}

/// The key that comes out, or `refused: …`.
fn key(lines: &[&str], sent: &str) -> String {
    let seen = seen(lines, &Rec { key: Some(sent.as_bytes().to_vec()), ..Rec::default() });
    match seen.record {
        Some(record) => record.key.unwrap(),
        None => format!("refused: {}", seen.refused.join(", ")),
    }
}

#[test]
fn hashes_parts_of_keys_and_only_text() {
    let rule = |path: &str, key: &str| {
        format!("fields: [ {{ key: true, path: '{path}', transform: {{ hash: {{ key: {key} }} }} }} ]")
    };
    let id = rule("$.id", "other");
    let hashed = key(&[&id], r#"{"id":"ada","region":"eu"}"#);
    assert!(hashed.starts_with(r#"{"id":"h:other:"#) && hashed.ends_with(r#"","region":"eu"}"#), "{hashed}");
    assert_eq!(key(&[&id], &hashed), hashed, "twice is once");
    assert_ne!(key(&[&id], r#"{"id":"bob","region":"eu"}"#), hashed);
    assert_eq!(key(&[&id], r#"{"id":null}"#), r#"{"id":null}"#);
    for bad in [r#"{"id":7}"#, r#"{"id":true}"#, r#"{"id":["ada"]}"#, r#"{"id":{"a":"ada"}}"#] {
        assert_eq!(key(&[&id], bad), "refused: 4 r0 key_not_text", "{bad}");
    }
    assert_eq!(key(&[&id], "ada"), "refused: 4 r0 not_json");
    let nested = rule("$.id|json|$.x", "other");
    assert!(key(&[&nested], r#"{"id":"{\"x\":\"ada\"}"}"#).starts_with(r#"{"id":"{\"x\":\"h:other:"#));
    assert_eq!(key(&[&nested], r#"{"id":"{\"x\":7}"}"#), "refused: 4 r0 key_not_text");
    // Two hashes of one part, or of a part and the whole.
    let second = rule("$..id", "links-2026");
    assert_eq!(key(&[&id, &second], r#"{"id":"ada"}"#), "refused: 4 r0 key_conflict");
    let whole = "fields: [ { key: true, transform: { hash: { key: links-2026 } } } ]";
    assert_eq!(key(&[&id, whole], r#"{"id":"ada"}"#), "refused: 4 r0 key_conflict");
    let same = whole.replace("links-2026", "other");
    assert!(key(&[&id, &same], r#"{"id":"ada"}"#).starts_with("h:other:"));
}
