//! Sees everything that passes a session, and holds it to what must be true whatever the script is about.
//!
//! - Requests reach the broker in the order in which the client sent them; replies answer the client's requests in order.
//! - G1: no record of a `strict` topic goes to the broker before the receipt of its intent was handed over.
//! - G2: no answer about records of a `strict` or `outcome` topic reaches the client before the receipt of its entry.
//! - G3: no fetched record of such a topic reaches the client before the receipt of its entry; no login is confirmed before its own.
//! - weir's own login to the broker comes before every request, and no request between the frames of one.
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

pub(crate) struct Witness {
    context: Arc<Context>,
    /// Requests that the client sent and that were not answered.
    unanswered: VecDeque<Asked>,
    /// Requests that the client sent and that neither the broker got nor a later one.
    unsent: VecDeque<Asked>,
    intents: Vec<IntentRow>,
    entries: Vec<EntryBody>,
    /// Whether weir has begun to log in to the broker and is not in; or has to before anything else.
    logging_in: bool,
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
        let logging_in = context.upstream.is_some();
        Self { context, unanswered, unsent, intents: Vec::new(), entries: Vec::new(), logging_in }
    }

    /// The broker lets weir in.
    pub(crate) fn let_in(&mut self) {
        self.logging_in = false;
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
    pub(crate) fn broker_gets(&mut self, frame: &Bytes) -> Result<(), String> {
        let prefix = peek_request(frame).map_err(|error| error.to_string())?;
        if prefix.correlation_id == OWN && prefix.api_key == ApiKey::ApiVersions.code() {
            return Ok(());
        }
        let handshake = prefix.api_key == ApiKey::SaslHandshake.code();
        if prefix.correlation_id == OWN && (handshake || prefix.api_key == ApiKey::SaslAuthenticate.code()) {
            self.logging_in |= handshake;
            return if self.logging_in { Ok(()) } else { Err("login: a token without a handshake".to_owned()) };
        }
        if self.logging_in {
            return Err("login: a request before it, or between its frames".to_owned());
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
    pub(crate) fn client_gets(&mut self, frame: &Bytes) -> Result<Asked, String> {
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

    /// Partitions whose answer had to wait: stored records, and those whose refusal names its event.
    fn answered_places(&self, answer: &ProduceResponse) -> Vec<(Place, i16)> {
        let mut places = Vec::new();
        for topic in &answer.responses {
            for partition in &topic.partition_responses {
                let (name, code) = (topic.name.to_string(), partition.error_code);
                let stored = code == 0 && self.durability(&name, topic.topic_id) >= Durability::Outcome;
                let names_event = partition.error_message.as_ref().is_some_and(|message| message.contains("(event "));
                if stored || names_event {
                    places.push(((name, topic.topic_id, partition.index), code));
                }
            }
        }
        places
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
    let api = crate::stage::spoken(prefix.api_key);
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

/// Negative controls: the witness sees what it is there to see.
mod controls {
    use weir_audit::{Decision, EntryBody, EventId, IntentId};

    use super::*;
    use crate::batch::Batch;
    use crate::messages::{FETCH, METADATA, PRODUCE, fetch, fetched, metadata, produce, produced};
    use crate::stage::{Heard, request_bytes, response_bytes};
    use crate::world;

    fn witness() -> Witness {
        Witness::new(Arc::new(world::context()))
    }

    /// A request without its size, and what the witness is told of it.
    fn asked<R: kafka_protocol::protocol::Request>(version: i16, id: i32, body: &R) -> (Asked, Bytes) {
        let asked = Asked { api: R::KEY, version, correlation_id: id, silent: false };
        (asked, Bytes::from(request_bytes(asked, None, body)).slice(4..))
    }

    fn answer<T: kafka_protocol::protocol::Encodable>(to: Asked, body: &T) -> Bytes {
        let Asked { api, version, correlation_id, .. } = to;
        let heard = Heard { api, version, correlation_id, client_id: String::new() };
        Bytes::from(response_bytes(&heard, body)).slice(4..)
    }

    fn body(kind: Kind, topic: &str) -> EntryBody {
        let mut body = EntryBody::new(kind, EventId([0; 16]), 0);
        body.decision = Decision::Pass;
        body.parts.push(Part {
            topic: topic.to_owned(),
            topic_id: None,
            partition: 0,
            base_offset: None,
            last_offset: None,
            records: 1,
            bytes_in: 1,
            bytes_out: 1,
            error_code: 0,
            producer: None,
            digest: None,
        });
        body
    }

    fn entry(kind: Kind, topic: &str) -> Commit {
        Commit::Entry { entry: body(kind, topic), closes: Vec::new() }
    }

    #[track_caller]
    fn refuses<T>(result: Result<T, String>, rule: &str) {
        let error = result.err().unwrap_or_default();
        assert!(error.starts_with(rule), "{error:?} is not about {rule}");
    }

    #[test]
    fn a_request_before_its_intent() {
        let (first, frame) = asked(PRODUCE, 1, &produce("orders", &Batch::of(["a"])));
        for (row, good) in [(None, false), (Some("clicks"), false), (Some("orders"), true)] {
            let mut witness = witness();
            witness.asked(first);
            if let Some(topic) = row {
                let row = IntentRow { id: IntentId([1; 16]), body: body(Kind::Produce, topic) };
                witness.receipt(&Commit::Intent(row));
            }
            if good { witness.broker_gets(&frame).unwrap() } else { refuses(witness.broker_gets(&frame), "G1") }
        }
        // Each intent is good for one request.
        let mut witness = witness();
        let row = IntentRow { id: IntentId([1; 16]), body: body(Kind::Produce, "orders") };
        witness.receipt(&Commit::Intent(row));
        witness.asked(first);
        witness.asked(first);
        witness.broker_gets(&frame).unwrap();
        refuses(witness.broker_gets(&frame), "G1");
    }

    #[test]
    fn an_answer_before_its_entry() {
        let request = produce("orders", &Batch::of(["a"]));
        let (first, _) = asked(PRODUCE, 1, &request);
        let frame = answer(first, &produced(&request, 0, 0));
        for (topic, good) in [(None, false), (Some("clicks"), false), (Some("orders"), true)] {
            let mut witness = witness();
            witness.asked(first);
            topic.iter().for_each(|topic| witness.receipt(&entry(Kind::Produce, topic)));
            match good {
                true => assert_eq!(witness.client_gets(&frame), Ok(first)),
                false => refuses(witness.client_gets(&frame), "G2"),
            }
        }
    }

    #[cfg(feature = "sabotage")]
    #[test]
    #[should_panic(expected = "G2")]
    fn a_session_that_does_not_wait_for_the_entry() {
        let sabotaged = || {
            let mut setup = crate::stage::Setup::default();
            setup.context.sabotage = Some(weir_session::Sabotage::AckBeforeEntry);
            setup
        };
        crate::stage::play_in(sabotaged, |stage| {
            stage.login();
            stage.ask(PRODUCE, &produce("outcomes", &Batch::of(["a"])));
            let (heard, request) = stage.heard::<ProduceRequest>();
            stage.hold_log();
            stage.say(&heard, &produced(&request, 0, 0));
            stage.settle();
        });
    }

    #[test]
    fn fetched_records_before_their_entry() {
        let request = fetch(&["orders"]);
        let (first, _) = asked(FETCH, 1, &request);
        let frame = answer(first, &fetched(&request, &Batch::of(["a"]).encode()));
        let mut witness = witness();
        witness.asked(first);
        witness.receipt(&entry(Kind::Produce, "orders"));
        refuses(witness.client_gets(&frame), "G3");
    }

    #[test]
    fn requests_and_answers_out_of_order() {
        let (first, one) = asked(METADATA, 1, &metadata());
        let (second, two) = asked(METADATA, 2, &metadata());
        let mut witness = witness();
        witness.asked(first);
        witness.asked(second);
        witness.broker_gets(&two).unwrap();
        refuses(witness.broker_gets(&one), "order");
        refuses(witness.client_gets(&answer(second, &crate::messages::metadata_answer())), "order");
    }

    #[test]
    fn a_brokers_host() {
        let (first, _) = asked(METADATA, 1, &metadata());
        let broker = kafka_protocol::messages::metadata_response::MetadataResponseBroker::default()
            .with_host(crate::messages::text(&format!("{BROKER_HOST}-0")));
        let mut witness = witness();
        witness.asked(first);
        let frame = answer(first, &crate::messages::metadata_answer().with_brokers(vec![broker]));
        refuses(witness.client_gets(&frame), "a broker's host");
    }
}
