//! JSON with exactly one reading: an object that names a key twice, at any depth, is refused. Other parsers take the first or the last
//! of two, and a token that two parsers read differently is a way past one of them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads one JSON object and nothing behind it.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, StrictError> {
    match serde_json::from_slice::<Strict>(text) {
        Ok(Strict(Value::Object(members))) => Ok(members),
        Ok(_) => Err(StrictError::NotAnObject),
        // `Strict` raises one error of its own; everything else is the parser's.
        Err(error) if error.is_data() => Err(StrictError::DuplicateKey),
        Err(_) => Err(StrictError::NotJson),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StrictError {
    NotJson,
    NotAnObject,
    DuplicateKey,
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if map.insert(key, value).is_some() {
                return Err(de::Error::custom("duplicate key"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::{StrictError, object};

    fn check(text: &str, expected: Result<(), StrictError>) {
        assert_eq!(object(text.as_bytes()).map(|_| ()), expected, "{text}");
    }

    #[test]
    fn reads_what_serde_json_reads_unless_a_key_repeats() {
        check(r#"{"a":1,"b":[{"c":-2.5},null,true,"x"]}"#, Ok(()));
        check(r#" { } "#, Ok(()));
        check(r#"{"a":1,"a":1}"#, Err(StrictError::DuplicateKey));
        check(r#"{"a":1,"\u0061":2}"#, Err(StrictError::DuplicateKey));
        check(r#"{"a":[{"b":1,"b":2}]}"#, Err(StrictError::DuplicateKey));
        check("[]", Err(StrictError::NotAnObject));
        check("{}{}", Err(StrictError::NotJson));
        check("", Err(StrictError::NotJson));
        check(r#"{"a":1e999}"#, Err(StrictError::NotJson));
    }

    #[test]
    fn refuses_depth_instead_of_overflowing_the_stack() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        check(&deep, Err(StrictError::NotJson));
    }
}
