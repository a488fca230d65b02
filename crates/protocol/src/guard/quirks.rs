//! What widespread clients send against the schema, each known to the byte. Everything else behind a message is refused.

use std::ops::Range;

use crate::api::ApiKey;

/// librdkafka 2 asks for all topics with three bytes behind the message: it reserves four bytes for the count of an array and
/// forgets to shrink them to one where the array is null (`rd_kafka_MetadataRequest0`, versions 9 to 13). Every `kcat -L`,
/// list of topics and subscription by pattern does so, and a broker ignores what is left.
///
/// Gives the bytes behind the message, which the guard cuts out; an empty range at the end of the frame otherwise.
pub(super) fn stray_tail(api: ApiKey, version: i16, frame: &[u8], body: usize) -> Range<usize> {
    let end = frame.len();
    let message = match version {
        9..=10 => NULL_REQUEST_V9_BYTES,
        11.. => NULL_REQUEST_V11_BYTES,
        _ => return end..end,
    };
    let bytes = frame.get(body..).unwrap_or_default();
    let is_quirk = api == ApiKey::Metadata
        && bytes.len() == message + STRAY_BYTES
        && bytes.starts_with(&UNSHRUNK_COUNT)
        && bytes.ends_with(&[0])
        && bytes.iter().all(|byte| *byte <= 1);
    if is_quirk { body + message..end } else { end..end }
}

/// A null array, three flags and no tagged fields.
const NULL_REQUEST_V9_BYTES: usize = 5;
/// A null array, two flags (KIP-700 took the third) and no tagged fields.
const NULL_REQUEST_V11_BYTES: usize = 4;
const UNSHRUNK_COUNT: [u8; 4] = [0; 4];
const STRAY_BYTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::stray_tail;
    use crate::api::ApiKey;
    use crate::{Fault, GuardError, check_request};

    /// A Metadata request with that body.
    fn frame(version: u8, body: &[u8]) -> Vec<u8> {
        [&[0, 3, 0, version, 0, 0, 0, 7, 0, 1, b'c', 0], body].concat()
    }

    #[test]
    fn cuts_the_three_bytes_that_librdkafka_leaves_behind() {
        for (version, body, message) in [
            (9, &[0, 0, 0, 0, 0, 0, 0, 0][..], 5),
            (10, &[0, 0, 0, 0, 0, 1, 1, 0], 5),
            (11, &[0, 0, 0, 0, 1, 0, 0], 4),
            (12, &[0, 0, 0, 0, 0, 0, 0], 4),
            (13, &[0, 0, 0, 0, 0, 1, 0], 4),
        ] {
            let frame = frame(version, body);
            let request = check_request(&frame).unwrap();
            let cleaned = request.cleaning.apply(frame.clone().into()).to_bytes();
            assert_eq!(cleaned, frame[..frame.len() - 3], "version {version}");
            assert_eq!(cleaned.len() - request.body, message, "version {version}");
            assert!(check_request(&cleaned).unwrap().cleaning.is_empty(), "version {version}");
        }
    }

    #[test]
    fn refuses_every_other_tail() {
        for (version, body) in [
            (12, &[0, 0, 0, 0, 0][..]),
            (12, &[0, 0, 0, 0, 0, 0]),
            (12, &[0, 0, 0, 0, 0, 0, 0, 0]),
            (12, &[0, 0, 0, 0, 2, 0, 0]),
            (12, &[0, 0, 0, 0, 0, 0, 1]),
            (12, &[0, 1, 0, 0, 0, 0, 0]),
            (12, &[1, 0, 0, 0, 0, 0, 0]),
            (10, &[0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let refused = check_request(&frame(version, body));
            let is_tail = matches!(refused, Err(GuardError::Malformed { fault: Fault::TrailingBytes, .. }));
            assert!(is_tail, "version {version}: {body:?}");
        }
        let fetch = [0; 30];
        assert!(stray_tail(ApiKey::Fetch, 12, &fetch, 23).is_empty(), "another API");
        assert!(stray_tail(ApiKey::Metadata, 8, &fetch, 23).is_empty(), "an older version");
    }
}
