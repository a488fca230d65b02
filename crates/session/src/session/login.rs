//! The login: who the client is, and the wait for the keys that can tell.

use std::sync::Arc;
use std::time::Duration;

use weir_audit::{Commit, Kind, Outcome};
use weir_authn::{Authenticated, AuthnError};

use super::ledger::{Side, Waiter};
use super::{Login, Session};
use crate::api::sasl::{Judged, LoginRefused};
use crate::api::{Action, Incoming, sasl};
use crate::caller::{Caller, principal_ref};
use crate::cleared::Held;
use crate::context::{Context, DoorAuth};
use crate::event::{CloseReason, Ending, Event};
use crate::pending::{Otherwise, ReplyStage};
use crate::refusal::Code;
use crate::time::Now;
use crate::vetted::Vetted;

/// How long a login waits for the keys of its token's issuer: more than an attempt that began before it came and
/// the one that is made for it take together, and less than the `login_timeout` of 10 s.
pub const KEYS_WAIT_MAX: Duration = Duration::from_secs(9);

/// What is left of `login_timeout` for the answer to a login that waited.
const LOGIN_ANSWER_RESERVE: Duration = Duration::from_secs(1);

/// A login that waits for keys. Nothing behind it is read meanwhile.
pub(super) struct HeldLogin {
    serial: u64,
    incoming: Incoming,
    /// When it is decided with the keys that are there, on the monotonic clock.
    until: Duration,
}

impl HeldLogin {
    pub(super) fn until(&self) -> Duration {
        self.until
    }
}

/// What was done about keys that a login lacks.
enum Keys {
    NotAskedFor,
    /// They were asked for, and nobody said yet what came of it.
    Awaited {
        until: Duration,
    },
    /// They came as they are, or did not.
    AskedFor {
        fetched: bool,
    },
}

impl Session {
    pub(super) fn handshake(&mut self, serial: u64, incoming: &Incoming, now: Now) {
        let (action, accepted) = sasl::handshake(&self.door, incoming);
        match &mut self.login {
            Login::LoggedIn { .. } if accepted && !self.deadlines.may_log_in_again(now) => {
                let answer = sasl::too_early(incoming);
                return self.act(serial, answer, now);
            }
            Login::LoggedIn { again, .. } => *again = accepted,
            Login::Fresh | Login::Handshaken if accepted => self.login = Login::Handshaken,
            Login::Fresh | Login::Handshaken => {}
        }
        if !accepted {
            let reason = match &self.door.auth {
                DoorAuth::Oauthbearer => "unsupported_mechanism",
                DoorAuth::Anonymous { .. } => "no_login_here",
            };
            self.mark(serial, Ending::Refused);
            self.refused_login(reason, now);
        }
        self.act(serial, action, now);
    }

    pub(super) fn authenticate(&mut self, serial: u64, incoming: Incoming, now: Now) {
        match &self.login {
            Login::Handshaken | Login::LoggedIn { again: true, .. } => {
                self.decide_login(serial, incoming, Keys::NotAskedFor, now);
            }
            Login::Fresh | Login::LoggedIn { again: false, .. } => {
                let answer = sasl::out_of_order(&incoming);
                self.act(serial, answer, now);
                self.mark(serial, Ending::Refused);
                self.refused_login("out_of_order", now);
                let reason = CloseReason::LoginFailed("SaslAuthenticate before SaslHandshake".to_owned());
                self.end_after(serial, reason);
            }
        }
    }

    /// The keys that a login waits for were fetched, or could not be. `context` has what came of it.
    pub fn handle_keys(&mut self, login: u64, fetched: bool, context: Arc<Context>, now: Now) {
        self.handle_context(context, now);
        if let Some(held) = self.held_login.take_if(|held| held.serial == login) {
            self.decide_login(held.serial, held.incoming, Keys::AskedFor { fetched }, now);
            self.advance(now);
        }
    }

    /// Other keys may be there now.
    pub(super) fn retry_login(&mut self, now: Now) {
        if let Some(held) = self.held_login.take() {
            self.decide_login(held.serial, held.incoming, Keys::Awaited { until: held.until }, now);
        }
    }

    /// A login that waited long enough is decided with the keys that are there.
    pub(super) fn check_held_login(&mut self, now: Now) {
        if let Some(held) = self.held_login.take_if(|held| held.until <= now.monotonic) {
            self.decide_login(held.serial, held.incoming, Keys::AskedFor { fetched: false }, now);
        }
    }

