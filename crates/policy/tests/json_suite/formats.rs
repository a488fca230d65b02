//! Formats against models: what is around a document changes nothing of what happens in it.

use proptest::prelude::*;
use weir_policy::{
    Direction, KeyRing, PolicyLimits, PolicySet, Scratch, Source, Subject, fuzz_formats, fuzz_json_acceptance,
};
use weir_protocol::records::{Edits, Headers, Inspect, RecordView, Replacement, Verdict};
use weir_yaml::Problems;

use super::documents::{Damage, damage, document, path, spell};
use super::hard::HARD;

/// One rule with these lines.
fn policy(lines: &str) -> PolicySet {
    let text = format!("rules:\n  - name: r\n    match: {{ topics: [t], direction: produce }}\n{lines}");
    let mut problems = Problems::default();
    let sources = [Source { name: "p.yaml".to_owned(), text }];
    let limits = PolicyLimits { json_depth_max: 64 };
    PolicySet::compile(&sources, &KeyRing::default(), &limits, &mut problems).unwrap_or_else(|| panic!("{problems}"))
}

/// What comes out, or none when the record is refused.
fn through(policy: &PolicySet, value: &[u8]) -> Option<Vec<u8>> {
    let set = policy.rules(&Subject { id: "x", groups: &[] }, "t", Direction::Produce).unwrap();
    let record = RecordView { index: 0, key: None, value: Some(value), headers: Headers::read(&[], 0).unwrap() };
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let verdict = set.inspector(&mut scratch).record(&record, &mut edits);
    let mut all: Vec<_> = edits.iter().collect();
    all.sort_by_key(|edit| edit.span.start);
    let (mut out, mut at) = (Vec::new(), 0);
    for edit in all {
        out.extend_from_slice(&value[at..edit.span.start]);
        match edit.with {
            Replacement::Bytes(with) => out.extend_from_slice(with),
            Replacement::Fill(fill) => out.resize(out.len() + edit.span.len(), fill),
        }
        at = edit.span.end;
    }
    out.extend_from_slice(&value[at..]);
    (verdict == Verdict::Keep).then_some(out)
}

fn json_rule(route: &str, transform: &str) -> String {
    format!("    fields: [ {{ path: {}, transform: {transform} }} ]\n", serde_json::to_string(route).unwrap())
}

/// Writes a text as the inside of a JSON string, each character in a spelling of its own.
fn escape(text: &str, choices: &[u8]) -> String {
    let mut out = String::new();
    for (c, choice) in text.chars().zip(choices.iter().cycle()) {
        let mut units = [0; 2];
        match (c, choice % 4) {
            ('"' | '\\', 0 | 1) => out.extend(['\\', c]),
            ('\n', 0) => out.push_str("\\n"),
            ('/', 0) => out.push_str("\\/"),
            ('"' | '\\' | '\0'..='\u{1f}', _) | (_, 3) => {
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            _ => out.push(c),
        }
    }
    out
}

fn transform() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["redact", "mask", "{ mask: { keep_first: 1, keep_last: 2 } }"])
}

