//! Names matched by policies: literal names, anchored globs, anchored regular expressions.
//!
//! ```text
//! payments.eu      that name
//! payments.*       `*` is any run of characters, dots included, also none
//! /payments\..+/   a regular expression, anchored at both ends
//! ```
//!
//! `*` is the only wildcard. Matching is over whole names and is case-sensitive, as Kafka's names are.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The largest compiled size of a regular expression in a pattern, in bytes. Topic names are at most 249 characters from a
/// small alphabet; a pattern that needs more than this is a mistake or an attack on memory.
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// The longest pattern text, in bytes: Kafka's topic names end at 249 characters, consumer groups have no limit of their own.
const PATTERN_BYTES_MAX: usize = 1024;

/// One compiled pattern.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Literal,
    /// The runs of literal text around the stars: `a*b` is `["a", "b"]`, `*` is `["", ""]`.
    Glob(Vec<String>),
    Regex(Regex),
}

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing between the quotes.
    #[error("a pattern is empty and would match nothing")]
    Empty,
    /// Longer than any name.
    #[error("a pattern has {bytes} bytes, more than the {max} allowed")]
    TooLong {
        /// The pattern's length in bytes.
        bytes: usize,
        /// The most that is taken.
        max: usize,
    },
    /// The text begins with `/` and does not end with one.
    #[error("pattern `{0}` begins with `/` but does not end with `/`")]
    OpenRegex(String),
    /// The regular expression does not compile, alone or anchored.
    #[error("pattern `{0}` is not a regular expression: {1}")]
    BadRegex(String, String),
    /// A character that no topic name can have, so that the pattern could never match.
    #[error("pattern `{text}` has the character `{character}`, which no topic name can have")]
    NotATopic {
        /// The pattern.
        text: String,
        /// The first such character.
        character: char,
    },
}

/// Whether two patterns can match one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Some name is matched by both.
    Yes,
    /// No name is matched by both.
    No,
    /// Two regular expressions, or one and a glob, for which no common name was found.
    Undecided,
}

impl Pattern {
    /// Compiles a pattern for any kind of name (consumer groups).
    ///
    /// # Errors
    ///
    /// When the text is empty, too long, or is a regular expression that does not compile.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len(), max: PATTERN_BYTES_MAX });
        }
        let kind = if let Some(rest) = text.strip_prefix('/') {
            let body = rest.strip_suffix('/').ok_or_else(|| PatternError::OpenRegex(text.to_owned()))?;
            if body.is_empty() {
                return Err(PatternError::Empty);
            }
            Kind::Regex(anchored(text, body)?)
        } else if text.contains('*') {
            Kind::Glob(text.split('*').map(str::to_owned).collect())
        } else {
            Kind::Literal
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// Compiles a pattern for topic names: additionally, a literal or glob must consist of characters that Kafka allows in
    /// them (letters, digits, `.`, `_`, `-`), so that `payments.?` or `orders ` is an error and not a silent miss.
    ///
    /// # Errors
    ///
    /// As [`Pattern::parse`], and [`PatternError::NotATopic`].
    pub fn parse_topic(text: &str) -> Result<Self, PatternError> {
        let pattern = Self::parse(text)?;
        let foreign = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*'));
        match pattern.kind {
            Kind::Literal | Kind::Glob(_) => match text.chars().find(foreign) {
                Some(character) => Err(PatternError::NotATopic { text: text.to_owned(), character }),
                None => Ok(pattern),
            },
            Kind::Regex(_) => Ok(pattern),
        }
    }

    /// The text as written in the policy.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is one name and not a wildcard.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self.kind, Kind::Literal)
    }

    /// Whether the whole of `name` matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.kind {
            Kind::Literal => self.text == name,
            Kind::Glob(runs) => glob_matches(runs, name),
            Kind::Regex(regex) => regex.is_match(name),
        }
    }

    /// Whether some name can match both patterns. Exact for literals and globs; for regular expressions a few names made from
    /// the other pattern are tried.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Overlap {
        if self.text == other.text {
            return Overlap::Yes;
        }
        match (&self.kind, &other.kind) {
            (Kind::Literal, _) => exactly(other.matches(&self.text)),
            (_, Kind::Literal) => exactly(self.matches(&other.text)),
            (Kind::Glob(_), Kind::Glob(_)) => exactly(globs_meet(&self.text, &other.text)),
            (Kind::Glob(_), Kind::Regex(regex)) | (Kind::Regex(regex), Kind::Glob(_)) => {
                let glob = if matches!(self.kind, Kind::Glob(_)) { &self.text } else { &other.text };
                let met = WITNESSES.iter().any(|filling| regex.is_match(&glob.replace('*', filling)));
                if met { Overlap::Yes } else { Overlap::Undecided }
            }
            (Kind::Regex(_), Kind::Regex(_)) => Overlap::Undecided,
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

/// Whether Kafka or its companions keep a topic for themselves: no wildcard of an `access` entry reaches these, they must be
/// named. `__consumer_offsets`, `__transaction_state`, `__share_group_state`, `__cluster_metadata`; the schema registry's
/// `_schemas`.
#[must_use]
pub fn is_internal_topic(topic: &str) -> bool {
    topic.starts_with("__") || topic == "_schemas"
}

/// What a star is replaced by when looking for a name that a glob and a regular expression share.
const WITNESSES: &[&str] = &["", "a", "x1", ".x", "eu", "0"];

fn exactly(meets: bool) -> Overlap {
    if meets { Overlap::Yes } else { Overlap::No }
}

/// Compiles the body of `/body/`, alone first: `a)|(?:b` must not close our group.
fn anchored(text: &str, body: &str) -> Result<Regex, PatternError> {
    let build = |source: &str| {
        RegexBuilder::new(source)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|error| PatternError::BadRegex(text.to_owned(), one_line(&error.to_string())))
    };
    build(body)?;
    build(&format!(r"\A(?:{body})\z"))
}

