//! The control connection: what weir itself asks a broker to learn the cluster (brokers, API versions, topic ids).
//!
//! ```text
//! connected ─► ApiVersions v3 ─(35)─► ApiVersions v0 ─► login, if any ─► Metadata, all topics ─► DescribeConfigs ─► idle
//!                                                                              ▲                                    │
//!                                                                              └───────────── refresh ──────────────┤
//!                                                               login ◄───────────────────── login due ─────────────┘
//! ```
//!
//! A machine of its own, so that its bytes are [`Cleared`] like all others, and so that a question about a topic id never waits
//! behind a client's long poll.

mod sizes;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeConfigsResponse, MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use uuid::Uuid;
use weir_protocol::{ApiKey, FrameReader, check_response};

use crate::api::encode_request;
use crate::cleared::{Cleared, NoEntry};
use crate::context::BrokerNode;
use crate::refusal::Code;
use crate::time::Now;
use crate::upstream::{
    Ask, Exchange, Progress, Salted, Salting, Schedule, UpstreamLogin, UpstreamLoginError, Versions,
};
use crate::vetted::Vetted;

use sizes::Sizes;
pub use sizes::TopicSizes;

/// Largest answer that is read; a cluster of 100,000 topics answers Metadata in far less.
const ANSWER_BYTES_MAX: usize = 100 * 1024 * 1024;
const CLIENT_ID: &str = "weir/control";
const API_VERSIONS: i16 = 3;
/// The last version whose request can ask for all topics and whose response has no error code of its own.
const METADATA_VERSION_MAX: i16 = 12;
/// The first version that can ask not to create topics.
const METADATA_VERSION_MIN: i16 = 4;

/// The control connection to one broker.
pub struct Control {
    reader: FrameReader,
    outgoing: VecDeque<Cleared>,
    expected: VecDeque<Question>,
    apis: HashMap<i16, (i16, i16)>,
    next_correlation_id: i32,
    refresh_wanted: bool,
    upstream: Option<Arc<UpstreamLogin>>,
    schedule: Schedule,
    exchange: Option<Exchange>,
    sizes: Sizes,
    salting: Option<Salting>,
    /// A login waits for its password to be salted.
    waits_for_salt: bool,
    /// How often the broker let weir in.
    logins: u64,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

/// What one round of questions taught.
#[derive(Debug)]
pub struct Learned {
    /// The brokers by node id, with the versions that the asked one supports.
    pub brokers: HashMap<i32, BrokerNode>,
    /// The topics by id; empty for brokers without topic ids.
    pub topics: HashMap<Uuid, Arc<str>>,
}

/// Why a control connection must be given up.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The broker's bytes cannot be read.
    #[error("the broker's answer cannot be read: {0}")]
    Malformed(String),
    /// The broker refused a question.
    #[error("the broker answered {api} with error {code}")]
    Refused {
        /// Which API.
        api: &'static str,
        /// Kafka's error code.
        code: i16,
    },
    /// The broker did not let weir in.
    #[error("{0}")]
    Login(#[from] UpstreamLoginError),
    /// The broker is too old.
    #[error("the broker supports {api} up to version {max}; weir needs at least {needed}")]
    TooOld {
        /// Which API.
        api: &'static str,
        /// What it supports.
        max: i16,
        /// What weir needs.
        needed: i16,
    },
}

impl Control {
    /// A control connection that has just been opened; its first question is ready to be polled. `upstream` is who weir is to the
    /// broker, `seed` fresh random bytes.
    ///
    /// # Errors
    ///
    /// When the first question cannot be encoded, which no broker is to blame for.
    pub fn open(upstream: Option<Arc<UpstreamLogin>>, seed: [u8; 32]) -> Result<Self, ControlError> {
        let mut control = Self {
            reader: FrameReader::new(),
            outgoing: VecDeque::new(),
            expected: VecDeque::new(),
            apis: HashMap::new(),
            next_correlation_id: 0,
            refresh_wanted: false,
            upstream,
            schedule: Schedule::new(seed),
            exchange: None,
            sizes: Sizes::default(),
            salting: None,
            waits_for_salt: false,
            logins: 0,
        };
        control.ask_api_versions(API_VERSIONS)?;
        Ok(control)
    }

    /// Asks for the brokers and topics again, once.
    ///
    /// # Errors
    ///
    /// [`ControlError::TooOld`].
    pub fn refresh(&mut self) -> Result<(), ControlError> {
        if self.is_waiting() {
            self.refresh_wanted = true;
            Ok(())
        } else {
            self.ask_metadata()
        }
    }

    /// Whether an answer is due, or what is needed to ask the next question.
    pub fn is_waiting(&self) -> bool {
        !self.expected.is_empty() || self.waits_for_salt
    }

    /// A password that the login needs salted. The work takes milliseconds: its result comes back through [`Control::handle_salted`].
    pub fn poll_salting(&mut self) -> Option<Salting> {
        self.salting.take()
    }

