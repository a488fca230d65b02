//! Values without places: what remains of a YAML document when it is shown or compared.

use std::collections::BTreeMap;
use std::fmt;

use weir_yaml::{Node, Value};

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// As it is written in YAML.
    Scalar(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn of(node: &Node) -> Self {
        match &node.value {
            Value::Null => Tree::Map(Vec::new()),
            Value::Bool(value) => Tree::Scalar(value.to_string()),
            Value::Int(value) => Tree::Scalar(value.to_string()),
            Value::Float(value) => Tree::Scalar(value.to_string()),
            Value::String(value) => Tree::Scalar(text(value)),
            Value::List(items) => Tree::List(items.iter().map(Tree::of).collect()),
            Value::Map(entries) => {
                Tree::Map(entries.iter().map(|entry| (entry.key.clone(), Tree::of(&entry.value))).collect())
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Tree> {
        match self {
            Tree::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Tree::Scalar(_) | Tree::List(_) => None,
        }
    }

    /// Adds what is in `defaults` and not here.
    pub(super) fn fill(&mut self, defaults: &Tree) {
        let (Tree::Map(entries), Tree::Map(defaults)) = (self, defaults) else { return };
        for (key, default) in defaults {
            match entries.iter_mut().find(|(name, _)| name == key) {
                Some((_, value)) => value.fill(default),
                None => entries.push((key.clone(), default.clone())),
            }
        }
    }

    /// Calls `act` with everything at `path`, in which `*` is each item of a list.
    pub(super) fn visit(&mut self, path: &str, act: &mut dyn FnMut(&mut Tree)) {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut go = |value: &mut Tree| {
            if rest.is_empty() { act(value) } else { value.visit(rest, act) }
        };
        match self {
            Tree::Scalar(_) => {}
            Tree::List(items) if first == "*" => items.iter_mut().for_each(go),
            Tree::List(_) => {}
            Tree::Map(entries) => {
                if let Some((_, value)) = entries.iter_mut().find(|(name, _)| name == first) {
                    go(value);
                }
            }
        }
    }

    /// Puts the entries of a mapping into the order of `names`.
    pub(super) fn order(&mut self, names: &[&str]) {
        if let Tree::Map(entries) = self {
            entries.sort_by_key(|(key, _)| names.iter().position(|name| name == key).unwrap_or(names.len()));
        }
    }

    /// Collects every value that is no mapping by its full name; an item of a list of mappings is named by what it is called.
    pub(super) fn leaves(&self, path: &str, into: &mut BTreeMap<String, String>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match self {
            Tree::Map(entries) if !entries.is_empty() => {
                entries.iter().for_each(|(key, value)| value.leaves(&below(key), into));
            }
            Tree::List(items) if items.iter().any(|item| matches!(item, Tree::Map(_))) => {
                for (index, item) in items.iter().enumerate() {
                    item.leaves(&below(&item.name().unwrap_or_else(|| index.to_string())), into);
                }
            }
            Tree::Scalar(_) | Tree::List(_) | Tree::Map(_) => drop(into.insert(path.to_owned(), self.inline())),
        }
    }

    /// What an item of a list is called.
    fn name(&self) -> Option<String> {
        NAMES.iter().find_map(|key| match self.get(key)? {
            Tree::Scalar(name) => Some(name.trim_matches('"').to_owned()),
            Tree::List(_) | Tree::Map(_) => None,
        })
    }

    /// In one line.
    fn inline(&self) -> String {
        match self {
            Tree::Scalar(text) => text.clone(),
            Tree::List(items) => format!("[{}]", items.iter().map(Tree::inline).collect::<Vec<_>>().join(", ")),
            Tree::Map(entries) if entries.is_empty() => "{}".to_owned(),
            Tree::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{}: {}", text(key), value.inline()));
                format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Whether it is short enough for one line.
    fn is_short(&self) -> bool {
        match self {
            Tree::Scalar(_) => true,
            Tree::List(items) => items.iter().all(|item| matches!(item, Tree::Scalar(_))),
            Tree::Map(entries) => {
                entries.iter().all(|(_, value)| value.is_short()) && self.inline().len() <= SHORT_BYTES_MAX
            }
        }
    }

    /// As YAML in lines.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        match self {
            Tree::Scalar(_) => writeln!(f, "{:indent$}{}", "", self.inline()),
            Tree::Map(entries) => entries.iter().try_for_each(|(key, value)| {
                write!(f, "{:indent$}{}:", "", text(key))?;
                value.write_behind(f, indent)
            }),
            Tree::List(items) => items.iter().try_for_each(|item| match item {
                Tree::Map(entries) if !item.is_short() => {
                    entries.iter().enumerate().try_for_each(|(index, (key, value))| {
                        let dash = if index == 0 { "- " } else { "  " };
                        write!(f, "{:indent$}{dash}{}:", "", text(key))?;
                        value.write_behind(f, indent + 2)
                    })
                }
                Tree::Scalar(_) | Tree::List(_) | Tree::Map(_) => writeln!(f, "{:indent$}- {}", "", item.inline()),
            }),
        }
    }

    /// Behind `key:` at that indentation.
    fn write_behind(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        if self.is_short() {
            return writeln!(f, " {}", self.inline());
        }
        writeln!(f)?;
        self.write(f, indent + 2)
    }
}

/// A string as YAML writes it: in quotes unless it cannot be taken for anything else.
pub(super) fn text(value: &str) -> String {
    let word = value.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-'))
        && !RESERVED.iter().any(|reserved| value.eq_ignore_ascii_case(reserved));
    let measure = weir_yaml::parse_duration(value).is_ok() || weir_yaml::parse_size(value).is_ok();
    if word || measure { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

/// Words that some readers of YAML take for something else than a string.
const RESERVED: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
/// Keys by which items of lists are told apart.
const NAMES: &[&str] = &["name", "id", "issuer"];
/// A mapping that is longer in one line is written in several.
const SHORT_BYTES_MAX: usize = 90;

#[cfg(test)]
mod tests {
    use weir_yaml::Problems;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let input = "a: [1, 'x y', \"12\", true, 'true', 5s, 2.5]\nb: { c: {}, d: [], e: 'ünï \"q\"', 'k: v': no }\n\
                     l:\n- { name: one, x: 1, y: 2, z: [a, b], deep: { p: { q: { r: [ { s: t } ] } } } }\n- { name: two }\n- - a\n";
        let mut problems = Problems::default();
        let read = |text: &str, problems: &mut Problems| Tree::of(&weir_yaml::parse("t", text, problems)[0]);
        let tree = read(input, &mut problems);
        struct Shown(Tree);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(f, 0)
            }
        }
        let shown = Shown(tree.clone()).to_string();
        assert_eq!(read(&shown, &mut problems), tree, "{shown}");
        assert!(problems.is_empty(), "{problems}");
        let mut leaves = BTreeMap::new();
        tree.leaves("", &mut leaves);
        assert_eq!(leaves["l.one.deep.p.q.r.0.s"], "t");
        assert_eq!((leaves["l.two.name"].as_str(), leaves["b.c"].as_str()), ("two", "{}"));
    }
}
