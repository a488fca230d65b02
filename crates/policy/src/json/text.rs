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

/// Appends the text, which is UTF-8, as the inside of a string, with those escapes that it must have and no other.
pub(crate) fn encode_into(text: &[u8], encoded: &mut Vec<u8>) {
    for byte in text {
        let short = match byte {
            b'"' | b'\\' => *byte,
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => {
                let digit = |value: u8| char::from_digit(u32::from(value), 16).map_or(b'0', |digit| digit as u8);
                encoded.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xf)]);
                continue;
            }
            _ => {
                encoded.push(*byte);
                continue;
            }
        };
        encoded.extend_from_slice(&[b'\\', short]);
    }
}

/// Finds where the bytes of a decoded text are written, in one pass over places that ascend.
pub(crate) struct Places<'a> {
    inside: &'a [u8],
    raw: usize,
    decoded: usize,
    /// The next backslash from `raw` on, or the end.
    escape: usize,
}

impl<'a> Places<'a> {
    /// Begins at the start of the inside of a string, which is well-formed.
    pub(crate) fn new(inside: &'a [u8]) -> Self {
        let mut places = Self { inside, raw: 0, decoded: 0, escape: 0 };
        places.seek_escape();
        places
    }

    /// Where the character that begins at this place of the decoded text is written. None when it is before the last place that
    /// was asked for, in the middle of an escape, or beyond the end.
    pub(crate) fn raw(&mut self, decoded: usize) -> Option<usize> {
        let mut wanted = decoded.checked_sub(self.decoded)?;
        loop {
            let plain = wanted.min(self.escape - self.raw);
            self.raw += plain;
            self.decoded += plain;
            wanted -= plain;
            if wanted == 0 {
                return Some(self.raw);
            }
            let (stands_for, length) = escape(self.inside.get(self.raw..)?)?;
            self.raw += length;
            self.decoded += stands_for.len_utf8();
            wanted = wanted.checked_sub(stands_for.len_utf8())?;
            self.seek_escape();
        }
    }

    fn seek_escape(&mut self) {
        let rest = self.inside.get(self.raw..).unwrap_or_default();
        self.escape = self.raw + memchr::memchr(b'\\', rest).unwrap_or(rest.len());
    }
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

    #[test]
    fn writes_only_the_escapes_that_are_needed() {
        let text = "a\"b\\c\u{8}\u{c}\n\r\t\u{0}\u{1f}/é\u{7f}";
        let mut encoded = Vec::new();
        encode_into(text.as_bytes(), &mut encoded);
        let encoded = String::from_utf8(encoded).unwrap();
        assert_eq!(encoded, r#"a\"b\\c\b\f\n\r\t\u0000\u001f/é"#.to_owned() + "\u{7f}");
        check(&encoded, Ok(text));
    }

    #[test]
    fn finds_where_decoded_characters_are_written() {
        let inside = r#"a\"é\u00e9\ud83d\ude00z\\"#.as_bytes();
        let mut decoded = Vec::new();
        decode_into(inside, &mut decoded);
        let text = String::from_utf8(decoded).unwrap();
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut places = Places::new(inside);
        let found: Vec<usize> = starts.iter().map(|at| places.raw(*at).unwrap()).collect();
        assert_eq!(found, [0, 1, 3, 5, 11, 23, 24, 26]);
        assert_eq!(Places::new(inside).raw(text.len()), Some(inside.len()));
        assert_eq!(Places::new(inside).raw(text.len() + 1), None);
        assert_eq!(Places::new(inside).raw(5), None, "in the middle of what an escape stands for");
        assert_eq!((places.raw(0), places.raw(text.len())), (None, Some(26)));
    }
}
