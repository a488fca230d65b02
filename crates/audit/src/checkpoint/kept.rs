//! Checkpoints as they are kept in the log's own storage.

use super::SignedCheckpoint;
use crate::cbor::{CborError, Decoder, Encoder};
use crate::hash::Hash;
use crate::tree::Frontier;

/// A signed checkpoint with the subtree roots that its root is made of: with these and the entries that follow, a later root can be
/// made without reading the entries before. The signature vouches for them too, since no others have this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCheckpoint {
    signed: SignedCheckpoint,
    frontier: Frontier,
}

impl KeptCheckpoint {
    /// Both together; `None` when they are not of one tree.
    #[must_use]
    pub fn new(signed: SignedCheckpoint, frontier: Frontier) -> Option<Self> {
        let said = signed.checkpoint();
        let fits = said.size == frontier.size() && said.root == frontier.root();
        fits.then_some(Self { signed, frontier })
    }

    /// The checkpoint.
    #[must_use]
    pub fn signed(&self) -> &SignedCheckpoint {
        &self.signed
    }

    /// The tree that it is of.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The bytes of the row, whose key has the size.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.map(|map| {
            map.field(0).unsigned(VERSION);
            map.field(1).text(&self.signed.to_string());
            let roots = map.field(2);
            roots.array(self.frontier.roots().len());
            self.frontier.roots().iter().for_each(|root| roots.bytes(&root.0));
        });
        encoder.into_bytes()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// When it is not what [`KeptCheckpoint::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut version, mut note, mut roots) = (None, None, None);
        let mut decoder = Decoder::new(bytes);
        decoder.map(|key, value| {
            match key {
                0 => version = Some(value.unsigned()?),
                1 => note = Some(value.text()?.to_owned()),
                2 => {
                    let items = value.array()?;
                    roots = Some((0..items).map(|_| value.fixed().map(Hash)).collect::<Result<Vec<_>, _>>()?);
                }
                _ => return Ok(None),
            }
            Ok(Some(()))
        })?;
        decoder.finish()?;
        let missing = |key| CborError::Missing { key };
        let wrong = CborError::OutOfRange { at: 0 };
        if version.ok_or(missing(0))? != VERSION {
            return Err(wrong);
        }
        let signed: SignedCheckpoint = note.ok_or(missing(1))?.parse().map_err(|_| wrong)?;
        let frontier = Frontier::from_parts(signed.checkpoint().size, roots.ok_or(missing(2))?).ok_or(wrong)?;
        let kept = Self::new(signed, frontier).ok_or(wrong)?;
        if kept.encode() == bytes { Ok(kept) } else { Err(wrong) }
    }
}

const VERSION: u64 = 1;
