//! The batch header: framing, its fields, CRC, and what may be checked without opening the payload.
//!
//! ```text
//!  0        8      12      16 17    21    23         27         35         43      51   53      57     61
//! ┌────────┬──────┬───────┬──┬─────┬─────┬──────────┬──────────┬──────────┬───────┬────┬───────┬──────┬─────────┐
//! │ base   │batch │leader │ma│ CRC │attri│last      │base      │max       │produ- │epo-│base   │record│ records │
//! │ offset │length│epoch  │gi│     │butes│off. delta│timestamp │timestamp │cer id │ch  │sequen.│count │         │
//! └────────┴──────┴───────┴──┴─────┴─────┴──────────┴──────────┴──────────┴───────┴────┴───────┴──────┴─────────┘
//!                 └ batch length counts from here    └ the CRC covers everything from the attributes on
//! ```

use bytes::BytesMut;

use super::compression::Codec;
use super::error::BatchError;

/// Size of a batch header, in bytes (`RecordBatch` of KIP-98).
pub(crate) const HEADER_BYTES: usize = 61;

/// What precedes the batch length and is not counted by it, with the length itself.
pub(crate) const LENGTH_END: usize = 12;

/// Where the CRC begins to count.
const CRC_FROM: usize = 21;

/// Produce version that brought zstd (KIP-110).
const ZSTD_PRODUCE_VERSION: i16 = 7;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;
const KNOWN_ATTRIBUTES: i16 = CODEC_MASK | LOG_APPEND_TIME | TRANSACTIONAL | CONTROL | DELETE_HORIZON;

fn codec(attributes: i16) -> Result<Codec, BatchError> {
    match attributes & CODEC_MASK {
        0 => Ok(Codec::None),
        1 => Ok(Codec::Gzip),
        2 => Ok(Codec::Snappy),
        3 => Ok(Codec::Lz4),
        4 => Ok(Codec::Zstd),
        code => Err(BatchError::UnknownCodec(code)),
    }
}

/// What a batch header says. No record byte is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchInfo {
    /// Offset of the first record; 0 in Produce.
    pub base_offset: i64,
    /// Offset of the last record, counted from `base_offset`. Compaction keeps it when it removes that record.
    pub last_offset_delta: i32,
    /// Number of records.
    pub records: u32,
    /// Compression of the records.
    pub codec: Codec,
    /// Id of an idempotent producer, -1 without one.
    pub producer_id: i64,
    /// Epoch of that producer.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 without a producer id.
    pub base_sequence: i32,
    /// Part of a transaction.
    pub is_transactional: bool,
    /// A transaction marker of the broker, not data.
    pub is_control: bool,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// Timestamp of the first record, or the delete horizon (KIP-534), in milliseconds since 1970.
    pub base_timestamp: i64,
    /// Largest timestamp of a record, or the append time of all, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// Size of the whole batch, in bytes.
    pub length: usize,
}

/// What [`check_fetch`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchChecked {
    /// Bytes of whole batches. What follows is a partial batch (or old format) and must not be delivered.
    pub usable: usize,
    /// Whole batches.
    pub batches: u32,
    /// Records in them, control records not counted.
    pub records: u32,
    /// Base offset of the first batch, -1 without one.
    pub first_offset: i64,
    /// Last offset of the last batch, -1 without one.
    pub last_offset: i64,
    /// Bytes there were, a partial trailing batch included.
    pub bytes_in: usize,
    /// Bytes that may be delivered: `usable`, or 0 when `old_format`.
    pub bytes_out: usize,
    /// A message set of version 0 or 1 was met (KIP-724); answer KAFKA_STORAGE_ERROR (56).
    pub old_format: bool,
}

/// Checks a partition's records in Produce without opening them: exactly one batch of version 2, its length, CRC and
/// attributes, and every rule that the broker has for the header (`ProduceRequest.validateRecords`,
/// `LogValidator.validateBatch`).
///
/// # Errors
/// The first rule that the bytes break.
pub fn check_produce(records: &[u8], api_version: i16) -> Result<BatchInfo, BatchError> {
    produce_header(records, api_version).map(|header| header.info)
}

