//! Kafka's error codes that weir answers with, and why each.
//!
//! What clients do with a code decides which one is used (`Errors.java`): a retriable one where a retry can help, never one
//! that Java's consumer does not expect on Fetch.

/// An error code of the Kafka protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// MESSAGE_TOO_LARGE: a batch that grew; Java splits it and sends its records again, without spending an attempt.
    MessageTooLarge = 10,
    /// COORDINATOR_NOT_AVAILABLE: the coordinator lives on a broker that has no port here.
    CoordinatorNotAvailable = 15,
    /// INVALID_REQUIRED_ACKS.
    InvalidRequiredAcks = 21,
    /// TOPIC_AUTHORIZATION_FAILED.
    TopicAuthorizationFailed = 29,
    /// GROUP_AUTHORIZATION_FAILED.
    GroupAuthorizationFailed = 30,
    /// CLUSTER_AUTHORIZATION_FAILED.
    ClusterAuthorizationFailed = 31,
    /// UNSUPPORTED_SASL_MECHANISM.
    UnsupportedSaslMechanism = 33,
    /// ILLEGAL_SASL_STATE.
    IllegalSaslState = 34,
    /// UNSUPPORTED_VERSION.
    UnsupportedVersion = 35,
    /// INVALID_REQUEST.
    InvalidRequest = 42,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: an earlier batch of this producer was refused.
    OutOfOrderSequence = 45,
    /// TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
    TransactionalIdAuthorizationFailed = 53,
    /// KAFKA_STORAGE_ERROR: not persisted, retriable in every client; the audit log did not take the entry.
    StorageError = 56,
    /// SASL_AUTHENTICATION_FAILED.
    SaslAuthenticationFailed = 58,
    /// FETCH_SESSION_ID_NOT_FOUND: weir keeps no fetch sessions (KIP-227); clients restart with a full fetch.
    FetchSessionIdNotFound = 70,
    /// INVALID_RECORD: a record that policy refuses, or that cannot be read.
    InvalidRecord = 87,
    /// UNKNOWN_TOPIC_ID (KIP-516).
    UnknownTopicId = 100,
}

impl Code {
    /// The code on the wire.
    pub(crate) const fn code(self) -> i16 {
        self as i16
    }
}
