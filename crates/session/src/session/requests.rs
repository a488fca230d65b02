//! From the client: frames become requests, requests become actions, actions take their slot.

use bytes::BytesMut;
use weir_audit::{Kind, Outcome};
use weir_protocol::{ApiKey, RequestPrefix, Segments, peek_request, unsupported_version_response};

use super::{Login, Session};
use crate::api::{
    Action, Expect, Incoming, Note, Notes, api_versions, fetch, find_coordinator, groups, init_producer_id,
    list_offsets, metadata, offsets, produce,
};
use crate::caller::{Caller, principal_ref};
use crate::cleared::{Cleared, NoEntry};
use crate::event::{CloseReason, Ending, Event};
use crate::job::Job;
use crate::pending::{Asked, ReplyStage, RequestStage, Slot};
use crate::refusal::Code;
use crate::time::Now;
use crate::vetted::Vetted;

/// Refusals of one request that are noted one by one; the rest is one note.
const NOTES_MAX: usize = 16;

impl Session {
    /// Takes whole frames off the client's bytes, as many as may be in flight.
    pub(super) fn read_client_frames(&mut self, now: Now) {
        while !self.closing
            && !self.ending
            && !self.draining
            && self.held_login.is_none()
            && self.pending.len() < self.context.limits.inflight_requests_max
        {
            let limits = &self.context.limits;
            let frame_bytes_max = match self.login {
                Login::Fresh | Login::Handshaken => limits.frame_bytes_max_before_login,
                Login::LoggedIn { .. } => limits.frame_bytes_max,
            };
            match self.client.next_frame(frame_bytes_max) {
                Ok(Some(frame)) => {
                    self.deadlines.frame_arrived();
                    self.take_request(frame, now);
                }
                Ok(None) => return self.deadlines.frames_taken(self.has_open_frame(), now),
                Err(error) => self.end(None, CloseReason::Frame(error), now),
            }
        }
    }

    fn take_request(&mut self, frame: BytesMut, now: Now) {
        let prefix = match peek_request(&frame) {
            Ok(prefix) => prefix,
            Err(error) => return self.end(None, CloseReason::Malformed(error), now),
        };
        let served = ApiKey::from_code(prefix.api_key).filter(|api| api.versions().contains(&prefix.api_version));
        let Some(api) = served else { return self.refuse_unserved(&prefix, now) };
        let login_call = match api {
            ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => true,
            ApiKey::Produce
            | ApiKey::Fetch
            | ApiKey::ListOffsets
            | ApiKey::Metadata
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::FindCoordinator
            | ApiKey::JoinGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::SyncGroup
            | ApiKey::InitProducerId
            | ApiKey::DescribeConfigs => false,
        };
        if !login_call && !matches!(self.login, Login::LoggedIn { again: false, .. }) {
            // Decided by the key alone, before the body is parsed (T8).
            return self.end(None, CloseReason::NotLoggedIn { api_key: prefix.api_key }, now);
        }
        if self.deadlines.is_expired(now) {
            // As the broker does, on the next request: the timer alone may be late (KIP-368).
            return self.close(CloseReason::Expired, now);
        }
        match Incoming::checked(frame) {
            Ok(incoming) => {
                let serial = self.open_slot(&incoming, now);
                self.dispatch(serial, incoming, now);
            }
            Err(error) => self.end(None, CloseReason::Malformed(error), now),
        }
    }

