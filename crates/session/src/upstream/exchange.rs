//! One login, as requests and answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use weir_authn::{Challenge, ClientFinal, ClientFirst};
use weir_protocol::{ApiKey, check_response};

use super::{Salted, Salting, UpstreamLogin, UpstreamLoginError, UpstreamMechanism};
use crate::api::encode_request;
use crate::cleared::{Cleared, NoEntry};
use crate::refusal::Code;
use crate::vetted::Vetted;

/// The handshake after which tokens ride in SaslAuthenticate.
const HANDSHAKE_VERSION: i16 = 1;

/// The newest SaslAuthenticate that weir speaks; 1 and above tell the lifetime of the session.
const AUTHENTICATE_VERSION_MAX: i16 = 2;

/// Mechanisms of the broker that are named in a message.
const OFFERED_MAX: usize = 8;

/// The greatest versions that the broker speaks of the two APIs; `None` where it speaks none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    pub(crate) handshake: Option<(i16, i16)>,
    pub(crate) authenticate: Option<(i16, i16)>,
}

/// One login that is going on.
pub(crate) struct Exchange {
    login: Arc<UpstreamLogin>,
    authenticate_version: i16,
    correlation_id: i32,
    client_id: &'static str,
    step: Step,
}

/// What the next answer belongs to.
enum Step {
    Handshake {
        nonce: String,
    },
    Plain,
    ScramFirst(ClientFirst),
    /// No answer: the password that is being salted.
    Salting(Challenge),
    ScramFinal(ClientFinal),
    Over,
}

/// A request of the login, ready to be written.
pub(crate) struct Ask {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) cleared: Cleared,
}

/// What an answer led to.
pub(crate) enum Progress {
    /// This is to be asked next.
    Ask(Ask),
    /// This is to be done next, and told with [`Exchange::take_salted`].
    Salt(Salting),
    /// weir is in.
    In(LoggedIn),
}

/// The broker let weir in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoggedIn {
    /// How long the login lasts; `None`: as long as the connection (KIP-368).
    pub(crate) lifetime: Option<Duration>,
}

