//! Produce (0), versions 3-13. Topic ids from v13 (KIP-516), endpoints of new leaders from v10 (KIP-951).
//!
//! ```text
//! request ── may this caller? ──► Job ── settle ──► intent ──► broker ── response ──► entry ──► client
//!               │ no                        │ refused
//!               └──► 29                     └──► 87 with the records, or 45 behind one
//! ```
//!
//! A batch that edits made larger than its topic takes gets 10 if it has more than one record, since Java then splits it and its parts
//! fit, else 87 (T28).
//!
//! A request with a refused partition goes on without it, and the answers are merged in request order. A request with
//! `acks=0` is forwarded with `acks=1`: its answer is swallowed, and an error closes the connection, which is all that Kafka
//! itself can do (T16).

mod answer;
mod settle;

use std::sync::Arc;

use uuid::Uuid;
use weir_audit::{Decision, EventId, IntentId, Part, RuleHit};
use weir_policy::Direction;
use weir_protocol::records::BatchError;
use weir_protocol::{ProduceRequest, Splices, TopicRef};

use super::{Action, Incoming, Note, Notes};
use crate::caller::Caller;
use crate::context::Durability;
use crate::event::CloseReason;
use crate::job::Planned;
use crate::refusal::Code;

pub(crate) use answer::{response, unrecorded};
pub(in crate::api) use settle::add_hits;
pub(crate) use settle::{RefusedProducers, Settled, settle};

/// A Produce request between its arrival and its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) event_id: EventId,
    pub(crate) durability: Durability,
    pub(crate) silent: bool,
    /// An answer that nobody waits for was an error: the connection closes, since there is no other way to say so.
    pub(crate) failed: bool,
    caller: Caller,
    client_id: Option<String>,
    header: Splices,
    topics: Vec<Topic>,
    decision: Decision,
    rule_hits: Vec<RuleHit>,
    changed: u64,
    /// The first batch that cannot be read or grew too large, and why.
    fault: Option<String>,
    pub(crate) intent_at: Option<u64>,
}

#[derive(Debug)]
struct Topic {
    /// Empty when only the id is known.
    name: Arc<str>,
    id: Option<Uuid>,
    partitions: Vec<Partition>,
}

#[derive(Debug)]
struct Partition {
    index: i32,
    refusal: Option<Refusal>,
    part: Option<Part>,
}

/// Why weir answers a partition itself.
#[derive(Clone, Debug)]
struct Refusal {
    code: Code,
    message: Option<String>,
    /// Index in the batch and message of each refused record (KIP-467).
    records: Vec<(i32, String)>,
}

impl Refusal {
    fn of(code: Code) -> Self {
        Self { code, message: None, records: Vec::new() }
    }

    /// Null or empty records, which say nothing of a batch.
    fn no_batch() -> Self {
        let message = format!("weir: this batch cannot be read: {}", BatchError::NoBatch);
        Self { message: Some(message), ..Self::of(Code::InvalidRecord) }
    }
}

/// Partitions of one Produce: each makes a part of the entry, and clients send to a few dozen at once.
const PARTITIONS_MAX: usize = 10_000;

const ACKS_NONE: i16 = 0;
const ACKS_LEADER: i16 = 1;
const ACKS_ALL: i16 = -1;

