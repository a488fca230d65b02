//! What happens to a field that a rule selects.
//!
//! A transform changes the value and never its type: numbers stay numbers, strings strings, the document well-formed.
//!
//! | | string | number | boolean | null |
//! |---|---|---|---|---|
//! | [`Redact`](Transform::Redact) | `"[redacted]"` | `0` | `false` | `null` |
//! | [`Mask`](Transform::Mask) | one `*` per character, but for those kept | digits become 0 | `false` | `null` |
//! | [`Hash`](Transform::Hash) | `"h:<key id>:<32 characters>"`, see [`HashKey`] | `0` | `false` | `null` |
//!
//! In an object or array, every scalar inside is transformed; the names of members stay.
//!
//! - A masked number keeps its form as far as JSON lets it: the whole part becomes a single `0` (JSON allows no leading
//!   zeros), each digit of the fraction and of the exponent becomes `0`, and a minus sign before the number goes, as
//!   many parsers do not read `-0` as an integer. `-12.5e3` becomes `0.0e0`. Nothing is kept of a number.
//! - A hash needs a string to stand in, so a hashed number becomes `0`, as if redacted.
//! - A character is a Unicode scalar value. In JSON an escape counts as the character that it stands for, as does `""` in a
//!   quoted field of a table, and characters that are kept keep their spelling.
//! - What is no JSON is text: it is treated as the inside of a string.
//! - Each transform applied to its own output changes nothing.

mod coding;
mod hash;
mod mask;
mod scalars;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use weir_protocol::records::{Edits, Field};

use crate::json::{JsonKind, Kind, Selected, Share};

use coding::Coding;
pub use hash::HashKey;
use mask::Masking;

/// What replaces redacted text.
pub const REDACTED: &str = "[redacted]";

/// One transform of a field.
#[derive(Debug, Clone)]
pub enum Transform {
    /// The value goes, its type stays.
    Redact,
    /// Characters become `*`, but for the first and the last of them. A text of no more than `keep_first + keep_last`
    /// characters is masked whole.
    Mask {
        /// Characters kept at the start.
        keep_first: u32,
        /// Characters kept at the end.
        keep_last: u32,
    },
    /// A keyed hash: equal texts stay equal, and nobody without the key can tell what they were.
    Hash(Arc<HashKey>),
}

/// Memory that [`apply`] and [`apply_bytes`] use again for each field.
#[derive(Default)]
pub struct Scratch {
    decoded: Vec<u8>,
    made: Vec<u8>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("bytes", &(self.decoded.len() + self.made.len())).finish()
    }
}

/// Applies the transform to a value that [`json::select`](crate::json::select) or another format found in `doc`, which is the
/// bytes of `field`. Says whether anything changed.
///
/// `select` must have accepted the whole document. Call it once for each [`Selected`], in their order: a span that
/// several fields share is redacted at its first report, whatever the transform, and left alone at the further ones.
pub fn apply(
    transform: &Transform,
    doc: &[u8],
    selected: &Selected,
    field: Field,
    edits: &mut Edits,
    scratch: &mut Scratch,
) -> bool {
    let transform = match selected.share {
        Share::Alone => transform,
        Share::First => &Transform::Redact,
        Share::Further => return false,
    };
    let mut editor = Editor { transform, field, edits, scratch, changed: false };
    let span = selected.span.clone();
    match selected.kind {
        Kind::Json(JsonKind::Object | JsonKind::Array) => {
            if scalars::for_each(doc, span, |span, kind| editor.scalar(doc, span, kind)).is_none() {
                editor.fail();
            }
        }
        Kind::Json(kind @ (JsonKind::String | JsonKind::Number | JsonKind::Bool | JsonKind::Null)) => {
            editor.scalar(doc, span, kind);
        }
        Kind::Plain => editor.text(doc, span, Coding::Plain),
        Kind::Quoted => editor.text(doc, span, Coding::Doubled),
    }
    editor.changed
}

