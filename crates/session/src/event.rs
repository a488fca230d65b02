//! What a session tells the world beside bytes: for logs, metrics and the merged refusals. No event carries a byte of a record
//! or a token.

use std::fmt;
use std::time::Duration;

use uuid::Uuid;
use weir_audit::{EntryBody, RuleHit};
use weir_protocol::{ApiKey, FrameError, GuardError};

use crate::upstream::UpstreamLoginError;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The client may use the broker now: connect to it.
    ConnectBroker {
        /// The broker that the client asked for; `None` = any.
        node: Option<i32>,
    },
    /// Topic ids, or a broker, that the view does not know: ask the control connection.
    ResolveTopics {
        /// The ids; none when it is a broker.
        ids: Vec<Uuid>,
    },
    /// A login waits until the keys of its token's issuer were fetched: fetch them, and say so with
    /// [`Session::handle_keys`](crate::Session::handle_keys).
    FetchKeys {
        /// The issuer, in the configuration's words.
        issuer: String,
        /// The login that waits, to be handed back.
        login: u64,
    },
    /// A client logged in.
    LoggedIn {
        /// Its principal's id.
        principal: String,
        /// How long the session may last.
        lifetime: Option<Duration>,
    },
    /// The broker let weir in.
    BrokerLoggedIn {
        /// Whether it was a further login on a connection that lives (KIP-368).
        again: bool,
        /// How long the login lasts; `None` = as long as the connection.
        lifetime: Option<Duration>,
    },
    /// A refusal that nothing waits for; the caller merges it with its like and records it.
    Refused {
        /// Which API it was; `None` for a login, for one that weir does not serve, and for a request that cannot be read.
        api: Option<ApiKey>,
        /// The Kafka error code that the client got; 0 when it was cut without one.
        code: i16,
        /// A stable name of the reason.
        reason: &'static str,
        /// The topic or group, where one was named.
        resource: Option<String>,
        /// The entry to merge.
        entry: Box<EntryBody>,
    },
    /// Records were refused, withheld or could not be read.
    RecordsRefused {
        /// Produce or Fetch.
        api: ApiKey,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The rule, or what was wrong with the batch.
        rule: String,
        /// Why, in a word.
        cause: RefusedFor,
        /// How many records.
        records: u64,
        /// How many batches that could not be read, and whose records were therefore not counted.
        batches: u64,
        /// The audit event.
        event_id: String,
    },
    /// The records of one request, or of one answer, were inspected.
    Inspected {
        /// Produce or Fetch.
        api: ApiKey,
        /// How many records.
        records: u64,
        /// How many of them were changed.
        changed: u64,
        /// Their bytes, as they came in.
        bytes: u64,
        /// What each rule did; no zeros.
        rules: Vec<RuleHit>,
    },
    /// A request of the client is over.
    RequestEnded {
        /// Which API; `None` for one that weir does not serve.
        api: Option<ApiKey>,
        /// How it ended.
        ending: Ending,
        /// From its last byte read to the first byte of its answer written.
        took: Duration,
        /// What of that time was spent on what.
        stages: Stages,
    },
    /// The connection is over.
    Closing {
        /// Why.
        reason: CloseReason,
    },
}

/// Why records were refused or withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedFor {
    /// A rule refuses what is in them, or that they cannot be read.
    Rule,
    /// Their batch cannot be read.
    Unreadable,
    /// The broker has them in message format 0 or 1 (KIP-724).
    OldFormat,
    /// Edits made their batch larger than its topic takes.
    Growth,
}

impl RefusedFor {
    /// A stable name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Unreadable => "unreadable",
            Self::OldFormat => "old_format",
            Self::Growth => "growth",
        }
    }
}

/// How a request ended, seen from weir: what the broker made of it is in its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It was answered, by the broker or in its place.
    #[default]
    Answered,
    /// weir refused it, or a part of it.
    Refused,
    /// The audit log did not take its entry: what moves data was refused, or what was fetched withheld.
    Unrecorded,
    /// The connection ended before its answer.
    Unanswered,
}

impl Ending {
    /// A stable name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unrecorded => "unrecorded",
            Self::Unanswered => "unanswered",
        }
    }
}

/// How long a request was in each stage; `None` where it did not come by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// Its records were inspected, or waited for a thread that does.
    pub inspect: Option<Duration>,
    /// It waited for the audit log, both times if there were two.
    pub commit: Option<Duration>,
    /// It was with the broker: from its bytes handed to the socket to the last byte of the answer read.
    pub broker: Option<Duration>,
}

