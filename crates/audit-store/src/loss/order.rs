//! How far an acceptance has come: the file `keys/accept-loss`.
//!
//! ```text
//! the lost chain
//! the name of the directory in which the old log is put aside
//! the new chain
//! what the new chain's first entry says
//! ```

use std::path::PathBuf;

use weir_audit::ChainId;

use crate::error::StoreError;
use crate::files::{Layout, read_small, write_whole};
use crate::keys::random;

/// What was decided, before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) lost: ChainId,
    aside: String,
    pub(super) chain: ChainId,
    pub(super) statement: String,
}

impl Order {
    /// A new chain, and a name that no directory has yet: the same chain may be lost more than once.
    pub(super) fn new(layout: &Layout, lost: ChainId, statement: String) -> Result<Self, StoreError> {
        let names = (1..=ASIDES_MAX).map(|number| match number {
            1 => format!("{ASIDE}{lost}"),
            _ => format!("{ASIDE}{lost}-{number}"),
        });
        let aside = names.into_iter().find(|name| !layout.data_dir.join(name).exists());
        let taken = || StoreError::file("move aside", &layout.audit)(std::io::ErrorKind::AlreadyExists.into());
        Ok(Self { lost, aside: aside.ok_or_else(taken)?, chain: ChainId(random()?), statement })
    }

    pub(super) fn read(layout: &Layout) -> Result<Option<Self>, StoreError> {
        let Some(text) = read_small(&layout.accept_loss)? else { return Ok(None) };
        let damaged = || StoreError::LossOrder { path: layout.accept_loss.clone() };
        let lines = text.lines().collect::<Vec<_>>();
        let [lost, aside, chain, statement] = lines.as_slice() else { return Err(damaged()) };
        let is_name = aside.starts_with(ASIDE) && !aside.contains('/');
        let (Ok(lost), Ok(chain), true) = (lost.parse(), chain.parse(), is_name) else { return Err(damaged()) };
        Ok(Some(Self { lost, aside: (*aside).to_owned(), chain, statement: (*statement).to_owned() }))
    }

    pub(super) fn write(&self, layout: &Layout) -> Result<(), StoreError> {
        let Self { lost, aside, chain, statement } = self;
        layout.make_keys()?;
        write_whole(&layout.accept_loss, format!("{lost}\n{aside}\n{chain}\n{statement}\n").as_bytes())
    }

    /// Where the old log goes.
    pub(super) fn aside(&self, layout: &Layout) -> PathBuf {
        layout.data_dir.join(&self.aside)
    }
}

/// How the directories of lost logs begin.
const ASIDE: &str = "audit-lost-";

/// Losses of one chain; a log that is put back and lost again so often is nothing that a name helps with.
const ASIDES_MAX: u32 = 100;
