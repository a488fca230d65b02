//! Carrying out edits: in the payload itself when no length changes, else in one copying pass.

use std::ops::Range;

use bytes::BytesMut;

use super::edits::{Edit, Edits};
use super::error::BatchError;
use super::walk::RecordSpans;
use crate::varint::{self, Encoded};

/// What is to happen to the records of one batch.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) edits: Edits,
    touched: Vec<Touched>,
    /// A length changes or a record goes.
    resizes: bool,
    removed: u32,
    edited: u32,
}

/// A record that is edited or removed.
struct Touched {
    /// The whole record in the payload.
    span: Range<usize>,
    /// Behind the record's length.
    body: usize,
    /// Its edits; none when it is removed.
    edits: Option<Range<usize>>,
}

impl Plan {
    pub(super) fn clear(&mut self) {
        self.edits.clear();
        self.touched.clear();
        self.resizes = false;
        self.removed = 0;
        self.edited = 0;
    }

    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.clear();
        self.edits.shrink(bytes_max);
        self.touched.shrink_to(bytes_max / size_of::<Touched>());
    }

    /// Takes the edits that were just made to `record`.
    pub(super) fn edit(&mut self, record: &RecordSpans, payload: &[u8]) -> Result<(), BatchError> {
        if self.edits.is_empty() {
            return Ok(());
        }
        let closed = self.edits.close_record(record, payload)?;
        self.resizes |= !closed.keeps_lengths;
        self.edited = self.edited.saturating_add(1);
        self.touched.push(Touched { span: record.start..record.end, body: record.body, edits: Some(closed.edits) });
        Ok(())
    }

    /// Removes `record`, whatever edits were made to it.
    pub(super) fn remove(&mut self, record: &RecordSpans) {
        self.edits.drop_record();
        self.resizes = true;
        self.removed = self.removed.saturating_add(1);
        self.touched.push(Touched { span: record.start..record.end, body: record.body, edits: None });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    pub(super) fn resizes(&self) -> bool {
        self.resizes
    }

    pub(super) fn removed(&self) -> u32 {
        self.removed
    }

    pub(super) fn edited(&self) -> u32 {
        self.edited
    }

    /// Overwrites the edited bytes. Only for a plan that does not resize.
    pub(super) fn patch_in_place(&self, payload: &mut [u8]) {
        for edit in
            self.touched.iter().filter_map(|touched| touched.edits.as_ref()).flat_map(|edits| self.edits.closed(edits))
        {
            let Some(bytes) = payload.get_mut(edit.span()) else { continue };
            match self.edits.bytes(edit) {
                Ok(with) if with.len() == bytes.len() => bytes.copy_from_slice(with),
                Ok(_) => {}
                Err(fill) => bytes.fill(fill),
            }
        }
    }

    /// Appends the edited payload to `out`.
    pub(super) fn copy(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), BatchError> {
        let grown: usize = self.touched.iter().map(|touched| self.growth_max(touched)).sum();
        out.reserve(payload.len().saturating_add(grown));
        let mut copied = 0;
        for touched in &self.touched {
            out.extend_from_slice(payload.get(copied..touched.span.start).unwrap_or_default());
            if let Some(edits) = &touched.edits {
                self.copy_record(payload, touched, self.edits.closed(edits), out)?;
            }
            copied = touched.span.end;
        }
        out.extend_from_slice(payload.get(copied..).unwrap_or_default());
        Ok(())
    }

    /// Most bytes that a record can gain: those put in, and longer lengths around them.
    fn growth_max(&self, touched: &Touched) -> usize {
        let edits = touched.edits.as_ref().map(|edits| self.edits.closed(edits)).unwrap_or_default();
        edits.iter().map(|edit| edit.len().saturating_add(8)).sum()
    }

    /// Appends one edited record.
    fn copy_record(
        &self,
        payload: &[u8],
        touched: &Touched,
        edits: &[Edit],
        out: &mut BytesMut,
    ) -> Result<(), BatchError> {
        let mut length = touched.span.end - touched.body;
        for edits in edits.chunk_by(|a, b| a.field == b.field) {
            let Some(field) = EditedField::new(edits)? else { continue };
            length = length + field.new_length.as_slice().len() + field.grown;
            length = length.saturating_sub(field.old.start - field.prefix_at + field.shrunk);
        }
        out.extend_from_slice(length_prefix(length)?.as_slice());
        let mut copied = touched.body;
        for edits in edits.chunk_by(|a, b| a.field == b.field) {
            let Some(field) = EditedField::new(edits)? else { continue };
            out.extend_from_slice(payload.get(copied..field.prefix_at).unwrap_or_default());
            out.extend_from_slice(field.new_length.as_slice());
            copied = field.old.start;
            for edit in edits {
                out.extend_from_slice(payload.get(copied..edit.span().start).unwrap_or_default());
                match self.edits.bytes(edit) {
                    Ok(with) => out.extend_from_slice(with),
                    Err(fill) => out.resize(out.len() + edit.span().len(), fill),
                }
                copied = edit.span().end;
            }
        }
        out.extend_from_slice(payload.get(copied..touched.span.end).unwrap_or_default());
        Ok(())
    }
}

/// A field with edits. Lengths are minimal varints, so the old one lies right before the field, in as many bytes as it
/// needs.
struct EditedField {
    old: Range<usize>,
    prefix_at: usize,
    new_length: Encoded,
    grown: usize,
    shrunk: usize,
}

impl EditedField {
    /// `edits` are all of one field; `None` when there are none.
    fn new(edits: &[Edit]) -> Result<Option<Self>, BatchError> {
        let Some(first) = edits.first() else { return Ok(None) };
        let old = first.owner();
        let grown: usize = edits.iter().map(Edit::len).sum();
        let shrunk: usize = edits.iter().map(|edit| edit.span().len()).sum();
        let new_length = length_prefix((old.len() + grown).saturating_sub(shrunk))?;
        let prefix_at = old.start.saturating_sub(length_prefix(old.len())?.as_slice().len());
        Ok(Some(Self { old, prefix_at, new_length, grown, shrunk }))
    }
}

fn length_prefix(length: usize) -> Result<Encoded, BatchError> {
    i32::try_from(length).map(varint::encode_i32).map_err(|_| BatchError::ResultTooLarge)
}