/// Checks a partition's records in a Fetch response without opening them: length, attributes and CRC of each batch.
/// A partial batch at the end is left out of `usable`; Kafka cuts responses at a byte limit.
///
/// # Errors
/// The first batch that cannot be read. [`rewrite_fetch`](super::rewrite_fetch) with an inspector that keeps
/// everything then withholds that batch alone.
pub fn check_fetch(records: &[u8]) -> Result<FetchChecked, BatchError> {
    let mut checked = FetchChecked {
        usable: 0,
        batches: 0,
        records: 0,
        first_offset: -1,
        last_offset: -1,
        bytes_in: records.len(),
        bytes_out: 0,
        old_format: false,
    };
    let mut rest = records;
    loop {
        match frame(rest) {
            Frame::Whole(length) => {
                let (batch, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                let header = Header::read(batch)?;
                header.check_crc(batch)?;
                header.check_empty(batch)?;
                let info = header.info;
                if checked.batches == 0 {
                    checked.first_offset = info.base_offset;
                }
                checked.last_offset = info.last_offset();
                checked.batches += 1;
                checked.records = checked.records.saturating_add(if info.is_control { 0 } else { info.records });
                checked.usable += length;
                rest = behind;
            }
            Frame::Partial | Frame::End => break,
            Frame::OldFormat => {
                checked.old_format = true;
                break;
            }
            Frame::Broken(error) => return Err(error),
        }
    }
    checked.bytes_out = if checked.old_format { 0 } else { checked.usable };
    Ok(checked)
}

/// What stands at the front of a Fetch response's records.
pub(crate) enum Frame {
    /// Nothing.
    End,
    /// A batch of so many bytes.
    Whole(usize),
    /// The beginning of a batch.
    Partial,
    /// A message set of version 0 or 1.
    OldFormat,
    /// Neither: where the next batch begins is unknown.
    Broken(BatchError),
}

/// Finds the first batch in `records`.
pub(crate) fn frame(records: &[u8]) -> Frame {
    if records.is_empty() {
        return Frame::End;
    }
    let Some(length) = i32_at(records, 8) else { return Frame::Partial };
    let Ok(counted) = usize::try_from(length) else { return Frame::Broken(BatchError::BatchLength(length)) };
    let total = counted.saturating_add(LENGTH_END);
    if total > records.len() {
        return Frame::Partial;
    }
    match records.get(16) {
        Some(0 | 1) => Frame::OldFormat,
        Some(2) if total >= HEADER_BYTES => Frame::Whole(total),
        Some(2) | None => Frame::Broken(BatchError::BatchLength(length)),
        Some(magic) => Frame::Broken(BatchError::Magic(magic.cast_signed())),
    }
}

/// The header of a Produce batch, after every check that does not need its payload.
pub(crate) fn produce_header(records: &[u8], api_version: i16) -> Result<Header, BatchError> {
    if records.is_empty() {
        return Err(BatchError::NoBatch);
    }
    let header = match frame(records) {
        Frame::Whole(length) if length == records.len() => Header::read(records)?,
        Frame::Whole(length) => return Err(BatchError::BytesAfterBatch(records.len() - length)),
        Frame::OldFormat => return Err(BatchError::Magic(records.get(16).map_or(0, |magic| magic.cast_signed()))),
        Frame::Broken(error) => return Err(error),
        Frame::Partial | Frame::End => {
            let length = i32_at(records, 8).and_then(|length| usize::try_from(length).ok());
            let announced = length.map_or(HEADER_BYTES, |length| length.saturating_add(LENGTH_END));
            return Err(BatchError::Truncated { have: records.len(), announced });
        }
    };
    header.check_produce(api_version)?;
    header.check_crc(records)?;
    Ok(header)
}

/// A header that was read; its batch's length is right, its CRC not yet checked.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) info: BatchInfo,
    attributes: i16,
    crc: u32,
}

impl Header {
    /// Reads the header of `batch`, which is one whole batch as [`frame`] found it.
    pub(crate) fn read(batch: &[u8]) -> Result<Self, BatchError> {
        let attributes = i16_at(batch, CRC_FROM).unwrap_or(-1);
        if attributes & !KNOWN_ATTRIBUTES != 0 {
            return Err(BatchError::UnknownAttributes(attributes & !KNOWN_ATTRIBUTES));
        }
        let announced = i32_at(batch, 57).unwrap_or(-1);
        let last_offset_delta = i32_at(batch, 23).unwrap_or(-1);
        // Each record has an offset of its own, so that there are no more of them than offsets.
        let records = u32::try_from(announced)
            .ok()
            .filter(|_| last_offset_delta >= 0 && i64::from(announced) <= i64::from(last_offset_delta) + 1)
            .ok_or(BatchError::RecordCount { records: announced, last_offset_delta })?;
        let info = BatchInfo {
            base_offset: i64_at(batch, 0).unwrap_or(-1),
            last_offset_delta,
            records,
            codec: codec(attributes)?,
            producer_id: i64_at(batch, 43).unwrap_or(-1),
            producer_epoch: i16_at(batch, 51).unwrap_or(-1),
            base_sequence: i32_at(batch, 53).unwrap_or(-1),
            is_transactional: attributes & TRANSACTIONAL != 0,
            is_control: attributes & CONTROL != 0,
            partition_leader_epoch: i32_at(batch, 12).unwrap_or(-1),
            base_timestamp: i64_at(batch, 27).unwrap_or(-1),
            max_timestamp: i64_at(batch, 35).unwrap_or(-1),
            length: batch.len(),
        };
        let crc = i32_at(batch, 17).map_or(0, i32::cast_unsigned);
        Ok(Self { info, attributes, crc })
    }

