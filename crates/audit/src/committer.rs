//! Group commit: what callers queued becomes one durable batch, and only then receipts.

use crate::chain::{ChainState, Head, leaf_hash};
use crate::checkpoint::KeptCheckpoint;
use crate::entry::{Entry, EntryBody, IntentRow, split};
use crate::ids::{IntentId, Ticket};
use crate::{ChainId, Hash};

/// What must be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// A durable row that says what is about to be forwarded. Not chained.
    Intent(IntentRow),
    /// One chained entry (several, when its lists are long), which closes intents in the same batch.
    Entry {
        /// What happened.
        entry: EntryBody,
        /// The intents that it answers for.
        closes: Vec<IntentId>,
    },
}

/// Proof that the [`Commit`] of a ticket is durable. Only a [`Committer`] makes one, after its sink said so; it cannot be copied, and
/// who takes it takes it by value.
#[derive(Debug)]
#[must_use]
pub struct Receipt {
    ticket: Ticket,
}

impl Receipt {
    /// The ticket that is answered.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }
}

/// Where batches become durable.
pub trait EntrySink {
    /// Why a batch did not become durable.
    type Error;

    /// Makes one batch durable, whole or not at all: after `Ok`, neither a crash of the process nor one of the machine loses it.
    ///
    /// # Errors
    /// After an error it is unknown whether the batch is durable. The sink must be reopened and read before anything is appended.
    fn append_durably(&mut self, batch: &SinkBatch) -> Result<(), Self::Error>;
}

/// What a sink makes durable at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkBatch {
    /// The chain.
    pub chain: ChainId,
    /// New entries, in order of `seq`.
    pub entries: Vec<SealedEntry>,
    /// Where the log stands after this batch.
    pub head: Head,
    /// Intent rows to write, with their encoding.
    pub intents_put: Vec<(IntentId, Vec<u8>)>,
    /// Intent rows to remove; after those to write.
    pub intents_removed: Vec<IntentId>,
    /// A checkpoint of entries that are durable already, to be kept with them.
    pub checkpoint: Option<KeptCheckpoint>,
}

/// An entry with the bytes that are its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// The entry, for indexes; never evidence.
    pub entry: Entry,
    /// Its encoding: what is stored and hashed.
    pub bytes: Vec<u8>,
}

/// A batch that is not what its head says: memory or code went wrong between hashing and writing. (In 2022 a public log died of one
/// flipped bit in a cached hash.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// An entry's bytes do not decode.
    #[error("the bytes of entry {seq} do not decode")]
    Bytes {
        /// Which entry.
        seq: u64,
    },
    /// An entry does not follow the one before it.
    #[error("entry {seq} does not follow the entry before it")]
    Link {
        /// Which entry.
        seq: u64,
    },
    /// The head does not fit the entries.
    #[error("the head does not fit the entries of its batch")]
    Head,
}

/// What came of a group of commits.
#[derive(Debug, Default)]
pub struct Committed {
    /// Of what is durable.
    pub receipts: Vec<Receipt>,
    /// Of what is not, or perhaps not.
    pub unrecorded: Vec<Ticket>,
}

/// Gives entries their place in the chain and mints receipts. One owner, one thread; it never waits for anything but its sink.
#[derive(Debug)]
pub struct Committer<S: EntrySink> {
    sink: S,
    state: ChainState,
    checkpoint: Option<Box<KeptCheckpoint>>,
    poison: Option<Poison<S::Error>>,
}

/// Why a committer no longer commits.
#[derive(Debug)]
enum Poison<E> {
    Sink(E),
    Batch(BatchFault),
    /// The error was taken; the poison stays.
    Taken,
}

impl<S: EntrySink> Committer<S> {
    /// Takes a sink that was just opened, and where its log stands.
    #[must_use]
    pub fn open(sink: S, state: ChainState) -> Self {
        Self { sink, state, checkpoint: None, poison: None }
    }

    /// Where the log stands: what is durable, or was when the sink last said so.
    #[must_use]
    pub fn state(&self) -> &ChainState {
        &self.state
    }

    /// The sink, for what is not appending (its head file, a test's controls).
    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Has a checkpoint written with the next batch. It says nothing that is not durable already, so it needs no sync of its own; of
    /// two before one batch the later is kept.
    pub fn keep(&mut self, checkpoint: KeptCheckpoint) {
        self.checkpoint = Some(Box::new(checkpoint));
    }

    /// Gives the sink back, for reopening.
    #[must_use]
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// Whether an append failed. Where the log stands is unknown then: everything is unrecorded until the sink was reopened and given
    /// to a new committer.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// The sink's error that poisoned this committer, once.
    pub fn take_error(&mut self) -> Option<S::Error> {
        match self.poison.take()? {
            Poison::Sink(error) => {
                self.poison = Some(Poison::Taken);
                Some(error)
            }
            other @ (Poison::Batch(_) | Poison::Taken) => {
                self.poison = Some(other);
                None
            }
        }
    }

