//! Fetch (1), versions 4-18. Fetch sessions from 7 (KIP-227), the consumer's rack from 11 (KIP-392), flexible from 12,
//! topic ids from 13 (KIP-516), the replica's state as a tag from 15 (KIP-903), endpoints of new leaders from 16
//! (KIP-951), the follower's directory id from 17 (KIP-853), its high watermark from 18 (KIP-1166).

mod answer;
mod request;
mod response;

pub use self::answer::{FetchRefusal, fetch_error_response};
pub use self::request::{FetchPartition, FetchRequest, FetchTopic};
pub use self::response::{FetchResponse, FetchedPartition, FetchedTopic, NodeEndpoint};
