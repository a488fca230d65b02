//! Asks once what the running gateway asks all the time, for whoever wants to know before it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use weir_session::{Control, ControlError, Learned, UpstreamLogin};

use super::clock::Clock;
use super::dial::{DialError, Dialer};
use super::keys::{self, Tried};
use super::salting::salted;
use super::socket::{self, Read, Socket};
use crate::config::{HostPort, KeySource, Upstream};
use crate::tls::{MaterialError, Swap, TlsStore};

/// How long all answers of a broker together may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a broker did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// It was not reached.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// It was, and then.
    #[error("{broker} {what}")]
    Broker {
        /// Which.
        broker: HostPort,
        /// What it did.
        what: String,
    },
}

/// The way to the brokers.
pub(crate) struct Probe {
    dialer: Dialer,
    /// Who weir is to them.
    login: Option<Arc<UpstreamLogin>>,
}

impl Probe {
    /// The way that a configuration describes.
    ///
    /// # Errors
    ///
    /// When a certificate cannot be used.
    pub(crate) fn new(upstream: &Upstream) -> Result<Self, MaterialError> {
        let connector = upstream.tls.as_ref().map(TlsStore::connector).transpose()?;
        let connector = connector.map(|connector| Arc::new(Swap::new(connector)));
        let login = upstream.auth.as_ref().map(|auth| Arc::new(auth.login()));
        Ok(Self { dialer: Dialer::new(upstream.connect_timeout, connector), login })
    }

    /// Connects and closes again.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached.
    pub(crate) async fn reach(&self, broker: &HostPort) -> Result<(), ProbeError> {
        self.dialer.dial(&broker.host, broker.port).await?;
        Ok(())
    }

    /// Logs in where that is configured, and gives what a broker says of the cluster.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or does not answer as a broker does.
    pub(crate) async fn ask(&self, broker: &HostPort) -> Result<Learned, ProbeError> {
        let socket = self.dialer.dial(&broker.host, broker.port).await?;
        let failed = |what| ProbeError::Broker { broker: broker.clone(), what };
        match timeout(ANSWER_TIMEOUT, learn(socket, self.login.clone())).await {
            Ok(learned) => learned.map_err(failed),
            Err(_) => Err(failed(format!(
                "gave no answer within {ANSWER_TIMEOUT:?}; does it speak Kafka, and does it want TLS?"
            ))),
        }
    }
}

async fn learn(mut socket: Socket, login: Option<Arc<UpstreamLogin>>) -> Result<Learned, String> {
    let io = |error: std::io::Error| format!("failed: {error}");
    let control = |error: ControlError| format!("was asked in vain: {error}");
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| format!("was not asked: no random bytes from the system: {error}"))?;
    let (mut machine, clock) = (Control::open(login, seed).map_err(control)?, Clock::start());
    loop {
        if let Some(salting) = machine.poll_salting() {
            let salted = salted(salting).await.ok_or("was not asked: the password could not be salted")?;
            machine.handle_salted(&salted, clock.now()).map_err(control)?;
        }
        while let Some(cleared) = machine.poll_to_broker() {
            socket.queue(cleared);
            socket.flush().await.map_err(io)?;
        }
        socket.readable().await.map_err(io)?;
        match socket.read(socket::READ_BYTES, |bytes| machine.handle_broker_bytes(bytes, clock.now())).map_err(io)? {
            Read::Closed => return Err("closed the connection; does it want TLS, or a login?".to_owned()),
            Read::Nothing => {}
            Read::Taken(learned) => {
                if let Some(learned) = learned.map_err(control)? {
                    return Ok(learned);
                }
            }
        }
    }
}

/// Fetches the keys of an issuer once.
///
/// # Errors
///
/// What went wrong, and what to do.
pub(crate) async fn fetch_keys(source: &KeySource) -> Result<Tried, (String, &'static str)> {
    keys::fetch_once(source.clone()).await
}
