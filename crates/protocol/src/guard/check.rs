//! The guard's own visitor: collects the cleaning, counts elements, finds duplicates.

use std::ops::Range;

use smallvec::SmallVec;

use super::duplicates::{Duplicates, Watch};
use super::fault::Fault;
use super::walk::{ArrayPrefix, TagPrefix, Value, Visitor};
use crate::schema::{Field, Kind};
use crate::splice::{Splices, unsigned_varint};

/// What one pass over a frame collects.
#[derive(Debug)]
pub(crate) struct Check<'a> {
    /// Elements that may still come.
    entries_left: usize,
    duplicates: Option<Duplicates<'a>>,
    cleaning: Splices,
    /// Bytes that the cleaning takes out so far, in the whole frame.
    removed: usize,
    sections: SmallVec<[Section; 4]>,
    tags: SmallVec<[(TagPrefix, usize); 4]>,
}

/// A section of tagged fields that is being walked.
#[derive(Debug)]
struct Section {
    count_at: Range<usize>,
    count: u32,
    unknown: u32,
    /// Unknown tags side by side, removed as one.
    run: Option<Range<usize>>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(frame: &'a [u8], entries_max: usize, watch: Option<&'static Watch>) -> Self {
        Self {
            entries_left: entries_max,
            duplicates: watch.map(|watch| Duplicates::new(frame, watch)),
            cleaning: Splices::default(),
            removed: 0,
            sections: SmallVec::new(),
            tags: SmallVec::new(),
        }
    }

    /// What takes the unknown tags out.
    pub(crate) fn into_cleaning(self) -> Splices {
        self.cleaning
    }

    /// Takes out what stands behind the message.
    pub(crate) fn cut_tail(&mut self, tail: Range<usize>) {
        if !tail.is_empty() {
            self.take_out(tail);
        }
    }

    fn take_out(&mut self, range: Range<usize>) {
        self.removed = self.removed.saturating_add(range.len());
        self.cleaning.remove(range);
    }

    /// Writes a smaller number in the place of a varint.
    fn shrink(&mut self, at: Range<usize>, number: u32) {
        let varint = unsigned_varint(number);
        self.removed = self.removed.saturating_add(at.len().saturating_sub(varint.len()));
        self.cleaning.replace(at, varint);
    }

    fn end_run(&mut self) {
        if let Some(run) = self.sections.last_mut().and_then(|section| section.run.take()) {
            self.take_out(run);
        }
    }
}

impl Visitor for Check<'_> {
    fn value(&mut self, field: &'static Field, value: &Value<'_>) -> Result<(), Fault> {
        if let Some(duplicates) = &mut self.duplicates {
            duplicates.value(field.id, value);
        }
        Ok(())
    }

    fn array_begin(&mut self, _field: &'static Field, element: Kind, array: &ArrayPrefix) -> Result<(), Fault> {
        match element {
            // These take no more memory decoded than they do on the wire.
            Kind::Bool
            | Kind::Int8
            | Kind::Int16
            | Kind::Uint16
            | Kind::Int32
            | Kind::Int64
            | Kind::Float64
            | Kind::Uuid => Ok(()),
            Kind::String | Kind::Bytes | Kind::Records | Kind::Struct(_) | Kind::Array(_) => {
                let left = self.entries_left.checked_sub(array.count.unwrap_or(0));
                self.entries_left = left.ok_or(Fault::TooManyEntries)?;
                Ok(())
            }
        }
    }

    fn array_end(&mut self, field: &'static Field, _at: usize) -> Result<(), Fault> {
        match &mut self.duplicates {
            Some(duplicates) => duplicates.array_end(field.id),
            None => Ok(()),
        }
    }

    fn tags_begin(&mut self, count_at: Range<usize>, count: u32) {
        self.sections.push(Section { count_at, count, unknown: 0, run: None });
    }

    fn tag_begin(&mut self, _field: &'static Field, tag: &TagPrefix) {
        self.end_run();
        self.tags.push((tag.clone(), self.removed));
    }

    fn tag_end(&mut self) {
        let Some((tag, removed_before)) = self.tags.pop() else { return };
        let removed = self.removed.saturating_sub(removed_before);
        if removed > 0 {
            self.shrink(tag.size_at, tag.size.saturating_sub(u32::try_from(removed).unwrap_or(u32::MAX)));
        }
    }

    fn unknown_tag(&mut self, whole: Range<usize>) {
        if let Some(section) = self.sections.last_mut() {
            section.unknown = section.unknown.saturating_add(1);
            let from = section.run.take().map_or(whole.start, |run| run.start);
            section.run = Some(from..whole.end);
        }
    }

    fn tags_end(&mut self, _owner: Option<&'static Field>, section: Range<usize>) {
        // A section without tags never began.
        if self.sections.last().is_none_or(|open| open.count_at.start != section.start) {
            return;
        }
        self.end_run();
        if let Some(done) = self.sections.pop()
            && done.unknown > 0
        {
            self.shrink(done.count_at, done.count.saturating_sub(done.unknown));
        }
    }
}
