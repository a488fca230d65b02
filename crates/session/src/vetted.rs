//! Bytes in which nothing is left to inspect.
//!
//! Records move in two frames only: a Produce request and a Fetch response. Those become [`Vetted`] through
//! [`crate::job`] alone, after every record in them was walked; every other frame says here what it is.

use weir_protocol::{ApiKey, Segments};

/// A frame (without size prefix) that carries no record, or only records that were inspected.
pub(crate) struct Vetted(Segments);

impl Vetted {
    /// What a job assembled from inspected parts.
    pub(crate) fn inspected(frame: Segments) -> Self {
        Self(frame)
    }

    /// A request to the broker of an API whose requests carry no records; `None` for Produce.
    pub(crate) fn request(api: ApiKey, frame: Segments) -> Option<Self> {
        match api {
            ApiKey::Produce => None,
            ApiKey::Fetch
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
            | ApiKey::SaslAuthenticate => Some(Self(frame)),
        }
    }

    /// The broker's answer of an API whose responses carry no records; `None` for Fetch.
    pub(crate) fn response(api: ApiKey, frame: Segments) -> Option<Self> {
        match api {
            ApiKey::Fetch => None,
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
            | ApiKey::SaslAuthenticate => Some(Self(frame)),
        }
    }

    /// An answer that weir made itself, of bytes that never were a broker's.
    pub(crate) fn local(frame: Segments) -> Self {
        Self(frame)
    }

    pub(crate) fn into_frame(self) -> Segments {
        self.0
    }
}
