//! Rules as they are held: which topics, directions and subjects each is for, and what it does to which fields.

mod check;
mod compile;

use std::sync::Arc;

use weir_yaml::Place;

use crate::access::{Principals, Subject};
use crate::formats::Part;
use crate::pattern::Pattern;
use crate::transform::Transform;

pub(crate) use compile::compile;

/// The way of a record through weir.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a client to the broker.
    Produce,
    /// From the broker to a client.
    Consume,
}

impl Direction {
    /// The word that policies use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Consume => "consume",
        }
    }
}

/// A rule's place in its policy set, counted from 0 in the order of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u16);

impl RuleId {
    /// The id as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What happens to a record in which a rule must read something and cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// The record is refused. The default.
    Refuse,
    /// The whole value or header is replaced by a placeholder.
    Redact,
}

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) place: Place,
    pub(crate) topics: Vec<Pattern>,
    pub(crate) directions: Vec<Direction>,
    pub(crate) unless: Option<Principals>,
    pub(crate) on_failure: OnFailure,
    pub(crate) fields: Vec<Field>,
}

/// One field of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) place: Place,
    pub(crate) target: FieldTarget,
    pub(crate) action: FieldAction,
}

/// What of a record a field names.
#[derive(Clone, Debug)]
pub(crate) enum FieldTarget {
    /// Something inside of a value, key or header.
    Inside(Location, Part),
    /// The value of every header of this name, byte by byte as Kafka compares names.
    Header(Box<[u8]>),
    /// The whole record key.
    Key,
}

/// Where in a record a field looks for its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the record's value.
    Value,
    /// In the value of every header of this name.
    Header(Box<[u8]>),
    /// In the record key.
    Key,
}

/// What happens to what a field names, where it is present and not null.
#[derive(Clone, Debug)]
pub(crate) enum FieldAction {
    Transform(Transform),
    /// The record is refused.
    Refuse,
}

impl Rule {
    /// Whether the rule is for this topic and direction. A wildcard of a rule reaches internal topics too: unlike access, where
    /// more matches mean more rights, here they mean more protection.
    pub(crate) fn is_for(&self, topic: &str, direction: Direction) -> bool {
        self.directions.contains(&direction) && self.topics.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether `unless` takes the subject out.
    pub(crate) fn exempts(&self, subject: &Subject<'_>) -> bool {
        self.unless.as_ref().is_some_and(|principals| principals.contains(subject))
    }
}

/// Whether two transforms do the same, so that to meet on one span does no harm.
pub(crate) fn same_transform(left: &Transform, right: &Transform) -> bool {
    match (left, right) {
        (Transform::Redact, Transform::Redact) => true,
        (Transform::Mask { keep_first: a, keep_last: b }, Transform::Mask { keep_first: c, keep_last: d }) => {
            a == c && b == d
        }
        (Transform::Hash(a), Transform::Hash(b)) => Arc::ptr_eq(a, b) || a.id() == b.id(),
        (Transform::Redact | Transform::Mask { .. } | Transform::Hash(_), _) => false,
    }
}

/// The most rules in a policy set: a rule's id has 16 bits, and each topic seen costs one bit per rule.
pub(crate) const RULES_MAX: usize = 4096;

/// The most fields in all rules of a policy set, well under the 16 bits of a field id.
pub(crate) const FIELDS_MAX: usize = 16_384;

/// The most documents in strings that the paths of a policy set go through, half of the ids that are left for them: each has one for
/// its field beside others, and one for its field alone.
pub(crate) const INNER_DOCUMENTS_MAX: usize = 16_384;
