//! `audit.checkpoint` and `audit.anchors`: who signs what the log holds, how often, and where that is said.

use std::time::Duration;

use weir_yaml::{MapReader, Node, Problems, Value};

use super::{Loader, limits, unsupported};

/// How checkpoints are made.
#[derive(Clone)]
pub struct CheckpointConfig {
    /// How often, while entries are written.
    pub every: Duration,
    /// After so long without an entry one is written for its time alone, so that a checkpoint covers the silence.
    pub idle: Duration,
    /// The seed of the key that signs; `None` = the one in the data directory, made at the first start.
    pub key: Option<[u8; 32]>,
}

/// Where checkpoints go besides the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// A JSON line each on standard output, for whoever collects it.
    Stdout,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: EVERY, idle: IDLE, key: None }
    }
}

/// Never the key.
impl std::fmt::Debug for CheckpointConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { every, idle, key } = self;
        let key = if key.is_some() { "given" } else { "made" };
        f.debug_struct("CheckpointConfig").field("every", every).field("idle", idle).field("key", &key).finish()
    }
}

impl Loader<'_> {
    pub(super) fn checkpoint(&self, node: Option<&Node>, problems: &mut Problems) -> Option<CheckpointConfig> {
        let default = CheckpointConfig::default();
        let Some(node) = node else { return Some(default) };
        let mut map = MapReader::new(node, "audit.checkpoint", problems)?;
        let every = map.take("every");
        let every = bounded(every, "audit.checkpoint.every", default.every, EVERY_MIN, EVERY_MAX, problems);
        let idle = map.take("idle");
        let idle = bounded(idle, "audit.checkpoint.idle", default.idle, IDLE_MIN, IDLE_MAX, problems);
        let key = match map.take("key") {
            Some(node) => self.checkpoint_key(node, problems).map(Some),
            None => Some(None),
        };
        map.finish(problems);
        Some(CheckpointConfig { every: every?, idle: idle?, key: key? })
    }

    fn checkpoint_key(&self, node: &Node, problems: &mut Problems) -> Option<[u8; 32]> {
        if !matches!(node.value, Value::Map(_)) {
            problems.error(&node.place, "`audit.checkpoint.key` is a literal", "use { file: … } or { env: … }");
            return None;
        }
        let mut map = MapReader::new(node, "audit.checkpoint.key", problems)?;
        let seed = self.secret(&mut map, false, problems);
        map.finish(problems);
        seed
    }
}

pub(super) fn read_anchors(node: Option<&Node>, problems: &mut Problems) -> Option<Vec<Anchor>> {
    let Some(node) = node else { return Some(vec![Anchor::Stdout]) };
    let items = node.as_list("audit.anchors", problems)?;
    let mut anchors = Vec::new();
    for item in items {
        match &item.value {
            Value::String(name) if name == "stdout" && anchors.is_empty() => anchors.push(Anchor::Stdout),
            Value::String(name) if name == "stdout" => {
                problems.error(&item.place, "`stdout` is listed twice", "once is enough");
                return None;
            }
            Value::Map(entries) if entries.iter().any(|entry| LATER.contains(&entry.key.as_str())) => {
                let name = entries.first().map_or("", |entry| entry.key.as_str());
                unsupported::value(&item.place, name, "collect what `stdout` says", problems);
                return None;
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::List(_)
            | Value::Map(_) => {
                problems.error(&item.place, "an entry of `audit.anchors` is unknown", "as in  anchors: [stdout]");
                return None;
            }
        }
    }
    Some(anchors)
}

fn bounded(
    node: Option<&Node>,
    what: &str,
    default: Duration,
    min: Duration,
    max: Duration,
    problems: &mut Problems,
) -> Option<Duration> {
    let duration = limits::duration(node, what, default, problems)?;
    if let Some(node) = node.filter(|_| !(min..=max).contains(&duration)) {
        problems.error(&node.place, format!("`{what}` is out of range"), format!("from {min:?} to {max:?}"));
        return None;
    }
    Some(duration)
}

const EVERY: Duration = Duration::from_secs(1);
/// A checkpoint costs a file with two syncs.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// What is newer than the last checkpoint can be cut off unnoticed.
const EVERY_MAX: Duration = Duration::from_secs(3600);
const IDLE: Duration = Duration::from_secs(60);
/// Each is an entry of some 150 bytes.
const IDLE_MIN: Duration = Duration::from_secs(1);
const IDLE_MAX: Duration = Duration::from_secs(86_400);

/// Anchors that the product promises.
const LATER: &[&str] = &["kafka", "s3", "witness"];
