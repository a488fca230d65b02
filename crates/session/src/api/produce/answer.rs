//! The answer to a Produce request: the broker's, merged with weir's own in request order.

use std::collections::HashMap;

use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;
use weir_audit::{Kind, Outcome};
use weir_protocol::{ApiKey, Segments};

use super::{Pending, Refusal, Topic};
use crate::api::{Arrived, Reply, encode_response};
use crate::caller::Caller;
use crate::event::CloseReason;
use crate::refusal::Code;
use crate::time::Now;

/// Takes the broker's answer, and makes the client's and the entry.
pub(crate) fn response(pending: &mut Pending, arrived: &Arrived, now: Now) -> Result<Reply, CloseReason> {
    let answer = arrived.decode::<ProduceResponse>()?;
    let mut stored = HashMap::new();
    for topic in &answer.responses {
        for partition in &topic.partition_responses {
            stored.insert((topic.name.to_string(), topic.topic_id, partition.index), partition.clone());
        }
    }
    let mut worst = 0;
    let mut responses = Vec::with_capacity(pending.topics.len());
    for topic in &mut pending.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &mut topic.partitions {
            if let Some(refusal) = &partition.refusal {
                partitions.push(refused(partition.index, refusal));
                continue;
            }
            let key = match topic.id {
                Some(id) => (String::new(), id, partition.index),
                None => (topic.name.to_string(), Uuid::nil(), partition.index),
            };
            let mut found = stored.remove(&key).ok_or_else(|| {
                CloseReason::BrokerMalformed("a partition is missing in the Produce answer".to_owned())
            })?;
            if let Some(part) = &mut partition.part {
                part.error_code = found.error_code;
                if found.error_code == 0 {
                    part.base_offset = Some(found.base_offset);
                    part.last_offset = Some(found.base_offset.saturating_add(i64::from(part.records) - 1));
                }
            }
            if found.error_code != 0 {
                worst = found.error_code;
            }
            found.error_message = found.error_message.filter(|message| !names_a_broker(&pending.caller, message));
            partitions.push(found);
        }
        responses.push(named(topic).with_partition_responses(partitions));
    }
    let mut body = answer.with_responses(responses);
    body.node_endpoints.retain_mut(|endpoint| match pending.caller.advertised(endpoint.node_id.0) {
        Some((host, port)) => {
            endpoint.host = StrBytes::from_string(host.to_owned());
            endpoint.port = i32::from(port);
            true
        }
        None => false,
    });
    let frame = arrived.answer(pending.version, &body)?;
    if pending.silent && worst != 0 {
        pending.failed = true;
    }
    let mut entry = pending.entry(Kind::Produce, now);
    // Each part says what became of it; the entry says that something was stored if anything was.
    let stored = entry.parts.iter().any(|part| part.error_code == 0);
    entry.outcome = if stored { Outcome::Stored } else { Outcome::BrokerError { code: worst } };
    let closes = if pending.intent_at.is_some() { vec![pending.intent_id()] } else { Vec::new() };
    Ok(Reply::Record {
        frame,
        entry: Box::new(entry),
        closes,
        wait: pending.caller.context.replies_wait(pending.durability),
        swallow: pending.silent,
    })
}

/// The answer when nothing went to the broker.
pub(super) fn local(pending: &Pending) -> Segments {
    let responses = pending.topics.iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| match &partition.refusal {
                Some(refusal) => refused(partition.index, refusal),
                None => refused(partition.index, &Refusal::of(Code::StorageError)),
            })
            .collect();
        named(topic).with_partition_responses(partitions)
    });
    let body = ProduceResponse::default().with_responses(responses.collect());
    encode_response(ApiKey::Produce, pending.version, pending.correlation_id, &body).unwrap_or_default()
}

/// The answer when the intent could not be recorded: nothing was stored, try again (56).
pub(crate) fn unrecorded(pending: &Pending) -> Segments {
    local(pending)
}

fn named(topic: &Topic) -> TopicProduceResponse {
    match topic.id {
        Some(id) => TopicProduceResponse::default().with_topic_id(id),
        None => {
            TopicProduceResponse::default().with_name(TopicName(StrBytes::from_string(topic.name.as_ref().to_owned())))
        }
    }
}

fn refused(index: i32, refusal: &Refusal) -> PartitionProduceResponse {
    let records = refusal
        .records
        .iter()
        .take(RECORD_ERRORS_MAX)
        .map(|(index, message)| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(*index)
                .with_batch_index_error_message(Some(StrBytes::from_string(message.clone())))
        })
        .collect();
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(refusal.code.code())
        .with_base_offset(NO_OFFSET)
        .with_log_append_time_ms(NO_OFFSET)
        .with_log_start_offset(NO_OFFSET)
        .with_record_errors(records)
        .with_error_message(refusal.message.clone().map(StrBytes::from_string))
}

/// How many refused records of a batch are named one by one; the message counts them all.
const RECORD_ERRORS_MAX: usize = 100;

const NO_OFFSET: i64 = -1;

fn names_a_broker(caller: &Caller, message: &str) -> bool {
    caller.view().is_none_or(|view| view.brokers.values().any(|broker| message.contains(&broker.host)))
}
