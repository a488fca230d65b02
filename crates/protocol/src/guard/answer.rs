//! The one answer that weir gives for any API of the table: the version is not served.

use bytes::{BufMut as _, BytesMut};

use crate::api::ApiKey;
use crate::schema::{self, Default, Field, Kind};
use crate::splice::put_unsigned_varint;

/// Kafka's `UNSUPPORTED_VERSION`.
const UNSUPPORTED_VERSION: i16 = 35;

/// The name of the field that carries a whole message's error.
const ERROR_CODE: &str = "ErrorCode";

/// A response that says `UNSUPPORTED_VERSION` (35) in the API's own schema, everything else at its default. Without the
/// size in front.
///
/// For any API that Kafka 4.4.0 has, also those that weir does not serve. ApiVersions is special at every version,
/// known or not: the answer has the body of version 0 and names the versions of ApiVersions alone, from which the
/// client picks another (KIP-511).
///
/// `None` when the table lacks the pair, or when the response has no error code of its own at that version: then the
/// connection has to be closed.
#[must_use]
pub fn unsupported_version_response(api_key: i16, version: i16, correlation_id: i32) -> Option<BytesMut> {
    let mut frame = BytesMut::new();
    frame.put_i32(correlation_id);
    if api_key == ApiKey::ApiVersions.code() {
        let versions = ApiKey::ApiVersions.versions();
        frame.put_i16(UNSUPPORTED_VERSION);
        frame.put_i32(1);
        frame.put_i16(api_key);
        frame.put_i16(*versions.start());
        frame.put_i16(*versions.end());
        return Some(frame);
    }
    let response = &schema::api(api_key)?.response;
    if !response.versions.contain(version) {
        return None;
    }
    let is_error = |field: &Field| {
        field.name == ERROR_CODE
            && matches!(field.kind, Kind::Int16)
            && field.tag.is_none()
            && field.versions.contain(version)
    };
    let error = response.fields.iter().find(|field| is_error(field))?;
    let flexible = response.flexible.contain(version);
    if flexible {
        put_unsigned_varint(0, &mut frame);
    }
    put_fields(response.fields, version, flexible, Some(error.id), &mut frame);
    Some(frame)
}

fn put_fields(fields: &[Field], version: i16, flexible: bool, error: Option<u16>, to: &mut BytesMut) {
    for field in fields.iter().filter(|field| field.tag.is_none() && field.versions.contain(version)) {
        if error == Some(field.id) {
            to.put_i16(UNSUPPORTED_VERSION);
        } else {
            put_default(field, version, flexible, to);
        }
    }
    if flexible {
        // A tagged field at its default is left out.
        put_unsigned_varint(0, to);
    }
}

fn put_default(field: &Field, version: i16, flexible: bool, to: &mut BytesMut) {
    let number = match field.default {
        Default::Number(number) => number,
        Default::Zero | Default::Null => 0,
    };
    let is_null = field.default == Default::Null && field.nullable.contain(version);
    match field.kind {
        Kind::Bool | Kind::Int8 => put_low_bytes(number, 1, to),
        Kind::Int16 | Kind::Uint16 => put_low_bytes(number, 2, to),
        Kind::Int32 => put_low_bytes(number, 4, to),
        Kind::Int64 | Kind::Float64 => put_low_bytes(number, 8, to),
        Kind::Uuid => to.put_bytes(0, 16),
        Kind::String | Kind::Bytes | Kind::Records | Kind::Array(_) if flexible => {
            put_unsigned_varint(u32::from(!is_null), to);
        }
        Kind::String => to.put_i16(if is_null { -1 } else { 0 }),
        Kind::Bytes | Kind::Records | Kind::Array(_) => to.put_i32(if is_null { -1 } else { 0 }),
        Kind::Struct(_) if is_null => to.put_i8(-1),
        Kind::Struct(fields) => {
            if field.nullable.contain(version) {
                to.put_i8(1);
            }
            put_fields(fields, version, flexible, None, to);
        }
    }
}

/// The lowest `bytes` bytes of `number`, big-endian. A floating-point default is 0 in every schema, whose bits are
/// those of the integer.
fn put_low_bytes(number: i64, bytes: usize, to: &mut BytesMut) {
    let all = number.to_be_bytes();
    to.put_slice(all.get(all.len().saturating_sub(bytes)..).unwrap_or_default());
}
