//! From rules as written to rules as held, with every mistake that one rule can make alone.

use std::collections::HashMap;
use std::sync::Arc;

use weir_yaml::{Place, Problems, suggest};

use super::{FIELDS_MAX, Field, FieldAction, FieldTarget, OnFailure, RULES_MAX, Rule, check};
use crate::access::{AccessTable, Grant};
use crate::document::{AccessEntry, Document, FieldEntry, Located, RuleEntry, Target, TestEntry, TransformEntry};
use crate::keys::{KeyRing, Lookup};
use crate::transform::Transform;

/// Compiles what was read. The result is only to be used when `problems` has no error afterwards.
pub(crate) fn compile(
    document: Document,
    tests: &[TestEntry],
    keys: &KeyRing,
    problems: &mut Problems,
) -> (AccessTable, Vec<Rule>) {
    let access = compile_access(document.access, problems);
    check_names(document.rules.iter().map(|rule| &rule.name), "rule", problems);
    check_size(&document.rules, problems);
    let rules: Vec<Rule> = document.rules.into_iter().filter_map(|entry| compile_rule(entry, keys, problems)).collect();
    check::meetings(&rules, problems);
    check::unreachable(&rules, &access, problems);
    for test in tests {
        check_test_rules(test.expect.rules.as_deref().unwrap_or_default(), &rules, problems);
    }
    (access, rules)
}

fn compile_access(entries: Vec<AccessEntry>, problems: &mut Problems) -> AccessTable {
    check_names(entries.iter().map(|entry| &entry.name), "access entry", problems);
    let mut grants = Vec::with_capacity(entries.len());
    for entry in entries {
        // A1 of the design: who may read but has no group cannot use a group consumer, which is rarely meant.
        if let (Some(place), true) = (&entry.consume_place, entry.consumer_groups.is_empty()) {
            let message = format!("access entry `{}` may consume but use no consumer group", entry.name.value);
            problems.warning(place, message, "add  consumer_groups: [ … ]");
        }
        grants.push(Grant {
            name: entry.name.value,
            principals: entry.principals,
            produce: entry.produce,
            consume: entry.consume,
            consumer_groups: entry.consumer_groups,
        });
    }
    AccessTable::new(grants)
}

fn compile_rule(entry: RuleEntry, keys: &KeyRing, problems: &mut Problems) -> Option<Rule> {
    check_rule(&entry, problems);
    let RuleEntry { name, topics, directions, unless, refuse, on_failure, fields, .. } = entry;
    let fields = fields.into_iter().filter_map(|field| compile_field(field, refuse, keys, problems)).collect();
    if topics.is_empty() || directions.is_empty() {
        return None;
    }
    Some(Rule {
        name: Arc::from(name.value),
        place: name.place,
        topics: topics.into_iter().map(|topic| topic.value).collect(),
        directions,
        unless,
        on_failure: on_failure.map_or(OnFailure::Refuse, |written| written.value),
        fields,
    })
}

/// What a rule says that has no effect, or is missing to have one.
fn check_rule(rule: &RuleEntry, problems: &mut Problems) {
    if rule.is_broken {
        return;
    }
    let (name, place) = (&rule.name.value, &rule.name.place);
    let has_fields = !rule.fields.is_empty();
    if rule.refuse && !has_fields {
        let cure = "name the fields whose presence it refuses:  fields: [ { path: \"$.…\" } ]";
        problems.error(place, format!("rule `{name}` refuses but names no `fields`"), cure);
    } else if rule.has_fields && !has_fields {
        problems.error(place, format!("`fields` of rule `{name}` is empty"), "name a field, or remove the key");
    } else if !has_fields && !rule.inspect_always {
        let cure = "add `fields`, or  inspect: always  to open and validate every record";
        problems.error(place, format!("rule `{name}` does nothing"), cure);
    }
    let reads_json = rule.fields.iter().any(|field| matches!(field.target, Target::Path(_)));
    if let (Some(on_failure), false) = (&rule.on_failure, reads_json) {
        let message = format!("`on_failure` of rule `{name}` has no effect: no field has a `path`");
        problems.warning(&on_failure.place, message, "remove it");
    }
}

