//! Reads one entry of `rules`.

use weir_yaml::{MapReader, Node, Problems, suggest};

use super::{
    FieldEntry, Located, RuleEntry, Target, TransformEntry, choice, not_supported, read_name, read_patterns,
    read_principals, refuse_later,
};
use crate::json::Path;
use crate::pattern::Pattern;
use crate::rules::{Direction, OnFailure};

pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<RuleEntry> {
    let errors = problems.errors();
    let mut map = MapReader::new(node, "a rule", problems)?;
    let name = read_name(&mut map, "rule", problems);
    let (topics, directions) = read_match(&mut map, problems);
    let unless = map.take("unless").and_then(|node| read_unless(node, problems));
    let inspect_always = map.take("inspect").is_some_and(|node| read_inspect(node, problems));
    let action = map.take("action").map_or(Action::Transform, |node| read_action(node, problems));
    let on_failure = map.take("on_failure").and_then(|node| read_on_failure(node, problems));
    let fields_node = map.take("fields");
    let mut fields = Vec::new();
    if let Some(node) = fields_node {
        for item in node.as_list("fields", problems).unwrap_or_default() {
            fields.extend(read_field(item, action, problems));
        }
    }
    refuse_later(&mut map, &["detect", "approval", "require_approval", "quarantine"], problems);
    map.finish(problems);
    Some(RuleEntry {
        name: name.unwrap_or_else(|| Located { value: String::new(), place: node.place.clone() }),
        topics,
        directions,
        unless,
        inspect_always,
        refuse: action == Action::Refuse,
        on_failure,
        fields,
        has_fields: fields_node.is_some(),
        is_broken: problems.errors() != errors,
    })
}

fn read_match(rule: &mut MapReader<'_>, problems: &mut Problems) -> (Vec<Located<Pattern>>, Vec<Direction>) {
    let nothing = (Vec::new(), Vec::new());
    let cure = "say where it applies:  match: { topics: [ … ], direction: both }";
    let Some(node) = rule.required("match", cure, problems) else { return nothing };
    let Some(mut map) = MapReader::new(node, "match", problems) else { return nothing };
    let topics = map
        .required("topics", "say where it applies:  topics: [\"payments.*\"]", problems)
        .map(|node| read_patterns(node, "topics", Pattern::parse_topic, problems))
        .unwrap_or_default();
    let directions = map
        .required("direction", "add  direction: produce, consume or both", problems)
        .and_then(|node| read_direction(node, true, problems))
        .unwrap_or_default();
    map.finish(problems);
    (topics, directions)
}

/// `produce`, `consume`, or, where a rule may say so, `both`.
pub(super) fn read_direction(node: &Node, may_be_both: bool, problems: &mut Problems) -> Option<Vec<Direction>> {
    let words: &[&str] = if may_be_both { &["produce", "consume", "both"] } else { &["produce", "consume"] };
    match (node.as_str("direction", problems)?, may_be_both) {
        ("produce", _) => Some(vec![Direction::Produce]),
        ("consume", _) => Some(vec![Direction::Consume]),
        ("both", true) => Some(vec![Direction::Produce, Direction::Consume]),
        (word, _) => unknown_word(node, "direction", word, words, problems),
    }
}

fn read_unless(node: &Node, problems: &mut Problems) -> Option<crate::access::Principals> {
    let mut map = MapReader::new(node, "unless", problems)?;
    let cure = "say for whom the rule does not apply:  unless: { principals: { groups: [ … ] } }";
    let principals = map.required("principals", cure, problems).and_then(|node| read_principals(node, problems));
    map.finish(problems);
    principals
}

fn read_inspect(node: &Node, problems: &mut Problems) -> bool {
    match node.as_str("inspect", problems) {
        Some("always") => true,
        Some(word) => unknown_word::<()>(node, "inspect", word, &["always"], problems).is_some(),
        None => false,
    }
}

/// What a rule does with its fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Nothing is written: each field has its transform.
    Transform,
    /// `action: refuse`.
    Refuse,
    /// Something that is reported already.
    Unknown,
}

fn read_action(node: &Node, problems: &mut Problems) -> Action {
    match choice(node) {
        Some(("refuse", None)) => return Action::Refuse,
        Some((word @ ("quarantine" | "require_approval" | "audit_only" | "audit" | "transform"), _)) => {
            not_supported(&node.place, &format!("action: {word}"), problems);
        }
        Some((word, None)) => drop(unknown_word::<()>(node, "action", word, &["refuse"], problems)),
        Some(_) | None => drop(node.unexpected::<()>("action", "`refuse`", problems)),
    }
    Action::Unknown
}

fn read_on_failure(node: &Node, problems: &mut Problems) -> Option<Located<OnFailure>> {
    let value = match node.as_str("on_failure", problems)? {
        "refuse" => OnFailure::Refuse,
        "redact" => OnFailure::Redact,
        word @ "quarantine" => {
            not_supported(&node.place, &format!("on_failure: {word}"), problems);
            return None;
        }
        word => return unknown_word(node, "on_failure", word, &["refuse", "redact"], problems),
    };
    Some(Located { value, place: node.place.clone() })
}

