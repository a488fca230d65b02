//! `upstream.auth`: who weir is to the brokers.

use weir_session::{UpstreamLogin, UpstreamMechanism};
use weir_yaml::{MapReader, Node, Problems};

use crate::config::secret::Secret;
use crate::config::{HostPort, Loader, unsupported};

/// Who weir is to the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAuth {
    /// How it proves itself.
    pub mechanism: UpstreamMechanism,
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

impl UpstreamAuth {
    /// The login that connections to brokers use.
    pub fn login(&self) -> UpstreamLogin {
        UpstreamLogin::new(self.mechanism, self.username.clone(), self.password.reveal().clone())
    }

    pub(super) fn read(loader: Loader<'_>, node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = MapReader::new(node, "upstream.auth", problems)?;
        let mechanism =
            map.required("mechanism", MECHANISMS, problems).and_then(|node| read_mechanism(node, &mut map, problems));
        if matches!(mechanism, Some(Mechanism::Later)) {
            map.take("username");
            map.take("password");
            map.finish(problems);
            return None;
        }
        let username = map
            .required("username", "the name that the brokers know weir by", problems)
            .and_then(|node| read_username(node, problems));
        let password = map
            .required("password", "as in  password: { file: /run/secrets/kafka }", problems)
            .and_then(|node| loader.one_line_secret(node, "upstream.auth.password", problems));
        map.finish(problems);
        let Mechanism::Now(mechanism) = mechanism? else { return None };
        Some(Self { mechanism, username: username?, password: password? })
    }

    /// The password itself crosses the network with PLAIN, and nothing else hides it without TLS.
    pub(super) fn warn(&self, node: &Node, bootstrap: &[HostPort], tls: bool, problems: &mut Problems) {
        let away = bootstrap.iter().find(|broker| !is_loopback(broker));
        if let (UpstreamMechanism::Plain, false, Some(broker)) = (self.mechanism, tls, away) {
            problems.warning(
                &node.place,
                format!("the password for `{broker}` crosses the network in clear text"),
                "add  upstream.tls, or use  mechanism: scram-sha-512  which sends a proof instead",
            );
        }
    }
}

enum Mechanism {
    Now(UpstreamMechanism),
    /// Promised, and refused by name.
    Later,
}

fn read_mechanism(node: &Node, map: &mut MapReader<'_>, problems: &mut Problems) -> Option<Mechanism> {
    use weir_authn::ScramHash::{Sha256, Sha512};
    match node.as_str("mechanism", problems)? {
        "plain" => Some(Mechanism::Now(UpstreamMechanism::Plain)),
        "scram-sha-256" => Some(Mechanism::Now(UpstreamMechanism::Scram(Sha256))),
        "scram-sha-512" => Some(Mechanism::Now(UpstreamMechanism::Scram(Sha512))),
        "oauthbearer" => {
            unsupported::value(&node.place, "upstream.auth.mechanism: oauthbearer", MECHANISMS, problems);
            for key in ["token_url", "client_id", "client_secret"] {
                unsupported::key(map, key, &format!("upstream.auth.{key}"), MECHANISMS, problems);
            }
            Some(Mechanism::Later)
        }
        _ => {
            problems.error(&node.place, "`upstream.auth.mechanism` has an unknown value", MECHANISMS);
            None
        }
    }
}

fn read_username(node: &Node, problems: &mut Problems) -> Option<String> {
    let name = node.as_str("username", problems)?;
    if name.is_empty() || name.len() > USERNAME_BYTES_MAX || name.chars().any(char::is_control) {
        let cure = format!("1 to {USERNAME_BYTES_MAX} bytes without control characters");
        problems.error(&node.place, "`upstream.auth.username` is not a name", cure);
        return None;
    }
    Some(name.to_owned())
}

fn is_loopback(broker: &HostPort) -> bool {
    broker.host.eq_ignore_ascii_case("localhost") || broker.ip().is_some_and(|ip| ip.is_loopback())
}

const MECHANISMS: &str = "one of  plain, scram-sha-256, scram-sha-512";

/// Bytes of a user's name (RFC 4616 section 2).
const USERNAME_BYTES_MAX: usize = 255;
