//! Pruning: the oldest entries go, and one entry says so.
//!
//! ```text
//! before   0 ··· 255 │ 256 ··· 511 │ 512 ··· 700
//! after                            │ 512 ··· 700, 701 = prune { from 0, cut at 512 }
//! ```
//!
//! Only whole prefixes go, in multiples of [`PRUNE_STEP`]. The tree stays the same: the [`Cut`] holds what the entries that are gone
//! come to (their last leaf hash and the subtree roots over them), so that chain and tree can be checked from there on.

use crate::cbor::{CborError, Decoder, Encoder};
use crate::chain::Head;
use crate::hash::Hash;
use crate::ids::ChainId;
use crate::text::TEXT_BYTES_MAX;
use crate::tree::Frontier;

/// The log as it was when it had as many entries as are gone now. Its size is the sequence number of the first entry that is left.
pub type Cut = Head;

/// What an entry of kind `prune` says; the entries are gone by the time that it is durable, and not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// The first entry that was left before.
    pub from: u64,
    /// Where the log begins now.
    pub cut: Cut,
    /// The signed statement of [`Prune::statement`], when the log has a key.
    pub note: Option<String>,
}

impl Prune {
    /// What is signed about a cut: origin, number of entries that are gone, and root of the tree over them. The origin is not the one of
    /// checkpoints, so that no checkpoint passes for a cut, nor a cut for a checkpoint.
    #[must_use]
    pub fn statement(&self, chain: &ChainId) -> (String, u64, Hash) {
        (format!("{}/prune", chain.origin()), self.cut.size(), self.cut.frontier.root())
    }

    /// Whether it takes away something, in whole steps.
    fn is_sound(&self) -> bool {
        let (from, to) = (self.from, self.cut.size());
        from < to && from.is_multiple_of(PRUNE_STEP) && to.is_multiple_of(PRUNE_STEP)
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        encoder.map(|map| {
            map.field(0).unsigned(self.from);
            map.field(1).unsigned(self.cut.size());
            map.field(2).bytes(&self.cut.last.0);
            map.field(3).unsigned(self.cut.last_at);
            let roots = map.field(4);
            roots.array(self.cut.frontier.roots().len());
            self.cut.frontier.roots().iter().for_each(|root| roots.bytes(&root.0));
            map.field(5).bytes(&self.cut.frontier.root().0);
            if let Some(note) = &self.note {
                map.field(6).text(note);
            }
        });
    }

    pub(crate) fn decode(value: &mut Decoder<'_>) -> Result<Self, CborError> {
        let at = value.at();
        let (mut from, mut size, mut last, mut last_at, mut roots, mut root, mut note) =
            (None, None, None, None, None, None, None);
        value.map(|key, value| {
            match key {
                0 => from = Some(value.unsigned()?),
                1 => size = Some(value.unsigned()?),
                2 => last = Some(Hash(value.fixed()?)),
                3 => last_at = Some(value.unsigned()?),
                4 => {
                    let items = value.array()?;
                    roots = Some((0..items).map(|_| value.fixed().map(Hash)).collect::<Result<Vec<_>, _>>()?);
                }
                5 => root = Some(Hash(value.fixed()?)),
                6 => note = Some(value.text()?.to_owned()),
                _ => return Ok(None),
            }
            Ok(Some(()))
        })?;
        let missing = |key| CborError::Missing { key };
        let frontier = Frontier::from_parts(size.ok_or(missing(1))?, roots.ok_or(missing(4))?);
        let frontier = frontier.filter(|frontier| Some(frontier.root()) == root).ok_or(CborError::OutOfRange { at })?;
        let cut = Head { last: last.ok_or(missing(2))?, last_at: last_at.ok_or(missing(3))?, frontier };
        let prune = Self { from: from.ok_or(missing(0))?, cut, note };
        let fits = prune.is_sound() && prune.note.as_ref().is_none_or(|note| note.len() <= TEXT_BYTES_MAX);
        if fits { Ok(prune) } else { Err(CborError::OutOfRange { at }) }
    }
}

/// Entries are pruned in multiples of this: the width of the tiles of C2SP tlog-tiles.
pub const PRUNE_STEP: u64 = 256;