fn read_field(node: &Node, action: Action, problems: &mut Problems) -> Option<FieldEntry> {
    let mut map = MapReader::new(node, "an item of fields", problems)?;
    let errors = problems.errors();
    let targets = read_targets(&mut map, problems);
    let later = refuse_later(&mut map, &["column", "csv", "xml", "avro", "protobuf", "format"], problems);
    let transform_node = map.take("transform");
    let transform = transform_node.and_then(|node| read_transform(node, problems));
    match (transform_node, action) {
        (Some(node), Action::Refuse) => {
            let cure = "remove `transform`, or `action: refuse`";
            problems.error(&node.place, "a rule with `action: refuse` transforms nothing", cure);
        }
        (None, Action::Transform) => {
            let cure = "add  transform: redact,  mask: { keep_last: 4 }  or  hash: { key: … }";
            problems.error(&node.place, "`transform` is required", cure);
        }
        (Some(_), Action::Transform | Action::Unknown) | (None, Action::Refuse | Action::Unknown) => {}
    }
    map.finish(problems);
    if targets.len() > 1 {
        problems.error(&node.place, "a field is one of `path`, `header` and `key`", "write one item for each");
    }
    let is_alone = problems.errors() == errors;
    if targets.is_empty() && is_alone && !later {
        problems.error(&node.place, "a field names nothing", "add  path: \"$.…\",  header: …  or  key: true");
    }
    let [target] = <[Target; 1]>::try_from(targets).ok()?;
    if problems.errors() != errors {
        return None;
    }
    Some(FieldEntry { place: node.place.clone(), target, transform })
}

fn read_targets(map: &mut MapReader<'_>, problems: &mut Problems) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some(node) = map.take("path")
        && let Some(text) = node.as_str("path", problems)
    {
        match Path::parse(text) {
            Ok(path) => targets.push(Target::Path(path)),
            Err(error) => problems.error(&node.place, error.to_string(), ""),
        }
    }
    if let Some(node) = map.take("header")
        && let Some(name) = node.as_str("header", problems)
    {
        match name {
            "" => problems.error(&node.place, "`header` is empty", ""),
            _ if name.contains('*') => {
                problems.error(&node.place, "`header` takes a name, not a pattern", "write one item for each header");
            }
            _ => targets.push(Target::Header(name.to_owned())),
        }
    }
    if let Some(node) = map.take("key") {
        match node.as_bool("key", problems) {
            Some(true) => targets.push(Target::Key),
            Some(false) => problems.error(&node.place, "`key: false` names nothing", "remove it"),
            None => {}
        }
    }
    targets
}

fn read_transform(node: &Node, problems: &mut Problems) -> Option<Located<TransformEntry>> {
    let Some((word, settings)) = choice(node) else {
        return node.unexpected("transform", "one transform, as in  redact  or  mask: { keep_last: 4 }", problems);
    };
    let value = match (word, settings) {
        ("redact", None) => TransformEntry::Redact,
        ("redact", Some(_)) => {
            problems.error(&node.place, "`redact` takes no settings", "write  transform: redact");
            return None;
        }
        ("mask", None) => TransformEntry::Mask { keep_first: 0, keep_last: 0 },
        ("mask", Some(settings)) => read_mask(settings, problems)?,
        ("hash", Some(settings)) => read_hash(settings, problems)?,
        ("hash", None) => {
            problems.error(&node.place, "`hash` needs a key", "write  transform: { hash: { key: … } }");
            return None;
        }
        ("token" | "encrypt" | "format_preserving" | "generalize" | "truncate", _) => {
            not_supported(&node.place, &format!("transform: {word}"), problems);
            return None;
        }
        (word, _) => return unknown_word(node, "transform", word, &["redact", "mask", "hash"], problems),
    };
    Some(Located { value, place: node.place.clone() })
}

fn read_mask(node: &Node, problems: &mut Problems) -> Option<TransformEntry> {
    let mut map = MapReader::new(node, "mask", problems)?;
    let errors = problems.errors();
    let mut keep = |key: &str, problems: &mut Problems| {
        let kept = map.take(key).and_then(|node| node.as_u64(key, 0..=KEEP_MAX, problems));
        u32::try_from(kept.unwrap_or(0)).unwrap_or(0)
    };
    let (keep_first, keep_last) = (keep("keep_first", problems), keep("keep_last", problems));
    map.finish(problems);
    (problems.errors() == errors).then_some(TransformEntry::Mask { keep_first, keep_last })
}

fn read_hash(node: &Node, problems: &mut Problems) -> Option<TransformEntry> {
    let mut map = MapReader::new(node, "hash", problems)?;
    let key = map.required("key", "name a key of  keys  in weir.yaml that has  use: hash", problems);
    map.finish(problems);
    let key = key?;
    let id = key.as_str("key", problems)?;
    Some(TransformEntry::Hash { key: Located { value: id.to_owned(), place: key.place.clone() } })
}

/// Pushes that a setting has no such choice, with the nearest or all of them; gives `None` for any type.
pub(super) fn unknown_word<T>(
    node: &Node,
    what: &str,
    word: &str,
    known: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    let cure = match suggest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is one of: {}", known.join(", ")),
    };
    // The word is the policy's own text, but a long or odd one must not break the line.
    let shown: String = word.chars().take(WORD_SHOWN_MAX).filter(|c| !c.is_control()).collect();
    problems.error(&node.place, format!("`{what}` cannot be `{shown}`"), cure);
    None
}

/// The most characters that a mask may keep at either end. More would be no mask.
const KEEP_MAX: u64 = 64;

/// Characters of a wrong word that a message shows.
const WORD_SHOWN_MAX: usize = 64;
