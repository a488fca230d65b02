//! Checkpoints read back out of collected output: whatever a log collector made of the lines that the gateway printed.

use serde_json::Value;

use super::note::DASH;
use super::{Checkpoint, NOTE_BYTES_MAX, SignedCheckpoint};
use crate::ids::ORIGIN_PREFIX;
use crate::view::rfc3339;

/// Reads collected text line by line and gives the checkpoints in it.
///
/// Two forms are found: the gateway's own JSON line, with any text around it and also inside the strings of another JSON object, as
/// collectors wrap lines; and notes as they are.
#[derive(Debug, Default)]
pub struct AnchorReader {
    /// A bare note in the making.
    note: Option<String>,
    unreadable: u64,
}

impl AnchorReader {
    /// Before the first line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lines that speak of a checkpoint and hold none: cut short, or altered.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// The next line, without its line feed; the checkpoints that it holds or ends are added to `found`.
    pub fn line(&mut self, line: &str, found: &mut Vec<SignedCheckpoint>) {
        self.bare(line, found);
        if line.contains(EVENT) {
            let before = found.len();
            in_text(line, 0, found);
            if found.len() == before {
                self.unreadable += 1;
            }
        }
    }

    /// No further line.
    pub fn end(&mut self, found: &mut Vec<SignedCheckpoint>) {
        if let Some(note) = self.note.take() {
            match note.parse() {
                Ok(checkpoint) => found.push(checkpoint),
                Err(_) => self.unreadable += 1,
            }
        }
    }

    fn bare(&mut self, line: &str, found: &mut Vec<SignedCheckpoint>) {
        let Some(note) = &mut self.note else {
            self.note = is_origin(line).then(|| format!("{line}\n"));
            return;
        };
        // Size, root, an empty line, signatures.
        let lines = note.matches('\n').count();
        let fits = if lines < 4 { line.is_empty() == (lines == 3) } else { line.starts_with(DASH) };
        if fits && note.len() + line.len() < NOTE_BYTES_MAX {
            note.push_str(line);
            note.push('\n');
            return;
        }
        self.end(found);
        self.note = is_origin(line).then(|| format!("{line}\n"));
    }
}

impl SignedCheckpoint {
    /// The line that is printed for collectors, with its line feed: one JSON object, which [`AnchorReader`] finds again. `now`: wall
    /// clock, nanoseconds since 1970; for people, since a note has no time.
    #[must_use]
    pub fn line(&self, now: u64) -> String {
        let Checkpoint { chain, size, root } = self.checkpoint();
        let note = Value::String(self.to_string());
        let time = rfc3339(now);
        format!(
            "{{\"event\":\"{EVENT}\",\"time\":\"{time}\",\"chain\":\"{chain}\",\"size\":{size},\"root\":\"{root}\",\"note\":{note}}}\n"
        )
    }
}

fn is_origin(line: &str) -> bool {
    line.starts_with(ORIGIN_PREFIX) && !line.contains(' ')
}

/// Looks at each place where an object may begin.
fn in_text(text: &str, depth: usize, found: &mut Vec<SignedCheckpoint>) {
    let mut rest = text;
    for _ in 0..OBJECTS_PER_LINE_MAX {
        let Some(at) = rest.find('{') else { return };
        let Some(from) = rest.get(at..) else { return };
        let mut values = serde_json::Deserializer::from_str(from).into_iter::<Value>();
        let next = match values.next() {
            Some(Ok(value)) => {
                in_value(&value, depth, found);
                values.byte_offset()
            }
            Some(Err(_)) | None => 1,
        };
        rest = from.get(next..).unwrap_or_default();
    }
}

fn in_value(value: &Value, depth: usize, found: &mut Vec<SignedCheckpoint>) {
    let Value::Object(fields) = value else { return };
    if fields.get("event").and_then(Value::as_str) == Some(EVENT) {
        let note = fields.get("note").and_then(Value::as_str).map(str::parse);
        found.extend(note.and_then(Result::ok));
        return;
    }
    if depth == DEPTH_MAX {
        return;
    }
    for field in fields.values() {
        match field {
            Value::String(text) if text.contains(EVENT) => in_text(text, depth + 1, found),
            Value::Object(_) => in_value(field, depth + 1, found),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
        }
    }
}

/// The event of the lines that are looked for.
const EVENT: &str = "audit.checkpoint";

/// Places in one line where an object is looked for.
const OBJECTS_PER_LINE_MAX: usize = 64;

/// How deep collectors may have wrapped a line.
const DEPTH_MAX: usize = 3;

/// Bytes of one collected line; the rest of a longer one is passed over. A checkpoint line has less than 600, wrapped less than 2000.
pub const COLLECTED_LINE_BYTES_MAX: usize = 64 << 10;
