//! `tls` of listeners and of the upstream: what it says, and whether the files that it names are good for it.

use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;
use weir_yaml::{MapReader, Node, Problems};

use super::{Files, HostPort, unsupported};
use crate::tls::{self, Identity, MaterialError, What};

/// The TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM: its certificate, then those that signed it.
    pub cert: PathBuf,
    /// PEM: the key of the certificate.
    pub key: PathBuf,
    /// The oldest version that clients may speak.
    pub min_version: TlsVersion,
}

/// The TLS towards brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM: the authorities that sign brokers' certificates; those of the system when absent.
    pub ca: Option<PathBuf>,
    /// PEM: the certificate and the key that weir shows to brokers.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in every broker's certificate, when that is not the one by which it is reached.
    pub server_name: Option<ServerName<'static>>,
    /// The oldest version that brokers may speak.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Reads `tls` of a listener whose clients are told `advertise`.
pub(super) fn read_listener(
    node: &Node,
    base: &Path,
    advertise: Option<&HostPort>,
    problems: &mut Problems,
) -> Option<ServerTls> {
    let mut map = MapReader::new(node, "tls", problems)?;
    let cert = map.required("cert", "a PEM file: the certificate, then those that signed it", problems);
    let key = map.required("key", "a PEM file: the private key of the certificate", problems);
    let cure = "clients log in with  auth: [oauthbearer]";
    unsupported::key(&mut map, "client_ca", "listeners.tls.client_ca", cure, problems);
    let min_version = read_min_version(map.take("min_version"), problems);
    map.finish(problems);
    let identity = read_identity(cert?, key?, base, problems)?;
    if let Some(advertise) = advertise
        && let Some(names) = identity.loaded.names_other_than(&advertise.host)
    {
        let message = format!("the certificate is not for `{}`, which clients are told", advertise.host);
        problems.warning(&cert?.place, message, format!("it is for {names}; clients that check names refuse it"));
    }
    Some(ServerTls { cert: identity.cert, key: identity.key, min_version: min_version? })
}

/// Reads `upstream.tls`.
pub(super) fn read_upstream(node: &Node, base: &Path, problems: &mut Problems) -> Option<UpstreamTls> {
    let mut map = MapReader::new(node, "tls", problems)?;
    let (ca_node, cert, key) = (map.take("ca"), map.take("cert"), map.take("key"));
    let server_name = match map.take("server_name") {
        Some(node) => read_server_name(node, problems).map(Some),
        None => Some(None),
    };
    let min_version = read_min_version(map.take("min_version"), problems);
    map.finish(problems);
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => {
            read_identity(cert, key, base, problems).map(|identity| Some((identity.cert, identity.key)))
        }
        (None, None) => Some(None),
        (Some(alone), None) => lonely(alone, "`cert` without `key`", problems),
        (None, Some(alone)) => lonely(alone, "`key` without `cert`", problems),
    };
    let ca = match ca_node {
        Some(node) => read_path(node, "ca", base, problems).map(Some),
        None => Some(None),
    }?;
    if let Err(error) = tls::load_authorities(&Files::default(), ca.as_deref()) {
        problems.error(&ca_node.unwrap_or(node).place, error.to_string(), error.cure());
    }
    Some(UpstreamTls { ca, identity: identity?, server_name: server_name?, min_version: min_version? })
}

fn lonely<T>(node: &Node, what: &str, problems: &mut Problems) -> Option<T> {
    problems.error(&node.place, format!("`upstream.tls` has {what}"), "brokers check both or neither");
    None
}

/// A certificate and its key, and where they are.
struct LocatedIdentity {
    cert: PathBuf,
    key: PathBuf,
    loaded: Identity,
}

fn read_identity(cert: &Node, key: &Node, base: &Path, problems: &mut Problems) -> Option<LocatedIdentity> {
    let (cert_path, key_path) = (read_path(cert, "cert", base, problems), read_path(key, "key", base, problems));
    let (cert_path, key_path) = (cert_path?, key_path?);
    match tls::load_identity(&Files::default(), &cert_path, &key_path) {
        Ok(loaded) => {
            judge_validity(&loaded, cert, &cert_path, problems);
            Some(LocatedIdentity { cert: cert_path, key: key_path, loaded })
        }
        Err(error) => {
            let node = match error.what() {
                What::Certificate | What::Authorities => cert,
                What::Key => key,
            };
            problems.error(&node.place, error.to_string(), error.cure());
            None
        }
    }
}

/// A warning, no error: whoever checks certificates refuses it, and other listeners should not stay closed because of that.
fn judge_validity(identity: &Identity, node: &Node, path: &Path, problems: &mut Problems) {
    let validity = identity.validity;
    if validity.has_expired() {
        let expired = MaterialError::Expired { path: path.to_owned(), not_after: validity.not_after };
        problems.warning(&node.place, expired.to_string(), "whoever checks it refuses it; put a new one in its place");
    } else if !validity.has_begun() {
        let begins = tls::date(validity.not_before);
        let message = format!("certificate `{}` is not valid before {begins}", path.display());
        problems.warning(&node.place, message, "whoever checks it refuses it until then; is the clock right?");
    }
}

fn read_path(node: &Node, key: &str, base: &Path, problems: &mut Problems) -> Option<PathBuf> {
    match node.as_str(key, problems)? {
        "" => node.unexpected(key, "a path", problems),
        text if text.contains("-----BEGIN") => {
            problems.error(&node.place, format!("`tls.{key}` is a literal"), "name a file with it");
            None
        }
        path => Some(base.join(path)),
    }
}

fn read_server_name(node: &Node, problems: &mut Problems) -> Option<ServerName<'static>> {
    let name = ServerName::try_from(node.as_str("server_name", problems)?.to_owned()).ok();
    if name.is_none() {
        problems.error(&node.place, "`server_name` is not a host name", "as in  server_name: kafka.internal");
    }
    name
}

fn read_min_version(node: Option<&Node>, problems: &mut Problems) -> Option<TlsVersion> {
    let Some(node) = node else { return Some(TlsVersion::Tls12) };
    // Without quotes it is a number to YAML.
    let text = match &node.value {
        weir_yaml::Value::Float(number) => number.to_string(),
        weir_yaml::Value::String(text) => text.clone(),
        weir_yaml::Value::Null
        | weir_yaml::Value::Bool(_)
        | weir_yaml::Value::Int(_)
        | weir_yaml::Value::List(_)
        | weir_yaml::Value::Map(_) => String::new(),
    };
    match text.as_str() {
        "1.2" => Some(TlsVersion::Tls12),
        "1.3" => Some(TlsVersion::Tls13),
        _ => {
            problems.error(&node.place, "`min_version` is not a version of TLS that weir speaks", "\"1.2\" or \"1.3\"");
            None
        }
    }
}
