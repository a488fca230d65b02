//! What a fuzzer runs, and the tests of this crate run on a few inputs.

use std::sync::OnceLock;

use weir_protocol::records::{EditView, Edits, Field, Headers, Inspect, RecordView, Replacement, Verdict};
use weir_yaml::Problems;

use crate::access::Subject;
use crate::inspector::Scratch;
use crate::json;
use crate::keys::{Key, KeyRing, KeyUse};
use crate::policy_set::{PolicyLimits, PolicySet, Source};
use crate::rules::Direction;
use crate::ruleset::RuleSet;

/// Compares what [`json::check`] accepts with what serde_json does, for fuzzing.
///
/// # Panics
///
/// When they differ.
pub fn fuzz_json_acceptance(doc: &[u8]) {
    json::fuzz_json(doc);
    // By such names serde_json, with features that other crates may ask for, smuggles its own values through serde.
    if memchr::memmem::find(doc, b"$serde_json").is_none() {
        let expected = serde_json::from_slice::<serde_json::Value>(doc).is_ok();
        assert_eq!(json::check(doc, SERDE_JSON_DEPTH_MAX).is_ok(), expected, "json and serde_json accept the same");
    }
}

/// Inspects arbitrary bytes as key and value in every format, for fuzzing: edits lie apart and in place, and what comes out comes out
/// of a second inspection as it is.
///
/// # Panics
///
/// When one of this does not hold.
pub fn fuzz_formats(data: &[u8]) {
    static POLICY: OnceLock<Option<PolicySet>> = OnceLock::new();
    let Some(policy) = POLICY.get_or_init(compile) else { return assert!(data.is_empty(), "the policy compiles") };
    let mut scratch = Scratch::default();
    for topic in TOPICS {
        let set = policy.rules(&Subject { id: "fuzz", groups: &[] }, topic, Direction::Produce);
        let Some(set) = set else { return assert!(data.is_empty(), "each topic has a rule") };
        let Some(once) = inspect(&set, data, data, &mut scratch) else { continue };
        let twice = inspect(&set, &once.0, &once.1, &mut scratch);
        assert!(twice == Some(once), "{topic}: inspected twice is inspected once");
    }
}

fn compile() -> Option<PolicySet> {
    let key = Key { id: "k".to_owned(), use_: KeyUse::Hash, secret: [7; 32], retired: false };
    let source = Source { name: "fuzz.yaml".to_owned(), text: RULES.to_owned() };
    PolicySet::compile(&[source], &KeyRing::new(vec![key]), &PolicyLimits::default(), &mut Problems::default())
}

/// Key and value that come out; none when the record is refused.
fn inspect(set: &RuleSet, key: &[u8], value: &[u8], scratch: &mut Scratch) -> Option<(Vec<u8>, Vec<u8>)> {
    let headers = Headers::read(&[], 0).ok()?;
    let record = RecordView { index: 0, key: Some(key), value: Some(value), headers };
    let mut edits = Edits::default();
    let verdict = set.inspector(scratch).record(&record, &mut edits);
    let carry_out = |field, bytes| carry_out(&edits, field, bytes);
    (verdict == Verdict::Keep).then(|| (carry_out(Field::Key, key), carry_out(Field::Value, value)))
}

fn carry_out(edits: &Edits, field: Field, bytes: &[u8]) -> Vec<u8> {
    let mut edits: Vec<EditView<'_>> = edits.iter().filter(|edit| edit.field == field).collect();
    edits.sort_by_key(|edit| edit.span.start);
    let (mut out, mut at) = (Vec::new(), 0);
    for edit in edits {
        let kept = bytes.get(at..edit.span.start);
        assert!(kept.is_some() && edit.span.end >= edit.span.start, "edits lie apart and in place");
        out.extend_from_slice(kept.unwrap_or_default());
        match edit.with {
            Replacement::Bytes(with) => out.extend_from_slice(with),
            Replacement::Fill(fill) => out.resize(out.len() + edit.span.len(), fill),
        }
        at = edit.span.end;
    }
    let rest = bytes.get(at..);
    assert!(rest.is_some(), "edits lie in place");
    out.extend_from_slice(rest.unwrap_or_default());
    out
}

/// serde_json opens no more containers than this.
const SERDE_JSON_DEPTH_MAX: usize = 127;

const TOPICS: [&str; 7] = ["json", "key", "ndjson", "csv", "tsv", "text", "mixed"];

const RULES: &str = r#"
rules:
  - name: json
    match: { topics: [json], direction: produce }
    fields:
      - { path: "$.a", transform: { mask: { keep_first: 1, keep_last: 2 } } }
      - { path: "$..b", transform: { hash: { key: k } } }
      - { path: "$.p|json|$.a", transform: { mask: { keep_last: 1 } } }
      - { path: "$..p|json|$..q|json|$[*]", transform: redact }
    on_failure: redact
  - name: key
    match: { topics: [key], direction: produce }
    fields:
      - { key: true, path: "$.a", transform: { hash: { key: k } } }
      - { key: true, path: "$.p|json|$", transform: { hash: { key: k } } }
  - name: ndjson
    match: { topics: [ndjson], direction: produce }
    format: ndjson
    fields: [ { path: "$..a", transform: mask }, { path: "$.p|json|$.a", transform: mask } ]
  - name: csv
    match: { topics: [csv, mixed], direction: produce }
    format: csv
    fields: [ { column: 1, transform: { mask: { keep_first: 1 } } }, { column: 0, transform: redact } ]
  - name: tsv
    match: { topics: [tsv], direction: produce }
    format: tsv
    columns: [a, b]
    fields: [ { column: b, transform: { hash: { key: k } } } ]
    on_failure: redact
  - name: text
    match: { topics: [text, mixed], direction: produce }
    format: text
    fields: [ { pair: a, transform: { mask: { keep_last: 1 } } }, { pair: b, transform: redact } ]
"#;
