//! A sink in memory, for tests of what stands in front of the log. It is public because other crates' scenarios need it, and of no use
//! in a gateway: nothing in it is durable.

use std::collections::BTreeMap;

use crate::chain::ChainState;
use crate::committer::{EntrySink, SealedEntry, SinkBatch};
use crate::entry::IntentRow;
use crate::ids::{ChainId, IntentId};

/// An [`EntrySink`] of test scenarios that keeps everything in memory and fails when told to.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    entries: Vec<SealedEntry>,
    intents: BTreeMap<IntentId, Vec<u8>>,
    state: Option<ChainState>,
    batches: u64,
    batches_left: Option<u64>,
}

/// The failure that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory sink was told to fail")]
pub struct MemorySinkError;

impl MemorySink {
    /// From now on every append fails.
    pub fn fail_from_now(&mut self) {
        self.fail_after(0);
    }

    /// After `batches` more appends, every one fails.
    pub fn fail_after(&mut self, batches: u64) {
        self.batches_left = Some(batches);
    }

    /// Appends succeed again.
    pub fn heal(&mut self) {
        self.batches_left = None;
    }

    /// Number of batches appended.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// The entries appended.
    #[must_use]
    pub fn entries(&self) -> &[SealedEntry] {
        &self.entries
    }

    /// The intents that are open.
    #[must_use]
    pub fn intents(&self) -> Vec<IntentRow> {
        self.intents.iter().filter_map(|(id, bytes)| IntentRow::decode(*id, bytes).ok()).collect()
    }

    /// Where the log stands; `chain` names it while nothing was appended.
    #[must_use]
    pub fn state(&self, chain: ChainId) -> ChainState {
        self.state.clone().unwrap_or_else(|| ChainState::new(chain))
    }
}

impl EntrySink for MemorySink {
    type Error = MemorySinkError;

    fn append_durably(&mut self, batch: &SinkBatch) -> Result<(), MemorySinkError> {
        match &mut self.batches_left {
            Some(0) => return Err(MemorySinkError),
            Some(left) => *left -= 1,
            None => {}
        }
        self.batches += 1;
        self.entries.extend_from_slice(&batch.entries);
        self.intents.extend(batch.intents_put.iter().cloned());
        batch.intents_removed.iter().for_each(|id| drop(self.intents.remove(id)));
        self.state = Some(ChainState { chain: batch.chain, head: batch.head.clone() });
        Ok(())
    }
}
