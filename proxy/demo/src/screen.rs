//! Lines on the screen, as wide as the terminal. What differs between what was sent and what was read back is found by comparing,
//! never assumed.
//!
//! ```text
//! wide     1  checkout sends          {"card":{"number":"4111111111111111"}}                     note
//! narrow   1  checkout sends                                                  note
//!             {"card":{"number":"4111111111111111"}}
//! ```

use std::io::Write;
use std::ops::Range;

use anstyle::{AnsiColor, Style};
use terminal_size::{Width, terminal_size};

use crate::compare::changed_values;
use crate::error::DemoError;

/// Writes the screen to standard output, line by line.
#[derive(Debug)]
pub(crate) struct Screen {
    step: u32,
    columns: usize,
}

/// What stands behind a line, and what it means.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// Nothing.
    None,
    /// As it is.
    Plain(String),
    /// A value is protected, a proof holds.
    Good(String),
    /// Something was refused or found out.
    Stopped(String),
}

impl Screen {
    /// As wide as the terminal; where there is none, as wide as the screen wants to be.
    pub(crate) fn new() -> Self {
        Self { step: 0, columns: terminal_size().map_or(WIDE, |(Width(columns), _)| usize::from(columns)) }
    }

    /// A line over the whole width.
    pub(crate) fn line(&self, text: &str) -> Result<(), DemoError> {
        writeln!(anstream::stdout().lock(), "{text}").map_err(DemoError::io("write to the terminal"))
    }

    /// Begins the next numbered step.
    pub(crate) fn step(&mut self, label: &str, text: &str, note: &Note) -> Result<(), DemoError> {
        self.step = self.step.saturating_add(1);
        self.row(&format!("{:>2}", self.step), label, (text, &[]), note)
    }

    /// Goes on with the step.
    pub(crate) fn more(&self, label: &str, text: &str, note: &Note) -> Result<(), DemoError> {
        self.row("", label, (text, &[]), note)
    }

    /// Goes on with the step: what was read back of what was sent, with what differs in relief.
    pub(crate) fn read_back(&self, label: &str, sent: &str, read: &str, note: &Note) -> Result<(), DemoError> {
        self.row("", label, (read, &changed_values(sent, read)), note)
    }

    /// As [`Screen::read_back`], beginning the next step.
    pub(crate) fn step_read_back(&mut self, label: &str, sent: &str, read: &str, note: &Note) -> Result<(), DemoError> {
        self.step = self.step.saturating_add(1);
        self.row(&format!("{:>2}", self.step), label, (read, &changed_values(sent, read)), note)
    }

    /// The output of a command, indented, and cut where the terminal ends.
    pub(crate) fn output(&self, text: &str) -> Result<(), DemoError> {
        text.trim_end().lines().try_for_each(|line| self.line(&cut(&format!("{INDENT}{line}"), self.columns)))
    }

    fn row(
        &self,
        number: &str,
        label: &str,
        (text, marks): (&str, &[Range<usize>]),
        note: &Note,
    ) -> Result<(), DemoError> {
        let (style, said) = note.parts();
        let said = if said.is_empty() { String::new() } else { format!("{style}{said}{style:#}") };
        let (shown, noted) = (paint(text, marks), note.parts().1.chars().count());
        let length = text.chars().count();
        // Styles take bytes and no columns: what is missing to the next column is counted on the bare text.
        if self.columns >= WIDE || TEXT_AT + length.max(1) + GAP + noted <= self.columns {
            let gap = " ".repeat(self.columns.min(WIDE).saturating_sub(TEXT_AT + length + noted).max(GAP));
            let gap = if self.columns >= WIDE { " ".repeat(TEXT_COLUMNS.saturating_sub(length) + GAP) } else { gap };
            let row = format!("{BOLD}{number:2}{BOLD:#}  {label:LABEL_COLUMNS$} {shown}{gap}{said}");
            return self.line(row.trim_end());
        }
        let room = self.columns.saturating_sub(INDENT.len() + noted);
        self.line(format!("{BOLD}{number:2}{BOLD:#}  {label:room$}{said}").trim_end())?;
        if text.is_empty() { Ok(()) } else { self.line(&format!("{INDENT}{shown}")) }
    }
}

impl Note {
    fn parts(&self) -> (Style, &str) {
        match self {
            Self::None => (Style::new(), ""),
            Self::Plain(text) => (Style::new(), text),
            Self::Good(text) => (AnsiColor::Green.on_default(), text),
            Self::Stopped(text) => (AnsiColor::Red.on_default(), text),
        }
    }
}

/// The text with the marked parts in relief.
fn paint(text: &str, marks: &[Range<usize>]) -> String {
    let (mut painted, mut at) = (String::new(), 0);
    for mark in marks {
        let (before, marked) = (text.get(at..mark.start), text.get(mark.clone()));
        painted += before.unwrap_or_default();
        painted += &format!("{RELIEF}{}{RELIEF:#}", marked.unwrap_or_default());
        at = mark.end;
    }
    painted + text.get(at..).unwrap_or_default()
}

/// At most so many columns, with a sign that something is missing.
fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    line.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// Bold is there in light and in dark terminals; the colours are the terminal's own green and red.
const BOLD: Style = Style::new().bold();
const RELIEF: Style = AnsiColor::Green.on_default();

const INDENT: &str = "    ";
const LABEL_COLUMNS: usize = 19;
const TEXT_AT: usize = INDENT.len() + LABEL_COLUMNS + 1;
/// The longest document that is shown.
const TEXT_COLUMNS: usize = 75;
/// Columns between a text and its note.
const GAP: usize = 2;
/// From here on label, text and note stand in one line; below, where they fit.
const WIDE: usize = 120;

#[cfg(test)]
mod tests {
    use super::{cut, paint};

    #[test]
    fn marks_stand_in_relief_and_the_text_stays() {
        assert_eq!(paint("abc", &[]), "abc");
        let painted = paint("abcdef", &[1..2, 4..6]);
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), "abcdef");
        assert!(painted.starts_with('a') && painted.contains("b\u{1b}[0m") && painted.ends_with("ef\u{1b}[0m"));
    }

    #[test]
    fn a_long_line_ends_where_the_terminal_does() {
        assert_eq!(cut("12345", 5), "12345");
        assert_eq!(cut("123456", 5), "1234…");
    }
}