/// The last line of the regex crate's message holds the cause; the others draw a picture.
fn one_line(message: &str) -> String {
    let last = message.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("cannot be read");
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn glob_matches(runs: &[String], name: &str) -> bool {
    let (Some((first, rest)), true) = (runs.split_first(), runs.len() > 1) else { return false };
    let Some((last, middle)) = rest.split_last() else { return false };
    let Some(mut tail) = name.strip_prefix(first.as_str()) else { return false };
    for run in middle {
        // The leftmost place of each run is the best one: what is left over for the rest is the longest.
        let Some((_, after)) = tail.split_once(run.as_str()) else { return false };
        tail = after;
    }
    tail.ends_with(last.as_str())
}

/// Whether two globs have a common name: both are walked at once, a star standing still while the other side moves.
fn globs_meet(left: &str, right: &str) -> bool {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    // `row[j]` says whether left[i..] and right[j..] can meet; built from the ends.
    let mut below: Vec<bool> = Vec::new();
    for i in (0..=left.len()).rev() {
        let mut row = vec![false; right.len() + 1];
        for j in (0..=right.len()).rev() {
            let at = |cells: &[bool], j: usize| cells.get(j).copied().unwrap_or(false);
            let meets = match (left.get(i), right.get(j)) {
                (None, None) => true,
                (Some('*'), _) if at(&below, j) => true,
                (_, Some('*')) if at(&row, j + 1) => true,
                (Some('*'), Some(_)) => at(&row, j + 1),
                (Some(_), Some('*')) => at(&below, j),
                (Some(a), Some(b)) => a == b && at(&below, j + 1),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if let Some(cell) = row.get_mut(j) {
                *cell = meets;
            }
        }
        below = row;
    }
    below.first().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        let compiled = Pattern::parse(pattern).unwrap();
        assert_eq!(compiled.matches(name), expected, "`{pattern}` on `{name}`");
    }

    #[test]
    fn matches_whole_names_only() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders", "Orders", false),
            ("payments.*", "payments.eu", true),
            ("payments.*", "payments.eu.cards", true),
            ("payments.*", "payments.", true),
            ("payments.*", "payments", false),
            ("payments.*", "xpayments.eu", false),
            ("*", "anything.at-all", true),
            ("*", "", true),
            ("*.eu", "payments.eu", true),
            ("*.eu", "payments.eu2", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "ac", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("a**b", "ab", true),
            (r"/payments\..+/", "payments.eu", true),
            (r"/payments\..+/", "payments.", false),
            ("/a|b/", "a", true),
            ("/a|b/", "ab", false),
            ("/a|b/", "xb", false),
            ("/a$/", "a\n", false),
        ] {
            check(pattern, name, expected);
        }
    }

    #[test]
    fn rejects_what_is_no_pattern() {
        let refused = |text: &str| Pattern::parse_topic(text).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused(""), "a pattern is empty and would match nothing");
        assert_eq!(refused("//"), "a pattern is empty and would match nothing");
        assert_eq!(refused("/a"), "pattern `/a` begins with `/` but does not end with `/`");
        assert!(refused("/a)|(?:b/").contains("is not a regular expression"));
        assert!(refused("/(a{1000}){1000}/").contains("is not a regular expression"));
        assert_eq!(refused("orders "), "pattern `orders ` has the character ` `, which no topic name can have");
        assert_eq!(refused("pay?"), "pattern `pay?` has the character `?`, which no topic name can have");
        assert!(refused(&"a".repeat(2000)).contains("2000 bytes"));
        assert!(Pattern::parse("my group").is_ok());
    }

    fn overlaps(left: &str, right: &str, expected: Overlap) {
        let (a, b) = (Pattern::parse(left).unwrap(), Pattern::parse(right).unwrap());
        assert_eq!(a.overlap(&b), expected, "`{left}` and `{right}`");
        assert_eq!(b.overlap(&a), expected, "`{right}` and `{left}`");
    }

    #[test]
    fn knows_which_patterns_can_meet() {
        for (left, right, expected) in [
            ("a", "a", Overlap::Yes),
            ("a", "b", Overlap::No),
            ("payments.*", "payments.eu", Overlap::Yes),
            ("payments.*", "orders", Overlap::No),
            ("payments.*", "*.eu", Overlap::Yes),
            ("payments.*", "orders.*", Overlap::No),
            ("*", "orders.*", Overlap::Yes),
            ("a*c", "ab*", Overlap::Yes),
            ("a*c", "*d", Overlap::No),
            ("a*b*c", "a*d", Overlap::No),
            ("**", "a", Overlap::Yes),
            ("/orders.+/", "orders2", Overlap::Yes),
            ("/orders.+/", "orders", Overlap::No),
            ("/orders.+/", "orders*", Overlap::Yes),
            ("/orders-[0-9]{7}/", "orders*", Overlap::Undecided),
            ("/a+/", "/a/", Overlap::Undecided),
            ("/a+/", "/a+/", Overlap::Yes),
        ] {
            overlaps(left, right, expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A regular expression made from the glob is the oracle.
        #[test]
        fn globs_match_as_their_regex(glob in "[ab.*]{1,8}", name in "[ab.]{0,8}") {
            let oracle = Regex::new(&format!("^{}$", regex::escape(&glob).replace(r"\*", "(?s:.*)"))).unwrap();
            prop_assert_eq!(Pattern::parse(&glob).unwrap().matches(&name), oracle.is_match(&name));
        }

        /// What both match is an overlap; short globs that overlap have a short common name.
        #[test]
        fn globs_overlap_where_a_name_is_shared(left in "[ab*]{1,4}", right in "[ab*]{1,4}") {
            let (a, b) = (Pattern::parse(&left).unwrap(), Pattern::parse(&right).unwrap());
            let mut names = vec![String::new()];
            let mut shared = false;
            for _ in 0..=8 {
                shared |= names.iter().any(|name| a.matches(name) && b.matches(name));
                names = names.iter().flat_map(|name| [format!("{name}a"), format!("{name}b")]).collect();
            }
            prop_assert_eq!(a.overlap(&b) == Overlap::Yes, shared);
        }
    }

    #[test]
    fn knows_internal_topics() {
        for (topic, expected) in
            [("__consumer_offsets", true), ("_schemas", true), ("_schemas2", false), ("_x", false), ("orders", false)]
        {
            assert_eq!(is_internal_topic(topic), expected, "{topic}");
        }
    }
}
