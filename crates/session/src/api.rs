//! One file per Kafka API: what weir decides about its request, and what it makes of the broker's response.
//!
//! A request becomes an [`Action`]; a response becomes a [`Reply`] by the [`Expect`] that its request left behind.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use weir_audit::{EntryBody, IntentId};
use weir_protocol::{ApiKey, GuardError, Request, Response, Segments, Splices, check_request, check_response};

use crate::caller::{Caller, sanitised_client_id};
use crate::event::CloseReason;
use crate::job::Planned;
use crate::refusal::Code;

pub(crate) mod api_versions;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod groups;
pub(crate) mod init_producer_id;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod sasl;

/// A client's request that passed the guard, with its frame.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) frame: BytesMut,
    pub(crate) request: Request,
}

impl Incoming {
    /// Checks a frame, and takes everything out of it that nobody knows (P3): what is read, forwarded and answered from here on has
    /// exactly one reading.
    pub(crate) fn checked(frame: BytesMut) -> Result<Self, GuardError> {
        let request = check_request(&frame)?;
        if request.cleaning.is_empty() {
            return Ok(Self { frame, request });
        }
        let frame = BytesMut::from(request.cleaning.apply(frame.freeze()).to_bytes());
        let request = check_request(&frame)?;
        Ok(Self { frame, request })
    }

    pub(crate) fn call(&self) -> (ApiKey, i16) {
        (self.request.api, self.request.version)
    }

    pub(crate) fn text(&self, span: &std::ops::Range<usize>) -> Option<&str> {
        self.frame.get(span.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    pub(crate) fn client_id(&self) -> Option<String> {
        let span = self.request.client_id.as_ref()?;
        self.text(span).map(sanitised_client_id)
    }

    /// Decodes the body with `kafka-protocol`; the guard has checked every count in it.
    pub(crate) fn decode<T: Decodable>(&self) -> Result<T, CloseReason> {
        let body = self.frame.get(self.request.body..).unwrap_or_default();
        let mut body = Bytes::copy_from_slice(body);
        T::decode(&mut body, self.request.version)
            .map_err(|_| CloseReason::NotServed { api_key: self.request.api.code(), api_version: self.request.version })
    }

    /// The edit that every forwarded request gets: the client id under weir's name, so that no client can be
    /// `__admin_client`, which may write to Kafka's internal topics.
    pub(crate) fn header_splices(&self) -> Splices {
        let mut splices = Splices::default();
        let client_id = format!("weir/{}", self.client_id().unwrap_or_default());
        splices.replace(self.request.client_id_field.clone(), weir_protocol::classic_string(&client_id));
        splices
    }

    /// The request as it came, but for the header edits.
    pub(crate) fn forward(self, expect: Expect) -> Action {
        let splices = self.header_splices();
        Action::Forward { frame: splices.apply(self.frame.freeze()), expect }
    }

    /// Another body under the same header, in another version if need be.
    pub(crate) fn forward_body<T: Encodable>(self, body: &T, version: i16, expect: Expect) -> Action {
        let (api, correlation_id) = (self.request.api, self.request.correlation_id);
        let client_id = format!("weir/{}", self.client_id().unwrap_or_default());
        match encode_request(api, version, correlation_id, &client_id, body) {
            Some(frame) => Action::Forward { frame, expect },
            None => Action::Close(CloseReason::NotServed { api_key: api.code(), api_version: version }),
        }
    }

    /// An answer of weir's own.
    pub(crate) fn answer<T: Encodable>(&self, body: &T) -> Action {
        let (api, version) = self.call();
        match encode_response(api, version, self.request.correlation_id, body) {
            Some(frame) => Action::Answer(frame),
            None => Action::Close(CloseReason::NotServed { api_key: api.code(), api_version: version }),
        }
    }
}

/// Topic ids that one request makes weir ask the cluster for at a time.
pub(crate) const UNKNOWN_TOPICS_MAX: usize = 64;

/// What is done with a request.
#[derive(Debug)]
pub(crate) enum Action {
    /// It goes to the broker.
    Forward { frame: Segments, expect: Expect },
    /// weir answers it alone.
    Answer(Segments),
    /// It goes to the broker once its records were inspected.
    Inspect {
        plan: Vec<Planned>,
        request: weir_protocol::ProduceRequest,
        frame: BytesMut,
        expect: Box<produce::Pending>,
    },
    /// It names topic ids that the view does not know yet.
    Resolve { incoming: Incoming, ids: Vec<uuid::Uuid> },
    /// The connection ends.
    Close(CloseReason),
}

/// What the response to a forwarded request needs to be read.
#[derive(Debug)]
pub(crate) enum Expect {
    /// weir's own ApiVersions: the answer is swallowed.
    Own,
    /// A step of weir's own login: nothing behind it leaves until the login is through, and its answers are swallowed.
    Login,
    /// Nothing in it needs a second look.
    Pass,
    Metadata(metadata::Pending),
    Produce(Box<produce::Pending>),
    Fetch(Box<fetch::Pending>),
    ListOffsets(list_offsets::Pending),
    FindCoordinator(find_coordinator::Pending),
    OffsetCommit(offsets::CommitPending),
    OffsetFetch(offsets::FetchPending),
}

/// A broker's response that passed the guard.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) api: ApiKey,
    /// The version that was spoken with the broker.
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) frame: BytesMut,
    pub(crate) response: Response,
}

