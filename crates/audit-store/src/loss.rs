//! Accepting a loss: a log that is not what it was is put aside, and a new chain begins with an entry that says so.
//!
//! ```text
//! DATA_DIR/audit, keys/chain-id, keys/checkpoint-key   →   DATA_DIR/audit-lost-CHAIN/…       never deleted
//! DATA_DIR/keys/accept-loss                                 there from the first step to the last: a start refuses, this goes on
//! ```
//!
//! Whoever interrupts it may put a better copy of the log back before it is run again. So it goes on only where what lies there is what it
//! left; else it looks again, as if it had never been run.

mod order;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use weir_audit::{
    ChainId, Commit, Committer, ConnectionId, EntryBody, EventId, Kind, PrincipalKind, PrincipalRef, Ticket, clip_text,
};

use self::order::Order;
use crate::begin;
use crate::error::StoreError;
use crate::files::{Layout, sync_directory};
use crate::keys::{self, random};
use crate::reader::Reader;
use crate::store::Store;

/// What was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedLoss {
    /// The chain that ended.
    pub lost: ChainId,
    /// The chain that goes on.
    pub chain: ChainId,
    /// Where the old log is now.
    pub aside: PathBuf,
    /// What the first entry of the new chain says.
    pub statement: String,
}

/// Begins a new chain in the place of a log that cannot be opened any more because it is not what it was. `reason`: one line, at most
/// [`REASON_BYTES_MAX`] bytes. `now`: wall clock, nanoseconds since 1970. When it was interrupted it goes on where it was, unless a log
/// was put back meanwhile.
///
/// # Errors
/// [`StoreError::NothingLost`] when the log opens; [`StoreError::Locked`] when weir runs; [`StoreError::NotFound`] when there is no
/// log; otherwise what the file system or database says.
pub fn accept_loss(data_dir: &Path, reason: &str, now: u64) -> Result<AcceptedLoss, StoreError> {
    let layout = Layout::new(data_dir);
    let order = match Order::read(&layout)? {
        Some(order) if goes_on(&layout, &order) => order,
        before => {
            if let Some(before) = before {
                withdraw(&layout, &before)?;
            }
            let order = look(&layout, reason)?;
            order.write(&layout)?;
            order
        }
    };
    put_aside(&layout, &order)?;
    begin_anew(&layout, &order, now)?;
    fs::remove_file(&layout.accept_loss).map_err(StoreError::file("remove", &layout.accept_loss))?;
    sync_directory(&layout.keys)?;
    let aside = order.aside(&layout);
    Ok(AcceptedLoss { lost: order.lost, chain: order.chain, aside, statement: order.statement })
}

/// Whether what lies there is what an interrupted acceptance left.
fn goes_on(layout: &Layout, order: &Order) -> bool {
    if !order.aside(layout).exists() {
        return false;
    }
    // The new log has neither before its first start, and that waits for the end of this.
    if layout.checkpoint.path().exists() || layout.vkeys.exists() {
        return false;
    }
    let reader = Reader::open_read_only(&layout.data_dir).ok();
    let found = reader.as_ref().and_then(Reader::head).map(|state| state.chain);
    found.is_none_or(|found| found == order.chain)
}

/// A log was put back, or nothing was moved yet: the order is void, and what went with the log comes back.
fn withdraw(layout: &Layout, order: &Order) -> Result<(), StoreError> {
    // Somebody may have moved the whole directory back, with the keys in it.
    for from in [order.aside(layout), layout.audit.clone()] {
        for path in [&layout.chain_id, &layout.checkpoint_key] {
            let Some(kept) = path.file_name().map(|name| from.join(name)).filter(|kept| kept.exists()) else {
                continue;
            };
            let is_new = path == &layout.chain_id && named(layout) == Some(order.chain);
            if !path.exists() || is_new {
                fs::rename(&kept, path).map_err(StoreError::file("put back", &kept))?;
            }
        }
    }
    begin::end(layout)?;
    fs::remove_file(&layout.accept_loss).map_err(StoreError::file("remove", &layout.accept_loss))?;
    sync_directory(&layout.keys)
}

