//! What becomes of a Produce request once its records were inspected: taken in request order, since a refusal decides about what
//! comes behind it.

use std::collections::HashMap;
use std::sync::Arc;

use weir_audit::{Decision, EntryBody, IntentRow, Kind, Outcome, Part, RuleHit};
use weir_policy::{Findings, HitAction, RuleSet};
use weir_protocol::Segments;
use weir_protocol::records::BatchError;

use super::{ACKS_LEADER, Pending, Refusal};
use crate::context::Durability;
use crate::event::{Event, RefusedFor};
use crate::job::{ProduceInspection, ProducedPartition};
use crate::refusal::Code;
use crate::time::Now;
use crate::vetted::Vetted;

/// What is done with an inspected request.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Something of it goes to the broker, after `intent` if there is one.
    Forward { frame: Forwarded, intent: Option<Box<IntentRow>> },
    /// Nothing of it goes on. `entry` (there is one when records were refused) comes before the answer.
    Answer { frame: Segments, entry: Option<Box<EntryBody>> },
}

/// A request that was assembled from inspected batches.
pub(crate) struct Forwarded(pub(crate) Vetted);

impl std::fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forwarded")
    }
}

/// Producers of which a batch was refused, by topic and partition. Batches behind it get 45 until the producer starts anew, or
/// sends the batch again that could not be recorded: else a broker that does not know the producer yet would accept them out of
/// order.
#[derive(Debug, Default)]
pub(crate) struct RefusedProducers(HashMap<(Arc<str>, i32), Awaited>);

/// The batch that ends the refusals behind a refused one, beside any with sequence 0 or in another epoch.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    id: i64,
    epoch: i16,
    base_sequence: i32,
}

/// How many refused producers one connection may have; the oldest sequences are forgotten by closing the connection.
const REFUSED_PRODUCERS_MAX: usize = 10_000;

impl RefusedProducers {
    /// Whether the connection has more than can be remembered, and must close.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() > REFUSED_PRODUCERS_MAX
    }

    fn holds_back(&mut self, topic: &Arc<str>, partition: i32, producer: Producer) -> bool {
        let key = (Arc::clone(topic), partition);
        match self.0.get(&key) {
            Some(awaited)
                if (awaited.id, awaited.epoch) == (producer.id, producer.epoch)
                    && producer.base_sequence != 0
                    && producer.base_sequence != awaited.base_sequence =>
            {
                true
            }
            Some(_) => {
                self.0.remove(&key);
                false
            }
            None => false,
        }
    }

    /// For good: the producer must start anew.
    fn refuse(&mut self, topic: &Arc<str>, partition: i32, producer: Producer) {
        self.wait_for(topic, partition, Producer { base_sequence: 0, ..producer });
    }

    fn wait_for(&mut self, topic: &Arc<str>, partition: i32, Producer { id, epoch, base_sequence }: Producer) {
        self.0.insert((Arc::clone(topic), partition), Awaited { id, epoch, base_sequence });
    }

    /// The intent of this request could not be recorded: until its batches come again, none behind them goes on.
    pub(crate) fn wait_for_all(&mut self, pending: &Pending) {
        for (topic, partition, producer) in pending.forwarded() {
            let earlier = self.0.get(&(Arc::clone(topic), partition));
            if earlier.is_none_or(|earlier| (earlier.id, earlier.epoch) != (producer.id, producer.epoch)) {
                self.wait_for(topic, partition, producer);
            }
        }
    }

    /// Whether a batch of this request, which was let pass, stands behind one that has to come again.
    pub(crate) fn hold_any(&self, pending: &Pending) -> bool {
        pending.forwarded().any(|(topic, partition, producer)| {
            self.0
                .get(&(Arc::clone(topic), partition))
                .is_some_and(|awaited| (awaited.id, awaited.epoch) == (producer.id, producer.epoch))
        })
    }
}

/// The idempotent producer of a batch, as its header names it (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Producer {
    id: i64,
    epoch: i16,
    base_sequence: i32,
}

impl Producer {
    /// Reads the header of a v2 batch; `None` for a batch without producer, or too short to have one.
    fn of(batch: &[u8]) -> Option<Self> {
        let id = i64::from_be_bytes(batch.get(43..51)?.try_into().ok()?);
        let epoch = i16::from_be_bytes(batch.get(51..53)?.try_into().ok()?);
        let base_sequence = i32::from_be_bytes(batch.get(53..57)?.try_into().ok()?);
        (id >= 0).then_some(Self { id, epoch, base_sequence })
    }
}