impl Arrived {
    /// Checks a frame as [`Incoming::checked`] does.
    pub(crate) fn checked(api: ApiKey, version: i16, correlation_id: i32, frame: BytesMut) -> Result<Self, GuardError> {
        let response = check_response(api, version, correlation_id, &frame)?;
        if response.cleaning.is_empty() {
            return Ok(Self { api, version, correlation_id, frame, response });
        }
        let frame = BytesMut::from(response.cleaning.apply(frame.freeze()).to_bytes());
        let response = check_response(api, version, correlation_id, &frame)?;
        Ok(Self { api, version, correlation_id, frame, response })
    }

    pub(crate) fn decode<T: Decodable>(&self) -> Result<T, CloseReason> {
        let mut body = Bytes::copy_from_slice(self.frame.get(self.response.body..).unwrap_or_default());
        T::decode(&mut body, self.version)
            .map_err(|_| CloseReason::BrokerMalformed(format!("{} version {}", self.api.name(), self.version)))
    }

    /// The response as it came.
    pub(crate) fn pass(self) -> Segments {
        Segments::from(self.frame.freeze())
    }

    /// Another body, in the version that the client spoke.
    pub(crate) fn answer<T: Encodable>(&self, version: i16, body: &T) -> Result<Segments, CloseReason> {
        encode_response(self.api, version, self.correlation_id, body)
            .ok_or_else(|| CloseReason::BrokerMalformed(format!("{} version {version}", self.api.name())))
    }
}

/// What is done with a response.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It goes to the client.
    Answer(Segments),
    /// It is not for the client.
    Swallow,
    /// It goes to the client once its entry is durable, which closes the intent of the request.
    Record { frame: Segments, entry: Box<EntryBody>, closes: Vec<IntentId>, wait: bool, swallow: bool },
    /// Its records must be inspected first.
    Inspect {
        plan: Vec<Planned>,
        response: weir_protocol::FetchResponse,
        frame: BytesMut,
        pending: Box<fetch::Pending>,
    },
}

/// A response of weir's own, header included, without size prefix. `None` when the version cannot carry the body.
pub(crate) fn encode_response<T: Encodable>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &T,
) -> Option<Segments> {
    let mut frame = BytesMut::with_capacity(64);
    bytes::BufMut::put_i32(&mut frame, correlation_id);
    if api.response_header_version(version) >= 1 {
        bytes::BufMut::put_u8(&mut frame, 0);
    }
    body.encode(&mut frame, version).ok()?;
    Some(Segments::from(frame.freeze()))
}

/// A request of weir's own, header included, without size prefix.
pub(crate) fn encode_request<T: Encodable>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    body: &T,
) -> Option<Segments> {
    let mut frame = BytesMut::with_capacity(64);
    bytes::BufMut::put_i16(&mut frame, api.code());
    bytes::BufMut::put_i16(&mut frame, version);
    bytes::BufMut::put_i32(&mut frame, correlation_id);
    bytes::BufMut::put_slice(&mut frame, &weir_protocol::classic_string(client_id));
    if api.request_header_version(version) >= 2 {
        bytes::BufMut::put_u8(&mut frame, 0);
    }
    body.encode(&mut frame, version).ok()?;
    Some(Segments::from(frame.freeze()))
}

/// A refusal to be merged with its like and recorded, without anything waiting for it (A3).
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) code: Code,
    pub(crate) reason: &'static str,
    pub(crate) resource: Option<String>,
}

impl Note {
    pub(crate) fn new(code: Code, reason: &'static str, resource: impl Into<String>) -> Self {
        Self { code, reason, resource: Some(resource.into()) }
    }
}

/// Where a handler leaves the refusals it made.
pub(crate) type Notes = Vec<Note>;

/// Whether a caller may use a consumer group; a refusal is noted.
pub(crate) fn may_use_group(caller: &Caller, group: &str, notes: &mut Notes) -> bool {
    let may = caller.access.may_use_group(group);
    if !may {
        notes.push(Note::new(Code::GroupAuthorizationFailed, "group_not_allowed", group));
    }
    may
}
