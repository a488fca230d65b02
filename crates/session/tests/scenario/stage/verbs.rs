//! What a script can say.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{
    RequestHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable as _, Encodable, Request, StrBytes};
use weir_audit::{Commit, EntryBody, IntentRow, Ticket};
use weir_protocol::{ApiKey, peek_request};
use weir_session::{Context, Job, Now};

use super::{Ended, Inspected, Jobs, Log, Stage};
use crate::witness::{Asked, decode_answer, decode_request};
use crate::world::{SECOND, token};

/// A request as the broker got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) api: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: String,
}

/// The client.
impl Stage {
    /// The client sends a request; it is read when the script next looks at anything.
    pub(crate) fn ask<R: Request>(&mut self, version: i16, body: &R) -> Asked {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        self.ask_as(correlation_id, Some("app"), version, body)
    }

    pub(crate) fn ask_as<R: Request>(
        &mut self,
        correlation_id: i32,
        client_id: Option<&str>,
        version: i16,
        body: &R,
    ) -> Asked {
        let asked = Asked { api: R::KEY, version, correlation_id, silent: false };
        let bytes = request_bytes(asked, client_id, body);
        self.send(asked, &bytes)
    }

    /// A request that wants no answer (acks=0).
    pub(crate) fn ask_silently<R: Request>(&mut self, version: i16, body: &R) {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let asked = Asked { api: R::KEY, version, correlation_id, silent: true };
        let bytes = request_bytes(asked, Some("app"), body);
        self.send(asked, &bytes);
    }

    /// The client sends the bytes of a request, size prefix included.
    pub(crate) fn send(&mut self, asked: Asked, bytes: &[u8]) -> Asked {
        self.witness.asked(asked);
        self.send_raw(bytes);
        asked
    }

    /// The client sends bytes that are no request, or only a part of one.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.from_client.extend(bytes);
    }

    /// Logs the client in as a principal in group `checkout`, for an hour at most.
    pub(crate) fn login(&mut self) {
        self.login_as("svc-1", 3600 * SECOND);
    }

    #[track_caller]
    pub(crate) fn login_as(&mut self, principal: &str, lifetime: Duration) {
        self.handshake();
        let answer = self.authenticate(&token(principal, "checkout", self.now, lifetime));
        assert_eq!(answer.error_code, 0);
    }

    #[track_caller]
    pub(crate) fn handshake(&mut self) {
        self.ask(1, &SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("OAUTHBEARER")));
        assert_eq!(self.answer::<SaslHandshakeRequest>().error_code, 0);
    }

    #[track_caller]
    pub(crate) fn authenticate(&mut self, token: &str) -> SaslAuthenticateResponse {
        self.ask(2, &authentication(token));
        self.answer::<SaslAuthenticateRequest>()
    }

    /// The next answer that the client got, which must be one to `R`.
    #[track_caller]
    pub(crate) fn answer<R: Request>(&mut self) -> R::Response {
        self.answer_with::<R>().1
    }

    #[track_caller]
    pub(crate) fn answer_with<R: Request>(&mut self) -> (Asked, R::Response) {
        self.settle();
        let Some((asked, frame)) = self.client_got.pop_front() else {
            panic!("no answer; closed: {:?}", self.outcome.closings)
        };
        assert_eq!(asked.api, R::KEY, "an answer to another API");
        (asked, decode_answer(&frame, asked))
    }

    /// The API of the next answer that the client got.
    pub(crate) fn next_answer(&mut self) -> Option<i16> {
        self.settle();
        self.client_got.front().map(|(asked, _)| asked.api)
    }

    /// The next answer as it stands, without size prefix.
    #[track_caller]
    pub(crate) fn answer_frame(&mut self) -> Bytes {
        self.settle();
        self.client_got.pop_front().unwrap().1
    }

    #[track_caller]
    pub(crate) fn no_answer(&mut self) {
        self.settle();
        assert_eq!(self.client_got.len(), 0, "nobody expected {:?}", self.client_got.front());
    }

    pub(crate) fn client_goes(&mut self) {
        self.settle();
        self.session.handle_client_gone(self.now);
        self.settle();
    }

    /// The client says that it sends no more.
    pub(crate) fn client_ends(&mut self) {
        self.settle();
        self.session.handle_client_eof(self.now);
        self.settle();
    }

    /// Bytes that the client sent and the session did not take.
    pub(crate) fn unread(&mut self) -> usize {
        self.settle();
        self.from_client.len()
    }
}

