//! The beginning of a log: a file says that one is being made, from before its first file until its first checkpoint.
//!
//! ```text
//! keys/beginning ─► audit/db ─► keys/chain-id, digest-key ─► keys/checkpoint-key, audit/vkeys ─► audit/checkpoint ─► no keys/beginning
//! ```
//!
//! A start that ends anywhere in between is taken up again by the next one. Without that file a named chain has a database and a checkpoint:
//! where one of them is missing, somebody took it away.

use std::fs;
use std::io::ErrorKind;

use rocksdb::{DB, IteratorMode};
use weir_audit::{ChainId, ChainState, Entry, Kind};

use crate::database::{ENTRY, family};
use crate::error::StoreError;
use crate::files::{Layout, read_small, sync_directory, write_whole};
use crate::keys::{self, random};

/// The chain of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: ChainId,
    /// It is being begun: it may lack what it does not have yet.
    pub(crate) begins: bool,
}

impl Chain {
    /// Which chain is here. Where nothing is, one begins.
    pub(crate) fn of(layout: &Layout) -> Result<Self, StoreError> {
        let begins = read_order(layout)?;
        if let Some(name) = keys::read_chain(layout)? {
            if begins.is_none() && !layout.has_database() {
                let (path, named) = (layout.database.clone(), layout.chain_id.clone());
                return Err(StoreError::DatabaseMissing { path, named });
            }
            return Ok(Self { name, begins: begins.is_some() });
        }
        if let Some(name) = begins {
            return Ok(Self { name, begins: true });
        }
        if !is_empty(layout)? {
            return Err(StoreError::NameMissing { path: layout.chain_id.clone() });
        }
        let name = ChainId(random()?);
        order(layout, &name)?;
        Ok(Self { name, begins: true })
    }
}

/// From now on a log of this name is being begun.
pub(crate) fn order(layout: &Layout, name: &ChainId) -> Result<(), StoreError> {
    layout.make()?;
    write_whole(&layout.beginning, format!("{name}\n").as_bytes())
}

/// The log has its first checkpoint: that it is missing later means something.
pub(crate) fn end(layout: &Layout) -> Result<(), StoreError> {
    match fs::remove_file(&layout.beginning) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(StoreError::file("remove", &layout.beginning)(error));
        }
        Ok(()) | Err(_) => {}
    }
    sync_directory(&layout.keys)
}

/// Whether a log without a checkpoint holds no more than it may: nothing, or the entry with which it takes the place of a lost one.
pub(crate) fn is_fresh(db: &DB, state: &ChainState) -> Result<bool, StoreError> {
    if state.head.size() > 1 {
        return Ok(false);
    }
    let first = db.iterator_cf(family(db, ENTRY)?, IteratorMode::Start).next();
    let first = first.transpose().map_err(StoreError::database("read"))?;
    let kind = first.map(|(_, bytes)| Entry::decode(&bytes).map(|entry| entry.body.kind));
    Ok(matches!(kind, None | Some(Ok(Kind::AcceptLoss))))
}

/// Whether there is no log at all, not even a part of one.
pub(crate) fn is_empty(layout: &Layout) -> Result<bool, StoreError> {
    match fs::read_dir(&layout.audit) {
        Ok(mut files) => Ok(files.next().is_none()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(true),
        Err(error) => Err(StoreError::file("read", &layout.audit)(error)),
    }
}

fn read_order(layout: &Layout) -> Result<Option<ChainId>, StoreError> {
    let Some(text) = read_small(&layout.beginning)? else { return Ok(None) };
    let name = text.trim_end().parse();
    name.map(Some).map_err(|source| StoreError::ChainFile { path: layout.beginning.clone(), source })
}
