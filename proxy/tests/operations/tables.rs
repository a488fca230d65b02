//! The tables of docs/operations.md against the code, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::promtool::root;

/// The rows of the table whose header begins with these cells.
fn table(header: &[&str]) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let cells = |line: &str| {
        let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')).map(str::to_owned);
        inner.map(|inner| inner.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
    };
    let mut lines = text.lines().skip_while(|line| cells(line).is_none_or(|cells| !cells.starts_with(&owned(header))));
    assert!(lines.next().is_some() && lines.next().is_some(), "no table {header:?}");
    lines.map_while(cells).collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What stands in backticks in a cell.
fn code(cell: &str) -> String {
    cell.split('`').nth(1).unwrap_or_else(|| panic!("{cell} names nothing")).to_owned()
}

/// The documentation names what the code has, no more and no less.
#[track_caller]
fn same(told: &BTreeSet<String>, source: &BTreeSet<String>) {
    let missing = source.difference(told).collect::<Vec<_>>();
    assert!(missing.is_empty(), "docs/operations.md does not name {missing:?}");
    let gone = told.difference(source).collect::<Vec<_>>();
    assert!(gone.is_empty(), "docs/operations.md names {gone:?}, which there are not");
}

/// Every source file below a folder.
fn sources(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(std::fs::read_to_string(path).unwrap());
        }
    }
    files
}

fn quoted(text: &str, prefix: &str) -> BTreeSet<String> {
    let start = format!("\"{prefix}");
    let rests = text.match_indices(&start).map(|(at, _)| &text[at + 1..]);
    let names = rests.filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned()));
    names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect()
}

fn metrics_in_source() -> BTreeSet<String> {
    let folder = root().join("proxy/src/gateway/telemetry/metrics");
    sources(&folder).iter().flat_map(|text| [quoted(text, "weir_"), quoted(text, "process_")]).flatten().collect()
}

#[test]
fn the_table_of_metrics_is_the_code_s() {
    let told = table(&["name", "type", "labels"]).iter().map(|row| code(&row[0])).collect::<BTreeSet<_>>();
    same(&told, &metrics_in_source());
}

#[test]
fn the_alerts_are_documented_and_name_metrics_that_exist() {
    let rules = std::fs::read_to_string(root().join("alerts/weir.rules.yaml")).unwrap();
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect::<BTreeSet<_>>();
    let told = table(&["alert"]).iter().map(|row| code(&row[0])).collect::<BTreeSet<_>>();
    assert_eq!(told.iter().map(String::as_str).collect::<BTreeSet<_>>(), alerts);
    let metrics = metrics_in_source();
    let words = rules.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    for name in words.filter(|word| word.starts_with("weir_") || word.starts_with("process_")) {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(metrics.contains(family), "alerts use {name}, which there is not");
    }
}

/// A log line as it is written in the code: its level and the keys behind the event.
#[derive(Debug, Default, PartialEq)]
struct Line {
    levels: BTreeSet<String>,
    keys: BTreeSet<String>,
}

fn lines_in_source() -> BTreeMap<String, Line> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    let folders = ["proxy/src", "crates/audit-store/src", "crates/session/src", "crates/policy/src"];
    for text in folders.iter().flat_map(|folder| sources(&root().join(folder))) {
        for (at, _) in text.match_indices("tracing::") {
            let Some((level, rest)) = text[at + "tracing::".len()..].split_once("!(") else { continue };
            if !["error", "warn", "info", "debug", "trace"].contains(&level) {
                continue;
            }
            let arguments = arguments(rest);
            let event = arguments[0].strip_prefix("event = \"").and_then(|rest| rest.strip_suffix('"'));
            let event = event.unwrap_or_else(|| panic!("a log line without a name: {}", arguments.join(", ")));
            let line = lines.entry(event.to_owned()).or_default();
            line.levels.insert(level.to_owned());
            line.keys.extend(arguments[1..].iter().map(|argument| key(argument)));
        }
    }
    lines
}

/// The arguments of a call, up to the parenthesis that closes it.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut in_text, mut escaped) = (vec![String::new()], 0, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            '(' | '[' | '{' if !in_text => depth += 1,
            ')' if !in_text && depth == 0 => break,
            ')' | ']' | '}' if !in_text => depth -= 1,
            ',' if !in_text && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().unwrap().push(c);
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

/// The key of `key = value`, or of a variable of that name.
fn key(argument: &str) -> String {
    argument.split_once(" = ").map_or(argument, |(key, _)| key).trim_matches('"').to_owned()
}

#[test]
fn the_table_of_events_is_the_code_s() {
    let source = lines_in_source();
    let mut told = BTreeSet::new();
    for row in table(&["event", "level", "keys"]) {
        let event = code(&row[0]);
        let line = source.get(&event).unwrap_or_else(|| panic!("no code logs `{event}`"));
        assert!(line.levels.contains(&row[1]), "`{event}` is logged at {:?}", line.levels);
        let keys = row[2].split(", ").filter(|key| !key.is_empty()).map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(keys, line.keys, "`{event}`");
        told.insert(event);
    }
    same(&told, &source.into_keys().collect());
}

/// The control: the search for lines sees names, levels and keys, whatever is in them.
#[test]
fn log_lines_are_read_as_they_are_written() {
    let text =
        r#"event = "a.b", peer = %peer, hint = "x, \"y\" (z)", n = f(a, b[1, 2]), plain, "where" = label); more, of"#;
    let arguments = arguments(text);
    let keys = arguments.iter().map(|argument| key(argument)).collect::<Vec<_>>();
    assert_eq!(keys, ["event", "peer", "hint", "n", "plain", "where"]);
}
