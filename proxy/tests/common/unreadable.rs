//! Payloads that a rule has to open and cannot.

use crate::librdkafka::Record;

/// What is wrong with it, and the payload.
pub(crate) fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("no JSON", b"card 4111111111111111".to_vec()),
        ("truncated JSON", br#"{"card":{"number":"4111111111111111""#.to_vec()),
        ("one level too deep", nested(DEPTH_MAX + 1).into_bytes()),
        ("bad UTF-8", b"{\"card\":{\"number\":\"4111\xff1111\"}}".to_vec()),
        ("empty", Vec::new()),
        ("two documents", br#"{"a":1}{"card":{"number":"4111111111111111"}}"#.to_vec()),
        ("unclosed escape", br#"{"card":{"number":"4111111111111111\"}}"#.to_vec()),
    ]
}

/// That many arrays, one in the other.
pub(crate) fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

/// One batch: a good record in front of, between and behind all that cannot be read.
pub(crate) fn mixed() -> Vec<Record> {
    let bad = unreadable().into_iter().map(|(_, payload)| Record::value(payload));
    bad.flat_map(|bad| [good(), bad]).chain([good()]).collect()
}

pub(crate) fn good() -> Record {
    Record::value(GOOD)
}

pub(crate) const GOOD: &str = r#"{"card":{"number":"4222222222222222"}}"#;
/// `limits.json_depth_max`.
pub(crate) const DEPTH_MAX: usize = 64;
