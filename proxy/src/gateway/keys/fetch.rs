//! One attempt to fetch an issuer's keys over HTTP.
//!
//! ```text
//! discover:  <issuer>/.well-known/openid-configuration ─► `issuer` is ours, `jwks_uri` ─┐
//! url:       ──────────────────────────────────────────────────────────────────────────┴─► key set
//! ```
//!
//! Nothing is believed that did not come over HTTPS from a server whose certificate holds, loopback excepted. No redirect leads to another
//! host, no proxy of the environment is used, bodies are read up to a limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CACHE_CONTROL, DATE};
use reqwest::{Client, StatusCode, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use weir_authn::{JWKS_BYTES_MAX, Jwks, JwksError};

use crate::config::{KeyPlace, KeySource, may_fetch};

/// How long one attempt may take, discovery and redirects included.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(4);

/// How long one connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest discovery document, bytes. Real ones have under 10 KiB.
const DISCOVERY_BYTES_MAX: usize = 256 * 1024;

/// Redirects that are followed, all on one host.
const REDIRECTS_MAX: usize = 3;

/// How long a `jwks_uri` is used before it is asked for again.
const DISCOVERY_EVERY: Duration = Duration::from_secs(300);

/// Fetches the keys of one issuer.
pub(crate) struct Fetcher {
    client: Client,
    source: KeySource,
    /// Where discovery said that the keys are, and when.
    found: Option<(Url, Instant)>,
}

/// A key set as it came.
pub(crate) struct Fetched {
    pub(crate) jwks: Jwks,
    /// The text, to see whether it is another one.
    pub(crate) text: String,
    /// How long the server says that it stays good.
    pub(crate) max_age: Option<Duration>,
    /// How many seconds the server's clock is ahead of this machine's, if it told the time.
    pub(crate) clock_ahead: Option<i64>,
}

/// Why keys were not had. Messages hold nothing of a body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("no certificates to trust: {0}")]
    Roots(String),
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
    #[error("no answer within {FETCH_TIMEOUT:?}")]
    Timeout,
    #[error("cannot connect to {host}: {reason}")]
    Connect { host: String, reason: String },
    #[error("{host} redirects to another host, or too often")]
    Redirect { host: String },
    #[error("the answer of {host} broke off: {reason}")]
    Broken { host: String, reason: String },
    #[error("{host} answered with status {} for {what}", status.as_u16())]
    Status { host: String, what: &'static str, status: StatusCode },
    #[error("{what} of {host} is longer than {max} bytes")]
    TooLong { host: String, what: &'static str, max: usize },
    #[error("the discovery document is not JSON with `issuer` and `jwks_uri`")]
    Discovery,
    #[error("the discovery document is of another issuer than the configured one, byte for byte")]
    OtherIssuer,
    #[error("the `jwks_uri` of the discovery document is not an https address")]
    JwksUri,
    #[error("the attempt was given up: a defect of weir")]
    Panicked,
    #[error("the key set is not UTF-8 text")]
    NotText,
    #[error("{0}")]
    Jwks(#[from] JwksError),
    #[error("{0}")]
    Unfit(#[from] weir_authn::IdentityError),
}

impl FetchError {
    /// A stable name for logs: a change of it is news.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Roots(_) => "roots",
            Self::Client(_) => "client",
            Self::Timeout => "timeout",
            Self::Connect { .. } => "connect",
            Self::Redirect { .. } => "redirect",
            Self::Broken { .. } => "broken",
            Self::Status { .. } => "status",
            Self::TooLong { .. } => "too_long",
            Self::Discovery => "discovery",
            Self::OtherIssuer => "other_issuer",
            Self::JwksUri => "jwks_uri",
            Self::Panicked => "panicked",
            Self::NotText | Self::Jwks(_) => "key_set",
            Self::Unfit(_) => "no_key_fits",
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Roots(_) | Self::Client(_) => "name the authority of the issuer's certificate with  ca: …",
            Self::Timeout | Self::Broken { .. } => "is the issuer well, and the way to it?",
            Self::Connect { .. } => {
                "is the issuer running, its name right, and its certificate by an authority that this machine or  ca: …  trusts?"
            }
            Self::Redirect { .. } => "configure the address that it leads to",
            Self::Status { .. } | Self::Discovery => {
                "is `issuer` the address of the issuer? else name the keys with  url: …"
            }
            Self::TooLong { .. } | Self::NotText | Self::Jwks(_) => "does the address lead to a JSON web key set?",
            Self::OtherIssuer => "write `issuer` exactly as the issuer does, or name the keys with  url: …",
            Self::JwksUri => "the issuer must publish its keys over https",
            Self::Panicked => "tell the authors of weir what the issuer answers",
            Self::Unfit(_) => "set `algorithms` to those that the issuer signs with",
        }
    }
}

impl Fetcher {
    /// # Errors
    ///
    /// When there are no certificates to trust.
    pub(crate) fn new(source: KeySource) -> Result<Self, FetchError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls(source.ca.as_deref())?)
            .redirect(redirect::Policy::custom(follow))
            .no_proxy()
            .referer(false)
            .http1_only()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(FETCH_TIMEOUT)
            // Minutes pass between two requests.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| FetchError::Client(root_cause(&error)))?;
        Ok(Self { client, source, found: None })
    }

    /// Fetches the keys.
    ///
    /// # Errors
    ///
    /// Whatever comes between: the keys from before are then the ones to keep.
    pub(crate) async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let attempt = self.attempt();
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, attempt).await.unwrap_or(Err(FetchError::Timeout));
        if fetched.is_err() {
            // The keys may have moved.
            self.found = None;
        }
        fetched
    }

    async fn attempt(&mut self) -> Result<Fetched, FetchError> {
        let url = match &self.source.place {
            KeyPlace::Url(url) => url.clone(),
            KeyPlace::Discover(document) => match &self.found {
                Some((url, since)) if since.elapsed() < DISCOVERY_EVERY => url.clone(),
                Some(_) | None => {
                    let url = self.discover(document.clone()).await?;
                    self.found = Some((url.clone(), Instant::now()));
                    url
                }
            },
        };
        let Answer { body, max_age, clock_ahead } = self.get(url, "the key set", JWKS_BYTES_MAX).await?;
        let text = String::from_utf8(body).map_err(|_| FetchError::NotText)?;
        Ok(Fetched { jwks: Jwks::parse(&text)?, text, max_age, clock_ahead })
    }

    async fn discover(&self, document: Url) -> Result<Url, FetchError> {
        let answer = self.get(document.clone(), "the discovery document", DISCOVERY_BYTES_MAX).await?;
        let found = serde_json::from_slice::<Discovery>(&answer.body).map_err(|_| FetchError::Discovery)?;
        if found.issuer != self.source.issuer {
            return Err(FetchError::OtherIssuer);
        }
        let url = Url::parse(&found.jwks_uri).map_err(|_| FetchError::JwksUri)?;
        // What came over https does not lead to what does not.
        if !may_fetch(&url) || (document.scheme() == "https" && url.scheme() != "https") {
            return Err(FetchError::JwksUri);
        }
        Ok(url)
    }

    async fn get(&self, url: Url, what: &'static str, bytes_max: usize) -> Result<Answer, FetchError> {
        let host = host_of(&url);
        let failed = |error: reqwest::Error| explain(&error, host.clone());
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { host, what, status: response.status() });
        }
        let max_age = response.headers().get(CACHE_CONTROL).and_then(|value| max_age(value.to_str().ok()?));
        let clock_ahead = response.headers().get(DATE).and_then(|value| clock_ahead(value.to_str().ok()?));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len().saturating_add(chunk.len()) > bytes_max {
                return Err(FetchError::TooLong { host, what, max: bytes_max });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { body, max_age, clock_ahead })
    }
}