    /// Compares the CRC-32C of `batch` with the one in its header.
    pub(crate) fn check_crc(&self, batch: &[u8]) -> Result<(), BatchError> {
        if crc32c(batch) == self.crc { Ok(()) } else { Err(BatchError::Crc) }
    }

    /// A batch without records has no payload either.
    pub(crate) fn check_empty(&self, batch: &[u8]) -> Result<(), BatchError> {
        match batch.len().saturating_sub(HEADER_BYTES) {
            behind if self.info.records == 0 && behind > 0 => Err(BatchError::BytesAfterRecords(behind)),
            _ => Ok(()),
        }
    }

    fn check_produce(&self, api_version: i16) -> Result<(), BatchError> {
        let info = &self.info;
        if info.base_offset != 0 {
            return Err(BatchError::BaseOffset(info.base_offset));
        }
        if i64::from(info.last_offset_delta) + 1 != i64::from(info.records) {
            return Err(BatchError::RecordCount {
                records: i32::try_from(info.records).unwrap_or(i32::MAX),
                last_offset_delta: info.last_offset_delta,
            });
        }
        if info.is_control {
            return Err(BatchError::ControlBatch);
        }
        if self.attributes & LOG_APPEND_TIME != 0 {
            return Err(BatchError::LogAppendTime);
        }
        if self.attributes & DELETE_HORIZON != 0 {
            return Err(BatchError::DeleteHorizon);
        }
        if info.producer_id < -1 {
            return Err(BatchError::ProducerId(info.producer_id));
        }
        // Without a producer id, epoch and sequence say nothing, and not all clients write -1 for them.
        if info.producer_id >= 0 && info.producer_epoch < 0 {
            return Err(BatchError::ProducerEpoch(info.producer_epoch));
        }
        if info.producer_id >= 0 && info.base_sequence < 0 {
            return Err(BatchError::BaseSequence(info.base_sequence));
        }
        if info.codec == Codec::Zstd && api_version < ZSTD_PRODUCE_VERSION {
            return Err(BatchError::ZstdTooEarly { api_version });
        }
        Ok(())
    }
}

impl BatchInfo {
    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }
}

/// First and last offset of a whole batch whose header may be wrong otherwise.
pub(crate) fn offsets(batch: &[u8]) -> (i64, i64) {
    let first = i64_at(batch, 0).unwrap_or(-1);
    let delta = i32_at(batch, 23).unwrap_or(0).max(0);
    (first, first.saturating_add(i64::from(delta)))
}

/// Writes the CRC of a batch whose bytes were edited.
pub(crate) fn seal(batch: &mut [u8]) {
    let crc = crc32c(batch);
    put(batch, 17, crc.to_be_bytes());
}

/// Writes length, record count and CRC of a batch that was built anew behind a copy of its old header.
pub(crate) fn seal_anew(batch: &mut [u8], records: u32) -> Result<(), BatchError> {
    let counted = batch.len().saturating_sub(LENGTH_END);
    let counted = i32::try_from(counted).map_err(|_| BatchError::ResultTooLarge)?;
    put(batch, 8, counted.to_be_bytes());
    put(batch, 57, records.to_be_bytes());
    seal(batch);
    Ok(())
}

/// Appends the batch without records that stands for `batch`, as Kafka's log cleaner writes it
/// (`DefaultRecordBatch.writeEmptyHeader`): consumers step over its offsets.
pub(crate) fn put_empty(batch: &[u8], out: &mut BytesMut) {
    let start = out.len();
    out.extend_from_slice(batch.get(..HEADER_BYTES).unwrap_or(batch));
    out.resize(start + HEADER_BYTES, 0);
    let Some(empty) = out.get_mut(start..) else { return };
    let kept = i16_at(batch, CRC_FROM).unwrap_or(0) & (LOG_APPEND_TIME | TRANSACTIONAL | CONTROL);
    put(empty, CRC_FROM, kept.to_be_bytes());
    if i32_at(batch, 23).is_none_or(|delta| delta < 0) {
        put(empty, 23, 0i32.to_be_bytes());
    }
    put(empty, 27, (-1i64).to_be_bytes());
    put(empty, 8, [0, 0, 0, 49]);
    put(empty, 57, [0; 4]);
    seal(empty);
}

fn crc32c(batch: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, batch.get(CRC_FROM..).unwrap_or_default());
    u32::try_from(crc).unwrap_or(u32::MAX)
}

fn put<const N: usize>(batch: &mut [u8], at: usize, with: [u8; N]) {
    if let Some(field) = batch.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = with;
    }
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    bytes.get(at..)?.first_chunk().map(|chunk| i16::from_be_bytes(*chunk))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|chunk| i32::from_be_bytes(*chunk))
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    bytes.get(at..)?.first_chunk().map(|chunk| i64::from_be_bytes(*chunk))
}
