//! From the broker and from inspection: answers become replies, replies become bytes for the client.

use bytes::BytesMut;
use weir_audit::{Commit, RuleHit};
use weir_protocol::ApiKey;

use super::ledger::{Side, Waiter};
use super::{Login, Session};
use crate::api::{Arrived, Expect, Reply, fetch, find_coordinator, list_offsets, metadata, offsets, produce};
use crate::cleared::{Cleared, Held, NoEntry};
use crate::event::{CloseReason, Ending, Event};
use crate::job::{Done, FetchInspection, Inspection, Job};
use crate::pending::{Otherwise, ReplyStage, RequestStage, Stage};
use crate::time::Now;
use crate::vetted::Vetted;

impl Session {
    pub(super) fn read_broker_frames(&mut self, now: Now) {
        while !self.closing {
            match self.broker.next_frame(self.context.limits.frame_bytes_max) {
                Ok(Some(frame)) => {
                    if let Err(reason) = self.take_answer(frame, now) {
                        self.close(reason, now);
                    }
                }
                Ok(None) => return,
                Err(error) => self.close(CloseReason::BrokerMalformed(error.to_string()), now),
            }
        }
    }

    fn take_answer(&mut self, frame: BytesMut, now: Now) -> Result<(), CloseReason> {
        let nobody = || CloseReason::BrokerMalformed("an answer that nobody asked for".to_owned());
        let slot = self.pending.next_to_be_answered().ok_or_else(nobody)?;
        let (serial, api, version) = (slot.serial, slot.api, slot.upstream_version);
        slot.watch.end(Stage::Broker, now);
        if matches!(slot.reply, ReplyStage::Broker(Expect::Own)) {
            // Whatever the broker makes of weir's own ApiVersions, also 35 in version 0: the control connection knows better.
            slot.reply = ReplyStage::Ready(None);
            return Ok(());
        }
        if matches!(slot.reply, ReplyStage::Broker(Expect::Login)) {
            return self.take_login_answer(frame, now);
        }
        if self.deadlines.is_expired(now) {
            return Err(CloseReason::Expired);
        }
        // An answer that cannot be read leaves the slot as it is: its intent is still to be closed.
        let arrived = Arrived::checked(api, version, slot.correlation_id, frame)
            .map_err(|error| CloseReason::BrokerMalformed(error.to_string()))?;
        let ReplyStage::Broker(expect) = std::mem::replace(&mut slot.reply, ReplyStage::Nothing) else {
            return Err(nobody());
        };
        slot.memory = arrived.frame.len();
        let reply = self.read_answer(serial, expect, arrived, now)?;
        self.take_reply(serial, reply, now)
    }

    fn read_answer(&mut self, serial: u64, expect: Expect, arrived: Arrived, now: Now) -> Result<Reply, CloseReason> {
        let Login::LoggedIn { caller, .. } = &self.login else {
            return Err(CloseReason::NotLoggedIn { api_key: arrived.api.code() });
        };
        match expect {
            Expect::Own | Expect::Login => Ok(Reply::Swallow),
            Expect::Pass => Ok(Reply::Answer(arrived.pass())),
            Expect::Metadata(pending) => metadata::response(caller, pending, &arrived),
            Expect::Produce(mut pending) => {
                let reply = produce::response(&mut pending, &arrived, now);
                if reply.is_err() {
                    if let Some(slot) = self.pending.get_mut(serial) {
                        slot.reply = ReplyStage::Broker(Expect::Produce(pending));
                    }
                } else if pending.failed {
                    // Nobody waits for this answer: the end of the connection is it (T16).
                    self.end_after(serial, CloseReason::SilentRequestRefused);
                }
                reply
            }
            Expect::Fetch(pending) => fetch::response(caller, pending, arrived),
            Expect::ListOffsets(pending) => list_offsets::response(pending, arrived),
            Expect::FindCoordinator(pending) => find_coordinator::response(caller, pending, &arrived),
            Expect::OffsetCommit(pending) => offsets::committed(pending, arrived),
            Expect::OffsetFetch(pending) => offsets::fetched(caller, pending, &arrived),
        }
    }

