//! Checkpoints read back out of collected output: whatever a log collector made of the lines that the gateway printed.

use serde_json::Value;

use super::note::DASH;
use super::{Checkpoint, NOTE_BYTES_MAX, SignedCheckpoint};
use crate::ids::{ChainId, ORIGIN_PREFIX};
use crate::view::rfc3339;

/// Reads collected text, in pieces of any size, and gives the checkpoints in it. It keeps one line at most.
///
/// Two forms are found: the gateway's own JSON line, with any text around it and also inside the objects, arrays and strings of other
/// JSON, as collectors wrap lines; and notes as they are. What looks like a checkpoint and is none that can be read is counted.
///
/// The first and the last line of a file may be a part of one: files are cut where they are rotated, and read while they are written.
/// Checkpoints that such a cut damaged are counted apart.
#[derive(Debug, Default)]
pub struct AnchorReader {
    /// The line in the making, as far as it is kept.
    line: Vec<u8>,
    /// What of the line is not kept.
    beyond: Beyond,
    /// Lines that have ended.
    lines: u64,
    note: Option<BareNote>,
    unreadable: u64,
    first_unreadable: Option<u64>,
    cut: u64,
}

/// A note in the making that stands in lines of its own.
#[derive(Debug)]
struct BareNote {
    text: String,
    lines: usize,
    /// The line that it begins with.
    from: u64,
}

/// Looks for checkpoints in the part of a line that is too long to be kept.
#[derive(Debug, Default)]
struct Beyond {
    /// The last bytes before those that come next.
    carry: Vec<u8>,
    mentions: u64,
}

impl AnchorReader {
    /// Before the first line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checkpoints that somebody printed and that cannot be read: altered, or in a line that is longer than
    /// [`COLLECTED_LINE_BYTES_MAX`].
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// The number of the line with the first of these, from 1.
    #[must_use]
    pub fn first_unreadable(&self) -> Option<u64> {
        self.first_unreadable
    }

    /// Checkpoints that are cut short by the beginning or the end of the text.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// The next bytes; the checkpoints of lines that end in them are added to `found`.
    pub fn bytes(&mut self, bytes: &[u8], found: &mut Vec<SignedCheckpoint>) {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let mut piece = pieces.next();
        while let Some(part) = piece {
            self.push(part);
            piece = pieces.next();
            if piece.is_some() {
                self.end_line(true, found);
            }
        }
    }

