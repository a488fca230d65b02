//! Applies a set of rules to the records of one batch.
//!
//! Per record, first everything that could refuse it is asked, then what is left is edited:
//!
//! ```text
//! value ─► one pass for all fields ─► a field that is refused, present and not null ──► Refuse
//!       │                          └► spans, ascending and disjoint ─► transforms ─► Edits
//!       └► cannot be read ─► on_failure: refuse beats redact
//! headers, key ─► refusals, then transforms
//! ```
//!
//! A null value passes (R4 of the design): there is nothing in it, and to put something there would undo a deletion. In the
//! steady state a record allocates nothing: all lists are in [`Scratch`] and keep their size.

use std::fmt;

use weir_protocol::records::{Edits, Field, HeaderView, Inspect, RecordView, Verdict};

use crate::json::{self, JsonError, JsonKind, Selected, Share};
use crate::rules::{FieldAction, OnFailure, RuleId, same_transform};
use crate::ruleset::{Action, PLACEHOLDER, RuleSet};
use crate::transform::{self, Transform};

/// Memory for inspecting, to be used again: one for each thread that inspects.
#[derive(Default)]
pub struct Scratch {
    json: json::Scratch,
    transform: transform::Scratch,
    selected: Vec<Selected>,
    /// Hits of the record at hand: they count only if it is not refused after all.
    pending: Vec<(u16, HitAction)>,
    /// Hits of the batch, [`HitAction::COUNT`] numbers for each member of the set.
    counts: Vec<u64>,
    refused: Vec<RefusedRecord>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("selected", &self.selected.capacity()).finish_non_exhaustive()
    }
}

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
    const COUNT: usize = 6;

    const ALL: [Self; Self::COUNT] =
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

    const fn index(self) -> usize {
        match self {
            Self::Mask => 0,
            Self::Redact => 1,
            Self::Hash => 2,
            Self::Refuse => 3,
            Self::FailureRedact => 4,
            Self::FailureRefuse => 5,
        }
    }

    const fn of(transform: &Transform) -> Self {
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
    /// The rule; [`RuleSet::rule_name`] names it.
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
    /// The value is not well-formed JSON, or empty.
    NotJson,
    /// The value is nested deeper than `json_depth_max`.
    TooDeep,
    /// The rules select more values in it than [`SELECTED_VALUES_MAX`].
    TooManyValues,
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
            Self::TooManyValues => "too_many_values",
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

/// Inspects the records of a batch by a [`RuleSet`].
pub struct Inspector<'a> {
    set: &'a RuleSet,
    scratch: &'a mut Scratch,
}

impl RuleSet {
    /// Begins the inspection of a batch.
    pub fn inspector<'a>(&'a self, scratch: &'a mut Scratch) -> Inspector<'a> {
        Inspector::new(self, scratch)
    }
}

impl fmt::Debug for Inspector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("rules", &self.set.members().len()).finish_non_exhaustive()
    }
}

/// How reading the value went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Null, or no rule reads it.
    Nothing,
    /// Its fields are in `selected`.
    Fields,
    /// It is to be replaced whole.
    Withhold,
}

/// The first refusal of a record, by the rule's order.
type Refusal = Option<(u16, RefuseCause)>;

impl<'a> Inspector<'a> {
    pub(crate) fn new(set: &'a RuleSet, scratch: &'a mut Scratch) -> Self {
        scratch.counts.clear();
        scratch.counts.resize(set.members().len() * HitAction::COUNT, 0);
        scratch.pending.clear();
        scratch.refused.clear();
        Self { set, scratch }
    }

