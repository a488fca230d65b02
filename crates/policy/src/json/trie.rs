//! Field paths compiled for one pass.
//!
//! Each path is a run of bits, one per segment. A set bit means: the segments before this one are matched by the containers
//! that are open now. A child moves the bits whose segment takes it up by one; a descendant segment's bit also stays. The
//! work for a child is thus a few operations on one word for any number of fields (64 segments a word), whatever mixture
//! of names, indexes, wildcards and descendants they are, and nothing explodes as a determinised automaton could.
//!
//! ```text
//! $.card.number      bit 0 "card"   bit 1 "number", last
//! $..email           bit 2 "email", last, stays
//! $.items[*].email   bit 3 "items"  bit 4 any       bit 5 "email", last
//! ```

use super::FieldId;
use super::path::{Path, Selector, may_meet};

/// A compiled set of paths, built once and used for many documents.
#[derive(Debug, Clone, Default)]
pub struct FieldTrie {
    /// Words of a set of bits.
    words: usize,
    /// The first segment of each path.
    start: Vec<u64>,
    /// Descendant segments.
    stays: Vec<u64>,
    /// The last segment of each path.
    last: Vec<u64>,
    /// Segments with an index.
    indexed: Vec<u64>,
    /// Segments with a name.
    named: Vec<u64>,
    /// Rows of `words` words: the segments that take a child. Row 0: a child that no path names.
    takes: Vec<u64>,
    names: Names,
    /// Ascending, with the row of each.
    indexes: Vec<(u32, Row)>,
    /// The field of each bit that is set in `last`.
    fields: Vec<FieldId>,
    /// Fields whose path is `$`.
    root: Vec<FieldId>,
}

/// Names a row of the table of segments that take a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row(u32);

impl Row {
    /// A child that no path names; only wildcards take it.
    pub(super) const OTHER: Row = Row(0);
    /// A child in a container where no path goes on.
    pub(super) const NONE: Row = Row(u32::MAX);
    /// The root of the document.
    pub(super) const ROOT: Row = Row(u32::MAX - 1);
}

impl FieldTrie {
    /// Compiles the paths. One field may have several paths, and one path may stand for several fields.
    pub fn build(fields: &[(FieldId, Path)]) -> FieldTrie {
        let mut trie = FieldTrie::default();
        let mut places = Vec::with_capacity(fields.len());
        let mut next = 0;
        for (field, path) in fields {
            let length = path.segments().len();
            // A path stays within one word, so that no carry runs from word to word.
            if next % 64 + length > 64 {
                next = next / 64 * 64 + 64;
            }
            places.push(next);
            next += length;
            if length == 0 && !trie.root.contains(field) {
                trie.root.push(*field);
            }
        }
        trie.words = next.div_ceil(64);
        for set in [&mut trie.start, &mut trie.stays, &mut trie.last, &mut trie.indexed, &mut trie.named, &mut trie.takes] {
            set.resize(trie.words, 0);
        }
        trie.fields.resize(trie.words * 64, FieldId(0));

        let segments = || fields.iter().flat_map(|(_, path)| path.segments());
        let mut names: Vec<&str> = segments().filter_map(|segment| segment.selector.name()).collect();
        let mut indexes: Vec<u32> = segments().filter_map(|segment| segment.selector.index()).collect();
        names.sort_unstable();
        names.dedup();
        indexes.sort_unstable();
        indexes.dedup();
        let rows = 1 + names.len() + indexes.len();
        trie.takes.resize(rows * trie.words, 0);
        trie.indexes = indexes.iter().zip(1 + names.len()..).map(|(index, row)| (*index, Row::at(row))).collect();
        for ((field, path), place) in fields.iter().zip(places) {
            trie.lay_out(*field, path, place, &names, rows);
        }
        trie.names = Names::build(&names);
        trie
    }

    /// Can the two paths select one span of one document, or one span inside the other's? A policy check warns or errs
    /// then; at run time such a span is reported as [`Share::First`](super::Share).
    pub fn may_meet(a: &Path, b: &Path) -> bool {
        may_meet(a, b)
    }

    /// Does the trie select nothing?
    pub fn is_empty(&self) -> bool {
        self.words == 0 && self.root.is_empty()
    }

    fn lay_out(&mut self, field: FieldId, path: &Path, place: usize, names: &[&str], rows: usize) {
        for (segment, bit) in path.segments().iter().zip(place..) {
            let first = bit == place;
            let last = bit + 1 == place + path.segments().len();
            put(&mut self.start, bit, first);
            put(&mut self.last, bit, last);
            put(&mut self.stays, bit, segment.descendant);
            put(&mut self.named, bit, segment.selector.name().is_some());
            put(&mut self.indexed, bit, segment.selector.index().is_some());
            if last && let Some(slot) = self.fields.get_mut(bit) {
                *slot = field;
            }
            let taken = match &segment.selector {
                Selector::Any => 0..rows,
                Selector::Name(name) => match names.binary_search(&name.as_str()) {
                    Ok(at) => 1 + at..2 + at,
                    Err(_) => 0..0,
                },
                Selector::Index(index) => match self.indexes.binary_search_by_key(index, |(index, _)| *index) {
                    Ok(at) => 1 + names.len() + at..2 + names.len() + at,
                    Err(_) => 0..0,
                },
            };
            for row in taken {
                put(&mut self.takes, row * self.words * 64 + bit, true);
            }
        }
    }

    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// The bits of the document's root.
    pub(super) fn start(&self) -> &[u64] {
        &self.start
    }