    fn take_reply(&mut self, serial: u64, reply: Reply, now: Now) -> Result<(), CloseReason> {
        match reply {
            Reply::Answer(frame) => {
                if let Some(slot) = self.pending.get_mut(serial) {
                    let vetted = Vetted::response(slot.api, frame)
                        .ok_or_else(|| CloseReason::BrokerMalformed("records outside an inspection".to_owned()))?;
                    slot.reply = ReplyStage::Ready(Some(Cleared::without_entry(vetted, NoEntry::ControlPlane)));
                }
            }
            Reply::Swallow => {
                if let Some(slot) = self.pending.get_mut(serial) {
                    slot.reply = ReplyStage::Ready(None);
                }
            }
            Reply::Record { frame, entry, closes, wait, swallow } => {
                let waiter = if wait { Waiter::Slot { serial, side: Side::Reply } } else { Waiter::Nobody };
                let commit = Commit::Entry { entry: (*entry).clone(), closes: closes.clone() };
                let ticket = self.record(commit, waiter);
                let Some(slot) = self.pending.get_mut(serial) else { return Ok(()) };
                slot.stage_since = now;
                let vetted = Vetted::response(slot.api, frame)
                    .ok_or_else(|| CloseReason::BrokerMalformed("records outside an inspection".to_owned()))?;
                slot.swallow = swallow;
                slot.watch.begin(now);
                slot.reply = if wait {
                    let held = Held::new(vetted, ticket);
                    ReplyStage::Recording { held, otherwise: Otherwise::TryAgain { entry, closes } }
                } else {
                    let cleared = Cleared::without_entry(vetted, NoEntry::Async);
                    ReplyStage::Ready((!swallow).then_some(cleared))
                };
            }
            Reply::Inspect { plan, response, frame, pending } => {
                let limits = self.context.limits.records;
                let job = Job::fetch(serial, frame, response, plan, limits);
                if let Some(slot) = self.pending.get_mut(serial) {
                    slot.reply = ReplyStage::Inspecting { pending };
                    slot.watch.begin(now);
                }
                self.jobs.push_back(job);
            }
        }
        Ok(())
    }

    pub(super) fn take_inspection(&mut self, done: Done, now: Now) {
        if self.closing {
            return;
        }
        let Some(inspection) = done.result else { return self.close(CloseReason::InspectionFailed, now) };
        let Some(slot) = self.pending.get_mut(done.slot) else { return };
        slot.watch.end(Stage::Inspect, now);
        match inspection {
            Inspection::Produce(inspection) if matches!(slot.request, RequestStage::Inspecting(_)) => {
                slot.memory = inspection.held_bytes();
                if let RequestStage::Inspecting(pending) = std::mem::replace(&mut slot.request, RequestStage::Local) {
                    slot.request = RequestStage::Inspected(pending, Box::new(inspection));
                }
            }
            Inspection::Fetch(inspection) if matches!(slot.reply, ReplyStage::Inspecting { .. }) => {
                slot.memory = inspection.held_bytes();
                if let ReplyStage::Inspecting { pending } = std::mem::replace(&mut slot.reply, ReplyStage::Nothing) {
                    self.settle_fetch(done.slot, pending, Box::new(inspection), now);
                }
            }
            // Not what the slot waits for: a result of another request would be a fault of the caller.
            Inspection::Produce(_) | Inspection::Fetch(_) => self.close(CloseReason::InspectionFailed, now),
        }
    }

