//! Metadata (3), versions 0-13. Topic ids from v10 (KIP-516), lookup by id from v12.
//!
//! Requests never create topics: versions 0-3, which cannot say so, go to the broker as version 4. Answers show the ports of
//! weir instead of the brokers, and only the topics that the caller may describe.

use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Action, Arrived, Expect, Incoming, Note, Notes, Reply};
use crate::caller::Caller;
use crate::event::CloseReason;
use crate::refusal::Code;

/// The first version that can ask not to create topics.
const NO_AUTO_CREATION_VERSION_MIN: i16 = 4;

/// The operations bit field that says "not asked" (P7).
const OPERATIONS_UNKNOWN: i32 = i32::MIN;

/// What the response needs to know of the request.
#[derive(Debug)]
pub(crate) struct Pending {
    version: i16,
    refused: Vec<TopicName>,
    /// Topics that were asked for by id.
    ids: Vec<Uuid>,
}

impl Pending {
    /// The version that is spoken with the broker.
    pub(crate) fn upstream_version(&self) -> i16 {
        self.version.max(NO_AUTO_CREATION_VERSION_MIN)
    }
}

pub(crate) fn request(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    let version = incoming.request.version;
    let mut asked = match incoming.decode::<MetadataRequest>() {
        Ok(asked) => asked,
        Err(reason) => return Action::Close(reason),
    };
    if version == 0 && asked.topics.as_ref().is_some_and(Vec::is_empty) {
        // Before version 1 an empty list asks for all topics.
        asked.topics = None;
    }
    let (mut refused, mut ids) = (Vec::new(), Vec::new());
    if let Some(topics) = &mut asked.topics {
        topics.retain(|topic| match &topic.name {
            Some(name) if !caller.access.may_describe(name) => {
                notes.push(Note::new(Code::TopicAuthorizationFailed, "topic_not_allowed", name.to_string()));
                refused.push(name.clone());
                false
            }
            Some(_) => true,
            // Asked by id: the answer names it, and is filtered then.
            None => {
                ids.push(topic.topic_id);
                true
            }
        });
    }
    let body = asked
        .with_allow_auto_topic_creation(false)
        .with_include_cluster_authorized_operations(false)
        .with_include_topic_authorized_operations(false);
    let upstream = version.max(NO_AUTO_CREATION_VERSION_MIN);
    incoming.forward_body(&body, upstream, Expect::Metadata(Pending { version, refused, ids }))
}

pub(crate) fn response(caller: &Caller, pending: Pending, arrived: &Arrived) -> Result<Reply, CloseReason> {
    let mut answer = arrived.decode::<MetadataResponse>()?;
    answer.brokers.retain_mut(|broker| match caller.advertised(broker.node_id.0) {
        Some((host, port)) => {
            broker.host = StrBytes::from_string(host.to_owned());
            broker.port = i32::from(port);
            true
        }
        None => false,
    });
    if caller.advertised(answer.controller_id.0).is_none() {
        answer.controller_id = BrokerId(-1);
    }
    answer.cluster_authorized_operations = OPERATIONS_UNKNOWN;
    answer.topics.retain_mut(|topic| {
        topic.topic_authorized_operations = OPERATIONS_UNKNOWN;
        match &topic.name {
            Some(name) if caller.access.may_describe(name) => true,
            Some(_) if pending.ids.contains(&topic.topic_id) => {
                // To this client the id is as unknown as one that was never given (P8).
                *topic = MetadataResponseTopic::default()
                    .with_name(None)
                    .with_topic_id(topic.topic_id)
                    .with_error_code(Code::UnknownTopicId.code())
                    .with_topic_authorized_operations(OPERATIONS_UNKNOWN);
                true
            }
            Some(_) => false,
            // The broker's own "unknown topic id" names nothing.
            None => true,
        }
    });
    answer.topics.extend(pending.refused.into_iter().map(|name| {
        MetadataResponseTopic::default()
            .with_name(Some(name))
            .with_error_code(Code::TopicAuthorizationFailed.code())
            .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
    }));
    arrived.answer(pending.version, &answer).map(Reply::Answer)
}
