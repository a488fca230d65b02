//! What transforms make of values.

use std::sync::Arc;

use proptest::prelude::*;
use weir_policy::json::{self, FieldId, JsonKind, Kind, Scratch as JsonScratch, Selected, Share};
use weir_policy::transform::{self, HashKey, REDACTED, Scratch, Transform};
use weir_protocol::records::{Edits, Field, Replacement};

use super::documents::{document, path, spell};
use super::oracle::{Node, tree};
use super::select::{select, trie};

fn key(id: &str) -> Arc<HashKey> {
    Arc::new(HashKey::new(id, [7; 32]))
}

fn mask(keep_first: u32, keep_last: u32) -> Transform {
    Transform::Mask { keep_first, keep_last }
}

/// Carries the edits out, and checks that they ascend.
fn carry_out(edits: &Edits, bytes: &[u8]) -> Vec<u8> {
    let (mut made, mut at) = (Vec::new(), 0);
    for edit in edits.iter() {
        assert_eq!(edit.field, Field::Value);
        assert!(edit.span.start >= at && edit.span.end >= edit.span.start, "edits ascend and are apart");
        made.extend_from_slice(&bytes[at..edit.span.start]);
        match edit.with {
            Replacement::Bytes(with) => made.extend_from_slice(with),
            Replacement::Fill(fill) => made.resize(made.len() + edit.span.len(), fill),
        }
        at = edit.span.end;
    }
    made.extend_from_slice(&bytes[at..]);
    made
}

/// Transforms what is selected. The transform says whether it changed anything, and that is checked.
fn transformed(transform: &Transform, doc: &[u8], selected: &[Selected]) -> Vec<u8> {
    let (mut edits, mut scratch, mut changed) = (Edits::default(), Scratch::default(), false);
    for selected in selected {
        changed |= transform::apply(transform, doc, selected, Field::Value, &mut edits, &mut scratch);
    }
    assert_eq!(changed, !edits.is_empty());
    let made = carry_out(&edits, doc);
    assert_eq!(changed, made != doc, "a change is a change: {:?}", String::from_utf8_lossy(doc));
    made
}

/// Transforms the whole document as one value, twice: the second time must change nothing.
fn transform_value(transform: &Transform, doc: &str) -> String {
    let all =
        |doc: &[u8]| transformed(transform, doc, &select(doc, &trie(&["$"]), &mut JsonScratch::default()).unwrap());
    let once = all(doc.as_bytes());
    assert_eq!(all(&once), once, "{transform:?} of {doc} twice");
    String::from_utf8(once).unwrap()
}

fn check(transform: &Transform, doc: &str, expected: &str) {
    assert_eq!(transform_value(transform, doc), expected, "{transform:?} of {doc}");
}

fn check_bytes(transform: &Transform, bytes: &[u8], expected: &[u8]) {
    let once = apply_bytes(transform, bytes);
    assert_eq!(once, expected, "{transform:?} of {bytes:02x?}");
    assert_eq!(apply_bytes(transform, &once), once, "{transform:?} twice");
}

fn apply_bytes(transform: &Transform, bytes: &[u8]) -> Vec<u8> {
    let (mut edits, mut scratch) = (Edits::default(), Scratch::default());
    let changed = transform::apply_bytes(transform, bytes, Field::Value, &mut edits, &mut scratch);
    assert_eq!(changed, !edits.is_empty());
    carry_out(&edits, bytes)
}

#[test]
fn redacts_each_type_within_itself() {
    check(&Transform::Redact, "\"secret\"", "\"[redacted]\"");
    check(&Transform::Redact, "\"\"", "\"[redacted]\"");
    check(&Transform::Redact, "\"\\u0041\\\"\"", "\"[redacted]\"");
    check(&Transform::Redact, "-12.5e3", "0");
    check(&Transform::Redact, "0", "0");
    check(&Transform::Redact, "true", "false");
    check(&Transform::Redact, "false", "false");
    check(&Transform::Redact, "null", "null");
    check(
        &Transform::Redact,
        r#" {"a" : ["x", {"b":1.5,"c":true}, null, []], "d":"\"}", "e": {} } "#,
        r#" {"a" : ["[redacted]", {"b":0,"c":false}, null, []], "d":"[redacted]", "e": {} } "#,
    );
    check(
        &Transform::Redact,
        "{\"a:\" \n : \"b\" , \"c\":\"d\"}",
        "{\"a:\" \n : \"[redacted]\" , \"c\":\"[redacted]\"}",
    );
    check(&Transform::Redact, "[1,2e5,-3]", "[0,0,0]");
}

