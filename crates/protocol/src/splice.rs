//! Edits to a frame as a list of splices, applied without copying what stays.
//!
//! ```text
//! frame      [····a·····|bb|·······c····]      splices: replace bb, remove c
//! segments   [····a·····] [BBBB] [·······] [····]
//! ```

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

/// One edit: the bytes of `range` give way to `with`.
#[derive(Clone, PartialEq, Eq)]
pub struct Splice {
    /// Where in the original frame; empty for an insertion.
    pub range: Range<usize>,
    /// What stands there afterwards; empty for a removal.
    pub with: Bytes,
}

/// Edits to one frame.
///
/// Spans come from one walk over one frame, so two of them are apart, equal, or one inside the other. The outer one
/// wins over what is inside it, whatever the order; of two equal ones the later wins. Insertions at one place stand in
/// the order in which they came, and in front of a replacement that starts there.
///
/// Edits are taken as they come, in constant time each, and put in order once, when they are applied: a hostile frame
/// gives rise to hundreds of thousands.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Splices {
    edits: Vec<Splice>,
    /// Some edit came that does not stand behind the one before it.
    mixed: bool,
}

impl Splices {
    /// Puts `with` in the place of `range`.
    pub fn replace(&mut self, range: Range<usize>, with: Bytes) {
        if range.start < range.end || !with.is_empty() {
            self.mixed |= self.edits.last().is_some_and(|last| range.start < last.range.end);
            self.edits.push(Splice { range, with });
        }
    }

    /// Takes `range` out.
    pub fn remove(&mut self, range: Range<usize>) {
        self.replace(range, Bytes::new());
    }

    /// Puts `with` in front of the byte at `at`.
    pub fn insert(&mut self, at: usize, with: Bytes) {
        self.replace(at..at, with);
    }

    /// Takes over the edits of `other`, as if made after these.
    pub fn merge(&mut self, other: Self) {
        if self.edits.is_empty() {
            *self = other;
            return;
        }
        for splice in other.edits {
            self.replace(splice.range, splice.with);
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The edits that count, by place and not overlapping.
    #[must_use]
    pub fn in_order(&self) -> Cow<'_, [Splice]> {
        if !self.mixed {
            return Cow::Borrowed(&self.edits);
        }
        let mut sorted = self.edits.clone();
        // Stable: equal spans and insertions at one place stay in the order in which they came.
        sorted.sort_by_key(|splice| (splice.range.start, !splice.range.is_empty(), Reverse(splice.range.end)));
        let mut kept: Vec<Splice> = Vec::with_capacity(sorted.len());
        for splice in sorted {
            match kept.last_mut() {
                Some(last) if splice.range == last.range && !splice.range.is_empty() => *last = splice,
                Some(last) if splice.range.start < last.range.end => {
                    // Spans of one walk never overlap in part. Were it to happen, nothing that was to go may stay.
                    debug_assert!(splice.range.end <= last.range.end, "{:?} and {:?}", splice.range, last.range);
                    last.range.end = last.range.end.max(splice.range.end);
                }
                Some(_) | None => kept.push(splice),
            }
        }
        Cow::Owned(kept)
    }

    /// The edited frame: slices of `frame` and the replacements, nothing copied.
    ///
    /// A span outside the frame is cut to it; the walk that made it saw the same frame, so there is none.
    #[must_use]
    pub fn apply(&self, frame: Bytes) -> Segments {
        let mut segments = Segments::default();
        let mut at = 0;
        for splice in self.in_order().iter() {
            let start = splice.range.start.clamp(at, frame.len());
            segments.push(frame.slice(at..start));
            segments.push(splice.with.clone());
            at = splice.range.end.clamp(start, frame.len());
        }
        segments.push(frame.slice(at..));
        segments
    }
}

impl std::fmt::Debug for Splice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splice").field("range", &self.range).field("with", &self.with.len()).finish()
    }
}

impl std::fmt::Debug for Splices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.in_order().iter()).finish()
    }
}

/// Bytes in pieces, for one vectored write.
#[derive(Default, Clone)]
pub struct Segments {
    parts: Vec<Bytes>,
    bytes: usize,
}

