//! `jwks`: where an issuer's public keys are.

use std::net::IpAddr;

use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use weir_authn::{IssuerKeys, JWKS_BYTES_MAX, Jwks};
use weir_yaml::{MapReader, Node, Problems, Value};

use crate::config::Loader;

/// Where the keys of an issuer are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// The issuer's name.
    pub issuer: String,
    /// The address.
    pub place: KeyPlace,
    /// The authorities that vouch for the server; those of the system if there are none.
    pub ca: Option<Vec<CertificateDer<'static>>>,
}

/// The address of an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// Of the discovery document (OpenID Connect Discovery 1.0, section 4), which names it.
    Discover(Url),
    /// Of the key set itself.
    Url(Url),
}

/// Whether keys that come from there can be believed: over https, or from this machine.
pub fn may_fetch(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    match url.scheme() {
        "https" => !host.is_empty(),
        "http" => local,
        _ => false,
    }
}

/// The keys as far as they are there, and where to fetch them otherwise.
pub(super) type Read = (IssuerKeys, Option<(KeyPlace, Option<Vec<CertificateDer<'static>>>)>);

impl Loader<'_> {
    /// Reads `jwks` of `issuer`, which is absent when it could not be read itself.
    pub(super) fn jwks(&self, node: &Node, issuer: Option<(&str, &Node)>, problems: &mut Problems) -> Option<Read> {
        if matches!(&node.value, Value::String(text) if text == "discover") {
            let place = discovery(issuer?, problems)?;
            return Some((IssuerKeys::Fetched(None), Some((place, None))));
        }
        if !matches!(&node.value, Value::Map(_)) {
            let expected = "`discover`, or a mapping with `url`, `file` or `discover`";
            return node.unexpected("jwks", expected, problems);
        }
        let mut map = MapReader::new(node, "jwks", problems)?;
        let (url, file, discover) = (map.take("url"), map.take("file"), map.take("discover"));
        let ca = map.take("ca");
        map.finish(problems);
        match (url, file, discover) {
            (None, Some(file), None) => {
                if let Some(ca) = ca {
                    problems.error(&ca.place, "`ca` says nothing about a file", "remove it");
                }
                Some((self.key_file(file, problems)?.into(), None))
            }
            (Some(url), None, None) => {
                let place = read_url(url, problems).map(KeyPlace::Url);
                let ca = self.authorities(ca, problems)?;
                Some((IssuerKeys::Fetched(None), Some((place?, ca))))
            }
            (None, None, Some(discover)) => {
                let meant = discover.as_bool("discover", problems)?;
                if !meant {
                    problems.error(&discover.place, "`discover` is false, so nothing says where the keys are", CURE);
                    return None;
                }
                let place = issuer.and_then(|issuer| discovery(issuer, problems));
                let ca = self.authorities(ca, problems)?;
                Some((IssuerKeys::Fetched(None), Some((place?, ca))))
            }
            (None, None, None) => {
                problems.error(&node.place, "`jwks` does not say where the keys are", CURE);
                None
            }
            _ => {
                problems.error(&node.place, "`jwks` names more than one place", "one of `discover`, `url` and `file`");
                None
            }
        }
    }

    fn key_file(&self, file: &Node, problems: &mut Problems) -> Option<Jwks> {
        let name = file.as_str("jwks.file", problems)?;
        let text = match self.files.read_text(&self.base.join(name), JWKS_BYTES_MAX) {
            Ok(text) => text,
            Err(reason) => {
                let cure = "save the issuer's key set (its `jwks_uri`) there";
                problems.error(&file.place, format!("cannot read the key set `{name}`: {reason}"), cure);
                return None;
            }
        };
        match Jwks::parse(&text) {
            Ok(jwks) => Some(jwks),
            Err(error) => {
                problems.error(&file.place, format!("key set `{name}`: {error}"), "");
                None
            }
        }
    }

    /// The outer `None` is a problem.
    #[expect(clippy::option_option, reason = "absent in the file, and wrong in the file, are two things")]
    fn authorities(
        &self,
        node: Option<&Node>,
        problems: &mut Problems,
    ) -> Option<Option<Vec<CertificateDer<'static>>>> {
        let Some(node) = node else { return Some(None) };
        let name = node.as_str("ca", problems)?;
        let cure = "a PEM file with the certificate of the authority that signed the issuer's";
        let text = match self.files.read_text(&self.base.join(name), CA_BYTES_MAX) {
            Ok(text) => text,
            Err(reason) => {
                problems.error(&node.place, format!("cannot read the certificates `{name}`: {reason}"), cure);
                return None;
            }
        };
        let read = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        match read {
            Ok(certificates) if !certificates.is_empty() && trusted(&certificates) => Some(Some(certificates)),
            Ok(_) | Err(_) => {
                problems.error(&node.place, format!("`{name}` holds no certificates that can be read"), cure);
                None
            }
        }
    }
}

fn trusted(certificates: &[CertificateDer<'static>]) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    certificates.iter().all(|certificate| roots.add(certificate.clone()).is_ok())
}

fn read_url(node: &Node, problems: &mut Problems) -> Option<Url> {
    let text = node.as_str("jwks.url", problems)?;
    let Ok(url) = Url::parse(text) else {
        problems.error(&node.place, "`jwks.url` is not an address", "as in  url: \"https://sso.example.com/jwks\"");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        problems.error(&node.place, "`jwks.url` has a name or a password in it", "public keys need none");
        return None;
    }
    if !may_fetch(&url) {
        problems.error(&node.place, "`jwks.url` is not https", CURE_HTTPS);
        return None;
    }
    Some(url)
}

/// The address of the discovery document: of an issuer with a path, below that path (section 4.1).
fn discovery((issuer, node): (&str, &Node), problems: &mut Problems) -> Option<KeyPlace> {
    let address = Url::parse(issuer).ok().filter(|url| {
        let plain = url.query().is_none() && url.fragment().is_none();
        plain && url.host_str().is_some() && url.username().is_empty() && url.password().is_none()
    });
    let Some(address) = address else {
        let message = "`discover` needs an `issuer` that is an address";
        problems.error(&node.place, message, "name the keys instead:  jwks: { url: … }  or  { file: … }");
        return None;
    };
    if !may_fetch(&address) {
        problems.error(&node.place, "`discover` needs an `issuer` that is https", CURE_HTTPS);
        return None;
    }
    let document = format!("{}/{DISCOVERY_PATH}", issuer.trim_end_matches('/'));
    Url::parse(&document).ok().map(KeyPlace::Discover)
}

const DISCOVERY_PATH: &str = ".well-known/openid-configuration";
const CURE: &str = "as in  jwks: discover  or  jwks: { url: … }  or  jwks: { file: … }";
const CURE_HTTPS: &str =
    "who answers in its place could let anybody in; plain http is for this machine alone (localhost)";

/// Longest file of authorities, bytes: a whole system's store has about 220 KiB.
const CA_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::may_fetch;

    #[test]
    fn plain_http_is_for_this_machine() {
        for url in ["https://sso.example.com/", "http://localhost:8080/jwks", "http://127.0.0.9/", "http://[::1]:1/"] {
            assert!(may_fetch(&Url::parse(url).unwrap()), "{url}");
        }
        let refused = [
            "http://sso.example.com/",
            "http://localhost.example.com/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "file:///k",
        ];
        for url in refused {
            assert!(!may_fetch(&Url::parse(url).unwrap()), "{url}");
        }
    }
}
