//! Finds topics and partitions that stand in one request twice.
//!
//! A broker keeps such entries in a map in which the last one wins; whoever looks at the first only would be passed by.

use std::ops::Range;

use smallvec::SmallVec;

use super::fault::Fault;
use super::walk::Value;
use crate::api::ApiKey;
use crate::schema::id;

/// Up to this many entries are compared pair by pair; more are sorted.
const PAIRWISE_MAX: usize = 16;

/// The fields of a request that name topics and partitions.
#[derive(Debug)]
pub(crate) struct Watch {
    topics: u16,
    /// The name, and the id that took its place.
    topic: [u16; 2],
    partitions: u16,
    index: u16,
    /// Whether one topic may stand in the array several times, with different partitions.
    topic_may_repeat: bool,
}

/// What to watch in a request of this API.
pub(crate) fn watch(api: ApiKey) -> Option<&'static Watch> {
    match api {
        ApiKey::Produce => Some(&PRODUCE),
        ApiKey::Fetch => Some(&FETCH),
        ApiKey::ListOffsets => Some(&LIST_OFFSETS),
        ApiKey::OffsetCommit => Some(&OFFSET_COMMIT),
        // Nothing is decided per entry there, or an entry named twice means what it means once.
        ApiKey::Metadata
        | ApiKey::OffsetFetch
        | ApiKey::FindCoordinator
        | ApiKey::JoinGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::SaslHandshake
        | ApiKey::ApiVersions
        | ApiKey::InitProducerId
        | ApiKey::DescribeConfigs
        | ApiKey::SaslAuthenticate => None,
    }
}

static PRODUCE: Watch = Watch {
    topics: id::produce_request::TOPIC_DATA,
    topic: [id::produce_request::TOPIC_DATA_NAME, id::produce_request::TOPIC_DATA_TOPIC_ID],
    partitions: id::produce_request::TOPIC_DATA_PARTITION_DATA,
    index: id::produce_request::TOPIC_DATA_PARTITION_DATA_INDEX,
    topic_may_repeat: false,
};

/// librdkafka starts a new topic entry whenever the next partition in its round-robin belongs to another topic, so that
/// one topic comes several times with different partitions. That has one reading; the same partition twice has not.
static FETCH: Watch = Watch {
    topics: id::fetch_request::TOPICS,
    topic: [id::fetch_request::TOPICS_TOPIC, id::fetch_request::TOPICS_TOPIC_ID],
    partitions: id::fetch_request::TOPICS_PARTITIONS,
    index: id::fetch_request::TOPICS_PARTITIONS_PARTITION,
    topic_may_repeat: true,
};

static LIST_OFFSETS: Watch = Watch {
    topics: id::list_offsets_request::TOPICS,
    topic: [id::list_offsets_request::TOPICS_NAME, id::list_offsets_request::TOPICS_NAME],
    partitions: id::list_offsets_request::TOPICS_PARTITIONS,
    index: id::list_offsets_request::TOPICS_PARTITIONS_PARTITION_INDEX,
    topic_may_repeat: false,
};

static OFFSET_COMMIT: Watch = Watch {
    topics: id::offset_commit_request::TOPICS,
    topic: [id::offset_commit_request::TOPICS_NAME, id::offset_commit_request::TOPICS_TOPIC_ID],
    partitions: id::offset_commit_request::TOPICS_PARTITIONS,
    index: id::offset_commit_request::TOPICS_PARTITIONS_PARTITION_INDEX,
    topic_may_repeat: false,
};

/// The topics and partitions met so far. Grows with what was received, up to the limit on elements.
#[derive(Debug)]
pub(crate) struct Duplicates<'a> {
    frame: &'a [u8],
    watch: &'static Watch,
    topics: SmallVec<[Topic; 8]>,
    indexes: SmallVec<[i32; 32]>,
}

#[derive(Debug, Clone)]
struct Topic {
    /// The bytes of the name or id in the frame.
    name: Range<usize>,
    /// Its partitions, in `indexes`.
    partitions: Range<usize>,
}

impl<'a> Duplicates<'a> {
    pub(crate) fn new(frame: &'a [u8], watch: &'static Watch) -> Self {
        Self { frame, watch, topics: SmallVec::new(), indexes: SmallVec::new() }
    }

    pub(crate) fn value(&mut self, id: u16, value: &Value<'_>) {
        if id == self.watch.index {
            self.indexes.push(value.int32());
        } else if self.watch.topic.contains(&id) {
            let from = self.indexes.len();
            self.topics.push(Topic { name: value.content.clone().unwrap_or_default(), partitions: from..from });
        }
    }

    pub(crate) fn array_end(&mut self, id: u16) -> Result<(), Fault> {
        if id == self.watch.partitions {
            self.end_partitions()
        } else if id == self.watch.topics {
            self.end_topics()
        } else {
            Ok(())
        }
    }

    fn end_partitions(&mut self) -> Result<(), Fault> {
        let end = self.indexes.len();
        let Some(topic) = self.topics.last_mut() else { return Ok(()) };
        topic.partitions.end = end;
        let indexes = self.indexes.get_mut(topic.partitions.clone()).unwrap_or_default();
        if has_twice(indexes) { Err(Fault::DuplicatePartition) } else { Ok(()) }
    }

    fn end_topics(&mut self) -> Result<(), Fault> {
        let frame = self.frame;
        let name = |topic: &Topic| frame.get(topic.name.clone()).unwrap_or_default();
        if self.topics.len() <= PAIRWISE_MAX {
            let mut rest = self.topics.iter();
            let mut repeats = false;
            while let Some(topic) = rest.next() {
                repeats |= rest.as_slice().iter().any(|other| name(other) == name(topic));
            }
            if !repeats {
                return Ok(());
            }
        }
        self.topics.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        for same in self.topics.chunk_by(|one, other| name(one) == name(other)).filter(|same| same.len() > 1) {
            if !self.watch.topic_may_repeat {
                return Err(Fault::DuplicateTopic);
            }
            let mut indexes: SmallVec<[i32; 32]> = SmallVec::new();
            for topic in same {
                indexes.extend_from_slice(self.indexes.get(topic.partitions.clone()).unwrap_or_default());
            }
            if has_twice(&mut indexes) {
                return Err(Fault::DuplicatePartition);
            }
        }
        Ok(())
    }
}

/// Whether a number stands there twice. May sort.
fn has_twice(numbers: &mut [i32]) -> bool {
    if numbers.len() > PAIRWISE_MAX {
        numbers.sort_unstable();
        return numbers.windows(2).any(|pair| matches!(pair, [one, other] if one == other));
    }
    let mut rest = numbers.iter();
    while let Some(number) = rest.next() {
        if rest.as_slice().contains(number) {
            return true;
        }
    }
    false
}
