//! How text is written: what stands for which character.

use crate::json::text;

/// A way of writing text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Each character stands for itself.
    Plain,
    /// The inside of a JSON string.
    Json,
    /// The inside of a quoted field of a table: `""` stands for `"`.
    Doubled,
}

impl Coding {
    /// Whether each byte of the text stands for one character.
    pub(super) fn is_bytewise(self, text: &[u8]) -> bool {
        let special = match self {
            Self::Plain => None,
            Self::Json => Some(b'\\'),
            Self::Doubled => Some(b'"'),
        };
        text.is_ascii() && special.is_none_or(|special| memchr::memchr(special, text).is_none())
    }

    /// The length in bytes of the first character of a well-formed text that is not empty.
    pub(super) fn step(self, text: &[u8]) -> usize {
        match (text.first(), self) {
            (Some(b'\\'), Self::Json) => text::escape(text).map_or(1, |(_, length)| length),
            (Some(b'"'), Self::Doubled) => 2,
            (Some(0xF0..), _) => 4,
            (Some(0xE0..), _) => 3,
            (Some(0xC0..), _) => 2,
            _ => 1,
        }
    }

    /// Appends what the text stands for.
    pub(super) fn decode_into(self, text: &[u8], decoded: &mut Vec<u8>) {
        match self {
            Self::Plain => decoded.extend_from_slice(text),
            Self::Json => text::decode_into(text, decoded),
            Self::Doubled => {
                let mut rest = text;
                while let Some(quote) = memchr::memchr(b'"', rest) {
                    let (head, tail) = rest.split_at(quote + 1);
                    decoded.extend_from_slice(head);
                    rest = tail.strip_prefix(b"\"").unwrap_or(tail);
                }
                decoded.extend_from_slice(rest);
            }
        }
    }
}
