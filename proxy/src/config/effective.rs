//! The configuration as it is in force: what was written, and the default of everything that was not.
//!
//! It is made from the text, not from what the text became: so it says where secrets are and never what they are, and paths stay
//! as they were written.

mod tree;

use std::collections::BTreeMap;
use std::fmt;

use weir_yaml::{Node, Problems};

use self::tree::Tree;

/// A whole configuration, defaults included. Displays as YAML that is the same configuration, in the same directory.
#[derive(Clone, PartialEq, Eq)]
pub struct Effective(Tree);

impl Effective {
    /// Fills in what `document`, which was found to be right, leaves out.
    pub(super) fn new(document: &Node, data_dir: &str) -> Self {
        let mut tree = Tree::of(document);
        tree.fill(&defaults(&format!("{{ version: 1, data_dir: {} }}", tree::text(data_dir))));
        tree.fill(&defaults(DEFAULTS));
        for (path, text) in WHERE_PRESENT {
            let default = defaults(text);
            tree.visit(path, &mut |found| found.fill(&default));
        }
        tree.visit("listeners.*", &mut |listener| {
            if let Some(bind) = listener.get("bind").cloned() {
                listener.fill(&Tree::Map(vec![("advertise".to_owned(), bind)]));
            }
        });
        tree.order(SECTIONS);
        Effective(tree)
    }

    /// The keys whose value differs, by their full names, in order.
    #[must_use]
    pub fn changes(&self, other: &Effective) -> Vec<String> {
        let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
        self.0.leaves("", &mut ours);
        other.0.leaves("", &mut theirs);
        let mut changed: Vec<String> =
            ours.iter().filter(|(key, value)| theirs.get(*key) != Some(value)).map(|(key, _)| key.clone()).collect();
        changed.extend(theirs.into_keys().filter(|key| !ours.contains_key(key)));
        changed.sort();
        changed
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, 0)
    }
}

/// The text has no secrets, and is too long for a log.
impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Effective(..)")
    }
}

/// Whether a change of this key acts while weir runs. What is not named here needs a restart.
#[must_use]
pub fn is_reloaded(key: &str) -> bool {
    RELOADED.iter().any(|(first, rest)| {
        key.strip_prefix(first).is_some_and(|behind| {
            (behind.is_empty() || behind.starts_with('.'))
                && (rest.is_empty() || rest.iter().any(|last| behind.ends_with(last)))
        })
    })
}

/// What acts without a restart: everything below the first, or where there are others, what ends so below it. A listener may be called
/// like any key, with dots in its name: only the end of the whole says which key it is.
const RELOADED: &[(&str, &[&str])] = &[
    ("policies", &[]),
    ("upstream.message_bytes_max", &[]),
    ("keys", &[]),
    ("identity", &[]),
    ("limits", &[]),
    ("listeners", &[".tls.cert", ".tls.key", ".tls.min_version"]),
    ("upstream.tls", &[]),
    ("upstream.auth", &[]),
    ("audit.durability", &[]),
    ("audit.digest", &[]),
    ("audit.topics", &[]),
    ("audit.hold_max", &[]),
];

/// Sections in the order in which they are shown.
const SECTIONS: &[&str] = &[
    "version",
    "data_dir",
    "upstream",
    "listeners",
    "identity",
    "policies",
    "keys",
    "audit",
    "limits",
    "admin",
    "log",
];

/// What is in force when a key is absent. A test compares it with what absent keys become.
const DEFAULTS: &str = r#"
upstream: { node_ids: ["0-9"], connect_timeout: 5s, message_bytes_max: 1048588B }
identity: { clock_skew: 30s, keys_age_max: 24h, session_max: 1h, issuers: [] }
keys: []
audit:
  durability: strict
  topics: []
  digest: batch
  hold_max: 10s
  retain: { reserve: 64MiB, then: stop }
  checkpoint: { every: 1s, idle: 60s }
  anchors: [stdout]
limits:
  connections_max: 10000
  connections_per_address_max: 500
  handshakes_max: 64
  frame_bytes_max: { before_login: 512KiB, after: 100MiB }
  inflight_requests_max: 64
  fetch_bytes_max: 4MiB
  memory_max: 128MiB
  batch_bytes_max: 64MiB
  inflate_ratio_max: 64
  records_per_batch_max: 1000000
  headers_per_record_max: 1000
  key_bytes_max: 1MiB
  value_bytes_max: 64MiB
  header_name_bytes_max: 32KiB
  json_depth_max: 64
  idle_timeout: 10m
  drain_timeout: 30s
  login_timeout: 10s
  body_timeout: 30s
admin: { metrics: "127.0.0.1:9190" }
log: { level: info, format: auto }
"#;

/// What is in force inside something that is itself optional; `*` is each item of a list.
const WHERE_PRESENT: &[(&str, &str)] = &[
    ("upstream.tls", "{ min_version: \"1.2\" }"),
    ("listeners.*", "{ insecure: false }"),
    ("listeners.*.tls", "{ min_version: \"1.2\" }"),
    ("listeners.*.auth.anonymous", "{ groups: [anonymous] }"),
    ("identity.issuers.*", "{ algorithms: [RS256, ES256], principal: sub, groups: groups }"),
    ("keys.*", "{ retired: false }"),
];

/// A document of this file as a tree.
fn defaults(text: &str) -> Tree {
    let mut problems = Problems::default();
    let documents = weir_yaml::parse("defaults", text, &mut problems);
    debug_assert!(problems.is_empty() && documents.len() == 1, "the defaults are one document: {problems}");
    documents.first().map_or(Tree::Map(Vec::new()), Tree::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_by_their_full_names() {
        for key in [
            "policies",
            "limits.idle_timeout",
            "limits.frame_bytes_max.after",
            "keys.a.file",
            "audit.topics",
            "listeners.a.tls.cert",
        ] {
            assert!(is_reloaded(key), "{key}");
        }
        for key in [
            "data_dir",
            "policiesx",
            "audit",
            "audit.topicsx",
            "upstream.bootstrap",
            "listeners.a.bind",
            "listeners.tls.auth",
            "listeners.x.tls.bind",
            "log.level",
        ] {
            assert!(!is_reloaded(key), "{key}");
        }
    }
}
