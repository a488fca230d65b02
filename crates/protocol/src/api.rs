//! The APIs that weir serves, and the versions of each that it understands.

use std::ops::RangeInclusive;

use crate::schema;

/// An API that weir serves, or asks itself. Everything else is answered with `unsupported_version_response` or a closed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum ApiKey {
    /// Records from a producer.
    Produce = 0,
    /// Records for a consumer.
    Fetch = 1,
    /// Offsets by timestamp.
    ListOffsets = 2,
    /// Brokers, topics and partition leaders.
    Metadata = 3,
    /// A group's committed offsets, written.
    OffsetCommit = 8,
    /// A group's committed offsets, read.
    OffsetFetch = 9,
    /// The broker that coordinates a group or a transactional id.
    FindCoordinator = 10,
    /// A member enters a group.
    JoinGroup = 11,
    /// A member stays in a group.
    Heartbeat = 12,
    /// Members leave a group.
    LeaveGroup = 13,
    /// The assignment of a group.
    SyncGroup = 14,
    /// The choice of a SASL mechanism.
    SaslHandshake = 17,
    /// The APIs and versions that a broker serves.
    ApiVersions = 18,
    /// A producer id, for idempotence and transactions.
    InitProducerId = 22,
    /// The configuration of topics. Only weir itself asks: no client is served it.
    DescribeConfigs = 32,
    /// One SASL token.
    SaslAuthenticate = 36,
}

/// The lowest Produce version that is *advertised*, though requests below 3 are refused.
///
/// Old librdkafka switches compression off when 0 is missing from the range; Kafka's own brokers advertise 0 for the
/// same reason (KAFKA-18659).
pub const PRODUCE_ADVERTISED_MIN: i16 = 0;

impl ApiKey {
    /// All that clients are served, by key.
    pub const ALL: &'static [Self] = &[
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::OffsetCommit,
        Self::OffsetFetch,
        Self::FindCoordinator,
        Self::JoinGroup,
        Self::Heartbeat,
        Self::LeaveGroup,
        Self::SyncGroup,
        Self::SaslHandshake,
        Self::ApiVersions,
        Self::InitProducerId,
        Self::SaslAuthenticate,
    ];

    /// The API with this number on the wire, when weir serves it.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.iter().copied().find(|api| api.code() == code)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name, such as `Produce`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "Produce",
            Self::Fetch => "Fetch",
            Self::ListOffsets => "ListOffsets",
            Self::Metadata => "Metadata",
            Self::OffsetCommit => "OffsetCommit",
            Self::OffsetFetch => "OffsetFetch",
            Self::FindCoordinator => "FindCoordinator",
            Self::JoinGroup => "JoinGroup",
            Self::Heartbeat => "Heartbeat",
            Self::LeaveGroup => "LeaveGroup",
            Self::SyncGroup => "SyncGroup",
            Self::SaslHandshake => "SaslHandshake",
            Self::ApiVersions => "ApiVersions",
            Self::InitProducerId => "InitProducerId",
            Self::DescribeConfigs => "DescribeConfigs",
            Self::SaslAuthenticate => "SaslAuthenticate",
        }
    }

    /// The versions that weir decodes: an allow-list, to be intersected with the broker's.
    ///
    /// A version is here when both the schema table and the codec of the other rooms (kafka-protocol 0.18) handle it in
    /// both directions; a test holds every pair to that. SaslHandshake 0 is left out because raw tokens without a Kafka
    /// header follow it.
    #[must_use]
    pub const fn versions(self) -> RangeInclusive<i16> {
        match self {
            Self::Produce => 3..=13,
            Self::Fetch => 4..=18,
            Self::ListOffsets => 1..=10,
            Self::Metadata => 0..=13,
            Self::OffsetCommit => 2..=9,
            Self::OffsetFetch => 1..=9,
            Self::FindCoordinator => 0..=6,
            Self::JoinGroup => 0..=9,
            Self::Heartbeat => 0..=4,
            Self::LeaveGroup => 0..=5,
            Self::SyncGroup => 0..=5,
            Self::SaslHandshake => 1..=1,
            Self::ApiVersions => 0..=4,
            Self::InitProducerId => 0..=5,
            Self::DescribeConfigs => 1..=4,
            Self::SaslAuthenticate => 0..=2,
        }
    }

    /// Whether messages of this version have compact lengths and tagged fields (KIP-482).
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        schema::api(self.code()).is_some_and(|api| api.request.flexible.contain(version))
    }

    /// 2 where the request header has tagged fields, else 1.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// 1 where the response header has tagged fields, else 0.
    ///
    /// Always 0 for ApiVersions: a client reads that answer before it knows which versions the broker speaks (KIP-511).
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        match self {
            Self::ApiVersions => 0,
            Self::Produce
            | Self::Fetch
            | Self::ListOffsets
            | Self::Metadata
            | Self::OffsetCommit
            | Self::OffsetFetch
            | Self::FindCoordinator
            | Self::JoinGroup
            | Self::Heartbeat
            | Self::LeaveGroup
            | Self::SyncGroup
            | Self::SaslHandshake
            | Self::InitProducerId
            | Self::DescribeConfigs
            | Self::SaslAuthenticate => i16::from(self.is_flexible(version)),
        }
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_are_in_the_table() {
        for &api in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(api.code()), Some(api));
            let table = schema::api(api.code()).expect("a served API has a schema");
            assert_eq!(table.request.name, format!("{api}Request"));
            assert_eq!(table.response.name, format!("{api}Response"));
            for version in api.versions() {
                assert!(table.request.versions.contain(version) && table.response.versions.contain(version));
                assert_eq!(table.request.flexible.contain(version), table.response.flexible.contain(version));
            }
        }
        assert_eq!(ApiKey::from_code(58), None, "Envelope is not served");
        assert_eq!(ApiKey::from_code(ApiKey::DescribeConfigs.code()), None, "weir alone asks it");
        assert_eq!(ApiKey::from_code(-1), None);
    }

    #[test]
    fn header_versions_follow_flexibility_with_its_exceptions() {
        let check = |api: ApiKey, version, request, response| {
            assert_eq!(api.request_header_version(version), request, "{api} {version}");
            assert_eq!(api.response_header_version(version), response, "{api} {version}");
        };
        check(ApiKey::Produce, 8, 1, 0);
        check(ApiKey::Produce, 9, 2, 1);
        check(ApiKey::ApiVersions, 2, 1, 0);
        check(ApiKey::ApiVersions, 3, 2, 0);
        check(ApiKey::SaslHandshake, 1, 1, 0);
        check(ApiKey::SaslAuthenticate, 2, 2, 1);
    }
}
