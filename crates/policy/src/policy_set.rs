//! A compiled policy: the answers to everything that a session asks.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use weir_yaml::Problems;

use crate::access::{Access, AccessTable, Subject};
use crate::bits::Bits;
use crate::digest;
use crate::document::{Document, TestEntry};
use crate::keys::KeyRing;
use crate::rules::{self, Direction, Rule};
use crate::ruleset::RuleSet;

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file as the user named it; places in messages begin with it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Limits that hold for every rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyLimits {
    /// The deepest nesting of a JSON value that rules read, in levels (`limits.json_depth_max`).
    pub json_depth_max: usize,
}

impl Default for PolicyLimits {
    fn default() -> Self {
        Self { json_depth_max: 64 }
    }
}

/// All policies of a configuration, compiled. Immutable: a reload makes another one.
///
/// Which rules touch a topic is found once per topic, and each distinct set of rules is built once and shared:
///
/// ```text
/// subject ──unless──► bits of rules ┐
///                                   AND ──► interned Arc<RuleSet>, with one field trie
/// topic, direction ──► bits of rules┘
/// ```
///
/// The locks inside guard these caches. A record never comes near them: a session keeps the `Arc<RuleSet>` of each topic.
pub struct PolicySet {
    access: Arc<AccessTable>,
    rules: Vec<Rule>,
    tests: Vec<TestEntry>,
    limits: PolicyLimits,
    digest: [u8; 32],
    topics: RwLock<HashMap<Box<str>, TopicRules>>,
    sets: Mutex<HashMap<Bits, Arc<RuleSet>>>,
}

/// The rules for one topic.
#[derive(Clone)]
struct TopicRules {
    produce: Bits,
    consume: Bits,
}

impl PolicySet {
    /// Compiles the policies of `sources`. Everything that is wrong is pushed to `problems`; with any error there is no set.
    ///
    /// No source at all is a valid policy: it allows nothing.
    #[must_use]
    pub fn compile(sources: &[Source], keys: &KeyRing, limits: &PolicyLimits, problems: &mut Problems) -> Option<Self> {
        let errors = problems.errors();
        let mut document = Document::default();
        for source in sources {
            document.read(&source.name, &source.text, problems);
        }
        let tests = std::mem::take(&mut document.tests);
        let (access, rules) = rules::compile(document, &tests, keys, problems);
        let digest = digest::of_sources(sources.iter().map(|source| (source.name.as_str(), source.text.as_str())));
        (problems.errors() == errors).then(|| Self {
            access: Arc::new(access),
            rules,
            tests,
            limits: *limits,
            digest,
            topics: RwLock::default(),
            sets: Mutex::default(),
        })
    }

    /// The identity of the set, for audit entries: a hash of all sources, names and order included.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What the subject may do. To be asked once, at login.
    #[must_use]
    pub fn access(&self, subject: &Subject<'_>) -> Access {
        Access::new(&self.access, subject)
    }

    /// The rules that apply to records of this subject on this topic and way; `None` when there is none, and the payload is not
    /// to be opened. To be asked once per session, topic and direction.
    #[must_use]
    pub fn rules(&self, subject: &Subject<'_>, topic: &str, direction: Direction) -> Option<Arc<RuleSet>> {
        let mut bits = self.topic_bits(topic, direction);
        for (index, rule) in self.rules.iter().enumerate() {
            if bits.contains(index) && rule.exempts(subject) {
                bits.remove(index);
            }
        }
        if bits.is_empty() { None } else { Some(self.rule_set(bits)) }
    }

    /// The number of rules.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// The number of tests.
    #[must_use]
    pub fn test_count(&self) -> usize {
        self.tests.len()
    }

    pub(crate) fn tests(&self) -> impl Iterator<Item = &TestEntry> {
        self.tests.iter()
    }

    fn topic_bits(&self, topic: &str, direction: Direction) -> Bits {
        let pick = |found: &TopicRules| match direction {
            Direction::Produce => found.produce.clone(),
            Direction::Consume => found.consume.clone(),
        };
        if let Some(found) = self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic) {
            return pick(found);
        }
        let bits = |direction| {
            let own = self.rules.iter().enumerate().filter(|(_, rule)| rule.is_for(topic, direction));
            Bits::from_indexes(self.rules.len(), own.map(|(index, _)| index))
        };
        let found = TopicRules { produce: bits(Direction::Produce), consume: bits(Direction::Consume) };
        let picked = pick(&found);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if topics.len() >= TOPICS_CACHED_MAX {
            // Names come from clients. To forget all of them costs one more look at the rules for each; it needs no order.
            topics.clear();
        }
        topics.insert(topic.into(), found);
        picked
    }

    fn rule_set(&self, bits: Bits) -> Arc<RuleSet> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.get(&bits) {
            return Arc::clone(set);
        }
        if sets.len() >= RULE_SETS_CACHED_MAX {
            // What sessions still hold stays shared, unless that alone is too much.
            sets.retain(|_, set| Arc::strong_count(set) > 1);
            if sets.len() >= RULE_SETS_CACHED_MAX {
                sets.clear();
            }
        }
        let set = Arc::new(RuleSet::new(&self.rules, &bits, self.limits.json_depth_max));
        sets.insert(bits, Arc::clone(&set));
        set
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("rules", &self.rules.len())
            .field("tests", &self.tests.len())
            .finish_non_exhaustive()
    }
}

/// The most topics whose rules are remembered, in topics. At 249 characters and a bit per rule, that is some megabytes.
pub const TOPICS_CACHED_MAX: usize = 10_000;

/// The most distinct sets of rules that are kept for sharing, in sets. Real policies have a handful; only `unless` of many rules
/// for many groups can make more.
pub const RULE_SETS_CACHED_MAX: usize = 1024;
