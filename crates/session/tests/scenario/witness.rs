//! Sees everything that passes a session, and holds it to what must be true whatever the script is about.
//!
//! - Requests reach the broker in the order in which the client sent them; replies answer the client's requests in order.
//! - G1: no record of a `strict` topic goes to the broker before the receipt of its intent was handed over.
//! - G2: no answer about records of a `strict` or `outcome` topic reaches the client before the receipt of its entry.
//! - G3: no fetched record of such a topic reaches the client before the receipt of its entry; no login is confirmed before its own.
//! - No broker's host is in the bytes for the client.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use kafka_protocol::messages::{
    FetchResponse, ProduceRequest, ProduceResponse, RequestHeader, SaslAuthenticateResponse,
};
use kafka_protocol::protocol::Decodable;
use uuid::Uuid;
use weir_audit::{Commit, EntryBody, IntentRow, Kind, Part};
use weir_protocol::{ApiKey, peek_request};
use weir_session::{Context, Durability};

use crate::world::BROKER_HOST;

/// Correlation id of weir's own requests.
const OWN: i32 = i32::MAX;
const UNKNOWN_VERSION: i16 = 35;
const INVALID_RECORD: i16 = 87;

pub(crate) struct Witness {
    context: Arc<Context>,
    /// Requests that the client sent and that were not answered.
    unanswered: VecDeque<Asked>,
    /// Requests that the client sent and that neither the broker got nor a later one.
    unsent: VecDeque<Asked>,
    intents: Vec<IntentRow>,
    entries: Vec<EntryBody>,
}

/// A request of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) api: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// Whether it wants no answer (acks=0).
    pub(crate) silent: bool,
}

/// The partition of a topic, by name or by id.
type Place = (String, Uuid, i32);

impl Witness {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let (unanswered, unsent) = (VecDeque::new(), VecDeque::new());
        Self { context, unanswered, unsent, intents: Vec::new(), entries: Vec::new() }
    }

    /// The client sent a request.
    pub(crate) fn asked(&mut self, asked: Asked) {
        self.unsent.push_back(asked);
        if !asked.silent {
            self.unanswered.push_back(asked);
        }
    }

    /// The session gets the receipt of this commit.
    pub(crate) fn receipt(&mut self, commit: &Commit) {
        match commit {
            Commit::Intent(intent) => self.intents.push(intent.clone()),
            Commit::Entry { entry, .. } => self.entries.push(entry.clone()),
        }
    }

    /// The broker gets this frame.
    pub(crate) fn to_broker(&mut self, frame: &Bytes) -> Result<(), String> {
        let prefix = peek_request(frame).map_err(|error| error.to_string())?;
        if prefix.correlation_id == OWN && prefix.api_key == ApiKey::ApiVersions.code() {
            return Ok(());
        }
        loop {
            let asked =
                self.unsent.pop_front().ok_or("order: the broker gets a request that is not the client's next")?;
            if (asked.api, asked.correlation_id) == (prefix.api_key, prefix.correlation_id) {
                break;
            }
        }
        if prefix.api_key != ApiKey::Produce.code() {
            return Ok(());
        }
        let body: ProduceRequest = decode_request(frame);
        let strict: Vec<Place> =
            produced(&body).filter(|(name, id, _)| self.durability(name, *id) == Durability::Strict).collect();
        if strict.is_empty() {
            return Ok(());
        }
        let covered = |intent: &IntentRow| strict.iter().all(|place| has(&intent.body.parts, place, None));
        let at = self.intents.iter().position(covered).ok_or(format!("G1: no intent for {strict:?}"))?;
        self.intents.remove(at);
        Ok(())
    }

    /// The client gets this frame.
    pub(crate) fn to_client(&mut self, frame: &Bytes) -> Result<Asked, String> {
        if frame.windows(BROKER_HOST.len()).any(|window| window == BROKER_HOST.as_bytes()) {
            return Err("a broker's host reaches the client".to_owned());
        }
        let asked = self.unanswered.pop_front().ok_or("order: an answer to nothing")?;
        let found = i32::from_be_bytes(frame[..4].try_into().unwrap());
        if found != asked.correlation_id {
            return Err(format!("order: {found} answered where {} is due", asked.correlation_id));
        }
        let due = match ApiKey::from_code(asked.api).filter(|api| api.versions().contains(&asked.version)) {
            Some(ApiKey::Produce) => self.answered_places(&decode_answer(frame, asked)),
            Some(ApiKey::Fetch) => self.fetched_places(&decode_answer(frame, asked)),
            Some(ApiKey::SaslAuthenticate) => return self.logged_in(&decode_answer(frame, asked)).map(|()| asked),
            Some(_) | None => Vec::new(),
        };
        if !due.is_empty() {
            let kinds: &[Kind] =
                if asked.api == ApiKey::Fetch.code() { &[Kind::Fetch] } else { &[Kind::Produce, Kind::Block] };
            let covers = |entry: &EntryBody| {
                kinds.contains(&entry.kind) && due.iter().all(|(place, code)| has(&entry.parts, place, Some(*code)))
            };
            let rule = if asked.api == ApiKey::Fetch.code() { "G3" } else { "G2" };
            let at = self.entries.iter().position(covers).ok_or(format!("{rule}: no entry for {due:?}"))?;
            self.entries.remove(at);
        }
        Ok(asked)
    }

    fn logged_in(&mut self, answer: &SaslAuthenticateResponse) -> Result<(), String> {
        if answer.error_code != 0 {
            return Ok(());
        }
        let is_login = |entry: &EntryBody| entry.kind == Kind::AuthOk;
        let at = self.entries.iter().position(is_login).ok_or("G3: no entry for a login")?;
        self.entries.remove(at);
        Ok(())
    }

    /// Partitions whose answer had to wait: stored records, and records that a rule refused.
    fn answered_places(&self, answer: &ProduceResponse) -> Vec<(Place, i16)> {
        let places = answer.responses.iter().flat_map(|topic| {
            let name = topic.name.to_string();
            topic
                .partition_responses
                .iter()
                .map(move |partition| ((name.clone(), topic.topic_id, partition.index), partition.error_code))
        });
        let places = places.filter(|((name, id, _), code)| {
            (*code == 0 && self.durability(name, *id) >= Durability::Outcome) || *code == INVALID_RECORD
        });
        places.collect()
    }

    /// Partitions with records, or whose records were withheld one by one.
    fn fetched_places(&self, answer: &FetchResponse) -> Vec<(Place, i16)> {
        let places = answer.responses.iter().flat_map(|topic| {
            let name = topic.topic.to_string();
            let with_records = |partition: &&kafka_protocol::messages::fetch_response::PartitionData| {
                partition.records.as_ref().is_some_and(|records| !records.is_empty())
            };
            topic
                .partitions
                .iter()
                .filter(with_records)
                .map(move |partition| ((name.clone(), topic.topic_id, partition.partition_index), 0))
        });
        places.filter(|((name, id, _), _)| self.durability(name, *id) >= Durability::Outcome).collect()
    }

    fn durability(&self, name: &str, id: Uuid) -> Durability {
        let known = self.context.view.as_ref().and_then(|view| view.topics.get(&id).cloned());
        self.context.audit.of(known.as_deref().unwrap_or(name)).durability
    }
}

