//! `admin` and `log`: what operators look at.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_yaml::{MapReader, Node, Place, Problems, suggest};

use super::unsupported;

/// Where operators look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address of `/metrics`, `/livez` and `/readyz`.
    pub metrics: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { metrics: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), METRICS_PORT) }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Something failed that an operator must see to.
    Error,
    /// Something is odd.
    Warn,
    /// What happens now and then.
    #[default]
    Info,
    /// What happens with each connection.
    Debug,
    /// What happens with each request.
    Trace,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// `key=value` text.
    Text,
    /// One JSON object a line.
    Json,
}

/// The section, and where the address stands when it is not the default.
pub(super) struct LocatedAdmin {
    pub(super) admin: Admin,
    pub(super) metrics_place: Option<Place>,
}

pub(super) fn read_admin(node: Option<&Node>, problems: &mut Problems) -> Option<LocatedAdmin> {
    let Some(node) = node else { return Some(LocatedAdmin { admin: Admin::default(), metrics_place: None }) };
    let mut map = MapReader::new(node, "admin", problems)?;
    unsupported::key(&mut map, "api", "admin.api", "remove it", problems);
    let located = match map.take("metrics") {
        Some(node) => read_socket(node, "admin.metrics", problems)
            .map(|metrics| LocatedAdmin { admin: Admin { metrics }, metrics_place: Some(node.place.clone()) }),
        None => Some(LocatedAdmin { admin: Admin::default(), metrics_place: None }),
    };
    map.finish(problems);
    located
}

pub(super) fn read_log(node: Option<&Node>, problems: &mut Problems) -> Option<Log> {
    let Some(node) = node else { return Some(Log::default()) };
    let mut map = MapReader::new(node, "log", problems)?;
    let level = read_choice(map.take("level"), "log.level", LEVELS, problems);
    let format = read_choice(map.take("format"), "log.format", FORMATS, problems);
    map.finish(problems);
    Some(Log { level: level?, format: format? })
}

/// An address to listen at: an IP address and a port, no names.
pub(super) fn read_socket(node: &Node, what: &str, problems: &mut Problems) -> Option<SocketAddr> {
    let text = node.as_str(what, problems)?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Some(address),
        Ok(_) => {
            problems.error(&node.place, format!("`{what}` has port 0"), "choose the port: clients must find it again");
            None
        }
        Err(_) => {
            let cure = "as in  127.0.0.1:9192  or  [::1]:9192; not a name";
            problems.error(&node.place, format!("`{what}` is not an IP address and a port"), cure);
            None
        }
    }
}

/// One of a few words, or the default when the key is absent.
pub(super) fn read_choice<T: Copy + Default>(
    node: Option<&Node>,
    what: &str,
    choices: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let Some(node) = node else { return Some(T::default()) };
    let text = node.as_str(what, problems)?;
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let cure = match suggest(text, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", names.join(", ")),
    };
    problems.error(&node.place, format!("`{what}` has an unknown value"), cure);
    None
}

const METRICS_PORT: u16 = 9190;
const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
