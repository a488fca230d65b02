//! Reads one item of a rule's `fields`, and what the rule says of the format that they are in.

use weir_yaml::{MapReader, Node, Place, Problems, Value, suggest};

use super::rules::{Action, unknown_word};
use super::{FieldEntry, Located, TransformEntry, choice, not_supported, refuse_later};
use crate::formats::{COLUMNS_MAX, Format, Part, is_name};
use crate::json::Route;
use crate::rules::{FieldTarget, Location};

/// The format of what the fields of a rule look into.
pub(super) struct Shape {
    format: Format,
    /// The names of the columns of a table, where the rule gives them.
    columns: Option<Vec<String>>,
}

/// Reads `format` and `columns` of a rule. None when they cannot be read, which is reported.
pub(super) fn read_shape(rule: &mut MapReader<'_>, problems: &mut Problems) -> Option<Shape> {
    let errors = problems.errors();
    let format = match rule.take("format") {
        Some(node) => node.as_str("format", problems).and_then(|word| {
            let known = Format::ALL.map(Format::name);
            let found = Format::ALL.into_iter().find(|format| format.name() == word);
            found.or_else(|| unknown_word(node, "format", word, &known, problems))
        }),
        None => Some(Format::Json),
    };
    let columns_node = rule.take("columns");
    let columns = columns_node.map(|node| read_columns(node, problems));
    if let (Some(node), Some(Format::Json | Format::Ndjson | Format::Text)) = (columns_node, format) {
        let cure = "remove it, or add  format: csv  or  tsv";
        problems.error(&node.place, "`columns` belongs to a rule with `format: csv` or `tsv`", cure);
    }
    if problems.errors() > errors { None } else { Some(Shape { format: format?, columns }) }
}

fn read_columns(node: &Node, problems: &mut Problems) -> Vec<String> {
    let names = node.str_list("columns", problems).unwrap_or_default();
    if names.is_empty() {
        problems.error(&node.place, "`columns` names no column", "name every column in order:  columns: [id, email]");
    }
    if u32::try_from(names.len()).is_ok_and(|count| count > COLUMNS_MAX) {
        problems.error(&node.place, format!("`columns` has more than {COLUMNS_MAX} names"), "");
    }
    let mut seen = std::collections::HashSet::new();
    if names.iter().any(|name| !seen.insert(name)) {
        problems.error(&node.place, "`columns` has a name twice", "give each column a name of its own");
    }
    names
}

pub(super) fn read_field(
    node: &Node,
    action: Action,
    shape: Option<&Shape>,
    problems: &mut Problems,
) -> Option<FieldEntry> {
    let mut map = MapReader::new(node, "an item of fields", problems)?;
    let errors = problems.errors();
    let target = read_target(&mut map, node, shape, problems);
    let later = refuse_later(&mut map, &["xml", "avro", "protobuf"], problems);
    if map.take_entry("format").is_some() {
        problems.error(&node.place, "`format` belongs to the rule", "write it beside `fields`");
    }
    let transform_node = map.take("transform");
    let transform = transform_node.and_then(|node| read_transform(node, problems));
    match (transform_node, action) {
        (Some(node), Action::Refuse) => {
            let cure = "remove `transform`, or `action: refuse`";
            problems.error(&node.place, "a rule with `action: refuse` transforms nothing", cure);
        }
        (None, Action::Transform) => {
            let cure = "add  transform: redact,  mask: { keep_last: 4 }  or  hash: { key: … }";
            problems.error(&node.place, "`transform` is required", cure);
        }
        (Some(_), Action::Transform | Action::Unknown) | (None, Action::Refuse | Action::Unknown) => {}
    }
    map.finish(problems);
    if target.is_none() && problems.errors() == errors && !later && shape.is_some() {
        problems.error(&node.place, "a field names nothing", "add  path: \"$.…\",  header: …  or  key: true");
    }
    if problems.errors() != errors {
        return None;
    }
    Some(FieldEntry { place: node.place.clone(), target: target?, transform })
}

