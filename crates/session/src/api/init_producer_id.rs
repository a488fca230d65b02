//! InitProducerId (22), versions 0-5. KIP-98, KIP-360.
//!
//! Idempotence is granted to whoever may produce anywhere. A transactional id is refused until access can grant one.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::{Action, Expect, Incoming, Note, Notes};
use crate::caller::Caller;
use crate::refusal::Code;

pub(crate) fn request(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    let asked = match incoming.decode::<InitProducerIdRequest>() {
        Ok(asked) => asked,
        Err(reason) => return Action::Close(reason),
    };
    let refusal = match &asked.transactional_id {
        Some(id) => {
            Some(Note::new(Code::TransactionalIdAuthorizationFailed, "transactional_id_not_allowed", id.to_string()))
        }
        None if !caller.access.may_produce_any() => {
            Some(Note { code: Code::ClusterAuthorizationFailed, reason: "produce_not_allowed", resource: None })
        }
        None => None,
    };
    match refusal {
        None => incoming.forward(Expect::Pass),
        Some(note) => {
            let body = InitProducerIdResponse::default()
                .with_error_code(note.code.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            notes.push(note);
            incoming.answer(&body)
        }
    }
}
