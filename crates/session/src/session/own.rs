//! weir's own requests to the broker of a session: its name, its login, and the further logins before the broker's limit (KIP-368).
//!
//! ```text
//!   client's requests      │ A B │                    │ C D …      A, B: on their way to the broker
//!   weir's login           │     │ handshake, token … │            C, D: held back until it is through
//! ```
//!
//! A login is one slot of the queue, whatever it takes: it goes behind what the broker has already, and before everything else.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use weir_protocol::ApiKey;

use super::{Link, Session};
use crate::api::{Expect, encode_request};
use crate::cleared::{Cleared, NoEntry};
use crate::event::{CloseReason, Event};
use crate::pending::{ReplyStage, RequestStage, Slot};
use crate::time::Now;
use crate::upstream::{
    Ask, Exchange, Progress, Salted, Salting, Schedule, UpstreamLogin, UpstreamLoginError, Versions,
};
use crate::vetted::Vetted;

/// weir's name to the brokers (KIP-511).
const SOFTWARE_NAME: &str = "weir";
const SOFTWARE_VERSION: &str = env!("CARGO_PKG_VERSION");
const OWN_CLIENT_ID: &str = "weir/";
const OWN_API_VERSIONS: i16 = 3;

/// Correlation id of weir's own requests; the order in the queue identifies them.
const OWN_CORRELATION_ID: i32 = i32::MAX;

/// How long a broker may take for each answer to a login that nothing stands before.
const LOGIN_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How far weir is with proving to the broker who it is.
pub(super) struct BrokerLogin {
    schedule: Schedule,
    /// As whom it is in.
    user: Option<Arc<UpstreamLogin>>,
    running: Option<Running>,
    /// What the login that is running waits for.
    salting: Option<Salting>,
    /// Whether requests of the client may go.
    open: bool,
}

/// A login that is going on, in the slot with that serial number.
struct Running {
    exchange: Exchange,
    serial: u64,
}

impl BrokerLogin {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { schedule: Schedule::new(seed), user: None, running: None, salting: None, open: false }
    }

    /// When a further login is due.
    pub(super) fn again_at(&self) -> Option<Duration> {
        self.schedule.again_at()
    }
}

impl Session {
    /// Whether the broker is connected and lets weir's requests in.
    pub fn is_broker_open(&self) -> bool {
        self.link == Link::Up && self.broker_login.open
    }