    /// No further bytes.
    pub fn end(&mut self, found: &mut Vec<SignedCheckpoint>) {
        if !self.line.is_empty() {
            self.end_line(false, found);
        }
        if let Some(note) = self.note.take() {
            match note.text.parse() {
                Ok(checkpoint) => found.push(checkpoint),
                Err(_) if note.looks_like_one() => self.cut += 1,
                Err(_) => {}
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = COLLECTED_LINE_BYTES_MAX.saturating_sub(self.line.len());
        let (kept, beyond) = bytes.split_at(room.min(bytes.len()));
        self.line.extend_from_slice(kept);
        if !beyond.is_empty() {
            if self.beyond.carry.is_empty() {
                let last = self.line.len().saturating_sub(EVENT.len());
                self.beyond.carry.extend_from_slice(self.line.get(last..).unwrap_or_default());
            }
            self.beyond.push(beyond);
        }
    }

    fn end_line(&mut self, whole: bool, found: &mut Vec<SignedCheckpoint>) {
        self.lines += 1;
        let mut bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\r');
        self.bare(text, whole, found);
        let mut unreadable = std::mem::take(&mut self.beyond).mentions;
        let cut = unreadable == 0 && (!whole || self.lines == 1);
        Search { found, unreadable: &mut unreadable }.in_text(text, 0);
        if cut {
            self.cut += unreadable;
        } else {
            self.spoilt(unreadable, self.lines);
        }
        bytes.clear();
        self.line = bytes;
    }

    fn spoilt(&mut self, checkpoints: u64, line: u64) {
        self.unreadable += checkpoints;
        if checkpoints > 0 {
            self.first_unreadable.get_or_insert(line);
        }
    }

    fn bare(&mut self, line: &str, whole: bool, found: &mut Vec<SignedCheckpoint>) {
        if let Some(mut note) = self.note.take() {
            if note.goes_on_with(line) {
                note.text.push_str(line);
                note.text.push('\n');
                note.lines += 1;
                self.note = Some(note);
                return;
            }
            match note.text.parse() {
                Ok(checkpoint) => found.push(checkpoint),
                Err(_) if whole => self.spoilt(u64::from(note.looks_like_one()), note.from),
                Err(_) => self.cut += u64::from(note.looks_like_one()),
            }
        }
        let chain: Option<ChainId> = line.strip_prefix(ORIGIN_PREFIX).and_then(|chain| chain.parse().ok());
        self.note = chain.map(|_| BareNote { text: format!("{line}\n"), lines: 1, from: self.lines });
    }
}

impl BareNote {
    /// Size, root, an empty line, signatures.
    fn goes_on_with(&self, line: &str) -> bool {
        let fits = match self.lines {
            1 => !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()),
            2 => !line.is_empty(),
            3 => line.is_empty(),
            _ => line.starts_with(DASH),
        };
        fits && self.text.len() + line.len() < NOTE_BYTES_MAX
    }

    /// An origin alone may stand in any output.
    fn looks_like_one(&self) -> bool {
        self.lines > 1
    }
}

impl Beyond {
    fn push(&mut self, bytes: &[u8]) {
        let mut last = self.carry.split_off(0);
        let edge = bytes.len().min(EVENT.len());
        last.extend_from_slice(bytes.get(..edge).unwrap_or_default());
        self.mentions += mentions_in(&last) + mentions_in(bytes);
        let joined = if bytes.len() < EVENT.len() { last.as_slice() } else { bytes };
        let from = joined.len().saturating_sub(EVENT.len());
        self.carry.extend_from_slice(joined.get(from..).unwrap_or_default());
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

/// Looks for checkpoints in one line.
struct Search<'a> {
    found: &'a mut Vec<SignedCheckpoint>,
    unreadable: &'a mut u64,
}

impl Search<'_> {
    /// Looks at each place where an object may begin, up to the last one that can hold a checkpoint.
    fn in_text(&mut self, text: &str, depth: usize) {
        let Some(last) = text.rfind(EVENT) else { return };
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|_| at <= last) {
            let begin = rest.find('{').unwrap_or(rest.len());
            *self.unreadable += mentions(rest.get(..begin).unwrap_or_default());
            let from = rest.get(begin..).unwrap_or_default();
            let mut values = serde_json::Deserializer::from_str(from).into_iter::<Value>();
            at += begin;
            at += match values.next() {
                Some(Ok(value)) => {
                    self.in_value(&value, depth);
                    values.byte_offset()
                }
                Some(Err(_)) | None => 1,
            };
        }
    }

    /// An object that says which event it is, is a log line: what else is in it may be anybody's words.
    fn in_value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::String(text) if depth < DEPTH_MAX => self.in_text(text, depth + 1),
            Value::String(text) => *self.unreadable += mentions(text),
            Value::Array(items) => items.iter().for_each(|item| self.in_value(item, depth)),
            Value::Object(fields) => match fields.get("event") {
                Some(Value::String(event)) if event == EVENT => {
                    match fields.get("note").and_then(Value::as_str).map(str::parse) {
                        Some(Ok(checkpoint)) => self.found.push(checkpoint),
                        Some(Err(_)) | None => *self.unreadable += 1,
                    }
                }
                Some(event) => self.in_value(event, depth),
                None => fields.values().for_each(|field| self.in_value(field, depth)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// How many members `"event": "audit.checkpoint"` stand in a text that is no JSON as a whole, whatever was done to their quotes.
fn mentions(text: &str) -> u64 {
    let is_member = |at: usize| {
        let before = text.get(..at).unwrap_or_default().trim_end_matches(['\\', '"', ':', ' ']);
        let after = text.get(at + EVENT.len()..).unwrap_or_default();
        before.ends_with("event") && after.starts_with(['\\', '"'])
    };
    text.match_indices(EVENT).map(|(at, _)| u64::from(is_member(at))).sum()
}

/// The same where only pieces are there: the value, and what ends it.
fn mentions_in(bytes: &[u8]) -> u64 {
    let is_value =
        |window: &[u8]| window.strip_prefix(EVENT.as_bytes()).is_some_and(|end| matches!(end, [b'\\'] | [b'"']));
    bytes.windows(EVENT.len() + 1).map(|window| u64::from(is_value(window))).sum()
}

/// The event of the lines that are looked for.
const EVENT: &str = "audit.checkpoint";

/// How often collectors may have put a line into a string.
const DEPTH_MAX: usize = 3;

/// Bytes of one collected line that are kept. A checkpoint line has less than 600, wrapped less than 2000; some collectors put many into
/// one line.
pub const COLLECTED_LINE_BYTES_MAX: usize = 1 << 20;
