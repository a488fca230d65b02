//! Inspection as work: pure CPU on owned bytes, without the session, on whichever thread.
//!
//! A [`Job`] takes the whole frame with it and gives it back in its [`Done`], edited in place where the edits keep their
//! length. The jobs of one connection may run side by side; the session takes their results in request order.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use weir_policy::{Findings, RuleSet};
use weir_protocol::records::{
    self, BatchError, BatchInfo, Change, Edits, FetchChecked, FetchRewritten, Inspect, Options, RecordView, Verdict,
};
use weir_protocol::{FetchResponse, ProduceRequest, Splices};

use crate::context::DigestKey;
use crate::vetted::Vetted;

/// Record bytes that no rule opens, of which only a checksum is made, up to which a job is run inline rather than on the pool. It takes
/// about as long as the inspection of [`INLINE_PLAIN_BYTES_MAX`].
pub const INLINE_UNOPENED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Plain record bytes up to which a job is run inline rather than on the pool.
pub const INLINE_PLAIN_BYTES_MAX: usize = 64 * 1024;

/// Compressed record bytes up to which a job is run inline rather than on the pool.
pub const INLINE_COMPRESSED_BYTES_MAX: usize = 8 * 1024;

/// Decompressed bytes at which an inline job gives up and goes to the pool: 8 KiB may well open to 16 MiB, and nobody may wait
/// for those.
pub const INLINE_INFLATED_BYTES_MAX: usize = 256 * 1024;

/// Working memory of one thread: codec contexts, span vectors. Reused from job to job.
#[derive(Debug, Default)]
pub struct Scratch {
    records: records::Scratch,
    policy: weir_policy::Scratch,
}

/// Records to inspect.
#[derive(Debug)]
pub struct Job {
    slot: u64,
    size: Size,
    limits: records::Limits,
    work: Work,
}

/// How much work a job is, as far as can be seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Little, and nothing is decompressed.
    Small,
    /// Little, unless a batch opens to more than this.
    SmallIfBatches {
        inflated_bytes_max: usize,
    },
    Large,
}

// Cloned only while it is not certain that it is small.
#[derive(Clone, Debug)]
enum Work {
    Produce { frame: BytesMut, request: ProduceRequest, version: i16, plan: Vec<Planned> },
    Fetch { frame: BytesMut, response: FetchResponse, plan: Vec<Planned> },
}

/// What the checks found that open nothing; of fetched partitions without rules alone.
type Unopened = Option<Result<FetchChecked, BatchError>>;

impl Work {
    /// Checks the fetched partitions that no rule touches: one for each planned partition, and none for Produce.
    fn check_unopened(&self) -> Vec<Unopened> {
        let Self::Fetch { frame, plan, .. } = self else { return Vec::new() };
        let check = |planned: &Planned| records::check_fetch(frame.get(planned.records.clone()).unwrap_or_default());
        plan.iter().map(|planned| planned.rules.is_none().then(|| check(planned))).collect()
    }
}

/// One partition to inspect: its place in the envelope, and the rules that apply (`None`: header, length and CRC only).
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) topic: usize,
    pub(crate) partition: usize,
    pub(crate) records: Range<usize>,
    pub(crate) rules: Option<Arc<RuleSet>>,
    /// Key of the digest over what leaves, where the topic wants one.
    pub(crate) digest_key: Option<DigestKey>,
    /// Bytes up to which edits may make a produced batch grow.
    pub(crate) grown_bytes_max: usize,
}

impl Planned {
    /// INVARIANT: plans are made in the envelope's order, so that results can be found by their place.
    fn place(&self) -> (usize, usize) {
        (self.topic, self.partition)
    }
}

/// The result of a [`Job`], to be handed back to the session that made it.
#[derive(Debug)]
pub struct Done {
    pub(crate) slot: u64,
    pub(crate) result: Option<Inspection>,
}

impl Done {
    /// For a job that never came to an end: the session refuses what it held.
    pub fn failed(slot: u64) -> Self {
        Self { slot, result: None }
    }

    /// Whether a batch could not be read for this reason.
    fn met(&self, reason: &BatchError) -> bool {
        match &self.result {
            None => false,
            Some(Inspection::Produce(found)) => {
                found.partitions.iter().any(|partition| partition.batch.as_ref().err() == Some(reason))
            }
            Some(Inspection::Fetch(found)) => {
                found.partitions.iter().any(|partition| partition.failures.contains(reason))
            }
        }
    }
}

