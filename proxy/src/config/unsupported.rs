//! What the product promises and this build does not do: refused by name, where it stands.

use weir_yaml::{MapReader, Node, Place, Problems, Value};

/// Refuses `map[key]` if it is there; `path` is the full name. True when it was there.
pub(super) fn key(map: &mut MapReader<'_>, key: &str, path: &str, cure: &str, problems: &mut Problems) -> bool {
    let entry = map.take_entry(key);
    if let Some(entry) = entry {
        value(&entry.key_place, path, cure, problems);
        literal_secrets(&entry.value, path, problems);
    }
    entry.is_some()
}

/// Refuses something that is named in a value.
pub(super) fn value(place: &Place, name: &str, cure: &str, problems: &mut Problems) {
    problems.error(place, format!("`{name}` is not supported yet"), cure);
}

/// Reports secrets that stand in the file itself, also inside what is not supported yet. Never prints them.
fn literal_secrets(node: &Node, path: &str, problems: &mut Problems) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let path = format!("{path}.{}", entry.key);
                if SECRET_KEYS.contains(&entry.key.as_str()) {
                    literal_secret(&entry.value, &path, problems);
                } else {
                    literal_secrets(&entry.value, &path, problems);
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| literal_secrets(item, path, problems)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
    }
}

/// Reports `node` when it is a secret itself and not where to find one.
fn literal_secret(node: &Node, path: &str, problems: &mut Problems) {
    let is_reference = matches!(&node.value, Value::Map(entries) if entries.iter().all(|entry| entry.key == "file" || entry.key == "env"));
    if !is_reference {
        problems.error(&node.place, format!("`{path}` is a literal"), "use { file: … } or { env: … }");
    }
}

/// Keys whose value is a secret, wherever they stand.
const SECRET_KEYS: &[&str] = &["password", "client_secret", "secret", "secret_key", "access_key", "token"];
