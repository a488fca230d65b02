//! Says how two things differ, for a person.

use serde_json::Value;

use crate::document::TestHeader;

/// `what differs`, and the two below each other.
pub(super) fn differ(what: &str, expected: &str, actual: &str, lines: &mut Vec<String>) {
    lines.push(format!("{what} {}", if what.ends_with('s') { "differ" } else { "differs" }));
    lines.push(format!("  expected  {expected}"));
    lines.push(format!("  actual    {actual}"));
}

/// Bytes as text where they are text.
pub(super) fn shown(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => shorten(text),
            Err(_) => format!("{} bytes that are not text", bytes.len()),
        },
    }
}

/// Headers as `name: value`.
pub(super) fn headers(headers: &[TestHeader]) -> String {
    let each = |header: &TestHeader| format!("{}: {}", header.name, shown(header.value.as_deref()));
    format!("[{}]", headers.iter().map(each).collect::<Vec<_>>().join(", "))
}

/// Compares a value with the JSON that is expected, place by place.
pub(super) fn json(expected: &str, actual: Option<&[u8]>, lines: &mut Vec<String>) {
    let parsed = actual.map(serde_json::from_slice::<Value>);
    match (serde_json::from_str::<Value>(expected), parsed) {
        (Ok(expected), Some(Ok(actual))) => {
            let mut differences = Vec::new();
            walk("$".to_owned(), Some(&expected), Some(&actual), &mut differences);
            let further = differences.len().saturating_sub(DIFFERENCES_MAX);
            for (path, expected, actual) in differences.into_iter().take(DIFFERENCES_MAX) {
                differ(&format!("value at {path}"), &expected, &actual, lines);
            }
            if further > 0 {
                lines.push(format!("and {further} more differences"));
            }
        }
        _ => differ("value", &shorten(expected), &shown(actual), lines),
    }
}

/// The depth is bounded: by the YAML parser for one side, by serde_json for the other.
fn walk(path: String, expected: Option<&Value>, actual: Option<&Value>, out: &mut Vec<(String, String, String)>) {
    match (expected, actual) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let only_right = right.keys().filter(|key| !left.contains_key(*key));
            for key in left.keys().chain(only_right) {
                walk(format!("{path}.{key}"), left.get(key), right.get(key), out);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                walk(format!("{path}[{index}]"), left.get(index), right.get(index), out);
            }
        }
        (left, right) if left == right => {}
        (left, right) => {
            let text = |side: Option<&Value>| side.map_or("nothing".to_owned(), |value| shorten(&value.to_string()));
            out.push((path, text(left), text(right)));
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The most differences of one value that are listed.
const DIFFERENCES_MAX: usize = 10;

/// The most characters of a value that are shown.
const SHOWN_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, actual: Option<&str>, lines: &[&str]) {
        let mut found = Vec::new();
        json(expected, actual.map(str::as_bytes), &mut found);
        assert_eq!(found, lines);
    }

    #[test]
    fn shows_where_values_differ() {
        check(r#"{"a":1,"b":[1,2]}"#, Some(r#"{"b":[1,2], "a":1}"#), &[]);
        check(
            r#"{"a":{"b":"x"},"c":1}"#,
            Some(r#"{"a":{"b":"y"},"d":1}"#),
            &[
                "value at $.a.b differs",
                r#"  expected  "x""#,
                r#"  actual    "y""#,
                "value at $.c differs",
                "  expected  1",
                "  actual    nothing",
                "value at $.d differs",
                "  expected  nothing",
                "  actual    1",
            ],
        );
        check("[1]", Some("[1,2]"), &["value at $[1] differs", "  expected  nothing", "  actual    2"]);
        check("1", None, &["value differs", "  expected  1", "  actual    null"]);
        check("1", Some("x"), &["value differs", "  expected  1", "  actual    x"]);
    }

    #[test]
    fn says_how_many_differences_it_leaves_out() {
        let mut lines = Vec::new();
        json(&format!("[{}0]", "0,".repeat(19)), Some(format!("[{}1]", "1,".repeat(19)).as_bytes()), &mut lines);
        assert_eq!(lines.len(), 31);
        assert_eq!(lines.last().map(String::as_str), Some("and 10 more differences"));
    }

    #[test]
    fn shows_no_endless_or_binary_text() {
        assert_eq!(shown(Some(&[0xff, 0xfe])), "2 bytes that are not text");
        assert_eq!(shown(Some("é".repeat(500).as_bytes())).chars().count(), SHOWN_MAX + 1);
    }
}
