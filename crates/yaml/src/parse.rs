//! From text to tree, without recursion and without expansion.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, Tag};

use crate::node::{Entry, Node, Value};
use crate::problem::{Place, Problems};
use crate::reader::shorten;

/// Deepest nesting of lists and mappings. Nobody configures deeper, and whoever walks the tree may recurse.
pub const DEPTH_MAX: usize = 64;
/// Longest text in bytes. The tree needs a small multiple of it.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Reads the documents of `text`; `file` is what places call it. Documents without content are left out.
///
/// Anchors, aliases, tags, directives and duplicate keys are problems, and reading goes on, so that all are reported; the tree then
/// has the first of two equal keys, and nothing where an alias was. A syntax error, a text over [`TEXT_BYTES_MAX`] and nesting deeper
/// than [`DEPTH_MAX`] end the reading, with the documents that were complete before.
pub fn parse(file: &str, text: &str, problems: &mut Problems) -> Vec<Node> {
    let mut builder =
        Builder { file: file.into(), open: Vec::new(), documents: Vec::new(), problems, reported: 0, stopped: false };
    if text.len() > TEXT_BYTES_MAX {
        let start = Place { file: Arc::clone(&builder.file), line: 1, column: 1 };
        builder.problems.error(start, format!("the file is larger than {TEXT_BYTES_MAX} bytes"), "split it");
        return Vec::new();
    }
    let mut options = Options::default();
    options.disallow_directives = true;
    options.emit_unresolved_aliases = true;
    options.set_emit_comments(false);
    for parsed in Parser::new_from_str_with_options(text, options) {
        match parsed {
            Ok((event, span)) => builder.event(event, &span.start),
            Err(error) => {
                let place = builder.place(error.marker());
                // The scanner runs ahead of the events and has a limit of its own.
                let message = if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
                    format!("nested deeper than {DEPTH_MAX}")
                } else {
                    format!("not valid YAML: {}", error.info())
                };
                builder.stop(place, message, "");
            }
        }
        if builder.stopped {
            break;
        }
    }
    builder.documents
}

/// Builds nodes from events. Open collections are a stack of at most [`DEPTH_MAX`].
struct Builder<'p> {
    file: Arc<str>,
    open: Vec<Open>,
    documents: Vec<Node>,
    problems: &'p mut Problems,
    /// Problems of this text; ends the reading at [`PROBLEMS_MAX`].
    reported: usize,
    stopped: bool,
}

/// A collection whose end has not been read.
enum Open {
    List { place: Place, items: Vec<Node> },
    Map { place: Place, entries: Vec<Entry>, keys: HashMap<String, u32>, key: Option<(String, Place, bool)> },
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, start: &Marker) {
        let place = self.place(start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(anchor, tag.as_deref(), &place);
                self.scalar(&text, style, place);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_properties(anchor, tag.as_deref(), &place);
                self.open(Open::List { place: place.clone(), items: Vec::new() }, place);
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_properties(anchor, tag.as_deref(), &place);
                let map = Open::Map { place: place.clone(), entries: Vec::new(), keys: HashMap::new(), key: None };
                self.open(map, place);
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { place, items }) => self.value(Node { place, value: Value::List(items) }),
                Some(Open::Map { place, entries, .. }) => self.value(Node { place, value: Value::Map(entries) }),
                None => self.stop(place, "not valid YAML: an end without a start".into(), ""),
            },
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.report(place.clone(), "aliases are not supported".into(), "write the value out");
                self.scalar("", ScalarStyle::Plain, place);
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..) => {}
            // The parser may learn new events; what is not understood here is refused.
            _ => self.stop(place, "this YAML is not supported".into(), ""),
        }
    }

    fn open(&mut self, collection: Open, place: Place) {
        if self.key_is_next() {
            self.stop(place, "a key must be a word, not a list or a mapping".into(), "");
        } else if self.open.len() >= DEPTH_MAX {
            self.stop(place, format!("nested deeper than {DEPTH_MAX}"), "");
        } else {
            self.open.push(collection);
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Place) {
        if let Some(Open::Map { keys, key: key @ None, .. }) = self.open.last_mut() {
            let first = keys.get(text).copied();
            if first.is_none() {
                keys.insert(text.to_owned(), place.line);
            }
            *key = Some((text.to_owned(), place.clone(), first.is_some()));
            if let Some(line) = first {
                let message = format!("`{}` appears twice in one mapping", shorten(text));
                self.report(place, message, &format!("the first is in line {line}"));
            }
            return;
        }
        let value = if style == ScalarStyle::Plain { resolve(text) } else { Some(Value::String(text.to_owned())) };
        let value = value.unwrap_or_else(|| {
            self.report(place.clone(), "the number does not fit 64 bits".into(), "put it in quotes");
            Value::Null
        });
        self.value(Node { place, value });
    }

    fn value(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => {
                if let Some((key, key_place, false)) = key.take() {
                    entries.push(Entry { key, key_place, value: node });
                }
            }
            None if node.is_null() => {}
            None => self.documents.push(node),
        }
    }

    /// True when the next node is a key of the innermost open mapping.
    fn key_is_next(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    fn refuse_properties(&mut self, anchor: usize, tag: Option<&Tag>, place: &Place) {
        if anchor != 0 {
            self.report(place.clone(), "anchors are not supported".into(), "write the value out where it is needed");
        }
        if tag.is_some() {
            self.report(
                place.clone(),
                "tags are not supported".into(),
                "remove it; use quotes to make text of a number",
            );
        }
    }

    fn report(&mut self, place: Place, message: String, cure: &str) {
        self.problems.error(place, message, cure);
        self.reported = self.reported.saturating_add(1);
        if self.reported >= PROBLEMS_MAX {
            self.stopped = true;
        }
    }

    fn stop(&mut self, place: Place, message: String, cure: &str) {
        self.problems.error(place, message, cure);
        self.stopped = true;
    }

    fn place(&self, marker: &Marker) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            file: Arc::clone(&self.file),
            line: number(marker.line()),
            column: number(marker.col().saturating_add(1)),
        }
    }
}

/// The value of a plain scalar by the core schema (YAML 1.2.2, section 10.3.2); `None` for a whole number that does not fit.
fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Value::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return i64::from_str_radix(digits, radix).ok().map(Value::Int);
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Value::Int);
    }
    // What Rust reads as a float and the schema does not ("inf", "nan", "infinity") has no digit in front.
    if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().any(|b| b.is_ascii_digit())
        && let Ok(number) = text.parse()
    {
        return Some(Value::Float(number));
    }
    Some(Value::String(text.to_owned()))
}

/// Problems of one text after which the reading ends.
const PROBLEMS_MAX: usize = 100;
