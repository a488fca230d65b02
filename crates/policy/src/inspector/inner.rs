//! Documents in strings of documents.
//!
//! ```text
//! {"id":7,"payload":"{\"ssn\":\"078-05-1120\"}"}      the document
//!                    └──────── unescaped ───────┐
//!                     {"ssn":"078-05-1120"}          a level's own bytes: selected and edited as any document
//!                             └─────┬─────┘
//!                    {\"ssn\":\"***********\"}        the edit, in the places and the spelling of the document around it
//! ```
//!
//! Only the edits go outwards, each escaped once for each string that it is in: whatever lies between them keeps its bytes, however
//! they are spelled.

use std::ops::Range;

use weir_protocol::records::{Edits, Field, Replacement};

use super::inside::{edit_group, is_whole, key_problem};
use super::{HitAction, RefuseCause};
use crate::formats::Reader;
use crate::json::{self, JsonKind, Kind, Route, Selected, text};
use crate::ruleset::{InnerDocument, PLACEHOLDER, RuleSet};
use crate::selected::{groups, join};
use crate::transform;

/// Memory for documents in strings, and the edits of a record that are made before it is sure that nothing refuses it.
pub(super) struct Scratch {
    levels: Vec<Level>,
    edits: Edits,
    looked: Vec<Selected>,
    /// What is to be replaced whole, and how long it is.
    withheld: Vec<(Field, usize)>,
}

/// One document in a string.
struct Level {
    doc: Vec<u8>,
    found: Vec<Selected>,
    edits: Edits,
    escaped: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        let level = || Level { doc: Vec::new(), found: Vec::new(), edits: few_edits(), escaped: Vec::new() };
        let levels = (0..Route::NESTING_MAX).map(|_| level()).collect();
        Self { levels, edits: few_edits(), looked: Vec::new(), withheld: Vec::new() }
    }
}

fn few_edits() -> Edits {
    Edits::limited(INNER_EDITS_MAX, INNER_EDITS_BYTES_MAX)
}

impl Scratch {
    /// Begins a record.
    pub(super) fn begin(&mut self) {
        self.edits.clear();
        self.withheld.clear();
    }

    /// Replaces all of a value or header, whatever edits it has.
    pub(super) fn withhold(&mut self, place: Field, length: usize) {
        self.withheld.push((place, length));
    }

    pub(super) fn take_edits(&mut self) -> Edits {
        std::mem::take(&mut self.edits)
    }

    pub(super) fn put_edits(&mut self, edits: Edits) {
        self.edits = edits;
    }

    /// There were more edits than there is room for.
    pub(super) fn overflows(&self) -> bool {
        self.edits.overflows()
    }

    /// Ends a record that nothing refuses.
    pub(super) fn hand_over(&mut self, edits: &mut Edits) {
        if self.edits.overflows() {
            return spoil(edits, Field::Value);
        }
        for (place, length) in &self.withheld {
            edits.replace(*place, 0..*length, PLACEHOLDER.as_bytes());
        }
        let is_withheld = |place: Field| self.withheld.iter().any(|(withheld, _)| *withheld == place);
        for edit in self.edits.iter().filter(|edit| !is_withheld(edit.field)) {
            match edit.with {
                Replacement::Bytes(with) => edits.replace(edit.field, edit.span, with),
                Replacement::Fill(fill) => edits.mask(edit.field, edit.span, fill),
            }
        }
    }

    /// Whether what the reader's one field selects is there and not null.
    pub(super) fn finds(
        &mut self,
        set: &RuleSet,
        reader: &Reader,
        bytes: &[u8],
        json: &mut json::Scratch,
    ) -> Result<bool, RefuseCause> {
        let Self { levels, looked, .. } = self;
        looked.clear();
        let (mut is_present, mut too_many) = (false, false);
        let mut look = |found: Selected| match set.inner(found.field) {
            None => is_present |= !found.kind.is_null(),
            Some(_) if looked.len() < INNER_EDITS_MAX => looked.push(found),
            Some(_) => too_many = true,
        };
        reader.select(bytes, set.json_depth_max(), json, &mut look)?;
        if too_many {
            return Err(RefuseCause::TooManyValues);
        }
        for found in looked.iter() {
            is_present |= is_there(set, bytes, found, levels, json)?;
        }
        Ok(is_present)
    }
}

