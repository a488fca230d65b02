//! The requests of one connection that are not answered yet, in the order in which they came (T15).
//!
//! ```text
//! request:  Waiting ─► Inspecting ─► Inspected ─► Recording ─► Ready ─► Sent          Local: never leaves
//! reply:    Nothing ─► Broker ─► Inspecting ─► Recording ─► Ready ─► (popped)
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use weir_audit::{EntryBody, IntentId};
use weir_protocol::ApiKey;

use crate::api::{Expect, Incoming, fetch, produce};
use crate::cleared::{Cleared, Held};
use crate::event::{Ending, Event, Stages};
use crate::job::{FetchInspection, ProduceInspection};
use crate::time::Now;

/// One request and its reply.
pub(crate) struct Slot {
    pub(crate) serial: u64,
    pub(crate) api: ApiKey,
    /// The version that the client speaks.
    pub(crate) version: i16,
    /// The version that was spoken with the broker.
    pub(crate) upstream_version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) received: Now,
    /// When it began to wait for the audit log, last.
    pub(crate) stage_since: Now,
    /// Frame bytes that this slot keeps alive.
    pub(crate) memory: usize,
    pub(crate) request: RequestStage,
    pub(crate) reply: ReplyStage,
    /// The connection ends with this reply.
    pub(crate) last: bool,
    /// What the client asked for, for metrics.
    pub(crate) asked: Asked,
    pub(crate) ending: Ending,
    pub(crate) watch: StageWatch,
    /// The reply is not written: its request asked for none (acks=0).
    pub(crate) swallow: bool,
    /// When its entry, which could not be written, is tried again.
    pub(crate) retry_at: Option<Duration>,
}

impl Slot {
    /// A slot for an answer of weir's own to something that has no API of the table.
    pub(crate) fn local(now: Now) -> Self {
        Self {
            serial: 0,
            // Any API of the table does: nothing is sent for this slot.
            api: ApiKey::ApiVersions,
            version: 0,
            upstream_version: 0,
            correlation_id: 0,
            received: now,
            stage_since: now,
            memory: 0,
            request: RequestStage::Local,
            reply: ReplyStage::Nothing,
            last: false,
            asked: Asked::Nothing,
            ending: Ending::default(),
            watch: StageWatch::default(),
            swallow: false,
            retry_at: None,
        }
    }
}

impl Slot {
    /// Whether it is a login to the broker that is not through.
    fn logs_in(&self) -> bool {
        matches!(self.reply, ReplyStage::Broker(Expect::Login))
    }

    /// Whether it is weir's own, of which the client knows nothing.
    pub(crate) fn is_own(&self) -> bool {
        self.asked == Asked::Nothing
    }
}

/// What the client asked for in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing: the request is weir's own.
    Nothing,
    /// An API of the table.
    Api(ApiKey),
    /// One that weir does not serve.
    Other,
}

/// Measures the stages of one request, of which it is in one at a time at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StageWatch {
    stages: Stages,
    since: Option<Duration>,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Inspect,
    Commit,
    Broker,
}

impl StageWatch {
    /// A stage begins.
    pub(crate) fn begin(&mut self, now: Now) {
        self.since = Some(now.monotonic);
    }

    /// The stage that began last was this one, and is over.
    pub(crate) fn end(&mut self, stage: Stage, now: Now) {
        let Some(since) = self.since.take() else { return };
        let total = match stage {
            Stage::Inspect => &mut self.stages.inspect,
            Stage::Commit => &mut self.stages.commit,
            Stage::Broker => &mut self.stages.broker,
        };
        *total = Some(total.unwrap_or_default().saturating_add(now.monotonic.saturating_sub(since)));
    }
}

pub(crate) enum RequestStage {
    /// For the view of the cluster, or for the names of topic ids in it.
    Waiting(Incoming),
    /// Its records are with a job.
    Inspecting(Box<produce::Pending>),
    /// Its records were walked; it waits for its turn.
    Inspected(Box<produce::Pending>, Box<ProduceInspection>),
    /// It waits for its intent.
    Recording(Held),
    /// It may leave.
    Ready(Cleared),
    /// The broker has it.
    Sent,
    /// It never goes to the broker.
    Local,
}

