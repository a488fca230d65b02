//! Reads the keys of a mapping, and reports those that nobody asked for.

use crate::node::{Entry, Node, Value};
use crate::problem::{Place, Problems};
use crate::suggest::suggest;

/// Takes keys out of a mapping; [`MapReader::finish`] reports what is left.
#[derive(Debug)]
pub struct MapReader<'a> {
    place: &'a Place,
    entries: &'a [Entry],
    asked: Vec<String>,
}

impl<'a> MapReader<'a> {
    /// A reader of `node`, or a problem that `what` must be a mapping. `what` is a key, or a description such as
    /// "a listener".
    pub fn new(node: &'a Node, what: &str, problems: &mut Problems) -> Option<MapReader<'a>> {
        match &node.value {
            Value::Map(entries) => Some(MapReader { place: &node.place, entries, asked: Vec::new() }),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) | Value::List(_) => {
                node.unexpected(what, "a mapping", problems)
            }
        }
    }

    /// Where the mapping starts.
    pub fn place(&self) -> &'a Place {
        self.place
    }

    /// The value of `key`, if it is there. A key that was asked for is a known key.
    pub fn take(&mut self, key: &str) -> Option<&'a Node> {
        self.take_entry(key).map(|entry| &entry.value)
    }

    /// The entry of `key`, if it is there: for problems that concern the key and not its value.
    pub fn take_entry(&mut self, key: &str) -> Option<&'a Entry> {
        self.asked.push(key.to_owned());
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of `key`, or the problem that it is required, at the start of the mapping.
    pub fn required(&mut self, key: &str, cure: &str, problems: &mut Problems) -> Option<&'a Node> {
        let node = self.take(key);
        if node.is_none() {
            problems.error(self.place, format!("`{key}` is required"), cure);
        }
        node
    }

    /// Ends the reading: each key that was never asked for is an error, with the nearest known key where one is near.
    pub fn finish(self, problems: &mut Problems) {
        let known: Vec<&str> = self.asked.iter().map(String::as_str).collect();
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let cure = suggest(&entry.key, &known).map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            problems.error(&entry.key_place, format!("unknown key `{}`", shorten(&entry.key)), cure);
        }
    }
}

/// A key for a message: one line, not endless.
pub(crate) fn shorten(key: &str) -> String {
    let mut short: String =
        key.chars().take(KEY_SHOWN_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if key.chars().nth(KEY_SHOWN_MAX).is_some() {
        short.push('…');
    }
    short
}

/// Characters of a key that a message shows.
const KEY_SHOWN_MAX: usize = 64;