/// Decides each partition, and with them the request.
pub(crate) fn settle(
    pending: &mut Pending,
    inspection: &ProduceInspection,
    refused_producers: &mut RefusedProducers,
    events: &mut impl FnMut(Event),
    now: Now,
) -> Settled {
    let mut refused_records = false;
    for found in &inspection.partitions {
        refused_records |= decide(pending, found, inspection.envelope(), refused_producers, events);
    }
    let forwards = |topic: usize, partition: usize| {
        pending
            .topics
            .get(topic)
            .and_then(|topic| topic.partitions.get(partition))
            .is_some_and(|partition| partition.refusal.is_none())
    };
    let any = pending.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.refusal.is_none());
    if !any {
        let entry = refused_records.then(|| Box::new(block_entry(pending, now)));
        return Settled::Answer { frame: super::answer::local(pending), entry };
    }
    let mut splices = pending.header.clone();
    if pending.silent {
        inspection.request.set_acks(ACKS_LEADER, &mut splices);
    }
    let frame = inspection.assemble(forwards, splices);
    let intent = (pending.durability == Durability::Strict).then(|| Box::new(intent(pending, now)));
    if intent.is_some() {
        pending.intent_at = Some(now.wall_ns());
    }
    Settled::Forward { frame: Forwarded(frame), intent }
}

/// Decides one partition; true when records of it were refused.
fn decide(
    pending: &mut Pending,
    found: &ProducedPartition,
    frame: &[u8],
    refused_producers: &mut RefusedProducers,
    events: &mut impl FnMut(Event),
) -> bool {
    let event_id = pending.event_id;
    let Some(topic) = pending.topics.get_mut(found.planned.topic) else { return false };
    let (name, id) = (Arc::clone(&topic.name), topic.id);
    let Some(partition) = topic.partitions.get_mut(found.planned.partition) else { return false };
    let producer = frame.get(found.planned.records.clone()).and_then(Producer::of);
    let verdict = verdict(found, &event_id.to_string());
    let refused_records = verdict.is_some();
    partition.refusal = verdict.or_else(|| {
        let producer = producer?;
        refused_producers.holds_back(&name, partition.index, producer).then(|| Refusal::of(Code::OutOfOrderSequence))
    });
    let mut part = Part {
        topic: name.to_string(),
        topic_id: id.map(uuid::Uuid::into_bytes),
        partition: partition.index,
        base_offset: None,
        last_offset: None,
        records: 0,
        bytes_in: found.planned.records.len() as u64,
        bytes_out: 0,
        error_code: partition.refusal.as_ref().map_or(0, |refusal| refusal.code.code()),
        producer: producer.map(|producer| (producer.id, producer.epoch, producer.base_sequence)),
        digest: None,
    };
    if let Ok(batch) = &found.batch {
        part.records = batch.info.records;
        if partition.refusal.is_none() {
            part.bytes_out = batch.bytes_out as u64;
            part.digest = batch.digest;
        }
    }
    partition.part = Some(part);
    match (producer, partition.refusal.as_ref().map(|refusal| refusal.code)) {
        // Its records come again in smaller batches, the first of which begins where this one does.
        (Some(producer), Some(Code::MessageTooLarge)) => refused_producers.wait_for(&name, partition.index, producer),
        (Some(producer), Some(_)) if refused_records => refused_producers.refuse(&name, partition.index, producer),
        (Some(_) | None, _) => {}
    }
    if refused_records {
        events(Event::RecordsRefused {
            api: weir_protocol::ApiKey::Produce,
            topic: name.to_string(),
            partition: partition.index,
            rule: refusing_rule(found),
            cause: cause(found),
            records: refused_count(found),
            batches: u64::from(cause(found) == RefusedFor::Unreadable),
            event_id: event_id.to_string(),
        });
    }
    remember(pending, found, refused_records);
    refused_records
}

