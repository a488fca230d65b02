//! The JSON scanner and its paths, against serde_json and a naive model.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use weir_policy::json::{self, FieldId, FieldTrie, Path, Scratch, Share};

/// Containers inside one another that serde_json opens at most.
const DEPTH_MAX: usize = 127;

/// Sets of paths, with the same in steps for the model.
const PATHS: [&[(&str, &[Step])]; 4] = [
    &[("$.a", &[Step::Name("a")]), ("$.a.b", &[Step::Name("a"), Step::Name("b")])],
    &[("$..a", &[Step::Below, Step::Name("a")]), ("$[1]", &[Step::Index(1)])],
    &[
        ("$.*.a", &[Step::Any, Step::Name("a")]),
        ("$..b..a", &[Step::Below, Step::Name("b"), Step::Below, Step::Name("a")]),
    ],
    &[("$['a long name']", &[Step::Name("a long name")]), ("$..[0].*", &[Step::Below, Step::Index(0), Step::Any])],
];

#[derive(Clone, Copy)]
enum Step {
    Name(&'static str),
    Index(usize),
    Any,
    Below,
}

/// Accepts exactly what serde_json does, and selects what the model does. `[paths, document…]`
pub(crate) fn json(data: &[u8]) -> bool {
    let Some((&choice, doc)) = data.split_first() else { return false };
    let paths = PATHS[usize::from(choice) % PATHS.len()];
    let fields: Vec<_> = (0..).map(FieldId).zip(paths.iter().map(|(text, _)| Path::parse(text).unwrap())).collect();
    let mut found: Vec<(Range<usize>, BTreeSet<u16>)> = Vec::new();
    let trie = FieldTrie::build(&fields);
    let result = json::select(doc, &trie, DEPTH_MAX, &mut Scratch::default(), &mut |selected| {
        assert!(selected.span.start < selected.span.end && selected.span.end <= doc.len());
        match found.last_mut() {
            Some((span, fields)) if selected.share == Share::Further => {
                assert_eq!(*span, selected.span);
                fields.insert(selected.field.0);
            }
            _ => found.push((selected.span, BTreeSet::from([selected.field.0]))),
        }
    });
    assert_eq!(result, json::check(doc, DEPTH_MAX), "fields do not change what is accepted");
    let accepted = is_json(doc);
    assert_eq!(result.is_ok(), accepted, "{result:?}");
    if accepted {
        let doc = std::str::from_utf8(doc).unwrap();
        assert_eq!(found, selected(doc, paths));
    }
    accepted
}

/// A path prints as what it is read from. `text`
pub(crate) fn path(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(path) = Path::parse(text) else { return false };
    assert_eq!(Path::parse(&path.to_string()), Ok(path));
    true
}

/// What serde_json accepts as a value. Not by way of its `Value`, in which one object key has a meaning of its own.
fn is_json(doc: &[u8]) -> bool {
    struct Any;
    impl<'de> Deserialize<'de> for Any {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Anything)
        }
    }
    struct Anything;
    impl<'de> Visitor<'de> for Anything {
        type Value = Any;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }
        fn visit_bool<E>(self, _: bool) -> Result<Any, E> {
            Ok(Any)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Any, E> {
            Ok(Any)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Any, E> {
            Ok(Any)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Any, E> {
            Ok(Any)
        }
        fn visit_str<E>(self, _: &str) -> Result<Any, E> {
            Ok(Any)
        }
        fn visit_unit<E>(self) -> Result<Any, E> {
            Ok(Any)
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Any, A::Error> {
            while list.next_element::<Any>()?.is_some() {}
            Ok(Any)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
            while map.next_entry::<String, Any>()?.is_some() {}
            Ok(Any)
        }
    }
    serde_json::from_slice::<Any>(doc).is_ok()
}

/// A value and what is in it, found by serde_json.
struct Node {
    span: Range<usize>,
    name: Option<String>,
    index: Option<usize>,
    children: Vec<Node>,
}

/// The outermost spans that are selected, each with the fields that select it or something in it.
fn selected(doc: &str, paths: &[(&str, &[Step])]) -> Vec<(Range<usize>, BTreeSet<u16>)> {
    let raw: &RawValue = serde_json::from_str(doc).unwrap();
    let root = grow(doc, raw.get(), None, None);
    let mut hits: Vec<(usize, usize, u16)> = Vec::new();
    for (field, (_, steps)) in (0..).zip(paths) {
        take(&root, steps, &mut |node| hits.push((node.span.start, usize::MAX - node.span.end, field)));
    }
    hits.sort_unstable();
    let mut found: Vec<(Range<usize>, BTreeSet<u16>)> = Vec::new();
    for (start, end, field) in hits {
        let end = usize::MAX - end;
        match found.last_mut() {
            Some((outer, fields)) if end <= outer.end => _ = fields.insert(field),
            _ => found.push((start..end, BTreeSet::from([field]))),
        }
    }
    found
}

fn grow(doc: &str, raw: &str, name: Option<String>, index: Option<usize>) -> Node {
    let start = raw.as_ptr().addr() - doc.as_ptr().addr();
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

fn take<'a>(node: &'a Node, steps: &[Step], found: &mut dyn FnMut(&'a Node)) {
    let Some((step, rest)) = steps.split_first() else { return found(node) };
    if matches!(step, Step::Below) {
        take(node, rest, found);
        return node.children.iter().for_each(|child| take(child, steps, found));
    }
    for child in &node.children {
        let takes = match *step {
            Step::Name(name) => child.name.as_deref() == Some(name),
            Step::Index(index) => child.index == Some(index),
            Step::Any | Step::Below => true,
        };
        if takes {
            take(child, rest, found);
        }
    }
}

/// All members of an object, duplicates too.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}
