//! ApiVersions (18), versions 0-4. KIP-35, KIP-511, KIP-584.
//!
//! weir answers it itself, before and after login: its own table cut to what the brokers support. Features are not shown, since
//! the APIs that they switch on (transactions, KIP-848 groups, share groups) are not served yet.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use weir_protocol::{ApiKey, PRODUCE_ADVERTISED_MIN, RequestPrefix, Segments};

use super::{Action, Incoming, encode_response};
use crate::context::{ClusterView, Door};
use crate::refusal::Code;

/// Answers a request of a version that weir serves.
pub(crate) fn request(view: &ClusterView, door: &Door, incoming: &Incoming) -> Action {
    if incoming.request.version >= 3 {
        match incoming.decode::<ApiVersionsRequest>() {
            Ok(asked)
                if is_software_text(&asked.client_software_name)
                    && is_software_text(&asked.client_software_version) => {}
            Ok(_) => {
                return incoming.answer(&ApiVersionsResponse::default().with_error_code(Code::InvalidRequest.code()));
            }
            Err(reason) => return Action::Close(reason),
        }
    }
    incoming
        .answer(&ApiVersionsResponse::default().with_api_keys(table(view, door.node)).with_finalized_features_epoch(-1))
}

/// The answer to a version that weir does not know: version 0, error 35, and only this API (T1).
pub(crate) fn unknown_version(prefix: &RequestPrefix) -> Option<Segments> {
    let own = ApiKey::ApiVersions.versions();
    let keys = vec![entry(ApiKey::ApiVersions, *own.start(), *own.end())];
    let body = ApiVersionsResponse::default().with_error_code(Code::UnsupportedVersion.code()).with_api_keys(keys);
    encode_response(ApiKey::ApiVersions, 0, prefix.correlation_id, &body)
}

fn table(view: &ClusterView, node: Option<i32>) -> Vec<ApiVersion> {
    ApiKey::ALL
        .iter()
        .filter_map(|api| {
            let (min, max) = match api {
                // These three are answered by weir itself, whatever the brokers know of them.
                ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => {
                    (*api.versions().start(), *api.versions().end())
                }
                // Old librdkafka switches compression off unless the range starts at 0 (KAFKA-18659).
                ApiKey::Produce => (PRODUCE_ADVERTISED_MIN, view.versions(node, *api)?.1),
                ApiKey::DescribeConfigs => return None,
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
                | ApiKey::InitProducerId => view.versions(node, *api)?,
            };
            Some(entry(*api, min, max))
        })
        .collect()
}

fn entry(api: ApiKey, min: i16, max: i16) -> ApiVersion {
    ApiVersion::default().with_api_key(api.code()).with_min_version(min).with_max_version(max)
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (KIP-511).
fn is_software_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric_at = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    alphanumeric_at(bytes.first())
        && alphanumeric_at(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kip_511() {
        let check = |text: &str, expected: bool| assert_eq!(is_software_text(text), expected, "{text}");
        check("librdkafka", true);
        check("apache-kafka-java", true);
        check("4.4.0", true);
        check("a", true);
        check("", false);
        check("-a", false);
        check("a-", false);
        check("a b", false);
        check("a\n", false);
    }
}
