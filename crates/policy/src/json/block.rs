//! Looks at many bytes at once.
//!
//! The loops over a whole block have a fixed length and no branches, so that the compiler turns them into a few vector
//! instructions, on any machine and without `unsafe`.

/// Where the quotes and backslashes of a document are: one bit per byte, 64 bytes a word.
///
/// Knowing them all beforehand is what makes the walk fast: the end of a string does not have to be found before the
/// search for the next can begin.
#[derive(Debug, Default)]
pub(super) struct Marks {
    words: Vec<u64>,
}

impl Marks {
    /// Marks the document; the memory is used again.
    pub(super) fn mark(&mut self, doc: &[u8]) {
        self.words.clear();
        let (blocks, rest) = doc.as_chunks::<64>();
        self.words.extend(blocks.iter().map(quotes));
        if !rest.is_empty() {
            let mut last = [b' '; 64];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.words.push(quotes(&last));
        }
    }

    /// Begins at the first mark.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        let mut cursor = Cursor { words: &self.words, base: 0, word: 0 };
        cursor.seek(0);
        cursor
    }
}

/// A place in the order of the marks.
pub(super) struct Cursor<'a> {
    words: &'a [u64],
    /// The byte of the document at which the current word begins.
    base: usize,
    /// What is left of the current word.
    word: u64,
}

impl Cursor<'_> {
    /// Passes over one mark, the opening quote, and gives the place of the one behind it; none when there is no more.
    #[inline(always)]
    pub(super) fn second(&mut self) -> Option<usize> {
        let second = without_lowest(self.word);
        if second == 0 {
            return self.second_in_later_word();
        }
        self.word = without_lowest(second);
        Some(self.base.wrapping_add(second.trailing_zeros() as usize))
    }

    #[inline(never)]
    fn second_in_later_word(&mut self) -> Option<usize> {
        self.next()?;
        self.next()
    }

    /// Passes over the next mark and gives its place.
    fn next(&mut self) -> Option<usize> {
        while self.word == 0 {
            self.base += 64;
            self.word = *self.words.get(self.base / 64)?;
        }
        let at = self.base + self.word.trailing_zeros() as usize;
        self.word = without_lowest(self.word);
        Some(at)
    }

    /// Goes on with the first mark from `at` on.
    pub(super) fn seek(&mut self, at: usize) {
        self.base = at / 64 * 64;
        self.word = self.words.get(at / 64).map_or(0, |word| word & (u64::MAX << (at % 64)));
    }
}

#[inline(always)]
fn without_lowest(word: u64) -> u64 {
    word & word.wrapping_sub(1)
}

/// One bit for each quote or backslash of the block.
#[inline(always)]
fn quotes(block: &[u8; 64]) -> u64 {
    // Each byte that is one becomes the power of two of its place among eight; a multiplication then adds the eight up.
    let mut bits = [0; 64];
    for ((bit, &byte), power) in bits.iter_mut().zip(block).zip(POWERS.as_flattened()) {
        *bit = if (byte == b'"') | (byte == b'\\') { *power } else { 0 };
    }
    let (eights, _) = bits.as_chunks::<8>();
    eights
        .iter()
        .rev()
        .fold(0, |word, &eight| word << 8 | (u64::from_le_bytes(eight).wrapping_mul(u64::MAX / 255) >> 56))
}

const POWERS: [[u8; 8]; 8] = [[1, 2, 4, 8, 16, 32, 64, 128]; 8];

/// What is said of all bytes of a document in one pass over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// All are below 0x80, and thus UTF-8.
    pub(super) is_ascii: bool,
    /// There are bytes below 0x20. Compact documents have none, which is quicker to tell than how many there are.
    pub(super) has_controls: bool,
}

/// Looks at all bytes.
pub(super) fn survey(bytes: &[u8]) -> Survey {
    let (least, all) = bytes.iter().fold((u8::MAX, 0), |(least, all), &byte| (least.min(byte), all | byte));
    Survey { is_ascii: all < 0x80, has_controls: least < 0x20 }
}

/// How many control characters are among the bytes?
pub(super) fn count_controls(bytes: &[u8]) -> usize {
    // So few at once that a byte can count them, which is what vectors of bytes do.
    let count = |some: &[u8]| some.iter().fold(0_u8, |count, &byte| count.wrapping_add(u8::from(byte < 0x20)));
    bytes.chunks(128).map(|some| usize::from(count(some))).sum()
}

/// How many spaces stand at the start of the bytes?
#[inline]
pub(super) fn spaces_len(bytes: &[u8]) -> usize {
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut length = 0;
    for eight in eights {
        let other = u64::from_le_bytes(*eight) ^ (u64::MAX / 255 * 0x20);
        if other != 0 {
            return length + other.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + rest.iter().take_while(|&&byte| byte == b' ').count()
}

/// How many bytes at the start of the eight are plain inside a JSON string: not `"`, not `\`, not a control character.
#[inline(always)]
pub(super) fn plain_len(eight: [u8; 8]) -> usize {
    // Mycroft's test for a zero byte, three times. Bits above the lowest may be false, as a borrow runs upwards only.
    const ONES: u64 = u64::MAX / 255;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let word = u64::from_le_bytes(eight);
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let stops = (zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | controls) & (ONES << 7);
    stops.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_stop_at_every_place_and_for_every_byte() {
        for at in 0..8 {
            for byte in 0..=255_u8 {
                let mut block = [b'a'; 8];
                block[at] = byte;
                if let Some(behind) = block.get_mut(at + 1) {
                    *behind = b'"';
                }
                let stop = byte == b'"' || byte == b'\\' || byte < 0x20;
                let expected = if stop { at } else { (at + 1).min(8) };
                assert_eq!(plain_len(block), expected, "byte {byte} at {at}");
                assert_eq!(count_controls(&block), usize::from(byte < 0x20));
                assert_eq!(survey(&block), Survey { is_ascii: byte < 0x80, has_controls: byte < 0x20 });
            }
        }
    }

    #[test]
    fn counts_controls_and_spaces() {
        for length in 0..300 {
            let mut bytes = b"\n".repeat(length);
            assert_eq!(count_controls(&bytes), length);
            bytes.fill(b' ');
            assert_eq!((count_controls(&bytes), spaces_len(&bytes)), (0, length));
            bytes.extend_from_slice(b"\t   ");
            assert_eq!((count_controls(&bytes), spaces_len(&bytes)), (1, length));
        }
    }

    #[test]
    fn marks_every_quote_and_backslash_and_nothing_else() {
        for length in [0, 1, 63, 64, 65, 128, 200] {
            let doc: Vec<u8> = (0..length).map(|at| u8::try_from((at * 37 + at / 7) % 256).unwrap()).collect();
            let wanted: Vec<usize> = (0..length).filter(|&at| matches!(doc[at], b'"' | b'\\')).collect();
            let mut marks = Marks::default();
            marks.mark(b"a longer document before it, with \"quotes\" that must be forgotten");
            marks.mark(&doc);
            let mut cursor = marks.cursor();
            let found: Vec<usize> = std::iter::from_fn(|| cursor.next()).collect();
            assert_eq!(found, wanted);
            for from in 0..length + 70 {
                let mut later = wanted.iter().copied().filter(|&at| at >= from);
                cursor.seek(from);
                assert_eq!(cursor.second(), later.by_ref().nth(1), "the second from {from} of {length}");
                assert_eq!(cursor.second(), later.nth(1), "the fourth from {from} of {length}");
                cursor.seek(from);
                assert_eq!(cursor.next(), wanted.iter().copied().find(|&at| at >= from), "from {from} of {length}");
            }
        }
    }
}
