//! `host:port`, as clients and brokers write it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use weir_yaml::{Node, Problems};

/// A host name or address, and a port above 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl HostPort {
    /// Reads a node as `host:port`.
    pub(super) fn read(node: &Node, what: &str, problems: &mut Problems) -> Option<HostPort> {
        let text = node.as_str(what, problems)?;
        let address = text.parse().ok();
        if address.is_none() {
            problems.error(&node.place, format!("`{what}` is not a host and a port"), "as in  kafka-1.internal:9092");
        }
        address
    }

    /// The host as an address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError)?;
        let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match in_brackets {
            Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(HostPortError),
            None if is_host_name(host) => host,
            None => return Err(HostPortError),
        };
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HostPortError);
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(HostPort { host: host.to_owned(), port }),
            Ok(_) | Err(_) => Err(HostPortError),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The text is not `host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host and a port")]
pub struct HostPortError;

/// Underscores are not legal in host names and common in container networks.
fn is_host_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// The longest DNS name in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, u16)>) {
        let expected = expected.map(|(host, port)| HostPort { host: host.to_owned(), port });
        assert_eq!(text.parse::<HostPort>().ok(), expected, "{text}");
        if let Some(address) = expected {
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn reads_names_and_addresses_with_a_port() {
        check("localhost:9092", Some(("localhost", 9092)));
        check("kafka_1.internal:1", Some(("kafka_1.internal", 1)));
        check("127.0.0.1:65535", Some(("127.0.0.1", 65535)));
        check("[::1]:9092", Some(("::1", 9092)));
    }

    #[test]
    fn refuses_what_cannot_be_connected_to() {
        for text in
            ["", "localhost", ":9092", "localhost:", "localhost:0", "localhost:65536", "localhost:+1", "::1:9092"]
        {
            check(text, None);
        }
        for text in ["kafka://host:9092", "a b:1", "[localhost]:1", "[::1]", "höst:1"] {
            check(text, None);
        }
    }
}
