//! The Merkle tree of RFC 6962 section 2.1 over the entries, kept as a frontier (compact range).
//!
//! ```text
//! 7 entries = 0b111        frontier: [ root of 0..4, root of 4..6, leaf 6 ]
//! ```

use sha2::{Digest, Sha256};

use crate::hash::Hash;

/// The roots of the perfect subtrees that cover a log, largest first: as many as `size` has one bits.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The frontier of an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A frontier read back from storage; `None` when the number of roots does not fit the size.
    #[must_use]
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Option<Self> {
        let fits = u32::try_from(roots.len()).is_ok_and(|roots| roots == size.count_ones());
        fits.then_some(Self { size, roots })
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The subtree roots, largest first.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// The logs that this one began with and whose trees can still be told from these roots: of no entries, of the largest subtree, of the
    /// two largest, and so on, in the order of their sizes. This one itself is not among them.
    pub fn prefixes(&self) -> impl Iterator<Item = Self> {
        (0..self.roots.len()).map(|kept| {
            let roots: Vec<Hash> = self.roots.iter().take(kept).copied().collect();
            // Each root that goes is the smallest subtree: the lowest one bit of the size.
            let gone = self.roots.len() - kept;
            let size = (0..gone).fold(self.size, |size, _| size & size.saturating_sub(1));
            Self { size, roots }
        })
    }

    /// Appends the leaf hash of the next entry.
    pub fn push(&mut self, leaf: Hash) {
        // Each trailing one bit of the size is a subtree as large as what grew on its right.
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// The root of the tree; for no leaves the hash of the empty string.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(smallest) = roots.next() else { return Hash(Sha256::digest([]).into()) };
        roots.fold(*smallest, |right, left| node_hash(left, &right))
    }
}

/// Hash of one entry's bytes: SHA-256(0x00 || bytes).
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(bytes);
    Hash(hasher.finalize().into())
}

/// Hash of an inner node: SHA-256(0x01 || left || right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.0);
    hasher.update(right.0);
    Hash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recursive definition of RFC 6962, as slow as it is plain.
    fn reference_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash(Sha256::digest([]).into()),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&reference_root(&leaves[..split]), &reference_root(&leaves[split..]))
            }
        }
    }

    fn frontier(leaves: &[Hash]) -> Frontier {
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        frontier
    }

    #[test]
    fn roots_equal_the_recursive_definition() {
        let leaves: Vec<Hash> = (0..130_u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        for size in 0..=leaves.len() {
            let found = frontier(&leaves[..size]);
            assert_eq!(found.root(), reference_root(&leaves[..size]), "size {size}");
            assert_eq!(Frontier::from_parts(found.size(), found.roots().to_vec()), Some(found));
        }
    }

    #[test]
    fn roots_equal_the_vectors_of_certificate_transparency() {
        // The inputs and roots that the reference implementations of RFC 6962 test with.
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let leaves: Vec<Hash> = inputs.iter().map(|input| leaf_hash(input)).collect();
        let roots = [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ];
        for (size, root) in roots {
            assert_eq!(frontier(&leaves[..size]).root().to_string(), root, "size {size}");
        }
    }

    #[test]
    fn prefixes_are_the_trees_of_the_smaller_logs() {
        let leaves: Vec<Hash> = (0..130_u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        for size in 0..=leaves.len() {
            let prefixes: Vec<Frontier> = frontier(&leaves[..size]).prefixes().collect();
            assert_eq!(prefixes.len(), size.count_ones() as usize);
            assert!(prefixes.is_sorted_by_key(Frontier::size) && prefixes.iter().all(|it| it.size() < size as u64));
            for prefix in prefixes {
                assert_eq!(prefix, frontier(&leaves[..usize::try_from(prefix.size()).unwrap()]), "of {size}");
            }
        }
    }

    #[test]
    fn a_frontier_with_the_wrong_number_of_roots_is_refused() {
        assert_eq!(Frontier::from_parts(3, vec![Hash([0; 32])]), None);
        assert_eq!(Frontier::from_parts(0, vec![Hash([0; 32])]), None);
    }
}
