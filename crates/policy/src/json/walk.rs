//! The one pass over a document.

use std::ops::Range;

use super::block::{self, Cursor};
use super::number::{self, NumberError};
use super::trie::{Entered, Row};
use super::{FieldId, FieldTrie, JsonError, JsonKind, Kind, Scratch, Selected, Share, text};

/// An open object or array. Its set of path bits, when any path goes on in it, is the top of `Scratch::sets`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    object: bool,
    /// Does any path go on in here? Only then does it have a set.
    live: bool,
    /// Do its paths ask for names (in an object) or indexes (in an array)?
    asks: bool,
    /// Does a child complete a path that no path names? (A wildcard is last.)
    any_completes: bool,
    /// The place of the current element of an array.
    index: u32,
}

/// Around the root stands an array of one element that nothing asks about.
const OUTSIDE: Frame = Frame { object: false, live: false, asks: false, any_completes: false, index: 0 };

/// The outermost open container that is selected.
struct Outer {
    depth: usize,
    start: usize,
    kind: JsonKind,
}

/// Walks the document, which is UTF-8, and has control characters or has none.
pub(super) fn walk(
    doc: &[u8],
    has_controls: bool,
    trie: &FieldTrie,
    depth_max: usize,
    scratch: &mut Scratch,
    sink: &mut impl FnMut(Selected),
) -> Result<(), JsonError> {
    scratch.frames.clear();
    scratch.sets.clear();
    scratch.fields.clear();
    let mut marks = std::mem::take(&mut scratch.marks);
    marks.mark(doc);
    let (frame, outer) = (OUTSIDE, None);
    let mut walker =
        Walker { doc, trie, depth_max, scratch, sink, marks: marks.cursor(), blank_controls: 0, frame, outer };
    let mut result = walker.document();
    if result.is_ok() && has_controls && walker.blank_controls != block::count_controls(doc) {
        result = Err(malformed(control_in_string(doc)));
    }
    scratch.marks = marks;
    result
}

struct Walker<'a, S> {
    doc: &'a [u8],
    trie: &'a FieldTrie,
    depth_max: usize,
    scratch: &'a mut Scratch,
    sink: &'a mut S,
    /// Outside of strings, the next mark is the next opening quote.
    marks: Cursor<'a>,
    /// Control characters that were passed over as white space. In the end they must be all that the document has; the
    /// others would be inside strings. That is cheaper than to look for them in each string.
    blank_controls: usize,
    /// The innermost open container; those around it are in `scratch.frames`.
    frame: Frame,
    outer: Option<Outer>,
}

