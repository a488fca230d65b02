//! Which characters of a text a mask covers, and what a masked number looks like.

use std::ops::Range;

use super::coding::Coding;

/// What of a text is to become `*`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Masking {
    /// Its bytes.
    pub(super) span: Range<usize>,
    /// Its characters.
    pub(super) characters: usize,
}

/// Masks a text that is well-formed UTF-8 in this coding.
pub(super) fn of(text: &[u8], keep_first: u32, keep_last: u32, coding: Coding) -> Masking {
    if coding.is_bytewise(text) {
        let span = masked(text.len(), keep_first, keep_last);
        return Masking { characters: span.len(), span };
    }
    let step = |at: usize| text.get(at..).filter(|rest| !rest.is_empty()).map_or(0, |rest| coding.step(rest));
    let walk = |from: usize, characters: usize| (0..characters).fold(from, |at, _| at + step(at));
    let (mut total, mut at) = (0, 0);
    while at < text.len() {
        at += step(at);
        total += 1;
    }
    let characters = masked(total, keep_first, keep_last);
    let start = walk(0, characters.start);
    Masking { span: start..walk(start, characters.len()).min(text.len()), characters: characters.len() }
}

/// Appends the masked form of a well-formed JSON number.
pub(super) fn number_into(number: &[u8], masked: &mut Vec<u8>) {
    let whole = number.iter().position(|byte| !matches!(byte, b'-' | b'0'..=b'9')).unwrap_or(number.len());
    masked.push(b'0');
    let rest = number.get(whole..).unwrap_or_default();
    masked.extend(rest.iter().map(|&byte| if byte.is_ascii_digit() { b'0' } else { byte }));
}

/// Which of so many characters are masked: all, when nothing but kept ones were left.
fn masked(characters: usize, keep_first: u32, keep_last: u32) -> Range<usize> {
    let keep = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let (first, last) = (keep(keep_first), keep(keep_last));
    if characters <= first.saturating_add(last) { 0..characters } else { first..characters - last }
}
