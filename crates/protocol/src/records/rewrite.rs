//! From the bytes of a partition to its edited bytes, for Produce and for Fetch.

use bytes::Bytes;

use super::batch::{
    BatchInfo, Frame, HEADER_BYTES, Header, frame, offsets, produce_header, put_empty, seal, seal_anew,
};
use super::codec::Effort;
use super::compression::Codec;
use super::digest::Digest;
use super::error::BatchError;
use super::patch::Plan;
use super::scratch::Scratch;
use super::walk::{RecordSpans, Walk};
use super::{Inspect, Limits, Options, Verdict};

/// Bytes of a transaction marker's key: version and type (`ControlRecordType`).
const CONTROL_KEY_BYTES: usize = 4;

/// Most bytes of a transaction marker's value. `EndTxnMarker` has six; the rest is for versions to come, and still too
/// little to carry data past inspection.
const CONTROL_VALUE_BYTES_MAX: usize = 64;

/// What became of a partition's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: they leave as they came.
    None,
    /// They were edited where they are.
    InPlace,
    /// These bytes take their place.
    Replaced(Bytes),
}

/// What [`rewrite_produce`] did.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The batch to forward. [`Change::None`] when a record was refused.
    pub change: Change,
    /// The header, as received.
    pub info: BatchInfo,
    /// Places of refused records. When there are any, the partition must be refused: nothing was edited.
    pub refused: Vec<u32>,
    /// Digest of what is to be stored; none without a key or with refused records.
    pub digest: Option<[u8; 32]>,
    /// Size of the batch as received, in bytes.
    pub bytes_in: usize,
    /// Size of the batch to forward, in bytes.
    pub bytes_out: usize,
    /// Records with edits.
    pub edited_records: u32,
}

/// What [`rewrite_fetch`] did.
#[derive(Clone, Debug)]
pub struct FetchRewritten {
    /// The records to deliver. A partial batch at the end is cut off by [`Change::Replaced`], which may be empty.
    pub change: Change,
    /// Batches to deliver, empty and control batches included.
    pub batches: u32,
    /// Records to deliver, control records not counted.
    pub records: u32,
    /// Records left out because the inspector refused them.
    pub withheld_records: u32,
    /// Batches that could not be read. An empty batch stands for each that could still be framed; what follows one
    /// that could not is cut off.
    pub withheld_batches: u32,
    /// Base offset of the first batch, -1 without one.
    pub first_offset: i64,
    /// Last offset of the last batch, -1 without one.
    pub last_offset: i64,
    /// Digest of the records to deliver; none without a key.
    pub digest: Option<[u8; 32]>,
    /// Size of the records as received, in bytes.
    pub bytes_in: usize,
    /// Size of the records to deliver, in bytes.
    pub bytes_out: usize,
    /// Delivered records with edits.
    pub edited_records: u32,
    /// A message set of version 0 or 1 was met (KIP-724). Nothing is to be delivered (`change` is an empty
    /// replacement); answer KAFKA_STORAGE_ERROR (56).
    pub old_format: bool,
    /// Why batches were withheld, in order.
    pub failures: Vec<BatchError>,
}

/// Opens, walks, inspects and edits a partition's records in Produce.
///
/// The number of records, their order, offsets and timestamps stay; so does the codec. An uncompressed batch whose
/// lengths do not change is edited in `records` itself. A batch that would grow beyond what its topic takes is compressed once more,
/// harder.
///
/// # Errors
/// What makes the batch unreadable, or an edit impossible. `records` is untouched then.
pub fn rewrite_produce(
    records: &mut [u8],
    api_version: i16,
    options: &Options<'_>,
    inspect: &mut impl Inspect,
    scratch: &mut Scratch,
) -> Result<Rewritten, BatchError> {
    let rewritten = produce(records, api_version, options, inspect, scratch);
    scratch.settle();
    rewritten
}

