//! What `weir token --dev` needs of a configuration that may not be whole yet: its key set may be about to be made.

use std::path::{Path, PathBuf};

use weir_yaml::{Node, Problems, TEXT_BYTES_MAX, Value};

use super::files;

/// An issuer as far as a token for it needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevIssuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The first of those that its tokens may be for.
    pub audience: String,
    /// With what it may sign.
    pub algorithms: Vec<String>,
    /// The path of the claim with the principal.
    pub principal: String,
    /// The path of the claim with the groups.
    pub groups: String,
    /// The file with its keys; none when they are elsewhere.
    pub jwks: Option<PathBuf>,
}

/// The issuers of the configuration at `path`. What else is wrong with it is for `weir check` to say.
pub fn dev_issuers(path: &Path, problems: &mut Problems) -> Vec<DevIssuer> {
    let name = path.display().to_string();
    let (text, _) = match files::open(path, TEXT_BYTES_MAX) {
        Ok(read) => read,
        Err(reason) => {
            problems.error(None, format!("cannot read `{name}`: {reason}"), "name it with  --config FILE");
            return Vec::new();
        }
    };
    let documents = weir_yaml::parse(&name, &text, problems);
    let issuers = documents.first().and_then(|document| get(get(document, "identity")?, "issuers"));
    let Some(Value::List(items)) = issuers.map(|node| &node.value) else { return Vec::new() };
    let base = path.parent().unwrap_or(Path::new(""));
    items.iter().filter_map(|item| issuer(item, base)).collect()
}

fn issuer(node: &Node, base: &Path) -> Option<DevIssuer> {
    let text_or = |key: &str, default: &str| get(node, key).and_then(text).unwrap_or(default).to_owned();
    let algorithms = get(node, "algorithms").map(texts);
    Some(DevIssuer {
        issuer: text(get(node, "issuer")?)?.to_owned(),
        audience: texts(get(node, "audience")?).into_iter().next()?,
        algorithms: algorithms.unwrap_or_else(|| ["RS256", "ES256"].map(str::to_owned).to_vec()),
        principal: text_or("principal", "sub"),
        groups: text_or("groups", "groups"),
        jwks: get(node, "jwks").and_then(|jwks| text(get(jwks, "file")?)).map(|file| base.join(file)),
    })
}

fn get<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) | Value::List(_) => None,
    }
}

fn text(node: &Node) -> Option<&str> {
    if let Value::String(text) = &node.value { Some(text) } else { None }
}

fn texts(node: &Node) -> Vec<String> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(text).map(str::to_owned).collect(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) | Value::Map(_) => Vec::new(),
    }
}