    /// Ends the inspection.
    #[must_use]
    pub fn finish(self) -> Findings {
        let mut hits = Vec::new();
        for (member, counts) in self.set.members().iter().zip(self.scratch.counts.chunks_exact(HitAction::COUNT)) {
            let actions = HitAction::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0);
            hits.extend(actions.map(|(action, count)| RuleHit { rule: member.id, action, count: *count }));
        }
        Findings { hits, refused: std::mem::take(&mut self.scratch.refused) }
    }

    /// Everything that can refuse the record.
    fn decide(&mut self, record: &RecordView<'_>) -> (Reading, Refusal) {
        let mut refusal = None;
        let reading = match record.value {
            Some(value) if self.set.reads_json() => self.read_value(value, &mut refusal),
            Some(_) | None => Reading::Nothing,
        };
        for header in headers_to_see(self.set, record) {
            for (_, action) in self.set.header_actions().iter().filter(|(name, _)| **name == *header.key) {
                if matches!(action.action, FieldAction::Refuse) && header.value.is_some() {
                    self.refuse(action.member, RefuseCause::Rule, &mut refusal);
                }
            }
        }
        if record.key.is_some() {
            self.decide_key(&mut refusal);
        }
        (reading, refusal)
    }

    fn read_value(&mut self, value: &[u8], refusal: &mut Refusal) -> Reading {
        let (set, Scratch { json, selected, .. }) = (self.set, &mut *self.scratch);
        selected.clear();
        let (mut may_refuse, mut too_many) = (false, false);
        let mut take = |found: Selected| {
            let refuses = |action: &Action| matches!(action.action, FieldAction::Refuse);
            may_refuse |= found.kind != JsonKind::Null && set.path_action(found.field).is_some_and(refuses);
            too_many = selected.len() >= SELECTED_VALUES_MAX;
            if !too_many {
                selected.push(found);
            }
        };
        if let Err(error) = json::select(value, set.trie(), set.json_depth_max(), json, &mut take) {
            return self.fail(cause_of(error), refusal);
        }
        // Those that were left out would pass unchanged.
        if too_many {
            return self.fail(RefuseCause::TooManyValues, refusal);
        }
        if may_refuse {
            self.blame(value, refusal);
        }
        Reading::Fields
    }

    /// Finds which rules refuse the value, if any: where fields lie one inside the other, `$.a` and a refused `$.a.b`, they were
    /// reported together, and only a look for one at a time tells whether it is there and not null.
    fn blame(&mut self, value: &[u8], refusal: &mut Refusal) {
        let set = self.set;
        for (member, trie) in set.refusals() {
            let mut is_present = false;
            let mut look = |found: Selected| is_present |= found.kind != JsonKind::Null;
            let depth_max = set.json_depth_max();
            // The same bytes were read a moment ago; should it fail nonetheless, the rule is taken to refuse.
            let read = json::select(value, trie, depth_max, &mut self.scratch.json, &mut look);
            if is_present || read.is_err() {
                self.refuse(*member, RefuseCause::Rule, refusal);
            }
        }
    }

    /// The value cannot be read: one rule that refuses such records is enough, else the value is withheld.
    fn fail(&mut self, cause: RefuseCause, refusal: &mut Refusal) -> Reading {
        let set = self.set;
        let members = || (0_u16..).zip(set.members());
        let refuses = set.members().iter().any(|member| member.on_failure == Some(OnFailure::Refuse));
        for (index, member) in members() {
            match member.on_failure {
                Some(OnFailure::Refuse) => {
                    first(refusal, index, cause);
                    self.scratch.pending.push((index, HitAction::FailureRefuse));
                }
                Some(OnFailure::Redact) if !refuses => {
                    self.scratch.pending.push((index, HitAction::FailureRedact));
                }
                Some(OnFailure::Redact) | None => {}
            }
        }
        if refuses { Reading::Nothing } else { Reading::Withhold }
    }

    fn decide_key(&mut self, refusal: &mut Refusal) {
        let mut transforms = None;
        for action in self.set.key_actions() {
            match &action.action {
                FieldAction::Refuse => self.refuse(action.member, RefuseCause::Rule, refusal),
                FieldAction::Transform(transform) => match transforms {
                    None => transforms = Some(transform),
                    Some(earlier) if same_transform(earlier, transform) => {}
                    Some(_) => self.refuse(action.member, RefuseCause::KeyConflict, refusal),
                },
            }
        }
    }

    fn refuse(&mut self, member: u16, cause: RefuseCause, refusal: &mut Refusal) {
        first(refusal, member, cause);
        if !self.scratch.pending.contains(&(member, HitAction::Refuse)) {
            self.scratch.pending.push((member, HitAction::Refuse));
        }
    }

    /// Everything that changes the record.
    fn edit(&mut self, record: &RecordView<'_>, reading: Reading, edits: &mut Edits) {
        if let Some(key) = record.key {
            let actions = self.set.key_actions().iter();
            self.edit_whole(actions, key, Field::Key, edits);
        }
        match (record.value, reading) {
            (Some(value), Reading::Fields) => self.edit_fields(value, edits),
            (Some(value), Reading::Withhold) => edits.replace(Field::Value, 0..value.len(), PLACEHOLDER.as_bytes()),
            (Some(_), Reading::Nothing) | (None, _) => {}
        }
        let set = self.set;
        for (index, header) in (0_u32..).zip(headers_to_see(set, record)) {
            let Some(value) = header.value else { continue };
            let named = set.header_actions().iter().filter(|(name, _)| **name == *header.key);
            self.edit_whole(named.map(|(_, action)| action), value, Field::HeaderValue(index), edits);
        }
    }

    fn edit_fields(&mut self, value: &[u8], edits: &mut Edits) {
        let Scratch { selected, transform: memory, pending, .. } = &mut *self.scratch;
        let mut rest = selected.as_slice();
        while let Some((first, behind)) = rest.split_first() {
            let further = match first.share {
                Share::Alone => 0,
                Share::First | Share::Further => behind.iter().take_while(|next| next.share == Share::Further).count(),
            };
            let (group, next) = rest.split_at_checked(1 + further).unwrap_or((rest, &[]));
            rest = next;
            let actions = group.iter().filter_map(|found| self.set.path_action(found.field));
            let Some(transform) = joint_transform(actions.clone()) else { continue };
            // Alone with its transform: fields that meet here either agree on it, or it is `Redact`.
            let found = Selected { share: Share::Alone, ..first.clone() };
            if transform::apply(transform, value, &found, Field::Value, edits, memory) {
                let action = HitAction::of(transform);
                pending.extend(actions.filter(|each| transforms(each)).map(|each| (each.member, action)));
            }
        }
    }

    fn edit_whole<'r>(
        &mut self,
        actions: impl Iterator<Item = &'r Action> + Clone,
        bytes: &[u8],
        field: Field,
        edits: &mut Edits,
    ) {
        let Some(transform) = joint_transform(actions.clone()) else { return };
        if transform::apply_bytes(transform, bytes, field, edits, &mut self.scratch.transform) {
            let action = HitAction::of(transform);
            self.scratch.pending.extend(actions.filter(|each| transforms(each)).map(|each| (each.member, action)));
        }
    }

    /// Adds the hits of the record to those of the batch.
    fn settle(&mut self, is_refused: bool) {
        let Scratch { pending, counts, .. } = &mut *self.scratch;
        for (member, action) in pending.drain(..) {
            if action.is_refusal() == is_refused
                && let Some(count) = counts.get_mut(usize::from(member) * HitAction::COUNT + action.index())
            {
                *count = count.saturating_add(1);
            }
        }
    }
}

