//! Field paths compiled for one pass.
//!
//! Each path is a run of bits, one per segment. A set bit means: the segments before this one are matched by the
//! containers that are open now. A child moves the bits whose segment takes it up by one; a descendant segment's bit
//! also stays. The work for a child is thus a few operations on one word for any number of fields (64 segments a word),
//! whatever mixture of names, indexes, wildcards and descendants they are, and nothing explodes as a determinised
//! automaton could.
//!
//! ```text
//! $.card.number      bit 0 "card"   bit 1 "number", last
//! $..email           bit 2 "email", last, stays
//! $.items[*].email   bit 3 "items"  bit 4 any       bit 5 "email", last
//! ```

use super::FieldId;
use super::meet::may_meet;
use super::path::{Path, Selector};

/// A compiled set of paths, built once and used for many documents.
#[derive(Debug, Clone, Default)]
pub struct FieldTrie {
    /// What the bits of each word are.
    words: Vec<Word>,
    /// Rows of as many words: the segments that take a child. Row 0: a child that no path names.
    takes: Vec<u64>,
    names: Names,
    /// Ascending, with the row of each.
    indexes: Vec<(u32, Row)>,
    /// The field of each bit that is set in [`Word::last`].
    fields: Vec<FieldId>,
    /// Fields whose path is `$`.
    root: Vec<FieldId>,
}

/// What the segments of 64 bits are.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    /// The first segment of each path.
    first: u64,
    /// The last segment of each path.
    last: u64,
    /// Descendant segments.
    stays: u64,
    /// Segments with a name.
    named: u64,
    /// Segments with an index.
    indexed: u64,
    /// Last segments that take any child.
    ends: u64,
}

/// Names a row of the table of segments that take a child.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Row(u32);

impl Row {
    /// A child that no path names; only wildcards take it.
    pub(super) const OTHER: Row = Row(0);
    /// A child in a container where no path goes on.
    pub(super) const NONE: Row = Row(u32::MAX);
    /// The root of the document.
    pub(super) const ROOT: Row = Row(u32::MAX - 1);
}

/// What the paths that go on in a container ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entered {
    /// Names of members.
    pub(super) asks_names: bool,
    /// Places of elements.
    pub(super) asks_indexes: bool,
    /// Does a child that no path names complete a path?
    pub(super) any_completes: bool,
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
        trie.words.resize(next.div_ceil(64), Word::default());
        trie.fields.resize(trie.words.len() * 64, FieldId(0));

        let segments = || fields.iter().flat_map(|(_, path)| path.segments());
        let mut names: Vec<&str> = segments().filter_map(|segment| segment.selector.name()).collect();
        let mut indexes: Vec<u32> = segments().filter_map(|segment| segment.selector.index()).collect();
        names.sort_unstable();
        names.dedup();
        indexes.sort_unstable();
        indexes.dedup();
        let rows = 1 + names.len() + indexes.len();
        trie.takes.resize(rows * trie.words.len(), 0);
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
        self.words.is_empty() && self.root.is_empty()
    }

    fn lay_out(&mut self, field: FieldId, path: &Path, place: usize, names: &[&str], rows: usize) {
        let words = self.words.len();
        for (segment, at) in path.segments().iter().zip(place..) {
            let bit = 1 << (at % 64);
            let last = at + 1 == place + path.segments().len();
            if let Some(word) = self.words.get_mut(at / 64) {
                let put = |set: &mut u64, value| *set |= if value { bit } else { 0 };
                put(&mut word.first, at == place);
                put(&mut word.last, last);
                put(&mut word.stays, segment.descendant);
                put(&mut word.named, segment.selector.name().is_some());
                put(&mut word.indexed, segment.selector.index().is_some());
                put(&mut word.ends, last && segment.selector == Selector::Any);
            }
            if last && let Some(slot) = self.fields.get_mut(at) {
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
                if let Some(takes) = self.takes.get_mut(row * words + at / 64) {
                    *takes |= bit;
                }
            }
        }
    }

    /// Words of a set of bits.
    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    /// Fields that select the root itself.
    pub(super) fn root(&self) -> &[FieldId] {
        &self.root
    }

    /// The row of a member's decoded name, which is `length` bytes of `text` at `start`.
    #[inline(always)]
    pub(super) fn name(&self, text: &[u8], start: usize, length: usize) -> Row {
        self.names.find(text, start, length)
    }

    /// The row of an element.
    pub(super) fn index(&self, index: u32) -> Row {
        match self.indexes.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(at) => self.indexes.get(at).map_or(Row::OTHER, |(_, row)| *row),
            Err(_) => Row::OTHER,
        }
    }

    /// Calls `each` for the fields whose path a child of this row completes.
    #[inline]
    pub(super) fn for_each_field(&self, set: &[u64], row: Row, mut each: impl FnMut(FieldId)) {
        for (mut hits, fields) in self.completed(set, row).zip(self.fields.chunks(64)) {
            while let Some(field) = fields.get(hits.trailing_zeros() as usize) {
                each(*field);
                hits &= hits.wrapping_sub(1);
            }
        }
    }

    /// Puts the bits of a container on top of `sets`: it is a child of this row of the one whose bits are on top. When
    /// none is set, no path goes on in it, and nothing is put there.
    #[inline]
    pub(super) fn enter(&self, sets: &mut Vec<u64>, row: Row) -> Option<Entered> {
        // Nearly every policy: one word.
        if let [word] = self.words.as_slice() {
            let set = sets.last().copied().unwrap_or(0);
            let takes = self.takes.get(row.0 as usize).copied().unwrap_or(0);
            let child = word.child(set, takes, row);
            if child == 0 {
                return None;
            }
            sets.push(child);
            return Some(word.entered(child));
        }
        self.enter_words(sets, row)
    }

    fn enter_words(&self, sets: &mut Vec<u64>, row: Row) -> Option<Entered> {
        let parent = sets.len().saturating_sub(self.words.len());
        let mut any = 0;
        let mut entered = Entered { asks_names: false, asks_indexes: false, any_completes: false };
        for (at, word) in self.words.iter().enumerate() {
            let set = sets.get(parent + at).copied().unwrap_or(0);
            let takes = self.row(row).get(at).copied().unwrap_or(0);
            let child = word.child(set, takes, row);
            let more = word.entered(child);
            any |= child;
            entered.asks_names |= more.asks_names;
            entered.asks_indexes |= more.asks_indexes;
            entered.any_completes |= more.any_completes;
            sets.push(child);
        }
        if any == 0 {
            sets.truncate(sets.len().saturating_sub(self.words.len()));
            return None;
        }
        Some(entered)
    }

    #[inline]
    fn completed(&self, set: &[u64], row: Row) -> impl Iterator<Item = u64> {
        set.iter().zip(self.row(row)).zip(&self.words).map(|((set, takes), word)| set & takes & word.last)
    }

    #[inline]
    fn row(&self, row: Row) -> &[u64] {
        let begin = (row.0 as usize).wrapping_mul(self.words.len());
        self.takes.get(begin..begin.wrapping_add(self.words.len())).unwrap_or_default()
    }
}

