//! FindCoordinator (10), versions 0-6. Batched from v4 (KIP-699).
//!
//! Groups only: transactional ids are refused until they can be granted, share groups until they are served. The answer
//! names a port of weir.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Action, Arrived, Expect, Incoming, Note, Notes, Reply, may_use_group};
use crate::caller::Caller;
use crate::event::CloseReason;
use crate::refusal::Code;

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;
const BATCHED_VERSION_MIN: i16 = 4;

/// Coordinators that were refused, by key, to be added to the answer.
#[derive(Debug)]
pub(crate) struct Pending {
    refused: Vec<(StrBytes, Code)>,
}

pub(crate) fn request(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    let mut asked = match incoming.decode::<FindCoordinatorRequest>() {
        Ok(asked) => asked,
        Err(reason) => return Action::Close(reason),
    };
    let key_type = asked.key_type;
    let mut verdict = |key: &StrBytes| match key_type {
        KEY_TYPE_GROUP => (!may_use_group(caller, key, notes)).then_some(Code::GroupAuthorizationFailed),
        KEY_TYPE_TRANSACTION => {
            notes.push(Note::new(
                Code::TransactionalIdAuthorizationFailed,
                "transactional_id_not_allowed",
                key.to_string(),
            ));
            Some(Code::TransactionalIdAuthorizationFailed)
        }
        _ => Some(Code::InvalidRequest),
    };
    if incoming.request.version < BATCHED_VERSION_MIN {
        return match verdict(&asked.key) {
            Some(code) => incoming.answer(
                &FindCoordinatorResponse::default()
                    .with_error_code(code.code())
                    .with_node_id(BrokerId(-1))
                    .with_port(-1),
            ),
            None => incoming.forward(Expect::FindCoordinator(Pending { refused: Vec::new() })),
        };
    }
    let mut refused = Vec::new();
    asked.coordinator_keys.retain(|key| match verdict(key) {
        Some(code) => {
            refused.push((key.clone(), code));
            false
        }
        None => true,
    });
    if asked.coordinator_keys.is_empty() && !refused.is_empty() {
        let coordinators = refused.into_iter().map(refusal).collect();
        return incoming.answer(&FindCoordinatorResponse::default().with_coordinators(coordinators));
    }
    let version = incoming.request.version;
    incoming.forward_body(&asked, version, Expect::FindCoordinator(Pending { refused }))
}

pub(crate) fn response(caller: &Caller, pending: Pending, arrived: &Arrived) -> Result<Reply, CloseReason> {
    let mut answer = arrived.decode::<FindCoordinatorResponse>()?;
    if arrived.version < BATCHED_VERSION_MIN {
        let found = shown(caller, answer.error_code, answer.node_id);
        answer.error_code = found.error_code;
        (answer.node_id, answer.host, answer.port) = (found.node_id, found.host, found.port);
        answer.error_message = None;
    }
    for coordinator in &mut answer.coordinators {
        let found = shown(caller, coordinator.error_code, coordinator.node_id);
        coordinator.error_code = found.error_code;
        (coordinator.node_id, coordinator.host, coordinator.port) = (found.node_id, found.host, found.port);
        coordinator.error_message = None;
    }
    answer.coordinators.extend(pending.refused.into_iter().map(refusal));
    arrived.answer(arrived.version, &answer).map(Reply::Answer)
}

/// The coordinator as the caller may see it. The broker's message is dropped: it can name a broker.
fn shown(caller: &Caller, error_code: i16, node: BrokerId) -> Coordinator {
    let hidden = |code| Coordinator::default().with_error_code(code).with_node_id(BrokerId(-1)).with_port(-1);
    if error_code != 0 {
        return hidden(error_code);
    }
    match caller.advertised(node.0) {
        Some((host, port)) => Coordinator::default()
            .with_node_id(node)
            .with_host(StrBytes::from_string(host.to_owned()))
            .with_port(i32::from(port)),
        None => hidden(Code::CoordinatorNotAvailable.code()),
    }
}

fn refusal((key, code): (StrBytes, Code)) -> Coordinator {
    Coordinator::default().with_key(key).with_error_code(code.code()).with_node_id(BrokerId(-1)).with_port(-1)
}