pub(crate) enum ReplyStage {
    /// Not decided yet.
    Nothing,
    /// The broker answers.
    Broker(Expect),
    /// Its records are with a job.
    Inspecting { pending: Box<fetch::Pending> },
    /// It waits for its entry.
    Recording { held: Held, otherwise: Otherwise },
    /// It may leave; `None` when nobody waits for it.
    Ready(Option<Cleared>),
}

/// What is done when the entry of a reply cannot be written.
pub(crate) enum Otherwise {
    /// Fetched records are withheld.
    WithholdFetch { pending: Box<fetch::Pending>, inspection: Box<FetchInspection> },
    /// The records are stored: the same entry is tried again until `hold_max` is over.
    TryAgain { entry: Box<EntryBody>, closes: Vec<IntentId> },
    /// The connection closes.
    Close,
}

impl Slot {
    /// What is said of the request once it is over; nothing of weir's own.
    pub(crate) fn ended(&self, ending: Ending, now: Now) -> Option<Event> {
        let api = match self.asked {
            Asked::Nothing => return None,
            Asked::Api(api) => Some(api),
            Asked::Other => None,
        };
        let took = now.monotonic.saturating_sub(self.received.monotonic);
        Some(Event::RequestEnded { api, ending, took, stages: self.watch.stages })
    }
}

/// The queue.
#[derive(Default)]
pub(crate) struct PendingQueue {
    slots: VecDeque<Slot>,
    next_serial: u64,
}

impl PendingQueue {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds a slot behind all others, and returns its serial number.
    pub(crate) fn push(&mut self, mut slot: Slot) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        slot.serial = serial;
        self.slots.push_back(slot);
        serial
    }

    /// Adds a slot behind everything that left, and before everything that did not; returns its serial number.
    pub(crate) fn push_next(&mut self, mut slot: Slot) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        slot.serial = serial;
        let unsent = |slot: &Slot| !matches!(slot.request, RequestStage::Sent | RequestStage::Local);
        let at = self.slots.iter().position(unsent).unwrap_or(self.slots.len());
        self.slots.insert(at, slot);
        serial
    }

    pub(crate) fn get_mut(&mut self, serial: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.serial == serial)
    }

    /// The serial numbers of what came after this slot, in order.
    pub(crate) fn behind(&self, serial: u64) -> Vec<u64> {
        self.slots.iter().map(|slot| slot.serial).skip_while(|other| *other != serial).skip(1).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    pub(crate) fn front(&self) -> Option<&Slot> {
        self.slots.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Slot> {
        self.slots.pop_front()
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Slot> + '_ {
        self.slots.drain(..)
    }

    /// The first request that has not left, if it may leave now. Nothing leaves from behind the last reply, nor while weir's own login
    /// is going on: between its frames a broker takes no others.
    pub(crate) fn next_to_send(&mut self) -> Option<&mut Slot> {
        let next = self.slots.iter_mut().find(|slot| {
            slot.last || slot.logs_in() || !matches!(slot.request, RequestStage::Sent | RequestStage::Local)
        })?;
        matches!(next.request, RequestStage::Ready(_)).then_some(next)
    }

    /// Whether any request wants to go to the broker, now or once it is inspected or recorded.
    pub(crate) fn wants_broker(&self) -> bool {
        self.slots.iter().any(|slot| match slot.request {
            RequestStage::Inspecting(_)
            | RequestStage::Inspected(..)
            | RequestStage::Recording(_)
            | RequestStage::Ready(_) => true,
            RequestStage::Waiting(_) | RequestStage::Sent | RequestStage::Local => false,
        })
    }

    /// The request that the broker answers next: it works on one at a time and answers in order.
    pub(crate) fn next_to_be_answered(&mut self) -> Option<&mut Slot> {
        self.slots
            .iter_mut()
            .find(|slot| matches!(slot.request, RequestStage::Sent) && matches!(slot.reply, ReplyStage::Broker(_)))
    }

    /// The first request whose inspection ended, if none before it is still open: refusals decide about what is behind them.
    pub(crate) fn next_to_settle(&mut self) -> Option<&mut Slot> {
        let next = self.slots.iter_mut().find(|slot| {
            let open = matches!(
                slot.request,
                RequestStage::Waiting(_) | RequestStage::Inspecting(_) | RequestStage::Inspected(..)
            );
            slot.last || open
        })?;
        matches!(next.request, RequestStage::Inspected(..)).then_some(next)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.memory).sum()
    }
}