    /// The fault found in a batch before it was written, when that poisoned this committer.
    #[must_use]
    pub fn fault(&self) -> Option<BatchFault> {
        match self.poison {
            Some(Poison::Batch(fault)) => Some(fault),
            Some(Poison::Sink(_) | Poison::Taken) | None => None,
        }
    }

    /// Commits what was queued, in order, in as few batches as [`BATCH_ENTRIES_MAX`] and [`BATCH_BYTES_MAX`] allow. One ticket's commit
    /// is never torn over two batches.
    pub fn commit(&mut self, queued: Vec<(Ticket, Commit)>) -> Committed {
        let mut committed = Committed::default();
        let mut draft = Draft::new(&self.state);
        for (ticket, commit) in queued {
            if draft.is_full() {
                self.append(draft, &mut committed);
                draft = Draft::new(&self.state);
            }
            draft.add(ticket, commit);
        }
        self.append(draft, &mut committed);
        committed
    }

    fn append(&mut self, draft: Draft, committed: &mut Committed) {
        let Draft { mut batch, tickets, .. } = draft;
        if tickets.is_empty() {
            return;
        }
        if self.poison.is_none() {
            batch.checkpoint = self.checkpoint.take().map(|kept| *kept);
            self.poison = match batch.check(&self.state) {
                Err(fault) => Some(Poison::Batch(fault)),
                Ok(()) => self.sink.append_durably(&batch).err().map(Poison::Sink),
            };
        }
        if self.poison.is_some() {
            committed.unrecorded.extend(tickets);
            return;
        }
        self.state.head = batch.head;
        // INVARIANT: the only place where receipts are made, behind the only append.
        committed.receipts.extend(tickets.into_iter().map(|ticket| Receipt { ticket }));
    }
}

impl SinkBatch {
    /// Checks the bytes that are about to be written against the head that is written with them, from the state before: decodes, hashes
    /// and links each entry again.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self, before: &ChainState) -> Result<(), BatchFault> {
        let mut head = before.head.clone();
        for SealedEntry { entry, bytes } in &self.entries {
            let seq = entry.seq;
            let stored = Entry::decode(bytes).map_err(|_| BatchFault::Bytes { seq })?;
            if stored != *entry {
                return Err(BatchFault::Bytes { seq });
            }
            let follows = stored.seq == head.size()
                && stored.prev == head.last
                && stored.log == before.chain
                && stored.at >= head.last_at;
            if !follows {
                return Err(BatchFault::Link { seq });
            }
            head.last = leaf_hash(bytes);
            head.last_at = stored.at;
            head.frontier.push(head.last);
        }
        if head == self.head && self.chain == before.chain { Ok(()) } else { Err(BatchFault::Head) }
    }
}

/// A batch in the making.
struct Draft {
    batch: SinkBatch,
    tickets: Vec<Ticket>,
    bytes: usize,
}

impl Draft {
    fn new(state: &ChainState) -> Self {
        let batch = SinkBatch {
            chain: state.chain,
            entries: Vec::new(),
            head: state.head.clone(),
            intents_put: Vec::new(),
            intents_removed: Vec::new(),
            checkpoint: None,
        };
        Self { batch, tickets: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.batch.entries.len() + self.batch.intents_put.len() >= BATCH_ENTRIES_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    fn add(&mut self, ticket: Ticket, commit: Commit) {
        self.tickets.push(ticket);
        match commit {
            Commit::Intent(row) => {
                let bytes = row.encode();
                self.bytes += bytes.len();
                self.batch.intents_put.push((row.id, bytes));
            }
            Commit::Entry { entry, closes } => {
                self.batch.intents_removed.extend(closes);
                split(entry).into_iter().for_each(|(split, body)| self.seal(split, body));
            }
        }
    }

    fn seal(&mut self, split: Option<crate::entry::Split>, body: EntryBody) {
        let head = &mut self.batch.head;
        let at = body.at.max(head.last_at);
        let entry = Entry { log: self.batch.chain, seq: head.size(), prev: head.last, at, split, body };
        let bytes = entry.encode();
        let leaf: Hash = leaf_hash(&bytes);
        head.last = leaf;
        head.last_at = at;
        head.frontier.push(leaf);
        self.bytes += bytes.len();
        self.batch.entries.push(SealedEntry { entry, bytes });
    }
}

/// Entries and intents of one batch. Measured: beyond some thousand the sync is no longer what a batch costs.
pub const BATCH_ENTRIES_MAX: usize = 4096;

/// Bytes of one batch after which no further commit joins it; the last one may pass it.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
