//! Tables as RFC 4180 writes them, with commas (CSV) or tabs (TSV).
//!
//! ```text
//! ada,"Lovelace, ""Countess""",1815\r\n       records end at \n or \r\n, the last one needs no end
//!       └─────────┬──────────┘                a quoted field holds anything; "" is one "
//! ```
//!
//! What readers of tables disagree about is refused: a quote inside a field that does not begin with one, something else than a
//! separator behind a closing quote, a lone `\r` outside of quotes. An empty line is no record. The first record is data like any
//! other: nothing in the bytes says that it is a header.

use std::ops::Range;

use super::{is_text, report};
use crate::inspector::RefuseCause;
use crate::json::{FieldId, Kind, Selected, Share};

/// The columns that fields take.
#[derive(Debug)]
pub(crate) struct Table {
    separator: u8,
    /// How many fields each record has; none: at least as many as the columns need.
    columns: Option<u32>,
    /// Ascending by column.
    fields: Vec<(u32, FieldId)>,
}

impl Table {
    pub(crate) fn new(separator: u8, columns: Option<u32>, mut fields: Vec<(u32, FieldId)>) -> Self {
        fields.sort_unstable();
        Self { separator, columns, fields }
    }

    /// Whether a record may have so many fields.
    fn takes(&self, count: u32) -> bool {
        match self.columns {
            Some(columns) => count == columns,
            None => self.fields.last().is_none_or(|(column, _)| *column < count),
        }
    }
}

/// Checks the table and reports the selected column of each record. A field without quotes and bytes is null: nothing is reported.
///
/// # Errors
///
/// [`RefuseCause::NotTable`] when it is not well-formed, [`RefuseCause::WrongColumns`] when a record has not the columns that it
/// must have.
pub(super) fn select(bytes: &[u8], table: &Table, sink: &mut impl FnMut(Selected)) -> Result<(), RefuseCause> {
    if !is_text(bytes) {
        return Err(RefuseCause::NotTable);
    }
    let mut at = 0;
    while at < bytes.len() {
        if let Some(end) = line_end(bytes, at) {
            at = end;
            continue;
        }
        let (mut column, mut fields) = (0_u32, table.fields.as_slice());
        loop {
            let field = field(bytes, at, table.separator).ok_or(RefuseCause::NotTable)?;
            let here = fields.partition_point(|(wanted, _)| *wanted <= column);
            let (wanted, later) = fields.split_at_checked(here).unwrap_or_default();
            fields = later;
            if let Some(kind) = field.kind {
                let found = Selected { span: field.span, field: FieldId(0), kind, share: Share::Alone, depth: 0 };
                report(wanted.iter().map(|(_, field)| *field), &found, sink);
            }
            column = column.saturating_add(1);
            at = field.end;
            if bytes.get(at) == Some(&table.separator) {
                at += 1;
                continue;
            }
            if at < bytes.len() {
                at = line_end(bytes, at).ok_or(RefuseCause::NotTable)?;
            }
            break;
        }
        if !table.takes(column) {
            return Err(RefuseCause::WrongColumns);
        }
    }
    Ok(())
}

/// One field of a record.
struct Field {
    span: Range<usize>,
    /// None when nothing is there.
    kind: Option<Kind>,
    /// Where its separator or the end of its record is.
    end: usize,
}

/// The field that begins at `start`. None when it is not well-formed.
fn field(bytes: &[u8], start: usize, separator: u8) -> Option<Field> {
    let rest = bytes.get(start..)?;
    if rest.first() == Some(&b'"') {
        let end = start + 1 + quoted_len(rest.get(1..)?)?;
        return Some(Field { span: start + 1..end, kind: Some(Kind::Quoted), end: end + 1 });
    }
    let ends = |byte: &u8| *byte == separator || matches!(byte, b'\n' | b'\r' | b'"');
    let end = rest.iter().position(ends).map_or(bytes.len(), |length| start + length);
    if bytes.get(end) == Some(&b'"') {
        return None;
    }
    Some(Field { span: start..end, kind: (end > start).then_some(Kind::Plain), end })
}

/// Bytes up to the closing quote. None when it is missing.
fn quoted_len(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr(b'"', inside.get(at..)?)?;
        if inside.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// The place behind the end of a line that stands at `at`.
fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\n'), _) => Some(at + 1),
        (Some(b'\r'), Some(b'\n')) => Some(at + 2),
        _ => None,
    }
}

/// The most columns that a policy can name. Spreadsheets end at 16,384.
pub(crate) const COLUMNS_MAX: u32 = 16_384;