#[derive(Debug)]
pub(crate) enum Inspection {
    Produce(ProduceInspection),
    Fetch(FetchInspection),
}

/// A Produce request whose planned partitions were all walked.
#[derive(Debug)]
pub(crate) struct ProduceInspection {
    frame: Bytes,
    pub(crate) request: ProduceRequest,
    pub(crate) partitions: Vec<ProducedPartition>,
}

/// What was found in one produced batch.
#[derive(Debug)]
pub(crate) struct ProducedPartition {
    pub(crate) planned: Planned,
    /// What the rules found, as far as the batch was read.
    pub(crate) findings: Findings,
    pub(crate) batch: Result<ProducedBatch, BatchError>,
}

#[derive(Debug)]
pub(crate) struct ProducedBatch {
    pub(crate) info: BatchInfo,
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) bytes_out: usize,
    pub(crate) edited_records: u32,
    replaced: Option<Bytes>,
}

impl ProducedBatch {
    /// The batch, unless it is part of a transaction and the request, which was judged by its transactional id, names none (T21).
    fn belonging_to(self, request: &ProduceRequest) -> Result<Self, BatchError> {
        if self.info.is_transactional && request.transactional_id.is_none() {
            return Err(BatchError::NoTransaction);
        }
        Ok(self)
    }
}

impl ProduceInspection {
    /// The frame with the inspected partitions that `keep` names, and nothing else. `splices` are edits of the envelope.
    pub(crate) fn assemble(&self, keep: impl Fn(usize, usize) -> bool, mut splices: Splices) -> Vetted {
        let kept = |topic: usize, partition: usize| {
            keep(topic, partition)
                && self
                    .partitions
                    .binary_search_by_key(&(topic, partition), |found| found.planned.place())
                    .is_ok_and(|at| self.partitions.get(at).is_some_and(|found| found.batch.is_ok()))
        };
        for found in &self.partitions {
            let Planned { topic, partition, .. } = found.planned;
            if let (true, Ok(ProducedBatch { replaced: Some(bytes), .. })) = (kept(topic, partition), &found.batch) {
                self.request.replace_records(topic, partition, bytes.clone(), &mut splices);
            }
        }
        self.request.retain(kept, &mut splices);
        Vetted::inspected(splices.apply(self.frame.clone()))
    }

    /// Bytes that it keeps alive.
    pub(crate) fn held_bytes(&self) -> usize {
        let batches = self.partitions.iter().filter_map(|found| found.batch.as_ref().ok()?.replaced.as_ref());
        batches.map(Bytes::len).fold(self.frame.len(), usize::saturating_add)
    }

    /// The envelope's bytes; the record spans in it were inspected, but not all of them need to have passed.
    pub(crate) fn envelope(&self) -> &[u8] {
        &self.frame
    }
}

/// A Fetch response whose records were all walked.
#[derive(Debug)]
pub(crate) struct FetchInspection {
    frame: Bytes,
    pub(crate) response: FetchResponse,
    pub(crate) partitions: Vec<FetchedBatches>,
}

/// What was found in the batches of one fetched partition.
#[derive(Debug)]
pub(crate) struct FetchedBatches {
    pub(crate) planned: Planned,
    pub(crate) findings: Findings,
    pub(crate) verdict: FetchVerdict,
    pub(crate) batches: u32,
    pub(crate) records: u32,
    pub(crate) withheld_records: u32,
    pub(crate) withheld_batches: u32,
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) edited_records: u32,
    pub(crate) bytes_in: usize,
    pub(crate) bytes_out: usize,
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) failures: Vec<BatchError>,
    replaced: Replacement,
}

/// What stands in the place of a partition's records.
#[derive(Debug)]
enum Replacement {
    /// They stand as they are, edited in place or not at all.
    None,
    /// Their first bytes: a partial batch behind them is cut off (T30).
    Cut(usize),
    /// Others.
    Records(Bytes),
}

/// Whether a fetched partition may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchVerdict {
    /// With the edits that were made.
    Show,
    /// Not at all: its format is older than weir reads (T29).
    OldFormat,
}