/// Whether what was found, or what is selected inside of it, is there and not null. At most [`Route::NESTING_MAX`] calls deep.
fn is_there(
    set: &RuleSet,
    doc: &[u8],
    found: &Selected,
    levels: &mut [Level],
    json: &mut json::Scratch,
) -> Result<bool, RefuseCause> {
    let Some(inner) = set.inner(found.field) else { return Ok(!found.kind.is_null()) };
    let Some((level, deeper)) = levels.split_first_mut() else { return Err(RefuseCause::TooDeep) };
    if level.read(set, doc, found, std::iter::once(inner), json)?.is_none() {
        return Ok(false);
    }
    for each in &level.found {
        if is_there(set, &level.doc, each, deeper, json)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens strings, and edits what is selected in the documents in them.
pub(super) struct Opener<'a> {
    pub(super) set: &'a RuleSet,
    pub(super) json: &'a mut json::Scratch,
    pub(super) transform: &'a mut transform::Scratch,
    pub(super) failed: &'a mut Vec<(u16, RefuseCause)>,
    pub(super) pending: &'a mut Vec<(u16, HitAction)>,
    pub(super) place: Field,
}

impl Opener<'_> {
    /// Opens every string among what was found in `doc`.
    pub(super) fn open_all(mut self, doc: &[u8], found: &[Selected], scratch: &mut Scratch) {
        for group in groups(found) {
            self.open(doc, group, &mut scratch.levels, &mut scratch.edits);
        }
    }

    /// Opens the string that fields go on in, unless another field transforms it whole. At most [`Route::NESTING_MAX`] calls deep.
    fn open(&mut self, doc: &[u8], group: &[Selected], levels: &mut [Level], edits: &mut Edits) {
        let set = self.set;
        let inner = || group.iter().filter_map(|found| set.inner(found.field));
        let Some(found) = group.first().filter(|_| inner().next().is_some()) else { return };
        if is_whole(set, group) {
            return;
        }
        let Err(cause) = self.try_open(doc, found, inner(), levels, edits) else { return };
        for member in inner().flat_map(|inner| set.members_of(&inner.fields)) {
            if !self.failed.contains(&(member, cause)) {
                self.failed.push((member, cause));
            }
        }
    }

    fn try_open<'r>(
        &mut self,
        doc: &[u8],
        found: &Selected,
        inner: impl Iterator<Item = &'r InnerDocument>,
        levels: &mut [Level],
        edits: &mut Edits,
    ) -> Result<(), RefuseCause> {
        let Some((level, deeper)) = levels.split_first_mut() else { return Err(RefuseCause::TooDeep) };
        let Some(inside) = level.read(self.set, doc, found, inner, self.json)? else { return Ok(()) };
        level.edits.clear();
        for group in groups(&level.found) {
            if self.place == Field::Key {
                self.failed.extend(key_problem(self.set, group));
            }
            edit_group(self.set, &level.doc, group, self.place, &mut level.edits, self.transform, self.pending);
            self.open(&level.doc, group, deeper, &mut level.edits);
        }
        if level.edits.overflows() {
            return Err(RefuseCause::TooManyValues);
        }
        let raw = doc.get(inside.clone()).unwrap_or_default();
        send_outwards(&level.edits, raw, inside.start, self.place, &mut level.escaped, edits);
        Ok(())
    }
}