fn produced(body: &ProduceRequest) -> impl Iterator<Item = Place> + '_ {
    body.topic_data.iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partition_data.iter().map(move |partition| (name.clone(), topic.topic_id, partition.index))
    })
}

fn has(parts: &[Part], (name, id, index): &Place, code: Option<i16>) -> bool {
    parts.iter().any(|part| {
        let topic = if id.is_nil() { part.topic == *name } else { part.topic_id == Some(id.into_bytes()) };
        topic && part.partition == *index && code.is_none_or(|code| part.error_code == code)
    })
}

/// The header and the body of a request frame.
pub(crate) fn decode_request<T: Decodable>(frame: &Bytes) -> T {
    let mut bytes = frame.clone();
    let prefix = peek_request(&bytes).unwrap();
    let api = ApiKey::from_code(prefix.api_key).unwrap();
    RequestHeader::decode(&mut bytes, api.request_header_version(prefix.api_version)).unwrap();
    let body = T::decode(&mut bytes, prefix.api_version).unwrap();
    assert!(!bytes.has_remaining(), "bytes behind the request");
    body
}

/// The body of the answer to a request.
pub(crate) fn decode_answer<T: Decodable>(frame: &Bytes, asked: Asked) -> T {
    let api = ApiKey::from_code(asked.api).unwrap();
    let mut bytes = frame.clone();
    bytes.advance(4 + usize::from(api.response_header_version(asked.version) >= 1));
    let fallback = asked.api == ApiKey::ApiVersions.code() && bytes[..2] == UNKNOWN_VERSION.to_be_bytes();
    let body = T::decode(&mut bytes, if fallback { 0 } else { asked.version }).unwrap();
    assert!(!bytes.has_remaining(), "bytes behind the answer");
    body
}
