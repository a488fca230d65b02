//! Fetch (1), versions 4-18. Topic ids from v13 (KIP-516), endpoints of new leaders from v16 (KIP-951).
//!
//! Always without a fetch session (KIP-227), since sessions are not bound to a principal, and always as a consumer: a replica id
//! would see past the high watermark. Rules are looked up for what is in the response, not for what was asked.

use std::ops::Range;
use std::sync::Arc;

use kafka_protocol::messages::FetchResponse as FetchResponseBody;
use uuid::Uuid;
use weir_audit::{Decision, EntryBody, EventId, Kind, Outcome, Part, RuleHit};
use weir_policy::Direction;
use weir_protocol::{ApiKey, FetchRefusal, FetchRequest, FetchResponse, Segments, Splices, TopicKey, TopicRef};

use super::produce::add_hits;
use super::{Action, Arrived, Expect, Incoming, Note, Notes, Reply};
use crate::caller::Caller;
use crate::context::Durability;
use crate::event::{CloseReason, Event, RefusedFor};
use crate::job::{FetchInspection, FetchVerdict, FetchedBatches, Planned};
use crate::refusal::Code;
use crate::time::Now;
use crate::vetted::Vetted;

/// A Fetch between its request and its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    version: i16,
    event_id: EventId,
    client_id: Option<String>,
    /// Topics that were asked for and may be read; ids only from v13.
    allowed: Vec<(TopicKey, Arc<str>)>,
    refusals: Vec<FetchRefusal>,
}

pub(crate) fn request(caller: &Caller, incoming: Incoming, event_id: EventId, notes: &mut Notes) -> Action {
    let asked = match FetchRequest::read(&incoming.frame, &incoming.request) {
        Ok(asked) => asked,
        Err(error) => return Action::Close(CloseReason::Malformed(error)),
    };
    if asked.session_id != 0 {
        // weir never hands out a session: this one is somebody else's.
        return incoming.answer(&FetchResponseBody::default().with_error_code(Code::FetchSessionIdNotFound.code()));
    }
    let unknown = unknown_topics(caller, &asked);
    if !unknown.is_empty() {
        return Action::Resolve { incoming, ids: unknown };
    }
    let mut pending = Pending {
        version: incoming.request.version,
        event_id,
        client_id: incoming.client_id(),
        allowed: Vec::with_capacity(asked.topics.len()),
        refusals: Vec::new(),
    };
    let mut keep = Vec::with_capacity(asked.topics.len());
    for topic in &asked.topics {
        let (key, name) = named(caller, &incoming, &topic.topic);
        let refusal = verdict(caller, &key, name.as_deref(), notes);
        keep.push(refusal.is_none());
        match (refusal, name) {
            (None, Some(name)) => pending.allowed.push((key, name)),
            (None, None) => {}
            (Some(code), _) => pending.refusals.push(FetchRefusal {
                topic: key,
                partitions: topic.partitions.iter().map(|partition| partition.index).collect(),
                code: code.code(),
            }),
        }
    }
    if pending.allowed.is_empty() && !pending.refusals.is_empty() {
        let (version, correlation_id) = (pending.version, incoming.request.correlation_id);
        let frame = weir_protocol::fetch_error_response(version, correlation_id, &pending.refusals, 0);
        return Action::Answer(Segments::from(frame.freeze()));
    }
    let mut splices = incoming.header_splices();
    asked.make_sessionless(&mut splices);
    asked.clamp_max_bytes(caller.context.limits.fetch_bytes_max, &mut splices);
    asked.retain(|topic, _| keep.get(topic).copied().unwrap_or(false), &mut splices);
    Action::Forward { frame: splices.apply(incoming.frame.freeze()), expect: Expect::Fetch(Box::new(pending)) }
}

/// Plans the inspection of what came.
pub(crate) fn response(caller: &Caller, pending: Box<Pending>, arrived: Arrived) -> Result<Reply, CloseReason> {
    let response = FetchResponse::read(&arrived.frame, arrived.version, &arrived.response)
        .map_err(|error| CloseReason::BrokerMalformed(error.to_string()))?;
    let mut plan = Vec::new();
    for (at, topic) in response.topics.iter().enumerate() {
        let Some(name) = pending.name_of(&arrived.frame, &topic.topic) else { continue };
        if !caller.access.may_consume(name) {
            // It was allowed when it was asked for; the answer leaves it out with 29.
            continue;
        }
        let rules = caller.context.rules(&caller.subject(), name, Direction::Consume);
        let digest_key = caller.context.audited(name).digest.then(|| caller.context.audit.digest_key.clone());
        for (partition_at, partition) in topic.partitions.iter().enumerate() {
            if let Some(records) = partition.records.clone().filter(|records| !Range::is_empty(records)) {
                let (rules, digest_key) = (rules.clone(), digest_key.clone());
                let grown_bytes_max = usize::MAX;
                plan.push(Planned { topic: at, partition: partition_at, records, rules, digest_key, grown_bytes_max });
            }
        }
    }
    Ok(Reply::Inspect { plan, response, frame: arrived.frame, pending })
}