/// Where the field looks, and for what in there.
fn read_target(
    map: &mut MapReader<'_>,
    node: &Node,
    shape: Option<&Shape>,
    problems: &mut Problems,
) -> Option<FieldTarget> {
    let header = map.take("header").map(|node| read_header(node, problems));
    let key = map.take("key").map(|node| read_key(node, problems));
    let parts: Vec<Option<Part>> = [
        map.take("path").map(|node| read_path(node, shape, problems)),
        map.take("column").map(|node| read_column(node, shape, problems)),
        map.take("pair").map(|node| read_pair(node, shape, problems)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if header.is_some() && key.is_some() || parts.len() > 1 {
        let cure = "write one item for each";
        problems.error(&node.place, "a field is in one of `header`, `key` and the value, and is one part of it", cure);
        return None;
    }
    let is_part = !parts.is_empty();
    let part = parts.into_iter().next().flatten();
    match (header, key, is_part) {
        (None, None, _) => Some(FieldTarget::Inside(Location::Value, part?)),
        (Some(header), _, true) => Some(FieldTarget::Inside(Location::Header(header?.into_bytes().into()), part?)),
        (Some(header), _, false) => Some(FieldTarget::Header(header?.into_bytes().into())),
        (None, Some(key), true) => key.and(part).map(|part| FieldTarget::Inside(Location::Key, part)),
        (None, Some(key), false) => key.map(|()| FieldTarget::Key),
    }
}

fn read_header(node: &Node, problems: &mut Problems) -> Option<String> {
    match node.as_str("header", problems)? {
        "" => problems.error(&node.place, "`header` is empty", ""),
        name if name.contains('*') => {
            problems.error(&node.place, "`header` takes a name, not a pattern", "write one item for each header");
        }
        name => return Some(name.to_owned()),
    }
    None
}

fn read_key(node: &Node, problems: &mut Problems) -> Option<()> {
    match node.as_bool("key", problems)? {
        true => Some(()),
        false => {
            problems.error(&node.place, "`key: false` names nothing", "remove it");
            None
        }
    }
}

fn read_path(node: &Node, shape: Option<&Shape>, problems: &mut Problems) -> Option<Part> {
    let text = node.as_str("path", problems)?;
    let route = match Route::parse(text) {
        Ok(route) => route,
        Err(error) => {
            problems.error(&node.place, error.to_string(), "");
            return None;
        }
    };
    match shape?.format {
        Format::Json => Some(Part::Route { route, lines: false }),
        Format::Ndjson => Some(Part::Route { route, lines: true }),
        format @ (Format::Csv | Format::Tsv) => {
            misfit(&node.place, "path", format, "name a column:  column: …", problems)
        }
        format @ Format::Text => misfit(&node.place, "path", format, "name a pair:  pair: …", problems),
    }
}

fn read_column(node: &Node, shape: Option<&Shape>, problems: &mut Problems) -> Option<Part> {
    let Shape { format, columns } = shape?;
    let separator = match format {
        Format::Csv => b',',
        Format::Tsv => b'\t',
        Format::Json | Format::Ndjson | Format::Text => {
            return misfit(&node.place, "column", *format, "add  format: csv  or  tsv  to the rule", problems);
        }
    };
    let count = columns.as_ref().map(|names| u32::try_from(names.len()).unwrap_or(u32::MAX));
    let index = match (&node.value, columns) {
        (Value::String(name), Some(names)) => match names.iter().position(|known| known == name) {
            Some(index) => u32::try_from(index).ok()?,
            None => {
                let known: Vec<&str> = names.iter().map(String::as_str).collect();
                let near = suggest(name, &known).map(|near| format!("did you mean `{near}`?"));
                let cure = near.unwrap_or_else(|| "name every column in order in `columns`".to_owned());
                problems.error(&node.place, "`columns` of the rule has no such column", cure);
                return None;
            }
        },
        (Value::String(_), None) => {
            let cure = "add  columns: [ … ]  with all names in order to the rule, or give the place:  column: 0";
            problems.error(&node.place, "a column has a name only where the rule gives `columns`", cure);
            return None;
        }
        _ => {
            let last = count.unwrap_or(COLUMNS_MAX).saturating_sub(1);
            u32::try_from(node.as_u64("column", 0..=u64::from(last), problems)?).ok()?
        }
    };
    Some(Part::Column { index, separator, columns: count })
}

fn read_pair(node: &Node, shape: Option<&Shape>, problems: &mut Problems) -> Option<Part> {
    let format = shape?.format;
    let name = node.as_str("pair", problems)?;
    match format {
        Format::Text if is_name(name) => Some(Part::Pair(name.as_bytes().into())),
        Format::Text => {
            let cure =
                "it is what is right before the `=`: without white space, quotes and  = , ; & | ? ( ) [ ] { } < >";
            problems.error(&node.place, "no pair can have this name", cure);
            None
        }
        Format::Json | Format::Ndjson | Format::Csv | Format::Tsv => {
            misfit(&node.place, "pair", format, "add  format: text  to the rule", problems)
        }
    }
}

/// Pushes that a kind of field is not of the rule's format.
fn misfit<T>(place: &Place, kind: &str, format: Format, cure: &str, problems: &mut Problems) -> Option<T> {
    problems.error(place, format!("`{kind}` does not fit `format: {}`", format.name()), cure);
    None
}

fn read_transform(node: &Node, problems: &mut Problems) -> Option<Located<TransformEntry>> {
    let Some((word, settings)) = choice(node) else {
        return node.unexpected("transform", "one transform, as in  redact  or  mask: { keep_last: 4 }", problems);
    };
    let value = match (word, settings) {
        ("redact", None) => TransformEntry::Redact,
        ("redact", Some(_)) => {
            problems.error(&node.place, "`redact` takes no settings", "write  transform: redact");
            return None;
        }
        ("mask", None) => TransformEntry::Mask { keep_first: 0, keep_last: 0 },
        ("mask", Some(settings)) => read_mask(settings, problems)?,
        ("hash", Some(settings)) => read_hash(settings, problems)?,
        ("hash", None) => {
            problems.error(&node.place, "`hash` needs a key", "write  transform: { hash: { key: … } }");
            return None;
        }
        ("token" | "encrypt" | "format_preserving" | "generalize" | "truncate", _) => {
            not_supported(&node.place, &format!("transform: {word}"), problems);
            return None;
        }
        (word, _) => return unknown_word(node, "transform", word, &["redact", "mask", "hash"], problems),
    };
    Some(Located { value, place: node.place.clone() })
}

fn read_mask(node: &Node, problems: &mut Problems) -> Option<TransformEntry> {
    let mut map = MapReader::new(node, "mask", problems)?;
    let errors = problems.errors();
    let mut keep = |key: &str, problems: &mut Problems| {
        let kept = map.take(key).and_then(|node| node.as_u64(key, 0..=KEEP_MAX, problems));
        u32::try_from(kept.unwrap_or(0)).unwrap_or(0)
    };
    let (keep_first, keep_last) = (keep("keep_first", problems), keep("keep_last", problems));
    map.finish(problems);
    (problems.errors() == errors).then_some(TransformEntry::Mask { keep_first, keep_last })
}

fn read_hash(node: &Node, problems: &mut Problems) -> Option<TransformEntry> {
    let mut map = MapReader::new(node, "hash", problems)?;
    let key = map.required("key", "name a key of  keys  in weir.yaml that has  use: hash", problems);
    map.finish(problems);
    let key = key?;
    let id = key.as_str("key", problems)?;
    Some(TransformEntry::Hash { key: Located { value: id.to_owned(), place: key.place.clone() } })
}

/// The most characters that a mask may keep at either end. More would be no mask.
const KEEP_MAX: u64 = 64;
