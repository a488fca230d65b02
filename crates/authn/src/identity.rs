//! Checks one JSON web token against the configured issuers.
//!
//! ```text
//!  token ─► header, claims (each read once, strictly) ─► issuer ─► algorithm ─► key ─► signature
//!        ─► exp, nbf, aud ─► principal, groups ─► authorization identity ─► Authenticated
//! ```
//!
//! Nothing of the claims but `iss` is used before the signature holds.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::claims::{self, ClaimPath};
use crate::error::AuthnError;
use crate::initial::ClientInitial;
use crate::jwks::{Jwks, Key};
use crate::principal::{Mechanism, Principal};
use crate::strict_json::{self, StrictError};
use crate::token::TOKEN_BYTES_MAX;

/// One issuer of tokens, as the configuration describes it.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// Must equal the token's `iss`, byte for byte.
    pub issuer: String,
    /// A token must be for at least one of these (`aud`).
    pub audience: Vec<String>,
    /// The algorithms a token may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// Path of the claim that names the principal; `sub` by default. See `ClaimPath`.
    pub principal_path: String,
    /// Path of the claim with the groups; `groups` by default.
    pub groups_path: String,
    /// The issuer's keys.
    pub keys: IssuerKeys,
}

/// The keys of an issuer, and whether there may be fresher ones.
#[derive(Debug, Clone)]
pub enum IssuerKeys {
    /// Given once, as by a file.
    Given(Jwks),
    /// Fetched from the issuer by whoever holds the [`Identity`], who puts fresh ones in with [`Identity::with_keys`]. `None` until the
    /// first came.
    Fetched(Option<Jwks>),
}

impl From<Jwks> for IssuerKeys {
    /// Keys that stay as they are.
    fn from(jwks: Jwks) -> Self {
        Self::Given(jwks)
    }
}

impl IssuerKeys {
    fn current(&self) -> Option<&Jwks> {
        match self {
            Self::Given(jwks) => Some(jwks),
            Self::Fetched(jwks) => jwks.as_ref(),
        }
    }
}

/// The configured issuers and how tokens are judged. Immutable; a fresh key set makes a fresh `Identity`.
#[derive(Debug, Clone)]
pub struct Identity {
    issuers: Vec<Arc<Issuer>>,
    clock_skew: Duration,
    session_max: Duration,
}

impl Identity {
    /// Takes the configured issuers. `clock_skew` is how far the issuer's clock and ours may be apart; `session_max` how long one login
    /// lasts at most.
    ///
    /// # Errors
    ///
    /// `IdentityError` when an issuer could accept nothing, too much, or stands twice.
    pub fn new(issuers: Vec<IssuerConfig>, clock_skew: Duration, session_max: Duration) -> Result<Self, IdentityError> {
        if session_max.is_zero() {
            return Err(IdentityError::SessionMaxZero);
        }
        let mut checked: Vec<Arc<Issuer>> = Vec::with_capacity(issuers.len());
        for config in issuers {
            if checked.iter().any(|other| other.config.issuer == config.issuer) {
                return Err(IdentityError::DuplicateIssuer { issuer: config.issuer });
            }
            checked.push(Arc::new(Issuer::new(config)?));
        }
        Ok(Self { issuers: checked, clock_skew, session_max })
    }

    /// The same issuers, one of them with a fresh key set.
    ///
    /// # Errors
    ///
    /// `IdentityError` when the issuer is not one of those whose keys are fetched, or no key of the set fits its algorithms: the keys from
    /// before are then the better ones.
    pub fn with_keys(&self, issuer: &str, jwks: Jwks) -> Result<Self, IdentityError> {
        self.with(issuer, Some(jwks))
    }

    /// The same issuers, one of them without the keys that were fetched: they are too old to be believed.
    ///
    /// # Errors
    ///
    /// `IdentityError` when the issuer is not one of those whose keys are fetched.
    pub fn without_keys(&self, issuer: &str) -> Result<Self, IdentityError> {
        self.with(issuer, None)
    }

