//! Accepting a loss: a log that is not what it was is put aside, and a new chain begins with an entry that says so.
//!
//! ```text
//! DATA_DIR/audit, keys/chain-id, keys/checkpoint-key   →   DATA_DIR/audit-lost-CHAIN/…       never deleted
//! DATA_DIR/keys/accept-loss                                 there from the first step to the last: a start refuses, this goes on
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use weir_audit::{
    ChainId, Commit, Committer, ConnectionId, EntryBody, EventId, Kind, PrincipalKind, PrincipalRef, Ticket, clip_text,
};

use crate::error::StoreError;
use crate::files::{Layout, read_small, sync_directory, write_whole};
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
/// [`REASON_BYTES_MAX`] bytes. `now`: wall clock, nanoseconds since 1970. When it was interrupted it goes on where it was.
///
/// # Errors
/// [`StoreError::NothingLost`] when the log opens; [`StoreError::Locked`] when weir runs; [`StoreError::NotFound`] when there is no
/// log; otherwise what the file system or database says.
pub fn accept_loss(data_dir: &Path, reason: &str, now: u64) -> Result<AcceptedLoss, StoreError> {
    let layout = Layout::new(data_dir);
    let (lost, statement) = match read_small(&layout.accept_loss)? {
        Some(order) => read_order(&order, &layout)?,
        None => {
            let (lost, statement) = look(&layout, reason)?;
            write_whole(&layout.accept_loss, format!("{lost}\n{statement}\n").as_bytes())?;
            (lost, statement)
        }
    };
    let aside = layout.data_dir.join(format!("audit-lost-{lost}"));
    put_aside(&layout, &aside, &lost)?;
    layout.make()?;
    let (store, opened) = Store::open_anyway(&layout)?;
    let chain = opened.chain.chain;
    if opened.chain.head.size() == 0 {
        let mut committer = Committer::open(store, opened.chain);
        let mut entry = EntryBody::new(Kind::AcceptLoss, EventId::new(now / 1_000_000, random()?), now);
        entry.principal = Some(PrincipalRef { kind: PrincipalKind::System, id: "weir".to_owned() });
        entry.reason = Some(statement.clone());
        let committed =
            committer.commit(vec![(Ticket::new(ConnectionId(0), 1), Commit::Entry { entry, closes: Vec::new() })]);
        if committed.receipts.is_empty() {
            return Err(committer.take_error().unwrap_or(StoreError::Failed));
        }
    }
    fs::remove_file(&layout.accept_loss).map_err(StoreError::file("remove", &layout.accept_loss))?;
    sync_directory(&layout.keys)?;
    Ok(AcceptedLoss { lost, chain, aside, statement })
}

/// What is lost, when something is.
fn look(layout: &Layout, reason: &str) -> Result<(ChainId, String), StoreError> {
    if !layout.audit.exists() {
        return Err(StoreError::NotFound { path: layout.data_dir.clone() });
    }
    let error = match Store::open(&layout.data_dir) {
        Ok(_) => return Err(StoreError::NothingLost),
        Err(error) if !error.is_damage() => return Err(error),
        Err(error) => error,
    };
    let reader = Reader::open_read_only(&layout.data_dir).ok();
    let rows = reader.as_ref().and_then(Reader::head).map(|state| state.head.size());
    let checkpoint = layout.checkpoint.read().ok().flatten();
    let head = layout.head.read().ok().flatten();
    let vouched = checkpoint.as_ref().map(|signed| signed.checkpoint().size).or(head.as_ref().map(|head| head.size));
    let named = keys::read_chain(layout)?
        .or_else(|| reader.as_ref().and_then(Reader::chain))
        .or(checkpoint.map(|signed| signed.checkpoint().chain));
    let lost = named.ok_or(StoreError::Damaged { what: "nothing names its chain" })?;
    let size = |size: Option<u64>| size.map_or("an unknown number of".to_owned(), |size| size.to_string());
    let range = match (rows, vouched) {
        (Some(rows), Some(vouched)) if rows < vouched => format!("entries {rows} to {} are lost", vouched - 1),
        _ => format!("{} entries were vouched for and {} can be read", size(vouched), size(rows)),
    };
    let what =
        if matches!(error, StoreError::Behind { .. }) { "it was behind its checkpoint" } else { "it was not intact" };
    let statement = format!("takes the place of {}: {what}; {range}; reason: {reason}", lost.origin());
    Ok((lost, clip_text(&statement).into_owned()))
}

fn read_order(order: &str, layout: &Layout) -> Result<(ChainId, String), StoreError> {
    let mut lines = order.lines();
    let lost = lines.next().unwrap_or_default().parse();
    let lost = lost.map_err(|source| StoreError::KeyFile { path: layout.accept_loss.clone(), source })?;
    Ok((lost, lines.next().unwrap_or_default().to_owned()))
}

/// Moves what belongs to the lost chain, and nothing that is new already.
fn put_aside(layout: &Layout, aside: &Path, lost: &ChainId) -> Result<(), StoreError> {
    if !aside.exists() {
        fs::rename(&layout.audit, aside).map_err(StoreError::file("move aside", &layout.audit))?;
        sync_directory(&layout.data_dir)?;
    }
    // The name last: as long as it is the old one, the key is the old one too.
    if keys::read_chain(layout)?.as_ref() == Some(lost) {
        for path in [&layout.checkpoint_key, &layout.chain_id] {
            let Some(name) = path.file_name().filter(|_| path.exists()) else { continue };
            fs::rename(path, aside.join(name)).map_err(StoreError::file("move aside", path))?;
        }
        sync_directory(aside)?;
        sync_directory(&layout.keys)?;
    }
    Ok(())
}

/// Bytes of a reason: with it the statement still fits one text of an entry.
pub const REASON_BYTES_MAX: usize = 500;
