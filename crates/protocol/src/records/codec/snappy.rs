//! Snappy, raw or in snappy-java's framing, which Kafka's Java clients write and every client reads:
//!
//! ```text
//! 82 "SNAPPY" 00   version 1 (i32)   compatible version 1 (i32)   { block length (i32)  raw snappy }*
//! ```

use bytes::{BufMut, BytesMut};

use super::{Output, Refusal, append};
use crate::records::error::CodecFault;
use crate::varint;

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// Plain bytes of an emitted block, as in snappy-java's default.
const BLOCK_BYTES: usize = 32 * 1024;

/// The densest element copies 64 bytes and takes three: no stream inflates further than this.
const RATIO_MAX: usize = 22;

#[derive(Default)]
pub(super) struct Contexts {
    encoder: Option<snap::raw::Encoder>,
}

impl Contexts {
    pub(super) fn compress(&mut self, plain: &[u8], out: &mut BytesMut) -> Option<()> {
        let encoder = self.encoder.get_or_insert_with(snap::raw::Encoder::new);
        out.put_slice(&HEADER);
        for block in plain.chunks(BLOCK_BYTES) {
            let length_at = out.len();
            // The largest value until the length is known: a block that was left unfinished reads as cut.
            out.put_i32(i32::MAX);
            append(out, snap::raw::max_compress_len(block.len()), |room| encoder.compress(block, room).ok())?;
            let length = i32::try_from(out.len() - length_at - 4).ok()?;
            out.get_mut(length_at..length_at + 4)?.copy_from_slice(&length.to_be_bytes());
        }
        Some(())
    }
}

pub(super) fn decompress(compressed: &[u8], out: &mut Output) -> Result<(), Refusal> {
    if !compressed.starts_with(&MAGIC) {
        return raw(compressed, out);
    }
    let mut rest = compressed.strip_prefix(&HEADER).ok_or(CodecFault::Unsupported)?;
    while !rest.is_empty() {
        let (length, blocks) = rest.split_first_chunk().ok_or(CodecFault::Cut)?;
        // snappy-java reads a second stream header in place of a length.
        if blocks.starts_with(MAGIC.get(4..).unwrap_or_default()) && MAGIC.starts_with(length) {
            return Err(CodecFault::SecondFrame.into());
        }
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| CodecFault::Malformed)?;
        let (block, behind) = blocks.split_at_checked(length).ok_or(CodecFault::Cut)?;
        raw(block, out)?;
        rest = behind;
    }
    Ok(())
}

/// One raw block. Its announced length is judged before anything is allocated for it.
fn raw(compressed: &[u8], out: &mut Output) -> Result<(), Refusal> {
    let mut elements = compressed;
    let announced = varint::take_u32(&mut elements).map_err(|_| Refusal::Fault(CodecFault::Malformed))?;
    let announced = usize::try_from(announced).map_err(|_| Refusal::TooLarge)?;
    if announced > out.left() {
        return Err(Refusal::TooLarge);
    }
    if announced > elements.len().saturating_mul(RATIO_MAX) {
        return Err(CodecFault::Malformed.into());
    }
    let room = out.room(announced).get_mut(..announced).ok_or(CodecFault::Malformed)?;
    let written = snap::raw::Decoder::new().decompress(compressed, room).map_err(|_| CodecFault::Malformed)?;
    if written != announced {
        return Err(CodecFault::Malformed.into());
    }
    out.advance(written)
}