pub(crate) fn request(caller: &Caller, incoming: Incoming, event_id: EventId, notes: &mut Notes) -> Action {
    let request = match ProduceRequest::read(&incoming.frame, &incoming.request) {
        Ok(request) => request,
        Err(error) => return Action::Close(CloseReason::Malformed(error)),
    };
    let partitions = request.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
    if partitions > PARTITIONS_MAX {
        return Action::Close(CloseReason::TooManyPartitions { partitions, max: PARTITIONS_MAX });
    }
    let unknown = unknown_topics(caller, &request);
    if !unknown.is_empty() {
        return Action::Resolve { incoming, ids: unknown };
    }
    let whole = match request.acks {
        ACKS_NONE | ACKS_LEADER | ACKS_ALL => None,
        acks => {
            notes.push(Note::new(Code::InvalidRequiredAcks, "acks_invalid", format!("acks={acks}")));
            Some(Code::InvalidRequiredAcks)
        }
    };
    let whole = whole.or_else(|| {
        let id = request.transactional_id.as_ref()?;
        let id = incoming.text(id).unwrap_or_default();
        notes.push(Note::new(Code::TransactionalIdAuthorizationFailed, "transactional_id_not_allowed", id));
        Some(Code::TransactionalIdAuthorizationFailed)
    });
    let mut plan = Vec::new();
    let mut durability = Durability::Async;
    let mut topics = Vec::with_capacity(request.topics.len());
    for (at, asked) in request.topics.iter().enumerate() {
        let (name, id) = named(caller, &incoming, &asked.topic);
        let code = whole.or_else(|| verdict(caller, name.as_deref(), notes));
        let (mut rules, mut digest_key) = (None, None);
        let mut grown_bytes_max = usize::MAX;
        if let (Some(name), None) = (&name, code) {
            let audit = caller.context.audited(name);
            durability = durability.max(audit.durability);
            rules = caller.context.rules(&caller.subject(), name, Direction::Produce);
            grown_bytes_max = caller.context.batch_bytes_max(name);
            digest_key = audit.digest.then(|| caller.context.audit.digest_key.clone());
        }
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for (partition_at, partition) in asked.partitions.iter().enumerate() {
            let refusal = match (code, &partition.records) {
                (Some(code), _) => Some(Refusal::of(code)),
                (None, Some(records)) if !records.is_empty() => {
                    let (records, rules, digest_key) = (records.clone(), rules.clone(), digest_key.clone());
                    let partition = partition_at;
                    plan.push(Planned { topic: at, partition, records, rules, digest_key, grown_bytes_max });
                    None
                }
                (None, Some(_) | None) => {
                    notes.push(Note::new(Code::InvalidRecord, "no_batch", name.as_deref().unwrap_or("-")));
                    Some(Refusal::no_batch())
                }
            };
            partitions.push(Partition { index: partition.index, refusal, part: None });
        }
        topics.push(Topic { name: name.unwrap_or_else(|| Arc::from("")), id, partitions });
    }
    let pending = Pending {
        version: incoming.request.version,
        correlation_id: incoming.request.correlation_id,
        event_id,
        durability,
        silent: request.acks == ACKS_NONE,
        failed: false,
        caller: caller.clone(),
        client_id: incoming.client_id(),
        header: incoming.header_splices(),
        topics,
        decision: Decision::Pass,
        rule_hits: Vec::new(),
        changed: 0,
        fault: None,
        intent_at: None,
    };
    Action::Inspect { plan, request, frame: incoming.frame, expect: Box::new(pending) }
}

impl Pending {
    /// The name of the intent is the name of the event: a request has one of each.
    pub(crate) fn intent_id(&self) -> IntentId {
        IntentId(self.event_id.0)
    }

    /// What each rule did.
    pub(crate) fn rule_hits(&self) -> &[RuleHit] {
        &self.rule_hits
    }

    /// Whether weir answers a partition itself.
    pub(crate) fn has_refusals(&self) -> bool {
        self.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.refusal.is_some())
    }

    /// Records inspected, records changed, bytes in: for metrics.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let parts =
            self.topics.iter().flat_map(|topic| &topic.partitions).filter_map(|partition| partition.part.as_ref());
        let (records, bytes) =
            parts.fold((0, 0), |(records, bytes), part| (records + u64::from(part.records), bytes + part.bytes_in));
        (records, self.changed, bytes)
    }
}

/// The ids of the request that the view neither knows nor was told not to exist.
fn unknown_topics(caller: &Caller, request: &ProduceRequest) -> Vec<Uuid> {
    let Some(view) = caller.view() else { return Vec::new() };
    request
        .topics
        .iter()
        .filter_map(|topic| match topic.topic {
            TopicRef::Id(id) if !view.topics.contains_key(&id) && !view.unknown_topics.contains(&id) => Some(id),
            TopicRef::Id(_) | TopicRef::Name(_) => None,
        })
        .take(super::UNKNOWN_TOPICS_MAX)
        .collect()
}

fn named(caller: &Caller, incoming: &Incoming, topic: &TopicRef) -> (Option<Arc<str>>, Option<Uuid>) {
    match topic {
        TopicRef::Name(span) => (incoming.text(span).map(Arc::from), None),
        TopicRef::Id(id) => (caller.view().and_then(|view| view.topics.get(id).cloned()), Some(*id)),
    }
}

fn verdict(caller: &Caller, name: Option<&str>, notes: &mut Notes) -> Option<Code> {
    match name {
        None => Some(Code::UnknownTopicId),
        Some(name) if caller.access.may_produce(name) => None,
        Some(name) => {
            notes.push(Note::new(Code::TopicAuthorizationFailed, "topic_not_allowed", name));
            Some(Code::TopicAuthorizationFailed)
        }
    }
}