impl<S: FnMut(Selected)> Walker<'_, S> {
    fn document(&mut self) -> Result<(), JsonError> {
        let mut at = self.skip_blank(0);
        if at == self.doc.len() {
            return Err(JsonError::Empty);
        }
        let mut row = if self.trie.is_empty() { Row::NONE } else { Row::ROOT };
        // Each turn reads one value, then closes what ends behind it and stops before the next value.
        loop {
            let start = at;
            at = match byte(self.doc, at) {
                b'"' => {
                    let text = text::scan_marked(self.doc, at.wrapping_add(1), &mut self.marks).map_err(malformed)?;
                    let end = text.end.wrapping_add(1);
                    self.scalar(row, start..end, JsonKind::String);
                    end
                }
                b'-' | b'0'..=b'9' => {
                    let end = number::scan(self.doc, at).map_err(|error| match error {
                        NumberError::Grammar(at) => malformed(at),
                        NumberError::Range => JsonError::NumberOutOfRange { at: start },
                    })?;
                    self.scalar(row, start..end, JsonKind::Number);
                    end
                }
                b'{' => {
                    self.open(row, at, JsonKind::Object)?;
                    at = self.skip_blank(at + 1);
                    if byte(self.doc, at) != b'}' {
                        (row, at) = self.key(at)?;
                        continue;
                    }
                    self.close(at + 1)
                }
                b'[' => {
                    self.open(row, at, JsonKind::Array)?;
                    at = self.skip_blank(at + 1);
                    if byte(self.doc, at) != b']' {
                        row = self.element();
                        continue;
                    }
                    self.close(at + 1)
                }
                b't' => self.literal(row, start, b"true", JsonKind::Bool)?,
                b'f' => self.literal(row, start, b"false", JsonKind::Bool)?,
                b'n' => self.literal(row, start, b"null", JsonKind::Null)?,
                _ => return Err(malformed(at)),
            };
            loop {
                // Compact documents: the next member begins right here.
                if self.frame.object && two(self.doc, at) == *b",\"" {
                    (row, at) = self.key_in_quotes(at.wrapping_add(1))?;
                    break;
                }
                at = self.skip_blank(at);
                match (byte(self.doc, at), self.frame.object) {
                    (b',', true) => {
                        at = self.skip_blank(at + 1);
                        (row, at) = self.key(at)?;
                        break;
                    }
                    (b'}', true) => at = self.close(at + 1),
                    (_, true) => return Err(malformed(at)),
                    _ if self.scratch.frames.is_empty() => {
                        return if at == self.doc.len() { Ok(()) } else { Err(malformed(at)) };
                    }
                    (b',', false) => {
                        self.frame.index = self.frame.index.saturating_add(1);
                        row = self.element();
                        at = self.skip_blank(at + 1);
                        break;
                    }
                    (b']', false) => at = self.close(at + 1),
                    (_, false) => return Err(malformed(at)),
                }
            }
        }
    }

    /// Reads a member's name at `at` and its colon: how the member is selected, and where its value begins.
    #[inline(always)]
    fn key(&mut self, at: usize) -> Result<(Row, usize), JsonError> {
        if byte(self.doc, at) != b'"' {
            return Err(malformed(at));
        }
        self.key_in_quotes(at)
    }

    /// [`key`](Self::key) where the opening quote was seen.
    #[inline(always)]
    fn key_in_quotes(&mut self, at: usize) -> Result<(Row, usize), JsonError> {
        let inside = at.wrapping_add(1);
        let name = text::scan_marked(self.doc, inside, &mut self.marks).map_err(malformed)?;
        let [colon, next] = two(self.doc, name.end.wrapping_add(1));
        let value = if colon == b':' && next > b' ' {
            name.end.wrapping_add(2)
        } else {
            let colon = self.skip_blank(name.end + 1);
            if byte(self.doc, colon) != b':' {
                return Err(malformed(colon));
            }
            self.skip_blank(colon + 1)
        };
        if !self.frame.asks {
            return Ok((if self.frame.live { Row::OTHER } else { Row::NONE }, value));
        }
        if name.escaped {
            return Ok((self.escaped_name(inside..name.end), value));
        }
        Ok((self.trie.name(self.doc, inside, name.end.wrapping_sub(inside)), value))
    }

    #[inline(always)]
    fn skip_blank(&mut self, at: usize) -> usize {
        skip_blank(self.doc, at, &mut self.blank_controls)
    }

    #[inline(never)]
    fn escaped_name(&mut self, inside: Range<usize>) -> Row {
        let key = &mut self.scratch.key;
        key.clear();
        text::decode_into(self.doc.get(inside).unwrap_or_default(), key);
        self.trie.name(key, 0, key.len())
    }

    /// How the current element of an array is selected.
    #[inline]
    fn element(&self) -> Row {
        match self.frame {
            Frame { live: false, .. } => Row::NONE,
            Frame { asks: false, .. } => Row::OTHER,
            Frame { index, .. } => self.trie.index(index),
        }
    }

    fn literal(&mut self, row: Row, start: usize, word: &[u8], kind: JsonKind) -> Result<usize, JsonError> {
        let end = start + word.len();
        if self.doc.get(start..end) != Some(word) {
            return Err(malformed(start));
        }
        self.scalar(row, start..end, kind);
        Ok(end)
    }

    #[inline]
    fn scalar(&mut self, row: Row, span: Range<usize>, kind: JsonKind) {
        if self.may_complete(row) {
            self.scalar_completes(row, span, kind);
        }
    }

    #[inline(never)]
    fn scalar_completes(&mut self, row: Row, span: Range<usize>, kind: JsonKind) {
        self.collect(row);
        if self.outer.is_none() {
            self.report(span, kind);
        }
    }

    /// A cheap look before [`collect`](Self::collect): most values end here.
    #[inline]
    fn may_complete(&self, row: Row) -> bool {
        row != Row::NONE && (row != Row::OTHER || self.frame.any_completes)
    }

    /// Adds the fields that a child of this row completes to those of the outer container, or to none.
    fn collect(&mut self, row: Row) {
        let Scratch { sets, fields, .. } = &mut *self.scratch;
        let mut add = |field: FieldId| {
            if !fields.contains(&field) {
                fields.push(field);
            }
        };
        if row == Row::ROOT {
            self.trie.root().iter().copied().for_each(&mut add);
        } else {
            let set = sets.get(sets.len().saturating_sub(self.trie.words())..).unwrap_or_default();
            self.trie.for_each_field(set, row, add);
        }
    }

    /// Reports the span for each of the collected fields.
    fn report(&mut self, span: Range<usize>, kind: JsonKind) {
        let depth = u32::try_from(self.scratch.frames.len()).unwrap_or(u32::MAX);
        let fields = &mut self.scratch.fields;
        let alone = fields.len() == 1;
        for (place, field) in fields.drain(..).enumerate() {
            let share = match place {
                0 if alone => Share::Alone,
                0 => Share::First,
                _ => Share::Further,
            };
            (self.sink)(Selected { span: span.clone(), field, kind: Kind::Json(kind), share, depth });
        }
    }

    fn open(&mut self, row: Row, at: usize, kind: JsonKind) -> Result<(), JsonError> {
        if self.scratch.frames.len() >= self.depth_max {
            return Err(JsonError::TooDeep { depth_max: self.depth_max, at });
        }
        if self.may_complete(row) {
            self.collect(row);
            if self.outer.is_none() && !self.scratch.fields.is_empty() {
                self.outer = Some(Outer { depth: self.scratch.frames.len(), start: at, kind });
            }
        }
        self.scratch.frames.push(self.frame);
        let object = kind == JsonKind::Object;
        let entered = match row {
            Row::NONE => None,
            _ => self.trie.enter(&mut self.scratch.sets, row),
        };
        self.frame = match entered {
            Some(Entered { asks_names, asks_indexes, any_completes }) => Frame {
                object,
                live: true,
                asks: if object { asks_names } else { asks_indexes },
                any_completes,
                index: 0,
            },
            None => Frame { object, ..OUTSIDE },
        };
        Ok(())
    }

    /// Closes the innermost container, which ends before `end`; gives `end` back.
    #[inline]
    fn close(&mut self, end: usize) -> usize {
        if self.frame.live {
            let sets = &mut self.scratch.sets;
            sets.truncate(sets.len().saturating_sub(self.trie.words()));
        }
        self.frame = self.scratch.frames.pop().unwrap_or(OUTSIDE);
        let depth = self.scratch.frames.len();
        if let Some(outer) = self.outer.take_if(|outer| outer.depth == depth) {
            self.report(outer.start..end, outer.kind);
        }
        end
    }
}