impl Level {
    /// Reads the document in the string `found` of `doc`; gives the string's inside, or none where null stands instead.
    fn read<'r>(
        &mut self,
        set: &RuleSet,
        doc: &[u8],
        found: &Selected,
        inner: impl Iterator<Item = &'r InnerDocument>,
        json: &mut json::Scratch,
    ) -> Result<Option<Range<usize>>, RefuseCause> {
        match found.kind {
            Kind::Json(JsonKind::Null) => return Ok(None),
            Kind::Json(JsonKind::String) => {}
            Kind::Json(_) | Kind::Plain | Kind::Quoted => return Err(RefuseCause::NotJson),
        }
        let inside = found.span.start.saturating_add(1)..found.span.end.saturating_sub(1);
        let raw = doc.get(inside.clone()).ok_or(RefuseCause::NotJson)?;
        if raw.len() > INNER_BYTES_MAX {
            return Err(RefuseCause::TooLarge);
        }
        let Self { doc, found: all, .. } = self;
        doc.clear();
        doc.reserve_exact(raw.len());
        text::decode_into(raw, doc);
        all.clear();
        let mut too_many = false;
        let mut take = |mut each: Selected| {
            each.depth = each.depth.saturating_add(found.depth);
            too_many = all.len() >= INNER_EDITS_MAX;
            if !too_many {
                all.push(each);
            }
        };
        // The limit holds for all documents together.
        let open = usize::try_from(found.depth).unwrap_or(usize::MAX);
        let depth_max = set.json_depth_max().saturating_sub(open);
        for inner in inner {
            json::select(doc, &inner.trie, depth_max, json, &mut take)?;
        }
        if too_many {
            return Err(RefuseCause::TooManyValues);
        }
        join(all).map_err(|_| RefuseCause::CrossingFields)?;
        Ok(Some(inside))
    }
}

/// Gives the edits of a document to the one around it, in which the inside of its string is `raw` and begins at `base`.
fn send_outwards(inner: &Edits, raw: &[u8], base: usize, place: Field, escaped: &mut Vec<u8>, outer: &mut Edits) {
    let mut places = text::Places::new(raw);
    for edit in inner.iter() {
        let (Some(start), Some(end)) = (places.raw(edit.span.start), places.raw(edit.span.end)) else {
            return spoil(outer, place);
        };
        let span = base + start..base + end;
        escaped.clear();
        match edit.with {
            Replacement::Fill(fill) if span.len() == edit.span.len() => {
                outer.mask(place, span, fill);
                continue;
            }
            Replacement::Fill(fill) => escaped.resize(edit.span.len(), fill),
            Replacement::Bytes(with) => text::encode_into(with, escaped),
        }
        outer.replace(place, span, escaped);
    }
}

/// Adds an edit that no field can hold. It makes the batch fail, so that nothing passes as if it were done.
fn spoil(edits: &mut Edits, place: Field) {
    edits.replace(place, usize::MAX..usize::MAX, &[]);
}

/// The longest text of a string that is opened as a document, in bytes. Four times what Kafka lets through as a whole batch, unless
/// it is told otherwise.
pub const INNER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most edits of one record inside of strings, keys and headers, and most values that are selected in a document in a string: they
/// are kept twice, so there are fewer than of others.
pub const INNER_EDITS_MAX: usize = 64 * 1024;

/// Most bytes that these edits put in place: sixteen for each.
const INNER_EDITS_BYTES_MAX: usize = 1024 * 1024;

/// What all of this takes at most, bytes: a document, edits and values for each level, and edits and values besides. Vectors grow by
/// doubling.
pub(super) const MEMORY_BYTES_MAX: usize = {
    let values = INNER_EDITS_MAX * size_of::<Selected>();
    let edits = INNER_EDITS_MAX * EDIT_BYTES + 2 * INNER_EDITS_BYTES_MAX;
    Route::NESTING_MAX * (INNER_BYTES_MAX + values + edits + INNER_EDITS_BYTES_MAX) + values + edits
};

/// What one of [`Edits`] takes, or a little more.
const EDIT_BYTES: usize = 40;
