//! The chain: each entry carries the leaf hash of the entry before it, so the RFC 6962 leaf hash is the chain hash too.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::cbor::{CborError, Decoder, Encoder};
use crate::hash::Hash;
use crate::ids::{ChainId, IdError};
use crate::tree::Frontier;

pub use crate::tree::leaf_hash;

/// Where a log stands: everything that the next entry needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Leaf hash of the last entry; of an empty log the hash of its origin. The next entry's `prev`.
    pub last: Hash,
    /// `at` of the last entry: wall clock in nanoseconds since 1970.
    pub last_at: u64,
    /// The tree over all entries; its size is the log's.
    pub frontier: Frontier,
}

/// A chain and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainState {
    /// The chain.
    pub chain: ChainId,
    /// Where it stands.
    pub head: Head,
}

/// What a head file says: how long the log was at least, and what it was. Kept beside the database, since a shorter log can be
/// self-consistent and only something outside it can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadNote {
    /// The chain.
    pub chain: ChainId,
    /// Number of entries.
    pub size: u64,
    /// Leaf hash of the last entry, or the hash of the origin.
    pub last: Hash,
    /// Root of the tree over all entries.
    pub root: Hash,
}

/// A head file that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadNoteError {
    /// A line is missing, out of place, or not in its form.
    #[error("line {line} is not `{key} …`")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What it should start with.
        key: &'static str,
    },
    /// The check line does not fit the lines above it.
    #[error("the check line does not fit the lines above it")]
    Check,
    /// Text follows the check line.
    #[error("text follows the check line")]
    LeftOver,
}

/// Hash of a chain's origin: `prev` of entry 0.
#[must_use]
pub fn origin_hash(chain: &ChainId) -> Hash {
    Hash(Sha256::digest(chain.origin().as_bytes()).into())
}

impl ChainState {
    /// A chain without entries.
    #[must_use]
    pub fn new(chain: ChainId) -> Self {
        Self { chain, head: Head { last: origin_hash(&chain), last_at: 0, frontier: Frontier::new() } }
    }
}

impl Head {
    /// Number of entries; also the sequence number of the next one.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// What is written beside the database about this head.
    #[must_use]
    pub fn note(&self, chain: ChainId) -> HeadNote {
        HeadNote { chain, size: self.size(), last: self.last, root: self.frontier.root() }
    }

    /// The head as the bytes that are stored in the batch of the entries: deterministic CBOR, root included.
    #[must_use]
    pub fn encode(&self, chain: &ChainId) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.map(|map| {
            map.field(0).unsigned(HEAD_VERSION);
            map.field(1).bytes(&chain.0);
            map.field(2).unsigned(self.size());
            map.field(3).bytes(&self.last.0);
            map.field(4).unsigned(self.last_at);
            let roots = map.field(5);
            roots.array(self.frontier.roots().len());
            self.frontier.roots().iter().for_each(|root| roots.bytes(&root.0));
            map.field(6).bytes(&self.frontier.root().0);
        });
        encoder.into_bytes()
    }
}

impl ChainState {
    /// Reads a stored head.
    ///
    /// # Errors
    /// When the bytes are not in the form that [`Head::encode`] writes, or when the frontier fits neither the size nor the root.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut decoder = Decoder::new(bytes);
        let (mut version, mut chain, mut size, mut last, mut last_at, mut roots, mut root) =
            (None, None, None, None, None, None, None);
        decoder.map(|key, value| {
            match key {
                0 => version = Some(value.unsigned()?),
                1 => chain = Some(ChainId(value.fixed()?)),
                2 => size = Some(value.unsigned()?),
                3 => last = Some(Hash(value.fixed()?)),
                4 => last_at = Some(value.unsigned()?),
                5 => {
                    let items = value.array()?;
                    roots = Some((0..items).map(|_| value.fixed().map(Hash)).collect::<Result<Vec<_>, _>>()?);
                }
                6 => root = Some(Hash(value.fixed()?)),
                _ => return Ok(None),
            }
            Ok(Some(()))
        })?;
        decoder.finish()?;
        let missing = |key| CborError::Missing { key };
        if version.ok_or(missing(0))? != HEAD_VERSION {
            return Err(CborError::OutOfRange { at: 0 });
        }
        let frontier = Frontier::from_parts(size.ok_or(missing(2))?, roots.ok_or(missing(5))?);
        let frontier =
            frontier.filter(|frontier| Some(frontier.root()) == root).ok_or(CborError::OutOfRange { at: 0 })?;
        let head = Head { last: last.ok_or(missing(3))?, last_at: last_at.ok_or(missing(4))?, frontier };
        Ok(Self { chain: chain.ok_or(missing(1))?, head })
    }
}