/// Opens, walks, inspects and edits a partition's records in a Fetch response.
///
/// Offsets stay: a refused record leaves a gap as compaction does, and a batch of refused records, or one that cannot be
/// read, becomes the empty batch that Kafka's log cleaner writes. Control batches and empty batches pass as they are. A
/// partial batch at the end is cut off, since it cannot be inspected.
pub fn rewrite_fetch(
    records: &mut [u8],
    options: &Options<'_>,
    inspect: &mut impl Inspect,
    scratch: &mut Scratch,
) -> FetchRewritten {
    let rewritten = fetch(records, options, inspect, scratch);
    scratch.settle();
    rewritten
}

fn produce(
    records: &mut [u8],
    api_version: i16,
    options: &Options<'_>,
    inspect: &mut impl Inspect,
    scratch: &mut Scratch,
) -> Result<Rewritten, BatchError> {
    let header = produce_header(records, api_version)?;
    let info = header.info;
    let mut refused = Vec::new();
    walk(&info, records, options.limits, scratch, |record, payload, plan| {
        if u32::try_from(record.offset_delta) != Ok(record.index) {
            return Err(BatchError::OffsetDelta { record: record.index, delta: record.offset_delta });
        }
        match inspect.record(&record.view(payload), &mut plan.edits) {
            Verdict::Keep if refused.is_empty() => return plan.edit(record, payload),
            Verdict::Keep => {}
            Verdict::Refuse => refused.push(record.index),
        }
        plan.clear();
        Ok(())
    })?;
    let mut rewritten = Rewritten {
        change: Change::None,
        info,
        refused,
        digest: None,
        bytes_in: info.length,
        bytes_out: info.length,
        edited_records: 0,
    };
    if rewritten.refused.is_empty() {
        let mut digest = Digest::new(options.digest_key, std::mem::take(&mut scratch.gathered));
        let outcome = carry_out(&info, records, &[], options.limits, scratch, &mut digest);
        (rewritten.digest, scratch.gathered) = digest.finish();
        rewritten.change = match outcome? {
            Outcome::Kept => Change::None,
            Outcome::Patched => Change::InPlace,
            Outcome::Built => {
                rewritten.bytes_out = scratch.out.len();
                Change::Replaced(scratch.take_out())
            }
        };
        rewritten.edited_records = scratch.plan.edited();
    }
    Ok(rewritten)
}

fn fetch(
    records: &mut [u8],
    options: &Options<'_>,
    inspect: &mut impl Inspect,
    scratch: &mut Scratch,
) -> FetchRewritten {
    let result = FetchRewritten {
        change: Change::None,
        batches: 0,
        records: 0,
        withheld_records: 0,
        withheld_batches: 0,
        first_offset: -1,
        last_offset: -1,
        digest: None,
        bytes_in: records.len(),
        bytes_out: 0,
        edited_records: 0,
        old_format: false,
        failures: Vec::new(),
    };
    let digest = Digest::new(options.digest_key, std::mem::take(&mut scratch.gathered));
    let mut pass = FetchPass { options, scratch, digest, at: 0, is_patched: false, is_built: false, result };
    pass.run(records, inspect);
    pass.finish(records)
}

/// The batches of one partition in a Fetch response, one after another. As long as none was built anew, nothing is
/// copied; from the first such batch on, everything is gathered in `scratch.out`.
struct FetchPass<'a> {
    options: &'a Options<'a>,
    scratch: &'a mut Scratch,
    digest: Digest,
    /// Bytes of whole batches that are done with.
    at: usize,
    is_patched: bool,
    is_built: bool,
    result: FetchRewritten,
}

