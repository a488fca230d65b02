//! Reaches brokers: name, TCP and TLS, each failure with a line of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::socket::{self, Socket};
use crate::config::HostPort;
use crate::tls::{self, Connector, Swap};

/// How brokers are reached.
#[derive(Clone)]
pub(crate) struct Dialer {
    connect_timeout: Duration,
    /// None in plain text.
    tls: Option<Arc<Swap<Connector>>>,
}

/// Why a broker was not reached, for whoever has to repair it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Its name is unknown, or nobody listens there.
    #[error("cannot reach {broker}: {reason}")]
    Unreachable {
        /// The address.
        broker: HostPort,
        /// What the system said.
        reason: String,
    },
    /// Neither an answer nor a refusal.
    #[error("{broker} gave no {what} within {after:?}")]
    Timeout {
        /// The address.
        broker: HostPort,
        /// What was waited for.
        what: &'static str,
        /// `connect_timeout`.
        after: Duration,
    },
    /// The address is no name that a certificate could bear.
    #[error(
        "{broker} cannot be reached with TLS: `{name}` is not a name for a certificate; set `upstream.tls.server_name`"
    )]
    Name {
        /// The address.
        broker: HostPort,
        /// Its host.
        name: String,
    },
    /// The TLS handshake failed, or a side refused the other's certificate.
    #[error("{broker}: {reason}")]
    Tls {
        /// The address.
        broker: HostPort,
        /// Whose fault, and what to do.
        reason: String,
    },
}

impl Dialer {
    pub(crate) fn new(connect_timeout: Duration, tls: Option<Arc<Swap<Connector>>>) -> Self {
        Self { connect_timeout, tls }
    }

    /// Connects to a broker; with TLS its certificate has been checked then.
    ///
    /// # Errors
    ///
    /// When it cannot be reached within `connect_timeout`, or is not who it should be.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<Socket, DialError> {
        let broker = || HostPort { host: host.to_owned(), port };
        let deadline = Instant::now() + self.connect_timeout;
        let late = |what| move |_| DialError::Timeout { broker: broker(), what, after: self.connect_timeout };
        let unreachable =
            |error: io::Error| DialError::Unreachable { broker: broker(), reason: error.to_string().to_lowercase() };
        let connected = timeout_at(deadline, TcpStream::connect((host, port))).await.map_err(late("connection"))?;
        let tcp = connected.map_err(unreachable)?;
        socket::prepare(&tcp).map_err(unreachable)?;
        let Some(connector) = self.tls.as_ref().map(|tls| tls.get()) else { return Ok(Socket::plain(tcp)) };
        let name = match &connector.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|_| DialError::Name { broker: broker(), name: host.to_owned() })?,
        };
        let failed = |error| DialError::Tls { broker: broker(), reason: tls::explain_handshake(&error) };
        let handshake = TlsConnector::from(Arc::clone(&connector.config)).connect(name, tcp);
        let stream = timeout_at(deadline, handshake).await.map_err(late("TLS handshake"))?.map_err(failed)?;
        let (tcp, connection) = stream.into_inner();
        Socket::secured(tcp, connection.into()).map_err(failed)
    }
}
