//! Makes the [`Context`] of the sessions from a configuration.

use std::sync::Arc;

use weir_authn::IdentityError;
use weir_policy::PolicySet;
use weir_session::{AuditRules, Context, DigestKey, TopicAudit, TopicAuditChange};

use crate::config::{Config, Digest, Durability};

/// The context that `config` asks for; the cluster view comes later.
///
/// # Errors
///
/// Issuers that contradict each other.
pub(crate) fn context(config: &Config, policy: PolicySet, digest_key: [u8; 32]) -> Result<Context, IdentityError> {
    let limits = &config.limits;
    Ok(Context {
        policy: Arc::new(policy),
        identity: Arc::new(config.identity.build()?),
        view: None,
        upstream: config.upstream.auth.as_ref().map(|auth| Arc::new(auth.login())),
        limits: weir_session::Limits {
            frame_bytes_max_before_login: limits.frame_bytes_max.before_login,
            frame_bytes_max: limits.frame_bytes_max.after,
            inflight_requests_max: limits.inflight_requests_max,
            fetch_bytes_max: i32::try_from(limits.fetch_bytes_max).unwrap_or(i32::MAX),
            session_bytes_max: limits.fetch_bytes_max.saturating_mul(2).max(SESSION_BYTES_MIN),
            message_bytes_max: config.upstream.message_bytes_max,
            records: weir_protocol::records::Limits {
                batch_bytes_max: limits.batch_bytes_max,
                inflate_ratio_max: limits.inflate_ratio_max,
                records_max: limits.records_per_batch_max,
                headers_max: limits.headers_per_record_max,
                key_bytes_max: limits.key_bytes_max,
                value_bytes_max: limits.value_bytes_max,
                header_name_bytes_max: limits.header_name_bytes_max,
                // Each topic has its own.
                grown_bytes_max: usize::MAX,
            },
            login_timeout: limits.login_timeout,
            body_timeout: limits.body_timeout,
            idle_timeout: limits.idle_timeout,
            connect_timeout: config.upstream.connect_timeout,
        },
        audit: AuditRules {
            default: TopicAudit {
                durability: durability(config.audit.durability),
                digest: digest(config.audit.digest),
            },
            topics: config
                .audit
                .topics
                .iter()
                .map(|topic| {
                    let change = TopicAuditChange {
                        durability: topic.durability.map(durability),
                        digest: topic.digest.map(digest),
                    };
                    (topic.matches.clone(), change)
                })
                .collect(),
            digest_key: DigestKey(digest_key),
            hold_max: config.audit.hold_max,
        },
        recording: true,
        #[cfg(feature = "sabotage")]
        sabotage: sabotage(),
    })
}

/// What a session may hold at least before it stops reading, bytes; a frame that is larger may arrive all the same, alone.
const SESSION_BYTES_MIN: usize = 8 << 20;

/// The negative control that the environment asks for.
#[cfg(feature = "sabotage")]
fn sabotage() -> Option<weir_session::Sabotage> {
    std::env::var("WEIR_SABOTAGE").ok().and_then(|name| weir_session::Sabotage::named(&name))
}

fn durability(configured: Durability) -> weir_session::Durability {
    match configured {
        Durability::Async => weir_session::Durability::Async,
        Durability::Outcome => weir_session::Durability::Outcome,
        Durability::Strict => weir_session::Durability::Strict,
    }
}

fn digest(configured: Digest) -> bool {
    match configured {
        Digest::None => false,
        Digest::Batch => true,
    }
}
