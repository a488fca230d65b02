//! Lines on the screen. What differs between what was sent and what was read back is found by comparing, never assumed.

use std::io::{self, Write};

use serde_json::Value;

use crate::error::DemoError;

/// Writes the screen to standard output, line by line.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    step: u32,
}

impl Screen {
    /// A line over the whole width.
    pub(crate) fn line(&self, text: &str) -> Result<(), DemoError> {
        writeln!(io::stdout().lock(), "{text}").map_err(DemoError::io("write to the terminal"))
    }

    /// Begins the next numbered step.
    pub(crate) fn step(&mut self, label: &str, text: &str, note: &str) -> Result<(), DemoError> {
        self.step = self.step.saturating_add(1);
        self.line(&row(&format!("{:>2}", self.step), label, text, note))
    }

    /// Goes on with the step.
    pub(crate) fn more(&self, label: &str, text: &str, note: &str) -> Result<(), DemoError> {
        self.line(&row("", label, text, note))
    }

    /// The output of a command, indented.
    pub(crate) fn output(&self, text: &str) -> Result<(), DemoError> {
        text.trim_end().lines().try_for_each(|line| self.line(&format!("    {line}")))
    }
}

fn row(number: &str, label: &str, text: &str, note: &str) -> String {
    let row = format!("{number:2}  {label:LABEL_WIDTH$}  {text:TEXT_WIDTH$}  {note}");
    row.trim_end().to_owned()
}

/// Which values differ, by path; `as sent` when none does.
pub(crate) fn compare(sent: &str, read: &str) -> String {
    if sent == read {
        return "as sent".to_owned();
    }
    let (Ok(sent), Ok(read)) = (serde_json::from_str(sent), serde_json::from_str(read)) else {
        return "changed, and no longer JSON".to_owned();
    };
    let mut paths = Vec::new();
    differences(&sent, &read, &mut Vec::new(), &mut paths);
    if paths.is_empty() {
        "the same values, written otherwise".to_owned()
    } else {
        format!("{} changed", paths.join(", "))
    }
}

fn differences(sent: &Value, read: &Value, path: &mut Vec<String>, found: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (sent, read) else {
        if sent != read {
            found.push(path.join("."));
        }
        return;
    };
    let added = after.keys().filter(|name| !before.contains_key(*name));
    for name in before.keys().chain(added) {
        path.push(name.clone());
        let (sent, read) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        differences(sent, read, path, found);
        path.pop();
    }
}

const LABEL_WIDTH: usize = 25;
const TEXT_WIDTH: usize = 88;

#[cfg(test)]
mod tests {
    use super::compare;

    fn check(sent: &str, read: &str, expected: &str) {
        assert_eq!(compare(sent, read), expected);
    }

    #[test]
    fn names_what_differs() {
        let sent = r#"{"order":17,"card":{"number":"4111"},"email":"a@b"}"#;
        check(sent, sent, "as sent");
        check(sent, r#"{"order":17,"card":{"number":"***1"},"email":"a@b"}"#, "card.number changed");
        check(sent, r#"{"order":17,"card":{"number":"***1"},"email":"x"}"#, "card.number, email changed");
        check(sent, r#"{"order":17,"card":{"number":"4111"}}"#, "email changed");
        check(sent, r#"{"order": 17,"card":{"number":"4111"},"email":"a@b"}"#, "the same values, written otherwise");
        check(sent, "{", "changed, and no longer JSON");
    }
}
