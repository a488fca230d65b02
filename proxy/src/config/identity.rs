//! `identity`: who issues tokens, and how they are judged.

mod jwks;

use std::time::Duration;

use weir_authn::{Algorithm, ClaimPath, Identity, IdentityError, IssuerConfig};
use weir_yaml::{MapReader, Node, Place, Problems};

pub use self::jwks::{KeyPlace, KeySource, may_fetch};

use super::{Loader, limits, unsupported};

/// The issuers of tokens and how their tokens are judged.
#[derive(Debug, Clone)]
pub struct IdentityConfig {
    /// May be empty when no listener asks for tokens.
    pub issuers: Vec<IssuerConfig>,
    /// Where the keys of those come from whose keys are fetched.
    pub key_sources: Vec<KeySource>,
    /// How far an issuer's clock may be off.
    pub clock_skew: Duration,
    /// How old fetched keys may be. Older ones let nobody in: nothing is known of what their issuer withdrew since.
    pub keys_age_max: Duration,
    /// How long a session may last; clients are told the shorter of this and what is left of their token.
    pub session_max: Duration,
}

impl IdentityConfig {
    /// What verifies tokens, still without the keys that are to be fetched.
    ///
    /// # Errors
    ///
    /// None for a loaded configuration: loading tried it.
    pub fn build(&self) -> Result<Identity, IdentityError> {
        Identity::new(self.issuers.clone(), self.clock_skew, self.session_max)
    }
}

impl Loader<'_> {
    pub(super) fn identity(&self, node: Option<&Node>, problems: &mut Problems) -> Option<IdentityConfig> {
        let Some(node) = node else {
            return Some(IdentityConfig {
                issuers: Vec::new(),
                key_sources: Vec::new(),
                clock_skew: CLOCK_SKEW,
                keys_age_max: KEYS_AGE_MAX,
                session_max: SESSION_MAX,
            });
        };
        let mut map = MapReader::new(node, "identity", problems)?;
        let clock_skew = match map.take("clock_skew") {
            Some(node) => read_clock_skew(node, problems),
            None => Some(CLOCK_SKEW),
        };
        let keys_age_max = match map.take("keys_age_max") {
            Some(node) => read_keys_age_max(node, problems),
            None => Some(KEYS_AGE_MAX),
        };
        let session_max = limits::duration(map.take("session_max"), "session_max", SESSION_MAX, problems);
        unsupported::key(&mut map, "users", "identity.users", "this build takes tokens only", problems);
        unsupported::key(&mut map, "revoked", "identity.revoked", "remove the principal from the policies", problems);
        let issuers = match map.take("issuers") {
            Some(node) => self.issuers(node, problems),
            None => Some(Vec::new()),
        };
        map.finish(problems);
        let (issuers, key_sources): (Vec<_>, Vec<_>) = issuers?.into_iter().unzip();
        Some(IdentityConfig {
            issuers,
            key_sources: key_sources.into_iter().flatten().collect(),
            clock_skew: clock_skew?,
            keys_age_max: keys_age_max?,
            session_max: session_max?,
        })
    }

    fn issuers(&self, node: &Node, problems: &mut Problems) -> Option<Vec<(IssuerConfig, Option<KeySource>)>> {
        let items = node.as_list("issuers", problems)?;
        let mut names: Vec<String> = Vec::new();
        let read: Vec<Option<(IssuerConfig, Option<KeySource>)>> =
            items.iter().map(|item| self.issuer(item, &mut names, problems)).collect();
        read.into_iter().collect()
    }

    /// Reads one issuer; `names` are those of the issuers before it, also of those that were refused.
    fn issuer(
        &self,
        node: &Node,
        names: &mut Vec<String>,
        problems: &mut Problems,
    ) -> Option<(IssuerConfig, Option<KeySource>)> {
        let mut map = MapReader::new(node, "an issuer", problems)?;
        let issuer_node = map.required("issuer", "the `iss` of its tokens", problems);
        let issuer = issuer_node.and_then(|node| read_text("issuer", node, problems).map(|text| (text, node)));
        if let Some((name, node)) = &issuer {
            if names.contains(name) {
                let cure = "one entry each: which of them should judge a token?";
                problems.error(&node.place, format!("issuer `{name}` is configured twice"), cure);
            }
            names.push(name.clone());
        }
        let cure = "a token for any service of this issuer would be accepted; add  audience: [kafka]";
        let audience = map.required("audience", cure, problems).and_then(|node| read_audience(node, problems));
        let jwks_node =
            map.required("jwks", "where its public keys are:  jwks: discover  or  jwks: { url: … }", problems);
        let jwks = jwks_node
            .and_then(|node| self.jwks(node, issuer.as_ref().map(|(name, node)| (name.as_str(), *node)), problems));
        let algorithms = match map.take("algorithms") {
            Some(node) => read_algorithms(node, problems),
            None => Some(vec![Algorithm::RS256, Algorithm::ES256]),
        };
        let principal_path = read_path(map.take("principal"), "principal", "sub", problems);
        let groups_path = read_path(map.take("groups"), "groups", "groups", problems);
        map.finish(problems);
        let (name, (keys, place)) = (issuer?.0, jwks?);
        let source = place.map(|(place, ca)| KeySource { issuer: name.clone(), place, ca });
        let config = IssuerConfig {
            issuer: name,
            audience: audience?,
            algorithms: algorithms?,
            principal_path: principal_path?,
            groups_path: groups_path?,
            keys,
        };
        try_issuer(&config, &jwks_node?.place, problems);
        Some((config, source))
    }
}