#[test]
fn masks_one_star_per_character() {
    check(&mask(0, 4), "\"4111111111111111\"", "\"************1111\"");
    check(&mask(2, 0), "\"secret\"", "\"se****\"");
    check(&mask(1, 1), "\"secret\"", "\"s****t\"");
    check(&mask(0, 0), "\"secret\"", "\"******\"");
    check(&mask(0, 0), "\"\"", "\"\"");
    check(&mask(0, 2), "\"größe\"", "\"***ße\"");
    check(&mask(2, 0), "\"größe\"", "\"gr***\"");
    check(&mask(0, 0), "\"\u{1f600}é€\"", "\"***\"");
    check(&mask(0, 1), r#""a\u00e9\n\ud83d\ude00z""#, "\"****z\"");
    check(&mask(1, 2), r#""\u00e9bc\ud83d\ude00\"""#, r#""\u00e9**\ud83d\ude00\"""#);
    check(&mask(0, 0), r#""\\\\\"""#, "\"***\"");
}

#[test]
fn masks_a_short_text_whole() {
    check(&mask(0, 4), "\"1234\"", "\"****\"");
    check(&mask(0, 4), "\"12345\"", "\"*2345\"");
    check(&mask(3, 3), "\"123456\"", "\"******\"");
    check(&mask(3, 3), "\"1234567\"", "\"123*567\"");
    check(&mask(u32::MAX, u32::MAX), "\"123\"", "\"***\"");
    check(&mask(0, 2), r#""\u00e9\n""#, "\"**\"");
}

#[test]
fn masks_in_place_where_each_byte_is_a_character() {
    let doc = br#"{"n":"4111111111111111","u":"n\u00e9"}"#;
    let selected = select(doc, &trie(&["$.*"]), &mut JsonScratch::default()).unwrap();
    let (mut edits, mut scratch) = (Edits::default(), Scratch::default());
    for selected in &selected {
        assert!(transform::apply(&mask(0, 4), doc, selected, Field::Value, &mut edits, &mut scratch));
    }
    let edits: Vec<_> =
        edits.iter().map(|edit| (edit.span.clone(), matches!(edit.with, Replacement::Fill(b'*')))).collect();
    assert_eq!(edits, [(6..18, true), (29..36, false)]);
}

#[test]
fn masks_numbers_to_zeros_that_stay_numbers() {
    for (number, expected) in [
        ("0", "0"),
        ("7", "0"),
        ("123", "0"),
        ("-5", "0"),
        ("-0", "0"),
        ("12.50", "0.00"),
        ("-12.5e3", "0.0e0"),
        ("1e5", "0e0"),
        ("1.25E-07", "0.00E-00"),
        ("9e+12", "0e+00"),
        ("123456789012345678901234567890", "0"),
    ] {
        check(&mask(2, 2), number, expected);
        let integer = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap().is_u64();
        assert!(integer(expected) || number.contains(['.', 'e', 'E']), "{number} and {expected} are of one type");
    }
    check(&mask(0, 4), r#"{"a":[10,true,"12345"],"b":null}"#, r#"{"a":[0,false,"*2345"],"b":null}"#);
}

#[test]
fn hashes_strings_and_redacts_other_scalars() {
    let hash = Transform::Hash(key("pii-2026"));
    let made = transform_value(&hash, "\"jana@example.com\"");
    assert_eq!(made.len(), "\"h:pii-2026:\"".len() + 32, "{made}");
    assert!(made.starts_with("\"h:pii-2026:") && made.bytes().all(|byte| byte.is_ascii_graphic()), "{made}");
    assert_eq!(transform_value(&hash, r#""jana@ex\u0061mple.com""#), made, "an escape is the character it stands for");
    assert_ne!(transform_value(&hash, "\"jana@example.con\""), made);
    assert_ne!(
        transform_value(&Transform::Hash(Arc::new(HashKey::new("pii-2026", [8; 32]))), "\"jana@example.com\""),
        made
    );
    check(&hash, "12.5", "0");
    check(&hash, "true", "false");
    check(&hash, "null", "null");
    assert_eq!(transform_value(&hash, r#"{"a":"jana@example.com","b":1}"#), format!("{{\"a\":{made},\"b\":0}}"));
    assert_eq!(apply_bytes(&hash, b"jana@example.com"), made.trim_matches('"').as_bytes(), "headers and JSON join");
}

/// A golden value, computed with another implementation of HMAC: hashes are stored, so they must never change between
/// versions.
#[test]
fn hashes_as_it_always_did() {
    let made = apply_bytes(&Transform::Hash(key("k")), b"4111111111111111");
    assert_eq!(String::from_utf8(made).unwrap(), "h:k:3dQxZE1OrEnZoic7I02nIS10LIupRe-t");
}

#[test]
fn knows_only_its_own_hashes() {
    let hash = Transform::Hash(key("k"));
    let own = apply_bytes(&hash, b"x");
    assert_eq!(apply_bytes(&hash, &own), own);
    let escaped = format!("\"\\u0068{}\"", String::from_utf8_lossy(&own[1..]));
    check(&hash, &escaped, &escaped);
    let prefix = "h:k:".len();
    for at in 0..own.len() {
        let mut forged = own.clone();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert_ne!(apply_bytes(&hash, &forged), forged, "byte {at} of {}, {prefix} of them prefix", own.len());
    }
    for forged in ["h:k:", "h:k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "h:k", "h:kk:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_ne!(apply_bytes(&hash, forged.as_bytes()), forged.as_bytes());
    }
    let longer = [own.as_slice(), b"A"].concat();
    assert_ne!(apply_bytes(&hash, &longer), longer);
    assert_ne!(apply_bytes(&Transform::Hash(key("k2")), &own), own, "another key hashes it again");
    assert_ne!(
        apply_bytes(&Transform::Hash(Arc::new(HashKey::new("k", [9; 32]))), &own),
        own,
        "and so does another secret"
    );
}

#[test]
fn writes_odd_key_ids_so_that_json_holds() {
    let hash = Transform::Hash(key("a\"b\\:é"));
    let made = transform_value(&hash, "\"x\"");
    assert!(made.starts_with("\"h:a_b___:"), "{made}");
    assert!(serde_json::from_str::<String>(&made).is_ok());
}

#[test]
fn shows_no_secret() {
    let shown = format!("{:?}", Transform::Hash(key("k")));
    assert!(shown.contains('k') && !shown.contains("7, 7"), "{shown}");
}

#[test]
fn transforms_bytes_as_text() {
    check_bytes(&Transform::Redact, b"secret", REDACTED.as_bytes());
    check_bytes(&Transform::Redact, b"", REDACTED.as_bytes());
    check_bytes(&Transform::Redact, b"\xff\x00", REDACTED.as_bytes());
    check_bytes(&mask(0, 2), b"secret", b"****et");
    check_bytes(&mask(0, 0), b"", b"");
    check_bytes(&mask(1, 0), "größe".as_bytes(), b"g****");
    check_bytes(&mask(0, 2), "größe".as_bytes(), "***ße".as_bytes());
    check_bytes(&mask(0, 2), b"a\\n", b"*\\n");
    check_bytes(&mask(0, 2), b"secret\xff", b"*******");
    check_bytes(&mask(1, 1), b"\xc3\x28", b"**");
}

#[test]
fn redacts_a_span_that_two_fields_share_once() {
    let doc = br#"{"a":{"b":"secret"},"b":"secret"}"#;
    let selected = select(doc, &trie(&["$.a", "$..b"]), &mut JsonScratch::default()).unwrap();
    let made = transformed(&mask(0, 4), doc, &selected);
    assert_eq!(String::from_utf8(made).unwrap(), r#"{"a":{"b":"[redacted]"},"b":"**cret"}"#);
}

#[test]
fn a_span_that_is_not_in_the_document_makes_an_edit_that_cannot_be_carried_out() {
    let found = select(br#"{"a":["x",1,true]}"#, &trie(&["$.a", "$.a[*]"]), &mut JsonScratch::default()).unwrap();
    let elements = select(br#"["x",1,true]"#, &trie(&["$[*]"]), &mut JsonScratch::default()).unwrap();
    for transform in [Transform::Redact, mask(0, 0), Transform::Hash(key("k"))] {
        for selected in found.iter().take(1).chain(&elements) {
            let (mut edits, mut scratch) = (Edits::default(), Scratch::default());
            assert!(transform::apply(&transform, b"", selected, Field::Value, &mut edits, &mut scratch));
            assert!(edits.iter().any(|edit| edit.span.end > 0), "{transform:?} of {selected:?}");
        }
    }
}

fn any_transform() -> impl Strategy<Value = Transform> {
    prop_oneof![
        Just(Transform::Redact),
        (0_u32..4, 0_u32..4).prop_map(|(first, last)| mask(first, last)),
        Just(Transform::Hash(key("k"))),
    ]
}

/// Names, kinds and order of everything, and the scalars outside of the spans, as they were.
fn same_shape(before: (&str, &Node), behind: (&str, &Node), inside: bool, selected: &[Selected]) {
    let text = |(doc, node): (&str, &Node)| doc[node.span.clone()].to_owned();
    let (old, new) = (text(before), text(behind));
    let inside = inside || selected.iter().any(|selected| selected.span == before.1.span);
    let kind = |text: &str| match text.as_bytes()[0] {
        b'-' | b'0'..=b'9' => b'0',
        b't' | b'f' => b'f',
        other => other,
    };
    assert_eq!(kind(&old), kind(&new));
    assert_eq!((&before.1.name, before.1.index), (&behind.1.name, behind.1.index));
    assert_eq!(before.1.children.len(), behind.1.children.len());
    if before.1.children.is_empty() && !inside {
        assert_eq!(old, new);
    }
    for (old, new) in before.1.children.iter().zip(&behind.1.children) {
        same_shape((before.0, old), (behind.0, new), inside, selected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changes_values_and_nothing_else(
        doc in document(),
        paths in prop::collection::vec(path(), 1..4),
        transform in any_transform(),
    ) {
        let spelled: Vec<String> = paths.iter().map(|path| spell(path)).collect();
        let trie = trie(&spelled.iter().map(String::as_str).collect::<Vec<_>>());
        let mut scratch = JsonScratch::default();
        if let Ok(selected) = select(doc.as_bytes(), &trie, &mut scratch) {
            let made = String::from_utf8(transformed(&transform, doc.as_bytes(), &selected)).unwrap();
            json::check(made.as_bytes(), 127).unwrap();
            same_shape((&doc, &tree(&doc)), (&made, &tree(&made)), false, &selected);
            let again = select(made.as_bytes(), &trie, &mut scratch).unwrap();
            let kept = |selected: &[Selected]| selected.iter().map(|one| (one.field, one.kind, one.share)).collect::<Vec<_>>();
            prop_assert_eq!(kept(&again), kept(&selected));
            prop_assert_eq!(transformed(&transform, made.as_bytes(), &again), made.as_bytes());
        }
    }

    /// Only what `select` found may be transformed; but whatever comes, nothing panics.
    #[test]
    fn survives_noise(
        noise in prop_oneof![prop::collection::vec(any::<u8>(), 0..60), "[\\[{\"a\\\\u0,:1.etfn}\\]]{0,60}".prop_map(String::into_bytes)],
        ends in (0_usize..70, 0_usize..70),
        kind in prop::sample::select(vec![
            Kind::Json(JsonKind::Object), Kind::Json(JsonKind::Array), Kind::Json(JsonKind::String),
            Kind::Json(JsonKind::Number), Kind::Json(JsonKind::Bool), Kind::Json(JsonKind::Null), Kind::Plain, Kind::Quoted,
        ]),
        transform in any_transform(),
    ) {
        let selected = Selected { span: ends.0..ends.1, field: FieldId(0), kind, share: Share::Alone, depth: 0 };
        let (mut edits, mut scratch) = (Edits::default(), Scratch::default());
        let changed = transform::apply(&transform, &noise, &selected, Field::Value, &mut edits, &mut scratch);
        prop_assert_eq!(changed, !edits.is_empty());
    }

    #[test]
    fn bytes_that_are_transformed_twice_are_transformed_once(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..40), "\\PC{0,20}".prop_map(String::into_bytes)],
        transform in any_transform(),
    ) {
        let once = apply_bytes(&transform, &bytes);
        prop_assert_eq!(apply_bytes(&transform, &once), once);
    }
}