impl Inspect for Inspector<'_> {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        let (reading, refusal) = self.decide(record);
        if let Some((member, cause)) = refusal {
            if let Some(member) = self.set.members().get(usize::from(member)) {
                self.scratch.refused.push(RefusedRecord { index: record.index, rule: member.id, cause });
            }
            self.settle(true);
            return Verdict::Refuse;
        }
        self.edit(record, reading, edits);
        self.settle(false);
        Verdict::Keep
    }
}

/// The headers, unless no rule looks at one.
fn headers_to_see<'r>(set: &RuleSet, record: &RecordView<'r>) -> impl Iterator<Item = HeaderView<'r>> + use<'r> {
    let count = if set.header_actions().is_empty() { 0 } else { usize::MAX };
    record.headers.iter().take(count)
}

/// The transform for a span that these actions meet on: theirs where they agree, else [`Transform::Redact`]. None where nobody
/// transforms.
fn joint_transform<'r>(actions: impl Iterator<Item = &'r Action>) -> Option<&'r Transform> {
    let mut joint: Option<&Transform> = None;
    for action in actions {
        match (&action.action, joint) {
            (FieldAction::Transform(transform), None) => joint = Some(transform),
            (FieldAction::Transform(transform), Some(other)) if !same_transform(transform, other) => {
                return Some(&Transform::Redact);
            }
            (FieldAction::Transform(_) | FieldAction::Refuse, _) => {}
        }
    }
    joint
}

fn transforms(action: &Action) -> bool {
    matches!(action.action, FieldAction::Transform(_))
}

/// Keeps the refusal whose rule comes first in the policy.
fn first(refusal: &mut Refusal, member: u16, cause: RefuseCause) {
    if refusal.is_none_or(|(earlier, _)| member < earlier) {
        *refusal = Some((member, cause));
    }
}

/// Most values that rules may select in one document; a value with more counts as one that cannot be read. Some 25 MB of them: a
/// document of nothing but small values must not cost many times its own size.
pub const SELECTED_VALUES_MAX: usize = 1_000_000;

/// What the selected values of one document take at most, bytes. A vector grows by doubling.
pub const SELECTION_BYTES_MAX: usize = SELECTED_VALUES_MAX.next_power_of_two() * size_of::<Selected>();

fn cause_of(error: JsonError) -> RefuseCause {
    match error {
        JsonError::TooDeep { .. } => RefuseCause::TooDeep,
        JsonError::Empty
        | JsonError::Malformed { .. }
        | JsonError::NotUtf8 { .. }
        | JsonError::NumberOutOfRange { .. } => RefuseCause::NotJson,
    }
}
