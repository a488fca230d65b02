//! The log of the running gateway.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{DB, Direction, IteratorMode, WriteBatch, WriteOptions};
use weir_audit::tree::Frontier;
use weir_audit::{
    ChainState, Checkpoint, Entry, EntrySink, HeadNote, IntentId, IntentRow, KeptCheckpoint, Prune, SealedEntry,
    SignedCheckpoint, Signer, SinkBatch, chain,
};

use crate::begin::{self, Chain};
use crate::checkpoints;
use crate::cut::{check_cut, read_cut};
use crate::database::{self, CUT_BY_KEY, CUT_KEY, ENTRY, HEAD_KEY, INDEX, INTENT_PREFIX, STATE, family, read_state};
use crate::error::StoreError;
use crate::files::{CheckpointFile, Layout};
use crate::index::Seen;
use crate::keys::Keys;
use crate::prune::{Plan, Pruner};

/// An [`EntrySink`] on RocksDB. One process may have it open; readers may be many.
#[derive(Debug)]
pub struct Store {
    db: Arc<DB>,
    layout: Layout,
    state: ChainState,
    seen: Seen,
    /// The first entry that is left.
    first: u64,
    staged: Option<Plan>,
    failed: bool,
    /// The first checkpoint is still to come.
    begins: bool,
}

/// What was found when a store was opened.
#[derive(Debug)]
pub struct Opened {
    /// Where the log stands, checked against its last entry and its head file.
    pub chain: ChainState,
    /// Intents that a crash left open. Each must become a `recovered` entry that closes it ([`IntentRow::recovered`]).
    pub in_doubt: Vec<IntentRow>,
    /// The chain id and the digest key.
    pub keys: Keys,
    /// The last checkpoint, with its tree; `None` before the first one.
    pub checkpoint: Option<KeptCheckpoint>,
    /// The log is being begun: its first checkpoint is to be made before anything else ([`Store::sync_checkpoint`]).
    pub begins: bool,
    /// The log says that another key signs than the one of the last checkpoint.
    pub key_changed: bool,
}

impl Store {
    /// Opens the log of a data directory, or begins one with its keys where nothing is.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it; [`StoreError::Behind`], [`StoreError::Forked`],
    /// [`StoreError::DatabaseMissing`], [`StoreError::CheckpointMissing`] or another damage when it is not the log that it was: then
    /// nothing must be served from it.
    pub fn open(data_dir: &Path) -> Result<(Self, Opened), StoreError> {
        let layout = Layout::new(data_dir);
        if layout.accept_loss.exists() {
            return Err(StoreError::LossPending);
        }
        Self::open_anyway(&layout)
    }

    /// Opens the log also while a loss is being accepted. Where it refuses, everything is as it was.
    pub(crate) fn open_anyway(layout: &Layout) -> Result<(Self, Opened), StoreError> {
        let layout = layout.clone();
        let Chain { name, begins } = Chain::of(&layout)?;
        layout.make()?;
        let (noted, last) = (layout.head.read()?, layout.checkpoint.read()?);
        let db = database::open(&layout.database, begins)?;
        let chain = read_state(&db)?.unwrap_or_else(|| ChainState::new(name));
        if chain.chain != name {
            return Err(StoreError::OtherChain { log: chain.chain, path: layout.chain_id });
        }
        check_last_entry(&db, &chain)?;
        let cut = read_cut(&db)?;
        check_cut(&db, &chain, cut.as_ref())?;
        if let Some(noted) = &noted {
            check_note(&db, &chain, cut.as_ref(), noted)?;
        }
        let begin = cut.map_or_else(Frontier::new, |cut| cut.head.frontier);
        let vouched = match last {
            Some(last) => Some(checkpoints::check_all(&db, &layout, &chain, &begin, &last)?),
            None if begins && begin::is_fresh(&db, &chain)? => None,
            None => {
                let (path, rows) = (layout.checkpoint.path().to_owned(), chain.head.size());
                return Err(StoreError::CheckpointMissing { path, rows });
            }
        };
        let (checkpoint, key_changed) = vouched.map_or((None, false), |(kept, changed)| (Some(kept), changed));
        let in_doubt = read_intents(&db)?;
        let keys = Keys::open(&layout, name, begins)?;
        let store = Self {
            db: Arc::new(db),
            layout,
            state: chain.clone(),
            seen: Seen::default(),
            first: begin.size(),
            staged: None,
            failed: false,
            begins,
        };
        Ok((store, Opened { chain, in_doubt, keys, checkpoint, begins, key_changed }))
    }

