//! SaslHandshake (17) version 1 and SaslAuthenticate (36) versions 0-2. KIP-43, KIP-152, KIP-255, KIP-368; RFC 7628.
//!
//! Only version 1 of the handshake is served: with version 0 raw tokens would follow without a header.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use weir_authn::{Authenticated, AuthnError, Identity, Principal, Verdict, parse_client_initial};

use super::{Action, Incoming};
use crate::context::{Door, DoorAuth};
use crate::refusal::Code;
use crate::time::Now;

const OAUTHBEARER: &str = "OAUTHBEARER";

/// Answers a handshake; true when the client may go on to authenticate.
pub(crate) fn handshake(door: &Door, incoming: &Incoming) -> (Action, bool) {
    let asked = match incoming.decode::<SaslHandshakeRequest>() {
        Ok(asked) => asked,
        Err(reason) => return (Action::Close(reason), false),
    };
    let code = match &door.auth {
        DoorAuth::Anonymous { .. } => Some(Code::IllegalSaslState),
        DoorAuth::Oauthbearer if &*asked.mechanism != OAUTHBEARER => Some(Code::UnsupportedSaslMechanism),
        DoorAuth::Oauthbearer => None,
    };
    let body = SaslHandshakeResponse::default()
        .with_error_code(code.map_or(0, Code::code))
        .with_mechanisms(vec![StrBytes::from_static_str(OAUTHBEARER)]);
    (incoming.answer(&body), code.is_none())
}

/// The answer to a handshake less than a second after the last login (T12).
pub(crate) fn too_early(incoming: &Incoming) -> Action {
    incoming.answer(&SaslHandshakeResponse::default().with_error_code(Code::IllegalSaslState.code()))
}

/// A login that failed: what the client is told, and the stable reason for logs and entries.
#[derive(Debug)]
pub(crate) struct LoginRefused {
    pub(crate) message: String,
    pub(crate) reason: &'static str,
}

impl From<AuthnError> for LoginRefused {
    fn from(error: AuthnError) -> Self {
        Self { message: error.to_string(), reason: error.code() }
    }
}

/// What a login comes to.
pub(crate) enum Judged {
    Accept(Authenticated),
    Refuse(LoginRefused),
    /// The keys of this issuer are to be fetched first.
    FetchKeys {
        issuer: String,
        otherwise: AuthnError,
    },
}

/// Checks the token. `before` is the principal of a session that logs in again: it must stay the same.
pub(crate) fn authenticate(identity: &Identity, incoming: &Incoming, before: Option<&Principal>, now: Now) -> Judged {
    let refuse = |message: String, reason| Judged::Refuse(LoginRefused { message, reason });
    let Ok(asked) = incoming.decode::<SaslAuthenticateRequest>() else {
        return refuse("the login message cannot be read".to_owned(), "malformed");
    };
    let initial = match parse_client_initial(&asked.auth_bytes) {
        Ok(initial) => initial,
        Err(error) => return refuse(error.to_string(), error.code()),
    };
    let authenticated = match identity.judge(&initial, now.wall) {
        Verdict::Accept(authenticated) => authenticated,
        Verdict::Refuse(error) => return Judged::Refuse(error.into()),
        Verdict::FetchKeys { issuer, otherwise } => return Judged::FetchKeys { issuer, otherwise },
    };
    if before.is_some_and(|before| {
        before.id != authenticated.principal.id || before.issuer != authenticated.principal.issuer
    }) {
        return refuse("another principal logged in on a live connection".to_owned(), "principal_changed");
    }
    Judged::Accept(authenticated)
}

/// The success reply, with the lifetime of the session (KIP-368).
pub(crate) fn accepted(incoming: &Incoming, expires_at: Duration, now: Now) -> Action {
    let lifetime = expires_at.saturating_sub(now.wall).as_millis();
    let body = SaslAuthenticateResponse::default()
        .with_auth_bytes(Bytes::new())
        .with_session_lifetime_ms(i64::try_from(lifetime).unwrap_or(i64::MAX));
    incoming.answer(&body)
}

/// The refusal: 58 at once, which all clients understand as well as the two-step exchange of RFC 7628 section 3.2.2.
pub(crate) fn refusal(incoming: &Incoming, message: &str) -> Action {
    let body = SaslAuthenticateResponse::default()
        .with_error_code(Code::SaslAuthenticationFailed.code())
        .with_error_message(Some(StrBytes::from_string(format!("weir: {message}"))));
    incoming.answer(&body)
}

/// The reply to SaslAuthenticate without a handshake before it.
pub(crate) fn out_of_order(incoming: &Incoming) -> Action {
    let body = SaslAuthenticateResponse::default()
        .with_error_code(Code::IllegalSaslState.code())
        .with_error_message(Some(StrBytes::from_static_str("weir: send SaslHandshake first")));
    incoming.answer(&body)
}
