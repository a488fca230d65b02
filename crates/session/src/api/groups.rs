//! Classic consumer groups (KIP-62): JoinGroup (11) 0-9, Heartbeat (12) 0-4, LeaveGroup (13) 0-5, SyncGroup (14) 0-5.
//!
//! The group must be granted; the blobs in which members exchange subscriptions and assignments are passed on as they are
//! and not inspected (A4). Their size is bounded by the frame guard.

use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Action, Expect, Incoming, Notes, may_use_group};
use crate::caller::Caller;
use crate::refusal::Code;

const REFUSED: i16 = Code::GroupAuthorizationFailed.code();

pub(crate) fn join(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    match incoming.decode::<JoinGroupRequest>() {
        Ok(asked) if may_use_group(caller, &asked.group_id, notes) => incoming.forward(Expect::Pass),
        // Before version 7 the protocol's name cannot be null.
        Ok(_) => incoming.answer(
            &JoinGroupResponse::default()
                .with_error_code(REFUSED)
                .with_generation_id(-1)
                .with_protocol_name(Some(StrBytes::new())),
        ),
        Err(reason) => Action::Close(reason),
    }
}

pub(crate) fn sync(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    match incoming.decode::<SyncGroupRequest>() {
        Ok(asked) if may_use_group(caller, &asked.group_id, notes) => incoming.forward(Expect::Pass),
        Ok(_) => incoming.answer(&SyncGroupResponse::default().with_error_code(REFUSED)),
        Err(reason) => Action::Close(reason),
    }
}

pub(crate) fn heartbeat(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    match incoming.decode::<HeartbeatRequest>() {
        Ok(asked) if may_use_group(caller, &asked.group_id, notes) => incoming.forward(Expect::Pass),
        Ok(_) => incoming.answer(&HeartbeatResponse::default().with_error_code(REFUSED)),
        Err(reason) => Action::Close(reason),
    }
}

pub(crate) fn leave(caller: &Caller, incoming: Incoming, notes: &mut Notes) -> Action {
    match incoming.decode::<LeaveGroupRequest>() {
        Ok(asked) if may_use_group(caller, &asked.group_id, notes) => incoming.forward(Expect::Pass),
        Ok(_) => incoming.answer(&LeaveGroupResponse::default().with_error_code(REFUSED)),
        Err(reason) => Action::Close(reason),
    }
}
