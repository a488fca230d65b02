//! The frame guard: every frame of a client or a broker passes it before anything else looks inside.
//!
//! It refuses what has no reading or more than one under Kafka's schema, and what announces more than it holds. A codec
//! behind it can reserve memory for announced counts, and cursors can trust their spans. What peers may add without
//! breaking the protocol, unknown tagged fields, is not refused but cut out: [`Request::cleaning`] and
//! [`Response::cleaning`].
//!
//! ```
//! use weir_protocol::{check_request, ApiKey};
//!
//! // ApiVersions 0, correlation id 7, no client id.
//! let frame = [0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
//! let request = check_request(&frame)?;
//! assert_eq!((request.api, request.version, request.correlation_id), (ApiKey::ApiVersions, 0, 7));
//! assert!(check_request(&frame[..9]).is_err());
//! # Ok::<(), weir_protocol::GuardError>(())
//! ```

mod answer;
mod check;
mod duplicates;
mod fault;
pub mod limits;
mod quirks;
mod reader;
#[cfg(test)]
mod tests;
pub(crate) mod walk;

use std::ops::Range;

pub use self::answer::unsupported_version_response;
pub use self::fault::{Fault, FieldPath, GuardError};

use self::check::Check;
pub(crate) use self::reader::Content;
use self::walk::Walk;
use crate::api::ApiKey;
use crate::schema::{self, Api};
use crate::splice::Splices;

/// Bytes of key, version and correlation id.
const PREFIX_BYTES: usize = 8;

/// Bytes of the correlation id, all that every response header has.
const CORRELATION_ID_BYTES: usize = 4;

/// What every request starts with, whatever its key and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPrefix {
    /// Kafka's API key, served or not.
    pub api_key: i16,
    /// The version, served or not.
    pub api_version: i16,
    /// What the answer has to carry.
    pub correlation_id: i32,
}

/// A request that passed the guard. All spans are into the frame that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The API.
    pub api: ApiKey,
    /// Its version, one that weir serves.
    pub version: i16,
    /// What the answer has to carry.
    pub correlation_id: i32,
    /// The bytes of the client id, UTF-8; `None` is null.
    pub client_id: Option<Range<usize>>,
    /// The same with the `int16` length in front.
    pub client_id_field: Range<usize>,
    /// Where the body starts.
    pub body: usize,
    /// Takes the tagged fields out that the schema does not know, of header and body. Mostly empty.
    pub cleaning: Splices,
}

/// A response that passed the guard. All spans are into the frame that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Where the body starts.
    pub body: usize,
    /// Takes the tagged fields out that the schema does not know, of header and body. Mostly empty.
    pub cleaning: Splices,
}

/// Reads key, version and correlation id, and looks at nothing else.
///
/// # Errors
///
/// [`GuardError::TooShort`] when the frame has fewer than eight bytes.
pub fn peek_request(frame: &[u8]) -> Result<RequestPrefix, GuardError> {
    let prefix = frame.first_chunk::<PREFIX_BYTES>().ok_or(GuardError::TooShort { bytes: frame.len() })?;
    let [key_high, key_low, version_high, version_low, id @ ..] = *prefix;
    Ok(RequestPrefix {
        api_key: i16::from_be_bytes([key_high, key_low]),
        api_version: i16::from_be_bytes([version_high, version_low]),
        correlation_id: i32::from_be_bytes(id),
    })
}

/// Checks a client's frame from its first byte to its last.
///
/// # Errors
///
/// [`GuardError`]; an API or version that is not served is told from the header alone, before the body is looked at.
pub fn check_request(frame: &[u8]) -> Result<Request, GuardError> {
    let prefix = peek_request(frame)?;
    let api = ApiKey::from_code(prefix.api_key).ok_or(GuardError::UnknownApi { api_key: prefix.api_key })?;
    let version = prefix.api_version;
    let schemas = schemas(api, version)?;
    check_size(api, frame, limits::request_frame_bytes_max(api))?;

    let flexible = schemas.request.flexible.contain(version);
    let mut check = Check::new(frame, limits::request_entries_max(api), duplicates::watch(api));
    let mut walk = Walk::new(frame, PREFIX_BYTES, version, flexible, &mut check);
    let (client_id_field, client_id) = walk.client_id().map_err(|failure| failure.of("RequestHeader"))?;
    walk.header_tags().map_err(|failure| failure.of("RequestHeader"))?;
    let body = walk.at();
    let stray = quirks::stray_tail(api, version, frame, body);
    let mut walk = Walk::new(frame.get(..stray.start).unwrap_or(frame), body, version, flexible, &mut check);
    walk.body(schemas.request.fields).map_err(|failure| failure.of(schemas.request.name))?;
    check.cut_tail(stray);
    Ok(Request {
        api,
        version,
        correlation_id: prefix.correlation_id,
        client_id,
        client_id_field,
        body,
        cleaning: check.into_cleaning(),
    })
}

/// Checks a broker's frame, the answer to a request of this API and version, from its first byte to its last.
///
/// # Errors
///
/// [`GuardError`]; also when it answers another request.
pub fn check_response(api: ApiKey, version: i16, correlation_id: i32, frame: &[u8]) -> Result<Response, GuardError> {
    let schemas = schemas(api, version)?;
    let found = frame.first_chunk::<CORRELATION_ID_BYTES>().ok_or(GuardError::TooShort { bytes: frame.len() })?;
    let found = i32::from_be_bytes(*found);
    if found != correlation_id {
        return Err(GuardError::CorrelationId { expected: correlation_id, found });
    }
    check_size(api, frame, limits::response_frame_bytes_max(api))?;

    let flexible = schemas.response.flexible.contain(version);
    let mut check = Check::new(frame, limits::RESPONSE_ENTRIES_MAX, None);
    let mut walk = Walk::new(frame, CORRELATION_ID_BYTES, version, flexible, &mut check);
    if api.response_header_version(version) > 0 {
        walk.header_tags().map_err(|failure| failure.of("ResponseHeader"))?;
    }
    let body = walk.at();
    walk.body(schemas.response.fields).map_err(|failure| failure.of(schemas.response.name))?;
    Ok(Response { body, cleaning: check.into_cleaning() })
}

/// The schemas of a pair that weir serves.
fn schemas(api: ApiKey, version: i16) -> Result<&'static Api, GuardError> {
    schema::api(api.code())
        .filter(|schemas| {
            api.versions().contains(&version)
                && schemas.request.versions.contain(version)
                && schemas.response.versions.contain(version)
        })
        .ok_or(GuardError::UnsupportedVersion { api, version })
}

fn check_size(api: ApiKey, frame: &[u8], max: usize) -> Result<(), GuardError> {
    if frame.len() > max { Err(GuardError::FrameTooLarge { api, bytes: frame.len(), max }) } else { Ok(()) }
}
