//! Finds fields in JSON documents by their paths, in one pass that builds nothing.
//!
//! [`select`] walks a document once, checks all of it, and reports the byte spans of the values that the paths of a
//! [`FieldTrie`] select. What it accepts is what `serde_json` accepts as a `Value`, to the byte: brackets match by
//! kind, strings end, escapes are legal (half a surrogate pair is not), control characters in strings are refused,
//! UTF-8 holds, numbers follow the grammar and stay in the range of a 64-bit float (`1e999` does not), and only white
//! space follows the document. A byte order mark and an empty document are refused. Two differences, both on purpose:
//! the depth limit is the caller's (serde_json's is 127 open containers), and the object keys by which serde_json's
//! `raw_value` feature smuggles its own values through serde are ordinary keys here.
//!
//! Duplicate keys are each selected, and keys are compared decoded: `"em\u0061il"` is `email`.
//!
//! ```
//! use weir_policy::json::{self, FieldId, FieldTrie, Path, Scratch};
//!
//! let trie = FieldTrie::build(&[(FieldId(0), Path::parse("$.card.number")?)]);
//! let doc = br#"{"card":{"number":"4111"},"total":9}"#;
//! let mut found = Vec::new();
//! json::select(doc, &trie, 64, &mut Scratch::default(), &mut |selected| found.push(selected.span))?;
//! assert_eq!(found, [18..24]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
pub(crate) mod meet;
mod number;
mod path;
mod route;
pub(crate) mod text;
mod trie;
mod walk;

use std::fmt;

use thiserror::Error;

pub use crate::selected::{FieldId, JsonKind, Kind, Selected, Share};
pub use path::{Path, PathError};
pub use route::Route;
pub use trie::FieldTrie;

/// Why a document is refused. Places count bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonError {
    /// No bytes, or only white space.
    #[error("an empty document is not json")]
    Empty,
    /// Not the grammar of RFC 8259.
    #[error("not json at byte {at}")]
    Malformed {
        /// The first byte that does not fit.
        at: usize,
    },
    /// Not UTF-8.
    #[error("not utf-8 at byte {at}")]
    NotUtf8 {
        /// The first byte of the illegal sequence.
        at: usize,
    },
    /// A number beyond the range of a 64-bit float.
    #[error("a number out of range at byte {at}")]
    NumberOutOfRange {
        /// Where the number begins.
        at: usize,
    },
    /// More containers inside one another than allowed.
    #[error("more than {depth_max} objects and arrays inside one another at byte {at}")]
    TooDeep {
        /// The limit.
        depth_max: usize,
        /// Where the container that is too much begins.
        at: usize,
    },
}

/// Memory that [`select`] uses again for each document. It grows with the depth of documents and the number of fields.
#[derive(Default)]
pub struct Scratch {
    marks: block::Marks,
    frames: Vec<walk::Frame>,
    sets: Vec<u64>,
    key: Vec<u8>,
    fields: Vec<FieldId>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("key_bytes", &self.key.len()).finish_non_exhaustive()
    }
}

/// Checks the document and reports each value that a path of `trie` selects to `sink`, in the order of the document.
///
/// At most `depth_max` containers may be open at once. Values are reported while the document is read: when an error
/// comes after them, they must not be used.
///
/// # Errors
///
/// [`JsonError`] when the document is not well-formed, or too deep.
pub fn select(
    doc: &[u8],
    trie: &FieldTrie,
    depth_max: usize,
    scratch: &mut Scratch,
    sink: &mut impl FnMut(Selected),
) -> Result<(), JsonError> {
    let survey = block::survey(doc);
    if !survey.is_ascii
        && let Err(error) = std::str::from_utf8(doc)
    {
        return Err(JsonError::NotUtf8 { at: error.valid_up_to() });
    }
    walk::walk(doc, survey.has_controls, trie, depth_max, scratch, sink)
}

/// Checks the document as [`select`] does, without looking for fields. It makes a [`Scratch`] each time; the record path
/// uses [`select`] with an empty trie and a scratch of its own instead.
///
/// # Errors
///
/// [`JsonError`] when the document is not well-formed, or too deep.
pub fn check(doc: &[u8], depth_max: usize) -> Result<(), JsonError> {
    select(doc, &FieldTrie::default(), depth_max, &mut Scratch::default(), &mut |_| {})
}

/// Runs [`select`] over arbitrary bytes, for fuzzing: it neither panics nor reports a span that is not in the document.
///
/// # Panics
///
/// When it does.
#[doc(hidden)]
pub fn fuzz_json(doc: &[u8]) {
    let paths = ["$.a", "$..b", "$[1][*]", "$.*.c"].map(Path::parse);
    let fields: Vec<(FieldId, Path)> = (0..).map(FieldId).zip(paths.into_iter().flatten()).collect();
    let trie = FieldTrie::build(&fields);
    let mut end = 0;
    let mut spans_hold = true;
    let result = select(doc, &trie, 16, &mut Scratch::default(), &mut |selected| {
        let ascending = selected.span.start >= end || selected.share == Share::Further;
        spans_hold &= ascending && selected.span.start < selected.span.end && selected.span.end <= doc.len();
        end = selected.span.end;
    });
    assert!(spans_hold, "spans ascend and are in the document");
    assert_eq!(result, check(doc, 16), "fields do not change what is accepted");
}