    fn with(&self, issuer: &str, jwks: Option<Jwks>) -> Result<Self, IdentityError> {
        let mut fresh = self.clone();
        let slot = fresh.issuers.iter_mut().find(|slot| slot.config.issuer == issuer && slot.fetches());
        let slot = slot.ok_or_else(|| IdentityError::NotFetched { issuer: issuer.to_owned() })?;
        let config = IssuerConfig { keys: IssuerKeys::Fetched(jwks), ..slot.config.clone() };
        *slot = Arc::new(Issuer::new(config)?);
        Ok(fresh)
    }

    /// Checks the token of a client initial response. `now_unix` is the time since 1970-01-01 UTC.
    ///
    /// # Errors
    ///
    /// `AuthnError` says why the token is refused, and holds nothing of it.
    pub fn verify(&self, initial: &ClientInitial, now_unix: Duration) -> Result<Authenticated, AuthnError> {
        match self.judge(initial, now_unix) {
            Verdict::Accept(authenticated) => Ok(authenticated),
            Verdict::Refuse(error) | Verdict::FetchKeys { otherwise: error, .. } => Err(error),
        }
    }

    /// [`Identity::verify`] for who can fetch keys: says when fresh ones could change the answer.
    pub fn judge(&self, initial: &ClientInitial, now_unix: Duration) -> Verdict {
        let read = Parts::split(initial.token.expose()).and_then(|token| Ok((self.find_issuer(&token)?, token)));
        let ((issuer, header, claims), token) = match read {
            Ok(read) => read,
            Err(error) => return Verdict::Refuse(error),
        };
        let verified = issuer.verify_signature(&header, &token);
        match verified.and_then(|()| self.verify_claims(issuer, &claims, initial, now_unix)) {
            Ok(authenticated) => Verdict::Accept(authenticated),
            Err(otherwise) if issuer.fetches() && is_about_keys(&otherwise) => {
                Verdict::FetchKeys { issuer: issuer.config.issuer.clone(), otherwise }
            }
            Err(error) => Verdict::Refuse(error),
        }
    }

    fn verify_claims(
        &self,
        issuer: &Issuer,
        claims: &Map<String, Value>,
        initial: &ClientInitial,
        now_unix: Duration,
    ) -> Result<Authenticated, AuthnError> {
        let exp = self.check_times(claims, now_unix)?;
        claims::check_audience(claims, &issuer.config.audience)?;
        let principal = Principal {
            id: claims::principal(claims, &issuer.principal_path)?,
            groups: claims::groups(claims, &issuer.groups_path)?,
            mechanism: Mechanism::Oauthbearer,
            issuer: Some(issuer.config.issuer.clone()),
        };
        if initial.authzid.as_ref().is_some_and(|authzid| *authzid != principal.id) {
            return Err(AuthnError::AuthzidMismatch);
        }
        Ok(Authenticated { principal, expires_at: self.session_end(exp, now_unix) })
    }

    /// A token that is past `exp` but within the skew is good for the rest of the skew. A session of less than a millisecond would be
    /// told to the client as 0, which means "without end" (KIP-368).
    fn session_end(&self, exp: Duration, now: Duration) -> Duration {
        let token_end = if exp > now { exp } else { exp.saturating_add(self.clock_skew) };
        // INVARIANT: the end is at least a millisecond ahead.
        token_end.min(now.saturating_add(self.session_max)).max(now.saturating_add(Duration::from_millis(1)))
    }

