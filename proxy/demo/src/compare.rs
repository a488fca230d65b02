//! What became of a JSON document on its way.

use std::ops::Range;

use serde_json::Value;

/// Which value differs, by its path, or how many do; `as sent` when none does.
pub(crate) fn compare(sent: &str, read: &str) -> String {
    if sent == read {
        return "as sent".to_owned();
    }
    let (Ok(sent), Ok(read)) = (serde_json::from_str(sent), serde_json::from_str(read)) else {
        return "changed, and no longer JSON".to_owned();
    };
    let mut paths = Vec::new();
    differences(&sent, &read, &mut Vec::new(), &mut paths);
    match paths.as_slice() {
        [] => "the same values, written otherwise".to_owned(),
        [path] => format!("{path} changed"),
        paths => format!("{} values changed", paths.len()),
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

/// Where in `read` the strings stand that `sent` has otherwise. Nothing when the two have not the same number of strings.
pub(crate) fn changed_values(sent: &str, read: &str) -> Vec<Range<usize>> {
    let (before, after) = (strings(sent), strings(read));
    if before.len() != after.len() {
        return Vec::new();
    }
    let pairs = before.into_iter().zip(after);
    pairs
        .filter(|(before, after)| sent.get(before.clone()) != read.get(after.clone()))
        .map(|(_, after)| after)
        .collect()
}

/// The strings of a JSON document, without their quotes.
fn strings(json: &str) -> Vec<Range<usize>> {
    let (mut found, mut open, mut escaped) = (Vec::new(), None, false);
    for (at, byte) in json.bytes().enumerate() {
        match (open, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(start), b'"') => {
                found.push(start..at);
                open = None;
            }
            (None, b'"') => open = Some(at + 1),
            (Some(_) | None, _) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{changed_values, compare};

    const SENT: &str = r#"{"order":17,"card":{"number":"4111"},"email":"a@b"}"#;

    fn check(read: &str, expected: &str, marked: &[&str]) {
        assert_eq!(compare(SENT, read), expected);
        let marks = changed_values(SENT, read).into_iter().map(|mark| read.get(mark).unwrap()).collect::<Vec<_>>();
        assert_eq!(marks, marked);
    }

    #[test]
    fn names_and_finds_what_differs() {
        check(SENT, "as sent", &[]);
        check(r#"{"order":17,"card":{"number":"***1"},"email":"a@b"}"#, "card.number changed", &["***1"]);
        check(r#"{"order":17,"card":{"number":"***1"},"email":"\"x"}"#, "2 values changed", &["***1", "\\\"x"]);
        check(r#"{"order":17,"card":{"number":"4111"}}"#, "email changed", &[]);
        check(r#"{"order": 17,"card":{"number":"4111"},"email":"a@b"}"#, "the same values, written otherwise", &[]);
        check("{", "changed, and no longer JSON", &[]);
    }
}
