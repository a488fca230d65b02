//! `audit`: what is recorded, and how surely.

use std::time::Duration;

use weir_policy::Pattern;
use weir_yaml::{MapReader, Node, Problems};

use super::checkpoint::{Anchor, CheckpointConfig, read_anchors};
use super::operations::read_choice;
use super::retain::{self, RetainConfig};
use super::{Loader, limits, unsupported};

/// What is recorded, and how surely.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// For topics that `topics` does not name.
    pub durability: Durability,
    /// For topics that `topics` does not name.
    pub digest: Digest,
    /// Topics for which something else holds.
    pub topics: Vec<AuditTopic>,
    /// How long anything waits for the log before its connection closes.
    pub hold_max: Duration,
    /// How long entries are kept, and how much room they may take.
    pub retain: RetainConfig,
    /// How checkpoints are made.
    pub checkpoint: CheckpointConfig,
    /// Where they go besides the data directory.
    pub anchors: Vec<Anchor>,
}

impl AuditConfig {
    /// What holds for a topic. When several of `topics` match, the surest durability and the fuller digest among them.
    pub fn of_topic(&self, topic: &str) -> (Durability, Digest) {
        let matching = || self.topics.iter().filter(|entry| entry.matches.iter().any(|pattern| pattern.matches(topic)));
        let durability = matching().filter_map(|entry| entry.durability).max();
        let digest = matching().filter_map(|entry| entry.digest).max();
        (durability.unwrap_or(self.durability), digest.unwrap_or(self.digest))
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        AuditConfig {
            durability: Durability::default(),
            digest: Digest::default(),
            topics: Vec::new(),
            hold_max: HOLD_MAX,
            retain: RetainConfig::default(),
            checkpoint: CheckpointConfig::default(),
            anchors: vec![Anchor::Stdout],
        }
    }
}

/// An entry of `audit.topics`.
#[derive(Debug, Clone)]
pub struct AuditTopic {
    /// Topic names, globs or regular expressions; at least one.
    pub matches: Vec<Pattern>,
    /// What it changes about durability, if anything.
    pub durability: Option<Durability>,
    /// What it changes about digests, if anything.
    pub digest: Option<Digest>,
}

/// When data may move. Ordered: later is surer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// Before its entry is durable.
    Async,
    /// Before; but the reply waits until the outcome is durable.
    Outcome,
    /// After its intent is durable, and the reply after its outcome.
    #[default]
    Strict,
}

/// What is digested of the data that moved. Ordered: later is fuller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Digest {
    /// Nothing.
    None,
    /// Each batch.
    #[default]
    Batch,
}

pub(super) fn read(loader: &Loader<'_>, node: Option<&Node>, problems: &mut Problems) -> Option<AuditConfig> {
    let Some(node) = node else { return Some(AuditConfig::default()) };
    let mut map = MapReader::new(node, "audit", problems)?;
    let durability = read_choice(map.take("durability"), "audit.durability", DURABILITIES, problems);
    let digest = read_digest(map.take("digest"), "audit.digest", problems);
    let topics = match map.take("topics") {
        Some(node) => read_topics(node, problems),
        None => Some(Vec::new()),
    };
    let hold_max = limits::duration(map.take("hold_max"), "audit.hold_max", HOLD_MAX, problems);
    let retain = retain::read(map.take("retain"), problems);
    let checkpoint = loader.checkpoint(map.take("checkpoint"), problems);
    let anchors = read_anchors(map.take("anchors"), problems);
    map.finish(problems);
    Some(AuditConfig {
        durability: durability?,
        digest: digest?,
        topics: topics?,
        hold_max: hold_max?,
        retain: retain?,
        checkpoint: checkpoint?,
        anchors: anchors?,
    })
}

fn read_topics(node: &Node, problems: &mut Problems) -> Option<Vec<AuditTopic>> {
    let items = node.as_list("audit.topics", problems)?;
    let topics: Vec<Option<AuditTopic>> = items.iter().map(|item| read_topic(item, problems)).collect();
    topics.into_iter().collect()
}

fn read_topic(node: &Node, problems: &mut Problems) -> Option<AuditTopic> {
    let mut map = MapReader::new(node, "an entry of audit.topics", problems)?;
    let matches =
        map.required("match", "as in  match: [\"clicks.*\"]", problems).and_then(|node| read_patterns(node, problems));
    let durability = map.take("durability").map(|node| read_choice(Some(node), "durability", DURABILITIES, problems));
    let digest = map.take("digest").map(|node| read_digest(Some(node), "digest", problems));
    if durability.is_none() && digest.is_none() {
        problems.error(&node.place, "this entry of `audit.topics` changes nothing", "give it `durability` or `digest`");
    }
    map.finish(problems);
    // A key that is there and wrong gives up the entry; one that is absent does not.
    let given = |value| match value {
        Some(None) => Err(()),
        Some(Some(value)) => Ok(Some(value)),
        None => Ok(None),
    };
    let digest = match digest {
        Some(None) => return None,
        Some(Some(digest)) => Some(digest),
        None => None,
    };
    Some(AuditTopic { matches: matches?, durability: given(durability).ok()?, digest })
}

fn read_patterns(node: &Node, problems: &mut Problems) -> Option<Vec<Pattern>> {
    let items = node.as_list("match", problems)?;
    if items.is_empty() {
        problems.error(&node.place, "`match` is empty, so it matches no topic", "");
        return None;
    }
    let mut pattern = |item: &Node| match Pattern::parse_topic(item.as_str("match", problems)?) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            problems.error(&item.place, error.to_string(), "");
            None
        }
    };
    let patterns: Vec<Option<Pattern>> = items.iter().map(&mut pattern).collect();
    patterns.into_iter().collect()
}

fn read_digest(node: Option<&Node>, what: &str, problems: &mut Problems) -> Option<Digest> {
    if let Some(node) = node
        && matches!(&node.value, weir_yaml::Value::String(text) if text == "record")
    {
        unsupported::value(&node.place, &format!("{what}: record"), "use `batch`", problems);
        return None;
    }
    read_choice(node, what, DIGESTS, problems)
}

const HOLD_MAX: Duration = Duration::from_secs(10);
const DURABILITIES: &[(&str, Durability)] =
    &[("strict", Durability::Strict), ("outcome", Durability::Outcome), ("async", Durability::Async)];
const DIGESTS: &[(&str, Digest)] = &[("none", Digest::None), ("batch", Digest::Batch)];
