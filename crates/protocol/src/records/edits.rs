//! What an inspector wants changed in a record.

use std::ops::Range;

use super::error::BatchError;
use super::walk::RecordSpans;

/// Most edits of a batch: some 70 MB of them, about what the batch itself may take. A document of millions of scalars
/// that are all to be redacted must not cost many times its own size.
pub(super) const EDITS_MAX: usize = 2_000_000;

/// Most bytes that the edits of a batch put in place: sixteen for each of [`EDITS_MAX`].
pub(super) const EDIT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What the edits of a batch take at most, bytes. A vector grows by doubling.
pub(super) const EDITS_MEMORY_BYTES: usize = EDITS_MAX.next_power_of_two() * size_of::<Edit>() + EDIT_BYTES_MAX;

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
pub struct Edits {
    arena: Vec<u8>,
    list: Vec<Edit>,
    /// Where the current record's edits begin in `list`.
    first: usize,
    /// Most edits.
    edits_max: usize,
    /// Most bytes that they put in place.
    bytes_max: usize,
    /// There were more than the limits allow; the rest was not taken.
    overflows: bool,
}

impl Default for Edits {
    fn default() -> Self {
        Self::limited(EDITS_MAX, EDIT_BYTES_MAX)
    }
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
    /// Room for at most so many edits, which put in place at most so many bytes. (The default is what a batch may have.)
    #[must_use]
    pub fn limited(edits_max: usize, bytes_max: usize) -> Self {
        Self { arena: Vec::new(), list: Vec::new(), first: 0, edits_max, bytes_max, overflows: false }
    }

    /// There were more edits than there is room for: those that are here are not all.
    #[must_use]
    pub fn overflows(&self) -> bool {
        self.overflows
    }

    /// Replaces `span` of `field` by `with`, of any length.
    pub fn replace(&mut self, field: Field, span: Range<usize>, with: &[u8]) {
        if self.arena.len().saturating_add(with.len()) > self.bytes_max {
            self.overflows = true;
            return;
        }
        let from = short(self.arena.len());
        self.arena.extend_from_slice(with);
        self.push(field, &span, With::Arena(from, short(self.arena.len())));
    }

    /// Overwrites every byte of `span` of `field` with `fill`.
    pub fn mask(&mut self, field: Field, span: Range<usize>, fill: u8) {
        self.push(field, &span, With::Fill(fill));
    }

    /// The current record has no edits: none were made, and none were turned away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.len() == self.first && !self.overflows
    }

    /// The edits of the current record, in the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = EditView<'_>> {
        self.list.get(self.first..).unwrap_or_default().iter().map(|edit| EditView {
            field: edit.field,
            span: edit.span(),
            with: match self.bytes(edit) {
                Ok(bytes) => Replacement::Bytes(bytes),
                Err(fill) => Replacement::Fill(fill),
            },
        })
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.list.clear();
        self.first = 0;
        self.overflows = false;
    }

    fn push(&mut self, field: Field, span: &Range<usize>, with: With) {
        if self.list.len() >= self.edits_max {
            self.overflows = true;
            return;
        }
        self.list.push(Edit { field, start: short(span.start), end: short(span.end), owner: (0, 0), with });
    }

    /// Forgets the edits of the current record.
    pub(super) fn drop_record(&mut self) {
        self.list.truncate(self.first);
        self.overflows = false;
    }

    /// Checks the edits of the current record, orders them, and turns their spans into places in the payload.
    ///
    /// # Errors
    /// [`BatchError::EditOutOfPlace`], [`BatchError::TooManyEdits`].
    pub(super) fn close_record(&mut self, record: &RecordSpans, payload: &[u8]) -> Result<RecordEdits, BatchError> {
        if self.overflows {
            return Err(BatchError::TooManyEdits { record: record.index });
        }
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
                (field.start.checked_add(edit.span().start), field.start.checked_add(edit.span().end))
            else {
                return Err(misplaced);
            };
            if start < free_from || end < start || end > field.end {
                return Err(misplaced);
            }
            keeps_lengths &= edit.with.len(end - start) == end - start;
            (edit.start, edit.end) = (short(start), short(end));
            edit.owner = (short(field.start), short(field.end));
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
            With::Arena(from, to) => Ok(self.arena.get(wide(*from)..wide(*to)).unwrap_or_default()),
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
///
/// A batch is at most 2 GiB, so that 32 bits hold every place in it; larger numbers, which an inspector could pass, are
/// cut to a value that no field reaches.
pub(super) struct Edit {
    pub(super) field: Field,
    start: u32,
    end: u32,
    /// The field's bytes in the payload, once the record is closed.
    owner: (u32, u32),
    with: With,
}

impl Edit {
    fn place(&self) -> (Field, u32, u32) {
        (self.field, self.start, self.end)
    }

    pub(super) fn span(&self) -> Range<usize> {
        wide(self.start)..wide(self.end)
    }

    pub(super) fn owner(&self) -> Range<usize> {
        wide(self.owner.0)..wide(self.owner.1)
    }

    /// Bytes that it puts in place.
    pub(super) fn len(&self) -> usize {
        self.with.len(self.span().len())
    }
}

/// The replacing bytes' place in the arena, or the filling byte.
enum With {
    Arena(u32, u32),
    Fill(u8),
}

impl With {
    fn len(&self, span: usize) -> usize {
        match self {
            Self::Arena(from, to) => wide(to.saturating_sub(*from)),
            Self::Fill(_) => span,
        }
    }
}

fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn wide(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