impl Segments {
    /// Appends a piece; an empty one is left out.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.bytes = self.bytes.saturating_add(part.len());
            self.parts.push(part);
        }
    }

    /// Bytes in all pieces together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The pieces in order, none of them empty.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.parts.iter()
    }

    /// All bytes in one piece: a copy unless there is one piece already. For small frames and tests.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        if let [only] = self.parts.as_slice() {
            return only.clone();
        }
        let mut whole = BytesMut::with_capacity(self.bytes);
        for part in &self.parts {
            whole.put_slice(part);
        }
        whole.freeze()
    }
}

impl From<Bytes> for Segments {
    fn from(bytes: Bytes) -> Self {
        let mut segments = Self::default();
        segments.push(bytes);
        segments
    }
}

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.into_iter()
    }
}

impl<'a> IntoIterator for &'a Segments {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segments").field("parts", &self.parts.len()).field("len", &self.bytes).finish()
    }
}

/// Appends `value` as an unsigned varint: seven bits a byte, lowest first, in the fewest bytes (KIP-482).
pub fn put_unsigned_varint(value: u32, to: &mut BytesMut) {
    let mut rest = value;
    loop {
        let low = rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
        if rest == 0 {
            return to.put_u8(low);
        }
        to.put_u8(low | 0x80);
    }
}

/// `value` as an unsigned varint. Those of one byte are not allocated.
#[must_use]
pub fn unsigned_varint(value: u32) -> Bytes {
    if let Some(byte) = usize::try_from(value).ok().and_then(|at| ONE_BYTE_VARINTS.get(at..=at)) {
        return Bytes::from_static(byte);
    }
    let mut bytes = BytesMut::with_capacity(5);
    put_unsigned_varint(value, &mut bytes);
    bytes.freeze()
}

