//! The index: which blocks of 64 entries name a principal, a topic or a rule.
//!
//! ```text
//! kind (1) | first 8 bytes of SHA-256(name) | block number, big-endian (8)   ->   nothing
//! ```
//!
//! A name that is in every entry costs one row per block and not one per entry, so the rows go into the batch of their entries and are never
//! behind. A query reads the named blocks whole and compares the entries. An index row is no evidence: dropping one hides an
//! entry from queries, which is why `--scan` exists and `verify` does not look here.

use std::collections::HashSet;

use sha2::{Digest, Sha256};
use weir_audit::EntryBody;

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    Principal,
    Topic,
    Rule,
}

/// Entries of one block.
pub(crate) const BLOCK_ENTRIES: u64 = 64;

/// Kind and hash: what precedes the block number.
pub(crate) type Prefix = [u8; 9];

/// The names that the current block has rows for already.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    block: u64,
    prefixes: HashSet<Prefix>,
}

impl Seen {
    /// Calls `put` with each row that this entry adds. Writing a row twice is harmless; that a batch failed is not remembered, since the
    /// store is opened again then.
    pub(crate) fn rows(&mut self, seq: u64, body: &EntryBody, mut put: impl FnMut([u8; 17])) {
        let block = seq / BLOCK_ENTRIES;
        if block != self.block {
            self.block = block;
            self.prefixes.clear();
        }
        let mut add = |kind, name: &str| {
            let prefix = prefix(kind, name);
            if self.prefixes.insert(prefix) {
                put(key(&prefix, block));
            }
        };
        if let Some(principal) = &body.principal {
            add(Named::Principal, &principal.id);
        }
        let mut last = None;
        for part in &body.parts {
            // Partitions of one topic stand together.
            if last != Some(&part.topic) {
                add(Named::Topic, &part.topic);
            }
            last = Some(&part.topic);
        }
        body.rule_hits.iter().for_each(|hit| add(Named::Rule, &hit.rule));
    }
}

/// What precedes the block number in the rows of a name.
pub(crate) fn prefix(kind: Named, name: &str) -> Prefix {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let mut prefix = [0; 9];
    let kind = match kind {
        Named::Principal => 1,
        Named::Topic => 2,
        Named::Rule => 3,
    };
    for (to, from) in prefix.iter_mut().zip([kind].into_iter().chain(digest)) {
        *to = from;
    }
    prefix
}

/// The row of a name in a block.
pub(crate) fn key(prefix: &Prefix, block: u64) -> [u8; 17] {
    let mut key = [0; 17];
    for (to, from) in key.iter_mut().zip(prefix.iter().copied().chain(block.to_be_bytes())) {
        *to = from;
    }
    key
}
