//! What a session is told about the world: immutable, shared, swapped whole.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use weir_authn::Identity;
use weir_policy::{Direction, PolicySet, RuleSet, Subject};
use weir_protocol::ApiKey;

use crate::upstream::UpstreamLogin;

/// Policy, keys, limits and the view of the cluster at one moment. A request is decided by the context that was in force
/// when its inspection began; the entry carries that policy's digest.
#[derive(Clone, Debug)]
pub struct Context {
    /// The compiled policies.
    pub policy: Arc<PolicySet>,
    /// Who may log in.
    pub identity: Arc<Identity>,
    /// What is known of the brokers; `None` until one of them answered.
    pub view: Option<Arc<ClusterView>>,
    /// Who weir is to the brokers; `None` where they ask nobody.
    pub upstream: Option<Arc<UpstreamLogin>>,
    /// Limits on one session.
    pub limits: Limits,
    /// Which topics wait for the audit log, and how long.
    pub audit: AuditRules,
    /// Whether the audit log can be written. While it cannot, every topic is audited strictly: what cannot be recorded does not move.
    pub recording: bool,
    /// The protection that is switched off.
    #[cfg(feature = "sabotage")]
    pub sabotage: Option<crate::Sabotage>,
}

impl Context {
    /// The rules that apply to the records of a topic in one direction.
    pub(crate) fn rules(&self, subject: &Subject<'_>, topic: &str, direction: Direction) -> Option<Arc<RuleSet>> {
        #[cfg(feature = "sabotage")]
        if self.sabotage == Some(crate::Sabotage::MaskOff) {
            return None;
        }
        self.policy.rules(subject, topic, direction)
    }

    /// The view, if the broker is in it; for the bootstrap port if any broker is.
    pub(crate) fn view_of(&self, node: Option<i32>) -> Option<Arc<ClusterView>> {
        let there = |view: &&Arc<ClusterView>| match node {
            Some(node) => view.brokers.contains_key(&node),
            None => !view.brokers.is_empty(),
        };
        self.view.as_ref().filter(there).cloned()
    }

    /// Bytes of a batch that the brokers take for a topic, as far as is known.
    pub(crate) fn batch_bytes_max(&self, topic: &str) -> usize {
        let learned = self.view.as_ref().and_then(|view| view.batch_bytes_max.get(topic).copied());
        learned.unwrap_or(self.limits.message_bytes_max)
    }

    /// How a topic is audited now.
    pub(crate) fn audited(&self, topic: &str) -> TopicAudit {
        let audit = self.audit.of(topic);
        if self.recording { audit } else { TopicAudit { durability: Durability::Strict, ..audit } }
    }

    /// Whether a reply waits for its entry.
    pub(crate) fn replies_wait(&self, durability: Durability) -> bool {
        #[cfg(feature = "sabotage")]
        if self.sabotage == Some(crate::Sabotage::AckBeforeEntry) {
            return false;
        }
        durability != Durability::Async
    }
}

/// Limits on one session. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest frame before login.
    pub frame_bytes_max_before_login: usize,
    /// Largest frame after login, in both directions.
    pub frame_bytes_max: usize,
    /// Requests of one connection that weir works on at once; beyond it the client is not read.
    pub inflight_requests_max: usize,
    /// What is asked of the broker in one Fetch (KIP-74); clients poll again.
    pub fetch_bytes_max: i32,
    /// Frame bytes that one session may hold before it stops reading.
    pub session_bytes_max: usize,
    /// Bytes of a batch that brokers take, for topics whose own limit they do not tell.
    pub message_bytes_max: usize,
    /// Limits on one record batch.
    pub records: weir_protocol::records::Limits,
    /// Time until a client must have logged in.
    pub login_timeout: Duration,
    /// Time in which an announced frame must arrive whole.
    pub body_timeout: Duration,
    /// Time without a byte from the client, or from a broker that owes an answer, after which the connection ends.
    pub idle_timeout: Duration,
    /// Time that a client waits for the first answer of any broker.
    pub connect_timeout: Duration,
}

/// Which topics wait for the audit log, and what is said of their records.
#[derive(Clone, Debug)]
pub struct AuditRules {
    /// What applies to a topic that nothing else names.
    pub default: TopicAudit,
    /// What else applies to which topics. When several match, the surest durability and the fuller digest among them.
    pub topics: Vec<(Vec<weir_policy::Pattern>, TopicAuditChange)>,
    /// Key of the digest over what is stored and delivered.
    pub digest_key: DigestKey,
    /// How long anything waits for the log before its connection closes.
    pub hold_max: Duration,
}

