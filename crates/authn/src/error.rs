use std::fmt;
use std::time::Duration;

use crate::principal::{GROUP_BYTES_MAX, GROUPS_MAX, PRINCIPAL_BYTES_MAX};
use crate::token::TOKEN_BYTES_MAX;

/// Why a token is refused. The message is for people and holds nothing of the token; claim paths are the configuration's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    /// Longer than `TOKEN_BYTES_MAX`.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TokenTooLong,
    /// Not three base64url parts with JSON objects inside (RFC 7515 section 7.1).
    #[error("the token is not a signed JSON web token")]
    Malformed,
    /// An object in the header or the claims names a key twice.
    #[error("the token names a key twice")]
    DuplicateKey,
    /// A `crit` header: it names extensions that must be understood, and weir understands none (RFC 7515 section 4.1.11).
    #[error("the token demands header extensions that are not supported")]
    CriticalHeader,
    /// A `typ` header of something that is not an access token, such as `logout+jwt` (RFC 8725 section 3.11).
    #[error("the token is of another type than an access token")]
    WrongType,
    /// `iss` is none of the configured issuers.
    #[error("the token comes from an issuer that is not configured")]
    WrongIssuer,
    /// `alg` is not in the issuer's list, or does not fit the key.
    #[error("the token is signed with an algorithm that is not allowed for its issuer or key")]
    AlgorithmNotAllowed,
    /// `kid` names no key of the issuer.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// The keys of the issuer are fetched, and none could be had so far.
    #[error("the keys of the token's issuer could not be fetched yet; try again in a while")]
    NoKeys,
    /// A key that is not known, and the issuer does not answer to be asked for it.
    #[error(
        "the token is signed with a key that is not known here, and its issuer cannot be asked now; try again in a while"
    )]
    KeysUnavailable,
    /// No `kid`, and not exactly one key fits the algorithm.
    #[error("the token does not say which of its issuer's keys signed it")]
    KeyNotNamed,
    /// The signature does not hold.
    #[error("the token's signature does not hold")]
    BadSignature,
    /// A claim that must be there is not.
    #[error("the token has no claim `{0}`")]
    MissingClaim(&'static str),
    /// A registered claim has the wrong type or an impossible value.
    #[error("the token's claim `{0}` is not valid")]
    InvalidClaim(&'static str),
    /// `exp` is past, by more than the clock skew.
    #[error("token expired {} ago", Words(*ago))]
    Expired {
        /// Time since `exp`.
        ago: Duration,
    },
    /// `nbf` is ahead, by more than the clock skew.
    #[error("token becomes valid in {}", Words(*ahead))]
    NotYetValid {
        /// Time until `nbf`.
        ahead: Duration,
    },
    /// `aud` names none of the issuer's configured audiences.
    #[error("the token is for another audience")]
    WrongAudience,
    /// The claim that names the principal is absent, or no text of 1 to `PRINCIPAL_BYTES_MAX` bytes without control characters.
    #[error("the token's claim `{path}`, the principal, is not a name of 1 to {PRINCIPAL_BYTES_MAX} visible bytes")]
    PrincipalInvalid {
        /// The configured path.
        path: String,
    },
    /// The principal is called like weir's own anonymous one.
    #[error("the token's principal has a name that is reserved for clients without credentials")]
    PrincipalReserved,
    /// The groups claim is there, but neither an array of names nor one name.
    #[error(
        "the token's claim `{path}` is not a group or a list of at most {GROUPS_MAX} groups of 1 to {GROUP_BYTES_MAX} visible bytes"
    )]
    GroupsInvalid {
        /// The configured path.
        path: String,
    },
    /// The client asked to act as somebody else than the token's principal.
    #[error("the client asks to act as another principal than its token's")]
    AuthzidMismatch,
}

impl AuthnError {
    /// Stable word for log lines, metrics and entries.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TokenTooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::DuplicateKey => "token_duplicate_key",
            Self::CriticalHeader => "token_critical_header",
            Self::WrongType => "token_wrong_type",
            Self::WrongIssuer => "token_wrong_issuer",
            Self::AlgorithmNotAllowed => "token_algorithm_not_allowed",
            Self::UnknownKey => "token_unknown_key",
            Self::NoKeys => "issuer_keys_missing",
            Self::KeysUnavailable => "issuer_keys_unavailable",
            Self::KeyNotNamed => "token_key_not_named",
            Self::BadSignature => "token_bad_signature",
            Self::MissingClaim(_) => "token_missing_claim",
            Self::InvalidClaim(_) => "token_invalid_claim",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } => "token_not_yet_valid",
            Self::WrongAudience => "token_wrong_audience",
            Self::PrincipalInvalid { .. } => "token_principal_invalid",
            Self::PrincipalReserved => "token_principal_reserved",
            Self::GroupsInvalid { .. } => "token_groups_invalid",
            Self::AuthzidMismatch => "authzid_mismatch",
        }
    }
}

/// A duration as a person says it: the largest unit that gives at least 1, of days at least 2.
struct Words(Duration);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            0 => return f.write_str("less than a second"),
            1..60 => (seconds, "second"),
            60..3_600 => (seconds / 60, "minute"),
            3_600..172_800 => (seconds / 3_600, "hour"),
            172_800.. => (seconds / 86_400, "day"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::AuthnError;

    fn check(seconds: u64, expected: &str) {
        assert_eq!(AuthnError::Expired { ago: Duration::from_secs(seconds) }.to_string(), expected);
    }

    #[test]
    fn says_how_long_ago_a_token_expired() {
        check(0, "token expired less than a second ago");
        check(1, "token expired 1 second ago");
        check(59, "token expired 59 seconds ago");
        check(60, "token expired 1 minute ago");
        check(180, "token expired 3 minutes ago");
        check(3_600, "token expired 1 hour ago");
        check(172_799, "token expired 47 hours ago");
        check(172_800, "token expired 2 days ago");
        check(u64::MAX, "token expired 213503982334601 days ago");
    }
}
