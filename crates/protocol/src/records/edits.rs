//! What an inspector wants changed in a record.

use std::ops::Range;

use super::error::BatchError;
use super::walk::RecordSpans;

/// A part of a record that can be edited. Header keys cannot: consumers find headers by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The key.
    Key,
    /// The value.
    Value,
    /// The value of the header at this place, from 0.
    HeaderValue(u32),
}

/// The edits of a batch, gathered record by record. The vectors are kept between batches, so that edits allocate only
/// until they have found their size.
///
/// Spans are positions within the bytes of their field. An edit outside of its field, over another edit, or of a null
/// field makes the whole batch fail: what cannot be carried out is never skipped.
#[derive(Default)]
pub struct Edits {
    arena: Vec<u8>,
    list: Vec<Edit>,
    /// Where the current record's edits begin in `list`.
    first: usize,
}

/// One edit of the current record, for tests of inspectors.
#[derive(Clone, PartialEq, Eq)]
pub struct EditView<'a> {
    /// The field.
    pub field: Field,
    /// The bytes that go.
    pub span: Range<usize>,
    /// What comes in their place.
    pub with: Replacement<'a>,
}

/// What an edit puts in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Replacement<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// This byte, as often as the span has bytes.
    Fill(u8),
}

impl Edits {
    /// Replaces `span` of `field` by `with`, of any length.
    pub fn replace(&mut self, field: Field, span: Range<usize>, with: &[u8]) {
        let from = self.arena.len();
        self.arena.extend_from_slice(with);
        self.list.push(Edit { field, span, owner: 0..0, with: With::Arena(from..self.arena.len()) });
    }

    /// Overwrites every byte of `span` of `field` with `fill`.
    pub fn mask(&mut self, field: Field, span: Range<usize>, fill: u8) {
        self.list.push(Edit { field, span, owner: 0..0, with: With::Fill(fill) });
    }

    /// The current record has no edits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.len() == self.first
    }

    /// The edits of the current record, in the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = EditView<'_>> {
        self.list.get(self.first..).unwrap_or_default().iter().map(|edit| EditView {
            field: edit.field,
            span: edit.span.clone(),
            with: match &edit.with {
                With::Arena(bytes) => Replacement::Bytes(self.arena.get(bytes.clone()).unwrap_or_default()),
                With::Fill(fill) => Replacement::Fill(*fill),
            },
        })
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.list.clear();
        self.first = 0;
    }

    /// Forgets the edits of the current record.
    pub(super) fn drop_record(&mut self) {
        self.list.truncate(self.first);
    }

    /// Checks the edits of the current record, orders them, and turns their spans into places in the payload.
    ///
    /// # Errors
    /// [`BatchError::EditOutOfPlace`].
    pub(super) fn close_record(&mut self, record: &RecordSpans, payload: &[u8]) -> Result<RecordEdits, BatchError> {
        let from = self.first;
        self.first = self.list.len();
        let edits = self.list.get_mut(from..).unwrap_or_default();
        if !edits.is_sorted_by_key(Edit::place) {
            edits.sort_by_key(Edit::place);
        }
        let misplaced = BatchError::EditOutOfPlace { record: record.index };
        let mut headers = record.header_spans(payload).enumerate();
        let mut current: Option<(Field, Range<usize>)> = None;
        let mut free_from = 0;
        let mut keeps_lengths = true;
        for edit in edits {
            let field = match &current {
                Some((field, span)) if *field == edit.field => span.clone(),
                Some(_) | None => {
                    let found = match edit.field {
                        Field::Key => record.key.clone(),
                        Field::Value => record.value.clone(),
                        Field::HeaderValue(wanted) => headers
                            .find(|(place, _)| u32::try_from(*place) == Ok(wanted))
                            .and_then(|(_, header)| header.value),
                    };
                    let span = found.ok_or_else(|| misplaced.clone())?;
                    free_from = span.start;
                    current = Some((edit.field, span.clone()));
                    span
                }
            };
            let (Some(start), Some(end)) =
                (field.start.checked_add(edit.span.start), field.start.checked_add(edit.span.end))
            else {
                return Err(misplaced);
            };
            if start < free_from || end < start || end > field.end {
                return Err(misplaced);
            }
            keeps_lengths &= edit.with.len(end - start) == end - start;
            edit.span = start..end;
            edit.owner = field;
            free_from = end;
        }
        Ok(RecordEdits { edits: from..self.first, keeps_lengths })
    }

    /// The closed edits of a record, their spans being places in the payload.
    pub(super) fn closed(&self, edits: &Range<usize>) -> &[Edit] {
        self.list.get(edits.clone()).unwrap_or_default()
    }

    /// The bytes that replace those of an edit, or the byte that fills them.
    pub(super) fn bytes(&self, edit: &Edit) -> Result<&[u8], u8> {
        match &edit.with {
            With::Arena(bytes) => Ok(self.arena.get(bytes.clone()).unwrap_or_default()),
            With::Fill(fill) => Err(*fill),
        }
    }

    /// Gives back memory of an unusually large batch.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.clear();
        self.arena.shrink_to(bytes_max);
        self.list.shrink_to(bytes_max / size_of::<Edit>());
    }
}

impl std::fmt::Debug for Edits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edits").field("count", &self.list.len()).field("bytes", &self.arena.len()).finish()
    }
}

impl std::fmt::Debug for EditView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EditView").field("field", &self.field).field("span", &self.span).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Replacement<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Fill(_) => f.write_str("Fill"),
        }
    }
}

/// The edits of one record within [`Edits`].
pub(super) struct RecordEdits {
    pub(super) edits: Range<usize>,
    pub(super) keeps_lengths: bool,
}

/// One edit. Its span counts from its field's start until the record is closed, from the payload's start afterwards.
pub(super) struct Edit {
    pub(super) field: Field,
    pub(super) span: Range<usize>,
    /// The field's bytes in the payload, once the record is closed.
    pub(super) owner: Range<usize>,
    with: With,
}

impl Edit {
    fn place(&self) -> (Field, usize, usize) {
        (self.field, self.span.start, self.span.end)
    }

    /// Bytes that it puts in place.
    pub(super) fn len(&self) -> usize {
        self.with.len(self.span.len())
    }
}

enum With {
    Arena(Range<usize>),
    Fill(u8),
}

impl With {
    fn len(&self, span: usize) -> usize {
        match self {
            Self::Arena(bytes) => bytes.len(),
            Self::Fill(_) => span,
        }
    }
}