    /// An API or version outside weir's table: 35 in its own schema where that has a place for it, else the end.
    fn refuse_unserved(&mut self, prefix: &RequestPrefix, now: Now) {
        let not_served = CloseReason::NotServed { api_key: prefix.api_key, api_version: prefix.api_version };
        let api_versions = prefix.api_key == ApiKey::ApiVersions.code();
        let handshake = prefix.api_key == ApiKey::SaslHandshake.code();
        if !matches!(self.login, Login::LoggedIn { .. }) && !api_versions && !handshake {
            return self.end(None, CloseReason::NotLoggedIn { api_key: prefix.api_key }, now);
        }
        let answer = if api_versions {
            api_versions::unknown_version(prefix)
        } else {
            unsupported_version_response(prefix.api_key, prefix.api_version, prefix.correlation_id)
                .map(|frame| Segments::from(frame.freeze()))
        };
        let Some(answer) = answer else { return self.end(None, not_served, now) };
        let asked = ApiKey::from_code(prefix.api_key).map_or(Asked::Other, Asked::Api);
        // To a version of ApiVersions that it does not know every broker says which it does (KIP-511).
        let ending = if api_versions { Ending::Answered } else { Ending::Refused };
        let serial = self.pending.push(Slot { asked, ending, ..Slot::local(now) });
        if !api_versions {
            let reason = "not_served";
            match self.caller().cloned() {
                None => self.refused_login(reason, now),
                Some(caller) => {
                    let note = Note { code: Code::UnsupportedVersion, reason, resource: None };
                    self.note_refusal(&caller, (prefix.api_key, prefix.api_version), None, note, now);
                }
            }
        }
        self.answer_locally(serial, answer, NoEntry::Refusal);
    }

    fn open_slot(&mut self, incoming: &Incoming, now: Now) -> u64 {
        let request = &incoming.request;
        self.pending.push(Slot {
            api: request.api,
            version: request.version,
            upstream_version: request.version,
            correlation_id: request.correlation_id,
            memory: incoming.frame.len(),
            asked: Asked::Api(request.api),
            ..Slot::local(now)
        })
    }

    /// Asks again for what waited for the view of the cluster.
    pub(super) fn retry_waiting(&mut self, now: Now) {
        let waiting = self
            .pending
            .iter_mut()
            .filter(|slot| matches!(slot.request, RequestStage::Waiting(_)))
            .filter_map(|slot| match std::mem::replace(&mut slot.request, RequestStage::Local) {
                RequestStage::Waiting(incoming) => Some((slot.serial, incoming)),
                RequestStage::Inspecting(_)
                | RequestStage::Inspected(..)
                | RequestStage::Recording(_)
                | RequestStage::Ready(_)
                | RequestStage::Sent
                | RequestStage::Local => None,
            })
            .collect::<Vec<_>>();
        for (serial, incoming) in waiting {
            if !self.closing {
                self.dispatch(serial, incoming, now);
            }
        }
    }

    fn dispatch(&mut self, serial: u64, incoming: Incoming, now: Now) {
        match incoming.request.api {
            ApiKey::SaslHandshake => return self.handshake(serial, &incoming, now),
            ApiKey::SaslAuthenticate => return self.authenticate(serial, incoming, now),
            ApiKey::ApiVersions
            | ApiKey::Produce
            | ApiKey::Fetch
            | ApiKey::ListOffsets
            | ApiKey::Metadata
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::FindCoordinator
            | ApiKey::JoinGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::SyncGroup
            | ApiKey::InitProducerId
            | ApiKey::DescribeConfigs => {}
        }
        let Some(view) = self.view.clone() else {
            // Clients may know a broker from its own Metadata before weir's view has it.
            self.events.push_back(Event::ResolveTopics { ids: Vec::new() });
            return self.wait(serial, incoming);
        };
        if incoming.request.api == ApiKey::ApiVersions {
            let action = api_versions::request(&view, &self.door, &incoming);
            return self.act(serial, action, now);
        }
        let Login::LoggedIn { caller, .. } = &self.login else {
            return self.end(Some(serial), CloseReason::NotLoggedIn { api_key: incoming.request.api.code() }, now);
        };
        let caller = caller.clone();
        let (call, client_id) = (incoming.call(), incoming.client_id());
        let mut notes = Notes::new();
        let action = self.decide(&caller, incoming, &mut notes, now);
        if !notes.is_empty() {
            self.mark(serial, Ending::Refused);
        }
        if notes.len() > NOTES_MAX {
            let others = Note { code: Code::TopicAuthorizationFailed, reason: "others_not_allowed", resource: None };
            notes.truncate(NOTES_MAX);
            notes.push(others);
        }
        for note in notes {
            self.note_refusal(&caller, (call.0.code(), call.1), client_id.as_deref(), note, now);
        }
        self.act(serial, action, now);
    }