/// Applies the transform to all `bytes` of a field as one text: the value of a header, or a key. Says whether anything
/// changed.
///
/// Bytes that are not UTF-8 are not text: a mask then puts one `*` per byte and keeps none. A hash of a text here
/// equals the hash of a JSON string of the same text.
pub fn apply_bytes(
    transform: &Transform,
    bytes: &[u8],
    field: Field,
    edits: &mut Edits,
    scratch: &mut Scratch,
) -> bool {
    let mut editor = Editor { transform, field, edits, scratch, changed: false };
    let span = 0..bytes.len();
    match transform {
        Transform::Mask { .. } if std::str::from_utf8(bytes).is_err() => editor.fill(span, b'*'),
        Transform::Redact | Transform::Mask { .. } | Transform::Hash(_) => editor.text(bytes, span, Coding::Plain),
    }
    editor.changed
}

struct Editor<'a> {
    transform: &'a Transform,
    field: Field,
    edits: &'a mut Edits,
    scratch: &'a mut Scratch,
    changed: bool,
}

impl Editor<'_> {
    fn scalar(&mut self, doc: &[u8], span: Range<usize>, kind: JsonKind) {
        match kind {
            JsonKind::String => self.text(doc, span.start.saturating_add(1)..span.end.saturating_sub(1), Coding::Json),
            JsonKind::Number => self.number(doc, span),
            JsonKind::Bool => self.replace_unless_equal(doc, span, b"false"),
            JsonKind::Null | JsonKind::Object | JsonKind::Array => {}
        }
    }

    /// Transforms the text that is written at `span` in this coding.
    fn text(&mut self, doc: &[u8], span: Range<usize>, coding: Coding) {
        let Some(text) = doc.get(span.clone()) else { return self.fail() };
        match self.transform {
            Transform::Redact => self.replace_unless_equal(doc, span, REDACTED.as_bytes()),
            Transform::Mask { keep_first, keep_last } => {
                self.mask(doc, span, mask::of(text, *keep_first, *keep_last, coding));
            }
            Transform::Hash(key) => {
                let Scratch { decoded, made } = &mut *self.scratch;
                decoded.clear();
                coding.decode_into(text, decoded);
                if !key.made(decoded) {
                    made.clear();
                    key.hash_into(decoded, made);
                    self.replace_with_made(span);
                }
            }
        }
    }

    fn number(&mut self, doc: &[u8], span: Range<usize>) {
        if !matches!(self.transform, Transform::Mask { .. }) {
            return self.replace_unless_equal(doc, span, b"0");
        }
        let Some(number) = doc.get(span.clone()) else { return self.fail() };
        self.scratch.made.clear();
        mask::number_into(number, &mut self.scratch.made);
        if self.scratch.made != number {
            self.replace_with_made(span);
        }
    }

    /// Carries out a masking of the text at `text`.
    fn mask(&mut self, doc: &[u8], text: Range<usize>, masking: Masking) {
        let span = text.start + masking.span.start..text.start + masking.span.end;
        let Some(masked) = doc.get(span.clone()) else { return self.fail() };
        if masked.iter().all(|&byte| byte == b'*') {
            return;
        }
        if masking.characters == masked.len() {
            return self.fill(span, b'*');
        }
        self.scratch.made.clear();
        self.scratch.made.resize(masking.characters, b'*');
        self.replace_with_made(span);
    }

    fn fill(&mut self, span: Range<usize>, fill: u8) {
        if !span.is_empty() {
            self.edits.mask(self.field, span, fill);
            self.changed = true;
        }
    }

    fn replace_unless_equal(&mut self, doc: &[u8], span: Range<usize>, with: &[u8]) {
        if doc.get(span.clone()) != Some(with) {
            self.edits.replace(self.field, span, with);
            self.changed = true;
        }
    }

    fn replace_with_made(&mut self, span: Range<usize>) {
        self.edits.replace(self.field, span, &self.scratch.made);
        self.changed = true;
    }

    /// The span is not of this document, or the document is not the one that was checked. An edit that no field can
    /// hold makes the batch fail, so that nothing passes as if it were done.
    fn fail(&mut self) {
        self.edits.replace(self.field, usize::MAX..usize::MAX, &[]);
        self.changed = true;
    }
}
