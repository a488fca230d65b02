//! What the policy tests share.

use std::sync::Arc;

use weir_policy::{
    Direction, Findings, Key, KeyRing, KeyUse, PolicyLimits, PolicySet, RuleSet, Scratch, Source, Subject,
};
use weir_protocol::records::{Edits, Field, Headers, Inspect, RecordView, Replacement, Verdict};
use weir_yaml::Problems;

/// Two keys that may hash, and a retired one.
pub(crate) fn keys() -> KeyRing {
    let key = |id: &str, retired| Key { id: id.to_owned(), use_: KeyUse::Hash, secret: [7; 32], retired };
    KeyRing::new(vec![key("links-2026", false), key("other", false), key("links-2025", true)])
}

pub(crate) fn compile_all(texts: &[&str]) -> (Option<PolicySet>, Problems) {
    let name = |index: usize| if index == 0 { "p.yaml".to_owned() } else { format!("p{index}.yaml") };
    let sources: Vec<Source> =
        texts.iter().enumerate().map(|(index, text)| Source { name: name(index), text: (*text).to_owned() }).collect();
    let mut problems = Problems::default();
    let policy = PolicySet::compile(&sources, &keys(), &PolicyLimits { json_depth_max: 8 }, &mut problems);
    assert_eq!(policy.is_none(), problems.errors() > 0, "{problems}");
    (policy, problems)
}

pub(crate) fn compile(text: &str) -> PolicySet {
    let (policy, problems) = compile_all(&[text]);
    policy.unwrap_or_else(|| panic!("{problems}"))
}

/// The rule set of a subject in no group.
pub(crate) fn rule_set(policy: &PolicySet, topic: &str, direction: Direction) -> Option<Arc<RuleSet>> {
    policy.rules(&Subject { id: "svc", groups: &[] }, topic, direction)
}

/// A record for an inspector.
#[derive(Clone, Default)]
pub(crate) struct Rec {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(&'static str, Option<&'static str>)>,
}

pub(crate) fn value(text: &str) -> Rec {
    Rec { value: Some(text.as_bytes().to_vec()), ..Rec::default() }
}

/// What came out of an inspector: the record, unless it was refused.
pub(crate) struct Seen {
    pub(crate) record: Option<Shown>,
    pub(crate) hits: Vec<String>,
    pub(crate) refused: Vec<String>,
    pub(crate) edits: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) headers: Vec<Option<String>>,
}

/// Inspects one record and carries its edits out.
pub(crate) fn inspect(set: &RuleSet, record: &Rec) -> Seen {
    let bytes = header_bytes(&record.headers);
    let headers = Headers::read(&bytes, u32::try_from(record.headers.len()).unwrap()).unwrap();
    let view = RecordView { index: 4, key: record.key.as_deref(), value: record.value.as_deref(), headers };
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let mut inspector = set.inspector(&mut scratch);
    let verdict = inspector.record(&view, &mut edits);
    let Findings { hits, refused } = inspector.finish();
    let shown = (verdict == Verdict::Keep).then(|| Shown {
        key: edited(Field::Key, record.key.as_deref(), &edits),
        value: edited(Field::Value, record.value.as_deref(), &edits),
        headers: (0..)
            .zip(&record.headers)
            .map(|(index, (_, value))| edited(Field::HeaderValue(index), value.map(str::as_bytes), &edits))
            .collect(),
    });
    Seen {
        record: shown,
        hits: hits
            .iter()
            .map(|hit| format!("{} {} {}", set.rule_name(hit.rule), hit.action.name(), hit.count))
            .collect(),
        refused: refused
            .iter()
            .map(|each| format!("{} {} {}", each.index, set.rule_name(each.rule), each.cause.name()))
            .collect(),
        edits: edits.iter().count(),
    }
}

fn edited(field: Field, bytes: Option<&[u8]>, edits: &Edits) -> Option<String> {
    let bytes = bytes?;
    let (mut out, mut at) = (Vec::new(), 0);
    for edit in edits.iter().filter(|edit| edit.field == field) {
        assert!(edit.span.start >= at, "edits are ascending");
        out.extend_from_slice(&bytes[at..edit.span.start]);
        match edit.with {
            Replacement::Bytes(with) => out.extend_from_slice(with),
            Replacement::Fill(fill) => out.resize(out.len() + edit.span.len(), fill),
        }
        at = edit.span.end;
    }
    out.extend_from_slice(&bytes[at..]);
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Headers in Kafka's encoding, for lengths below 64.
pub(crate) fn header_bytes(headers: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        for text in [Some(*name), *value] {
            let Some(text) = text else {
                bytes.push(1);
                continue;
            };
            assert!(text.len() < 64);
            bytes.push(u8::try_from(text.len()).unwrap() << 1);
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}
