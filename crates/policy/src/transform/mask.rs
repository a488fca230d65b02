//! Which characters of a text a mask covers, and what a masked number looks like.

use std::ops::Range;

use crate::json::text;

/// What of a text is to become `*`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Masking {
    /// Its bytes.
    pub(super) span: Range<usize>,
    /// Its characters.
    pub(super) characters: usize,
}

/// Masks a text that is UTF-8.
pub(super) fn of_text(text: &[u8], keep_first: u32, keep_last: u32) -> Masking {
    if text.is_ascii() { of_bytes(text.len(), keep_first, keep_last) } else { of(text, keep_first, keep_last, plain) }
}

/// Masks the inside of a JSON string, which is well-formed.
pub(super) fn of_json(text: &[u8], keep_first: u32, keep_last: u32) -> Masking {
    if text.is_ascii() && memchr::memchr(b'\\', text).is_none() {
        of_bytes(text.len(), keep_first, keep_last)
    } else {
        of(text, keep_first, keep_last, escaped)
    }
}

/// Appends the masked form of a well-formed JSON number.
pub(super) fn number_into(number: &[u8], masked: &mut Vec<u8>) {
    let whole = number.iter().position(|byte| !matches!(byte, b'-' | b'0'..=b'9')).unwrap_or(number.len());
    masked.push(b'0');
    let rest = number.get(whole..).unwrap_or_default();
    masked.extend(rest.iter().map(|&byte| if byte.is_ascii_digit() { b'0' } else { byte }));
}

/// Each byte is a character.
fn of_bytes(length: usize, keep_first: u32, keep_last: u32) -> Masking {
    let span = masked(length, keep_first, keep_last);
    Masking { characters: span.len(), span }
}

/// `step` gives the length in bytes of the first character of a text that is not empty.
fn of(text: &[u8], keep_first: u32, keep_last: u32, step: fn(&[u8]) -> usize) -> Masking {
    let walk = |from: usize, characters: usize| {
        let mut at = from;
        for _ in 0..characters {
            at += text.get(at..).map_or(0, step);
        }
        at
    };
    let (mut total, mut at) = (0, 0);
    while at < text.len() {
        at += text.get(at..).map_or(1, step);
        total += 1;
    }
    let characters = masked(total, keep_first, keep_last);
    let start = walk(0, characters.start);
    Masking { span: start..walk(start, characters.len()).min(text.len()), characters: characters.len() }
}

/// Which of so many characters are masked: all, when nothing but kept ones were left.
fn masked(characters: usize, keep_first: u32, keep_last: u32) -> Range<usize> {
    let keep = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let (first, last) = (keep(keep_first), keep(keep_last));
    if characters <= first.saturating_add(last) { 0..characters } else { first..characters - last }
}

fn plain(text: &[u8]) -> usize {
    match text.first() {
        Some(0xF0..) => 4,
        Some(0xE0..) => 3,
        Some(0xC0..) => 2,
        _ => 1,
    }
}

fn escaped(text: &[u8]) -> usize {
    if text.first() == Some(&b'\\') { text::escape(text).map_or(1, |(_, length)| length) } else { plain(text) }
}