impl FetchPass<'_> {
    fn run(&mut self, records: &mut [u8], inspect: &mut impl Inspect) {
        loop {
            match frame(records.get(self.at..).unwrap_or_default()) {
                Frame::Whole(length) => {
                    let Some((done, rest)) = records.split_at_mut_checked(self.at) else { return };
                    let Some(batch) = rest.get_mut(..length) else { return };
                    self.batch(done, batch, inspect);
                    self.at += length;
                }
                Frame::End | Frame::Partial => return,
                Frame::OldFormat => {
                    self.result.old_format = true;
                    return;
                }
                Frame::Broken(error) => {
                    self.result.withheld_batches += 1;
                    self.result.failures.push(error);
                    return;
                }
            }
        }
    }

    fn finish(mut self, records: &[u8]) -> FetchRewritten {
        let (digest, gathered) = self.digest.finish();
        self.scratch.gathered = gathered;
        let result = &mut self.result;
        result.digest = digest;
        result.change = if result.old_format {
            Change::Replaced(Bytes::new())
        } else if self.is_built {
            Change::Replaced(self.scratch.take_out())
        } else if self.at < records.len() {
            // What was not inspected must not leave with a caller that looks at `change` alone.
            self.scratch.out.extend_from_slice(records.get(..self.at).unwrap_or_default());
            Change::Replaced(self.scratch.take_out())
        } else if self.is_patched {
            Change::InPlace
        } else {
            Change::None
        };
        result.bytes_out = match &result.change {
            Change::None | Change::InPlace => records.len(),
            Change::Replaced(bytes) => bytes.len(),
        };
        self.result
    }

    /// One whole batch, which follows the bytes `done`.
    fn batch(&mut self, done: &[u8], batch: &mut [u8], inspect: &mut impl Inspect) {
        let ahead = if self.is_built { &[] } else { done };
        let built_from = self.scratch.out.len();
        let outcome = self.rewrite(ahead, batch, inspect).unwrap_or_else(|error| {
            self.result.withheld_batches += 1;
            self.result.failures.push(error);
            self.scratch.out.truncate(built_from);
            self.scratch.out.extend_from_slice(ahead);
            put_empty(batch, &mut self.scratch.out);
            Outcome::Built
        });
        match outcome {
            Outcome::Built => self.is_built = true,
            Outcome::Kept | Outcome::Patched if self.is_built => self.scratch.out.extend_from_slice(batch),
            Outcome::Kept => {}
            Outcome::Patched => self.is_patched = true,
        }
        let (first, last) = offsets(batch);
        if self.result.batches == 0 {
            self.result.first_offset = first;
        }
        self.result.last_offset = last;
        self.result.batches += 1;
    }

    fn rewrite(&mut self, ahead: &[u8], batch: &mut [u8], inspect: &mut impl Inspect) -> Result<Outcome, BatchError> {
        let header = Header::read(batch)?;
        header.check_crc(batch)?;
        header.check_empty(batch)?;
        let info = header.info;
        if info.records == 0 || info.is_control && is_marker(&info, batch) {
            return Ok(Outcome::Kept);
        }
        let mut next_delta = 0;
        walk(&info, batch, self.options.limits, self.scratch, |record, payload, plan| {
            let delta = record.offset_delta;
            if delta < next_delta || delta > info.last_offset_delta {
                return Err(BatchError::OffsetDelta { record: record.index, delta });
            }
            next_delta = delta.saturating_add(1);
            match inspect.record(&record.view(payload), &mut plan.edits) {
                Verdict::Keep => plan.edit(record, payload)?,
                Verdict::Refuse => plan.remove(record),
            }
            Ok(())
        })?;
        let removed = self.scratch.plan.removed();
        let outcome = if removed == info.records {
            self.scratch.out.extend_from_slice(ahead);
            put_empty(batch, &mut self.scratch.out);
            Outcome::Built
        } else {
            carry_out(&info, batch, ahead, self.options.limits, self.scratch, &mut self.digest)?
        };
        let result = &mut self.result;
        result.records = result.records.saturating_add(info.records - removed);
        result.withheld_records = result.withheld_records.saturating_add(removed);
        result.edited_records = result.edited_records.saturating_add(self.scratch.plan.edited());
        Ok(outcome)
    }
}

/// What became of one batch.
enum Outcome {
    /// Unchanged.
    Kept,
    /// Edited where it is.
    Patched,
    /// Built anew at the end of `scratch.out`.
    Built,
}