/// `text` as a compact string: its length plus one as a varint, then its bytes.
///
/// Kafka's strings are at most 32,767 bytes; longer text is the caller's mistake and is written with its true length,
/// which peers refuse.
#[must_use]
pub fn compact_string(text: &str) -> Bytes {
    let mut bytes = BytesMut::with_capacity(text.len() + 3);
    put_unsigned_varint(u32::try_from(text.len()).unwrap_or(u32::MAX).saturating_add(1), &mut bytes);
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

/// `text` as a classic string: its length as an `int16`, then its bytes. Cut at the last character that fits into
/// 32,767 bytes.
#[must_use]
pub fn classic_string(text: &str) -> Bytes {
    let mut end = text.len().min(i16::MAX.unsigned_abs().into());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(text.len() + 2);
    bytes.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

/// 0 to 127, each its own varint.
static ONE_BYTE_VARINTS: [u8; 128] = {
    let mut bytes = [0; 128];
    let mut at: u8 = 0;
    while at < 128 {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            bytes[at as usize] = at;
        }
        at += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Edits in the order in which they are made: a span and what comes in its place.
    fn check(frame: &str, edits: &[(Range<usize>, &'static str)], expected: &str) {
        let mut splices = Splices::default();
        for (range, with) in edits {
            splices.replace(range.clone(), Bytes::from_static(with.as_bytes()));
        }
        let segments = splices.apply(Bytes::copy_from_slice(frame.as_bytes()));
        assert_eq!(segments.to_bytes(), expected.as_bytes());
        assert_eq!(segments.len(), expected.len());
        assert_eq!(segments.iter().map(Bytes::len).sum::<usize>(), expected.len());
    }

    #[test]
    fn applies_edits_in_any_order() {
        check("0123456789", &[], "0123456789");
        check("0123456789", &[(2..4, "xyz"), (6..6, "in"), (8..10, "")], "01xyz45in67");
        check("0123456789", &[(8..10, ""), (6..6, "in"), (2..4, "xyz")], "01xyz45in67");
        check("0123456789", &[(0..10, "")], "");
        check("0123456789", &[(10..10, "end"), (0..0, "start")], "start0123456789end");
    }

    #[test]
    fn outer_edit_wins_over_what_is_inside_it() {
        check("0123456789", &[(3..4, "x"), (2..6, ""), (5..6, "y")], "016789");
        check("0123456789", &[(2..6, ""), (3..4, "x"), (4..4, "y")], "016789");
        check("0123456789", &[(3..3, "a"), (4..5, "b"), (7..8, "c"), (2..6, "")], "016c89");
    }

    #[test]
    fn later_of_two_equal_edits_wins() {
        check("0123456789", &[(3..4, "x"), (3..4, "y")], "012y456789");
    }

    #[test]
    fn insertions_keep_their_order_and_stand_beside_replacements() {
        check("0123", &[(2..2, "a"), (2..2, "b"), (2..3, "X")], "01abX3");
        check("0123", &[(2..3, "X"), (2..2, "a"), (2..2, "b"), (3..3, "c")], "01abXc3");
        check("0123", &[(1..2, "X"), (2..2, "a")], "0Xa23");
    }

    #[test]
    fn merges_as_if_made_afterwards() {
        let mut first = Splices::default();
        first.replace(1..2, Bytes::from_static(b"first"));
        first.remove(4..5);
        let mut second = Splices::default();
        second.replace(1..2, Bytes::from_static(b"second"));
        second.insert(3, Bytes::from_static(b"+"));
        first.merge(second);
        assert_eq!(first.apply(Bytes::from_static(b"0123456")).to_bytes(), &b"0second2+356"[..]);
    }

    /// Moving edits about at each insertion would take minutes.
    #[test]
    fn hundreds_of_thousands_of_edits_in_any_order_are_put_in_order_once() {
        let mut splices = Splices::default();
        let edits = 400_000;
        for at in (0..edits).step_by(2).chain((1..edits).step_by(2).rev()) {
            splices.replace(at..at + 1, Bytes::from_static(b"x"));
        }
        assert_eq!(splices.in_order().len(), edits);
        assert_eq!(splices.apply(Bytes::from(vec![0; edits])).to_bytes(), vec![b'x'; edits]);
    }

    #[test]
    fn untouched_frame_is_not_copied() {
        let frame = Bytes::from(vec![7; 100]);
        let segments = Splices::default().apply(frame.clone());
        assert_eq!(segments.to_bytes().as_ptr(), frame.as_ptr());
    }

    #[test]
    fn shows_lengths_and_no_bytes() {
        let mut splices = Splices::default();
        splices.replace(1..3, Bytes::from_static(b"secret"));
        assert_eq!(format!("{splices:?}"), "[Splice { range: 1..3, with: 6 }]");
        let segments = splices.apply(Bytes::from_static(b"0123"));
        assert_eq!(format!("{segments:?}"), "Segments { parts: 3, len: 8 }");
    }

    #[test]
    fn writes_strings_in_both_encodings() {
        assert_eq!(classic_string("ab"), &[0, 2, b'a', b'b'][..]);
        assert_eq!(compact_string("ab"), &[3, b'a', b'b'][..]);
        assert_eq!(compact_string(&"x".repeat(127))[..2], [0x80, 1]);
        assert_eq!(classic_string(&"\u{fc}".repeat(20_000)).len(), 2 + 32_766, "cut in front of half a character");
    }

    proptest! {
        #[test]
        fn varints_are_shortest_and_read_back(value in any::<u32>(), shift in 0..32_u32) {
            let value = value >> shift;
            let bytes = unsigned_varint(value);
            let bits = (u32::BITS - value.leading_zeros()).max(1);
            prop_assert_eq!(bytes.len(), usize::try_from(bits.div_ceil(7)).unwrap());
            let read = bytes.iter().rev().fold(0_u64, |number, byte| number << 7 | u64::from(byte & 0x7f));
            prop_assert_eq!(read, u64::from(value));
        }

        #[test]
        fn disjoint_edits_come_out_alike_in_any_order(
            cuts in prop::collection::btree_set(0..200_usize, 0..20),
            keys in prop::collection::vec(any::<u32>(), 20),
        ) {
            let frame: Vec<u8> = (0..200).collect();
            let cuts: Vec<usize> = cuts.into_iter().collect();
            let spans: Vec<Range<usize>> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let mut expected = frame.clone();
            for span in spans.iter().rev() {
                expected.splice(span.clone(), *b"new");
            }
            let mut order: Vec<usize> = (0..spans.len()).collect();
            order.sort_by_key(|at| keys[*at]);
            let mut splices = Splices::default();
            for at in order {
                splices.replace(spans[at].clone(), Bytes::from_static(b"new"));
            }
            prop_assert_eq!(&splices.apply(Bytes::from(frame)).to_bytes()[..], &expected[..]);
        }
    }
}
