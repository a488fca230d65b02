/// Who a client is, once its credentials were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Name of the principal: the issuer's claim, or `anonymous`.
    pub id: String,
    /// Groups the principal is in, in the issuer's order.
    pub groups: Vec<String>,
    /// How it proved who it is.
    pub mechanism: Mechanism,
    /// The issuer that vouches for it; none for an anonymous client.
    pub issuer: Option<String>,
}

impl Principal {
    /// A client of a listener that asks for no credentials, in the groups that the listener's configuration names (`anonymous` when it
    /// names none).
    pub fn anonymous(groups: Vec<String>) -> Self {
        Self { id: ANONYMOUS.to_owned(), groups, mechanism: Mechanism::Anonymous, issuer: None }
    }
}

/// How a client proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// SASL OAUTHBEARER (RFC 7628, KIP-255).
    Oauthbearer,
    /// Not at all.
    Anonymous,
}

impl Mechanism {
    /// The name that log lines and entries use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oauthbearer => "oauthbearer",
            Self::Anonymous => "anonymous",
        }
    }
}

/// The id of every anonymous client. No token can claim it.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// Longest principal, in bytes: OpenID Connect Core section 2 bounds `sub` at 255.
pub const PRINCIPAL_BYTES_MAX: usize = 255;

/// Longest name of a group, in bytes: room for a distinguished name of a directory.
pub const GROUP_BYTES_MAX: usize = 512;

/// Most groups of one principal. Large directories put up to some hundred into a token.
pub const GROUPS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::{Mechanism, Principal};

    #[test]
    fn anonymous_has_the_listeners_groups_and_no_issuer() {
        let principal = Principal::anonymous(vec!["guests".to_owned()]);
        assert_eq!(principal.id, "anonymous");
        assert_eq!(principal.groups, ["guests"]);
        assert_eq!(principal.issuer, None);
        assert_eq!(principal.mechanism, Mechanism::Anonymous);
    }
}
