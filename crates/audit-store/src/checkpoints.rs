//! Signed checkpoints in the database, and what the last one says of the log that is opened.
//!
//! ```text
//! ckpt/ + size (8 bytes, big-endian)  →  note and subtree roots
//! ```
//!
//! The newest is kept, and the last one of each [`SPAN_ENTRIES`] entries and of each key; nothing removes those.

use rocksdb::{DB, Direction, IteratorMode, WriteBatch};
use weir_audit::checkpoint::{KeptCheckpoint, SignedCheckpoint};
use weir_audit::tree::Frontier;
use weir_audit::{ChainState, Entry, Kind, chain};

use crate::database::{ENTRY, STATE, family};
use crate::error::StoreError;
use crate::files::Layout;
use crate::keys;

/// Puts a row into a batch, in the place of the one before it where that need not stay.
pub(crate) fn put(db: &DB, write: &mut WriteBatch, kept: &KeptCheckpoint) -> Result<(), StoreError> {
    let state = family(db, STATE)?;
    let size = kept.signed().checkpoint().size;
    if let Some(before) = newest(db, size)? {
        let before_size = before.signed().checkpoint().size;
        let same_key = before.signed().key_ids().eq(kept.signed().key_ids());
        if same_key && before_size < size && before_size / SPAN_ENTRIES == size / SPAN_ENTRIES {
            write.delete_cf(state, key(before_size));
        }
    }
    write.put_cf(state, key(size), kept.encode());
    Ok(())
}

/// Every row, in the order of sizes; `Err` = a row that is none.
pub(crate) fn all(db: &DB) -> Result<Vec<Result<KeptCheckpoint, u64>>, StoreError> {
    let mut rows = Vec::new();
    for row in db.iterator_cf(family(db, STATE)?, IteratorMode::From(PREFIX, Direction::Forward)) {
        let (key, bytes) = row.map_err(StoreError::database("read"))?;
        let Some(size) = key.strip_prefix(PREFIX) else { break };
        let size = size.try_into().map_or(0, u64::from_be_bytes);
        let kept = KeptCheckpoint::decode(&bytes).ok().filter(|kept| kept.signed().checkpoint().size == size);
        rows.push(kept.ok_or(size));
    }
    Ok(rows)
}

/// The newest row of at most so many entries that can be read.
pub(crate) fn newest(db: &DB, size_max: u64) -> Result<Option<KeptCheckpoint>, StoreError> {
    let from = key(size_max);
    for row in db.iterator_cf(family(db, STATE)?, IteratorMode::From(&from, Direction::Reverse)) {
        let (key, bytes) = row.map_err(StoreError::database("read"))?;
        if !key.starts_with(PREFIX) {
            break;
        }
        if let Ok(kept) = KeptCheckpoint::decode(&bytes) {
            return Ok(Some(kept));
        }
    }
    Ok(None)
}

/// The log must extend the last checkpoint, which a key of this log must have signed; and the newest row too, where somebody put an older
/// file in its place. Gives the newer of both with its tree, and whether the log says after it that another key signs from there on.
pub(crate) fn check_all(
    db: &DB,
    layout: &Layout,
    state: &ChainState,
    begin: &Frontier,
    last: &SignedCheckpoint,
) -> Result<(KeptCheckpoint, bool), StoreError> {
    if last.checkpoint().chain != state.chain {
        return Err(StoreError::Damaged { what: "its checkpoint is another chain's" });
    }
    let listed = keys::read_list(layout)?.ok_or_else(|| StoreError::KeyListMissing { path: layout.vkeys.clone() })?;
    let keys = listed.of(&state.chain);
    let signed = |checkpoint: &SignedCheckpoint| {
        let path = layout.checkpoint.path().to_owned();
        checkpoint.signed_by(&keys).map_err(|source| StoreError::CheckpointForged { path, source })
    };
    signed(last)?;
    let checked = check_extends(db, state, begin.clone(), last)?;
    let newer = newest(db, u64::MAX)?.filter(|row| row.signed().checkpoint().size > last.checkpoint().size);
    let Some(newer) = newer else { return Ok(checked) };
    signed(newer.signed())?;
    check_extends(db, state, begin.clone(), newer.signed())
}

/// The log must extend a checkpoint. `begin`: where its entries begin, when earlier ones were pruned.
///
/// The tree is made again from the newest row that is no newer than the checkpoint, and the entries since: with its root signed, no
/// other entries lead to it. Gives the checkpoint with its tree, and whether an entry behind it changes the key.
fn check_extends(
    db: &DB,
    state: &ChainState,
    begin: Frontier,
    last: &SignedCheckpoint,
) -> Result<(KeptCheckpoint, bool), StoreError> {
    let (said, rows) = (last.checkpoint(), state.head.size());
    if said.size > rows {
        return Err(StoreError::Behind { rows, noted: said.size });
    }
    let kept = newest(db, said.size)?.filter(|kept| kept.signed().checkpoint().size >= begin.size());
    let mut frontier = kept.map_or(begin, |kept| kept.frontier().clone());
    let forked = || StoreError::Forked { seq: said.size.saturating_sub(1) };
    let mut at_last = (frontier.size() == said.size).then(|| frontier.clone());
    let mut key_changed = false;
    let from = frontier.size().to_be_bytes();
    for row in db.iterator_cf(family(db, ENTRY)?, IteratorMode::From(&from, Direction::Forward)) {
        let (key, bytes) = row.map_err(StoreError::database("read"))?;
        if *key != frontier.size().to_be_bytes() {
            return Err(StoreError::Damaged { what: "an entry is missing" });
        }
        key_changed |= frontier.size() >= said.size && changes_key(&bytes);
        frontier.push(chain::leaf_hash(&bytes));
        if frontier.size() == said.size {
            at_last = Some(frontier.clone());
        }
    }
    let kept = at_last.and_then(|frontier| KeptCheckpoint::new(last.clone(), frontier)).ok_or_else(forked)?;
    if frontier == state.head.frontier { Ok((kept, key_changed)) } else { Err(forked()) }
}

fn changes_key(bytes: &[u8]) -> bool {
    Entry::decode(bytes).is_ok_and(|entry| entry.body.kind == Kind::KeyChange)
}

fn key(size: u64) -> Vec<u8> {
    [PREFIX, &size.to_be_bytes()].concat()
}

/// Keys of checkpoints in the state family start so.
const PREFIX: &[u8] = b"ckpt/";

/// Of so many entries one checkpoint is kept for good.
pub const SPAN_ENTRIES: u64 = 10_000;
