//! Where a pruned log begins: the row, and the entry that vouches for it.

use rocksdb::{DB, IteratorMode};
use weir_audit::{ChainState, Entry};

use crate::database::{CUT_BY_KEY, CUT_KEY, ENTRY, STATE, family};
use crate::error::StoreError;

/// The log as it was when it had as many entries as are gone now; `None` = nothing was pruned.
pub(crate) fn read_cut(db: &DB) -> Result<Option<ChainState>, StoreError> {
    let row = db.get_pinned_cf(family(db, STATE)?, CUT_KEY).map_err(StoreError::database("read"))?;
    let Some(row) = row else { return Ok(None) };
    ChainState::decode(&row).map(Some).map_err(|_| StoreError::Damaged { what: "the row of its cut does not decode" })
}

/// The first entry must be the cut's next one, and the prune entry must say the same cut.
pub(crate) fn check_cut(db: &DB, state: &ChainState, cut: Option<&ChainState>) -> Result<(), StoreError> {
    let first = db.iterator_cf(family(db, ENTRY)?, IteratorMode::Start).next();
    let first = first.transpose().map_err(StoreError::database("read"))?;
    let begin = cut.map_or(0, |cut| cut.head.size());
    if first.is_some_and(|(key, _)| *key != begin.to_be_bytes()) {
        return Err(StoreError::Damaged { what: "its first entry is not where the log begins" });
    }
    let Some(cut) = cut else { return Ok(()) };
    let by = db.get_pinned_cf(family(db, STATE)?, CUT_BY_KEY).map_err(StoreError::database("read"))?;
    let entry = match by {
        Some(seq) => db.get_pinned_cf(family(db, ENTRY)?, seq).map_err(StoreError::database("read"))?,
        None => None,
    };
    let entry = entry.and_then(|bytes| Entry::decode(&bytes).ok());
    let vouched = entry.and_then(|entry| entry.body.prune).is_some_and(|prune| prune.cut == cut.head);
    if vouched && cut.chain == state.chain {
        Ok(())
    } else {
        Err(StoreError::Damaged { what: "entries are gone and no prune entry says so" })
    }
}
