//! JSON strings: where they end, and what their escapes stand for.

use super::block::{Cursor, plain_len};

/// A string as found in a document.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    /// Where its closing quote stands.
    pub(crate) end: usize,
    /// Does it hold an escape?
    pub(crate) escaped: bool,
}

/// Finds the end of the string whose first byte behind the opening quote is at `at`. Escapes are checked, UTF-8 is not.
///
/// # Errors
///
/// The place of an illegal escape, of a control character, or of the missing end.
#[inline]
pub(crate) fn scan(doc: &[u8], at: usize) -> Result<Text, usize> {
    let end = plain_end(doc, at);
    if doc.get(end) == Some(&b'"') { Ok(Text { end, escaped: false }) } else { scan_escaped(doc, end) }
}

/// [`scan`] with the marks of the document, of which the next is the opening quote. A control character in a string
/// without escapes is overlooked.
///
/// # Errors
///
/// As [`scan`].
#[inline(always)]
pub(super) fn scan_marked(doc: &[u8], at: usize, marks: &mut Cursor<'_>) -> Result<Text, usize> {
    let end = marks.second().unwrap_or(usize::MAX);
    if doc.get(end) == Some(&b'"') {
        return Ok(Text { end, escaped: false });
    }
    let found = scan(doc, at)?;
    marks.seek(found.end + 1);
    Ok(found)
}

/// [`scan`] from the first byte that is not plain.
#[cold]
#[inline(never)]
fn scan_escaped(doc: &[u8], mut at: usize) -> Result<Text, usize> {
    let mut escaped = false;
    loop {
        match doc.get(at) {
            Some(b'"') => return Ok(Text { end: at, escaped }),
            Some(b'\\') => {
                let rest = doc.get(at..).unwrap_or_default();
                let (_, length) = escape(rest).ok_or(at)?;
                escaped = true;
                at = plain_end(doc, at + length);
            }
            _ => return Err(at),
        }
    }
}

/// The place of the first byte from `at` on that is a quote, a backslash, a control character or the end of the
/// document.
#[inline]
fn plain_end(doc: &[u8], mut at: usize) -> usize {
    while let Some(eight) = doc.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let plain = plain_len(*eight);
        at += plain;
        if plain < 8 {
            return at;
        }
    }
    while doc.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

/// Reads the escape that begins with the backslash at the start of `text`: what it stands for and its length in bytes.
/// The two escapes of a surrogate pair are read as one; half a pair is illegal (RFC 8259 section 7, as serde_json).
pub(crate) fn escape(text: &[u8]) -> Option<(char, usize)> {
    let short = |decoded| Some((decoded, 2));
    match text.get(1)? {
        b'"' => short('"'),
        b'\\' => short('\\'),
        b'/' => short('/'),
        b'b' => short('\u{8}'),
        b'f' => short('\u{c}'),
        b'n' => short('\n'),
        b'r' => short('\r'),
        b't' => short('\t'),
        b'u' => {
            let first = hex4(text.get(2..6)?)?;
            if let Some(decoded) = char::from_u32(first) {
                return Some((decoded, 6));
            }
            if first > 0xDBFF || text.get(6..8)? != b"\\u" {
                return None;
            }
            let second = hex4(text.get(8..12)?)?;
            if !(0xDC00..=0xDFFF).contains(&second) {
                return None;
            }
            Some((char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))?, 12))
        }
        _ => None,
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// Appends what the inside of a string (between its quotes, already checked) stands for.
pub(crate) fn decode_into(inside: &[u8], decoded: &mut Vec<u8>) {
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escaped) = rest.split_at(at);
        decoded.extend_from_slice(plain);
        // An illegal escape cannot be here; it would stand for itself.
        let (stands_for, length) = escape(escaped).unwrap_or(('\\', 1));
        decoded.extend_from_slice(stands_for.encode_utf8(&mut [0; 4]).as_bytes());
        rest = escaped.get(length..).unwrap_or_default();
    }
    decoded.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `inside` without its closing quote; expected: what it decodes to, or where it is illegal.
    fn check(inside: &str, expected: Result<&str, usize>) {
        for padding in [0, 1, 15, 16, 17, 40] {
            let text = format!("{}{inside}\"{}", "x".repeat(padding), " ".repeat(padding));
            let found = scan(text.as_bytes(), 0);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    let mut decoded = Vec::new();
                    decode_into(&text.as_bytes()[..found.end], &mut decoded);
                    assert_eq!(String::from_utf8(decoded).unwrap(), "x".repeat(padding) + expected, "{text:?}");
                    assert_eq!(found.escaped, inside.contains('\\'), "{text:?}");
                }
                (found, expected) => {
                    assert_eq!(found.map(|text| text.end).err(), expected.err().map(|at| at + padding))
                }
            }
        }
    }

    #[test]
    fn reads_strings_and_their_escapes() {
        check("", Ok(""));
        check("plain", Ok("plain"));
        check("größe", Ok("größe"));
        check(r#"\"\\\/\b\f\n\r\t"#, Ok("\"\\/\u{8}\u{c}\n\r\t"));
        check(r"em\u0061il", Ok("email"));
        check(r"\u00e9\u20AC", Ok("é€"));
        check(r"\ud83d\ude00!", Ok("\u{1f600}!"));
        check("a long one without any escape in it, several blocks long", {
            Ok("a long one without any escape in it, several blocks long")
        });
    }

    #[test]
    fn refuses_illegal_escapes_and_control_characters() {
        check(r"ab\x", Err(2));
        check(r"\u12", Err(0));
        check(r"\u12g4", Err(0));
        check(r"\u+123", Err(0));
        check(r"\ud83d", Err(0));
        check(r"\ud83dx", Err(0));
        check(r"\ud83d\n", Err(0));
        check(r"\ud83d\ud83d", Err(0));
        check(r"a\ude00", Err(1));
        check("a\tb", Err(1));
        check("a\0", Err(1));
    }

    #[test]
    fn refuses_a_string_without_an_end() {
        for text in ["", "abc", "\\", "abc\\\"", "0123456789abcdef", "0123456789abcdef\\"] {
            assert!(scan(text.as_bytes(), 0).is_err(), "{text}");
        }
    }
}