/// What is lost, when something is.
fn look(layout: &Layout, reason: &str) -> Result<Order, StoreError> {
    if !layout.chain_id.exists() && begin::is_empty(layout)? {
        return Err(StoreError::NotFound { path: layout.data_dir.clone() });
    }
    let error = match Store::open_anyway(layout) {
        Ok(_) => return Err(StoreError::NothingLost),
        Err(error) if !error.is_damage() => return Err(error),
        Err(error) => error,
    };
    let reader = Reader::open_read_only(&layout.data_dir).ok();
    let lost = lost_chain(layout, reader.as_ref());
    let lost = lost.ok_or_else(|| StoreError::Unnamed { path: layout.data_dir.clone() })?;
    let found = reader.as_ref().and_then(Reader::head);
    let rows = found.filter(|state| state.chain == lost).map(|state| state.head.size());
    let checkpoint = layout.checkpoint.read().ok().flatten().map(|signed| signed.checkpoint());
    let head = layout.head.read().ok().flatten().map(|head| head.size);
    let forged = matches!(error, StoreError::CheckpointForged { .. });
    let checkpoint = checkpoint.filter(|checkpoint| checkpoint.chain == lost && !forged);
    let vouched = checkpoint.map(|checkpoint| checkpoint.size).or(head);
    let range = match (rows, vouched) {
        (Some(rows), Some(vouched)) if rows < vouched => format!("entries {rows} to {} are lost", vouched - 1),
        _ => {
            let vouched = vouched.map_or("an unknown number of".to_owned(), |vouched| vouched.to_string());
            let rows = rows.map_or("none".to_owned(), |rows| rows.to_string());
            format!("{vouched} entries were vouched for and {rows} can be read")
        }
    };
    let what = what(&error, found.is_some_and(|state| state.chain != lost));
    let statement = format!("takes the place of {}: {what}; {range}; reason: {reason}", lost.origin());
    Order::new(layout, lost, clip_text(&statement).into_owned())
}

/// `foreign`: the database is of another chain than the lost one.
fn what(error: &StoreError, foreign: bool) -> &'static str {
    if matches!(error, StoreError::Behind { .. }) {
        "it was behind its checkpoint"
    } else if matches!(error, StoreError::DatabaseMissing { .. }) {
        "its database was missing"
    } else if matches!(error, StoreError::CheckpointMissing { .. }) {
        "its checkpoint was missing"
    } else if matches!(error, StoreError::CheckpointForged { .. } | StoreError::CheckpointFile { .. }) {
        "its checkpoint was damaged"
    } else if matches!(error, StoreError::DigestKeyMissing { .. }) {
        "its digest key was missing"
    } else if foreign {
        "its database was another chain's"
    } else {
        "it was not intact"
    }
}

/// The chain that most of what lies there names; where that is even, what is hardest to put there says it.
fn lost_chain(layout: &Layout, reader: Option<&Reader>) -> Option<ChainId> {
    let database = reader.and_then(Reader::head).map(|state| state.chain);
    let checkpoint = layout.checkpoint.read().ok().flatten().map(|signed| signed.checkpoint().chain);
    let listed = keys::read_list(layout).ok().flatten();
    let listed = listed.and_then(|keys| keys.all().last()?.name().rsplit('/').next()?.parse().ok());
    let votes = [database, checkpoint, listed, named(layout)].into_iter().flatten().collect::<Vec<ChainId>>();
    let count = |chain: &&ChainId| votes.iter().filter(|vote| vote == chain).count();
    // Of equals the last is taken: backwards, the first.
    votes.iter().rev().max_by_key(count).copied()
}

/// Moves what belongs to the lost chain, and nothing that is new already.
fn put_aside(layout: &Layout, order: &Order) -> Result<(), StoreError> {
    let aside = order.aside(layout);
    if !aside.exists() {
        if layout.audit.exists() {
            fs::rename(&layout.audit, &aside).map_err(StoreError::file("move aside", &layout.audit))?;
        } else {
            let made = fs::DirBuilder::new().mode(0o700).create(&aside);
            made.map_err(StoreError::file("create the directory", &aside))?;
        }
        sync_directory(&layout.data_dir)?;
    }
    // The name last: as long as it is not the new one, the key is the old one too.
    if named(layout) != Some(order.chain) {
        for path in [&layout.checkpoint_key, &layout.chain_id] {
            let Some(name) = path.file_name().filter(|_| path.exists()) else { continue };
            fs::rename(path, aside.join(name)).map_err(StoreError::file("move aside", path))?;
        }
        sync_directory(&aside)?;
        sync_directory(&layout.keys)?;
    }
    Ok(())
}

/// The new log with its first entry. Its first checkpoint is made by its first start, which has the key.
fn begin_anew(layout: &Layout, order: &Order, now: u64) -> Result<(), StoreError> {
    if named(layout) != Some(order.chain) {
        begin::order(layout, &order.chain)?;
    }
    let (store, opened) = Store::open_anyway(layout)?;
    if opened.chain.head.size() > 0 {
        return Ok(());
    }
    let mut committer = Committer::open(store, opened.chain);
    let mut entry = EntryBody::new(Kind::AcceptLoss, EventId::new(now / 1_000_000, random()?), now);
    entry.principal = Some(PrincipalRef { kind: PrincipalKind::System, id: "weir".to_owned() });
    entry.reason = Some(order.statement.clone());
    let commit = Commit::Entry { entry, closes: Vec::new() };
    let committed = committer.commit(vec![(Ticket::new(ConnectionId(0), 1), commit)]);
    if committed.receipts.is_empty() {
        return Err(committer.take_error().unwrap_or(StoreError::Failed));
    }
    Ok(())
}

/// The chain that the data directory names, when it can be read.
fn named(layout: &Layout) -> Option<ChainId> {
    keys::read_chain(layout).ok().flatten()
}

/// Bytes of a reason: with it the statement still fits one text of an entry.
pub const REASON_BYTES_MAX: usize = 500;
