//! How large a frame of each API may be, and how many elements it may hold.
//!
//! A codec that decodes into structs reserves memory for every element that an array announces: about 72 bytes for a
//! topic in Metadata, which takes 3 bytes on the wire. Bounding the frame bounds the first factor, bounding the
//! elements the product: 100,000 elements of the largest struct (about 200 bytes) are 20 MB.

use crate::api::ApiKey;

/// The default of Kafka's `socket.request.max.bytes`: 100 MiB. Only Produce needs that much.
pub const PRODUCE_FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// A Fetch request names up to [`RECORD_ENTRIES_MAX`] partitions of about 36 bytes.
pub const FETCH_REQUEST_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Requests that grow with a group: assignments of all its members, offsets of all its partitions.
pub const GROUP_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The default of Kafka's `sasl.server.max.receive.size`: 512 KiB.
pub const SASL_FRAME_BYTES_MAX: usize = 512 * 1024;

/// Requests of fixed content: a client's name and version, a mechanism. Sent before login by anybody.
pub const HANDSHAKE_FRAME_BYTES_MAX: usize = 16 * 1024;

/// Every other request.
pub const REQUEST_FRAME_BYTES_MAX: usize = 1024 * 1024;

/// A Fetch response: `fetch_bytes_max`, one batch over it, and room. Java's own limit on what a broker sends is the
/// size field.
pub const FETCH_RESPONSE_FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Every other response; Metadata of 200,000 partitions takes about 15 MiB.
pub const RESPONSE_FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Topics and partitions in a Produce or Fetch request, which our own cursors read into about 100 bytes each.
pub const RECORD_ENTRIES_MAX: usize = 200_000;

/// Strings and structs in the arrays of any other request.
pub const REQUEST_ENTRIES_MAX: usize = 100_000;

/// Strings and structs in the arrays of a response. Brokers are known, so this guards against faults rather than
/// attacks.
pub const RESPONSE_ENTRIES_MAX: usize = 2_000_000;

/// Bytes that a request of this API may have, header included.
#[must_use]
pub const fn request_frame_bytes_max(api: ApiKey) -> usize {
    match api {
        ApiKey::Produce => PRODUCE_FRAME_BYTES_MAX,
        ApiKey::Fetch => FETCH_REQUEST_FRAME_BYTES_MAX,
        ApiKey::OffsetCommit | ApiKey::JoinGroup | ApiKey::SyncGroup => GROUP_FRAME_BYTES_MAX,
        ApiKey::SaslAuthenticate => SASL_FRAME_BYTES_MAX,
        ApiKey::SaslHandshake | ApiKey::ApiVersions => HANDSHAKE_FRAME_BYTES_MAX,
        ApiKey::ListOffsets
        | ApiKey::Metadata
        | ApiKey::OffsetFetch
        | ApiKey::FindCoordinator
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::InitProducerId
        | ApiKey::DescribeConfigs => REQUEST_FRAME_BYTES_MAX,
    }
}

/// Bytes that a response of this API may have, header included.
#[must_use]
pub const fn response_frame_bytes_max(api: ApiKey) -> usize {
    match api {
        ApiKey::Fetch => FETCH_RESPONSE_FRAME_BYTES_MAX,
        ApiKey::Produce
        | ApiKey::ListOffsets
        | ApiKey::Metadata
        | ApiKey::OffsetCommit
        | ApiKey::OffsetFetch
        | ApiKey::FindCoordinator
        | ApiKey::JoinGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::SaslHandshake
        | ApiKey::ApiVersions
        | ApiKey::InitProducerId
        | ApiKey::DescribeConfigs
        | ApiKey::SaslAuthenticate => RESPONSE_FRAME_BYTES_MAX,
    }
}

/// Array elements that a request of this API may have, numbers left out.
pub(crate) const fn request_entries_max(api: ApiKey) -> usize {
    match api {
        ApiKey::Produce | ApiKey::Fetch => RECORD_ENTRIES_MAX,
        ApiKey::ListOffsets
        | ApiKey::Metadata
        | ApiKey::OffsetCommit
        | ApiKey::OffsetFetch
        | ApiKey::FindCoordinator
        | ApiKey::JoinGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::SaslHandshake
        | ApiKey::ApiVersions
        | ApiKey::InitProducerId
        | ApiKey::DescribeConfigs
        | ApiKey::SaslAuthenticate => REQUEST_ENTRIES_MAX,
    }
}
