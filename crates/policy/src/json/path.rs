//! Field paths: the part of JSONPath (RFC 9535) that policies use.

use std::fmt;

use thiserror::Error;

use super::text;

/// A path to fields of a JSON document, as `$.card.number`, `$['card no'][0]`, `$.items[*].email` or `$..email`.
///
/// The grammar is a part of RFC 9535: the root `$`, then child segments `.name`, `['name']`, `["name"]`, `[n]`, `[*]`
/// and `.*`, each also as a descendant segment (`..name`, `..[n]`, `..[*]`, `..*`). A wildcard takes the members of an
/// object and the elements of an array alike. Slices, filters, unions and negative indexes are refused.
///
/// Two paths are equal when they select the same way, however they are spelled: `$.a` equals `$['a']`. `Display` writes
/// the shortest spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    segments: Vec<Segment>,
}

impl Path {
    /// The longest path text, in bytes. A path of [`Path::SEGMENTS_MAX`] names of Kafka's own maximum length (249)
    /// fits.
    pub const TEXT_BYTES_MAX: usize = 16 * 1024;

    /// The most segments of a path: a path occupies one bit per segment in one machine word of a
    /// [`FieldTrie`](super::FieldTrie).
    pub const SEGMENTS_MAX: usize = 64;

    /// Reads a path from its text.
    ///
    /// # Errors
    ///
    /// [`PathError`] says what is wrong and at which byte of `text`.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let mut reader = Reader { text, at: 0 };
        let path = reader.path()?;
        if reader.peek().is_some() { Err(PathError::Segment { at: reader.at }) } else { Ok(path) }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for segment in &self.segments {
            match &segment.selector {
                Selector::Name(name) if is_shorthand(name) => {
                    let dots = if segment.descendant { ".." } else { "." };
                    write!(f, "{dots}{name}")?;
                }
                Selector::Name(name) => {
                    f.write_str(if segment.descendant { "..['" } else { "['" })?;
                    write_quoted(f, name)?;
                    f.write_str("']")?;
                }
                Selector::Index(index) => {
                    write!(f, "{}[{index}]", if segment.descendant { ".." } else { "" })?;
                }
                Selector::Any => write!(f, "{}[*]", if segment.descendant { ".." } else { "" })?,
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Path, PathError> {
        Path::parse(text)
    }
}

/// Why a text is not a [`Path`]. `at` counts bytes from the start of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// The text does not begin with `$`.
    #[error("a path begins with `$`, as in `$.card.number`")]
    NoRoot,
    /// Something else than `.`, `..` or `[` follows a segment.
    #[error("`.`, `..` or `[` is expected at byte {at} of the path")]
    Segment {
        /// Where it is expected.
        at: usize,
    },
    /// No name follows a dot, or a name that must be quoted.
    #[error("a name is expected at byte {at} of the path; other names are quoted, as in `$['x-name']`")]
    Name {
        /// Where it is expected.
        at: usize,
    },
    /// A bracket does not hold a quoted name, an index or `*`.
    #[error("a quoted name, an index or `*` is expected at byte {at} of the path")]
    Bracket {
        /// Where it is expected.
        at: usize,
    },
    /// A bracket or a quote is not closed.
    #[error("what begins at byte {at} of the path is not closed")]
    Unclosed {
        /// Where the bracket or quote begins.
        at: usize,
    },
    /// A quoted name holds an unknown escape, half a surrogate pair or a bare control character.
    #[error("an illegal escape or control character at byte {at} of the path")]
    Escape {
        /// Where the escape begins.
        at: usize,
    },
    /// An index has a leading zero or is beyond 2^32 - 2.
    #[error("an illegal index at byte {at} of the path")]
    Index {
        /// Where the index begins.
        at: usize,
    },
    /// A slice, a filter, a union or a negative index.
    #[error("slices, filters, unions and negative indexes are not supported (byte {at} of the path)")]
    Unsupported {
        /// Where it begins.
        at: usize,
    },
    /// Something else than `|json|` follows a path.
    #[error("`|json|` and a path into the document in that string are expected at byte {at} of the path")]
    Inner {
        /// Where it is expected.
        at: usize,
    },
    /// Documents in strings of documents, deeper than [`Route::NESTING_MAX`](super::Route::NESTING_MAX).
    #[error("a path goes through at most {} documents in strings", super::Route::NESTING_MAX)]
    TooNested,
    /// More than [`Path::TEXT_BYTES_MAX`] bytes.
    #[error("a path has at most {} bytes", Path::TEXT_BYTES_MAX)]
    TooLong,
    /// More than [`Path::SEGMENTS_MAX`] segments.
    #[error("a path has at most {} segments", Path::SEGMENTS_MAX)]
    TooManySegments,
}

/// One step of a path: to a child, or to any descendant that is such a child of its own parent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Segment {
    pub(super) descendant: bool,
    pub(super) selector: Selector,
}

