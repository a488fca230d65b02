//! What can be wrong with a record batch.

use super::compression::Codec;

/// Why a record batch is refused (Produce) or withheld (Fetch). The fault is the sender's, but for
/// [`EditOutOfPlace`](Self::EditOutOfPlace), [`TooManyEdits`](Self::TooManyEdits), [`ResultTooLarge`](Self::ResultTooLarge), [`Grown`](Self::Grown) and
/// [`Compress`](Self::Compress), which are ours.
///
/// Numbers and positions only: never a byte of a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Null or empty `records`: Kafka answers INVALID_RECORD since Produce v3, and so do we.
    #[error("the records are null or empty")]
    NoBatch,
    /// The bytes end before the batch does.
    #[error("the batch is cut: {have} of {announced} bytes are there")]
    Truncated {
        /// Bytes there are.
        have: usize,
        /// Bytes the batch length announces, its first twelve bytes included.
        announced: usize,
    },
    /// Produce carries exactly one batch for a partition, and nothing behind it.
    #[error("{0} bytes follow the batch")]
    BytesAfterBatch(usize),
    /// A batch length below the size of a batch header.
    #[error("the batch length {0} is impossible")]
    BatchLength(i32),
    /// Not the record batch format of KIP-98.
    #[error("the record format is version {0}, not 2")]
    Magic(i8),
    /// The CRC-32C in the header is not that of the batch.
    #[error("the CRC of the batch is wrong")]
    Crc,
    /// Attribute bits that Kafka has not assigned.
    #[error("the batch attributes have unknown bits {0:#06x}")]
    UnknownAttributes(i16),
    /// A compression code that Kafka has not assigned.
    #[error("the compression code {0} is unknown")]
    UnknownCodec(i16),
    /// zstd came with Produce v7 (KIP-110).
    #[error("zstd needs produce version 7, this is version {api_version}")]
    ZstdTooEarly {
        /// The request's version.
        api_version: i16,
    },
    /// Clients write no control batches.
    #[error("a client cannot write a control batch")]
    ControlBatch,
    /// Only the broker marks a batch with its append time.
    #[error("a client cannot write a batch with log append time")]
    LogAppendTime,
    /// Only the broker's log cleaner sets a delete horizon (KIP-534).
    #[error("a client cannot write a batch with a delete horizon")]
    DeleteHorizon,
    /// A batch from a client starts at offset 0.
    #[error("the base offset is {0}, not 0")]
    BaseOffset(i64),
    /// The last offset delta and the number of records disagree, or the batch is empty (Produce); more records than
    /// offsets (Fetch).
    #[error("the batch has {records} records and a last offset delta of {last_offset_delta}")]
    RecordCount {
        /// Records that the header announces.
        records: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// A producer id below -1, which stands for none: readers differ about what it says.
    #[error("the producer id is {0}")]
    ProducerId(i64),
    /// A batch with a producer id has its epoch.
    #[error("the batch has a producer id but the epoch {0}")]
    ProducerEpoch(i16),
    /// A batch of a transaction comes in a request that names its transactional id.
    #[error("the batch is part of a transaction, but the request names none")]
    NoTransaction,
    /// A batch with a producer id has a sequence number.
    #[error("the batch has a producer id but the base sequence {0}")]
    BaseSequence(i32),
    /// More than [`Limits::records_max`](super::Limits::records_max) records.
    #[error("the batch has {records} records, more than {max}")]
    TooManyRecords {
        /// Records that the header announces.
        records: u32,
        /// The limit.
        max: usize,
    },
    /// More than [`Limits::headers_max`](super::Limits::headers_max) headers in one record.
    #[error("record {record} has {headers} headers, more than {max}")]
    TooManyHeaders {
        /// Place of the record in the batch, from 0.
        record: u32,
        /// Headers that the record announces.
        headers: u32,
        /// The limit.
        max: usize,
    },
    /// More bytes than [`Limits::key_bytes_max`](super::Limits::key_bytes_max),
    /// [`Limits::value_bytes_max`](super::Limits::value_bytes_max) or
    /// [`Limits::header_name_bytes_max`](super::Limits::header_name_bytes_max).
    #[error("record {record} has a {part} of {bytes} bytes, more than {max}")]
    PartBytes {
        /// Place of the record in the batch, from 0.
        record: u32,
        /// What is too long.
        part: RecordPart,
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// More than [`Limits::batch_bytes_max`](super::Limits::batch_bytes_max) bytes of records.
    #[error("the records need more than {max} bytes")]
    BatchBytes {
        /// The limit.
        max: usize,
    },
    /// More than [`Limits::inflate_ratio_max`](super::Limits::inflate_ratio_max) bytes out for each byte in.
    #[error("the records inflate to more than {ratio_max} times their size")]
    InflateRatio {
        /// The limit.
        ratio_max: usize,
    },
    /// The compressed bytes are not exactly one well-formed stream.
    #[error("the {} data {fault}", codec.name())]
    Compressed {
        /// The batch's codec.
        codec: Codec,
        /// What is wrong.
        fault: CodecFault,
    },
    /// A variable-length integer with superfluous bytes, or too large for its type.
    #[error("record {record} has an over-long integer")]
    Overlong {
        /// Place of the record in the batch, from 0.
        record: u32,
    },
    /// The records end before the announced number, or a field reaches past its record.
    #[error("record {record} is cut")]
    RecordCut {
        /// Place of the record in the batch, from 0.
        record: u32,
    },
    /// A record is longer than its fields.
    #[error("record {record} is longer than its fields")]
    RecordLength {
        /// Place of the record in the batch, from 0.
        record: u32,
    },
    /// A record attribute bit; Kafka has assigned none.
    #[error("record {record} has unknown attribute bits")]
    RecordAttributes {
        /// Place of the record in the batch, from 0.
        record: u32,
    },
    /// A length below -1, or below 0 where null is not allowed.
    #[error("record {record} has a negative length")]
    NegativeLength {
        /// Place of the record in the batch, from 0.
        record: u32,
    },
    /// The offset is not the next one (Produce), or not ascending and inside the batch (Fetch).
    #[error("record {record} has the offset delta {delta}")]
    OffsetDelta {
        /// Place of the record in the batch, from 0.
        record: u32,
        /// The record's offset delta.
        delta: i32,
    },
    /// Bytes behind the announced number of records: a hidden record, to a reader that ignores the count.
    #[error("{0} bytes follow the last record")]
    BytesAfterRecords(usize),
    /// An edit outside of its field, over another one, or of a field that is null.
    #[error("an edit of record {record} is out of place")]
    EditOutOfPlace {
        /// Place of the record in the batch, from 0.
        record: u32,
    },
    /// More edits than a batch may have: some two million, or 64 MiB of replacing bytes.
    #[error("the edits of record {record} are too many")]
    TooManyEdits {
        /// Place of the record in the batch, from 0.
        record: u32,
    },
    /// The edited batch no longer fits Kafka's 32-bit lengths.
    #[error("the edited batch is too large")]
    ResultTooLarge,
    /// The edits made the batch larger than its topic takes, and compressing it harder does not help.
    #[error("the edits make the batch {bytes_out} bytes of {bytes_in}, more than the {max} that the topic takes")]
    Grown {
        /// Records in it.
        records: u32,
        /// Its size as received.
        bytes_in: usize,
        /// Its size with the edits.
        bytes_out: usize,
        /// [`Limits::grown_bytes_max`](super::Limits::grown_bytes_max).
        max: usize,
    },
    /// A codec could not compress the edited records.
    #[error("the edited records cannot be compressed with {}", .0.name())]
    Compress(Codec),
}

/// A part of a record with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordPart {
    /// The key.
    Key,
    /// The value.
    Value,
    /// The name of a header.
    HeaderName,
    /// The value of a header.
    HeaderValue,
}

impl std::fmt::Display for RecordPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
            Self::HeaderName => "header name",
            Self::HeaderValue => "header value",
        })
    }
}

/// What is wrong with compressed records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecFault {
    /// Not what the codec's format allows.
    #[error("is malformed")]
    Malformed,
    /// The stream does not end.
    #[error("is cut")]
    Cut,
    /// A checksum or size inside the stream is wrong.
    #[error("has a wrong checksum or size")]
    Checksum,
    /// A part of the format that Kafka's clients do not use: names and comments in gzip, dependent blocks and
    /// dictionaries in lz4, dictionaries and skippable frames in zstd.
    #[error("uses an unsupported feature")]
    Unsupported,
    /// A zstd frame that cannot be read without more memory than any level of the format asks of a reader by default.
    #[error("needs a window that is too large")]
    Window,
    /// A second frame, member or stream header: some readers go on into it, others do not.
    #[error("has a second frame")]
    SecondFrame,
    /// Bytes behind the end of the stream.
    #[error("has trailing bytes")]
    TrailingBytes,
}
