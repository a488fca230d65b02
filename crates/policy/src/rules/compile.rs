//! From rules as written to rules as held, with every mistake that one rule can make alone.

use std::collections::HashMap;
use std::sync::Arc;

use weir_yaml::{Place, Problems, suggest};

use super::{
    FIELDS_MAX, Field, FieldAction, FieldTarget, INNER_DOCUMENTS_MAX, Location, OnFailure, RULES_MAX, Rule, check,
};
use crate::access::{AccessTable, Grant};
use crate::document::{AccessEntry, Document, FieldEntry, Located, RuleEntry, TestEntry, TransformEntry};
use crate::formats::Part;
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
    let location = |field: &FieldEntry| match &field.target {
        FieldTarget::Inside(location, _) => Some(location.clone()),
        FieldTarget::Header(_) | FieldTarget::Key => None,
    };
    let reads = |wanted: fn(&Location) -> bool| rule.fields.iter().filter_map(location).any(|place| wanted(&place));
    let reads_any = reads(|_| true);
    if let (Some(format), false) = (&rule.format, reads_any) {
        let message = format!("`format` of rule `{name}` has no effect: no field looks into something");
        problems.warning(format, message, "remove it");
    }
    match &rule.on_failure {
        Some(on_failure) if !reads_any => {
            let message = format!("`on_failure` of rule `{name}` has no effect: no field looks into something");
            problems.warning(&on_failure.place, message, "remove it");
        }
        Some(on_failure) if on_failure.value == OnFailure::Redact && reads(|place| *place == Location::Key) => {
            let cure = "different keys would become one; remove it, or give the field of the key a rule of its own";
            problems.error(&on_failure.place, "a record key that cannot be read can only be refused", cure);
        }
        Some(_) | None => {}
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
    Some(Field { place: entry.place, target: entry.target, action })
}

/// Two keys that become one would be one entity to a compacted topic and to every join (T25 of the protocol reference).
fn check_injective(target: &FieldTarget, transform: &TransformEntry, place: &Place, problems: &mut Problems) {
    match (target, transform) {
        (
            FieldTarget::Key | FieldTarget::Inside(Location::Key, _),
            TransformEntry::Redact | TransformEntry::Mask { .. },
        ) => {
            let cure = "different keys would become one; use  hash: { key: … }";
            problems.error(place, "a record key can only be hashed", cure);
        }
        (FieldTarget::Key | FieldTarget::Inside(..) | FieldTarget::Header(_), _) => {}
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
    let documents = |field: &FieldEntry| match &field.target {
        FieldTarget::Inside(_, Part::Route { route, .. }) => route.paths().len().saturating_sub(1),
        FieldTarget::Inside(..) | FieldTarget::Header(_) | FieldTarget::Key => 0,
    };
    if rules.iter().flat_map(|rule| &rule.fields).map(documents).sum::<usize>() > INNER_DOCUMENTS_MAX {
        let message = format!("the paths of all rules go through more than {INNER_DOCUMENTS_MAX} documents in strings");
        problems.error(None, message, "join rules that do the same");
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
