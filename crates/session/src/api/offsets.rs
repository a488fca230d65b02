//! OffsetCommit (8) versions 2-9, OffsetFetch (9) versions 1-9 (several groups from v8, KIP-709).
//!
//! The group must be granted, and each topic: consume to commit, describe to read. The metadata string of a commit is passed
//! on as it is and not inspected (A4).

use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};

use super::{Action, Arrived, Expect, Incoming, Note, Notes, Reply, may_use_group};
use crate::caller::Caller;
use crate::event::CloseReason;
use crate::refusal::Code;

/// The first version that asks for several groups at once.
const GROUPS_VERSION_MIN: i16 = 8;
/// The first version whose response has an error code of its own.
const TOP_LEVEL_ERROR_VERSION_MIN: i16 = 2;

/// Topics of a commit that were refused, to be added to the answer.
#[derive(Debug)]
pub(crate) struct CommitPending {
    refused: Vec<OffsetCommitResponseTopic>,
}

pub(crate) fn commit(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    let mut asked = match incoming.decode::<OffsetCommitRequest>() {
        Ok(asked) => asked,
        Err(reason) => return Action::Close(reason),
    };
    let group_allowed = may_use_group(caller, &asked.group_id, notes);
    let mut refused = Vec::new();
    asked.topics.retain(|topic| {
        let code = if !group_allowed {
            Code::GroupAuthorizationFailed
        } else if !caller.access.may_consume(&topic.name) {
            notes.push(Note::new(Code::TopicAuthorizationFailed, "topic_not_allowed", topic.name.to_string()));
            Code::TopicAuthorizationFailed
        } else {
            return true;
        };
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
        });
        refused.push(
            OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect()),
        );
        false
    });
    if !group_allowed || (asked.topics.is_empty() && !refused.is_empty()) {
        return incoming.answer(&OffsetCommitResponse::default().with_topics(refused));
    }
    if refused.is_empty() {
        return incoming.forward(Expect::OffsetCommit(CommitPending { refused }));
    }
    let version = incoming.request.version;
    incoming.forward_body(&asked, version, Expect::OffsetCommit(CommitPending { refused }))
}

pub(crate) fn committed(pending: CommitPending, arrived: Arrived) -> Result<Reply, CloseReason> {
    if pending.refused.is_empty() {
        return Ok(Reply::Answer(arrived.pass()));
    }
    let mut answer = arrived.decode::<OffsetCommitResponse>()?;
    answer.topics.extend(pending.refused);
    arrived.answer(arrived.version, &answer).map(Reply::Answer)
}

/// What was refused of an OffsetFetch, to be added to the answer.
#[derive(Debug, Default)]
pub(crate) struct FetchPending {
    groups: Vec<OffsetFetchResponseGroup>,
    /// Groups of which all topics were asked for: those that the caller may not describe are left out rather than refused.
    whole: Vec<GroupId>,
}

pub(crate) fn fetch(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    let mut asked = match incoming.decode::<OffsetFetchRequest>() {
        Ok(asked) => asked,
        Err(reason) => return Action::Close(reason),
    };
    let version = incoming.request.version;
    if version < GROUPS_VERSION_MIN {
        if may_use_group(caller, &asked.group_id, notes) {
            let whole = if asked.topics.is_none() { vec![asked.group_id] } else { Vec::new() };
            return incoming.forward(Expect::OffsetFetch(FetchPending { groups: Vec::new(), whole }));
        }
        return incoming.answer(&refused_group_before_v8(version, &asked));
    }
    let mut pending = FetchPending::default();
    asked.groups.retain(|group| {
        let may = may_use_group(caller, &group.group_id, notes);
        if !may {
            pending.groups.push(
                OffsetFetchResponseGroup::default()
                    .with_group_id(group.group_id.clone())
                    .with_error_code(Code::GroupAuthorizationFailed.code()),
            );
        }
        if may && group.topics.is_none() {
            pending.whole.push(group.group_id.clone());
        }
        may
    });
    if asked.groups.is_empty() && !pending.groups.is_empty() {
        return incoming.answer(&OffsetFetchResponse::default().with_groups(pending.groups));
    }
    incoming.forward_body(&asked, version, Expect::OffsetFetch(pending))
}

/// Topics that the caller may not describe answer 29, with the offset that says "none".
pub(crate) fn fetched(caller: &Caller, pending: FetchPending, arrived: &Arrived) -> Result<Reply, CloseReason> {
    let mut answer = arrived.decode::<OffsetFetchResponse>()?;
    if arrived.version < GROUPS_VERSION_MIN && !pending.whole.is_empty() {
        answer.topics.retain(|topic| caller.access.may_describe(&topic.name));
    }
    for topic in answer.topics.iter_mut().filter(|topic| !caller.access.may_describe(&topic.name)) {
        for partition in &mut topic.partitions {
            *partition = hidden_partition(partition.partition_index);
        }
    }
    for group in &mut answer.groups {
        if pending.whole.contains(&group.group_id) {
            group.topics.retain(|topic| caller.access.may_describe(&topic.name));
        }
        group.topics.iter_mut().filter(|topic| !caller.access.may_describe(&topic.name)).for_each(hide);
    }
    answer.groups.extend(pending.groups);
    arrived.answer(arrived.version, &answer).map(Reply::Answer)
}

fn hide(topic: &mut OffsetFetchResponseTopics) {
    for partition in &mut topic.partitions {
        *partition = OffsetFetchResponsePartitions::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(NO_OFFSET)
            .with_error_code(Code::TopicAuthorizationFailed.code());
    }
}

fn hidden_partition(index: i32) -> OffsetFetchResponsePartition {
    refused_partition(index, Code::TopicAuthorizationFailed)
}

fn refused_partition(index: i32, code: Code) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(NO_OFFSET)
        .with_error_code(code.code())
}

const NO_OFFSET: i64 = -1;

/// Version 1 has no error code of its own: it stands in each partition.
fn refused_group_before_v8(version: i16, asked: &OffsetFetchRequest) -> OffsetFetchResponse {
    let code = Code::GroupAuthorizationFailed;
    if version >= TOP_LEVEL_ERROR_VERSION_MIN {
        return OffsetFetchResponse::default().with_error_code(code.code());
    }
    let topic = |name: &TopicName, partitions: &[i32]| {
        OffsetFetchResponseTopic::default()
            .with_name(name.clone())
            .with_partitions(partitions.iter().map(|index| refused_partition(*index, code)).collect())
    };
    let topics = asked.topics.iter().flatten().map(|asked| topic(&asked.name, &asked.partition_indexes)).collect();
    OffsetFetchResponse::default().with_topics(topics)
}
