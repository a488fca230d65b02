//! Texts of an entry, bounded.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::hash::Hash;

/// Shortens a text to what an entry keeps: at most [`TEXT_BYTES_MAX`] bytes, then `…` and the first 16 digits of the SHA-256 of the
/// whole, so that two long texts stay two.
#[must_use]
pub fn clip_text(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let tail = format!("…{}", Hash(Sha256::digest(text.as_bytes()).into()));
    let tail: String = tail.chars().take(17).collect();
    let end = text.floor_char_boundary(TEXT_BYTES_MAX - tail.len());
    Cow::Owned(text.get(..end).unwrap_or_default().to_owned() + &tail)
}

/// Bytes of one text (principal, client id, topic, rule …). Kafka's topics have 249 at most, client ids could have 32,767: with this
/// an entry without lists stays far below [`ENTRY_BYTES_MAX`](crate::ENTRY_BYTES_MAX).
pub const TEXT_BYTES_MAX: usize = 1024;
