//! What rules select inside of a value, key or header.

use weir_protocol::records::{Edits, Field};

use super::inner::Opener;
use super::{HitAction, Inspector, Reading, Refusal, RefuseCause, SELECTED_VALUES_MAX, Scratch, first};
use super::{joint_transform, transforms};
use crate::json::{Selected, Share};
use crate::rules::{FieldAction, OnFailure};
use crate::ruleset::{Inside, RuleSet};
use crate::selected::{groups, join};
use crate::transform;

impl<'a> Inspector<'a> {
    /// Reads a key or header and makes its edits, to be handed over when nothing refuses the record. With `is_whole`, another rule
    /// transforms all of it.
    pub(super) fn decide_inside(
        &mut self,
        inside: &'a Inside,
        place: Field,
        bytes: &[u8],
        is_whole: bool,
        refusal: &mut Refusal,
    ) {
        let reading = self.read_inside(inside, place, bytes, is_whole, refusal);
        if is_whole || reading == Reading::Nothing {
            return;
        }
        let hits = self.scratch.pending.len();
        let mut edits = self.scratch.inner.take_edits();
        self.edit_fields(bytes, place, &mut edits);
        let overflows = edits.overflows();
        self.scratch.inner.put_edits(edits);
        if overflows {
            self.scratch.pending.truncate(hits);
            self.fail_all(inside, RefuseCause::TooManyValues);
            self.settle_failures(place, bytes, refusal);
        }
    }

    /// Reads the bytes with every format in which rules look into them, and asks those that refuse.
    pub(super) fn read_inside(
        &mut self,
        inside: &'a Inside,
        place: Field,
        bytes: &[u8],
        is_whole: bool,
        refusal: &mut Refusal,
    ) -> Reading {
        let (set, Scratch { json, selected, failed, pending, .. }) = (self.set, &mut *self.scratch);
        let hits = pending.len();
        selected.clear();
        failed.clear();
        let (mut may_refuse, mut too_many) = (false, false);
        let mut take = |found: Selected| {
            may_refuse |= !found.kind.is_null() && set.may_refuse(found.field);
            too_many = selected.len() >= SELECTED_VALUES_MAX;
            if !too_many {
                selected.push(found);
            }
        };
        for reading in inside.readings() {
            if let Err(cause) = reading.reader.select(bytes, set.json_depth_max(), json, &mut take) {
                failed.extend(reading.members.iter().map(|member| (*member, cause)));
            }
        }
        // Those that were left out would pass unchanged.
        if too_many {
            self.fail_all(inside, RefuseCause::TooManyValues);
        } else if inside.joins() && join(&mut self.scratch.selected).is_err() {
            self.fail_all(inside, RefuseCause::CrossingFields);
        } else if place == Field::Key {
            self.check_key();
        }
        if inside.nests() && !is_whole && self.scratch.failed.is_empty() {
            self.open_strings(bytes, place);
            if self.scratch.inner.overflows() {
                self.fail_all(inside, RefuseCause::TooManyValues);
            }
        }
        let has_failed = !self.scratch.failed.is_empty();
        if has_failed {
            self.scratch.pending.truncate(hits);
        }
        if may_refuse {
            self.blame(inside, bytes, refusal);
        }
        if has_failed {
            self.settle_failures(place, bytes, refusal);
            return Reading::Nothing;
        }
        Reading::Fields
    }

    /// Two keys that become one would be one entity to a compacted topic: only text can be hashed, and only by one key.
    fn check_key(&mut self) {
        let (set, Scratch { selected, failed, .. }) = (self.set, &mut *self.scratch);
        failed.extend(groups(selected).filter_map(|group| key_problem(set, group)));
    }

    fn open_strings(&mut self, bytes: &[u8], place: Field) {
        let Scratch { json, transform, selected, inner, failed, pending, .. } = &mut *self.scratch;
        Opener { set: self.set, json, transform, failed, pending, place }.open_all(bytes, selected, inner);
    }

