//! Applies a set of rules to the records of one batch.
//!
//! Per record, first everything that could refuse it is asked, then what is left is edited:
//!
//! ```text
//! value ─► one pass per format, for all fields ─► a field that is refused, present and not null ──► Refuse
//!       │                                      └► spans, ascending and disjoint ─► transforms ─► Edits
//!       └► cannot be read ─► on_failure: refuse beats redact
//! key, headers ─► the same, for those that rules look into ─► Edits that are kept back until nothing refuses
//! headers, key, whole ─► refusals, then transforms
//! ```
//!
//! A null value passes (R4 of the design): there is nothing in it, and to put something there would undo a deletion. In the
//! steady state a record allocates nothing: all lists are in [`Scratch`] and keep their size.

mod findings;
mod inner;
mod inside;

use std::fmt;

use weir_protocol::records::{Edits, Field, HeaderView, Inspect, RecordView, Verdict};

use crate::json::{self, Selected};
use crate::rules::{FieldAction, same_transform};
use crate::ruleset::{Action, RuleSet};
use crate::transform::{self, Transform};

pub use findings::{Findings, HitAction, RefuseCause, RefusedRecord, RuleHit};
pub use inner::{INNER_BYTES_MAX, INNER_EDITS_MAX};

/// Memory for inspecting, to be used again: one for each thread that inspects.
#[derive(Default)]
pub struct Scratch {
    json: json::Scratch,
    transform: transform::Scratch,
    selected: Vec<Selected>,
    /// Documents in strings.
    inner: inner::Scratch,
    /// Rules that could not read something of the record at hand, and why.
    failed: Vec<(u16, RefuseCause)>,
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

/// How reading a value, key or header went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Null, or no rule reads it, or it is refused or withheld.
    Nothing,
    /// Its fields are in `selected`.
    Fields,
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

    /// Everything that can refuse the record. What is inside of keys and headers, and of strings, is edited on the way, into
    /// `scratch.inner`.
    fn decide(&mut self, record: &RecordView<'_>) -> (Reading, Refusal) {
        let mut refusal = None;
        self.scratch.inner.begin();
        for (index, header) in (0_u32..).zip(headers_to_see(self.set, record)) {
            let Some(value) = header.value else { continue };
            for (_, action) in self.set.header_actions().iter().filter(|(name, _)| **name == *header.key) {
                if matches!(action.action, FieldAction::Refuse) {
                    self.refuse(action.member, RefuseCause::Rule, &mut refusal);
                }
            }
            if let Some((_, inside)) = self.set.headers_inside().iter().find(|(name, _)| **name == *header.key) {
                let whole = self.set.header_actions().iter().filter(|(name, _)| **name == *header.key);
                let is_whole = whole.into_iter().any(|(_, action)| transforms(action));
                self.decide_inside(inside, Field::HeaderValue(index), value, is_whole, &mut refusal);
            }
        }
        if let Some(key) = record.key {
            self.decide_key(&mut refusal);
            if let Some(inside) = self.set.key_inside() {
                let is_whole = self.set.key_actions().iter().any(transforms);
                self.decide_inside(inside, Field::Key, key, is_whole, &mut refusal);
            }
        }
        let reading = match (record.value, self.set.value_inside()) {
            (Some(value), Some(inside)) => self.read_inside(inside, Field::Value, value, false, &mut refusal),
            (Some(_) | None, _) => Reading::Nothing,
        };
        (reading, refusal)
    }

    fn decide_key(&mut self, refusal: &mut Refusal) {
        let mut transforms = None;
        let inside = self.set.key_inside().into_iter().flat_map(|inside| inside.actions(self.set));
        // A hash of the whole key and one of a part of it: which is done shows in the key, so they must be the same too.
        let is_whole = !self.set.key_actions().is_empty();
        for action in self.set.key_actions().iter().chain(inside.filter(|_| is_whole)) {
            match &action.action {
                FieldAction::Refuse => {}
                FieldAction::Transform(transform) => match transforms {
                    None => transforms = Some(transform),
                    Some(earlier) if same_transform(earlier, transform) => {}
                    Some(_) => self.refuse(action.member, RefuseCause::KeyConflict, refusal),
                },
            }
        }
        for action in self.set.key_actions().iter().filter(|action| matches!(action.action, FieldAction::Refuse)) {
            self.refuse(action.member, RefuseCause::Rule, refusal);
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
        let set = self.set;
        if let Some(key) = record.key {
            self.edit_whole(set.key_actions().iter(), key, Field::Key, edits);
        }
        if let (Some(value), Reading::Fields) = (record.value, reading) {
            self.edit_fields(value, Field::Value, edits);
        }
        for (index, header) in (0_u32..).zip(headers_to_see(set, record)) {
            let Some(value) = header.value else { continue };
            let named = set.header_actions().iter().filter(|(name, _)| **name == *header.key);
            let inside = set.headers_inside().iter().filter(|(name, _)| **name == *header.key);
            let inside = inside.flat_map(|(_, inside)| inside.actions(set));
            let whole = named.clone().map(|(_, action)| action);
            // A rule that transforms the header whole takes what others select inside of it.
            let inside = inside.filter(|_| named.clone().any(|(_, action)| transforms(action)));
            self.edit_whole(whole.chain(inside), value, Field::HeaderValue(index), edits);
        }
        self.scratch.inner.hand_over(edits);
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
    let count = if set.looks_at_headers() { usize::MAX } else { 0 };
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

/// Most values that rules may select in one value, key or header; one with more counts as one that cannot be read. Some 25 MB of
/// them: a document of nothing but small values must not cost many times its own size.
pub const SELECTED_VALUES_MAX: usize = 1_000_000;

/// What the selected values of one document, and the documents in its strings, take at most, bytes. A vector grows by doubling.
pub const SELECTION_BYTES_MAX: usize =
    SELECTED_VALUES_MAX.next_power_of_two() * size_of::<Selected>() + inner::MEMORY_BYTES_MAX;