/// How a topic is audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicAudit {
    /// What waits for the log.
    pub durability: Durability,
    /// Whether opened batches get a digest.
    pub digest: bool,
}

/// What an override changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicAuditChange {
    /// The durability, if it says so.
    pub durability: Option<Durability>,
    /// The digest, if it says so.
    pub digest: Option<bool>,
}

/// The secret key of the batch digest.
#[derive(Clone)]
pub struct DigestKey(pub [u8; 32]);

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey(32 bytes)")
    }
}

impl AuditRules {
    /// How a topic is audited.
    pub fn of(&self, topic: &str) -> TopicAudit {
        let matching = || {
            self.topics
                .iter()
                .filter(|(patterns, _)| patterns.iter().any(|pattern| pattern.matches(topic)))
                .map(|(_, change)| change)
        };
        TopicAudit {
            durability: matching().filter_map(|change| change.durability).max().unwrap_or(self.default.durability),
            digest: matching().filter_map(|change| change.digest).max().unwrap_or(self.default.digest),
        }
    }
}

/// What moves when (design section 4; audit-log guarantees G1 to G3). Ordered from the least to the most strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The entry is written, and nothing waits for it.
    Async,
    /// The reply waits for the entry of its outcome.
    Outcome,
    /// The request waits for its intent, the reply for its outcome.
    Strict,
}

/// What is known of the cluster behind.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// Counts up with every answer of the control connection.
    pub generation: u64,
    /// The brokers, by node id.
    pub brokers: HashMap<i32, BrokerNode>,
    /// Topic names by id (KIP-516).
    pub topics: HashMap<Uuid, Arc<str>>,
    /// Ids that the cluster was asked for and does not have.
    pub unknown_topics: HashSet<Uuid>,
    /// What each topic takes in one batch (`max.message.bytes`), in bytes, where weir may know it.
    pub batch_bytes_max: HashMap<Arc<str>, usize>,
}

/// One broker.
#[derive(Clone, Debug)]
pub struct BrokerNode {
    /// Where it is reached; never shown to a client.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The versions it supports, by API code: least and greatest.
    pub apis: HashMap<i16, (i16, i16)>,
}

impl ClusterView {
    /// The versions that a client of `node` (all brokers for the bootstrap port) may use of `api`: weir's own, cut to what the
    /// brokers support. `None` when nothing is left.
    pub fn versions(&self, node: Option<i32>, api: ApiKey) -> Option<(i16, i16)> {
        let own = api.versions();
        let (mut least, mut greatest) = (*own.start(), *own.end());
        let mut seen = false;
        for (id, broker) in &self.brokers {
            if node.is_some_and(|node| node != *id) {
                continue;
            }
            let (min, max) = broker.apis.get(&api.code()).copied()?;
            least = least.max(min);
            greatest = greatest.min(max);
            seen = true;
        }
        (seen && least <= greatest).then_some((least, greatest))
    }

    /// The versions that the broker behind `node` itself (every broker, for the bootstrap port) supports of `api`, whatever weir
    /// serves of it.
    pub fn spoken(&self, node: Option<i32>, api: ApiKey) -> Option<(i16, i16)> {
        let mut brokers = self.brokers.iter().filter(|(id, _)| node.is_none_or(|node| node == **id));
        let of = |broker: &BrokerNode| broker.apis.get(&api.code()).copied();
        let first = of(brokers.next()?.1)?;
        brokers.try_fold(first, |(least, greatest), (_, broker)| {
            of(broker).map(|(min, max)| (least.max(min), greatest.min(max)))
        })
    }
}

/// The door that a client came in by: one listener, on one of its ports. It never changes while a session lives.
#[derive(Clone, Debug)]
pub struct Door {
    /// The listener's name.
    pub listener: String,
    /// How clients prove who they are.
    pub auth: DoorAuth,
    /// Whether the listener has neither TLS nor loopback to protect it (`insecure: true`).
    pub insecure: bool,
    /// The broker that this port stands for; `None` for the bootstrap port.
    pub node: Option<i32>,
    /// What clients are told to connect to, by node id.
    pub advertised: HashMap<i32, (String, u16)>,
}

/// How clients of a listener prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoorAuth {
    /// SASL/OAUTHBEARER with a signed token (RFC 7628).
    Oauthbearer,
    /// No login: everybody is `anonymous`, in these groups.
    Anonymous {
        /// The groups of every client.
        groups: Vec<String>,
    },
}

/// The peer, as the socket knows it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
}