impl FetchInspection {
    /// The frame with the inspected records; partitions that were not inspected, or whose verdict is against them, leave
    /// empty with an error. `splices` are edits of the envelope.
    pub(crate) fn assemble(&self, mut splices: Splices, refused: impl Fn(usize, usize) -> Option<i16>) -> Vetted {
        for (topic, fetched) in self.response.topics.iter().enumerate() {
            for (partition, data) in fetched.partitions.iter().enumerate() {
                if data.records.as_ref().is_none_or(Range::is_empty) {
                    continue;
                }
                let found = self.found(topic, partition);
                match (refused(topic, partition), found) {
                    (Some(code), _) => self.response.set_partition_error(topic, partition, code, &mut splices),
                    (None, Some(found)) if found.verdict == FetchVerdict::Show => {
                        let records = match &found.replaced {
                            Replacement::None => continue,
                            Replacement::Cut(usable) => {
                                let start = found.planned.records.start;
                                self.frame.slice(start..start.saturating_add(*usable))
                            }
                            Replacement::Records(bytes) => bytes.clone(),
                        };
                        self.response.replace_records(topic, partition, records, &mut splices);
                    }
                    (None, Some(_) | None) => {
                        let code = crate::refusal::Code::StorageError.code();
                        self.response.set_partition_error(topic, partition, code, &mut splices);
                    }
                }
            }
        }
        Vetted::inspected(splices.apply(self.frame.clone()))
    }

    /// What was found in a partition, if it was inspected.
    pub(crate) fn found(&self, topic: usize, partition: usize) -> Option<&FetchedBatches> {
        let at = self.partitions.binary_search_by_key(&(topic, partition), |found| found.planned.place()).ok()?;
        self.partitions.get(at)
    }

    /// The frame without any record: each partition that had some gets `code` instead.
    pub(crate) fn withheld(&self, splices: Splices, code: i16) -> Vetted {
        self.assemble(splices, |_, _| Some(code))
    }

    pub(crate) fn envelope(&self) -> &[u8] {
        &self.frame
    }

    /// Bytes that it keeps alive.
    pub(crate) fn held_bytes(&self) -> usize {
        let replaced = self.partitions.iter().map(|found| match &found.replaced {
            Replacement::None | Replacement::Cut(_) => 0,
            Replacement::Records(bytes) => bytes.len(),
        });
        replaced.fold(self.frame.len(), usize::saturating_add)
    }
}

impl Job {
    pub(crate) fn produce(
        slot: u64,
        frame: BytesMut,
        (request, version): (ProduceRequest, i16),
        plan: Vec<Planned>,
        limits: records::Limits,
    ) -> Self {
        let size = Size::of(&frame, &plan);
        Self { slot, size, limits, work: Work::Produce { frame, request, version, plan } }
    }

    pub(crate) fn fetch(
        slot: u64,
        frame: BytesMut,
        response: FetchResponse,
        plan: Vec<Planned>,
        limits: records::Limits,
    ) -> Self {
        let size = Size::of(&frame, &plan);
        Self { slot, size, limits, work: Work::Fetch { frame, response, plan } }
    }

    /// The request that the job belongs to; what [`Done::failed`] takes.
    pub fn slot(&self) -> u64 {
        self.slot
    }

    /// Inspects the records where that costs less than handing the job to another thread ([`INLINE_UNOPENED_BYTES_MAX`],
    /// [`INLINE_PLAIN_BYTES_MAX`], [`INLINE_COMPRESSED_BYTES_MAX`]).
    ///
    /// # Errors
    ///
    /// The job itself, to be [run](Self::run) elsewhere: it is large, or what it decompresses turned out to be
    /// ([`INLINE_INFLATED_BYTES_MAX`]), or batches that no rule would open must be opened to find the damaged one among them.
    pub fn run_inline(mut self, scratch: &mut Scratch) -> Result<Done, Box<Self>> {
        if self.size == Size::Large {
            return Err(Box::new(self));
        }
        let checks = self.work.check_unopened();
        if checks.iter().any(|check| matches!(check, Some(Err(_)))) {
            return Err(Box::new(self));
        }
        match self.size {
            Size::Small | Size::Large => Ok(self.finish(checks, scratch)),
            Size::SmallIfBatches { inflated_bytes_max } => {
                let (slot, size, limits) = (self.slot, Size::Large, self.limits);
                let untouched = self.work.clone();
                self.limits.batch_bytes_max = limits.batch_bytes_max.min(inflated_bytes_max);
                let cap = BatchError::BatchBytes { max: self.limits.batch_bytes_max };
                let done = self.finish(checks, scratch);
                if done.met(&cap) { Err(Box::new(Self { slot, size, limits, work: untouched })) } else { Ok(done) }
            }
        }
    }