    /// What came of a [`Salting`] of this connection.
    ///
    /// # Errors
    ///
    /// [`ControlError::Login`].
    pub fn handle_salted(&mut self, salted: &Salted, now: Now) -> Result<(), ControlError> {
        self.waits_for_salt = false;
        match self.exchange.as_mut().map(|exchange| exchange.take_salted(salted)).transpose()?.flatten() {
            Some(progress) => self.login_goes_on(progress, now),
            None => Ok(()),
        }
    }

    /// What may be written next.
    pub fn poll_to_broker(&mut self) -> Option<Cleared> {
        self.outgoing.pop_front()
    }

    /// Bytes from the broker.
    ///
    /// # Errors
    ///
    /// Whatever makes the connection useless: it is to be closed and opened again.
    pub fn handle_broker_bytes(&mut self, bytes: &[u8], now: Now) -> Result<Option<Learned>, ControlError> {
        self.reader.push(bytes);
        let mut learned = None;
        while let Some(frame) =
            self.reader.next_frame(ANSWER_BYTES_MAX).map_err(|error| ControlError::Malformed(error.to_string()))?
        {
            learned = self.take_answer(frame, now)?.or(learned);
        }
        Ok(learned)
    }

    fn take_answer(&mut self, frame: BytesMut, now: Now) -> Result<Option<Learned>, ControlError> {
        let question = self
            .expected
            .pop_front()
            .ok_or_else(|| ControlError::Malformed("an answer that nobody asked for".to_owned()))?;
        if self.exchange.is_some() && matches!(question.api, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate) {
            self.take_login_answer(frame, now)?;
            return Ok(None);
        }
        if question.api == ApiKey::ApiVersions && question.version > 0 && is_unsupported(&frame) {
            self.ask_api_versions(0)?;
            return Ok(None);
        }
        let response = check_response(question.api, question.version, question.correlation_id, &frame)
            .map_err(|error| ControlError::Malformed(error.to_string()))?;
        let body = frame.freeze().slice(response.body..);
        if question.api == ApiKey::ApiVersions {
            self.learn_versions(body, question.version)?;
            match self.upstream.clone() {
                Some(upstream) => self.begin_login(upstream)?,
                None => self.ask_metadata()?,
            }
            return Ok(None);
        }
        if question.api == ApiKey::DescribeConfigs {
            self.sizes.answer(&decode::<DescribeConfigsResponse>(&mut { body }, question.version)?);
            self.ask_further()?;
            return Ok(None);
        }
        let learned = self.learn_cluster(body, question.version)?;
        if self.speaks_describe_configs().is_some() {
            self.sizes.topics(learned.topics.values(), now.monotonic);
        }
        self.ask_further()?;
        Ok(Some(learned))
    }

    /// What topics take in one batch, when something new is known of it.
    pub fn take_topic_sizes(&mut self) -> Option<TopicSizes> {
        self.sizes.news()
    }

    /// Asks what waited for an answer to come first.
    fn ask_further(&mut self) -> Result<(), ControlError> {
        if std::mem::take(&mut self.refresh_wanted) {
            return self.ask_metadata();
        }
        let Some(version) = self.speaks_describe_configs() else { return Ok(()) };
        match self.sizes.next_question() {
            Some(question) => self.ask(ApiKey::DescribeConfigs, version, &question),
            None => Ok(()),
        }
    }

    /// The version of DescribeConfigs to ask in; `None` for a broker with which none is shared.
    fn speaks_describe_configs(&self) -> Option<i16> {
        let (min, max) = self.apis.get(&ApiKey::DescribeConfigs.code()).copied()?;
        let own = ApiKey::DescribeConfigs.versions();
        let version = max.min(*own.end());
        (version >= min && version >= *own.start()).then_some(version)
    }

    /// When [`Control::handle_timeout`] is due, on the monotonic clock: a login is to be renewed.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.schedule.again_at().filter(|_| !self.is_waiting())
    }

    /// [`Control::poll_timeout`] has passed. `upstream` is who weir is to the broker by now.
    ///
    /// # Errors
    ///
    /// [`ControlError::Login`].
    pub fn handle_timeout(&mut self, upstream: Option<Arc<UpstreamLogin>>, now: Now) -> Result<(), ControlError> {
        if self.poll_timeout().is_none_or(|at| at > now.monotonic) {
            return Ok(());
        }
        let same = |user: &Arc<UpstreamLogin>| self.upstream.as_ref().is_some_and(|before| before.is_same_user(user));
        let upstream = upstream.filter(same).ok_or(UpstreamLoginError::OtherUser)?;
        self.begin_login(upstream)
    }

    /// How often the broker let weir in: once, and once more for each renewal.
    pub fn logins(&self) -> u64 {
        self.logins
    }