/// The broker.
impl Stage {
    /// The next request that the broker got, which must be one of `R`.
    #[track_caller]
    pub(crate) fn heard<R: Request>(&mut self) -> (Heard, R) {
        self.settle();
        let Some(frame) = self.broker_got.pop_front() else {
            panic!("the broker got nothing; closed: {:?}", self.outcome.closings)
        };
        let heard = heard(&frame);
        assert_eq!(heard.api, R::KEY, "a request of another API");
        (heard, decode_request(&frame))
    }

    #[track_caller]
    pub(crate) fn heard_nothing(&mut self) {
        self.settle();
        assert_eq!(self.broker_got.len(), 0, "nobody expected {:?}", self.broker_got.front());
    }

    /// The API of the next request that the broker got.
    pub(crate) fn next_heard(&mut self) -> Option<i16> {
        self.settle();
        self.broker_got.front().map(|frame| heard(frame).api)
    }

    /// The broker answers.
    pub(crate) fn say<T: Encodable>(&mut self, heard: &Heard, answer: &T) {
        let bytes = response_bytes(heard, answer);
        self.say_raw(&bytes);
    }

    /// The broker takes the mechanism that weir asks for.
    #[track_caller]
    pub(crate) fn takes(&mut self, mechanism: &str) {
        let (heard, asked) = self.heard::<SaslHandshakeRequest>();
        assert_eq!((heard.version, heard.client_id.as_str(), asked.mechanism.as_str()), (1, "weir/", mechanism));
        self.heard_nothing();
        self.say(&heard, &SaslHandshakeResponse::default());
    }

    /// The broker lets weir in, for so long; 0 is for as long as the connection.
    pub(crate) fn let_in(&mut self, heard: &Heard, words: impl Into<Bytes>, lifetime_ms: i64) {
        self.witness.let_in();
        let answer = SaslAuthenticateResponse::default().with_auth_bytes(words.into());
        self.say(heard, &answer.with_session_lifetime_ms(lifetime_ms));
    }

    pub(crate) fn say_raw(&mut self, bytes: &[u8]) {
        self.from_broker.extend(bytes);
    }

    pub(crate) fn broker_comes(&mut self) {
        self.session.handle_broker_up(self.now);
        self.settle();
    }

    pub(crate) fn broker_goes(&mut self) {
        self.settle();
        self.session.handle_broker_down("the broker closed the connection", self.now);
        self.settle();
    }

    /// What the session asked of the world: brokers, topic ids; and the logins it told of.
    pub(crate) fn asked_for(&mut self) -> Vec<String> {
        self.settle();
        self.outcome.asked_for.clone()
    }
}

/// The log, the world and the clock.
impl Stage {
    /// The next job, before it is run.
    #[track_caller]
    pub(crate) fn take_job(&mut self) -> Job {
        let jobs_run = std::mem::replace(&mut self.jobs_run, Jobs::ByHand);
        self.settle();
        self.jobs_run = jobs_run;
        self.jobs.pop().unwrap()
    }

    pub(crate) fn finish_job(&mut self, job: Job) {
        let done = job.run(&mut self.scratch);
        self.session.handle_done(done, self.now);
        self.settle();
    }

    pub(crate) fn hold_log(&mut self) {
        self.settle();
        self.log = Log::Held;
    }

    pub(crate) fn release_log(&mut self) {
        self.log = Log::Prompt;
        self.settle();
    }

    pub(crate) fn fail_log(&mut self) {
        self.settle();
        self.sink().fail_from_now();
    }

    pub(crate) fn heal_log(&mut self) {
        self.settle();
        self.sink().heal();
    }

    /// Records the first so many of what is queued while the log is held.
    #[track_caller]
    pub(crate) fn record(&mut self, count: usize) {
        self.settle();
        assert!(self.queued.len() >= count, "{} commits are queued", self.queued.len());
        self.commit(count);
        self.settle();
    }

    /// Takes the commits that wait while the log is held: the script writes them itself.
    pub(crate) fn take_queued(&mut self) -> Vec<(Ticket, Commit)> {
        self.settle();
        self.queued.drain(..).collect()
    }

    /// Leaves commits that the script took and did not write.
    pub(crate) fn give_back(&mut self, commits: Vec<(Ticket, Commit)>) {
        self.queued.extend(commits);
    }

    /// Commits that wait while the log is held.
    pub(crate) fn queued(&mut self) -> Vec<Commit> {
        self.settle();
        self.queued.iter().map(|(_, commit)| commit.clone()).collect()
    }

    /// The entries that are in the log.
    pub(crate) fn entries(&mut self) -> Vec<EntryBody> {
        self.settle();
        self.sink().entries().iter().map(|sealed| sealed.entry.body.clone()).collect()
    }