fn compile_field(entry: FieldEntry, refuse: bool, keys: &KeyRing, problems: &mut Problems) -> Option<Field> {
    let action = if refuse {
        FieldAction::Refuse
    } else {
        let Located { value: transform, place } = entry.transform?;
        check_injective(&entry.target, &transform, &place, problems);
        FieldAction::Transform(compile_transform(transform, keys, problems)?)
    };
    let target = match entry.target {
        Target::Path(path) => FieldTarget::Path(path),
        Target::Header(name) => FieldTarget::Header(name.into_bytes().into()),
        Target::Key => FieldTarget::Key,
    };
    Some(Field { place: entry.place, target, action })
}

/// Two keys that become one would be one entity to a compacted topic and to every join (T25 of the protocol reference).
fn check_injective(target: &Target, transform: &TransformEntry, place: &Place, problems: &mut Problems) {
    match (target, transform) {
        (Target::Key, TransformEntry::Redact | TransformEntry::Mask { .. }) => {
            let cure = "different keys would become one; use  hash: { key: … }";
            problems.error(place, "a record key can only be hashed", cure);
        }
        (Target::Key, TransformEntry::Hash { .. }) | (Target::Path(_) | Target::Header(_), _) => {}
    }
}

fn compile_transform(entry: TransformEntry, keys: &KeyRing, problems: &mut Problems) -> Option<Transform> {
    match entry {
        TransformEntry::Redact => Some(Transform::Redact),
        TransformEntry::Mask { keep_first, keep_last } => Some(Transform::Mask { keep_first, keep_last }),
        TransformEntry::Hash { key } => match keys.hash_key(&key.value) {
            Lookup::Found(key) => Some(Transform::Hash(Arc::clone(key))),
            Lookup::Retired => {
                let cure = "a retired key makes nothing new; name the key that took its place";
                problems.error(&key.place, format!("key `{}` is retired", key.value), cure);
                None
            }
            Lookup::Absent => {
                let known: Vec<&str> = keys.hash_ids().collect();
                let cure = match suggest(&key.value, &known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add it to `keys` in weir.yaml with  use: hash".to_owned(),
                };
                problems.error(&key.place, format!("key `{}` does not exist", key.value), cure);
                None
            }
        },
    }
}

/// Names are how audit entries, metrics and messages speak of a rule; two of one name could not be told apart.
fn check_names<'a>(names: impl Iterator<Item = &'a Located<String>>, what: &str, problems: &mut Problems) {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for name in names.filter(|name| !name.value.is_empty()) {
        if let Some(first) = seen.get(name.value.as_str()) {
            let cure = format!("the first is at {first}; rename one");
            problems.error(&name.place, format!("{what} `{}` exists twice", name.value), cure);
        } else {
            seen.insert(&name.value, &name.place);
        }
    }
}

fn check_size(rules: &[RuleEntry], problems: &mut Problems) {
    if let Some(rule) = rules.get(RULES_MAX) {
        problems.error(&rule.name.place, format!("more than {RULES_MAX} rules"), "join rules that do the same");
    }
    if rules.iter().map(|rule| rule.fields.len()).sum::<usize>() > FIELDS_MAX {
        problems.error(None, format!("more than {FIELDS_MAX} fields in all rules"), "join rules that do the same");
    }
}

fn check_test_rules(expected: &[Located<String>], rules: &[Rule], problems: &mut Problems) {
    for name in expected {
        if !rules.iter().any(|rule| *rule.name == *name.value) {
            let known: Vec<&str> = rules.iter().map(|rule| &*rule.name).collect();
            let cure = suggest(&name.value, &known).map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            problems.error(&name.place, format!("rule `{}` does not exist", name.value), cure);
        }
    }
}
