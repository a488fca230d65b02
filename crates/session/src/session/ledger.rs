//! What of this session is being recorded, who waits for it, and what is closed when the sockets go.

use std::time::Duration;

use weir_audit::{Commit, Decision, EntryBody, IntentId, Kind, Outcome, Receipt, Ticket};

use super::{Login, Session};
use crate::api::{Expect, fetch, produce};
use crate::cleared::{Cleared, NoEntry};
use crate::event::{CloseReason, Ending};
use crate::pending::{Otherwise, ReplyStage, RequestStage, Slot, Stage};
use crate::refusal::Code;
use crate::time::Now;

/// Who waits for a ticket.
pub(super) enum Waiter {
    /// One side of a slot.
    Slot { serial: u64, side: Side },
    /// Nobody: it only must not be lost before the session ends.
    Nobody,
    /// An intent whose request will never leave: it is closed as soon as it is durable.
    Abandoned { entry: Box<EntryBody>, closes: Vec<IntentId> },
    /// An entry about stored records whose client is gone: it is recorded again should this attempt fail.
    Orphan { entry: Box<EntryBody>, closes: Vec<IntentId> },
}

/// Which side of a slot waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Reply,
}

impl Session {
    /// Queues a commit, and returns the ticket that its receipt will carry.
    pub(super) fn record(&mut self, commit: Commit, waiter: Waiter) -> Ticket {
        let serial = self.next_ticket;
        self.next_ticket += 1;
        let ticket = Ticket::new(self.id, serial);
        self.tickets.insert(serial, waiter);
        self.commits.push_back((ticket, commit));
        ticket
    }

    pub(super) fn take_receipt(&mut self, receipt: Receipt, now: Now) {
        let ticket = receipt.ticket();
        if ticket.connection() != self.id {
            return;
        }
        match self.tickets.remove(&ticket.serial()) {
            Some(Waiter::Slot { serial, side }) => {
                if let Some(slot) = self.pending.get_mut(serial) {
                    slot.recorded(side, receipt, now);
                }
            }
            Some(Waiter::Abandoned { entry, closes }) => {
                self.record(Commit::Entry { entry: *entry, closes }, Waiter::Nobody);
            }
            Some(Waiter::Nobody | Waiter::Orphan { .. }) | None => {}
        }
    }

    /// Somebody else answers for this entry now: it is recorded as soon as the log can be written.
    pub(super) fn take_owed(&mut self, ticket: Ticket) {
        if ticket.connection() == self.id {
            self.tickets.remove(&ticket.serial());
        }
    }

    pub(super) fn take_unrecorded(&mut self, ticket: Ticket, now: Now) {
        if ticket.connection() != self.id {
            return;
        }
        match self.tickets.remove(&ticket.serial()) {
            Some(Waiter::Slot { serial, side: Side::Request }) => self.refuse_unrecorded_intent(serial, now),
            Some(Waiter::Slot { serial, side: Side::Reply }) => self.refuse_unrecorded_entry(serial, now),
            Some(Waiter::Orphan { entry, closes }) => {
                self.record(Commit::Entry { entry: *entry, closes }, Waiter::Nobody);
            }
            // An intent that is not durable has nothing to close.
            Some(Waiter::Nobody | Waiter::Abandoned { .. }) | None => {}
        }
    }

    /// The intent could not be written: nothing was stored, the client may try again (56). What the same producer has behind it
    /// must not overtake it.
    fn refuse_unrecorded_intent(&mut self, serial: u64, now: Now) {
        let Some(slot) = self.pending.get_mut(serial) else { return };
        let ReplyStage::Broker(Expect::Produce(pending)) = std::mem::replace(&mut slot.reply, ReplyStage::Nothing)
        else {
            return;
        };
        self.answer_unrecorded(serial, &pending);
        for behind in self.pending.behind(serial) {
            let Some(slot) = self.pending.get_mut(behind) else { continue };
            let overtakes = matches!(slot.request, RequestStage::Recording(_) | RequestStage::Ready(_))
                && matches!(&slot.reply, ReplyStage::Broker(Expect::Produce(it)) if self.refused_producers.hold_any(it));
            if !overtakes {
                continue;
            }
            let request = std::mem::replace(&mut slot.request, RequestStage::Local);
            if let ReplyStage::Broker(Expect::Produce(pending)) =
                std::mem::replace(&mut slot.reply, ReplyStage::Nothing)
            {
                self.withdraw(request, &pending, Outcome::Refused { code: Code::StorageError.code() }, now);
                self.answer_unrecorded(behind, &pending);
            }
        }
    }

    fn answer_unrecorded(&mut self, serial: u64, pending: &produce::Pending) {
        self.refused_producers.wait_for_all(pending);
        self.answer_locally(serial, produce::unrecorded(pending), NoEntry::Refusal);
        self.mark(serial, Ending::Unrecorded);
        if let (Some(slot), true) = (self.pending.get_mut(serial), pending.silent) {
            slot.reply = ReplyStage::Ready(None);
            self.end_after(serial, CloseReason::SilentRequestRefused);
        }
    }

    /// How the request will have ended, once it is over.
    pub(super) fn mark(&mut self, serial: u64, ending: Ending) {
        if let Some(slot) = self.pending.get_mut(serial) {
            slot.ending = ending;
        }
    }

