//! Reads one entry of `tests`.

use weir_yaml::{MapReader, Node, Problems, Value};

use super::rules::{read_direction, unknown_word};
use super::{Expect, ExpectValue, Given, Located, TestDecision, TestEntry, TestHeader, read_name};

pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<TestEntry> {
    let mut map = MapReader::new(node, "a test", problems)?;
    let name = read_name(&mut map, "test", problems);
    let given = map
        .required("given", "say what is sent:  given: { topic: …, direction: produce, … }", problems)
        .and_then(|node| read_given(node, problems));
    let expect = map
        .required("expect", "say what comes out:  expect: { value: …, rules: [ … ] }", problems)
        .and_then(|node| read_expect(node, problems));
    map.finish(problems);
    Some(TestEntry { name: name?.value, place: node.place.clone(), given: given?, expect: expect? })
}

fn read_given(node: &Node, problems: &mut Problems) -> Option<Given> {
    let errors = problems.errors();
    let mut map = MapReader::new(node, "given", problems)?;
    let topic = map.required("topic", "name one topic", problems).and_then(|node| node.as_str("topic", problems));
    let direction = map
        .required("direction", "add  direction: produce  or  consume", problems)
        .and_then(|node| read_direction(node, false, problems));
    let principal = map.take("principal").and_then(|node| node.as_str("principal", problems));
    let groups = map.take("groups").and_then(|node| node.str_list("groups", problems));
    let key = read_text_or_null(&mut map, "key", problems).flatten();
    let value = match read_value(&mut map, problems) {
        Some(ExpectValue::Json(text)) => Some(text.into_bytes()),
        Some(ExpectValue::Raw(bytes)) => Some(bytes),
        Some(ExpectValue::Null) | None => None,
    };
    let headers = map.take("headers").map(|node| read_headers(node, problems)).unwrap_or_default();
    map.finish(problems);
    if problems.errors() != errors {
        return None;
    }
    Some(Given {
        topic: topic?.to_owned(),
        direction: direction?.first().copied()?,
        principal: principal.unwrap_or(PRINCIPAL_DEFAULT).to_owned(),
        groups: groups.unwrap_or_default(),
        key,
        value,
        headers,
    })
}

fn read_expect(node: &Node, problems: &mut Problems) -> Option<Expect> {
    let errors = problems.errors();
    let mut map = MapReader::new(node, "expect", problems)?;
    let expect = Expect {
        value: read_value(&mut map, problems),
        key: read_text_or_null(&mut map, "key", problems),
        headers: map.take("headers").map(|node| read_headers(node, problems)),
        decision: map.take("decision").and_then(|node| read_decision(node, problems)),
        rules: map.take("rules").and_then(|node| read_rule_names(node, problems)),
    };
    map.finish(problems);
    let Expect { value, key, headers, decision, rules } = &expect;
    let has_output = value.is_some() || key.is_some() || headers.is_some();
    if problems.errors() != errors {
        return None;
    }
    if !has_output && decision.is_none() && rules.is_none() {
        problems.error(&node.place, "a test expects nothing", "add `value`, `headers`, `decision` or `rules`");
    }
    if let (true, Some(decision @ (TestDecision::Refused | TestDecision::Denied))) = (has_output, decision) {
        let message = format!("a record that is {} has no output to compare", decision.name());
        problems.error(&node.place, message, "remove `value`, `raw`, `key` and `headers`");
    }
    (problems.errors() == errors).then_some(expect)
}

fn read_decision(node: &Node, problems: &mut Problems) -> Option<TestDecision> {
    let all = [TestDecision::Pass, TestDecision::Masked, TestDecision::Refused, TestDecision::Denied];
    let word = node.as_str("decision", problems)?;
    match all.into_iter().find(|decision| decision.name() == word) {
        Some(decision) => Some(decision),
        None => unknown_word(node, "decision", word, &all.map(TestDecision::name), problems),
    }
}

fn read_rule_names(node: &Node, problems: &mut Problems) -> Option<Vec<Located<String>>> {
    let items = node.as_list("rules", problems)?;
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let name = item.as_str("rules", problems)?;
        names.push(Located { value: name.to_owned(), place: item.place.clone() });
    }
    Some(names)
}

/// `value:` is YAML that stands for JSON (`value: null` is a record without a value), `raw:` is the text itself.
fn read_value(map: &mut MapReader<'_>, problems: &mut Problems) -> Option<ExpectValue> {
    let (value, raw) = (map.take("value"), map.take("raw"));
    if let (Some(_), Some(raw)) = (value, raw) {
        problems.error(&raw.place, "`value` and `raw` are two ways to say one thing", "keep one of them");
    }
    if let Some(raw) = raw {
        return raw.as_str("raw", problems).map(|text| ExpectValue::Raw(text.as_bytes().to_vec()));
    }
    let node = value?;
    if node.is_null() {
        return Some(ExpectValue::Null);
    }
    Some(ExpectValue::Json(json_text(node, problems)))
}

/// Text, or null for none. The outer option is whether the key was written.
#[expect(clippy::option_option, reason = "not written, written as null, and written are three things")]
fn read_text_or_null(map: &mut MapReader<'_>, key: &str, problems: &mut Problems) -> Option<Option<Vec<u8>>> {
    let node = map.take(key)?;
    if node.is_null() {
        return Some(None);
    }
    node.as_str(key, problems).map(|text| Some(text.as_bytes().to_vec()))
}

/// A mapping from names to values, or a list of `{ name, value }` where a name comes twice.
fn read_headers(node: &Node, problems: &mut Problems) -> Vec<TestHeader> {
    let value_of = |node: &Node, problems: &mut Problems| match node.is_null() {
        true => None,
        false => node.as_str("headers", problems).map(|text| text.as_bytes().to_vec()),
    };
    let mut headers = Vec::new();
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                headers.push(TestHeader { name: entry.key.clone(), value: value_of(&entry.value, problems) });
            }
        }
        Value::List(items) => {
            for item in items {
                let Some(mut map) = MapReader::new(item, "a header", problems) else { continue };
                let name = map.required("name", "", problems).and_then(|node| node.as_str("name", problems));
                let value = map.take("value").and_then(|node| value_of(node, problems));
                map.finish(problems);
                headers.extend(name.map(|name| TestHeader { name: name.to_owned(), value }));
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {
            let _: Option<()> = node.unexpected("headers", "a mapping, or a list of { name, value }", problems);
        }
    }
    headers
}

/// The JSON that a YAML value stands for, its members in the order of the text. The depth is bounded by the YAML parser.
fn json_text(node: &Node, problems: &mut Problems) -> String {
    let mut text = String::new();
    write_json(node, &mut text, problems);
    text
}

fn write_json(node: &Node, out: &mut String, problems: &mut Problems) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Float(value) => match serde_json::Number::from_f64(*value) {
            Some(number) => out.push_str(&number.to_string()),
            None => {
                problems.error(&node.place, "JSON has no such number", "put it in quotes");
                out.push_str("null");
            }
        },
        Value::String(text) => write_json_string(text, out),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(item, out, problems);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (index, entry) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_string(&entry.key, out);
                out.push(':');
                write_json(&entry.value, out, problems);
            }
            out.push('}');
        }
    }
}

fn write_json_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// The principal of a test that names none.
const PRINCIPAL_DEFAULT: &str = "test";