/// The refusal of the batch itself, if there is one.
fn verdict(found: &ProducedPartition, event: &str) -> Option<Refusal> {
    match &found.batch {
        Err(BatchError::Grown { records, bytes_in, bytes_out, max }) => {
            let rules = editing_rules(found);
            let sizes = format!("{bytes_out} bytes of {bytes_in}, and its topic takes {max}");
            let message = format!("weir: rule \"{rules}\" makes this batch {sizes} (event {event})");
            let code = if *records > 1 { Code::MessageTooLarge } else { Code::InvalidRecord };
            Some(Refusal { message: Some(message), ..Refusal::of(code) })
        }
        Err(error) => Some(unreadable(error, event)),
        Ok(_) if found.findings.refused.is_empty() => None,
        Ok(_) => {
            let rules = found.planned.rules.as_deref();
            let records = found
                .findings
                .refused
                .iter()
                .map(|record| {
                    let rule = rules.map_or("", |rules| rules.rule_name(record.rule));
                    let message =
                        format!("weir: rule \"{rule}\" refused this record ({}; event {event})", record.cause.name());
                    (i32::try_from(record.index).unwrap_or(i32::MAX), message)
                })
                .collect::<Vec<_>>();
            let message = format!(
                "weir: rule \"{}\" refused {} of the batch's records (event {event})",
                refusing_rule(found),
                records.len()
            );
            Some(Refusal { code: Code::InvalidRecord, message: Some(message), records })
        }
    }
}

fn unreadable(error: &BatchError, event: &str) -> Refusal {
    let message = format!("weir: this batch cannot be read: {error} (event {event})");
    Refusal { code: Code::InvalidRecord, message: Some(message), records: Vec::new() }
}

fn cause(found: &ProducedPartition) -> RefusedFor {
    match &found.batch {
        Err(BatchError::Grown { .. }) => RefusedFor::Growth,
        Err(_) => RefusedFor::Unreadable,
        Ok(_) => RefusedFor::Rule,
    }
}

/// The rules that edited the batch.
fn editing_rules(found: &ProducedPartition) -> String {
    let Some(rules) = &found.planned.rules else { return String::new() };
    let mut names: Vec<&str> = Vec::new();
    for hit in found.findings.hits.iter().filter(|hit| !hit.action.is_refusal()) {
        let name = rules.rule_name(hit.rule);
        if !names.contains(&name) && names.len() < RULES_NAMED_MAX {
            names.push(name);
        }
    }
    names.join("\", \"")
}

/// How many of the rules that edited a batch are named when it grew too large.
const RULES_NAMED_MAX: usize = 5;

fn refusing_rule(found: &ProducedPartition) -> String {
    match &found.batch {
        Err(BatchError::Grown { .. }) => editing_rules(found).replace('"', ""),
        Err(error) => format!("unreadable: {error}"),
        Ok(_) => found
            .findings
            .refused
            .first()
            .and_then(|record| Some(found.planned.rules.as_ref()?.rule_name(record.rule).to_owned()))
            .unwrap_or_default(),
    }
}

fn refused_count(found: &ProducedPartition) -> u64 {
    match &found.batch {
        Err(_) => 0,
        Ok(_) => found.findings.refused.len() as u64,
    }
}

/// Adds what was found to what the entry will say.
fn remember(pending: &mut Pending, found: &ProducedPartition, refused: bool) {
    if refused {
        pending.decision = Decision::Refuse;
    }
    let batch = match &found.batch {
        Ok(batch) => batch,
        Err(error) => {
            let partition = pending
                .topics
                .get(found.planned.topic)
                .and_then(|topic| Some((&topic.name, topic.partitions.get(found.planned.partition)?.index)));
            if let (Some((topic, index)), None) = (partition, &pending.fault) {
                pending.fault = Some(match cause(found) {
                    RefusedFor::Growth => format!("{topic}-{index}: {error}; rules: {}", refusing_rule(found)),
                    RefusedFor::Rule | RefusedFor::Unreadable | RefusedFor::OldFormat => {
                        format!("{topic}-{index}: unreadable: {error}")
                    }
                });
            }
            return;
        }
    };
    pending.changed += u64::from(batch.edited_records);
    if batch.edited_records > 0 && pending.decision == Decision::Pass {
        pending.decision = Decision::Mask;
    }
    if let Some(rules) = &found.planned.rules {
        add_hits(&mut pending.rule_hits, rules, &found.findings);
    }
}

/// Adds findings to an entry's list, one row per rule and action.
pub(in crate::api) fn add_hits(into: &mut Vec<RuleHit>, rules: &RuleSet, findings: &Findings) {
    for hit in &findings.hits {
        let (rule, action) = (rules.rule_name(hit.rule), action_name(hit.action));
        match into.iter_mut().find(|row| row.rule == rule && row.action == action) {
            Some(row) => row.count = row.count.saturating_add(hit.count),
            None => into.push(RuleHit { rule: rule.to_owned(), action: action.to_owned(), count: hit.count }),
        }
    }
}