    fn decide(&mut self, caller: &Caller, incoming: Incoming, notes: &mut Notes, now: Now) -> Action {
        match incoming.request.api {
            ApiKey::Produce => {
                let event_id = self.ids.next(now);
                produce::request(caller, incoming, event_id, notes)
            }
            ApiKey::Fetch => {
                let event_id = self.ids.next(now);
                fetch::request(caller, incoming, event_id, notes)
            }
            ApiKey::ListOffsets => list_offsets::request(caller, incoming, notes),
            ApiKey::Metadata => metadata::request(caller, incoming, notes),
            ApiKey::OffsetCommit => offsets::commit(caller, incoming, notes),
            ApiKey::OffsetFetch => offsets::fetch(caller, incoming, notes),
            ApiKey::FindCoordinator => find_coordinator::request(caller, incoming, notes),
            ApiKey::JoinGroup => groups::join(caller, incoming, notes),
            ApiKey::Heartbeat => groups::heartbeat(caller, incoming, notes),
            ApiKey::LeaveGroup => groups::leave(caller, incoming, notes),
            ApiKey::SyncGroup => groups::sync(caller, incoming, notes),
            ApiKey::InitProducerId => init_producer_id::request(caller, incoming, notes),
            // Nobody is served it: `ApiKey::from_code` does not know it.
            ApiKey::DescribeConfigs => Action::Close(CloseReason::NotServed {
                api_key: incoming.request.api.code(),
                api_version: incoming.request.version,
            }),
            // The login is decided before.
            ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => {
                Action::Close(CloseReason::NotLoggedIn { api_key: incoming.request.api.code() })
            }
        }
    }

    pub(super) fn act(&mut self, serial: u64, action: Action, now: Now) {
        match action {
            Action::Forward { frame, expect } => self.forward(serial, frame, expect, now),
            Action::Answer(frame) => self.answer_locally(serial, frame, NoEntry::ControlPlane),
            Action::Inspect { .. } if !self.speaks(ApiKey::Produce, serial) => self.answer_unsupported(serial, now),
            Action::Inspect { plan, request, frame, expect } => {
                let limits = self.context.limits.records;
                let job = Job::produce(serial, frame, (request, expect.version), plan, limits);
                if let Some(slot) = self.pending.get_mut(serial) {
                    slot.watch.begin(now);
                    slot.request = RequestStage::Inspecting(expect);
                }
                self.jobs.push_back(job);
            }
            Action::Resolve { incoming, ids } => {
                self.events.push_back(Event::ResolveTopics { ids });
                self.wait(serial, incoming);
            }
            Action::Close(reason) => self.end(Some(serial), reason, now),
        }
    }

    fn wait(&mut self, serial: u64, incoming: Incoming) {
        if let Some(slot) = self.pending.get_mut(serial) {
            slot.request = RequestStage::Waiting(incoming);
        }
    }

    fn forward(&mut self, serial: u64, frame: Segments, expect: Expect, now: Now) {
        let Some(slot) = self.pending.get_mut(serial) else { return };
        let upstream_version = match &expect {
            Expect::Metadata(pending) => pending.upstream_version(),
            Expect::Own
            | Expect::Login
            | Expect::Pass
            | Expect::Produce(_)
            | Expect::Fetch(_)
            | Expect::ListOffsets(_)
            | Expect::FindCoordinator(_)
            | Expect::OffsetCommit(_)
            | Expect::OffsetFetch(_) => slot.version,
        };
        slot.upstream_version = upstream_version;
        let api = slot.api;
        if !self.speaks(api, serial) {
            return self.answer_unsupported(serial, now);
        }
        let Some(vetted) = Vetted::request(api, frame) else {
            let reason = CloseReason::NotServed { api_key: api.code(), api_version: upstream_version };
            return self.end(Some(serial), reason, now);
        };
        if let Some(slot) = self.pending.get_mut(serial) {
            slot.request = RequestStage::Ready(Cleared::without_entry(vetted, NoEntry::ControlPlane));
            slot.reply = ReplyStage::Broker(expect);
        }
    }

    /// Whether the brokers behind this door know the version in which the slot's request would go on.
    fn speaks(&mut self, api: ApiKey, serial: u64) -> bool {
        let spoken = self.view.as_ref().and_then(|view| view.versions(self.door.node, api));
        let slot = self.pending.get_mut(serial);
        slot.zip(spoken).is_some_and(|(slot, (min, max))| (min..=max).contains(&slot.upstream_version))
    }