    fn decide_login(&mut self, serial: u64, incoming: Incoming, keys: Keys, now: Now) {
        let before = match &self.login {
            Login::LoggedIn { caller, .. } => Some(Arc::clone(&caller.principal)),
            Login::Fresh | Login::Handshaken => None,
        };
        let (issuer, otherwise) = match sasl::authenticate(&self.context.identity, &incoming, before.as_deref(), now) {
            Judged::Accept(authenticated) => return self.let_in(serial, &incoming, authenticated, now),
            Judged::Refuse(refused) => return self.refuse_login(serial, &incoming, refused, now),
            Judged::FetchKeys { issuer, otherwise } => (issuer, otherwise),
        };
        match keys {
            Keys::NotAskedFor => {
                let until = self.login_wait_end(now);
                self.held_login = Some(HeldLogin { serial, incoming, until });
                self.events.push_back(Event::FetchKeys { issuer, login: serial });
            }
            Keys::Awaited { until } => self.held_login = Some(HeldLogin { serial, incoming, until }),
            Keys::AskedFor { fetched } => {
                let unasked = !fetched && otherwise == AuthnError::UnknownKey;
                let error = if unasked { AuthnError::KeysUnavailable } else { otherwise };
                self.refuse_login(serial, &incoming, error.into(), now);
            }
        }
    }

    /// When a login that waits for keys is answered in any case: before its time to log in is over, which would give no answer.
    fn login_wait_end(&self, now: Now) -> Duration {
        let end = now.monotonic.saturating_add(KEYS_WAIT_MAX);
        let reserve = LOGIN_ANSWER_RESERVE.min(self.context.limits.login_timeout / 4);
        self.deadlines.login().map_or(end, |login| end.min(login.saturating_sub(reserve)))
    }

    fn refuse_login(&mut self, serial: u64, incoming: &Incoming, refused: LoginRefused, now: Now) {
        let answer = sasl::refusal(incoming, &refused.message);
        self.act(serial, answer, now);
        self.mark(serial, Ending::Refused);
        self.refused_login(refused.reason, now);
        self.end_after(serial, CloseReason::LoginFailed(refused.message));
    }

    /// The login is recorded before the client learns of it.
    fn let_in(&mut self, serial: u64, incoming: &Incoming, authenticated: Authenticated, now: Now) {
        let Authenticated { principal, expires_at } = authenticated;
        let principal = Arc::new(principal);
        let caller = Caller::new(
            Arc::clone(&principal),
            Arc::clone(&self.context),
            Arc::clone(&self.door),
            self.identity.clone(),
        );
        let mut entry = self.identity.entry(Kind::AuthOk, self.ids.next(now), now);
        entry.principal = Some(principal_ref(&principal));
        entry.api = Some((incoming.request.api.code(), incoming.request.version));
        entry.policy_digest = Some(self.context.policy.digest());
        if let (Some(client), Some(id)) = (entry.client.as_mut(), incoming.client_id()) {
            client.client_id = Some(id);
        }
        let lifetime = expires_at.saturating_sub(now.wall);
        self.events.push_back(Event::LoggedIn { principal: principal.id.clone(), lifetime: Some(lifetime) });
        self.login = Login::LoggedIn { caller, again: false };
        self.deadlines.logged_in(Some(now.monotonic.saturating_add(lifetime)), now);
        let Action::Answer(frame) = sasl::accepted(incoming, expires_at, now) else {
            let message = "the login cannot be answered in this version".to_owned();
            return self.end(Some(serial), CloseReason::LoginFailed(message), now);
        };
        let commit = Commit::Entry { entry, closes: Vec::new() };
        let ticket = self.record(commit, Waiter::Slot { serial, side: Side::Reply });
        if let Some(slot) = self.pending.get_mut(serial) {
            slot.memory = frame.len();
            slot.stage_since = now;
            slot.watch.begin(now);
            let held = Held::new(Vetted::local(frame), ticket);
            slot.reply = ReplyStage::Recording { held, otherwise: Otherwise::Close };
        }
    }

    /// A login that failed: merged with its like, never waited for (P9).
    pub(super) fn refused_login(&mut self, reason: &'static str, now: Now) {
        let mut entry = self.identity.entry(Kind::AuthFail, self.ids.next(now), now);
        entry.decision = weir_audit::Decision::Refuse;
        entry.outcome = Outcome::Refused { code: Code::SaslAuthenticationFailed.code() };
        entry.reason = Some(reason.to_owned());
        self.events.push_back(Event::Refused {
            api: None,
            code: Code::SaslAuthenticationFailed.code(),
            reason,
            resource: None,
            entry: Box::new(entry),
        });
    }
}
