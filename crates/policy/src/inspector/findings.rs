//! What an inspection found.

use crate::json::JsonError;
use crate::rules::RuleId;
use crate::transform::Transform;

/// What a rule did to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HitAction {
    /// A field was masked.
    Mask,
    /// A field was redacted, by its transform or because different transforms met on it.
    Redact,
    /// A field was hashed.
    Hash,
    /// The record was refused for what is in it.
    Refuse,
    /// The value could not be read and was replaced whole.
    FailureRedact,
    /// The value could not be read and the record was refused.
    FailureRefuse,
}

impl HitAction {
    /// How many actions there are.
    pub(super) const COUNT: usize = 6;

    pub(super) const ALL: [Self; Self::COUNT] =
        [Self::Mask, Self::Redact, Self::Hash, Self::Refuse, Self::FailureRedact, Self::FailureRefuse];

    /// The stable word for logs, metrics and audit entries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Redact => "redact",
            Self::Hash => "hash",
            Self::Refuse => "refuse",
            Self::FailureRedact => "failure_redact",
            Self::FailureRefuse => "failure_refuse",
        }
    }

    /// Whether it refuses the record.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Refuse | Self::FailureRefuse => true,
            Self::Mask | Self::Redact | Self::Hash | Self::FailureRedact => false,
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Mask => 0,
            Self::Redact => 1,
            Self::Hash => 2,
            Self::Refuse => 3,
            Self::FailureRedact => 4,
            Self::FailureRefuse => 5,
        }
    }

    pub(super) const fn of(transform: &Transform) -> Self {
        match transform {
            Transform::Redact => Self::Redact,
            Transform::Mask { .. } => Self::Mask,
            Transform::Hash(_) => Self::Hash,
        }
    }
}

/// How often a rule did something in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleHit {
    /// The rule; [`RuleSet::rule_name`](crate::RuleSet::rule_name) names it.
    pub rule: RuleId,
    /// What it did.
    pub action: HitAction,
    /// How many fields it changed; for refusals and failures, how many records.
    pub count: u64,
}

/// Why a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefuseCause {
    /// A field that the rule refuses is present and not null.
    Rule,
    /// What is to be read as JSON is not well-formed, or empty.
    NotJson,
    /// It is nested deeper than `json_depth_max`.
    TooDeep,
    /// What is to be read as a table is not well-formed.
    NotTable,
    /// A record of a table has not the columns that the rule says or needs.
    WrongColumns,
    /// What is to be read as text with pairs is not text, or can be read in two ways.
    NotText,
    /// The rules select more values in it than [`SELECTED_VALUES_MAX`](super::SELECTED_VALUES_MAX), or change more of them inside of
    /// strings, keys and headers than [`INNER_EDITS_MAX`](super::INNER_EDITS_MAX).
    TooManyValues,
    /// A document in a string is longer than [`INNER_BYTES_MAX`](super::INNER_BYTES_MAX).
    TooLarge,
    /// Rules of different formats select spans that overlap in part.
    CrossingFields,
    /// A rule hashes a part of the record key that is no text: different numbers would become one.
    KeyNotText,
    /// Two rules want the record key hashed with different keys. Redacting, which is what happens to other spans, would make
    /// different keys one.
    KeyConflict,
}

impl RefuseCause {
    /// The stable word for logs and audit entries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::NotJson => "not_json",
            Self::TooDeep => "too_deep",
            Self::NotTable => "not_table",
            Self::WrongColumns => "wrong_columns",
            Self::NotText => "not_text",
            Self::TooManyValues => "too_many_values",
            Self::TooLarge => "too_large",
            Self::CrossingFields => "crossing_fields",
            Self::KeyNotText => "key_not_text",
            Self::KeyConflict => "key_conflict",
        }
    }
}

/// A record that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Its place in the batch, from 0.
    pub index: u32,
    /// The first rule, in the policy's order, that refused it.
    pub rule: RuleId,
    /// Why.
    pub cause: RefuseCause,
}

/// What the inspection of a batch, or of several that follow each other, found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What each rule did, by rule and action; no zeros. A refused record counts only its refusals.
    pub hits: Vec<RuleHit>,
    /// The refused records, in order.
    pub refused: Vec<RefusedRecord>,
}

impl From<JsonError> for RefuseCause {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooDeep { .. } => Self::TooDeep,
            JsonError::Empty
            | JsonError::Malformed { .. }
            | JsonError::NotUtf8 { .. }
            | JsonError::NumberOutOfRange { .. } => Self::NotJson,
        }
    }
}