    /// The issuer that the token says it is of. Nothing of it is proven yet.
    fn find_issuer(&self, token: &Parts<'_>) -> Result<(&Issuer, Header, Map<String, Value>), AuthnError> {
        let header = Header::parse(token.header)?;
        let claims = read_object(token.claims)?;
        let iss = match claims.get("iss") {
            None => return Err(AuthnError::MissingClaim("iss")),
            Some(Value::String(iss)) => iss,
            Some(_) => return Err(AuthnError::InvalidClaim("iss")),
        };
        let issuer = self.issuers.iter().find(|issuer| issuer.config.issuer == *iss).ok_or(AuthnError::WrongIssuer)?;
        Ok((issuer, header, claims))
    }

    fn check_times(&self, claims: &Map<String, Value>, now: Duration) -> Result<Duration, AuthnError> {
        let exp = claims::date(claims, "exp")?.ok_or(AuthnError::MissingClaim("exp"))?;
        if now >= exp.saturating_add(self.clock_skew) {
            return Err(AuthnError::Expired { ago: now.saturating_sub(exp) });
        }
        if let Some(nbf) = claims::date(claims, "nbf")?
            && nbf > now.saturating_add(self.clock_skew)
        {
            return Err(AuthnError::NotYetValid { ahead: nbf.saturating_sub(now) });
        }
        Ok(exp)
    }
}

/// Whether an issuer's fresh keys could change the refusal. A signature that does not hold is among them: some issuers make a new key
/// under the old name.
fn is_about_keys(error: &AuthnError) -> bool {
    matches!(error, AuthnError::UnknownKey | AuthnError::NoKeys | AuthnError::BadSignature)
}

/// What is to be done with a token.
#[derive(Debug)]
pub enum Verdict {
    /// It holds.
    Accept(Authenticated),
    /// It does not, whatever keys its issuer has.
    Refuse(AuthnError),
    /// With the keys that are there it does not: first fetch those of its issuer.
    FetchKeys {
        /// The issuer, in the configuration's words.
        issuer: String,
        /// Why it is refused when there are no fresher keys.
        otherwise: AuthnError,
    },
}

/// A client whose credentials hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// Who it is.
    pub principal: Principal,
    /// When the session ends unless the client logs in again, since 1970-01-01 UTC; at least a millisecond ahead.
    pub expires_at: Duration,
}

/// Why a configuration of issuers is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// An issuer without a name.
    #[error("an issuer must have a name")]
    EmptyIssuer,
    /// The same issuer twice: which of the two would judge a token?
    #[error("issuer `{issuer}` is configured twice")]
    DuplicateIssuer {
        /// The issuer's name.
        issuer: String,
    },
    /// No audience, or an empty one.
    #[error("issuer `{issuer}` has no audience: a token for any service of this issuer would be accepted")]
    NoAudience {
        /// The issuer's name.
        issuer: String,
    },
    /// No algorithm.
    #[error("issuer `{issuer}` allows no algorithm")]
    NoAlgorithms {
        /// The issuer's name.
        issuer: String,
    },
    /// No key fits any of the algorithms.
    #[error("issuer `{issuer}` publishes no key for the algorithms that are allowed for it")]
    NoKeyFits {
        /// The issuer's name.
        issuer: String,
    },
    /// Keys came for an issuer that has none to come.
    #[error("the keys of issuer `{issuer}` are not fetched")]
    NotFetched {
        /// The issuer's name.
        issuer: String,
    },
    /// A path into the claims that is none.
    #[error("`{path}` is not a path into the claims: names with dots between them, `\\.` for a dot inside a name")]
    PathInvalid {
        /// The configured text.
        path: String,
    },
    /// `session_max` of zero.
    #[error("a session must last longer than zero")]
    SessionMaxZero,
}

#[derive(Debug)]
struct Issuer {
    config: IssuerConfig,
    principal_path: ClaimPath,
    groups_path: ClaimPath,
}