    /// Signs the log as it stands and writes the checkpoint beside the database: of a log that is being begun the first. Later ones the
    /// gateway makes on a thread of its own, see [`Store::checkpoint_file`].
    ///
    /// # Errors
    /// When the signer refuses, or the file system says no; the old file is still there then.
    pub fn sync_checkpoint(&mut self, signer: &mut Signer) -> Result<SignedCheckpoint, StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        let signed = signer.sign(&Checkpoint::of(&self.state))?;
        self.layout.checkpoint.write(&signed)?;
        if self.begins {
            begin::end(&self.layout)?;
            self.begins = false;
        }
        Ok(signed)
    }

    /// The file with the last checkpoint.
    #[must_use]
    pub fn checkpoint_file(&self) -> CheckpointFile {
        self.layout.checkpoint.clone()
    }

    /// The first entry that is left: 0 while nothing was pruned.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Plans what goes, on another thread than the one that appends.
    #[must_use]
    pub fn pruner(&self) -> Pruner {
        Pruner::new(Arc::downgrade(&self.db))
    }

    /// Takes a plan, whose prune entry must be appended next. False when it is not about this log as it is now.
    pub fn stage(&mut self, plan: Plan) -> bool {
        let fits = plan.prune.from == self.first && plan.prune.cut.size() <= self.state.head.size();
        self.staged = fits.then_some(plan);
        fits
    }

    /// Closes and opens again; what to do after an append failed. The intents that come back now belong to sessions that may be alive:
    /// these close them, or the next start does.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn reopen(self) -> Result<(Self, Opened), StoreError> {
        let data_dir = self.layout.data_dir.clone();
        drop(self);
        Self::open(&data_dir)
    }
}

impl EntrySink for Store {
    type Error = StoreError;

    fn append_durably(&mut self, batch: &SinkBatch) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        // Until the database says Ok it is unknown what is durable.
        self.failed = true;
        let expected = self.state.head.size();
        let found = batch.entries.first().map_or(batch.head.size(), |first| first.entry.seq);
        if found != expected || batch.chain != self.state.chain {
            return Err(StoreError::OutOfPlace { expected, found });
        }
        let db = Arc::clone(&self.db);
        let (state, entry, index) = (family(&db, STATE)?, family(&db, ENTRY)?, family(&db, INDEX)?);
        let mut write = WriteBatch::default();
        let mut first = self.first;
        for SealedEntry { entry: Entry { seq, body, .. }, bytes } in &batch.entries {
            write.put_cf(entry, seq.to_be_bytes(), bytes);
            self.seen.rows(*seq, body, |key| write.put_cf(index, key, []));
            if let Some(prune) = &body.prune {
                self.remove(&mut write, *seq, prune)?;
                first = prune.cut.size();
            }
        }
        if !batch.entries.is_empty() {
            write.put_cf(state, HEAD_KEY, batch.head.encode(&batch.chain));
        }
        if let Some(kept) = &batch.checkpoint {
            checkpoints::put(&self.db, &mut write, kept)?;
        }
        batch.intents_put.iter().for_each(|(id, bytes)| write.put_cf(state, intent_key(id), bytes));
        batch.intents_removed.iter().for_each(|id| write.delete_cf(state, intent_key(id)));
        let mut options = WriteOptions::default();
        options.set_sync(true);
        db.write_opt(write, &options).map_err(StoreError::database("append to"))?;
        self.state.head = batch.head.clone();
        self.first = first;
        self.failed = false;
        Ok(())
    }
}