/// The text of a head file:
///
/// ```text
/// weir-audit-head 1
/// chain 0b6f…
/// size 12
/// last 77aa…
/// root 1c02…
/// check 5fd1…          SHA-256 of the lines above
/// ```
impl fmt::Display for HeadNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        writeln!(f, "{body}{CHECK} {}", Hash(Sha256::digest(body.as_bytes()).into()))
    }
}

impl HeadNote {
    fn body(&self) -> String {
        let Self { chain, size, last, root } = self;
        format!("{TITLE} 1\n{CHAIN} {chain}\n{SIZE} {size}\n{LAST} {last}\n{ROOT} {root}\n")
    }
}

impl FromStr for HeadNote {
    type Err = HeadNoteError;

    /// Reads exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Self, HeadNoteError> {
        let mut lines = text.split_inclusive('\n');
        let mut number = 0;
        let mut value = |key: &'static str| {
            let line = lines.next().unwrap_or_default();
            number += 1;
            let value = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(' ')?.strip_suffix('\n'));
            value.ok_or(HeadNoteError::Line { line: number, key })
        };
        let version = value(TITLE)?;
        let (chain, size, last, root) = (value(CHAIN)?, value(SIZE)?, value(LAST)?, value(ROOT)?);
        let check = value(CHECK)?;
        let bad = |line, key| move |_: IdError| HeadNoteError::Line { line, key };
        if version != "1" {
            return Err(HeadNoteError::Line { line: 1, key: TITLE });
        }
        let note = Self {
            chain: chain.parse().map_err(bad(2, CHAIN))?,
            size: size.parse().map_err(|_| HeadNoteError::Line { line: 3, key: SIZE })?,
            last: last.parse().map_err(bad(4, LAST))?,
            root: root.parse().map_err(bad(5, ROOT))?,
        };
        let check: Hash = check.parse().map_err(bad(6, CHECK))?;
        // Written again and compared, so that one note has one text.
        let body = note.body();
        if !text.starts_with(&body) || Hash(Sha256::digest(body.as_bytes()).into()) != check {
            return Err(HeadNoteError::Check);
        }
        if text.len() == note.to_string().len() { Ok(note) } else { Err(HeadNoteError::LeftOver) }
    }
}

const HEAD_VERSION: u64 = 1;
const TITLE: &str = "weir-audit-head";
const CHAIN: &str = "chain";
const SIZE: &str = "size";
const LAST: &str = "last";
const ROOT: &str = "root";
const CHECK: &str = "check";

#[cfg(test)]
mod tests {
    use super::*;

    fn state(size: u64) -> ChainState {
        let mut state = ChainState::new(ChainId([7; 16]));
        for seq in 0..size {
            state.head.last = leaf_hash(&seq.to_be_bytes());
            state.head.last_at = seq;
            state.head.frontier.push(state.head.last);
        }
        state
    }

    #[test]
    fn heads_are_read_back_and_every_flipped_bit_of_size_frontier_or_root_is_refused() {
        for size in [0, 1, 2, 3, 50, 255] {
            let state = state(size);
            let bytes = state.head.encode(&state.chain);
            assert_eq!(ChainState::decode(&bytes).as_ref(), Ok(&state));
            for (byte, bit) in (0..bytes.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
                let mut bad = bytes.clone();
                bad[byte] ^= 1 << bit;
                // What still decodes must be another chain, last leaf or time; the verifier compares these with the entries.
                if let Ok(found) = ChainState::decode(&bad) {
                    assert_eq!(found.head.frontier, state.head.frontier, "size {size}, byte {byte}, bit {bit}");
                    assert_ne!(found, state);
                }
            }
        }
    }

    #[test]
    fn head_files_are_read_back_and_every_flipped_bit_is_refused() {
        let state = state(12);
        let note = state.head.note(state.chain);
        let text = note.to_string();
        assert_eq!(text.parse().as_ref(), Ok(&note));
        for (byte, bit) in (0..text.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            let mut bad = text.clone().into_bytes();
            bad[byte] ^= 1 << bit;
            if let Ok(bad) = String::from_utf8(bad) {
                assert!(bad.parse::<HeadNote>().is_err(), "byte {byte}, bit {bit}");
            }
        }
        for cut in 0..text.len() {
            assert!(text.get(..cut).unwrap().parse::<HeadNote>().is_err(), "cut at {cut}");
        }
        assert_eq!(format!("{text}\n").parse::<HeadNote>(), Err(HeadNoteError::LeftOver));
        assert!(text.replace("size 12", "size 012").parse::<HeadNote>().is_err());
        assert!(text.replace("size 12", "size +12").parse::<HeadNote>().is_err());
    }
}
