//! One JSON document a line (NDJSON, JSON Lines).

use crate::inspector::RefuseCause;
use crate::json::{self, FieldTrie, Scratch, Selected};

/// Checks each line as [`json::select`] checks a document, and reports what the paths select in it.
///
/// Lines end at `\n`; the `\r` before it is white space to JSON, and the last one needs none. A line of white space has no document.
///
/// # Errors
///
/// When a line is not well-formed, or too deep.
pub(super) fn select(
    bytes: &[u8],
    trie: &FieldTrie,
    depth_max: usize,
    scratch: &mut Scratch,
    sink: &mut impl FnMut(Selected),
) -> Result<(), RefuseCause> {
    let mut start = 0;
    while start < bytes.len() {
        let rest = bytes.get(start..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        if !line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            let mut shifted = |mut found: Selected| {
                found.span = found.span.start + start..found.span.end + start;
                sink(found);
            };
            json::select(line, trie, depth_max, scratch, &mut shifted)?;
        }
        start += length + 1;
    }
    Ok(())
}