    fn settle_fetch(&mut self, serial: u64, pending: Box<fetch::Pending>, inspection: Box<FetchInspection>, now: Now) {
        let Login::LoggedIn { caller, .. } = &self.login else { return };
        let (events, mut refused) = (&mut self.events, false);
        let mut take = |event| {
            refused = true;
            events.push_back(event);
        };
        let settled = fetch::settle(caller, &pending, &inspection, &mut take, now);
        let rules = settled.entry.as_ref().map(|entry| entry.rule_hits.clone()).unwrap_or_default();
        let fetched = (settled.records, settled.changed, settled.bytes);
        self.events.extend(inspected(ApiKey::Fetch, fetched, rules));
        let ticket = match (settled.entry, settled.wait) {
            (None, _) => None,
            (Some(entry), wait) => {
                let waiter = if wait { Waiter::Slot { serial, side: Side::Reply } } else { Waiter::Nobody };
                let ticket = self.record(Commit::Entry { entry: *entry, closes: Vec::new() }, waiter);
                Some((ticket, wait))
            }
        };
        let Some(slot) = self.pending.get_mut(serial) else { return };
        slot.stage_since = now;
        slot.watch.begin(now);
        if refused {
            slot.ending = Ending::Refused;
        }
        slot.reply = match ticket {
            None => ReplyStage::Ready(Some(Cleared::without_entry(settled.frame, NoEntry::NothingFetched))),
            Some((_, false)) => ReplyStage::Ready(Some(Cleared::without_entry(settled.frame, NoEntry::Async))),
            Some((ticket, true)) => ReplyStage::Recording {
                held: Held::new(settled.frame, ticket),
                otherwise: Otherwise::WithholdFetch { pending, inspection },
            },
        };
    }

    /// Decides the inspected Produce requests whose turn has come.
    pub(super) fn settle_inspected(&mut self, now: Now) {
        while !self.closing {
            let Some(slot) = self.pending.next_to_settle() else { return };
            let serial = slot.serial;
            let RequestStage::Inspected(mut pending, inspection) =
                std::mem::replace(&mut slot.request, RequestStage::Local)
            else {
                return;
            };
            let events = &mut self.events;
            let settled = produce::settle(
                &mut pending,
                &inspection,
                &mut self.refused_producers,
                &mut |event| events.push_back(event),
                now,
            );
            if self.refused_producers.is_full() {
                return self.close(CloseReason::TooManyRefused, now);
            }
            self.events.extend(inspected(ApiKey::Produce, pending.totals(), pending.rule_hits().to_vec()));
            if pending.has_refusals() {
                self.mark(serial, Ending::Refused);
            }
            self.take_settled(serial, pending, settled, now);
        }
    }

    fn take_settled(&mut self, serial: u64, pending: Box<produce::Pending>, settled: produce::Settled, now: Now) {
        match settled {
            produce::Settled::Forward { frame, intent } => {
                let ticket = intent
                    .map(|intent| self.record(Commit::Intent(*intent), Waiter::Slot { serial, side: Side::Request }));
                let Some(slot) = self.pending.get_mut(serial) else { return };
                slot.stage_since = now;
                slot.watch.begin(now);
                slot.request = match ticket {
                    Some(ticket) => RequestStage::Recording(Held::new(frame.0, ticket)),
                    None => RequestStage::Ready(Cleared::without_entry(frame.0, NoEntry::OutcomeOnly)),
                };
                slot.reply = ReplyStage::Broker(Expect::Produce(pending));
            }
            produce::Settled::Answer { frame, entry } => {
                let silent = pending.silent;
                let ticket = entry.map(|entry| {
                    let waiter = Waiter::Slot { serial, side: Side::Reply };
                    let commit = Commit::Entry { entry: (*entry).clone(), closes: Vec::new() };
                    (self.record(commit, waiter), entry)
                });
                if let Some(slot) = self.pending.get_mut(serial) {
                    slot.stage_since = now;
                    slot.watch.begin(now);
                    slot.swallow = silent;
                    let vetted = Vetted::local(frame);
                    slot.reply = match ticket {
                        Some((ticket, entry)) => ReplyStage::Recording {
                            held: Held::new(vetted, ticket),
                            otherwise: Otherwise::TryAgain { entry, closes: Vec::new() },
                        },
                        None => {
                            let cleared = Cleared::without_entry(vetted, NoEntry::Refusal);
                            ReplyStage::Ready((!silent).then_some(cleared))
                        }
                    };
                }
                if silent {
                    // There is no answer to carry the refusal: the end of the connection is it (T16).
                    self.end_after(serial, CloseReason::SilentRequestRefused);
                }
            }
        }
    }
}

/// What is said of an inspection; nothing when there was nothing to inspect.
fn inspected(api: ApiKey, (records, changed, bytes): (u64, u64, u64), rules: Vec<RuleHit>) -> Option<Event> {
    (bytes > 0).then_some(Event::Inspected { api, records, changed, bytes, rules })
}
