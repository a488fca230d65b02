//! ListOffsets (2), versions 1-10.
//!
//! The replica id is forced to -1: any other is a follower's or the debugger's, which see past the high watermark.

use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse};

use super::{Action, Arrived, Expect, Incoming, Note, Notes, Reply};
use crate::caller::Caller;
use crate::event::CloseReason;
use crate::refusal::Code;

const CONSUMER: BrokerId = BrokerId(-1);

/// Topics that were refused, to be added to the answer.
#[derive(Debug)]
pub(crate) struct Pending {
    refused: Vec<ListOffsetsTopicResponse>,
}

pub(crate) fn request(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    let mut asked = match incoming.decode::<ListOffsetsRequest>() {
        Ok(asked) => asked,
        Err(reason) => return Action::Close(reason),
    };
    let mut refused = Vec::new();
    asked.topics.retain(|topic| {
        let may = caller.access.may_describe(&topic.name);
        if !may {
            notes.push(Note::new(Code::TopicAuthorizationFailed, "topic_not_allowed", topic.name.to_string()));
            let partitions = topic.partitions.iter().map(|partition| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(Code::TopicAuthorizationFailed.code())
            });
            refused.push(
                ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect()),
            );
        }
        may
    });
    if asked.topics.is_empty() && !refused.is_empty() {
        return incoming.answer(&ListOffsetsResponse::default().with_topics(refused));
    }
    asked.replica_id = CONSUMER;
    let version = incoming.request.version;
    incoming.forward_body(&asked, version, Expect::ListOffsets(Pending { refused }))
}

pub(crate) fn response(pending: Pending, arrived: Arrived) -> Result<Reply, CloseReason> {
    if pending.refused.is_empty() {
        return Ok(Reply::Answer(arrived.pass()));
    }
    let mut answer = arrived.decode::<ListOffsetsResponse>()?;
    answer.topics.extend(pending.refused);
    arrived.answer(arrived.version, &answer).map(Reply::Answer)
}