/// An inspected response, and the entry that it waits for.
pub(crate) struct Settled {
    pub(crate) frame: Vetted,
    pub(crate) entry: Option<Box<EntryBody>>,
    pub(crate) wait: bool,
    pub(crate) records: u64,
    pub(crate) changed: u64,
    pub(crate) bytes: u64,
}

/// Puts the inspected response together, and the entry about it.
pub(crate) fn settle(
    caller: &Caller,
    pending: &Pending,
    inspection: &FetchInspection,
    events: &mut impl FnMut(Event),
    now: Now,
) -> Settled {
    let mut hits: Vec<RuleHit> = Vec::new();
    let mut parts = Vec::new();
    let (mut decision, mut durability) = (Decision::Pass, Durability::Async);
    let (mut records, mut changed, mut bytes) = (0, 0, 0);
    let mut fault = None;
    for found in &inspection.partitions {
        let Some(name) = pending.planned_name(inspection, found) else { continue };
        durability = durability.max(caller.context.audited(name).durability);
        records += u64::from(found.records);
        changed += u64::from(found.edited_records);
        bytes += found.bytes_in as u64;
        if found.edited_records > 0 && decision == Decision::Pass {
            decision = Decision::Mask;
        }
        if let Some(rules) = &found.planned.rules {
            add_hits(&mut hits, rules, &found.findings);
        }
        let part = part(inspection, found, name);
        if withheld(found) {
            decision = Decision::Withhold;
            fault = fault.or_else(|| Some(format!("{name}-{}: {}", part.partition, unreadable(found)?)));
            events(withheld_event(pending, found, &part));
        }
        if found.batches > 0 || part.error_code != 0 || withheld(found) {
            parts.push(part);
        }
    }
    let entry = (!parts.is_empty()).then(|| {
        let call = (ApiKey::Fetch, pending.version);
        let mut entry = caller.entry(Kind::Fetch, call, pending.client_id.as_deref(), pending.event_id, now);
        entry.decision = decision;
        entry.outcome = Outcome::Delivered;
        entry.reason = fault;
        entry.rule_hits = hits;
        entry.parts = parts;
        Box::new(entry)
    });
    let frame = inspection.assemble(envelope_splices(caller, pending, inspection), |topic, partition| {
        match inspection.found(topic, partition).map(|found| found.verdict) {
            Some(FetchVerdict::Show) => None,
            Some(FetchVerdict::OldFormat) => Some(Code::StorageError.code()),
            // Not asked for, or not allowed: the broker answered what nobody may see.
            None => Some(Code::TopicAuthorizationFailed.code()),
        }
    });
    Settled { frame, entry, wait: caller.context.replies_wait(durability), records, changed, bytes }
}

/// The response without a record: the entry about it could not be written (56, retriable).
pub(crate) fn unrecorded(caller: &Caller, pending: &Pending, inspection: &FetchInspection) -> Vetted {
    inspection.withheld(envelope_splices(caller, pending, inspection), Code::StorageError.code())
}

/// Session id 0, weir's own ports, the refused topics.
fn envelope_splices(caller: &Caller, pending: &Pending, inspection: &FetchInspection) -> Splices {
    let mut splices = Splices::default();
    let response = &inspection.response;
    response.make_sessionless(&mut splices);
    let endpoints =
        response.node_endpoints.iter().map(|endpoint| caller.advertised(endpoint.node_id)).collect::<Vec<_>>();
    response.rewrite_endpoints(&endpoints, &mut splices);
    response.add_errors(&pending.refusals, &mut splices);
    for (topic, fetched) in response.topics.iter().enumerate() {
        for (partition, data) in fetched.partitions.iter().enumerate() {
            if data.preferred_read_replica >= 0 && caller.advertised(data.preferred_read_replica).is_none() {
                response.clear_preferred_read_replica(topic, partition, &mut splices);
            }
        }
    }
    splices
}

impl Pending {
    fn name_of(&self, frame: &[u8], topic: &TopicRef) -> Option<&str> {
        let key = match topic {
            TopicRef::Name(span) => {
                let name = frame.get(span.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok())?;
                return self
                    .allowed
                    .iter()
                    .find(|(_, allowed)| allowed.as_ref() == name)
                    .map(|(_, name)| name.as_ref());
            }
            TopicRef::Id(id) => TopicKey::Id(*id),
        };
        self.allowed.iter().find(|(allowed, _)| *allowed == key).map(|(_, name)| name.as_ref())
    }

