//! Kafka's bytes: frames, message envelopes and record batches.
//!
//! Sans-IO: bytes come in as arguments and leave as return values. The layers, from the socket inwards:
//!
//! ```text
//! FrameReader         bytes → frames
//! check_request       frame → proof that it has exactly one reading, and what has to be cut out of it
//! check_response
//! envelope            checked frame → spans of what weir reads and edits in Produce and Fetch
//! Splices, Segments   edits → pieces for one vectored write, nothing copied that stays
//! records             the record batches inside
//! ```

mod api;
pub mod envelope;
mod frame;
mod guard;
pub mod records;
mod schema;
mod splice;
mod varint;

pub use crate::api::{ApiKey, PRODUCE_ADVERTISED_MIN};
pub use crate::envelope::{
    FetchPartition, FetchRefusal, FetchRequest, FetchResponse, FetchTopic, FetchedPartition, FetchedTopic,
    NodeEndpoint, ProducePartition, ProduceRequest, ProduceTopic, TopicKey, TopicRef, fetch_error_response,
};
pub use crate::frame::{FrameError, FrameReader};
pub use crate::guard::{
    Fault, FieldPath, GuardError, Request, RequestPrefix, Response, check_request, check_response, limits,
    peek_request, unsupported_version_response,
};
pub use crate::splice::{
    Segments, Splice, Splices, classic_string, compact_string, put_unsigned_varint, unsigned_varint,
};