impl Exchange {
    /// Begins a login. `nonce` is fresh for each; all requests have the one correlation id, since each waits for the answer before it.
    pub(crate) fn begin(
        login: Arc<UpstreamLogin>,
        versions: Versions,
        (correlation_id, client_id): (i32, &'static str),
        nonce: String,
    ) -> Result<(Self, Ask), UpstreamLoginError> {
        let needed = |api: ApiKey, needed| UpstreamLoginError::TooOld { api: api.name(), needed };
        if versions.handshake.is_none_or(|(min, max)| !(min..=max).contains(&HANDSHAKE_VERSION)) {
            return Err(needed(ApiKey::SaslHandshake, HANDSHAKE_VERSION));
        }
        let authenticate_version = match versions.authenticate {
            Some((min, max)) if min <= AUTHENTICATE_VERSION_MAX => max.min(AUTHENTICATE_VERSION_MAX),
            Some(_) | None => return Err(needed(ApiKey::SaslAuthenticate, AUTHENTICATE_VERSION_MAX)),
        };
        let mechanism = StrBytes::from_static_str(login.mechanism().name());
        let step = Step::Handshake { nonce };
        let exchange = Self { login, authenticate_version, correlation_id, client_id, step };
        let body = SaslHandshakeRequest::default().with_mechanism(mechanism);
        let ask = exchange.ask(ApiKey::SaslHandshake, HANDSHAKE_VERSION, &body)?;
        Ok((exchange, ask))
    }

    /// Who logs in.
    pub(crate) fn login(&self) -> &Arc<UpstreamLogin> {
        &self.login
    }

    /// The correlation id of its requests.
    pub(crate) fn correlation_id(&self) -> i32 {
        self.correlation_id
    }

    /// The answer to what was asked last, without its size prefix.
    pub(crate) fn take_answer(&mut self, frame: BytesMut) -> Result<Progress, UpstreamLoginError> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Handshake { nonce } => {
                self.shake_hands(frame)?;
                self.first_message(nonce)
            }
            Step::Plain => self.authenticated(frame).map(|(_, logged_in)| Progress::In(logged_in)),
            Step::ScramFirst(first) => {
                let (server_first, _) = self.authenticated(frame)?;
                let UpstreamMechanism::Scram(hash) = self.login.mechanism() else { return Err(Self::nobody_asked()) };
                let challenge = first.challenge(&server_first).map_err(|source| self.given_up(source))?;
                let salting = Salting::of(&self.login, hash, &challenge);
                match salting.done() {
                    Some(salted) => self.prove(challenge, &salted),
                    None => {
                        self.step = Step::Salting(challenge);
                        Ok(Progress::Salt(salting))
                    }
                }
            }
            Step::ScramFinal(last) => {
                let (server_final, logged_in) = self.authenticated(frame)?;
                last.verify(&server_final).map_err(|source| self.given_up(source))?;
                Ok(Progress::In(logged_in))
            }
            Step::Salting(_) | Step::Over => Err(Self::nobody_asked()),
        }
    }

    /// The password is salted. `None` where nobody waits for one.
    pub(crate) fn take_salted(&mut self, salted: &Salted) -> Result<Option<Progress>, UpstreamLoginError> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Salting(challenge) => self.prove(challenge, salted).map(Some),
            step @ (Step::Handshake { .. } | Step::Plain | Step::ScramFirst(_) | Step::ScramFinal(_) | Step::Over) => {
                self.step = step;
                Ok(None)
            }
        }
    }

    fn prove(&mut self, challenge: Challenge, salted: &Salted) -> Result<Progress, UpstreamLoginError> {
        let last = challenge.prove(&salted.0);
        let ask = self.authenticate(last.message().as_bytes())?;
        self.step = Step::ScramFinal(last);
        Ok(Progress::Ask(ask))
    }

    fn first_message(&mut self, nonce: String) -> Result<Progress, UpstreamLoginError> {
        let login = Arc::clone(&self.login);
        let ask = match login.mechanism() {
            UpstreamMechanism::Plain => {
                let message = [b"\0", login.username.as_bytes(), b"\0", login.password.as_bytes()].concat();
                let message = zeroize::Zeroizing::new(message);
                self.step = Step::Plain;
                self.authenticate(&message)?
            }
            UpstreamMechanism::Scram(hash) => {
                let first = ClientFirst::new(hash, &login.username, nonce);
                let ask = self.authenticate(first.message().as_bytes())?;
                self.step = Step::ScramFirst(first);
                ask
            }
        };
        Ok(Progress::Ask(ask))
    }

    fn shake_hands(&self, frame: BytesMut) -> Result<(), UpstreamLoginError> {
        let answer: SaslHandshakeResponse = self.read(ApiKey::SaslHandshake, HANDSHAKE_VERSION, frame)?;
        let mechanism = self.login.mechanism().name();
        if answer.error_code == 0 {
            return Ok(());
        }
        if answer.error_code == Code::UnsupportedSaslMechanism.code() {
            let offered = answer.mechanisms.iter().take(OFFERED_MAX).map(StrBytes::as_str).collect::<Vec<_>>();
            let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
            return Err(UpstreamLoginError::MechanismRefused { mechanism, offered: self.login.quoted(&offered) });
        }
        if answer.error_code == Code::IllegalSaslState.code() {
            return Err(UpstreamLoginError::NotExpected);
        }
        Err(self.refused(answer.error_code, "no reason given"))
    }

    /// The broker's message, and how long the login lasts should it be the last.
    fn authenticated(&self, frame: BytesMut) -> Result<(Bytes, LoggedIn), UpstreamLoginError> {
        let answer: SaslAuthenticateResponse = self.read(ApiKey::SaslAuthenticate, self.authenticate_version, frame)?;
        if answer.error_code != 0 {
            let message = answer.error_message.as_ref().map(StrBytes::as_str).filter(|message| !message.is_empty());
            let message = message.unwrap_or("no reason given");
            return Err(self.refused(answer.error_code, message));
        }
        let lifetime = u64::try_from(answer.session_lifetime_ms).ok().filter(|lifetime| *lifetime > 0);
        Ok((answer.auth_bytes, LoggedIn { lifetime: lifetime.map(Duration::from_millis) }))
    }

    fn refused(&self, code: i16, message: &str) -> UpstreamLoginError {
        let (mechanism, username) = (self.login.mechanism().name(), self.login.username.clone());
        UpstreamLoginError::Refused { mechanism, username, code, message: self.login.quoted(message) }
    }

    fn given_up(&self, source: weir_authn::ScramError) -> UpstreamLoginError {
        let (mechanism, username) = (self.login.mechanism().name(), self.login.username.clone());
        UpstreamLoginError::Scram { mechanism, username, source }
    }

    fn nobody_asked() -> UpstreamLoginError {
        UpstreamLoginError::Malformed("nothing was asked".to_owned())
    }

    fn read<T: Decodable>(&self, api: ApiKey, version: i16, frame: BytesMut) -> Result<T, UpstreamLoginError> {
        let response = check_response(api, version, self.correlation_id, &frame)
            .map_err(|error| UpstreamLoginError::Malformed(error.to_string()))?;
        let mut body = frame.freeze().slice(response.body..);
        T::decode(&mut body, version).map_err(|_| UpstreamLoginError::Malformed("a body of another form".to_owned()))
    }

    fn authenticate(&self, message: &[u8]) -> Result<Ask, UpstreamLoginError> {
        let body = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(message));
        self.ask(ApiKey::SaslAuthenticate, self.authenticate_version, &body)
    }

    fn ask<T: Encodable>(&self, api: ApiKey, version: i16, body: &T) -> Result<Ask, UpstreamLoginError> {
        let vetted = encode_request(api, version, self.correlation_id, self.client_id, body)
            .and_then(|frame| Vetted::request(api, frame))
            .ok_or_else(|| UpstreamLoginError::TooOld { api: api.name(), needed: version })?;
        Ok(Ask { api, version, cleared: Cleared::without_entry(vetted, NoEntry::ControlPlane) })
    }
}
