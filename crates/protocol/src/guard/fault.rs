//! What can be wrong with a frame: who sent what, and where, never the bytes themselves.

use std::fmt;

use crate::api::ApiKey;

/// Why a frame is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The frame ends before its header does.
    #[error("frame of {bytes} bytes is too short for a header")]
    TooShort {
        /// Bytes of the whole frame.
        bytes: usize,
    },
    /// The key is not one that weir serves. The body was not looked at.
    #[error("api key {api_key} is not served")]
    UnknownApi {
        /// The key in the request.
        api_key: i16,
    },
    /// The version is not one that weir serves. The body was not looked at.
    #[error("{api} version {version} is not served")]
    UnsupportedVersion {
        /// The API in the request.
        api: ApiKey,
        /// The version in the request.
        version: i16,
    },
    /// The frame is larger than any legal one of its API needs to be.
    #[error("{api} frame of {bytes} bytes is larger than {max}")]
    FrameTooLarge {
        /// The API.
        api: ApiKey,
        /// Bytes of the whole frame.
        bytes: usize,
        /// The limit of this API.
        max: usize,
    },
    /// A broker answered another request than the one whose turn it is.
    #[error("response carries correlation id {found}, expected {expected}")]
    CorrelationId {
        /// The id of the oldest request without an answer.
        expected: i32,
        /// The id in the response.
        found: i32,
    },
    /// The frame does not have exactly one reading under its schema.
    #[error("{message}{path} at byte {offset}: {fault}")]
    Malformed {
        /// The message, such as `FetchRequest`.
        message: &'static str,
        /// The field in which the fault was found.
        path: FieldPath,
        /// Where in the frame, in bytes.
        offset: usize,
        /// What is wrong there.
        fault: Fault,
    },
}

/// One thing that is wrong at one place of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A value, or as many elements as announced, cannot fit into the bytes that remain.
    #[error("more is announced than the frame holds")]
    Truncated,
    /// A length below -1, or below 0 where null is not legal either.
    #[error("length is negative")]
    NegativeLength,
    /// Null where the schema has no null.
    #[error("null is not legal here")]
    Null,
    /// A string of more than 32,767 bytes.
    #[error("string is longer than 32767 bytes")]
    StringTooLong,
    /// A string that is not UTF-8.
    #[error("string is not utf-8")]
    NotUtf8,
    /// A boolean other than 0 and 1, or a null marker other than -1 and 1.
    #[error("marker byte has no meaning")]
    Marker,
    /// A varint in more bytes than it needs, or past 32 bits.
    #[error("varint is over-long")]
    Varint,
    /// Tags that are not strictly ascending.
    #[error("tags are not in ascending order")]
    TagOrder,
    /// A tagged field that does not fill the size announced for it.
    #[error("tagged field does not fill its size")]
    TagSize,
    /// More array elements in the whole message than the limit.
    #[error("message has more array elements than the limit")]
    TooManyEntries,
    /// The same topic twice.
    #[error("topic stands in the request twice")]
    DuplicateTopic,
    /// The same partition of one topic twice.
    #[error("partition stands in the request twice")]
    DuplicatePartition,
    /// Bytes behind the end of the message.
    #[error("bytes are left behind the message")]
    TrailingBytes,
    /// Structs nested deeper than any schema nests them.
    #[error("structs are nested too deeply")]
    TooDeep,
}

/// The names of the fields that lead to a place, outermost first; written as `.Topics.Partitions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldPath {
    /// Innermost first: the path is put together on the way out.
    names: Vec<&'static str>,
}

impl FieldPath {
    /// The names, outermost first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.names.iter().rev().copied()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names().try_for_each(|name| write!(f, ".{name}"))
    }
}

/// A fault on its way out of the walk, which adds the names of the fields around it.
#[derive(Debug)]
pub(crate) struct Failure {
    fault: Fault,
    offset: usize,
    path: FieldPath,
}

impl Failure {
    pub(crate) fn new(fault: Fault, offset: usize) -> Self {
        Self { fault, offset, path: FieldPath::default() }
    }

    /// The same, inside the field called `name`.
    pub(crate) fn within(mut self, name: &'static str) -> Self {
        self.path.names.push(name);
        self
    }

    pub(crate) fn of(self, message: &'static str) -> GuardError {
        GuardError::Malformed { message, path: self.path, offset: self.offset, fault: self.fault }
    }
}