    pub(crate) fn open_intents(&mut self) -> Vec<IntentRow> {
        self.settle();
        self.sink().intents()
    }

    /// Another world.
    pub(crate) fn swap(&mut self, context: Context) {
        self.settle();
        self.session.handle_context(Arc::new(context), self.now);
        self.settle();
    }

    /// The attempt to fetch keys for that login is over.
    pub(crate) fn keys_are_tried(&mut self, login: u64, fetched: bool, context: Context) {
        self.settle();
        self.session.handle_keys(login, fetched, Arc::new(context), self.now);
        self.settle();
    }

    /// Time passes; whatever is due on the way happens when it is due.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.settle();
        let end = self.now.monotonic + time;
        for _ in 0..1000 {
            let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) else {
                self.set_clock(end);
                return self.settle();
            };
            self.set_clock(due.max(self.now.monotonic));
            self.session.handle_timeout(self.now);
            self.settle();
        }
        panic!("a deadline that never passes: {:?} at {:?}", self.session.poll_timeout(), self.now.monotonic);
    }

    fn set_clock(&mut self, monotonic: Duration) {
        let passed = monotonic.checked_sub(self.now.monotonic).unwrap();
        self.now = Now { monotonic, wall: self.now.wall + passed };
    }

    /// The names of the reasons for which the session said that it closes; there is at most one.
    #[track_caller]
    pub(crate) fn closed_by(&mut self, reason: &str) {
        self.settle();
        assert_eq!(self.outcome.closings, [reason]);
        assert!(self.session.is_closing(), "the session says why it closes, and stays");
    }

    #[track_caller]
    pub(crate) fn stays_open(&mut self) {
        self.settle();
        assert_eq!(self.outcome.closings, [""; 0]);
        assert!(!self.session.is_closing());
    }

    /// The requests that ended since this was asked last, and what was inspected meanwhile.
    pub(crate) fn ended(&mut self) -> (Vec<Ended>, Vec<Inspected>) {
        self.settle();
        let seen = (self.outcome.ended.clone(), self.outcome.inspected.clone());
        let new = (seen.0.iter().skip(self.looked_at.0), seen.1.iter().skip(self.looked_at.1));
        let new = (new.0.cloned().collect(), new.1.cloned().collect());
        self.looked_at = (seen.0.len(), seen.1.len());
        new
    }

    /// Refusals that were told of: code, reason, resource.
    pub(crate) fn refused(&mut self) -> Vec<(i16, &'static str, Option<String>)> {
        self.settle();
        self.outcome.refused.clone()
    }
}

pub(crate) fn authentication(token: &str) -> SaslAuthenticateRequest {
    let initial = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
    SaslAuthenticateRequest::default().with_auth_bytes(initial.into())
}

/// The bytes of a request, size prefix included. The version need not exist.
pub(crate) fn request_bytes<R: Encodable>(asked: Asked, client_id: Option<&str>, body: &R) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i16(asked.api);
    frame.put_i16(asked.version);
    frame.put_i32(asked.correlation_id);
    match client_id {
        Some(id) => {
            frame.put_i16(i16::try_from(id.len()).unwrap());
            frame.put_slice(id.as_bytes());
        }
        None => frame.put_i16(-1),
    }
    let api = ApiKey::from_code(asked.api);
    if api.is_some_and(|api| api.request_header_version(asked.version) >= 2) {
        frame.put_u8(0);
    }
    body.encode(&mut frame, asked.version).unwrap();
    sized(&frame)
}

/// The bytes of a broker's answer, size prefix included.
pub(crate) fn response_bytes<T: Encodable>(heard: &Heard, body: &T) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i32(heard.correlation_id);
    let api = spoken(heard.api);
    if api.response_header_version(heard.version) >= 1 {
        frame.put_u8(0);
    }
    body.encode(&mut frame, heard.version).unwrap();
    sized(&frame)
}

/// An API that weir serves, or asks itself.
pub(crate) fn spoken(code: i16) -> ApiKey {
    let own = (code == ApiKey::DescribeConfigs.code()).then_some(ApiKey::DescribeConfigs);
    ApiKey::from_code(code).or(own).unwrap()
}

pub(crate) fn sized(frame: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(frame);
    bytes
}

pub(crate) fn heard(frame: &Bytes) -> Heard {
    let prefix = peek_request(frame).unwrap();
    let api = spoken(prefix.api_key);
    let mut bytes = frame.clone();
    let header = RequestHeader::decode(&mut bytes, api.request_header_version(prefix.api_version)).unwrap();
    Heard {
        api: prefix.api_key,
        version: prefix.api_version,
        correlation_id: prefix.correlation_id,
        client_id: header.client_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}