fn action_name(action: HitAction) -> &'static str {
    match action {
        HitAction::Mask => "mask",
        HitAction::Redact => "redact",
        HitAction::Hash => "hash",
        HitAction::Refuse => "refuse",
        HitAction::FailureRedact => "failure-redact",
        HitAction::FailureRefuse => "failure-refuse",
    }
}

fn intent(pending: &Pending, now: Now) -> IntentRow {
    let mut body = pending.entry(Kind::Produce, now);
    body.parts.retain(|part| part.error_code == 0);
    IntentRow { id: pending.intent_id(), body }
}

fn block_entry(pending: &Pending, now: Now) -> EntryBody {
    let mut body = pending.entry(Kind::Block, now);
    body.decision = Decision::Refuse;
    // Whoever gets the other code only is to send its records again.
    let codes =
        || pending.topics.iter().flat_map(|topic| &topic.partitions).filter_map(|partition| partition.refusal.as_ref());
    let all_too_large = codes().all(|refusal| refusal.code == Code::MessageTooLarge);
    let code = if all_too_large { Code::MessageTooLarge } else { Code::InvalidRecord };
    body.outcome = Outcome::Refused { code: code.code() };
    body
}

impl Pending {
    /// The batches of idempotent producers that were let pass.
    fn forwarded(&self) -> impl Iterator<Item = (&Arc<str>, i32, Producer)> {
        self.topics.iter().flat_map(|topic| {
            topic.partitions.iter().filter(|partition| partition.refusal.is_none()).filter_map(|partition| {
                let (id, epoch, base_sequence) = partition.part.as_ref()?.producer?;
                Some((&topic.name, partition.index, Producer { id, epoch, base_sequence }))
            })
        })
    }

    /// The entry as far as it is known.
    pub(crate) fn entry(&self, kind: Kind, now: Now) -> EntryBody {
        let call = (weir_protocol::ApiKey::Produce, self.version);
        let mut body = self.caller.entry(kind, call, self.client_id.as_deref(), self.event_id, now);
        body.decision = self.decision;
        body.rule_hits = self.rule_hits.clone();
        body.intent_at = self.intent_at;
        body.reason.clone_from(&self.fault);
        body.parts = self
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .filter_map(|partition| partition.part.clone())
            .collect();
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(id: i64, epoch: i16, base_sequence: i32) -> Producer {
        Producer { id, epoch, base_sequence }
    }

    #[test]
    fn batches_behind_a_refused_one_are_held_back_until_the_producer_starts_anew() {
        let orders: Arc<str> = Arc::from("orders");
        let mut refused = RefusedProducers::default();
        assert!(!refused.holds_back(&orders, 0, producer(7, 0, 10)), "nothing was refused yet");
        refused.refuse(&orders, 0, producer(7, 0, 10));
        assert!(refused.holds_back(&orders, 0, producer(7, 0, 11)));
        assert!(refused.holds_back(&orders, 0, producer(7, 0, 12)), "and stays so");
        assert!(!refused.holds_back(&orders, 1, producer(7, 0, 11)), "another partition");
        assert!(!refused.holds_back(&orders, 0, producer(7, 1, 0)), "another epoch");
        assert!(!refused.holds_back(&orders, 0, producer(7, 0, 13)), "which ended it");
    }

    #[test]
    fn a_batch_that_could_not_be_recorded_is_awaited() {
        let orders: Arc<str> = Arc::from("orders");
        let mut refused = RefusedProducers::default();
        refused.wait_for(&orders, 0, producer(7, 0, 10));
        assert!(refused.holds_back(&orders, 0, producer(7, 0, 11)));
        assert!(!refused.holds_back(&orders, 0, producer(7, 0, 10)), "it comes again");
        assert!(!refused.holds_back(&orders, 0, producer(7, 0, 11)), "which ended it");
    }

    #[test]
    fn sequence_zero_ends_it() {
        let orders: Arc<str> = Arc::from("orders");
        let mut refused = RefusedProducers::default();
        refused.refuse(&orders, 0, producer(7, 0, 10));
        assert!(!refused.holds_back(&orders, 0, producer(7, 0, 0)));
    }
}