impl Issuer {
    fn new(config: IssuerConfig) -> Result<Self, IdentityError> {
        let issuer = || config.issuer.clone();
        if config.issuer.is_empty() {
            return Err(IdentityError::EmptyIssuer);
        }
        if config.audience.is_empty() || config.audience.iter().any(String::is_empty) {
            return Err(IdentityError::NoAudience { issuer: issuer() });
        }
        if config.algorithms.is_empty() {
            return Err(IdentityError::NoAlgorithms { issuer: issuer() });
        }
        let fits = |jwks: &Jwks| config.algorithms.iter().any(|algorithm| jwks.fitting(*algorithm).next().is_some());
        if config.keys.current().is_some_and(|jwks| !fits(jwks)) {
            return Err(IdentityError::NoKeyFits { issuer: issuer() });
        }
        let path =
            |text: &str| ClaimPath::parse(text).ok_or_else(|| IdentityError::PathInvalid { path: text.to_owned() });
        Ok(Self { principal_path: path(&config.principal_path)?, groups_path: path(&config.groups_path)?, config })
    }

    /// Whether fresh keys may come.
    fn fetches(&self) -> bool {
        matches!(self.config.keys, IssuerKeys::Fetched(_))
    }

    fn verify_signature(&self, header: &Header, token: &Parts<'_>) -> Result<(), AuthnError> {
        let algorithm = Algorithm::from_name(&header.alg)
            .filter(|algorithm| self.config.algorithms.contains(algorithm))
            .ok_or(AuthnError::AlgorithmNotAllowed)?;
        let jwks = self.config.keys.current().ok_or(AuthnError::NoKeys)?;
        let key = find_key(jwks, header.kid.as_deref(), algorithm)?;
        let signed = token.signed.as_bytes();
        match jsonwebtoken::crypto::verify(token.signature, signed, key.verifier(), algorithm.for_verifier()) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(AuthnError::BadSignature),
        }
    }
}

/// A token that names no key is taken only if exactly one key could have signed it.
fn find_key<'a>(jwks: &'a Jwks, kid: Option<&str>, algorithm: Algorithm) -> Result<&'a Key, AuthnError> {
    let Some(kid) = kid else {
        let mut keys = jwks.fitting(algorithm);
        return match (keys.next(), keys.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(AuthnError::UnknownKey),
            (Some(_), Some(_)) => Err(AuthnError::KeyNotNamed),
        };
    };
    let key = jwks.by_id(kid).ok_or(AuthnError::UnknownKey)?;
    if key.fits(algorithm) { Ok(key) } else { Err(AuthnError::AlgorithmNotAllowed) }
}

/// The three parts of a compact token (RFC 7515 section 3.1) and what its signature is over.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, AuthnError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthnError::TokenTooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthnError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(AuthnError::Malformed)?;
        // Five parts are an encrypted token.
        if claims.contains('.') {
            return Err(AuthnError::Malformed);
        }
        Ok(Self { header, claims, signature, signed })
    }
}

struct Header {
    alg: String,
    kid: Option<String>,
}

impl Header {
    /// `jku`, `jwk`, `x5u` and `x5c` are not looked at: keys come from the configuration, never from a token.
    fn parse(part: &str) -> Result<Self, AuthnError> {
        let header = read_object(part)?;
        let text = |name| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(AuthnError::Malformed),
        };
        if header.contains_key("crit") {
            return Err(AuthnError::CriticalHeader);
        }
        if let Some(typ) = text("typ")?
            && !is_access_token(typ)
        {
            return Err(AuthnError::WrongType);
        }
        let alg = text("alg")?.ok_or(AuthnError::Malformed)?.to_owned();
        Ok(Self { alg, kid: text("kid")?.map(str::to_owned) })
    }
}

/// `JWT` is what most issuers write, `at+jwt` what RFC 9068 asks for; both may have the prefix of a media type.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

fn read_object(part: &str) -> Result<Map<String, Value>, AuthnError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthnError::Malformed)?;
    strict_json::object(&json).map_err(|error| match error {
        StrictError::NotJson | StrictError::NotAnObject => AuthnError::Malformed,
        StrictError::DuplicateKey => AuthnError::DuplicateKey,
    })
}