#[inline(always)]
fn byte(doc: &[u8], at: usize) -> u8 {
    // No value and no punctuation is a zero byte.
    doc.get(at).copied().unwrap_or(0)
}

/// The byte at `at` and the one behind it; zeros where the document ends before both.
#[inline(always)]
fn two(doc: &[u8], at: usize) -> [u8; 2] {
    doc.get(at..at.wrapping_add(2)).and_then(|two| two.first_chunk()).copied().unwrap_or([0; 2])
}

/// The first place from `at` on that is not white space. Most often that is `at`, or the place behind one space.
#[inline(always)]
fn skip_blank(doc: &[u8], at: usize, controls: &mut usize) -> usize {
    if byte(doc, at) > b' ' {
        at
    } else if byte(doc, at) == b' ' && byte(doc, at + 1) > b' ' {
        at + 1
    } else {
        blank_end(doc, at, controls)
    }
}

/// [`skip_blank`] over any white space; adds the control characters among it to `controls`.
#[inline(never)]
fn blank_end(doc: &[u8], mut at: usize, controls: &mut usize) -> usize {
    loop {
        match byte(doc, at) {
            b' ' => at += block::spaces_len(doc.get(at..).unwrap_or_default()),
            b'\n' | b'\r' | b'\t' => {
                *controls += 1;
                at += 1;
            }
            _ => return at,
        }
    }
}

/// The first control character inside a string of a document that is well-formed but for that.
fn control_in_string(doc: &[u8]) -> usize {
    let mut at = 0;
    while let Some(quote) = doc.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
        match text::scan(doc, at + quote + 1) {
            Ok(found) => at = found.end + 1,
            Err(at) => return at,
        }
    }
    doc.len()
}

fn malformed(at: usize) -> JsonError {
    JsonError::Malformed { at }
}
