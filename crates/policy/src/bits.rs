//! A set of small numbers.

use smallvec::SmallVec;

/// A fixed-width set of indexes, hashable: which rules of a policy set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bits(SmallVec<[u64; 2]>);

impl Bits {
    /// A set for indexes below `width` that has these members; others are left out.
    pub(crate) fn from_indexes(width: usize, indexes: impl Iterator<Item = usize>) -> Self {
        let mut words = SmallVec::from_elem(0_u64, width.div_ceil(WORD_BITS));
        for index in indexes {
            if let Some(word) = words.get_mut(index / WORD_BITS) {
                *word |= 1 << (index % WORD_BITS);
            }
        }
        Self(words)
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.0.get(index / WORD_BITS).is_some_and(|word| word >> (index % WORD_BITS) & 1 == 1)
    }

    pub(crate) fn remove(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / WORD_BITS) {
            *word &= !(1 << (index % WORD_BITS));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

const WORD_BITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn holds_what_was_put_in() {
        let mut bits = Bits::from_indexes(200, [0, 63, 64, 199].into_iter());
        let members = |bits: &Bits| (0..300).filter(|index| bits.contains(*index)).collect::<Vec<_>>();
        assert_eq!(members(&bits), [0, 63, 64, 199]);
        bits.remove(63);
        bits.remove(1000);
        assert_eq!(members(&bits), [0, 64, 199]);
        for index in [0, 64, 199] {
            assert!(!bits.is_empty());
            bits.remove(index);
        }
        assert!(bits.is_empty());
        assert_eq!(bits, Bits::from_indexes(200, std::iter::empty()));
    }
}
