//! `listeners`: the doors, and who may come in.

use std::net::SocketAddr;
use std::path::Path;

use weir_yaml::{MapReader, Node, Place, Problems, Value, suggest};

use super::address::HostPort;
use super::identity::IdentityConfig;
use super::operations::read_socket;
use super::tls::{self, ServerTls};
use super::unsupported;

/// A door for clients. The broker at index `i` of the node ids has the port + 1 + `i`, bound and advertised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name in logs, metrics and entries; no other listener has it.
    pub name: String,
    /// Where its bootstrap is bound.
    pub bind: SocketAddr,
    /// What clients are told.
    pub advertise: HostPort,
    /// How clients log in.
    pub auth: ListenerAuth,
    /// Its TLS; none is plain text.
    pub tls: Option<ServerTls>,
    /// The configuration says that plaintext off loopback is meant.
    pub insecure: bool,
}

/// How clients of a listener log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerAuth {
    /// With a token (RFC 7628).
    Oauthbearer,
    /// Not at all: everybody is `anonymous`, in these groups.
    Anonymous {
        /// The groups, `anonymous` unless the configuration says otherwise.
        groups: Vec<String>,
    },
}

/// A listener, and where what matters stands.
pub(super) struct LocatedListener {
    pub(super) listener: Listener,
    pub(super) bind_place: Place,
    /// Where `advertise` stands; `bind` when it is absent.
    pub(super) advertise_place: Place,
    pub(super) auth_place: Place,
}

pub(super) fn read(node: &Node, base: &Path, problems: &mut Problems) -> Option<Vec<LocatedListener>> {
    let items = node.as_list("listeners", problems)?;
    if items.is_empty() {
        problems.error(&node.place, "`listeners` is empty", "add at least one: clients connect to it");
        return None;
    }
    let listeners: Vec<Option<LocatedListener>> =
        items.iter().map(|item| read_listener(item, base, problems)).collect();
    // Those that could be read are checked for ports even when another is wrong; the caller gives up because of the error.
    let listeners: Vec<LocatedListener> = listeners.into_iter().flatten().collect();
    for (index, located) in listeners.iter().enumerate() {
        let name = &located.listener.name;
        if listeners.iter().take(index).any(|other| other.listener.name == *name) {
            problems.error(
                &located.bind_place,
                format!("two listeners are called `{name}`"),
                "logs and metrics tell them apart by name",
            );
        }
    }
    Some(listeners)
}

/// A listener that takes tokens needs somebody who issues them.
pub(super) fn check_tokens(listeners: &[LocatedListener], identity: &IdentityConfig, problems: &mut Problems) {
    for located in listeners {
        if located.listener.auth == ListenerAuth::Oauthbearer && identity.issuers.is_empty() {
            let message = format!("listener `{}` asks for tokens, and no issuer is configured", located.listener.name);
            problems.error(&located.auth_place, message, "add  identity: { issuers: [ … ] }");
        }
    }
}

fn read_listener(node: &Node, base: &Path, problems: &mut Problems) -> Option<LocatedListener> {
    let mut map = MapReader::new(node, "a listener", problems)?;
    let name = map
        .required("name", "logs and metrics tell listeners apart by name", problems)
        .and_then(|node| read_name(node, problems));
    let bind_node = map.required("bind", "as in  bind: \"127.0.0.1:9192\"", problems);
    let bind = bind_node.and_then(|node| read_socket(node, "bind", problems));
    let advertise_node = map.take("advertise");
    let advertise = read_advertise(advertise_node, bind, bind_node, problems);
    let tls_node = map.take("tls");
    let tls = match tls_node {
        Some(node) => tls::read_listener(node, base, advertise.as_ref(), problems).map(Some),
        None => Some(None),
    };
    unsupported::key(&mut map, "brokers", "listeners.brokers", "brokers have the ports after the bootstrap", problems);
    let cure =
        "auth: [oauthbearer]  or  auth: { anonymous: {} }; it has no default, so that no door is open by mistake";
    let auth_node = map.required("auth", cure, problems);
    let auth = auth_node.and_then(|node| read_auth(node, problems));
    let insecure = match map.take("insecure") {
        Some(node) => node.as_bool("insecure", problems),
        None => Some(false),
    };
    map.finish(problems);

    if let (Some(bind), Some(bind_node), Some(false), false) = (bind, bind_node, insecure, tls_node.is_some())
        && !is_loopback(bind)
    {
        let anonymous = matches!(auth, Some(ListenerAuth::Anonymous { .. }));
        let risk = if anonymous { "anybody who reaches it comes in" } else { "tokens cross the network in clear text" };
        let of = name.as_ref().map(|name| format!(" of listener `{name}`")).unwrap_or_default();
        let message = format!("`bind`{of} is off loopback and has no TLS");
        problems.error(&bind_node.place, message, format!("{risk}; if that is meant, add  insecure: true"));
    }
    let bind_place = bind_node?.place.clone();
    Some(LocatedListener {
        advertise_place: advertise_node.map_or_else(|| bind_place.clone(), |node| node.place.clone()),
        bind_place,
        auth_place: auth_node?.place.clone(),
        listener: Listener {
            name: name?,
            bind: bind?,
            advertise: advertise?,
            auth: auth?,
            insecure: insecure? && tls_node.is_none(),
            tls: tls?,
        },
    })
}

