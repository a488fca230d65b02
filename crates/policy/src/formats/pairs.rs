//! `name=value` in text, as logfmt and many log lines have it.
//!
//! ```text
//! 10:02 login user=ada email="a \"b\"" q=x,id=7          user → ada    email → a "b"    q → x,id=7    id → 7
//! ```
//!
//! - A name is a run of characters other than white space, quotes and the punctuation `= , ; & | ? ( ) [ ] { } < >`, right before
//!   `=`; white space may stand in between. Names are compared byte by byte.
//! - A value begins right behind `=`. (After white space only where white space is before the `=` too: in `user= id=7` the user is
//!   empty, in `user = ada` it is not.) In double quotes it is a JSON string. Otherwise it goes on to the next white space: what
//!   others take for a separator is part of it, so that a mask covers too much rather than too little; names are found in it
//!   nevertheless.
//! - Pairs in a quoted value are text of that value.
//! - A value that is selected and could be read in two ways is an error: one with a `"` in the middle, with more text right behind
//!   its closing quote, or beginning with `'`. So is a quoted value that is no JSON string, selected or not, since nobody could
//!   tell where the text goes on.

use std::ops::Range;

use super::{is_text, report};
use crate::inspector::RefuseCause;
use crate::json::{FieldId, JsonKind, Kind, Selected, Share, text};

/// The names that fields take.
#[derive(Debug)]
pub(crate) struct Pairs {
    /// Ascending by name.
    fields: Vec<(Box<[u8]>, FieldId)>,
}

impl Pairs {
    pub(crate) fn new(mut fields: Vec<(Box<[u8]>, FieldId)>) -> Self {
        fields.sort_unstable();
        Self { fields }
    }

    fn named(&self, name: &[u8]) -> &[(Box<[u8]>, FieldId)] {
        let start = self.fields.partition_point(|(field, _)| **field < *name);
        let rest = self.fields.get(start..).unwrap_or_default();
        rest.get(..rest.partition_point(|(field, _)| **field == *name)).unwrap_or_default()
    }
}

/// Reports the values of the selected pairs; they can lie one inside the other. An empty value without quotes is null: nothing is
/// reported.
///
/// # Errors
///
/// [`RefuseCause::NotText`].
pub(super) fn select(bytes: &[u8], pairs: &Pairs, sink: &mut impl FnMut(Selected)) -> Result<(), RefuseCause> {
    if !is_text(bytes) {
        return Err(RefuseCause::NotText);
    }
    // What is before it belongs to pairs that are read.
    let mut free_from = 0;
    while let Some(length) = bytes.get(free_from..).and_then(|rest| memchr::memchr(b'=', rest)) {
        let equals = free_from + length;
        let (name, is_spaced) = name_before(bytes, free_from, equals);
        let start = if is_spaced { blank_end(bytes, equals + 1) } else { equals + 1 };
        let wanted = pairs.named(name);
        let (span, kind) = if bytes.get(start) == Some(&b'"') {
            let end = text::scan(bytes, start + 1).map_err(|_| RefuseCause::NotText)?.end + 1;
            free_from = end;
            if !wanted.is_empty() && bytes.get(end).is_some_and(|next| !closes(*next)) {
                return Err(RefuseCause::NotText);
            }
            (start..end, Kind::Json(JsonKind::String))
        } else {
            free_from = start;
            (plain(bytes, start, !wanted.is_empty())?, Kind::Plain)
        };
        if !span.is_empty() {
            let found = Selected { span, field: FieldId(0), kind, share: Share::Alone, depth: 0 };
            report(wanted.iter().map(|(_, field)| *field), &found, sink);
        }
    }
    Ok(())
}

/// The value without quotes that begins at `start`.
fn plain(bytes: &[u8], start: usize, is_wanted: bool) -> Result<Range<usize>, RefuseCause> {
    if !is_wanted {
        return Ok(start..start);
    }
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let value = rest.get(..length).unwrap_or_default();
    if value.first() == Some(&b'\'') || memchr::memchr(b'"', value).is_some() {
        return Err(RefuseCause::NotText);
    }
    Ok(start..start + length)
}

/// The name in front of the `=`, and whether there is white space between them.
fn name_before(bytes: &[u8], free_from: usize, equals: usize) -> (&[u8], bool) {
    let before = bytes.get(free_from..equals).unwrap_or_default();
    let trimmed = before.trim_ascii_end();
    let start = trimmed.iter().rposition(|byte| !is_name_byte(*byte)).map_or(0, |other| other + 1);
    (trimmed.get(start..).unwrap_or_default(), trimmed.len() < before.len())
}

/// The first place from `at` on that is no space or tab: a value is never on the next line.
fn blank_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len())
}

/// May this byte stand right behind a closing quote?
fn closes(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b'&' | b'|' | b')' | b']' | b'}' | b'>')
}

fn is_name_byte(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !b"\"'=,;&|?()[]{}<>".contains(&byte)
}

/// Can a pair have this name?
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_name_byte)
}