/// What came of one request.
struct Answer {
    body: Vec<u8>,
    max_age: Option<Duration>,
    clock_ahead: Option<i64>,
}

/// Trusts the given authorities alone, or those of the system.
fn tls(ca: Option<&[CertificateDer<'static>]>) -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(certificates) => {
            for certificate in certificates {
                roots.add(certificate.clone()).map_err(|error| FetchError::Roots(error.to_string()))?;
            }
        }
        // One that cannot be read is as one that is not there: what it vouches for is then not trusted.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Client(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// On one host, by the same scheme and port.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let same = attempt.previous().last().is_some_and(|before| before.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= REDIRECTS_MAX { attempt.follow() } else { attempt.error("not on this host") }
}

fn explain(error: &reqwest::Error, host: String) -> FetchError {
    if error.is_timeout() {
        FetchError::Timeout
    } else if error.is_redirect() {
        FetchError::Redirect { host }
    } else if error.is_connect() {
        FetchError::Connect { host, reason: root_cause(error) }
    } else {
        FetchError::Broken { host, reason: root_cause(error) }
    }
}

/// What lies at the bottom of an error: the layers above it repeat the address.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // An I/O error does not name the one inside it as its source.
    while let Some(inner) = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        cause = inner;
    }
    if let Some(words) = cause.downcast_ref().and_then(certificate) {
        return words.to_owned();
    }
    let text = cause.to_string();
    text.lines().next().unwrap_or_default().to_lowercase()
}

/// What is wrong with the server's certificate, in the words of whoever has to repair it.
fn certificate(error: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(error) = error else { return None };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is that of rustls, which has words for the rest")]
    match error {
        CertificateError::UnknownIssuer => Some("its certificate is signed by nobody whom weir trusts"),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("its certificate is for another name")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some("its certificate has expired"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("its certificate is not valid yet; is the clock right?")
        }
        _ => None,
    }
}

fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "the address".to_owned(),
    }
}

/// `max-age` of `Cache-Control` (RFC 9111 section 5.2.2.1).
fn max_age(value: &str) -> Option<Duration> {
    let mut directives = value.split(',').map(str::trim);
    let seconds = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.trim_matches('"').parse::<u64>().ok())?
    })?;
    Some(Duration::from_secs(seconds))
}

/// Seconds by which a `Date` (RFC 9110 section 6.6.1) is ahead of now. It has whole seconds, and was written a moment ago.
fn clock_ahead(date: &str) -> Option<i64> {
    let told = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(told.as_second().saturating_sub(jiff::Timestamp::now().as_second()))
}

/// What is needed of a discovery document (OpenID Connect Discovery 1.0, section 3).
#[derive(serde::Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[cfg(test)]
mod tests;