/// Why a session ends. Each has a stable [`CloseReason::code`] for logs and metrics.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The client closed its side.
    #[error("the client closed the connection")]
    ClientGone,
    /// The client closed its side in the middle of a frame, which is dropped.
    #[error("the client closed the connection {have} bytes into a frame {}", FrameSize(*announced))]
    FrameCut {
        /// Bytes of it that came, its size included.
        have: usize,
        /// Bytes that were announced; `None` when not even its size had come.
        announced: Option<usize>,
    },
    /// The broker closed, or could not be reached.
    #[error("the broker is not reachable: {detail}")]
    BrokerDown {
        /// What the socket said.
        detail: String,
    },
    /// The broker did not let weir in.
    #[error("{}{error}", if *again { "the login to the broker was to be renewed: " } else { "" })]
    BrokerLogin {
        /// Whether it was a further login on a connection that lives (KIP-368).
        again: bool,
        /// Why.
        error: UpstreamLoginError,
    },
    /// The client's frame has an impossible size.
    #[error("{0}")]
    Frame(FrameError),
    /// The client's frame has a form that is not its API's.
    #[error("{0}")]
    Malformed(GuardError),
    /// The broker's frame cannot be read.
    #[error("the broker's answer cannot be read: {0}")]
    BrokerMalformed(String),
    /// A request before login that is not part of the login.
    #[error("{} before login", ApiName(*api_key))]
    NotLoggedIn {
        /// The API code of the request.
        api_key: i16,
    },
    /// An API or version that weir does not serve and whose schema has no place for the error.
    #[error("{} version {api_version} is not served", ApiName(*api_key))]
    NotServed {
        /// The API code.
        api_key: i16,
        /// The version.
        api_version: i16,
    },
    /// The login failed.
    #[error("{0}")]
    LoginFailed(String),
    /// The client said nothing for too long.
    #[error("no login within {0:?}")]
    LoginTimeout(Duration),
    /// An announced frame did not arrive.
    #[error("a frame did not arrive whole within {0:?}")]
    BodyTimeout(Duration),
    /// Nothing went to or came from the client for too long.
    #[error("the client neither sent nor read anything for {0:?}")]
    Idle(Duration),
    /// The token expired and the client did not log in again (KIP-368).
    #[error("the session expired")]
    Expired,
    /// The entry of an outcome could not be written in time.
    #[error("the audit log did not take an entry within {0:?}")]
    AuditHold(Duration),
    /// A Produce names more partitions than are looked at.
    #[error("a Produce of {partitions} partitions; at most {max} are taken")]
    TooManyPartitions {
        /// How many it names.
        partitions: usize,
        /// How many are taken.
        max: usize,
    },
    /// More producers had batches refused than can be remembered.
    #[error("too many producers had batches refused on this connection")]
    TooManyRefused,
    /// An inspection did not come to an end: what it held is refused.
    #[error("an inspection failed; its frame was refused")]
    InspectionFailed,
    /// A request without a reply (acks=0) failed: closing is the only signal there is.
    #[error("a request with acks=0 was refused")]
    SilentRequestRefused,
    /// weir is stopping.
    #[error("weir is shutting down")]
    Drained,
}

impl CloseReason {
    /// A stable name for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::FrameCut { .. } => "frame_cut",
            Self::BrokerDown { .. } => "broker_down",
            Self::BrokerLogin { .. } => "broker_login_failed",
            Self::Frame(_) => "bad_frame",
            Self::Malformed(_) => "malformed_request",
            Self::BrokerMalformed(_) => "malformed_response",
            Self::NotLoggedIn { .. } => "not_logged_in",
            Self::NotServed { .. } => "not_served",
            Self::LoginFailed(_) => "login_failed",
            Self::LoginTimeout(_) => "login_timeout",
            Self::BodyTimeout(_) => "body_timeout",
            Self::Idle(_) => "idle",
            Self::Expired => "expired",
            Self::AuditHold(_) => "audit_hold",
            Self::TooManyPartitions { .. } => "too_many_partitions",
            Self::TooManyRefused => "too_many_refused",
            Self::InspectionFailed => "inspection_failed",
            Self::SilentRequestRefused => "silent_request_refused",
            Self::Drained => "drained",
        }
    }
}

/// An API as a person knows it; one that weir does not serve by its key.
struct ApiName(i16);

impl fmt::Display for ApiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ApiKey::from_code(self.0) {
            Some(api) => f.write_str(api.name()),
            None => write!(f, "API key {}", self.0),
        }
    }
}

struct FrameSize(Option<usize>);

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "of {bytes} bytes"),
            None => f.write_str("of an unknown size"),
        }
    }
}