    fn planned_name(&self, inspection: &FetchInspection, found: &FetchedBatches) -> Option<&str> {
        let topic = inspection.response.topics.get(found.planned.topic)?;
        self.name_of(inspection.envelope(), &topic.topic)
    }
}

fn withheld(found: &FetchedBatches) -> bool {
    found.withheld_records > 0 || found.withheld_batches > 0 || found.verdict == FetchVerdict::OldFormat
}

fn part(inspection: &FetchInspection, found: &FetchedBatches, name: &str) -> Part {
    let topic = inspection.response.topics.get(found.planned.topic);
    let partition = topic.and_then(|topic| topic.partitions.get(found.planned.partition));
    let error_code = match found.verdict {
        FetchVerdict::Show => partition.map_or(0, |partition| partition.error_code),
        FetchVerdict::OldFormat => Code::StorageError.code(),
    };
    Part {
        topic: name.to_owned(),
        topic_id: topic.and_then(|topic| match topic.topic {
            TopicRef::Id(id) => Some(id.into_bytes()),
            TopicRef::Name(_) => None,
        }),
        partition: partition.map_or(-1, |partition| partition.index),
        base_offset: (found.batches > 0).then_some(found.first_offset),
        last_offset: (found.batches > 0).then_some(found.last_offset),
        records: found.records,
        bytes_in: found.bytes_in as u64,
        bytes_out: found.bytes_out as u64,
        error_code,
        producer: None,
        digest: found.digest,
    }
}

/// Why records cannot be read, if that is it.
fn unreadable(found: &FetchedBatches) -> Option<String> {
    match found.verdict {
        FetchVerdict::OldFormat => Some("old message format".to_owned()),
        FetchVerdict::Show => found.failures.first().map(|error| format!("unreadable: {error}")),
    }
}

fn withheld_event(pending: &Pending, found: &FetchedBatches, part: &Part) -> Event {
    let rule = match found.findings.refused.first() {
        Some(record) if found.verdict == FetchVerdict::Show => {
            found.planned.rules.as_ref().map_or_else(String::new, |rules| rules.rule_name(record.rule).to_owned())
        }
        Some(_) | None => unreadable(found).unwrap_or_default(),
    };
    Event::RecordsRefused {
        api: ApiKey::Fetch,
        topic: part.topic.clone(),
        partition: part.partition,
        rule,
        cause: match found.verdict {
            FetchVerdict::OldFormat => RefusedFor::OldFormat,
            FetchVerdict::Show if found.withheld_batches > 0 => RefusedFor::Unreadable,
            FetchVerdict::Show => RefusedFor::Rule,
        },
        records: u64::from(found.withheld_records),
        batches: match found.verdict {
            FetchVerdict::Show => u64::from(found.withheld_batches),
            FetchVerdict::OldFormat => u64::from(found.batches.max(1)),
        },
        event_id: pending.event_id.to_string(),
    }
}

fn unknown_topics(caller: &Caller, asked: &FetchRequest) -> Vec<Uuid> {
    let Some(view) = caller.view() else { return Vec::new() };
    asked
        .topics
        .iter()
        .filter_map(|topic| match topic.topic {
            TopicRef::Id(id) if !view.topics.contains_key(&id) && !view.unknown_topics.contains(&id) => Some(id),
            TopicRef::Id(_) | TopicRef::Name(_) => None,
        })
        .take(super::UNKNOWN_TOPICS_MAX)
        .collect()
}

fn named(caller: &Caller, incoming: &Incoming, topic: &TopicRef) -> (TopicKey, Option<Arc<str>>) {
    match topic {
        TopicRef::Name(span) => {
            let name = incoming.text(span).unwrap_or_default();
            (TopicKey::Name(name.to_owned()), Some(Arc::from(name)))
        }
        TopicRef::Id(id) => (TopicKey::Id(*id), caller.view().and_then(|view| view.topics.get(id).cloned())),
    }
}

/// 29 by name; by id 29 if the topic may at least be described, else the id is unknown (P8).
fn verdict(caller: &Caller, key: &TopicKey, name: Option<&str>, notes: &mut Notes) -> Option<Code> {
    let name = match name {
        None => return Some(Code::UnknownTopicId),
        Some(name) if caller.access.may_consume(name) => return None,
        Some(name) => name,
    };
    notes.push(Note::new(Code::TopicAuthorizationFailed, "topic_not_allowed", name));
    match key {
        TopicKey::Id(_) if !caller.access.may_describe(name) => Some(Code::UnknownTopicId),
        TopicKey::Id(_) | TopicKey::Name(_) => Some(Code::TopicAuthorizationFailed),
    }
}