/// Which children a segment takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Selector {
    /// The members of this name (decoded) of an object.
    Name(String),
    /// The element at this place (from 0) of an array.
    Index(u32),
    /// Every member of an object, every element of an array.
    Any,
}

impl Selector {
    pub(super) fn overlaps(&self, other: &Selector) -> bool {
        matches!(self, Selector::Any) || matches!(other, Selector::Any) || self == other
    }
}

/// Reads paths from a text.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl Reader<'_> {
    /// A path, up to the end of the text or a `|` behind it.
    pub(super) fn path(&mut self) -> Result<Path, PathError> {
        if !self.take('$') {
            return Err(PathError::NoRoot);
        }
        let mut segments = Vec::new();
        while !matches!(self.peek(), None | Some('|')) {
            if segments.len() == Path::SEGMENTS_MAX {
                return Err(PathError::TooManySegments);
            }
            segments.push(self.segment()?);
        }
        Ok(Path { segments })
    }

    fn segment(&mut self) -> Result<Segment, PathError> {
        let at = self.at;
        if self.take('[') {
            return Ok(Segment { descendant: false, selector: self.bracket(at)? });
        }
        if !self.take('.') {
            return Err(PathError::Segment { at });
        }
        let descendant = self.take('.');
        let at = self.at;
        let selector = if descendant && self.take('[') { self.bracket(at)? } else { self.shorthand()? };
        Ok(Segment { descendant, selector })
    }

    /// A name without quotes, or `*`, behind its dots.
    fn shorthand(&mut self) -> Result<Selector, PathError> {
        if self.take('*') {
            return Ok(Selector::Any);
        }
        let at = self.at;
        while let Some(next) = self.peek() {
            if matches!(next, '.' | '[' | '|') {
                break;
            }
            self.at += next.len_utf8();
        }
        let name = self.text.get(at..self.at).unwrap_or_default();
        if is_shorthand(name) { Ok(Selector::Name(name.to_owned())) } else { Err(PathError::Name { at }) }
    }

    /// What stands in a bracket that began at `open`, and its end.
    fn bracket(&mut self, open: usize) -> Result<Selector, PathError> {
        self.skip_blank();
        let at = self.at;
        let selector = match self.peek() {
            None => return Err(PathError::Unclosed { at: open }),
            Some(quote @ ('\'' | '"')) => {
                self.take(quote);
                Selector::Name(self.quoted(quote, at)?)
            }
            Some('*') => {
                self.take('*');
                Selector::Any
            }
            Some('0'..='9') => Selector::Index(self.index()?),
            Some('-' | ':' | '?' | '@') => return Err(PathError::Unsupported { at }),
            Some(_) => return Err(PathError::Bracket { at }),
        };
        self.skip_blank();
        match self.peek() {
            Some(']') => self.take(']'),
            Some(',' | ':') => return Err(PathError::Unsupported { at: self.at }),
            Some(_) => return Err(PathError::Bracket { at: self.at }),
            None => return Err(PathError::Unclosed { at: open }),
        };
        Ok(selector)
    }

    fn index(&mut self) -> Result<u32, PathError> {
        let at = self.at;
        while self.peek().is_some_and(|next| next.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = self.text.get(at..self.at).unwrap_or_default();
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        match digits.parse::<u32>() {
            Ok(index) if !leading_zero && index < u32::MAX => Ok(index),
            _ => Err(PathError::Index { at }),
        }
    }

    /// A quoted name behind its opening quote, with the escapes of RFC 9535 section 2.3.1.1.
    fn quoted(&mut self, quote: char, open: usize) -> Result<String, PathError> {
        let mut name = String::new();
        loop {
            let at = self.at;
            let Some(next) = self.peek() else { return Err(PathError::Unclosed { at: open }) };
            self.at += next.len_utf8();
            match next {
                _ if next == quote => return Ok(name),
                '\0'..='\u{1f}' => return Err(PathError::Escape { at }),
                '\\' => {
                    let rest = self.text.as_bytes().get(at..).unwrap_or_default();
                    if self.take('\'') {
                        name.push('\'');
                    } else {
                        let (decoded, length) = text::escape(rest).ok_or(PathError::Escape { at })?;
                        name.push(decoded);
                        self.at = at + length;
                    }
                }
                _ => name.push(next),
            }
        }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(|next| matches!(next, ' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }
}

/// May the name stand behind a dot without quotes (RFC 9535 `member-name-shorthand`)?
fn is_shorthand(name: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    name.chars().next().is_some_and(starts) && name.chars().all(|c| starts(c) || c.is_ascii_digit())
}

fn write_quoted(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    use fmt::Write as _;
    for c in name.chars() {
        match c {
            '\'' | '\\' => write!(f, "\\{c}")?,
            '\0'..='\u{1f}' => write!(f, "\\u{:04x}", u32::from(c))?,
            _ => f.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, PathError>) {
        let shown = Path::parse(text).map(|path| path.to_string());
        assert_eq!(shown.as_deref().map_err(|error| *error), expected, "{text}");
        if let Ok(shown) = shown {
            assert_eq!(Path::parse(&shown), Path::parse(text), "{text} and {shown}");
        }
    }

    #[test]
    fn reads_and_writes_every_kind_of_segment() {
        check("$", Ok("$"));
        check("$.a.b", Ok("$.a.b"));
        check("$['a b']", Ok("$['a b']"));
        check("$[\"a\"]", Ok("$.a"));
        check("$[ 'a' ]", Ok("$.a"));
        check("$[0][12]", Ok("$[0][12]"));
        check("$.a[*].b", Ok("$.a[*].b"));
        check("$.*", Ok("$[*]"));
        check("$..email", Ok("$..email"));
        check("$..['e mail']", Ok("$..['e mail']"));
        check("$..[*]", Ok("$..[*]"));
        check("$..*", Ok("$..[*]"));
        check("$..[3]", Ok("$..[3]"));
        check("$.a..b.c", Ok("$.a..b.c"));
        check("$.größe", Ok("$.größe"));
        check("$['']", Ok("$['']"));
    }

    #[test]
    fn decodes_escapes_of_quoted_names() {
        check(r"$['it\'s']", Ok(r"$['it\'s']"));
        check(r"$['em\u0061il']", Ok("$.email"));
        check(r"$['\ud83d\ude00']", Ok("$.\u{1f600}"));
        check(r"$['a\\b']", Ok(r"$['a\\b']"));
        check(r"$['\n']", Ok(r"$['\u000a']"));
        check(r"$['\ud83d']", Err(PathError::Escape { at: 3 }));
        check(r"$['\x']", Err(PathError::Escape { at: 3 }));
    }

    #[test]
    fn refuses_what_it_does_not_serve() {
        check("", Err(PathError::NoRoot));
        check("a.b", Err(PathError::NoRoot));
        check("$a", Err(PathError::Segment { at: 1 }));
        check("$.", Err(PathError::Name { at: 2 }));
        check("$.x-name", Err(PathError::Name { at: 2 }));
        check("$.1a", Err(PathError::Name { at: 2 }));
        check("$.a|b", Err(PathError::Segment { at: 3 }));
        check("$.a b", Err(PathError::Name { at: 2 }));
        check("$...a", Err(PathError::Name { at: 3 }));
        check("$[", Err(PathError::Unclosed { at: 1 }));
        check("$['a", Err(PathError::Unclosed { at: 2 }));
        check("$['a'", Err(PathError::Unclosed { at: 1 }));
        check("$[a]", Err(PathError::Bracket { at: 2 }));
        check("$[01]", Err(PathError::Index { at: 2 }));
        check("$[4294967295]", Err(PathError::Index { at: 2 }));
        check("$[-1]", Err(PathError::Unsupported { at: 2 }));
        check("$[1:2]", Err(PathError::Unsupported { at: 3 }));
        check("$['a','b']", Err(PathError::Unsupported { at: 5 }));
        check("$[?(@.a)]", Err(PathError::Unsupported { at: 2 }));
        check("$['a'].", Err(PathError::Name { at: 7 }));
        check(&format!("${}", ".a".repeat(65)), Err(PathError::TooManySegments));
        check(&format!("$.{}", "a".repeat(Path::TEXT_BYTES_MAX)), Err(PathError::TooLong));
    }
}