impl Word {
    /// The bits of a container that is a child of this row: `set` are its parent's, `takes` those of the row.
    #[inline(always)]
    fn child(&self, set: u64, takes: u64, row: Row) -> u64 {
        if row == Row::ROOT { self.first } else { ((set & takes & !self.last) << 1) | (set & self.stays) }
    }

    #[inline(always)]
    fn entered(&self, child: u64) -> Entered {
        Entered {
            asks_names: child & self.named != 0,
            asks_indexes: child & self.indexed != 0,
            any_completes: child & self.ends != 0,
        }
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

/// The names of all paths: a hash table with open addressing. Its length is a power of two, of which at most a quarter
/// is used.
#[derive(Debug, Clone, Default)]
struct Names {
    slots: Vec<Slot>,
    /// For each length (the last: or more), the first bytes of the names of that length, modulo 64. Most members of
    /// documents are told apart from all names by it.
    firsts: Vec<u64>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    /// The first eight bytes of the name, filled up with zeros.
    head: u64,
    /// Bytes of the name plus one: 0 says that the slot is empty.
    length: usize,
    /// The rest of the name.
    tail: Box<[u8]>,
    row: Row,
}

impl Names {
    fn build(names: &[&str]) -> Names {
        if names.is_empty() {
            return Names::default();
        }
        let mut slots = vec![Slot::default(); (names.len() * 4).next_power_of_two()];
        let mask = slots.len() - 1;
        let mut firsts = vec![0; FIRSTS];
        for (name, row) in names.iter().zip(1..) {
            let head = head(name.as_bytes(), 0, name.len());
            if let Some(firsts) = firsts.get_mut(name.len().min(FIRSTS - 1)) {
                *firsts |= 1 << (head % 64);
            }
            let mut at = hash(head, name.len());
            while slots.get(at & mask).is_some_and(|slot| slot.length != 0) {
                at += 1;
            }
            if let Some(slot) = slots.get_mut(at & mask) {
                let tail = name.as_bytes().get(8..).unwrap_or_default().into();
                *slot = Slot { head, length: name.len() + 1, tail, row: Row(row) };
            }
        }
        Names { slots, firsts }
    }

    /// Finds the name that is `length` bytes of `text` at `start`.
    #[inline(always)]
    fn find(&self, text: &[u8], start: usize, length: usize) -> Row {
        let first = if length == 0 { 0 } else { text.get(start).copied().unwrap_or(0) };
        let firsts = self.firsts.get(length.min(FIRSTS - 1)).copied().unwrap_or(0);
        if firsts & 1 << (first % 64) == 0 {
            return Row::OTHER;
        }
        let head = head(text, start, length);
        let mut at = hash(head, length);
        // An empty slot ends the search, and three quarters are empty.
        while let Some(slot) = self.slots.get(at & self.slots.len().wrapping_sub(1)) {
            if slot.length == 0 {
                break;
            }
            if slot.head == head && slot.length == length + 1 {
                let tail = text.get(start + 8..start + length);
                if length <= 8 || tail == Some(&*slot.tail) {
                    return slot.row;
                }
            }
            at += 1;
        }
        Row::OTHER
    }
}

/// Lengths told apart by [`Names::firsts`].
const FIRSTS: usize = 32;

/// The first eight bytes of a name, filled up with zeros.
#[inline(always)]
fn head(text: &[u8], start: usize, length: usize) -> u64 {
    let Some(rest) = text.get(start..) else { return 0 };
    let head = match rest.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => rest.iter().rev().fold(0, |head, &byte| head << 8 | u64::from(byte)),
    };
    if length < 8 { head & !(u64::MAX << (length * 8)) } else { head }
}

/// Names are the operator's; documents cannot add any, so nobody can make them collide.
#[inline(always)]
fn hash(head: u64, length: usize) -> usize {
    // The high bits are the mixed ones.
    (head.wrapping_add(length as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize
}
