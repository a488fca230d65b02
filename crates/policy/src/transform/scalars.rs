//! The scalars inside an object or array.

use std::ops::Range;

use crate::json::{JsonKind, text};

/// Calls `each` for every string, number and boolean inside the container at `span`, in their order, but not for the
/// names of members. The document is well-formed, so punctuation needs no look; `None` says that it was not.
pub(super) fn for_each(doc: &[u8], span: Range<usize>, mut each: impl FnMut(Range<usize>, JsonKind)) -> Option<()> {
    let doc = doc.get(..span.end)?;
    let mut at = span.start;
    while let Some(byte) = doc.get(at) {
        let start = at;
        match byte {
            b'"' => {
                at = text::scan(doc, at + 1).ok()?.end + 1;
                let behind = doc.get(at..)?.iter().find(|byte| !byte.is_ascii_whitespace());
                if behind != Some(&b':') {
                    each(start..at, JsonKind::String);
                }
            }
            b'-' | b'0'..=b'9' => {
                let number = doc.get(at..)?;
                let of_number = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                at += number.iter().position(|byte| !of_number(byte))?;
                each(start..at, JsonKind::Number);
            }
            b't' | b'n' => {
                at += 4;
                if *byte == b't' {
                    each(start..at, JsonKind::Bool);
                }
            }
            b'f' => {
                at += 5;
                each(start..at, JsonKind::Bool);
            }
            _ => at += 1,
        }
    }
    Some(())
}