    fn begin_login(&mut self, upstream: Arc<UpstreamLogin>) -> Result<(), ControlError> {
        let spoken = |api: ApiKey| self.apis.get(&api.code()).copied();
        let versions =
            Versions { handshake: spoken(ApiKey::SaslHandshake), authenticate: spoken(ApiKey::SaslAuthenticate) };
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let nonce = self.schedule.begin();
        let (exchange, ask) = Exchange::begin(upstream, versions, (correlation_id, CLIENT_ID), nonce)?;
        self.exchange = Some(exchange);
        self.ask_for_login(ask, correlation_id);
        Ok(())
    }

    fn ask_for_login(&mut self, ask: Ask, correlation_id: i32) {
        self.outgoing.push_back(ask.cleared);
        self.expected.push_back(Question { api: ask.api, version: ask.version, correlation_id });
    }

    fn take_login_answer(&mut self, frame: BytesMut, now: Now) -> Result<(), ControlError> {
        let Some(exchange) = self.exchange.as_mut() else { return Ok(()) };
        let progress = exchange.take_answer(frame)?;
        self.login_goes_on(progress, now)
    }

    fn login_goes_on(&mut self, progress: Progress, now: Now) -> Result<(), ControlError> {
        let Some(exchange) = self.exchange.as_mut() else { return Ok(()) };
        match progress {
            Progress::Salt(salting) => {
                self.salting = Some(salting);
                self.waits_for_salt = true;
            }
            Progress::Ask(ask) => {
                let correlation_id = exchange.correlation_id();
                self.ask_for_login(ask, correlation_id);
            }
            Progress::In(logged_in) => {
                self.schedule.logged_in(logged_in.lifetime, now);
                self.exchange = None;
                self.logins += 1;
                if std::mem::take(&mut self.refresh_wanted) || self.logins == 1 {
                    self.ask_metadata()?;
                }
            }
        }
        Ok(())
    }

    fn learn_versions(&mut self, mut body: Bytes, version: i16) -> Result<(), ControlError> {
        let answer = decode::<ApiVersionsResponse>(&mut body, version)?;
        if answer.error_code != 0 {
            return Err(ControlError::Refused { api: ApiKey::ApiVersions.name(), code: answer.error_code });
        }
        self.apis = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(())
    }

    fn learn_cluster(&self, mut body: Bytes, version: i16) -> Result<Learned, ControlError> {
        let answer = decode::<MetadataResponse>(&mut body, version)?;
        let brokers = answer
            .brokers
            .iter()
            .filter_map(|broker| {
                let port = u16::try_from(broker.port).ok()?;
                let node = BrokerNode { host: broker.host.to_string(), port, apis: self.apis.clone() };
                Some((broker.node_id.0, node))
            })
            .collect();
        let topics = answer
            .topics
            .iter()
            .filter(|topic| !topic.topic_id.is_nil())
            .filter_map(|topic| Some((topic.topic_id, Arc::from(topic.name.as_ref()?.as_str()))))
            .collect();
        Ok(Learned { brokers, topics })
    }

    fn ask_api_versions(&mut self, version: i16) -> Result<(), ControlError> {
        let body = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("weir"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        self.ask(ApiKey::ApiVersions, version, &body)
    }

    fn ask_metadata(&mut self) -> Result<(), ControlError> {
        let api = ApiKey::Metadata;
        let max = self.apis.get(&api.code()).map_or(0, |(_, max)| *max);
        if max < METADATA_VERSION_MIN {
            return Err(ControlError::TooOld { api: api.name(), max, needed: METADATA_VERSION_MIN });
        }
        let body = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
        self.ask(api, max.min(METADATA_VERSION_MAX), &body)
    }

    fn ask<T: kafka_protocol::protocol::Encodable>(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &T,
    ) -> Result<(), ControlError> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let vetted = encode_request(api, version, correlation_id, CLIENT_ID, body)
            .and_then(|frame| Vetted::request(api, frame))
            .ok_or_else(|| ControlError::Malformed(format!("{} cannot be asked in version {version}", api.name())))?;
        self.outgoing.push_back(Cleared::without_entry(vetted, NoEntry::ControlPlane));
        self.expected.push_back(Question { api, version, correlation_id });
        Ok(())
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("expected", &self.expected)
            .field("logins", &self.logins)
            .finish_non_exhaustive()
    }
}

/// Error 35 in version 0, which is how a broker answers an ApiVersions that it does not know (KIP-511).
fn is_unsupported(frame: &[u8]) -> bool {
    frame.get(4..6).is_some_and(|code| code == Code::UnsupportedVersion.code().to_be_bytes())
}

fn decode<T: Decodable>(body: &mut Bytes, version: i16) -> Result<T, ControlError> {
    T::decode(body, version).map_err(|_| ControlError::Malformed("a body of another form".to_owned()))
}
