//! What is recorded: one entry per request or event, with the partitions inside; never one per record, and never a byte of a record.

mod decode;
mod encode;
mod split;

use std::net::IpAddr;

use crate::cbor::CborError;
use crate::hash::Hash;
use crate::ids::{ChainId, EventId, IntentId, SessionId};
use crate::prune::Prune;

pub(crate) use split::split;

/// What a caller says happened. The committer adds where it stands in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBody {
    /// What kind of event.
    pub kind: Kind,
    /// The name under which clients and logs know it.
    pub event_id: EventId,
    /// When it happened: wall clock, nanoseconds since 1970.
    pub at: u64,
    /// When its intent was recorded: wall clock, nanoseconds since 1970.
    pub intent_at: Option<u64>,
    /// The login that it belongs to.
    pub session: Option<SessionId>,
    /// Who did it.
    pub principal: Option<PrincipalRef>,
    /// From where.
    pub client: Option<ClientRef>,
    /// Kafka's API key and version of the request.
    pub api: Option<(i16, i16)>,
    /// What weir decided.
    pub decision: Decision,
    /// What came of it.
    pub outcome: Outcome,
    /// A stable word or short sentence that says why; never a byte of a record or token.
    pub reason: Option<String>,
    /// Which rules acted, and how often.
    pub rule_hits: Vec<RuleHit>,
    /// The partitions of the request.
    pub parts: Vec<Part>,
    /// Digest of the policy set that decided.
    pub policy_digest: Option<[u8; 32]>,
    /// How many events this entry stands for: 1, more for merged refusals.
    pub count: u64,
    /// What an entry of kind `prune` takes away; of no other.
    pub prune: Option<Box<Prune>>,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// weir started.
    Boot,
    /// weir stopped in order.
    Shutdown,
    /// A client was authenticated.
    AuthOk,
    /// A client was not authenticated.
    AuthFail,
    /// Records were produced.
    Produce,
    /// Records were fetched.
    Fetch,
    /// A request was refused.
    Block,
    /// An intent that a crash left open; what came of it is unknown.
    Recovered,
    /// Entries could not be written; some events are not in the log.
    Gap,
    /// The oldest entries were removed, as the retention policy says.
    Prune,
    /// From here on nothing is recorded, and so nothing is let through: the disk is full, or the log as large as it may be.
    Degraded,
    /// Recorded and let through again.
    Resumed,
    /// Nothing happened for a while, and weir was there: its time is what the next checkpoint covers.
    Heartbeat,
    /// Another key signs checkpoints from here on; the reason is the last checkpoint of the key before.
    KeyChange,
    /// The first entry of a chain that takes the place of a lost one: which, how much of it, and why.
    AcceptLoss,
    /// Another configuration decides from here on: which policies, and the digest of those before.
    PolicyChange,
}

/// What weir decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Passed unchanged.
    Pass,
    /// Passed with fields rewritten.
    Mask,
    /// Refused.
    Refuse,
    /// Fetched, but kept from the client in part or whole.
    Withhold,
    /// Nobody knows any more.
    Unknown,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing that has an outcome.
    None,
    /// The broker stored it.
    Stored,
    /// It was released to the client.
    Delivered,
    /// weir answered with this Kafka error code.
    Refused {
        /// Kafka error code.
        code: i16,
    },
    /// The broker answered with this Kafka error code.
    BrokerError {
        /// Kafka error code.
        code: i16,
    },
    /// The answer never came.
    Unknown,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrincipalRef {
    /// How it was authenticated.
    pub kind: PrincipalKind,
    /// Its name.
    pub id: String,
}

/// How a principal was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// Not at all.
    Anonymous,
    /// SASL/OAUTHBEARER.
    Oauthbearer,
    /// weir itself.
    System,
}

/// Where a request came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientRef {
    /// Address of the socket's peer.
    pub address: IpAddr,
    /// Port of the socket's peer.
    pub port: u16,
    /// Kafka's client id.
    pub client_id: Option<String>,
    /// The listener that it came in by.
    pub listener: String,
    /// Whether that listener runs without TLS off loopback.
    pub insecure: bool,
}

/// One rule that acted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHit {
    /// Name of the rule.
    pub rule: String,
    /// What it did.
    pub action: String,
    /// How often.
    pub count: u64,
}

/// Id, epoch and first sequence number of an idempotent producer's batch.
pub type Producer = (i64, i16, i32);

/// One partition of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name of the topic; empty when only its id was ever known.
    pub topic: String,
    /// Id of the topic.
    pub topic_id: Option<[u8; 16]>,
    /// Partition index.
    pub partition: i32,
    /// Offset of the first record.
    pub base_offset: Option<i64>,
    /// Offset of the last record.
    pub last_offset: Option<i64>,
    /// Number of records.
    pub records: u32,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Kafka error code.
    pub error_code: i16,
    /// The idempotent producer.
    pub producer: Option<Producer>,
    /// Keyed BLAKE3 over key, value and headers of what was stored or delivered.
    pub digest: Option<[u8; 32]>,
}

/// An open intent, durable before its request is forwarded and gone with the entry that closes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentRow {
    /// Its name.
    pub id: IntentId,
    /// What is about to happen.
    pub body: EntryBody,
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The chain.
    pub log: ChainId,
    /// Place in the chain, from 0.
    pub seq: u64,
    /// Leaf hash of the entry before, or hash of the origin.
    pub prev: Hash,
    /// Wall clock in nanoseconds since 1970, never less than the entry before; `body.at` is the clock as it was read.
    pub at: u64,
    /// Which part this is, when the event did not fit one entry.
    pub split: Option<Split>,
    /// What happened.
    pub body: EntryBody,
}

/// Part `part` (from 1) of `of` entries that are one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Which, from 1.
    pub part: u32,
    /// Of how many.
    pub of: u32,
}

/// Bytes that are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Longer than an entry may be.
    #[error("{bytes} bytes are more than an entry may have")]
    TooLong {
        /// How many bytes.
        bytes: usize,
    },
    /// Not CBOR in the deterministic form, or not of an entry's shape.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A format that this version does not know.
    #[error("format version {version} is unknown")]
    Version {
        /// The version found.
        version: u64,
    },
    /// A meaning that is encoded in another way than it must be.
    #[error("the encoding is not the only one of its meaning")]
    NotCanonical,
}

impl EntryBody {
    /// A body with nothing but its kind, name and time; the other fields are public.
    #[must_use]
    pub fn new(kind: Kind, event_id: EventId, at: u64) -> Self {
        Self {
            kind,
            event_id,
            at,
            intent_at: None,
            session: None,
            principal: None,
            client: None,
            api: None,
            decision: Decision::Pass,
            outcome: Outcome::None,
            reason: None,
            rule_hits: Vec::new(),
            parts: Vec::new(),
            policy_digest: None,
            count: 1,
            prune: None,
        }
    }
}

impl IntentRow {
    /// What becomes of an intent that a crash left open: an entry that says so, with unknown outcome. It must close this intent.
    #[must_use]
    pub fn recovered(&self, now: u64) -> EntryBody {
        EntryBody {
            kind: Kind::Recovered,
            at: now,
            intent_at: Some(self.body.at),
            outcome: Outcome::Unknown,
            ..self.body.clone()
        }
    }
}

/// Bytes of one entry: bundles of C2SP tlog-tiles give each a length of 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;
