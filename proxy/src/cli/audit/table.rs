//! Entries as a table for people. No colours; what clients chose (client ids, topics) cannot steer the terminal.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use weir_audit::{Decision, Entry, Kind, rfc3339};
use weir_audit_store::FoundRow;

/// The table, with its header, each line ending in a line end.
pub(super) fn render(rows: &[FoundRow]) -> String {
    let mut table = Table::new();
    table.force_no_tty().load_style(presets::NOTHING);
    table.set_header(HEADER);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for column in [SEQ, RECORDS] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.add_rows(rows.iter().map(|row| cells(&row.entry)));
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

fn cells(entry: &Entry) -> [String; 8] {
    let body = &entry.body;
    let principal = body.principal.as_ref().map_or("-", |principal| &principal.id);
    let records: u64 = body.parts.iter().map(|part| u64::from(part.records)).sum();
    let mut action = body.kind.name().to_owned();
    if body.count != 1 {
        let _infallible = write!(action, " ×{}", body.count);
    }
    if let Some(split) = entry.split {
        let _infallible = write!(action, " ({} of {})", split.part, split.of);
    }
    let time: String = rfc3339(entry.at).chars().take(SECONDS_LENGTH).collect();
    [
        entry.seq.to_string(),
        time + "Z",
        plain(principal),
        action,
        topics(entry),
        if body.parts.is_empty() { "-".to_owned() } else { records.to_string() },
        decision(entry),
        rules(entry),
    ]
}

/// What was decided, and why when the entry says so. What needed no decision has none.
fn decision(entry: &Entry) -> String {
    let body = &entry.body;
    let decided = match (body.kind, body.decision) {
        (
            Kind::Boot | Kind::Shutdown | Kind::Gap | Kind::Prune | Kind::Degraded | Kind::Resumed | Kind::PolicyChange,
            Decision::Pass,
        ) => "-",
        (_, decision) => decision.name(),
    };
    match &body.reason {
        Some(reason) => format!("{decided} ({})", plain(reason)),
        None => decided.to_owned(),
    }
}

fn topics(entry: &Entry) -> String {
    let mut names: Vec<&str> = Vec::new();
    for part in &entry.body.parts {
        if !names.contains(&part.topic.as_str()) {
            names.push(&part.topic);
        }
        if names.len() > NAMES_MAX {
            break;
        }
    }
    list(names.iter().map(|name| plain(name)))
}

/// Each rule once, however many actions of it took part; the actions are in the JSON.
fn rules(entry: &Entry) -> String {
    let mut rules: Vec<(&str, u64)> = Vec::new();
    for hit in &entry.body.rule_hits {
        match rules.iter_mut().find(|(rule, _)| *rule == hit.rule) {
            Some((_, count)) => *count = count.saturating_add(hit.count),
            None => rules.push((&hit.rule, hit.count)),
        }
    }
    list(rules.into_iter().map(|(rule, count)| format!("{} ×{count}", plain(rule))))
}

/// The first of some names, `-` for none.
fn list(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.take(NAMES_MAX + 1).collect();
    if names.len() > NAMES_MAX {
        names.truncate(NAMES_MAX);
        names.push("…".to_owned());
    }
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

/// A text without what moves a cursor, changes colours or turns the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            plain.extend(character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    plain
}

const HEADER: [&str; 8] = ["SEQ", "TIME", "PRINCIPAL", "ACTION", "TOPIC", "RECORDS", "DECISION", "RULES"];
const SEQ: usize = 0;
const RECORDS: usize = 5;

/// Topics or rules named in one line.
const NAMES_MAX: usize = 3;

/// Characters of a time up to its seconds: `2026-01-02T03:04:05`.
const SECONDS_LENGTH: usize = 19;

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(plain("payments.eu ×2 日本"), "payments.eu ×2 日本");
        assert_eq!(plain("a\u{1b}[2Jb\r\n\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{202e}c\\u{9b}");
    }
}
