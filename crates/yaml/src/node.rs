//! The tree: values that know their place, and typed readers that say what they expected.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::problem::{Place, Problems};
use crate::units::{self, UnitError};

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value starts.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// A YAML value, resolved by the core schema of YAML 1.2: `yes`, `no`, `on` and `off` are text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or an exponent, `.inf` or `.nan`.
    Float(f64),
    /// Text.
    String(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the text, without duplicate keys.
    Map(Vec<Entry>),
}

/// A key of a mapping, where it stands, and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as text, whatever it looks like (`1: x` has the key `1`).
    pub key: String,
    /// Where the key starts.
    pub key_place: Place,
    /// The value.
    pub value: Node,
}

/// Readers. Each takes what the value is called (`what`, for the message: a key, or a description of several words), pushes a problem and gives `None` when the
/// value is not of that kind. Only numbers, durations and sizes appear in messages; text does not, it might be a secret in the wrong
/// place.
impl Node {
    /// What the value is, in a user's words: `text`, `a list`, …
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "empty",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::String(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// True when there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Text.
    pub fn as_str(&self, what: &str, problems: &mut Problems) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                problems.error(&self.place, format!("`{what}` must be text, not {}", self.kind()), "put it in quotes");
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => self.unexpected(what, "text", problems),
        }
    }

    /// `true` or `false`.
    pub fn as_bool(&self, what: &str, problems: &mut Problems) -> Option<bool> {
        match &self.value {
            Value::Bool(value) => Some(*value),
            Value::Null | Value::Int(_) | Value::Float(_) | Value::String(_) | Value::List(_) | Value::Map(_) => {
                self.unexpected(what, "true or false", problems)
            }
        }
    }

    /// A whole number within `range`.
    pub fn as_int(&self, what: &str, range: RangeInclusive<i64>, problems: &mut Problems) -> Option<i64> {
        let Value::Int(number) = &self.value else {
            return self.unexpected(what, "a whole number", problems);
        };
        if range.contains(number) {
            return Some(*number);
        }
        let message = if range.start() == range.end() {
            format!("`{what}` is {number}, it must be {}", range.start())
        } else if *range.end() == i64::MAX {
            format!("`{what}` is {number}, it must be at least {}", range.start())
        } else {
            format!("`{what}` is {number}, it must be between {} and {}", range.start(), range.end())
        };
        problems.error(&self.place, message, "");
        None
    }

    /// A whole number within `range`; numbers above `i64::MAX` cannot be written.
    pub fn as_u64(&self, what: &str, range: RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
        let bound = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX);
        let number = self.as_int(what, bound(*range.start())..=bound(*range.end()), problems)?;
        u64::try_from(number).ok()
    }

    /// A list.
    pub fn as_list(&self, what: &str, problems: &mut Problems) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::String(_) => {
                let cure = format!("put it in brackets:  {what}: [ … ]");
                problems.error(&self.place, format!("`{what}` must be a list, not text"), cure);
                None
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Map(_) => {
                self.unexpected(what, "a list", problems)
            }
        }
    }

    /// A list of texts. Each item that is something else is a problem of its own.
    pub fn str_list(&self, what: &str, problems: &mut Problems) -> Option<Vec<String>> {
        let items = self.as_list(what, problems)?;
        let texts: Vec<Option<&str>> = items.iter().map(|item| item.as_str(what, problems)).collect();
        texts.into_iter().map(|text| text.map(str::to_owned)).collect()
    }

    /// A duration with its unit: `250ms`, `10s`, `5m`, `1h`, `1d`; at most [`crate::DURATION_MAX`].
    pub fn as_duration(&self, what: &str, problems: &mut Problems) -> Option<Duration> {
        let units = "add a unit, as in 250ms, 10s, 5m, 1h or 1d";
        self.with_unit(what, "a duration", units, "the longest is 3650d", units::parse_duration, problems)
    }

    /// A size with its unit, in bytes: `512B`, `64KiB`, `4MiB`, `200GiB`, `1TiB`.
    pub fn as_size(&self, what: &str, problems: &mut Problems) -> Option<u64> {
        let units = "add a unit, as in 512B, 64KiB, 4MiB or 2GiB";
        self.with_unit(what, "a size", units, "", units::parse_size, problems)
    }

    fn with_unit<T>(
        &self,
        what: &str,
        expected: &str,
        units: &str,
        largest: &str,
        parse: impl Fn(&str) -> Result<T, UnitError>,
        problems: &mut Problems,
    ) -> Option<T> {
        match &self.value {
            Value::String(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(UnitError::Malformed) => {
                    problems.error(&self.place, format!("`{what}` is not {expected}"), units);
                    None
                }
                Err(error) => {
                    let cure = if error == UnitError::TooLarge { largest } else { units };
                    problems.error(&self.place, format!("`{what}` {error}"), cure);
                    None
                }
            },
            Value::Int(number) => {
                problems.error(&self.place, format!("`{what}` is {number} without a unit"), units);
                None
            }
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
                self.unexpected(what, expected, problems)
            }
        }
    }

    /// Pushes "`what` must be `expected`, not …"; gives `None` for any type, to end a reader with.
    pub fn unexpected<T>(&self, what: &str, expected: &str, problems: &mut Problems) -> Option<T> {
        // A description ("a listener") is no key, and stands without backticks.
        let what = if what.contains(' ') { what.to_owned() } else { format!("`{what}`") };
        problems.error(&self.place, format!("{what} must be {expected}, not {}", self.kind()), "");
        None
    }
}