    /// Inspects the records.
    pub fn run(self, scratch: &mut Scratch) -> Done {
        let checks = self.work.check_unopened();
        self.finish(checks, scratch)
    }

    fn finish(self, checks: Vec<Unopened>, scratch: &mut Scratch) -> Done {
        let limits = &self.limits;
        let inspection = match self.work {
            Work::Produce { mut frame, request, version, plan } => {
                let partitions = plan
                    .into_iter()
                    .map(|planned| {
                        let (findings, batch) = produced(&mut frame, version, &planned, limits, scratch);
                        let batch = batch.and_then(|batch| batch.belonging_to(&request));
                        ProducedPartition { planned, findings, batch }
                    })
                    .collect();
                Inspection::Produce(ProduceInspection { frame: frame.freeze(), request, partitions })
            }
            Work::Fetch { mut frame, response, plan } => {
                let planned = plan.into_iter().zip(checks);
                let partitions =
                    planned.map(|(planned, check)| fetched(&mut frame, planned, check, limits, scratch)).collect();
                Inspection::Fetch(FetchInspection { frame: frame.freeze(), response, partitions })
            }
        };
        Done { slot: self.slot, result: Some(inspection) }
    }
}

fn produced(
    frame: &mut BytesMut,
    version: i16,
    planned: &Planned,
    limits: &records::Limits,
    scratch: &mut Scratch,
) -> (Findings, Result<ProducedBatch, BatchError>) {
    let records = frame.get_mut(planned.records.clone()).unwrap_or_default();
    let Some(rules) = &planned.rules else {
        let unopened = |info: BatchInfo| ProducedBatch {
            bytes_out: info.length,
            info,
            digest: None,
            edited_records: 0,
            replaced: None,
        };
        return (Findings::default(), records::check_produce(records, version).map(unopened));
    };
    let limits = &records::Limits { grown_bytes_max: planned.grown_bytes_max, ..*limits };
    let options = &Options { limits, digest_key: planned.digest_key.as_ref().map(|key| &key.0) };
    let mut inspector = rules.inspector(&mut scratch.policy);
    let rewritten = records::rewrite_produce(records, version, options, &mut inspector, &mut scratch.records);
    let batch = rewritten.map(|rewritten| ProducedBatch {
        info: rewritten.info,
        digest: rewritten.digest,
        bytes_out: rewritten.bytes_out,
        edited_records: rewritten.edited_records,
        replaced: replacement(rewritten.change),
    });
    (inspector.finish(), batch)
}

fn fetched(
    frame: &mut BytesMut,
    planned: Planned,
    check: Unopened,
    limits: &records::Limits,
    scratch: &mut Scratch,
) -> FetchedBatches {
    let digest_key = planned.digest_key.clone();
    let options = &Options { limits, digest_key: digest_key.as_ref().map(|key| &key.0) };
    let records = frame.get_mut(planned.records.clone()).unwrap_or_default();
    let Some(rules) = planned.rules.clone() else {
        return match check {
            Some(Ok(checked)) => unopened(planned, &checked),
            // Only the batch that cannot be read is withheld, not its neighbours.
            Some(Err(_)) | None => {
                let rewritten = records::rewrite_fetch(records, options, &mut KeepAll, &mut scratch.records);
                opened(planned, Findings::default(), rewritten)
            }
        };
    };
    let mut inspector = rules.inspector(&mut scratch.policy);
    let rewritten = records::rewrite_fetch(records, options, &mut inspector, &mut scratch.records);
    let findings = inspector.finish();
    opened(planned, findings, rewritten)
}

/// For batches that no rule touches.
struct KeepAll;