    /// A version that weir serves and the broker does not: 35 where the schema has a place for it, else the end.
    fn answer_unsupported(&mut self, serial: u64, now: Now) {
        let Some(slot) = self.pending.get_mut(serial) else { return };
        let (key, version, correlation_id) = (slot.api.code(), slot.version, slot.correlation_id);
        match unsupported_version_response(key, version, correlation_id) {
            Some(answer) => {
                self.mark(serial, Ending::Refused);
                self.answer_locally(serial, Segments::from(answer.freeze()), NoEntry::Refusal);
            }
            None => self.end(Some(serial), CloseReason::NotServed { api_key: key, api_version: version }, now),
        }
    }

    pub(super) fn answer_locally(&mut self, serial: u64, frame: Segments, why: NoEntry) {
        if let Some(slot) = self.pending.get_mut(serial) {
            slot.memory = frame.len();
            slot.request = RequestStage::Local;
            slot.reply = ReplyStage::Ready(Some(Cleared::without_entry(Vetted::local(frame), why)));
        }
    }

    fn note_refusal(
        &mut self,
        caller: &Caller,
        (key, version): (i16, i16),
        client_id: Option<&str>,
        note: Note,
        now: Now,
    ) {
        let mut entry = self.identity.entry(Kind::Block, self.ids.next(now), now);
        entry.principal = Some(principal_ref(&caller.principal));
        entry.api = Some((key, version));
        entry.decision = weir_audit::Decision::Refuse;
        entry.outcome = Outcome::Refused { code: note.code.code() };
        entry.reason = Some(match &note.resource {
            Some(resource) => format!("{}: {resource}", note.reason),
            None => note.reason.to_owned(),
        });
        entry.policy_digest = Some(self.context.policy.digest());
        if let (Some(client), Some(id)) = (entry.client.as_mut(), client_id) {
            client.client_id = Some(id.to_owned());
        }
        self.events.push_back(Event::Refused {
            api: ApiKey::from_code(key),
            code: note.code.code(),
            reason: note.reason,
            resource: note.resource,
            entry: Box::new(entry),
        });
    }

    fn caller(&self) -> Option<&Caller> {
        match &self.login {
            Login::LoggedIn { caller, .. } => Some(caller),
            Login::Fresh | Login::Handshaken => None,
        }
    }

    /// A connection that ends because of what the client sent: before login that is a failed login, after it a refusal.
    pub(super) fn note_refused_close(&mut self, reason: &CloseReason, now: Now) {
        let own_fault = match reason {
            CloseReason::Frame(_)
            | CloseReason::Malformed(_)
            | CloseReason::NotLoggedIn { .. }
            | CloseReason::NotServed { .. }
            | CloseReason::LoginTimeout(_) => true,
            CloseReason::ClientGone
            | CloseReason::FrameCut { .. }
            | CloseReason::BrokerDown { .. }
            | CloseReason::BrokerLogin { .. }
            | CloseReason::BrokerMalformed(_)
            | CloseReason::LoginFailed(_)
            | CloseReason::BodyTimeout(_)
            | CloseReason::Idle(_)
            | CloseReason::Expired
            | CloseReason::AuditHold(_)
            | CloseReason::TooManyPartitions { .. }
            | CloseReason::TooManyRefused
            | CloseReason::InspectionFailed
            | CloseReason::SilentRequestRefused
            | CloseReason::Drained => false,
        };
        if !own_fault {
            return;
        }
        let Some(caller) = self.caller() else { return self.refused_login(reason.code(), now) };
        let principal = principal_ref(&caller.principal);
        let mut entry = self.identity.entry(Kind::Block, self.ids.next(now), now);
        entry.principal = Some(principal);
        entry.decision = weir_audit::Decision::Refuse;
        entry.outcome = Outcome::Refused { code: CUT };
        entry.reason = Some(format!("{}: {reason}", reason.code()));
        entry.policy_digest = Some(self.context.policy.digest());
        let entry = Box::new(entry);
        self.events.push_back(Event::Refused { api: None, code: CUT, reason: reason.code(), resource: None, entry });
    }
}

/// Stands for the code of a refusal that has none, the client being cut.
const CUT: i16 = 0;