fn read_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let name = node.as_str("name", problems)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(legal) {
        let cure = format!("letters, digits, `-`, `_` and `.`, at most {NAME_BYTES_MAX}");
        problems.error(&node.place, "this is not a name for a listener", cure);
        return None;
    }
    Some(name.to_owned())
}

fn read_advertise(
    node: Option<&Node>,
    bind: Option<SocketAddr>,
    bind_node: Option<&Node>,
    problems: &mut Problems,
) -> Option<HostPort> {
    let Some(node) = node else {
        let (bind, bind_node) = (bind?, bind_node?);
        if bind.ip().is_unspecified() {
            let message = format!("`advertise` is required, because `bind` is {}", bind.ip());
            problems.error(&bind_node.place, message, "say which name and port clients are to use");
            return None;
        }
        return Some(HostPort { host: bind.ip().to_string(), port: bind.port() });
    };
    let advertise = HostPort::read(node, "advertise", problems)?;
    if advertise.ip().is_some_and(|ip| ip.is_unspecified()) {
        let message = format!("`advertise` is {}, where no client can connect to", advertise.host);
        problems.error(&node.place, message, "say which name and port clients are to use");
        return None;
    }
    Some(advertise)
}

fn read_auth(node: &Node, problems: &mut Problems) -> Option<ListenerAuth> {
    match &node.value {
        Value::List(items) => read_mechanisms(node, items, problems),
        Value::Map(_) => read_anonymous(node, problems),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            let cure = "auth: [oauthbearer]  or  auth: { anonymous: {} }";
            problems.error(&node.place, "`auth` must be a list of mechanisms, or anonymous", cure);
            None
        }
    }
}

fn read_mechanisms(node: &Node, items: &[Node], problems: &mut Problems) -> Option<ListenerAuth> {
    if items.is_empty() {
        problems.error(&node.place, "`auth` is empty, so nobody could log in", "as in  auth: [oauthbearer]");
        return None;
    }
    let mut auth = Some(ListenerAuth::Oauthbearer);
    for item in items {
        let name = match item.as_str("auth", problems) {
            Some("oauthbearer") => continue,
            Some(name) => name,
            None => "",
        };
        auth = None;
        if MECHANISMS_LATER.contains(&name) {
            unsupported::value(&item.place, name, "this build has  oauthbearer", problems);
        } else if name == "anonymous" {
            problems.error(&item.place, "`anonymous` is not a mechanism", "write  auth: { anonymous: {} }");
        } else if !name.is_empty() {
            let cure = suggest(name, &["oauthbearer"]).map(|near| format!("did you mean `{near}`?"));
            problems.error(
                &item.place,
                "this is not a mechanism",
                cure.unwrap_or_else(|| "as in  auth: [oauthbearer]".into()),
            );
        }
    }
    auth
}

fn read_anonymous(node: &Node, problems: &mut Problems) -> Option<ListenerAuth> {
    let mut map = MapReader::new(node, "auth", problems)?;
    let anonymous = map.required("anonymous", "auth: [oauthbearer]  or  auth: { anonymous: {} }", problems);
    map.finish(problems);
    let anonymous = anonymous?;
    let default = || vec![ANONYMOUS_GROUP.to_owned()];
    if anonymous.is_null() {
        return Some(ListenerAuth::Anonymous { groups: default() });
    }
    let mut map = MapReader::new(anonymous, "anonymous", problems)?;
    let groups = match map.take("groups") {
        Some(node) => node.str_list("groups", problems),
        None => Some(default()),
    };
    map.finish(problems);
    Some(ListenerAuth::Anonymous { groups: groups? })
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The group of anonymous clients unless a listener says otherwise.
const ANONYMOUS_GROUP: &str = "anonymous";
/// What `auth` will take once it is built.
const MECHANISMS_LATER: &[&str] = &["scram-sha-256", "scram-sha-512", "plain", "mtls"];
/// Bytes of a name; it is a metric label and stands in each entry.
const NAME_BYTES_MAX: usize = 64;
