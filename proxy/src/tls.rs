//! TLS: certificates and keys from files, checked when they are read, swapped while weir runs.
//!
//! rustls on aws-lc, the one provider of the process. Sessions are not resumed, on neither side: Kafka's connections live long, and so
//! each handshake shows the certificate of today and checks the broker's against the authorities of today.
//!
//! ```text
//! config/tls (what weir.yaml names) ─► material (files, checked) ─► store (a ServerConfig per listener, a Connector for brokers)
//!                                                                     ▲ looks at the files twice a second, swaps whole
//! accept (clients come) ◄── Swap ── store ── Swap ──► gateway/dial (brokers are reached)
//! ```

mod accept;
mod explain;
mod material;
mod store;
mod validity;

use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;

pub(crate) use accept::{HandshakeError, accept};
pub(crate) use explain::{explain, explain_handshake};
pub(crate) use material::{Identity, MaterialError, What, load_authorities, load_identity};
pub(crate) use store::{Renewals, TlsStore};
pub(crate) use validity::date;

/// How brokers are reached with TLS.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) config: Arc<rustls::ClientConfig>,
    /// The name that every broker's certificate must bear; none is the name that it is reached by.
    pub(crate) server_name: Option<ServerName<'static>>,
}

/// A value that is read often and swapped whole, seldom.
#[derive(Debug)]
pub(crate) struct Swap<T>(RwLock<Arc<T>>);

impl<T> Swap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// The one crypto provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