impl Store {
    /// Adds to the batch of a prune entry what it does: the entries go, and the row says where the log begins.
    fn remove(&mut self, write: &mut WriteBatch, seq: u64, prune: &Prune) -> Result<(), StoreError> {
        let planned = self.staged.take().filter(|plan| plan.prune.from == prune.from && plan.prune.cut == prune.cut);
        let Some(plan) = planned.filter(|_| prune.from == self.first) else {
            return Err(StoreError::OutOfPlace { expected: self.first, found: prune.from });
        };
        let (state, entry, index) = (family(&self.db, STATE)?, family(&self.db, ENTRY)?, family(&self.db, INDEX)?);
        write.delete_range_cf(entry, prune.from.to_be_bytes(), prune.cut.size().to_be_bytes());
        plan.index_rows.iter().for_each(|key| write.delete_cf(index, key));
        write.put_cf(state, CUT_KEY, prune.cut.encode(&self.state.chain));
        write.put_cf(state, CUT_BY_KEY, seq.to_be_bytes());
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A compaction that a pruner began ends here, so that the database is closed soon and can be opened again.
        self.db.cancel_all_background_work(false);
    }
}

/// The last entry must be the one that the head row was written with.
fn check_last_entry(db: &DB, state: &ChainState) -> Result<(), StoreError> {
    let last = db.iterator_cf(family(db, ENTRY)?, IteratorMode::End).next();
    let last = last.transpose().map_err(StoreError::database("read"))?;
    let head = &state.head;
    let Some((key, bytes)) = last else {
        return if head.size() == 0 {
            Ok(())
        } else {
            Err(StoreError::Damaged { what: "it has a head and no entries" })
        };
    };
    let entry = Entry::decode(&bytes).map_err(|_| StoreError::Damaged { what: "its last entry does not decode" })?;
    let fits = *key == entry.seq.to_be_bytes()
        && entry.seq.checked_add(1) == Some(head.size())
        && entry.log == state.chain
        && entry.at == head.last_at
        && chain::leaf_hash(&bytes) == head.last;
    if fits { Ok(()) } else { Err(StoreError::Damaged { what: "its last entry is not what its head row says" }) }
}

/// The log must extend what the head file says.
fn check_note(db: &DB, state: &ChainState, cut: Option<&ChainState>, note: &HeadNote) -> Result<(), StoreError> {
    let rows = state.head.size();
    if note.chain != state.chain {
        return Err(StoreError::Damaged { what: "its head file is another chain's" });
    }
    if note.size > rows {
        return Err(StoreError::Behind { rows, noted: note.size });
    }
    let Some(seq) = note.size.checked_sub(1) else { return Ok(()) };
    let same = match cut.map(|cut| &cut.head) {
        Some(cut) if note.size < cut.size() => {
            return Err(StoreError::Damaged { what: "its head file is older than its first entry" });
        }
        // Everything that the head file knew of is gone.
        Some(cut) if note.size == cut.size() => cut.note(state.chain) == *note,
        Some(_) | None => {
            let row = db.get_pinned_cf(family(db, ENTRY)?, seq.to_be_bytes()).map_err(StoreError::database("read"))?;
            row.is_some_and(|bytes| chain::leaf_hash(&bytes) == note.last)
        }
    };
    if same && (note.size != rows || note.root == state.head.frontier.root()) {
        Ok(())
    } else {
        Err(StoreError::Forked { seq })
    }
}

fn read_intents(db: &DB) -> Result<Vec<IntentRow>, StoreError> {
    let from = IteratorMode::From(INTENT_PREFIX, Direction::Forward);
    let mut intents = Vec::new();
    for row in db.iterator_cf(family(db, STATE)?, from) {
        let (key, bytes) = row.map_err(StoreError::database("read"))?;
        let Some(id) = key.strip_prefix(INTENT_PREFIX) else { break };
        let damaged = StoreError::Damaged { what: "an open intent does not decode" };
        let Ok(id) = id.try_into() else { return Err(damaged) };
        intents.push(IntentRow::decode(IntentId(id), &bytes).map_err(|_| damaged)?);
    }
    // In the order in which they were made.
    intents.sort_by_key(|intent| (intent.body.at, intent.id));
    Ok(intents)
}

fn intent_key(id: &IntentId) -> Vec<u8> {
    [INTENT_PREFIX, &id.0].concat()
}