fn spellings() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// To edit a document in a string is to edit the document and put it in the string.
    #[test]
    fn a_document_in_a_string_is_edited_as_the_document(
        doc in document(),
        damages in prop::option::weighted(0.2, damage()),
        path in path(),
        transform in transform(),
        spellings in prop::collection::vec(spellings(), 1..4),
    ) {
        let mut doc = doc.into_bytes();
        damages.iter().flatten().for_each(|damage: &Damage| damage.apply(&mut doc));
        // A byte order mark is stepped over at the start of a value only.
        let Some(doc) = String::from_utf8(doc).ok().filter(|doc| !doc.starts_with('\u{feff}')) else { return Ok(()) };
        let alone = through(&policy(&json_rule(&spell(&path), transform)), doc.as_bytes());
        let (mut wrapped, mut route) = (doc.clone(), spell(&path));
        for spelling in &spellings {
            wrapped = format!("{{\"a\" : [0, \"{}\"] }}", escape(&wrapped, spelling));
            route = format!("$.a[1]|json|{route}");
        }
        let mut nested = through(&policy(&json_rule(&route, transform)), wrapped.as_bytes());
        if nested.is_some() {
            for _ in &spellings {
                let text = nested.unwrap();
                let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
                nested = Some(value["a"][1].as_str().unwrap().as_bytes().to_vec());
            }
        }
        // The limit of depth is far away from what is generated, but where damage repeats brackets.
        prop_assert_eq!(
            nested.map(|text| String::from_utf8(text).unwrap()),
            alone.map(|text| String::from_utf8(text).unwrap()),
            "{} in {}", route, wrapped
        );
    }

    /// What changes nothing in the document changes nothing around it, to the byte.
    #[test]
    fn what_is_not_selected_keeps_its_bytes(doc in document(), spelling in spellings()) {
        let wrapped = format!("{{\"a\":[0,\"{}\"]}}", escape(&doc, &spelling));
        let policy = policy(&json_rule("$.a[1]|json|$..none", "redact"));
        let parsed = serde_json::from_str::<serde_json::Value>(&doc).is_ok();
        prop_assert_eq!(through(&policy, wrapped.as_bytes()), parsed.then(|| wrapped.into_bytes()));
    }

    #[test]
    fn lines_are_edited_as_documents(
        docs in prop::collection::vec((document(), prop::sample::select(vec!["\n", "\r\n", "\n\n", " \n\t\r\n"])), 0..5),
        path in path(),
        transform in transform(),
    ) {
        // A line has no ends of lines in it; to JSON a space is as good.
        let docs: Vec<(String, &str)> = docs.into_iter().map(|(doc, end)| (doc.replace(['\n', '\r'], " "), end)).collect();
        let one = policy(&json_rule(&spell(&path), transform));
        let lines = policy(&format!("    format: ndjson\n{}", json_rule(&spell(&path), transform)));
        let all: String = docs.iter().map(|(doc, end)| format!("{doc}{end}")).collect();
        let expected: Option<Vec<u8>> = docs.iter().try_fold(Vec::new(), |mut out, (doc, end)| {
            out.extend(through(&one, doc.as_bytes())?);
            out.extend_from_slice(end.as_bytes());
            Some(out)
        });
        prop_assert_eq!(through(&lines, all.as_bytes()), expected);
    }

    /// A table that is written from fields, in any way that may be, comes out with one column masked, and read back as it was.
    #[test]
    fn tables_keep_their_shape(
        rows in prop::collection::vec(prop::collection::vec(("[ -~é\"\n,\t]{0,8}", any::<bool>()), 3), 0..6),
        is_crlf in any::<bool>(),
        is_tabs in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let separator = if is_tabs { "\t" } else { "," };
        let end = if is_crlf { "\r\n" } else { "\n" };
        let write = |mask: bool| {
            let field = |place: usize, (text, quoted): &(String, bool)| {
                let masked = || "*".repeat(text.chars().count());
                let must = text.contains(['"', '\n']) || text.contains(separator);
                let text = if mask && place == 1 { masked() } else { text.replace('"', "\"\"") };
                if *quoted || must { format!("\"{text}\"") } else { text }
            };
            let row = |row: &Vec<(String, bool)>| {
                row.iter().enumerate().map(|(place, each)| field(place, each)).collect::<Vec<_>>().join(separator)
            };
            rows.iter().map(row).collect::<Vec<_>>().join(end) + if ends && !rows.is_empty() { end } else { "" }
        };
        let format = if is_tabs { "tsv" } else { "csv" };
        let policy = policy(&format!(
            "    format: {format}\n    columns: [x, y, z]\n    fields: [ {{ column: y, transform: mask }} ]\n"
        ));
        let out = through(&policy, write(false).as_bytes()).map(|out| String::from_utf8(out).unwrap());
        prop_assert_eq!(out, Some(write(true)));
    }

    #[test]
    fn pairs_are_masked_wherever_they_stand(
        pieces in prop::collection::vec(("[a-z0-9:./-]{1,6}", "[!#-&(-~é]{1,6}", 0_u8..6), 0..8),
    ) {
        let write = |mask: bool| {
            let stars = |text: &str| if mask { "*".repeat(text.chars().count()) } else { text.to_owned() };
            let quoted = |text: &str| escape(text, &[0]);
            let piece = |(word, value, kind): &(String, String, u8)| match kind {
                0 => word.clone(),
                1 => format!("{word}-x={value}"),
                2 => format!("user={}", stars(value)),
                3 => format!("user = {}", stars(value)),
                4 => format!("user=\"{}\"", if mask { stars(value) } else { quoted(value) }),
                _ => format!("note=\"user={}\"", quoted(word)),
            };
            pieces.iter().map(piece).collect::<Vec<_>>().join(" ")
        };
        let policy = policy("    format: text\n    fields: [ { pair: user, transform: mask } ]\n");
        let out = through(&policy, write(false).as_bytes()).map(|out| String::from_utf8(out).unwrap());
        prop_assert_eq!(out, Some(write(true)));
    }

    #[test]
    fn survives_noise_in_every_format(
        noise in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..120),
            "[ab=,\"\\\\\n\r\t {}:p1q'\\[\\]é]{0,60}".prop_map(String::into_bytes),
            document().prop_map(String::into_bytes),
        ],
    ) {
        fuzz_formats(&noise);
        fuzz_json_acceptance(&noise);
    }
}

#[test]
fn survives_hard_documents_in_every_format() {
    for (_, doc) in HARD {
        fuzz_formats(doc);
        fuzz_json_acceptance(doc);
        let wrapped = serde_json::to_vec(&serde_json::json!({ "p": String::from_utf8_lossy(doc), "a": "x" })).unwrap();
        fuzz_formats(&wrapped);
    }
}

/// The control of the first property: an edit that is not escaped for the string around it would differ.
#[test]
fn the_property_has_something_to_compare() {
    let policy = policy(&json_rule("$.a[1]|json|$.b", "mask"));
    let text = r#"{"a" : [0, "{\"b\":\"x\\\"y\"}"] }"#;
    let out = through(&policy, text.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"a" : [0, "{\"b\":\"***\"}"] }"#);
    assert_eq!(through(&policy, br#"{"a":[0,"{\"b\":1"]}"#), None);
}