    /// Finds which rules refuse the bytes, if any: where fields lie one inside the other, `$.a` and a refused `$.a.b`, they were
    /// reported together, and only a look for one at a time tells whether it is there and not null.
    fn blame(&mut self, inside: &Inside, bytes: &[u8], refusal: &mut Refusal) {
        for each in inside.refusals() {
            if self.scratch.failed.iter().any(|(member, _)| *member == each.member) {
                continue;
            }
            let Scratch { json, inner, .. } = &mut *self.scratch;
            // Most of the same bytes were read a moment ago; what cannot be read now, the rule is taken to refuse.
            if inner.finds(self.set, &each.reader, bytes, json).unwrap_or(true) {
                self.refuse(each.member, RefuseCause::Rule, refusal);
            }
        }
    }

    fn fail_all(&mut self, inside: &Inside, cause: RefuseCause) {
        self.scratch.failed.extend(inside.members().map(|member| (member, cause)));
    }

    /// Something cannot be read: one rule that refuses such records is enough, else it is withheld. A key never is: all that are
    /// withheld would be one key.
    fn settle_failures(&mut self, place: Field, bytes: &[u8], refusal: &mut Refusal) {
        let Scratch { failed, pending, inner, .. } = &mut *self.scratch;
        failed.sort_unstable_by_key(|(member, _)| *member);
        failed.dedup_by_key(|(member, _)| *member);
        let members = self.set.members();
        let refuses = |member: u16| {
            let member = members.get(usize::from(member));
            place == Field::Key || member.is_none_or(|member| member.on_failure == OnFailure::Refuse)
        };
        let is_refused = failed.iter().any(|(member, _)| refuses(*member));
        for (member, cause) in failed.iter().filter(|(member, _)| refuses(*member) == is_refused) {
            let action = if is_refused { HitAction::FailureRefuse } else { HitAction::FailureRedact };
            if !pending.contains(&(*member, action)) {
                pending.push((*member, action));
            }
            if is_refused {
                first(refusal, *member, *cause);
            }
        }
        if !is_refused {
            inner.withhold(place, bytes.len());
        }
    }

    /// Transforms what was selected, but for what is inside of strings.
    pub(super) fn edit_fields(&mut self, bytes: &[u8], place: Field, edits: &mut Edits) {
        let Scratch { selected, transform, pending, .. } = &mut *self.scratch;
        for group in groups(selected) {
            edit_group(self.set, bytes, group, place, edits, transform, pending);
        }
    }
}

/// Transforms a span that fields share as all of them want it: those that go on inside of it too. Does nothing where no field takes
/// the span itself.
pub(super) fn edit_group(
    set: &RuleSet,
    doc: &[u8],
    group: &[Selected],
    place: Field,
    edits: &mut Edits,
    memory: &mut transform::Scratch,
    pending: &mut Vec<(u16, HitAction)>,
) {
    let Some(first) = group.first() else { return };
    if !is_whole(set, group) {
        return;
    }
    let actions = group.iter().flat_map(|found| set.actions(&found.field));
    let Some(transform) = joint_transform(actions.clone()) else { return };
    // Alone with its transform: fields that meet here either agree on it, or it is `Redact`.
    let found = Selected { share: Share::Alone, ..first.clone() };
    if transform::apply(transform, doc, &found, place, edits, memory) {
        let action = HitAction::of(transform);
        pending.extend(actions.filter(|each| transforms(each)).map(|each| (each.member, action)));
    }
}

/// Whether a field transforms the span itself, and not only something in the text at it.
pub(super) fn is_whole(set: &RuleSet, group: &[Selected]) -> bool {
    group.iter().any(|found| set.path_action(found.field).is_some_and(transforms))
}

/// What forbids to hash this part of a key.
pub(super) fn key_problem(set: &RuleSet, group: &[Selected]) -> Option<(u16, RefuseCause)> {
    let kind = group.first()?.kind;
    if kind.is_null() || !is_whole(set, group) {
        return None;
    }
    let actions = || group.iter().flat_map(|found| set.actions(&found.field)).filter(|action| transforms(action));
    let member = actions().next()?.member;
    let is_joint = match joint_transform(actions()) {
        Some(joint) => actions().all(|action| match &action.action {
            FieldAction::Transform(transform) => crate::rules::same_transform(transform, joint),
            FieldAction::Refuse => true,
        }),
        None => true,
    };
    match (kind.is_text(), is_joint) {
        (true, true) => None,
        (true, false) => Some((member, RefuseCause::KeyConflict)),
        (false, _) => Some((member, RefuseCause::KeyNotText)),
    }
}
