//! What is read out of a token's claims: paths, dates, audiences, names.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::AuthnError;
use crate::principal::{ANONYMOUS, GROUP_BYTES_MAX, GROUPS_MAX, PRINCIPAL_BYTES_MAX};

/// A path into the claims: names with dots between them, as `realm_access.roles`. A dot inside a name is written `\.`, a backslash `\\`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    text: String,
    names: Vec<String>,
}

impl ClaimPath {
    /// Reads a path; `None` when a name is empty or an escape is neither `\.` nor `\\`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut names = Vec::new();
        let mut name = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '.' => names.push(std::mem::take(&mut name)),
                '\\' => match letters.next() {
                    Some(escaped @ ('.' | '\\')) => name.push(escaped),
                    Some(_) | None => return None,
                },
                _ => name.push(letter),
            }
        }
        names.push(name);
        names.iter().all(|name| !name.is_empty()).then(|| Self { text: text.to_owned(), names })
    }

    /// The path as it was configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names along the path, without escapes; at least one.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.names.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }
}

/// The token's principal.
pub(crate) fn principal(claims: &Map<String, Value>, path: &ClaimPath) -> Result<String, AuthnError> {
    match path.find(claims) {
        Some(Value::String(name)) if name == ANONYMOUS => Err(AuthnError::PrincipalReserved),
        Some(Value::String(name)) if is_name(name, PRINCIPAL_BYTES_MAX) => Ok(name.clone()),
        Some(_) => Err(AuthnError::PrincipalInvalid { path: path.text.clone() }),
        None if path.text == "sub" => Err(AuthnError::MissingClaim("sub")),
        None => Err(AuthnError::PrincipalInvalid { path: path.text.clone() }),
    }
}

/// The token's groups: an array of names, or one string that is one group and is never split. Absent means none; anything else is refused,
/// because a rule that names a group must not depend on a guess.
pub(crate) fn groups(claims: &Map<String, Value>, path: &ClaimPath) -> Result<Vec<String>, AuthnError> {
    let invalid = || AuthnError::GroupsInvalid { path: path.text.clone() };
    let group = |value: &Value| match value {
        Value::String(name) if is_name(name, GROUP_BYTES_MAX) => Ok(name.clone()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(invalid())
        }
    };
    match path.find(claims) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= GROUPS_MAX => items.iter().map(group).collect(),
        Some(Value::Array(_)) => Err(invalid()),
        Some(value) => Ok(vec![group(value)?]),
    }
}

/// `exp` or `nbf` as a time since the epoch; fractions are allowed (RFC 7519 section 2, "NumericDate").
pub(crate) fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Duration>, AuthnError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let invalid = AuthnError::InvalidClaim(name);
    let Value::Number(number) = value else { return Err(invalid) };
    if let Some(seconds) = number.as_u64() {
        return Ok(Some(Duration::from_secs(seconds)));
    }
    let seconds = number.as_f64().ok_or_else(|| invalid.clone())?;
    Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| invalid)
}

/// Checks that `aud`, one name or an array of names, has at least one of `accepted` (RFC 7519 section 4.1.3).
pub(crate) fn check_audience(claims: &Map<String, Value>, accepted: &[String]) -> Result<(), AuthnError> {
    let names: Vec<&str> = match claims.get("aud") {
        None => return Err(AuthnError::MissingClaim("aud")),
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().ok_or(AuthnError::InvalidClaim("aud"))).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(AuthnError::InvalidClaim("aud")),
    };
    let ours = |name: &&str| accepted.iter().any(|audience| audience == name);
    if names.iter().any(ours) { Ok(()) } else { Err(AuthnError::WrongAudience) }
}

/// Names end up in log lines, entries and tables, where nothing may hide: no control characters, no line breaks of Unicode, nothing that
/// is invisible or turns the direction of writing.
fn is_name(text: &str, bytes_max: usize) -> bool {
    let hides = |letter: char| {
        letter.is_control()
            || matches!(letter,
                '\u{00AD}' | '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
    };
    !text.is_empty() && text.len() <= bytes_max && !text.chars().any(hides)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ClaimPath, groups, is_name};

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn check(path: &str, expected: Option<&[&str]>) {
        let parsed = ClaimPath::parse(path).map(|path| path.names);
        assert_eq!(parsed, expected.map(owned), "{path}");
    }

    fn check_groups(path: &str, claims: Value, expected: Option<&[&str]>) {
        let found = groups(claims.as_object().unwrap(), &ClaimPath::parse(path).unwrap()).ok();
        assert_eq!(found, expected.map(owned), "{path}");
    }

    #[test]
    fn reads_dotted_paths_and_escaped_dots() {
        check("sub", Some(&["sub"]));
        check("realm_access.roles", Some(&["realm_access", "roles"]));
        check(r"https://example\.com/groups", Some(&["https://example.com/groups"]));
        check(r"a\\b.c", Some(&[r"a\b", "c"]));
        for path in ["", ".", "a.", ".a", "a..b", r"a\", r"a\x"] {
            check(path, None);
        }
    }

    #[test]
    fn takes_an_array_or_one_group_and_splits_nothing() {
        check_groups("groups", json!({"groups": ["a", "b c"]}), Some(&["a", "b c"]));
        check_groups("groups", json!({"groups": "a,b c"}), Some(&["a,b c"]));
        check_groups("groups", json!({"groups": []}), Some(&[]));
        check_groups("groups", json!({}), Some(&[]));
        check_groups("realm_access.roles", json!({"realm_access": {"roles": ["x"]}}), Some(&["x"]));
        check_groups("realm_access.roles", json!({"realm_access": ["roles"]}), Some(&[]));
    }

    #[test]
    fn refuses_groups_it_would_have_to_guess() {
        for groups in [json!(null), json!(7), json!({"a": 1}), json!(["a", 1]), json!([["a"]]), json!([""]), json!("")]
        {
            check_groups("groups", json!({ "groups": groups }), None);
        }
        check_groups("groups", json!({"groups": vec!["g"; 1000]}), Some(&vec!["g"; 1000]));
        check_groups("groups", json!({"groups": vec!["g"; 1001]}), None);
    }

    #[test]
    fn names_have_no_hidden_letters() {
        for name in ["a", "service-account-orders", "Ünïcode", "CN=Kafka, OU=Data", "日本"] {
            assert!(is_name(name, 255), "{name}");
        }
        for name in ["", "a\nb", "a\0", "a\u{7f}", "a\u{85}b", "a\u{202e}b", "\u{feff}a", "a\u{200b}"] {
            assert!(!is_name(name, 255), "{name:?}");
        }
        assert!(is_name(&"a".repeat(255), 255));
        assert!(!is_name(&"a".repeat(256), 255));
    }
}
