//! What ends a session by time alone.

use std::time::Duration;

use crate::context::Limits;
use crate::event::CloseReason;
use crate::pending::{ReplyStage, RequestStage};
use crate::session::Session;
use crate::session::login::HeldLogin;
use crate::time::Now;

/// Time between two logins on one connection, as Kafka has it (KIP-368).
const RELOGIN_PAUSE: Duration = Duration::from_secs(1);

/// Points on the monotonic clock.
#[derive(Debug)]
pub(super) struct Deadlines {
    login: Option<Duration>,
    body: Option<Duration>,
    idle: Option<Duration>,
    /// When the broker said something, last.
    broker: Duration,
    expiry: Option<Duration>,
    /// When the client said that it sends no more.
    client_end: Option<Duration>,
    /// When the client logged in, last.
    logged_in: Option<Duration>,
    stopped: bool,
}

impl Deadlines {
    pub(super) fn new(limits: &Limits, logged_in: bool, now: Now) -> Self {
        Self {
            login: (!logged_in).then(|| now.monotonic.saturating_add(limits.login_timeout)),
            body: None,
            idle: Some(now.monotonic),
            broker: now.monotonic,
            expiry: None,
            client_end: None,
            logged_in: None,
            stopped: false,
        }
    }

    /// Bytes came.
    pub(super) fn client_sent(&mut self, now: Now) {
        self.idle = Some(now.monotonic);
    }

    /// Every whole frame was taken. `partial`: one is open behind them, whose clock its own trickle does not set back.
    pub(super) fn frames_taken(&mut self, partial: bool, now: Now) {
        self.body = if partial { self.body.or(Some(now.monotonic)) } else { None };
    }

    /// Bytes came from the broker.
    pub(super) fn broker_sent(&mut self, now: Now) {
        self.broker = now.monotonic;
    }

    /// When the broker said something, last.
    pub(super) fn broker_heard(&self) -> Duration {
        self.broker
    }

    /// A reply left. `was_full`: the client was not read until now, so what it had begun to send gets its time anew. `own`: the client
    /// knows nothing of it, and is as idle as before.
    pub(super) fn answered(&mut self, was_full: bool, own: bool, now: Now) {
        if !own {
            self.idle = Some(now.monotonic);
        }
        if was_full && self.body.is_some() {
            self.body = Some(now.monotonic);
        }
    }

    /// A whole frame came: the one behind it has its own time.
    pub(super) fn frame_arrived(&mut self) {
        self.body = None;
    }

    /// Until when the client must have logged in.
    pub(super) fn login(&self) -> Option<Duration> {
        self.login
    }

    /// `expires_at`: on the monotonic clock.
    pub(super) fn logged_in(&mut self, expires_at: Option<Duration>, now: Now) {
        self.login = None;
        self.expiry = expires_at;
        self.logged_in = Some(now.monotonic);
    }

    /// Each login is an entry: one connection makes at most one a second.
    pub(super) fn may_log_in_again(&self, now: Now) -> bool {
        self.logged_in.is_none_or(|at| now.monotonic.saturating_sub(at) >= RELOGIN_PAUSE)
    }

    /// Whether the session is over by its token.
    pub(super) fn is_expired(&self, now: Now) -> bool {
        self.expiry.is_some_and(|at| at <= now.monotonic)
    }

    /// The client sends no more.
    pub(super) fn end_client(&mut self, now: Now) {
        self.client_end = Some(now.monotonic);
    }

    pub(super) fn client_ended(&self) -> bool {
        self.client_end.is_some()
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }
}

impl Session {
    /// When [`Session::handle_timeout`] is due, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.deadlines.stopped {
            return None;
        }
        let retries = self.pending.iter().filter_map(|slot| slot.retry_at);
        let held_login = self.held_login.iter().map(HeldLogin::until);
        let renewal = self.broker_login.again_at();
        self.due().into_iter().map(|(at, _)| at).chain(retries).chain(held_login).chain(renewal).min()
    }

    pub(super) fn check_deadlines(&mut self, now: Now) {
        if self.deadlines.stopped {
            return;
        }
        let again = self
            .pending
            .iter()
            .filter(|slot| slot.retry_at.is_some_and(|at| at <= now.monotonic))
            .map(|slot| slot.serial)
            .collect::<Vec<_>>();
        for serial in again {
            self.try_again(serial);
        }
        self.check_held_login(now);
        self.renew_login(now);
        let passed = self.due().into_iter().filter(|(at, _)| *at <= now.monotonic).min_by_key(|(at, _)| *at);
        if let Some((_, reason)) = passed {
            self.close(reason, now);
        }
    }

    fn due(&self) -> Vec<(Duration, CloseReason)> {
        let limits = &self.context.limits;
        let mut due = Vec::with_capacity(6);
        if let Some(at) = self.deadlines.login {
            due.push((at, CloseReason::LoginTimeout(limits.login_timeout)));
        }
        // A client that is not read cannot finish its frame.
        if let (Some(since), true) = (self.deadlines.body, self.wants_client_bytes() > 0) {
            due.push((since.saturating_add(limits.body_timeout), CloseReason::BodyTimeout(limits.body_timeout)));
        }
        // Nothing is open, or what is open waits for a client that does not read.
        let for_client = self.pending.front().is_none_or(|slot| matches!(slot.reply, ReplyStage::Ready(_)));
        if let (Some(since), true) = (self.deadlines.idle, for_client) {
            due.push((since.saturating_add(limits.idle_timeout), CloseReason::Idle(limits.idle_timeout)));
        }
        if let Some(since) = self.deadlines.client_end {
            due.push((since.saturating_add(self.context.audit.hold_max), CloseReason::ClientGone));
        }
        due.extend(self.login_due());
        if let Some(at) = self.deadlines.expiry {
            due.push((at, CloseReason::Expired));
        }
        let hold_max = self.context.audit.hold_max;
        for slot in self.pending.iter() {
            let since = slot.received.monotonic;
            if matches!(slot.request, RequestStage::Waiting(_)) {
                let detail = format!("no answer within {:?}", limits.connect_timeout);
                due.push((since.saturating_add(limits.connect_timeout), CloseReason::BrokerDown { detail }));
            }
            if matches!((&slot.request, &slot.reply), (RequestStage::Sent, ReplyStage::Broker(_))) {
                // As the broker itself does (`connections.max.idle.ms`), whatever its client waits for.
                let detail = format!("no answer within {:?}", limits.idle_timeout);
                let since = since.max(self.deadlines.broker);
                due.push((since.saturating_add(limits.idle_timeout), CloseReason::BrokerDown { detail }));
            }
            if let Some(since) = slot.recording_since() {
                due.push((since.saturating_add(hold_max), CloseReason::AuditHold(hold_max)));
            }
        }
        due
    }
}

impl crate::pending::Slot {
    fn recording_since(&self) -> Option<Duration> {
        let recording =
            matches!(self.request, RequestStage::Recording(_)) || matches!(self.reply, ReplyStage::Recording { .. });
        recording.then_some(self.stage_since.monotonic)
    }
}