/// Opens a batch whose header and CRC were checked, reads all of it strictly and shows each record to `each`, which
/// makes the plan. When this returns, every byte of the batch is accounted for.
fn walk(
    info: &BatchInfo,
    batch: &[u8],
    limits: &Limits,
    scratch: &mut Scratch,
    mut each: impl FnMut(&RecordSpans, &[u8], &mut Plan) -> Result<(), BatchError>,
) -> Result<(), BatchError> {
    let Scratch { codecs, plain, plan, .. } = scratch;
    plan.clear();
    if usize::try_from(info.records).is_ok_and(|records| records > limits.records_max) {
        return Err(BatchError::TooManyRecords { records: info.records, max: limits.records_max });
    }
    let wire = batch.get(HEADER_BYTES..).unwrap_or_default();
    let payload = if info.codec == Codec::None {
        if wire.len() > limits.batch_bytes_max {
            return Err(BatchError::BatchBytes { max: limits.batch_bytes_max });
        }
        wire
    } else {
        codecs.decompress(info.codec, wire, limits, plain)?;
        plain.bytes()
    };
    let mut records = Walk::new(payload, limits);
    for _ in 0..info.records {
        each(&records.record()?, payload, plan)?;
    }
    records.finish()
}

/// Carries out the plan that [`walk`] made. A batch that must be built anew is appended to `scratch.out`, behind the
/// bytes `ahead` of it.
fn carry_out(
    info: &BatchInfo,
    batch: &mut [u8],
    ahead: &[u8],
    limits: &Limits,
    scratch: &mut Scratch,
    digest: &mut Digest,
) -> Result<Outcome, BatchError> {
    let Scratch { codecs, plain, plan, edited, out, .. } = scratch;
    let is_plain = info.codec == Codec::None;
    let (header, wire) = batch.split_at_mut_checked(HEADER_BYTES).unwrap_or_default();
    if plan.is_empty() {
        digest.add(if is_plain { wire } else { plain.bytes() });
        return Ok(Outcome::Kept);
    }
    if is_plain && !plan.resizes() {
        plan.patch_in_place(wire);
        digest.add(wire);
        seal(batch);
        return Ok(Outcome::Patched);
    }
    let start = out.len() + ahead.len();
    out.reserve(ahead.len() + HEADER_BYTES + wire.len());
    out.extend_from_slice(ahead);
    out.extend_from_slice(header);
    if is_plain {
        plan.copy(wire, out)?;
        digest.add(out.get(start + HEADER_BYTES..).unwrap_or_default());
    } else {
        let payload = if plan.resizes() {
            edited.clear();
            plan.copy(plain.bytes(), edited)?;
            edited.as_ref()
        } else {
            plan.patch_in_place(plain.bytes_mut());
            plain.bytes()
        };
        codecs.compress(info.codec, payload, Effort::Fast, out)?;
        if grown(info, out.len() - start, limits).is_some() && Effort::is_higher_for(info.codec) {
            out.truncate(start + HEADER_BYTES);
            codecs.compress(info.codec, payload, Effort::High, out)?;
        }
        digest.add(payload);
    }
    if let Some(error) = grown(info, out.len() - start, limits) {
        return Err(error);
    }
    seal_anew(out.get_mut(start..).unwrap_or_default(), info.records.saturating_sub(plan.removed()))?;
    Ok(Outcome::Built)
}

/// What stands against a batch that now has `bytes_out` bytes. One that was too large as it came is for the broker to refuse.
fn grown(info: &BatchInfo, bytes_out: usize, limits: &Limits) -> Option<BatchError> {
    let (bytes_in, max) = (info.length, limits.grown_bytes_max);
    let grows = bytes_out > max && bytes_in <= max;
    grows.then_some(BatchError::Grown { records: info.records, bytes_in, bytes_out, max })
}

/// A control batch is passed unseen only if it has the shape of a transaction marker: uncompressed, one record, a key of
/// version and type, a short value, no headers.
fn is_marker(info: &BatchInfo, batch: &[u8]) -> bool {
    if info.records != 1 || info.codec != Codec::None {
        return false;
    }
    let limits = Limits { headers_max: 0, value_bytes_max: CONTROL_VALUE_BYTES_MAX, ..Limits::default() };
    let mut walk = Walk::new(batch.get(HEADER_BYTES..).unwrap_or_default(), &limits);
    let Ok(record) = walk.record() else { return false };
    walk.finish().is_ok() && record.key.is_some_and(|key| key.len() == CONTROL_KEY_BYTES)
}