    /// weir says its own name first, and logs in where brokers ask for it.
    pub(super) fn introduce(&mut self, now: Now) {
        match self.context.upstream.clone() {
            Some(upstream) => {
                if let Err(error) = self.begin_login(upstream, now) {
                    return self.close(CloseReason::BrokerLogin { again: false, error }, now);
                }
            }
            None => self.broker_login.open = true,
        }
        let spoken = self.view.as_ref().and_then(|view| view.spoken(self.door.node, ApiKey::ApiVersions));
        let version = spoken.map_or(0, |(_, max)| max.min(OWN_API_VERSIONS));
        let body = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(SOFTWARE_NAME))
            .with_client_software_version(StrBytes::from_static_str(SOFTWARE_VERSION));
        let frame = encode_request(ApiKey::ApiVersions, version, OWN_CORRELATION_ID, OWN_CLIENT_ID, &body);
        let Some(vetted) = frame.and_then(|frame| Vetted::request(ApiKey::ApiVersions, frame)) else { return };
        let cleared = Cleared::without_entry(vetted, NoEntry::ControlPlane);
        self.pending.push_next(own_slot(Ask { api: ApiKey::ApiVersions, version, cleared }, Expect::Own, now));
    }

    /// Logs in again, before the broker takes the connection for expired. What the client sent and the broker has not got waits.
    pub(super) fn renew_login(&mut self, now: Now) {
        if self.broker_login.again_at().is_none_or(|at| at > now.monotonic) {
            return;
        }
        if self.link != Link::Up || self.closing || self.ending {
            return self.broker_login.schedule.stop();
        }
        #[cfg(feature = "sabotage")]
        if self.context.sabotage == Some(crate::Sabotage::RenewOff) {
            return self.broker_login.schedule.stop();
        }
        // Brokers take no other user on a connection that lives.
        let same =
            |user: &Arc<UpstreamLogin>| self.broker_login.user.as_ref().is_some_and(|before| before.is_same_user(user));
        let begun = match self.context.upstream.clone().filter(same) {
            Some(upstream) => self.begin_login(upstream, now),
            None => Err(UpstreamLoginError::OtherUser),
        };
        if let Err(error) = begun {
            self.close(CloseReason::BrokerLogin { again: true, error }, now);
        }
    }

    fn begin_login(&mut self, upstream: Arc<UpstreamLogin>, now: Now) -> Result<(), UpstreamLoginError> {
        let spoken = |api| self.view.as_ref().and_then(|view| view.spoken(self.door.node, api));
        let versions =
            Versions { handshake: spoken(ApiKey::SaslHandshake), authenticate: spoken(ApiKey::SaslAuthenticate) };
        let nonce = self.broker_login.schedule.begin();
        let (exchange, ask) = Exchange::begin(upstream, versions, (OWN_CORRELATION_ID, OWN_CLIENT_ID), nonce)?;
        let serial = self.pending.push_next(own_slot(ask, Expect::Login, now));
        self.broker_login.running = Some(Running { exchange, serial });
        Ok(())
    }

    /// The broker's answer to a step of the login.
    pub(super) fn take_login_answer(&mut self, frame: BytesMut, now: Now) -> Result<(), CloseReason> {
        let again = self.broker_login.open;
        let refused = |error| CloseReason::BrokerLogin { again, error };
        let nobody = || refused(UpstreamLoginError::Malformed("nothing was asked".to_owned()));
        let running = self.broker_login.running.as_mut().ok_or_else(nobody)?;
        let progress = running.exchange.take_answer(frame).map_err(refused)?;
        self.login_goes_on(progress, now)
    }

    /// A password that weir's login to the broker needs salted. The work takes milliseconds: its result comes back through
    /// [`Session::handle_salted`].
    pub fn poll_salting(&mut self) -> Option<Salting> {
        self.broker_login.salting.take().filter(|_| !self.closing)
    }

    /// What came of a [`Salting`] of this session.
    pub fn handle_salted(&mut self, salted: &Salted, now: Now) {
        let again = self.broker_login.open;
        let Some(running) = self.broker_login.running.as_mut().filter(|_| !self.closing) else { return };
        let gone_on = match running.exchange.take_salted(salted) {
            Ok(None) => Ok(()),
            Ok(Some(progress)) => self.login_goes_on(progress, now),
            Err(error) => Err(CloseReason::BrokerLogin { again, error }),
        };
        if let Err(reason) = gone_on {
            self.close(reason, now);
        }
        self.advance(now);
    }

    fn login_goes_on(&mut self, progress: Progress, now: Now) -> Result<(), CloseReason> {
        let again = self.broker_login.open;
        let nobody = || {
            let error = UpstreamLoginError::Malformed("nothing was asked".to_owned());
            CloseReason::BrokerLogin { again, error }
        };
        let running = self.broker_login.running.as_mut().ok_or_else(nobody)?;
        let slot = self.pending.get_mut(running.serial).ok_or_else(nobody)?;
        match progress {
            Progress::Salt(salting) => self.broker_login.salting = Some(salting),
            Progress::Ask(ask) => {
                slot.api = ask.api;
                slot.upstream_version = ask.version;
                slot.request = RequestStage::Ready(ask.cleared);
            }
            Progress::In(logged_in) => {
                slot.reply = ReplyStage::Ready(None);
                self.broker_login.user = Some(Arc::clone(running.exchange.login()));
                self.broker_login.running = None;
                self.broker_login.open = true;
                self.broker_login.schedule.logged_in(logged_in.lifetime, now);
                self.events.push_back(Event::BrokerLoggedIn { again, lifetime: logged_in.lifetime });
            }
        }
        Ok(())
    }

    /// When a broker that does not answer weir's login is given up. Not while anything stands before it: that may be a long poll.
    pub(super) fn login_due(&self) -> Option<(Duration, CloseReason)> {
        self.broker_login.running.as_ref()?;
        let front = self.pending.front().filter(|slot| slot.is_own())?;
        let since = front.received.monotonic.max(self.deadlines.broker_heard());
        let detail = format!("no answer to weir's login within {LOGIN_ANSWER_TIMEOUT:?}");
        Some((since.saturating_add(LOGIN_ANSWER_TIMEOUT), CloseReason::BrokerDown { detail }))
    }
}

fn own_slot(ask: Ask, expect: Expect, now: Now) -> Slot {
    Slot {
        api: ask.api,
        version: ask.version,
        upstream_version: ask.version,
        correlation_id: OWN_CORRELATION_ID,
        request: RequestStage::Ready(ask.cleared),
        reply: ReplyStage::Broker(expect),
        ..Slot::local(now)
    }
}
