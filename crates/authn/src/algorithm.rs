use std::str::FromStr;

/// A signature algorithm that an issuer may be configured with (RFC 7518 section 3.1, RFC 8037).
///
/// Only public-key algorithms exist here: `none` and the HS family cannot be configured, so no token can ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// Every algorithm that weir knows.
    pub const ALL: &[Self] = &[
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The name in a token's header, in a JWK and in the configuration; case matters (RFC 7515 section 4.1.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of that name, if weir knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    pub(crate) fn for_verifier(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::RS384 => jsonwebtoken::Algorithm::RS384,
            Self::RS512 => jsonwebtoken::Algorithm::RS512,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
            Self::PS384 => jsonwebtoken::Algorithm::PS384,
            Self::PS512 => jsonwebtoken::Algorithm::PS512,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::ES384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(name: &str) -> Result<Self, AlgorithmError> {
        match Self::from_name(name) {
            Some(algorithm) => Ok(algorithm),
            None if name.eq_ignore_ascii_case("none") => Err(AlgorithmError::None),
            None if name.starts_with("HS") => Err(AlgorithmError::SharedSecret),
            None => Err(AlgorithmError::Unknown),
        }
    }
}

/// Why a configured algorithm is refused. The configuration adds the name and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    /// `none`: a token without a signature proves nothing.
    #[error("`none` means tokens without a signature: anybody could write one")]
    None,
    /// HS256 and its family.
    #[error("the HS algorithms sign with a secret that weir would have to share: use RS256, PS256, ES256 or EdDSA")]
    SharedSecret,
    /// Not an algorithm that weir verifies.
    #[error("unknown algorithm: use RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA")]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, AlgorithmError};

    fn check(name: &str, expected: Result<Algorithm, AlgorithmError>) {
        assert_eq!(name.parse(), expected, "{name}");
    }

    #[test]
    fn takes_public_key_algorithms_by_exact_name_only() {
        for algorithm in Algorithm::ALL {
            check(algorithm.name(), Ok(*algorithm));
        }
        check("none", Err(AlgorithmError::None));
        check("NONE", Err(AlgorithmError::None));
        check("HS256", Err(AlgorithmError::SharedSecret));
        check("rs256", Err(AlgorithmError::Unknown));
        check("", Err(AlgorithmError::Unknown));
    }
}