fn read_text(what: &str, node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.as_str(what, problems)?;
    if text.is_empty() {
        problems.error(&node.place, format!("`{what}` is empty"), "");
        return None;
    }
    Some(text.to_owned())
}

fn read_audience(node: &Node, problems: &mut Problems) -> Option<Vec<String>> {
    let items = node.as_list("audience", problems)?;
    if items.is_empty() {
        let cure = "a token for any service of this issuer would be accepted; as in  audience: [kafka]";
        problems.error(&node.place, "`audience` is empty", cure);
        return None;
    }
    let audience: Vec<Option<String>> = items.iter().map(|item| read_text("audience", item, problems)).collect();
    audience.into_iter().collect()
}

fn read_algorithms(node: &Node, problems: &mut Problems) -> Option<Vec<Algorithm>> {
    let items = node.as_list("algorithms", problems)?;
    if items.is_empty() {
        problems.error(
            &node.place,
            "`algorithms` is empty, so no token could be accepted",
            "leave it out to have RS256 and ES256",
        );
        return None;
    }
    let mut algorithm = |item: &Node| {
        let name = item.as_str("algorithms", problems)?;
        let read = name.parse::<Algorithm>();
        if let Err(error) = &read {
            problems.error(&item.place, format!("algorithm `{name}` is refused"), error.to_string());
        }
        read.ok()
    };
    let algorithms: Vec<Option<Algorithm>> = items.iter().map(&mut algorithm).collect();
    algorithms.into_iter().collect()
}

fn read_path(node: Option<&Node>, what: &str, default: &str, problems: &mut Problems) -> Option<String> {
    let Some(node) = node else { return Some(default.to_owned()) };
    let path = node.as_str(what, problems)?;
    if ClaimPath::parse(path).is_none() {
        problems.error(
            &node.place,
            format!("`{what}` is not a path into the claims"),
            "names with dots between, as in  realm_access.roles",
        );
        return None;
    }
    Some(path.to_owned())
}

fn read_clock_skew(node: &Node, problems: &mut Problems) -> Option<Duration> {
    let skew = node.as_duration("clock_skew", problems)?;
    if skew > CLOCK_SKEW_SANE {
        problems.warning(&node.place, "`clock_skew` is more than 5 minutes", "expired tokens are accepted for as long");
    }
    Some(skew)
}

fn read_keys_age_max(node: &Node, problems: &mut Problems) -> Option<Duration> {
    let age = node.as_duration("keys_age_max", problems)?;
    if age < KEYS_AGE_LEAST {
        let cure = format!("at least {}s: keys are fetched twice in this time", KEYS_AGE_LEAST.as_secs());
        problems.error(&node.place, "`keys_age_max` is too short", cure);
        return None;
    }
    if age < KEYS_AGE_SANE {
        let cure = "an issuer that is away for so long keeps everybody out";
        problems.warning(&node.place, "`keys_age_max` is less than an hour", cure);
    }
    Some(age)
}

/// Lets `weir_authn` judge the issuer; what was not reported yet is that no key fits.
fn try_issuer(config: &IssuerConfig, place: &Place, problems: &mut Problems) {
    if let Err(error) = Identity::new(vec![config.clone()], CLOCK_SKEW, SESSION_MAX) {
        problems.error(place, error.to_string(), "");
    }
}

const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// Clocks that are set by the network differ by less.
const CLOCK_SKEW_SANE: Duration = Duration::from_secs(300);
/// An issuer that is away for a night and a morning keeps nobody out; a key that it withdrew for a reason is good for no longer.
const KEYS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Half of it lies between two attempts to fetch keys, and an attempt takes up to 4 s.
const KEYS_AGE_LEAST: Duration = Duration::from_secs(10);
/// Issuers are restarted, moved and upgraded.
const KEYS_AGE_SANE: Duration = Duration::from_secs(3600);
const SESSION_MAX: Duration = Duration::from_secs(3600);
