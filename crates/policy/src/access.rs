//! Who may do what: the compiled `access` entries and the answers for one authenticated subject.
//!
//! Default deny. Entries only add: what no entry allows is refused. Internal topics ([`is_internal_topic`]) are reached by no
//! wildcard; an entry must name them.

use std::sync::Arc;

use crate::pattern::{Pattern, is_internal_topic};

/// The authenticated side of a question to the policy: the principal's id and groups, as the listener's authentication gave
/// them. An anonymous client is `anonymous`, in the groups that its listener names.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The principal's id (`sub` of a token, or `anonymous`).
    pub id: &'a str,
    /// The principal's groups.
    pub groups: &'a [String],
}

/// A set of principals: who is one of the users, or in one of the groups. Both lists are literal names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Principals {
    /// Ids.
    pub(crate) users: Vec<String>,
    /// Group names.
    pub(crate) groups: Vec<String>,
}

impl Principals {
    /// Whether the subject is in the set.
    pub(crate) fn contains(&self, subject: &Subject<'_>) -> bool {
        self.users.iter().any(|user| user == subject.id)
            || self.groups.iter().any(|group| subject.groups.iter().any(|own| own == group))
    }

    /// Whether nobody can be in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }
}

/// One `access` entry: what its principals are allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    /// The entry's name.
    pub(crate) name: String,
    /// Whom it allows something.
    pub(crate) principals: Principals,
    /// Topics that may be written.
    pub(crate) produce: Vec<Pattern>,
    /// Topics that may be read.
    pub(crate) consume: Vec<Pattern>,
    /// Consumer groups that may be joined and committed to.
    pub(crate) consumer_groups: Vec<Pattern>,
}

/// The `access` entries of a policy set.
#[derive(Debug, Default)]
pub(crate) struct AccessTable {
    grants: Vec<Grant>,
}

impl AccessTable {
    pub(crate) fn new(grants: Vec<Grant>) -> Self {
        Self { grants }
    }

    pub(crate) fn grants(&self) -> &[Grant] {
        &self.grants
    }
}

/// What one subject may do: made at login, cheap to ask, never changes.
#[derive(Clone, Debug)]
pub struct Access {
    table: Arc<AccessTable>,
    granted: Box<[usize]>,
}

impl Access {
    pub(crate) fn new(table: &Arc<AccessTable>, subject: &Subject<'_>) -> Self {
        let own = |grant: &Grant| grant.principals.contains(subject);
        let granted = table.grants.iter().enumerate().filter(|(_, grant)| own(grant)).map(|(index, _)| index).collect();
        Self { table: Arc::clone(table), granted }
    }

    /// Whether records may be written to `topic` (Kafka's WRITE).
    #[must_use]
    pub fn may_produce(&self, topic: &str) -> bool {
        self.grants().any(|grant| reaches(&grant.produce, topic))
    }

    /// Whether records may be read from `topic` (Kafka's READ).
    #[must_use]
    pub fn may_consume(&self, topic: &str) -> bool {
        self.grants().any(|grant| reaches(&grant.consume, topic))
    }

    /// Whether `topic` may be seen in Metadata and ListOffsets (Kafka's DESCRIBE): it follows from either of the others.
    #[must_use]
    pub fn may_describe(&self, topic: &str) -> bool {
        self.may_produce(topic) || self.may_consume(topic)
    }

    /// Whether some topic may be written: what Kafka asks for an idempotent producer's InitProducerId.
    #[must_use]
    pub fn may_produce_any(&self) -> bool {
        self.grants().any(|grant| !grant.produce.is_empty())
    }

    /// Whether the consumer group may be joined, committed to and its offsets read.
    #[must_use]
    pub fn may_use_group(&self, group: &str) -> bool {
        self.grants().any(|grant| grant.consumer_groups.iter().any(|pattern| pattern.matches(group)))
    }

    /// The names of the `access` entries that this subject falls under, in the policy's order.
    pub fn entry_names(&self) -> impl Iterator<Item = &str> {
        self.grants().map(|grant| grant.name.as_str())
    }

    fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.granted.iter().filter_map(|index| self.table.grants.get(*index))
    }
}

fn reaches(patterns: &[Pattern], topic: &str) -> bool {
    let internal = is_internal_topic(topic);
    patterns.iter().any(|pattern| (pattern.is_literal() || !internal) && pattern.matches(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    fn names(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn table() -> Arc<AccessTable> {
        Arc::new(AccessTable::new(vec![
            Grant {
                name: "checkout".into(),
                principals: Principals { users: vec![], groups: names(&["checkout"]) },
                produce: patterns(&["orders", "payments.*"]),
                consume: patterns(&["orders"]),
                consumer_groups: patterns(&["checkout-*"]),
            },
            Grant {
                name: "all".into(),
                principals: Principals { users: names(&["root"]), groups: names(&["readers"]) },
                consume: patterns(&["*", "/.*/", "__consumer_offsets"]),
                ..Grant::default()
            },
        ]))
    }

    fn access(id: &str, groups: &[&str]) -> Access {
        Access::new(&table(), &Subject { id, groups: &names(groups) })
    }

    #[test]
    fn denies_what_no_entry_allows() {
        let nobody = access("nobody", &["other"]);
        assert!(!nobody.may_produce("orders"));
        assert!(!nobody.may_consume("orders"));
        assert!(!nobody.may_describe("orders"));
        assert!(!nobody.may_produce_any());
        assert!(!nobody.may_use_group("checkout-1"));
        assert_eq!(nobody.entry_names().count(), 0);
    }

    #[test]
    fn allows_by_group_and_by_user() {
        let checkout = access("svc", &["x", "checkout"]);
        assert!(checkout.may_produce("payments.eu") && checkout.may_produce("orders") && checkout.may_produce_any());
        assert!(checkout.may_consume("orders") && !checkout.may_consume("payments.eu"));
        assert!(checkout.may_describe("payments.eu") && !checkout.may_describe("stock"));
        assert!(checkout.may_use_group("checkout-1") && !checkout.may_use_group("checkout"));
        let root = access("root", &[]);
        assert!(root.may_consume("stock") && !root.may_produce("stock") && !root.may_produce_any());
        assert!(!root.may_use_group("any"));
    }

    #[test]
    fn a_user_is_no_group_and_a_group_no_user() {
        assert!(!access("checkout", &[]).may_produce("orders"));
        assert!(!access("x", &["root"]).may_consume("orders"));
    }

    #[test]
    fn wildcards_never_reach_internal_topics() {
        let reader = access("x", &["readers"]);
        for (topic, expected) in
            [("__consumer_offsets", true), ("__transaction_state", false), ("_schemas", false), ("_other", true)]
        {
            assert_eq!(reader.may_consume(topic), expected, "{topic}");
        }
    }

    #[test]
    fn entries_add_up() {
        let both = access("x", &["readers", "checkout"]);
        assert!(both.may_produce("orders") && both.may_consume("stock"));
        assert_eq!(both.entry_names().collect::<Vec<_>>(), ["checkout", "all"]);
    }
}