    /// Fields that select the root itself.
    pub(super) fn root(&self) -> &[FieldId] {
        &self.root
    }

    /// The row of a member's decoded name.
    #[inline]
    pub(super) fn name(&self, name: &[u8]) -> Row {
        self.names.find(name)
    }

    /// The row of an element.
    pub(super) fn index(&self, index: u32) -> Row {
        match self.indexes.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(at) => self.indexes.get(at).map_or(Row::OTHER, |(_, row)| *row),
            Err(_) => Row::OTHER,
        }
    }

    /// Does any segment of the set ask for a name?
    #[inline]
    pub(super) fn asks_names(&self, set: &[u64]) -> bool {
        set.iter().zip(&self.named).any(|(set, named)| set & named != 0)
    }

    /// Does any segment of the set ask for an index?
    #[inline]
    pub(super) fn asks_indexes(&self, set: &[u64]) -> bool {
        set.iter().zip(&self.indexed).any(|(set, indexed)| set & indexed != 0)
    }

    /// Does a child of this row complete a path?
    #[inline]
    pub(super) fn completes(&self, set: &[u64], row: Row) -> bool {
        self.completed(set, row).any(|hits| hits != 0)
    }

    /// The fields whose path a child of this row completes.
    pub(super) fn fields(&self, set: &[u64], row: Row) -> impl Iterator<Item = FieldId> {
        self.completed(set, row).zip((0..).step_by(64)).flat_map(move |(mut hits, base)| {
            std::iter::from_fn(move || {
                let bit = hits.trailing_zeros() as usize;
                hits &= hits.wrapping_sub(1);
                if bit < 64 { self.fields.get(base + bit).copied() } else { None }
            })
        })
    }

    /// Appends the bits of a child of this row to `sets`, and says whether any is set. `parent` is where in `sets` the
    /// bits of its container begin.
    #[inline]
    pub(super) fn push_child(&self, sets: &mut Vec<u64>, parent: usize, row: Row) -> bool {
        let mut any = 0;
        let takes = self.row(row).iter().zip(&self.last).zip(&self.stays);
        for (((takes, last), stays), at) in takes.zip(parent..) {
            let set = sets.get(at).copied().unwrap_or(0);
            let child = ((set & takes & !last) << 1) | (set & stays);
            any |= child;
            sets.push(child);
        }
        any != 0
    }

    #[inline]
    fn completed(&self, set: &[u64], row: Row) -> impl Iterator<Item = u64> {
        set.iter().zip(self.row(row)).zip(&self.last).map(|((set, takes), last)| set & takes & last)
    }

    #[inline]
    fn row(&self, row: Row) -> &[u64] {
        let begin = row.0 as usize * self.words;
        self.takes.get(begin..begin + self.words).unwrap_or_default()
    }
}

impl Row {
    fn at(place: usize) -> Row {
        Row(u32::try_from(place).unwrap_or(u32::MAX))
    }
}

impl Selector {
    fn name(&self) -> Option<&str> {
        match self {
            Selector::Name(name) => Some(name),
            Selector::Index(_) | Selector::Any => None,
        }
    }

    fn index(&self) -> Option<u32> {
        match self {
            Selector::Index(index) => Some(*index),
            Selector::Name(_) | Selector::Any => None,
        }
    }
}

/// The names of all paths. Most members of a document have none of them, so that is found out first.
#[derive(Debug, Clone, Default)]
struct Names {
    /// Bit n: some name has n bytes (63: or more).
    lengths: u64,
    /// A hash table with open addressing; its length is a power of two, at most a quarter is used.
    slots: Vec<Option<Name>>,
}

#[derive(Debug, Clone)]
struct Name {
    bytes: Box<[u8]>,
    row: Row,
}

impl Names {
    fn build(names: &[&str]) -> Names {
        if names.is_empty() {
            return Names::default();
        }
        let size = (names.len() * 4).next_power_of_two();
        let mut table = Names { lengths: 0, slots: vec![None; size] };
        for (name, row) in names.iter().zip(1..) {
            table.lengths |= length_bit(name.len());
            let mut at = hash(name.as_bytes());
            while table.slots.get(at & (size - 1)).is_some_and(Option::is_some) {
                at += 1;
            }
            if let Some(slot) = table.slots.get_mut(at & (size - 1)) {
                *slot = Some(Name { bytes: name.as_bytes().into(), row: Row(row) });
            }
        }
        table
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Row {
        if self.lengths & length_bit(name.len()) == 0 {
            return Row::OTHER;
        }
        let mut at = hash(name);
        // An empty slot ends the search, and three quarters are empty.
        while let Some(Some(slot)) = self.slots.get(at & (self.slots.len() - 1)) {
            if *slot.bytes == *name {
                return slot.row;
            }
            at += 1;
        }
        Row::OTHER
    }
}

#[inline]
fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

/// Cheap, over the length, the first, the middle and the last byte. Names are the operator's; documents cannot add any, so
/// nobody can make them collide.
#[inline]
fn hash(name: &[u8]) -> usize {
    let byte = |at: usize| usize::from(name.get(at).copied().unwrap_or(0));
    let length = name.len();
    (length ^ byte(0) << 2 ^ byte(length / 2) << 5 ^ byte(length.saturating_sub(1)) << 3).wrapping_mul(0x9E37_79B1) >> 7
}

fn put(set: &mut [u64], bit: usize, value: bool) {
    if let Some(word) = set.get_mut(bit / 64) {
        *word |= u64::from(value) << (bit % 64);
    }
}
