//! The handshake of a client that comes to a listener with TLS.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums are rustls's, and all failures end alike: the rest has words of its own"
)]

use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, Error, PeerIncompatible, ServerConfig, ServerConnection};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::explain::{rustls_error, words};

/// Why a client did not get through the handshake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct HandshakeError {
    /// The label of its counter.
    pub(crate) result: &'static str,
    /// Whose fault, and what to do.
    pub(crate) detail: String,
}

/// Takes a client through the handshake. No limit on its time: the caller's.
///
/// # Errors
///
/// When the client cannot, or does not want to.
pub(crate) async fn accept(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<(TcpStream, ServerConnection), HandshakeError> {
    let stream = TlsAcceptor::from(config).accept(tcp).await.map_err(|error| HandshakeError::of(&error))?;
    Ok(stream.into_inner())
}

impl HandshakeError {
    /// It took too long.
    pub(crate) fn timeout(after: std::time::Duration) -> Self {
        Self::new("timeout", format!("the client did not finish the handshake within {after:?}"))
    }

    /// weir stops.
    pub(crate) fn stopping() -> Self {
        Self::new("stopping", "weir stops")
    }

    /// Nothing to look at: who only tries whether a port is open comes and goes like this.
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self.result, "closed" | "stopping")
    }

    /// What a failed handshake means.
    pub(crate) fn of(error: &io::Error) -> Self {
        let Some(error) = rustls_error(error) else {
            return Self::new("closed", "the client closed the connection during the handshake");
        };
        match error {
            Error::InvalidMessage(_) => {
                Self::new("not_tls", "the client does not speak TLS; set its security.protocol to SASL_SSL, or SSL")
            }
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => Self::new("version", "the client offers no version of TLS that the listener's `min_version` allows"),
            Error::PeerIncompatible(reason) => Self::new("incompatible", format!("nothing in common: {reason:?}")),
            Error::AlertReceived(alert) => Self::refused(*alert),
            other => Self::new("failed", other.to_string()),
        }
    }

    fn refused(alert: AlertDescription) -> Self {
        let words = words(alert);
        match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate => Self::new(
                "refused",
                format!(
                    "the client refuses the listener's certificate (alert {words}): does it trust who signed it, and know weir by a name in it?"
                ),
            ),
            _ => Self::new("refused", format!("the client broke the handshake off (alert {words})")),
        }
    }

    fn new(result: &'static str, detail: impl Into<String>) -> Self {
        Self { result, detail: detail.into() }
    }
}