impl Inspect for KeepAll {
    fn record(&mut self, _: &RecordView<'_>, _: &mut Edits) -> Verdict {
        Verdict::Keep
    }
}

fn unopened(planned: Planned, checked: &FetchChecked) -> FetchedBatches {
    let whole = checked.usable == planned.records.len();
    FetchedBatches {
        planned,
        findings: Findings::default(),
        verdict: if checked.old_format { FetchVerdict::OldFormat } else { FetchVerdict::Show },
        batches: checked.batches,
        records: checked.records,
        withheld_records: 0,
        withheld_batches: 0,
        first_offset: checked.first_offset,
        last_offset: checked.last_offset,
        edited_records: 0,
        bytes_in: checked.bytes_in,
        bytes_out: checked.bytes_out,
        digest: None,
        failures: Vec::new(),
        replaced: if whole { Replacement::None } else { Replacement::Cut(checked.usable) },
    }
}

fn opened(planned: Planned, findings: Findings, rewritten: FetchRewritten) -> FetchedBatches {
    FetchedBatches {
        planned,
        findings,
        verdict: if rewritten.old_format { FetchVerdict::OldFormat } else { FetchVerdict::Show },
        batches: rewritten.batches,
        records: rewritten.records,
        withheld_records: rewritten.withheld_records,
        withheld_batches: rewritten.withheld_batches,
        first_offset: rewritten.first_offset,
        last_offset: rewritten.last_offset,
        edited_records: rewritten.edited_records,
        bytes_in: rewritten.bytes_in,
        bytes_out: rewritten.bytes_out,
        digest: rewritten.digest,
        failures: rewritten.failures,
        replaced: match rewritten.change {
            Change::None | Change::InPlace => Replacement::None,
            Change::Replaced(bytes) => Replacement::Records(bytes),
        },
    }
}

fn replacement(change: Change) -> Option<Bytes> {
    match change {
        Change::None | Change::InPlace => None,
        Change::Replaced(bytes) => Some(bytes),
    }
}

impl Size {
    fn of(frame: &[u8], plan: &[Planned]) -> Self {
        let (mut unopened, mut plain, mut compressed, mut opened) = (0_usize, 0_usize, 0_usize, 0_usize);
        for planned in plan {
            if planned.rules.is_none() {
                unopened = unopened.saturating_add(planned.records.len());
                continue;
            }
            let mut records = frame.get(planned.records.clone()).unwrap_or_default();
            while !records.is_empty() {
                let (batch, rest) = first_batch(records);
                let is_compressed =
                    batch.get(ATTRIBUTES_LOW_BYTE).is_some_and(|attributes| attributes & CODEC_BITS != 0);
                if is_compressed {
                    compressed = compressed.saturating_add(batch.len());
                    opened = opened.saturating_add(1);
                } else {
                    plain = plain.saturating_add(batch.len());
                }
                records = rest;
            }
        }
        if unopened > INLINE_UNOPENED_BYTES_MAX {
            return Self::Large;
        }
        if plain > INLINE_PLAIN_BYTES_MAX || compressed > INLINE_COMPRESSED_BYTES_MAX {
            return Self::Large;
        }
        match INLINE_INFLATED_BYTES_MAX.checked_div(opened) {
            None => Self::Small,
            Some(inflated_bytes_max) => Self::SmallIfBatches { inflated_bytes_max },
        }
    }
}

/// The first batch and what is behind it; everything where no whole batch is announced.
fn first_batch(records: &[u8]) -> (&[u8], &[u8]) {
    let announced = records.get(LENGTH_AT..LENGTH_END).and_then(|length| <[u8; 4]>::try_from(length).ok());
    announced
        .and_then(|length| usize::try_from(i32::from_be_bytes(length)).ok())
        .and_then(|length| records.split_at_checked(length.checked_add(LENGTH_END)?))
        .unwrap_or((records, &[]))
}

/// Where a batch says how long it is, counted from [`LENGTH_END`].
const LENGTH_AT: usize = 8;
const LENGTH_END: usize = 12;
/// Offset of the attributes' low byte in a v2 batch header; its three low bits are the codec.
const ATTRIBUTES_LOW_BYTE: usize = 22;
const CODEC_BITS: u8 = 0b111;

#[cfg(test)]
mod tests;
