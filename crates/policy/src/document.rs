//! Policy documents as written: the YAML read into types, with a place on everything that a later check may complain about.
//!
//! Reading never stops at the first mistake. What the product's policies will hold one day but do not yet (`detect`, `token`,
//! `unmask`, …) is an error that says so; what they will never hold is an unknown key. Nothing is ignored.

mod access;
mod field;
mod rules;
mod tests_section;

use weir_yaml::{MapReader, Node, Place, Problems, Value};

use crate::access::Principals;
use crate::pattern::{Pattern, PatternError};
use crate::rules::{Direction, FieldTarget, OnFailure};

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// Everything that the sources of a policy set say.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) access: Vec<AccessEntry>,
    pub(crate) rules: Vec<RuleEntry>,
    pub(crate) tests: Vec<TestEntry>,
}

/// One `access` entry.
#[derive(Debug)]
pub(crate) struct AccessEntry {
    pub(crate) name: Located<String>,
    pub(crate) principals: Principals,
    pub(crate) produce: Vec<Pattern>,
    pub(crate) consume: Vec<Pattern>,
    pub(crate) consumer_groups: Vec<Pattern>,
    /// Where the first `consume` stands.
    pub(crate) consume_place: Option<Place>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct RuleEntry {
    pub(crate) name: Located<String>,
    pub(crate) topics: Vec<Located<Pattern>>,
    /// Which directions it is for; `both` is two.
    pub(crate) directions: Vec<Direction>,
    pub(crate) unless: Option<Principals>,
    pub(crate) inspect_always: bool,
    pub(crate) refuse: bool,
    pub(crate) on_failure: Option<Located<OnFailure>>,
    /// Where `format` stands.
    pub(crate) format: Option<Place>,
    pub(crate) fields: Vec<FieldEntry>,
    /// Whether `fields` is written, be it with entries that could not be read.
    pub(crate) has_fields: bool,
    /// Something of this rule is an error already, so that "does nothing" would only repeat it.
    pub(crate) is_broken: bool,
}

/// One entry of a rule's `fields`.
#[derive(Debug)]
pub(crate) struct FieldEntry {
    pub(crate) place: Place,
    pub(crate) target: FieldTarget,
    /// None in a rule that refuses.
    pub(crate) transform: Option<Located<TransformEntry>>,
}

/// A transform as written: the key is an id, not yet looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransformEntry {
    Redact,
    Mask { keep_first: u32, keep_last: u32 },
    Hash { key: Located<String> },
}

/// One entry of `tests`.
#[derive(Clone, Debug)]
pub(crate) struct TestEntry {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) given: Given,
    pub(crate) expect: Expect,
}

/// What a test sends.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) topic: String,
    pub(crate) direction: Direction,
    pub(crate) principal: String,
    pub(crate) groups: Vec<String>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<TestHeader>,
}

/// A record header in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestHeader {
    pub(crate) name: String,
    pub(crate) value: Option<Vec<u8>>,
}

/// What a test expects; what is not written is not compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expect {
    pub(crate) value: Option<ExpectValue>,
    pub(crate) key: Option<Option<Vec<u8>>>,
    pub(crate) headers: Option<Vec<TestHeader>>,
    pub(crate) decision: Option<TestDecision>,
    pub(crate) rules: Option<Vec<Located<String>>>,
}

/// How the value that comes out is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExpectValue {
    /// A null value.
    Null,
    /// Equal as JSON: white space and the order of members do not count.
    Json(String),
    /// Equal byte by byte.
    Raw(Vec<u8>),
}

/// What happened to a test's record, as a policy's author says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TestDecision {
    /// It went through byte-identical.
    Pass,
    /// It went through changed.
    Masked,
    /// A rule refused it.
    Refused,
    /// Access refused it.
    Denied,
}

impl TestDecision {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Masked => "masked",
            Self::Refused => "refused",
            Self::Denied => "denied",
        }
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    /// Equal values, wherever they stand.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

impl Document {
    /// Reads every YAML document of one source into `self`.
    pub(crate) fn read(&mut self, name: &str, text: &str, problems: &mut Problems) {
        let errors_before = problems.errors();
        let documents = weir_yaml::parse(name, text, problems);
        if documents.is_empty() && problems.errors() == errors_before {
            problems.warning(None, format!("policy file `{name}` is empty"), "");
        }
        for node in &documents {
            self.read_one(node, problems);
        }
    }

    fn read_one(&mut self, node: &Node, problems: &mut Problems) {
        let Some(mut map) = MapReader::new(node, "a policy", problems) else { return };
        if let Some(version) = map.take("version") {
            // Only one version exists; another is a file for a newer weir.
            version.as_int("version", 1..=1, problems);
        }
        refuse_later(&mut map, &["unmask"], problems);
        each(&mut map, "access", problems, |node, problems| self.access.extend(access::read(node, problems)));
        each(&mut map, "rules", problems, |node, problems| self.rules.extend(rules::read(node, problems)));
        each(&mut map, "tests", problems, |node, problems| self.tests.extend(tests_section::read(node, problems)));
        map.finish(problems);
    }
}

