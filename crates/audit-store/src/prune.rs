//! Finds what the retention policy lets go, beside the running store, and gives its space back once it is gone.
//!
//! ```text
//! Pruner::plan ──Plan──► Store::stage, then one entry of kind `prune` ──► one batch:  entry + cut row + removal
//! ```
//!
//! It reads every entry that is about to go and checks its place in the chain: a log that is damaged is evidence and stays.

use std::fmt;
use std::sync::Weak;

use rocksdb::{DB, ReadOptions};
use weir_audit::{ChainState, Entry, Head, PRUNE_STEP, Prune, chain};

use crate::age::{Age, Held, STEP_MAX, Steps, time_of};
use crate::cut::read_cut;
use crate::database::{ENTRY, INDEX, STATE, family, read_state};
use crate::error::StoreError;
use crate::index::Seen;

/// Plans on the database of a store while that is open; afterwards there is nothing to plan.
#[derive(Clone)]
pub struct Pruner {
    db: Weak<DB>,
    steps: Steps,
}

/// What may go, and what must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Entries that are too old go.
    pub age: Option<Age>,
    /// So many bytes of entries go, whatever their age.
    pub bytes: u64,
    /// Entries from this sequence number on stay: nothing outside the log vouches for them yet.
    pub covered: u64,
}

/// What goes next.
#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the entry says.
    pub prune: Prune,
    /// Whether more is to go after this.
    pub more: bool,
    pub(crate) index_rows: Vec<[u8; 17]>,
}

impl Pruner {
    pub(crate) fn new(db: Weak<DB>) -> Self {
        Self { db, steps: Steps::default() }
    }

    /// What goes next, not more than [`PLAN_ENTRIES_MAX`] entries; `None` = nothing.
    ///
    /// # Errors
    /// When the database cannot be read, or what is to go is damaged.
    pub fn plan(&self, demand: &Demand) -> Result<Option<Plan>, StoreError> {
        let Some(db) = self.db.upgrade() else { return Ok(None) };
        let Some(state) = read_state(&db)? else { return Ok(None) };
        let begin = read_cut(&db)?.unwrap_or_else(|| ChainState::new(state.chain));
        let from = begin.head.size();
        let old = demand.age.map(|age| self.steps.judge(&db, from, &state, &age)).transpose()?;
        let mut draft = Draft { chain: begin, seen: Seen::default(), rows: Vec::new(), bytes: 0 };
        let end = demand.covered.min(state.head.size()) / PRUNE_STEP * PRUNE_STEP;
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut rows = db.raw_iterator_cf_opt(family(&db, ENTRY)?, options);
        rows.seek(from.to_be_bytes());
        let mut more = false;
        while draft.chain.head.size() < end {
            let step = draft.step(&mut rows)?;
            let Head { last_at, frontier, .. } = &step.chain.head;
            let old = old.as_ref().is_some_and(|old| old.is_old(frontier.size().saturating_sub(1), *last_at));
            if !old && draft.bytes >= demand.bytes {
                break;
            }
            if draft.is_full_with(&step, from) {
                more = true;
                break;
            }
            draft.take(step);
        }
        let to = draft.chain.head.size();
        let prune = Prune { from, cut: draft.chain.head, note: None };
        Ok((to > from).then_some(Plan { prune, more, index_rows: draft.rows }))
    }

    /// What keeps a first step of entries that the clock alone would let go; `None` = nothing does.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn held(&self, age: &Age) -> Result<Option<Held>, StoreError> {
        let Some(db) = self.db.upgrade() else { return Ok(None) };
        let Some(state) = read_state(&db)? else { return Ok(None) };
        let first = read_cut(&db)?.map_or(0, |cut| cut.head.size());
        let last = first.saturating_add(PRUNE_STEP - 1);
        if last >= state.head.size() {
            return Ok(None);
        }
        let (old, at) = (self.steps.judge(&db, first, &state, age)?, time_of(&db, last)?);
        let by_clock = at < age.now.saturating_sub(age.max);
        if !by_clock || old.is_old(last, at) {
            return Ok(None);
        }
        let since = age.now.saturating_sub(state.head.last_at).saturating_sub(STEP_MAX);
        Ok(Some(Held { uncounted: old.uncounted(last).saturating_add(since) }))
    }

    /// Gives the space of what was pruned back to the file system. Reads and writes what is near; takes its time.
    ///
    /// # Errors
    /// When the database says no.
    pub fn compact(&self, first: u64) -> Result<(), StoreError> {
        let Some(db) = self.db.upgrade() else { return Ok(()) };
        for name in [STATE, ENTRY, INDEX] {
            db.flush_cf(family(&db, name)?).map_err(StoreError::database("flush"))?;
        }
        db.compact_range_cf(family(&db, ENTRY)?, None::<[u8; 8]>, Some(first.to_be_bytes()));
        Ok(())
    }
}

/// What goes so far.
struct Draft {
    chain: ChainState,
    seen: Seen,
    rows: Vec<[u8; 17]>,
    bytes: u64,
}

/// The next [`PRUNE_STEP`] entries.
struct Tile {
    chain: ChainState,
    rows: Vec<[u8; 17]>,
    bytes: u64,
}

impl Draft {
    fn step(&mut self, rows: &mut rocksdb::DBRawIterator<'_>) -> Result<Tile, StoreError> {
        let mut tile = Tile { chain: self.chain.clone(), rows: Vec::new(), bytes: 0 };
        for _ in 0..PRUNE_STEP {
            let Some((_, bytes)) = rows.item() else {
                rows.status().map_err(StoreError::database("read"))?;
                return Err(DAMAGED);
            };
            let Head { last, last_at, frontier } = &mut tile.chain.head;
            let entry = Entry::decode(bytes).map_err(|_| DAMAGED)?;
            if entry.seq != frontier.size() || entry.prev != *last || entry.log != tile.chain.chain {
                return Err(DAMAGED);
            }
            *last = chain::leaf_hash(bytes);
            *last_at = entry.at;
            frontier.push(*last);
            self.seen.rows(entry.seq, &entry.body, |row| tile.rows.push(row));
            tile.bytes = tile.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            rows.next();
        }
        Ok(tile)
    }

    /// A plan of one step is never too large: there would be none otherwise.
    fn is_full_with(&self, tile: &Tile, from: u64) -> bool {
        let (entries, rows) = (tile.chain.head.size() - from, self.rows.len() + tile.rows.len());
        self.bytes > 0 && (entries > PLAN_ENTRIES_MAX || rows > PLAN_INDEX_ROWS_MAX)
    }

    fn take(&mut self, tile: Tile) {
        self.chain = tile.chain;
        self.bytes = self.bytes.saturating_add(tile.bytes);
        self.rows.extend(tile.rows);
    }
}

impl fmt::Debug for Pruner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pruner").finish_non_exhaustive()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prune, more, index_rows) = (&self.prune, self.more, self.index_rows.len());
        f.debug_struct("Plan").field("prune", prune).field("more", &more).field("index_rows", &index_rows).finish()
    }
}

/// Entries of one plan: 256 steps, about a tenth of a second to read and hash.
pub const PLAN_ENTRIES_MAX: u64 = 65_536;

/// Index rows of one plan, unless one step has more: they are removed in the batch of the prune entry, which others wait behind.
pub const PLAN_INDEX_ROWS_MAX: usize = 32_768;

const DAMAGED: StoreError = StoreError::Damaged { what: "entries that are old enough to go are not what they were" };
