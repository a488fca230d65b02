//! Looks at sixteen bytes at once.
//!
//! The loops over a whole block have a fixed length and no branches, so that the compiler turns each into a few vector
//! instructions, on any machine and without `unsafe`.

/// Bytes looked at together.
pub(super) const BLOCK: usize = 16;

/// How many bytes at the start of the block are plain inside a JSON string: not `"`, not `\`, not a control character.
#[inline(always)]
pub(super) fn plain_len(block: &[u8; BLOCK]) -> usize {
    let mut stops = [0; BLOCK];
    for (stop, &byte) in stops.iter_mut().zip(block) {
        *stop = u8::from((byte == b'"') | (byte == b'\\') | (byte < 0x20)).wrapping_neg();
    }
    first_set(stops)
}

/// The place of the first byte that is not zero, or the length of the block.
#[inline(always)]
fn first_set(bytes: [u8; BLOCK]) -> usize {
    u128::from_le_bytes(bytes).trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_stop_at_every_place_and_for_every_byte() {
        for at in 0..BLOCK {
            for byte in 0..=255_u8 {
                let mut block = [b'a'; BLOCK];
                block[at] = byte;
                if let Some(behind) = block.get_mut(at + 1) {
                    *behind = b'"';
                }
                let stop = byte == b'"' || byte == b'\\' || byte < 0x20;
                let expected = if stop { at } else { (at + 1).min(BLOCK) };
                assert_eq!(plain_len(&block), expected, "byte {byte} at {at}");
            }
        }
    }
}
