//! What the bytes of a value, key or header can be, and one reader for each.
//!
//! | format | fields | what there is of it |
//! |---|---|---|
//! | `json` | paths | one document |
//! | `ndjson` | paths | one document a line; lines of white space have none |
//! | `csv`, `tsv` | columns | records of RFC 4180, with commas or tabs |
//! | `text` | pairs | `name=value` in any text |
//!
//! A reader checks all of the bytes and reports the spans that its fields select, ascending and disjoint. What it cannot read is an
//! error, never an empty result. A byte order mark at the start is stepped over and stays, and so does the schema id that Confluent's
//! serializers write before a JSON document.

mod lines;
mod pairs;
mod table;

use crate::inspector::RefuseCause;
use crate::json::{self, FieldId, FieldTrie, Scratch, Selected};

pub(crate) use pairs::{Pairs, is_name};
pub(crate) use table::{COLUMNS_MAX, Table};

/// A format as rules name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Json,
    Ndjson,
    Csv,
    Tsv,
    Text,
}

impl Format {
    pub(crate) const ALL: [Self; 5] = [Self::Json, Self::Ndjson, Self::Csv, Self::Tsv, Self::Text];

    /// The word that policies use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Text => "text",
        }
    }
}

/// What a rule selects inside bytes of its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A value of a JSON document, or of each document where there is one a line.
    Route { route: json::Route, lines: bool },
    /// A column, from 0, of each record of a table. With `columns`, each record has exactly so many.
    Column { index: u32, separator: u8, columns: Option<u32> },
    /// The values of all pairs of this name.
    Pair(Box<[u8]>),
}

impl Part {
    /// Whether one reader can look for both.
    pub(crate) fn shares_reader(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Route { lines: a, .. }, Self::Route { lines: b, .. }) => a == b,
            (Self::Column { separator: a, columns: left, .. }, Self::Column { separator: b, columns: right, .. }) => {
                a == b && left == right
            }
            (Self::Pair(_), Self::Pair(_)) => true,
            (Self::Route { .. } | Self::Column { .. } | Self::Pair(_), _) => false,
        }
    }

    /// Whether the two can select one span of one document, as far as it shows in what they say. Of different formats that cannot
    /// be told.
    pub(crate) fn plainly_meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Route { route: a, lines }, Self::Route { route: b, lines: other }) => {
                lines == other && a.plainly_meets(b)
            }
            (Self::Column { index: a, separator, .. }, Self::Column { index: b, separator: other, .. }) => {
                separator == other && a == b
            }
            (Self::Pair(a), Self::Pair(b)) => a == b,
            (Self::Route { .. } | Self::Column { .. } | Self::Pair(_), _) => false,
        }
    }
}

/// Fields of one format, compiled.
#[derive(Debug)]
pub(crate) enum Reader {
    Json(FieldTrie),
    Ndjson(FieldTrie),
    Table(Table),
    Pairs(Pairs),
}

impl Reader {
    /// Checks the bytes and reports what the fields select, as [`json::select`] does.
    ///
    /// # Errors
    ///
    /// Why the bytes are not of the format.
    pub(crate) fn select(
        &self,
        bytes: &[u8],
        depth_max: usize,
        scratch: &mut Scratch,
        sink: &mut impl FnMut(Selected),
    ) -> Result<(), RefuseCause> {
        let start = self.lead_len(bytes);
        let bytes = bytes.get(start..).unwrap_or_default();
        let mut shifted = |mut found: Selected| {
            found.span = found.span.start + start..found.span.end + start;
            sink(found);
        };
        match self {
            Self::Json(trie) => json::select(bytes, trie, depth_max, scratch, &mut shifted).map_err(RefuseCause::from),
            Self::Ndjson(trie) => lines::select(bytes, trie, depth_max, scratch, &mut shifted),
            Self::Table(table) => table::select(bytes, table, &mut shifted),
            Self::Pairs(pairs) => pairs::select(bytes, pairs, &mut shifted),
        }
    }

    /// Bytes at the start that are no part of what is read, and stay: a byte order mark, or the framing before a JSON document.
    fn lead_len(&self, bytes: &[u8]) -> usize {
        match (self, bytes) {
            (Self::Json(_), [FRAMING_MAGIC, ..]) if bytes.len() > FRAMING_BYTES => FRAMING_BYTES,
            (Self::Json(_) | Self::Ndjson(_) | Self::Table(_) | Self::Pairs(_), _) => mark_len(bytes),
        }
    }

    /// Whether its spans can lie one inside the other.
    pub(crate) fn overlaps(&self) -> bool {
        matches!(self, Self::Pairs(_))
    }
}

/// What Confluent's serializers write before a document: this byte, which no JSON document begins with, and a schema id of four bytes.
const FRAMING_MAGIC: u8 = 0;
const FRAMING_BYTES: usize = 5;

/// Bytes of the mark at the start that says "UTF-8 follows" and is no part of what follows.
fn mark_len(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// Is it UTF-8 with no control characters but tabs and ends of lines? Other controls are what text in another encoding looks like,
/// and in that no name is found where it stands.
fn is_text(bytes: &[u8]) -> bool {
    let is_odd = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(is_odd)
}

/// Reports the span for each of the fields.
fn report(fields: impl Iterator<Item = FieldId> + Clone, found: &Selected, sink: &mut impl FnMut(Selected)) {
    use crate::json::Share;
    let is_shared = fields.clone().nth(1).is_some();
    for (place, field) in fields.enumerate() {
        let share = match place {
            0 if is_shared => Share::First,
            0 => Share::Alone,
            _ => Share::Further,
        };
        sink(Selected { field, share, ..found.clone() });
    }
}
