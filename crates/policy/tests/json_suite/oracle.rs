//! What must be selected, found the naive way: a tree of `RawValue`s, and every node compared with every path.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde_json::value::RawValue;

use super::documents::{Step, Takes};

pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) name: Option<String>,
    pub(crate) index: Option<usize>,
    pub(crate) children: Vec<Node>,
}

/// The tree of a well-formed document.
pub(crate) fn tree(doc: &str) -> Node {
    let raw: &RawValue = serde_json::from_str(doc).unwrap();
    grow(doc, raw.get(), None, None)
}

fn grow(doc: &str, raw: &str, name: Option<String>, index: Option<usize>) -> Node {
    let start = raw.as_ptr() as usize - doc.as_ptr() as usize;
    let children = match raw.as_bytes()[0] {
        b'{' => {
            let members: Members<'_> = serde_json::from_str(raw).unwrap();
            members.0.into_iter().map(|(name, value)| grow(doc, value.get(), Some(name), None)).collect()
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).unwrap();
            elements.iter().enumerate().map(|(index, value)| grow(doc, value.get(), None, Some(index))).collect()
        }
        _ => Vec::new(),
    };
    Node { span: start..start + raw.len(), name, index, children }
}

/// All members of an object, duplicates too.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// The spans that are selected, outermost only, each with all fields that select it or something inside it.
pub(crate) fn selected(root: &Node, paths: &[Vec<Step>]) -> Vec<(Range<usize>, BTreeSet<u16>)> {
    let mut hits: Vec<(Range<usize>, u16)> = Vec::new();
    for (field, path) in paths.iter().enumerate() {
        take(root, path, &mut |node| hits.push((node.span.clone(), u16::try_from(field).unwrap())));
    }
    let inside = |inner: &Range<usize>, outer: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
    let mut outermost: Vec<Range<usize>> = hits
        .iter()
        .map(|(span, _)| span.clone())
        .filter(|span| !hits.iter().any(|(outer, _)| outer != span && inside(span, outer)))
        .collect();
    outermost.sort_by_key(|span| span.start);
    outermost.dedup();
    outermost
        .into_iter()
        .map(|outer| {
            let fields = hits.iter().filter(|(span, _)| inside(span, &outer)).map(|(_, field)| *field).collect();
            (outer, fields)
        })
        .collect()
}

fn take<'a>(node: &'a Node, path: &[Step], found: &mut dyn FnMut(&'a Node)) {
    let Some((step, rest)) = path.split_first() else { return found(node) };
    for child in &node.children {
        let takes = match &step.takes {
            Takes::Name(name) => child.name.as_ref() == Some(name),
            Takes::Index(index) => child.index == Some(*index),
            Takes::Any => true,
        };
        if takes {
            take(child, rest, found);
        }
        if step.descendant {
            take(child, path, found);
        }
    }
}
