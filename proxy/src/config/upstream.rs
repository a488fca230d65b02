//! `upstream`: the real cluster.

mod auth;

use std::ops::RangeInclusive;
use std::time::Duration;

use weir_yaml::{MapReader, Node, Place, Problems, Value};

use super::address::HostPort;
use super::tls::{self, UpstreamTls};
use super::{Loader, limits};

pub use auth::UpstreamAuth;

/// The real cluster and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Brokers to ask first; at least one.
    pub bootstrap: Vec<HostPort>,
    /// The node ids that clients may be told about.
    pub node_ids: NodeIds,
    /// TLS towards brokers; none is plain text.
    pub tls: Option<UpstreamTls>,
    /// Who weir is to the brokers; none where they ask nobody.
    pub auth: Option<UpstreamAuth>,
    /// How long connecting to a broker may take, TLS included.
    pub connect_timeout: Duration,
    /// Bytes of a batch that the brokers take, for topics whose own limit they do not tell.
    pub message_bytes_max: usize,
}

/// Broker node ids in the order of their ports: the id at index `i` is served at the listener's port + 1 + `i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIds(Vec<RangeInclusive<i32>>);

impl NodeIds {
    /// The ids in order.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().cloned().flatten()
    }

    /// Where the id stands in the order; `None` for a broker that is not served.
    pub fn index_of(&self, id: i32) -> Option<usize> {
        let mut before = 0_usize;
        for range in &self.0 {
            if range.contains(&id) {
                return before.checked_add(usize::try_from(id.checked_sub(*range.start())?).ok()?);
            }
            before = before.saturating_add(count(range));
        }
        None
    }

    /// Those of the given ids that are not among them, in order.
    pub fn without<'a>(&self, ids: impl Iterator<Item = &'a i32>) -> Vec<i32> {
        let mut others = ids.copied().filter(|id| self.index_of(*id).is_none()).collect::<Vec<_>>();
        others.sort_unstable();
        others
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(count).sum()
    }

    /// True when there is none, which no loaded configuration has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for NodeIds {
    /// 0 to 9: what a small cluster has, and ten ports.
    fn default() -> Self {
        NodeIds(vec![0..=9])
    }
}

/// The section, and where its addresses stand.
pub(super) struct LocatedUpstream {
    pub(super) upstream: Upstream,
    /// One for each of `upstream.bootstrap`.
    pub(super) bootstrap_places: Vec<Place>,
}

pub(super) fn read(loader: Loader<'_>, node: &Node, problems: &mut Problems) -> Option<LocatedUpstream> {
    let mut map = MapReader::new(node, "upstream", problems)?;
    let bootstrap = map
        .required("bootstrap", "add  bootstrap: [\"kafka-1.internal:9092\"]", problems)
        .and_then(|node| read_bootstrap(node, problems));
    let node_ids = match map.take("node_ids") {
        Some(node) => read_node_ids(node, problems),
        None => Some(NodeIds::default()),
    };
    let tls = match map.take("tls") {
        Some(node) => tls::read_upstream(node, loader.base, problems).map(Some),
        None => Some(None),
    };
    let auth_node = map.take("auth");
    let auth = auth_node.map(|node| UpstreamAuth::read(loader, node, problems));
    let connect_timeout = limits::duration(map.take("connect_timeout"), "connect_timeout", CONNECT_TIMEOUT, problems);
    let message_bytes_max = limits::size(
        map.take("message_bytes_max"),
        "message_bytes_max",
        MESSAGE_BYTES_MAX,
        limits::FRAME_BYTES_MAX,
        problems,
    );
    map.finish(problems);
    let (bootstrap, bootstrap_places) = bootstrap?;
    if let (Some(node), Some(Some(auth))) = (auth_node, &auth) {
        // TLS that cannot be read is an error of its own.
        let tls = !matches!(tls, Some(None));
        auth.warn(node, &bootstrap, tls, problems);
    }
    // INVARIANT: where it could not be read there is an error, so that nothing is used without it.
    let auth = auth.flatten();
    let upstream = Upstream {
        bootstrap,
        node_ids: node_ids?,
        tls: tls?,
        auth,
        connect_timeout: connect_timeout?,
        message_bytes_max,
    };
    Some(LocatedUpstream { upstream, bootstrap_places })
}

fn read_bootstrap(node: &Node, problems: &mut Problems) -> Option<(Vec<HostPort>, Vec<Place>)> {
    let items = node.as_list("bootstrap", problems)?;
    if items.is_empty() {
        problems.error(&node.place, "`bootstrap` is empty", "name at least one broker");
        return None;
    }
    let read: Vec<Option<HostPort>> = items.iter().map(|item| HostPort::read(item, "bootstrap", problems)).collect();
    let addresses: Option<Vec<HostPort>> = read.into_iter().collect();
    Some((addresses?, items.iter().map(|item| item.place.clone()).collect()))
}

fn read_node_ids(node: &Node, problems: &mut Problems) -> Option<NodeIds> {
    let items = node.as_list("node_ids", problems)?;
    let mut ids = NodeIds(Vec::new());
    let errors_before = problems.errors();
    for item in items {
        let Some(range) = read_range(item, problems) else { continue };
        let twice = ids.0.iter().find(|other| range.start() <= other.end() && other.start() <= range.end());
        if let Some(other) = twice {
            let id = range.start().max(other.start());
            problems.error(&item.place, format!("node id {id} is listed twice"), "each broker has one port");
        } else if ids.len().saturating_add(count(&range)) > NODE_IDS_MAX {
            problems.error(
                &item.place,
                format!("more than {NODE_IDS_MAX} node ids"),
                "each of them is a port of each listener",
            );
            return None;
        } else {
            ids.0.push(range);
        }
    }
    if items.is_empty() {
        problems.error(&node.place, "`node_ids` is empty", "as in  node_ids: [\"0-9\"]");
    }
    (problems.errors() == errors_before).then_some(ids)
}

/// `"0-9"`, `"5"` or `5`.
fn read_range(node: &Node, problems: &mut Problems) -> Option<RangeInclusive<i32>> {
    let range = match &node.value {
        Value::Int(id) => i32::try_from(*id).ok().map(|id| id..=id),
        Value::String(text) => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok());
            match (number(first).flatten(), number(last).flatten()) {
                (Some(first), Some(last)) => Some(first..=last),
                (None, _) | (_, None) => None,
            }
        }
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
    };
    let range = range.filter(|range| *range.start() >= 0 && !range.is_empty());
    if range.is_none() {
        problems.error(&node.place, "this is not a node id or a range of them", "as in  node_ids: [\"0-9\", \"20\"]");
    }
    range
}

fn count(range: &RangeInclusive<i32>) -> usize {
    let span = i64::from(*range.end()).saturating_sub(i64::from(*range.start())).saturating_add(1);
    usize::try_from(span).unwrap_or(0)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Kafka's own default of `message.max.bytes`: one MiB and the first fields of a batch.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024 + 12;
/// Each is a socket per listener; the largest Kafka clusters have a few hundred brokers.
const NODE_IDS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_keep_the_order_of_the_text() {
        let ids = NodeIds(vec![20..=21, 5..=5, 0..=2]);
        assert_eq!(ids.iter().collect::<Vec<_>>(), [20, 21, 5, 0, 1, 2]);
        assert_eq!(ids.len(), 6);
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(ids.index_of(id), Some(index));
        }
        for absent in [-1, 3, 4, 6, 19, 22, i32::MAX, i32::MIN] {
            assert_eq!(ids.index_of(absent), None, "{absent}");
        }
    }
}