    /// Closes the intent of a request that did not leave and never will: now, or as soon as it is durable.
    fn withdraw(&mut self, request: RequestStage, pending: &produce::Pending, outcome: Outcome, now: Now) {
        if pending.intent_at.is_none() {
            return;
        }
        let (entry, closes) = (pending.abandoned(outcome, now), vec![pending.intent_id()]);
        match request {
            RequestStage::Ready(_) => {
                self.record(Commit::Entry { entry, closes }, Waiter::Nobody);
            }
            RequestStage::Recording(held) => {
                if let Some(waiter) = self.tickets.get_mut(&held.ticket().serial()) {
                    *waiter = Waiter::Abandoned { entry: Box::new(entry), closes };
                }
            }
            RequestStage::Waiting(_)
            | RequestStage::Inspecting(_)
            | RequestStage::Inspected(..)
            | RequestStage::Sent
            | RequestStage::Local => {}
        }
    }

    fn refuse_unrecorded_entry(&mut self, serial: u64, now: Now) {
        let Some(slot) = self.pending.get_mut(serial) else { return };
        match &slot.reply {
            ReplyStage::Recording { otherwise: Otherwise::WithholdFetch { pending, inspection }, .. } => {
                if let Login::LoggedIn { caller, .. } = &self.login {
                    let vetted = fetch::unrecorded(caller, pending, inspection);
                    slot.reply = ReplyStage::Ready(Some(Cleared::without_entry(vetted, NoEntry::Refusal)));
                    slot.ending = Ending::Unrecorded;
                }
            }
            ReplyStage::Recording { otherwise: Otherwise::TryAgain { .. }, .. } => {
                slot.retry_at = Some(now.monotonic.saturating_add(RETRY_PAUSE));
            }
            ReplyStage::Recording { otherwise: Otherwise::Close, .. } => {
                let hold_max = self.context.audit.hold_max;
                self.close(CloseReason::AuditHold(hold_max), now);
            }
            ReplyStage::Nothing | ReplyStage::Broker(_) | ReplyStage::Inspecting { .. } | ReplyStage::Ready(_) => {}
        }
    }

    /// The same entry once more: its records are stored, so its reply can be neither given nor refused yet.
    pub(super) fn try_again(&mut self, serial: u64) {
        let Some(slot) = self.pending.get_mut(serial) else { return };
        slot.retry_at = None;
        let ReplyStage::Recording { otherwise: Otherwise::TryAgain { entry, closes }, .. } = &slot.reply else {
            return;
        };
        let commit = Commit::Entry { entry: (**entry).clone(), closes: closes.clone() };
        let ticket = self.record(commit, Waiter::Slot { serial, side: Side::Reply });
        if let Some(Slot { reply: ReplyStage::Recording { held, .. }, .. }) = self.pending.get_mut(serial) {
            held.renew(ticket);
        }
    }

    /// The sockets are gone: closes each intent that is open, or will be once its receipt comes.
    pub(super) fn abandon(&mut self, now: Now) {
        let slots = self.pending.drain().collect::<Vec<_>>();
        for slot in slots {
            self.events.extend(slot.ended(Ending::Unanswered, now));
            let Slot { request, reply, .. } = slot;
            let ReplyStage::Broker(Expect::Produce(pending)) = reply else {
                if let ReplyStage::Recording { held, otherwise: Otherwise::TryAgain { entry, closes } } = reply {
                    match self.tickets.get_mut(&held.ticket().serial()) {
                        Some(waiter) => *waiter = Waiter::Orphan { entry, closes },
                        // It failed, and its next attempt was not due yet.
                        None => drop(self.record(Commit::Entry { entry: *entry, closes }, Waiter::Nobody)),
                    }
                }
                continue;
            };
            if matches!(request, RequestStage::Sent) {
                // Without an intent the entry is all that there will be.
                let closes = pending.intent_at.map(|_| pending.intent_id()).into_iter().collect();
                let entry = pending.abandoned(Outcome::Unknown, now);
                self.record(Commit::Entry { entry, closes }, Waiter::Nobody);
            } else {
                self.withdraw(request, &pending, Outcome::None, now);
            }
        }
    }
}

impl Slot {
    fn recorded(&mut self, side: Side, receipt: Receipt, now: Now) {
        self.watch.end(Stage::Commit, now);
        match side {
            Side::Request if matches!(self.request, RequestStage::Recording(_)) => {
                let RequestStage::Recording(held) = std::mem::replace(&mut self.request, RequestStage::Local) else {
                    return;
                };
                self.request = match held.release(receipt) {
                    Ok(cleared) => RequestStage::Ready(cleared),
                    Err(held) => RequestStage::Recording(held),
                };
            }
            Side::Reply if matches!(self.reply, ReplyStage::Recording { .. }) => {
                let ReplyStage::Recording { held, otherwise } = std::mem::replace(&mut self.reply, ReplyStage::Nothing)
                else {
                    return;
                };
                self.reply = match held.release(receipt) {
                    Ok(cleared) => ReplyStage::Ready((!self.swallow).then_some(cleared)),
                    Err(held) => ReplyStage::Recording { held, otherwise },
                };
            }
            // The slot went on without it: its hold ran out, or it was refused.
            Side::Request | Side::Reply => {}
        }
    }
}

impl produce::Pending {
    /// The entry of a request without an answer of the broker: its connection went, or it was held back.
    fn abandoned(&self, outcome: Outcome, now: Now) -> EntryBody {
        let mut entry = self.entry(Kind::Produce, now);
        entry.outcome = outcome;
        let reason = match outcome {
            Outcome::Unknown => {
                entry.decision = Decision::Unknown;
                "the connection ended before the broker's answer"
            }
            Outcome::Refused { .. } => {
                entry.decision = Decision::Refuse;
                "a batch before it could not be recorded"
            }
            Outcome::None | Outcome::Stored | Outcome::Delivered | Outcome::BrokerError { .. } => {
                "the connection ended before the request was forwarded"
            }
        };
        entry.reason = Some(reason.to_owned());
        entry
    }
}

/// How long an entry that could not be written waits before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