/// Calls `read` for each item of the list under `key`, if it is there.
fn each(map: &mut MapReader<'_>, key: &str, problems: &mut Problems, mut read: impl FnMut(&Node, &mut Problems)) {
    let Some(items) = map.take(key).and_then(|node| node.as_list(key, problems)) else { return };
    for item in items {
        read(item, problems);
    }
}

/// Reports the keys that policies will have one day. True when there was one.
fn refuse_later(map: &mut MapReader<'_>, keys: &[&str], problems: &mut Problems) -> bool {
    let mut found = false;
    for key in keys {
        if let Some(entry) = map.take_entry(key) {
            not_supported(&entry.key_place, key, problems);
            found = true;
        }
    }
    found
}

fn not_supported(place: &Place, what: &str, problems: &mut Problems) {
    problems.error(place, format!("`{what}` is not supported yet"), "remove it; this version would not act on it");
}

/// A name: text that is not empty, one line, and not endless, since it goes to logs, metrics and client errors.
fn read_name(map: &mut MapReader<'_>, what: &str, problems: &mut Problems) -> Option<Located<String>> {
    let node = map.required("name", &format!("give the {what} a name:  name: …"), problems)?;
    let name = node.as_str("name", problems)?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) || name.trim() != name {
        let cure = "it appears in logs, metrics and error messages of clients";
        problems.error(&node.place, format!("`name` must be one line of 1 to {NAME_BYTES_MAX} bytes"), cure);
        return None;
    }
    Some(Located { value: name.to_owned(), place: node.place.clone() })
}

/// Reads `{ users: […], groups: […] }`.
fn read_principals(node: &Node, problems: &mut Problems) -> Option<Principals> {
    let errors = problems.errors();
    let mut map = MapReader::new(node, "principals", problems)?;
    refuse_later(&mut map, &["claims"], problems);
    let users = principal_names(&mut map, "users", problems);
    let groups = principal_names(&mut map, "groups", problems);
    map.finish(problems);
    let principals = Principals { users, groups };
    if principals.is_empty() && problems.errors() == errors {
        problems.error(&node.place, "`principals` names nobody", "add  groups: [ … ]  or  users: [ … ]");
    }
    (problems.errors() == errors).then_some(principals)
}

fn principal_names(map: &mut MapReader<'_>, key: &str, problems: &mut Problems) -> Vec<String> {
    let Some(items) = map.take(key).and_then(|node| node.as_list(key, problems)) else { return Vec::new() };
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        match item.as_str(key, problems) {
            Some("") => problems.error(&item.place, format!("an empty name in `{key}`"), ""),
            Some(name) if name.contains('*') => {
                let cure = "name each one; a group that everybody is in comes from the identity provider";
                problems.error(&item.place, format!("`{key}` takes names, not patterns"), cure);
            }
            Some(name) => names.push(name.to_owned()),
            None => {}
        }
    }
    names
}

/// Reads a list of patterns; an empty list is an error, it would match nothing.
fn read_patterns(
    node: &Node,
    what: &str,
    parse: fn(&str) -> Result<Pattern, PatternError>,
    problems: &mut Problems,
) -> Vec<Located<Pattern>> {
    let Some(items) = node.as_list(what, problems) else { return Vec::new() };
    if items.is_empty() {
        problems.error(
            &node.place,
            format!("`{what}` is empty and matches nothing"),
            "name a topic, or remove the key",
        );
    }
    let mut patterns = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = item.as_str(what, problems) else { continue };
        match parse(text) {
            Ok(pattern) => patterns.push(Located { value: pattern, place: item.place.clone() }),
            Err(error) => problems.error(&item.place, error.to_string(), pattern_cure(&error)),
        }
    }
    patterns
}

fn pattern_cure(error: &PatternError) -> &'static str {
    match error {
        PatternError::Empty | PatternError::TooLong { .. } => "",
        PatternError::OpenRegex(_) | PatternError::BadRegex(..) => {
            "a regular expression stands between slashes:  /orders-[0-9]+/"
        }
        PatternError::NotATopic { .. } => "`*` is the only wildcard; a regular expression stands between slashes",
    }
}

fn values<T>(located: Vec<Located<T>>) -> Vec<T> {
    located.into_iter().map(|item| item.value).collect()
}

/// The kinds of YAML values that a choice such as `transform` may be, by its single key or its bare word.
fn choice(node: &Node) -> Option<(&str, Option<&Node>)> {
    match &node.value {
        Value::String(word) => Some((word, None)),
        Value::Map(entries) => match entries.as_slice() {
            [entry] => Some((&entry.key, Some(&entry.value))),
            _ => None,
        },
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) => None,
    }
}

/// The longest name of a rule or an access entry, in bytes: it travels in every audit entry and client error that it causes.
pub(crate) const NAME_BYTES_MAX: usize = 200;
