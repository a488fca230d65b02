//! Reads one entry of `rules`.

use weir_yaml::{MapReader, Node, Problems, suggest};

use super::field::{read_field, read_shape};
use super::{Located, RuleEntry, choice, not_supported, read_name, read_patterns, read_principals, refuse_later};
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
    let format_place = map.take_entry("format").map(|entry| entry.key_place.clone());
    let shape = read_shape(&mut map, problems);
    let fields_node = map.take("fields");
    let mut fields = Vec::new();
    if let Some(node) = fields_node {
        for item in node.as_list("fields", problems).unwrap_or_default() {
            fields.extend(read_field(item, action, shape.as_ref(), problems));
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
        format: format_place,
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
pub(super) enum Action {
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

/// Characters of a wrong word that a message shows.
const WORD_SHOWN_MAX: usize = 64;
