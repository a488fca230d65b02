//! The lz4 frame format, to the extent that Kafka's Java client reads it (KIP-57): version 1, independent blocks, no
//! dictionary. Checksums and the content size, where present, are verified.
//!
//! ```text
//! 04 22 4d 18   flags   block size   [content size u64]   header checksum
//! { block length u32, top bit: stored   block   [block checksum] }*   00 00 00 00   [content checksum]
//! ```

use ::lz4::block;
use bytes::{BufMut, BytesMut};

use super::xxh32::xxh32;
use super::{Effort, Output, Refusal, append, take_u32_le};
use crate::records::error::CodecFault;

const MAGIC: u32 = 0x184d_2204;
const VERSION_MASK: u8 = 0xc0;
const VERSION_1: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const RESERVED_OR_DICTIONARY: u8 = 0x03;
const STORED: u32 = 0x8000_0000;

/// Plain bytes of an emitted block, as Kafka's Java client writes them, and its code in the header.
const BLOCK_BYTES: usize = 64 * 1024;
const BLOCK_CODE: u8 = 0x40;

/// Level of the slower compressor (lz4 HC), its own default.
const LEVEL_HIGH: i32 = 9;

/// A match lengthened by one byte of 255 grows by 255: no block inflates further than this.
const RATIO_MAX: usize = 255;

pub(super) fn decompress(compressed: &[u8], out: &mut Output) -> Result<(), Refusal> {
    let mut rest = compressed;
    let frame = Frame::take(&mut rest)?;
    loop {
        let length = take_u32_le(&mut rest).ok_or(CodecFault::Cut)?;
        if length == 0 {
            break;
        }
        let is_stored = length & STORED != 0;
        let length = usize::try_from(length & !STORED).map_err(|_| Refusal::TooLarge)?;
        if length == 0 || length > frame.block_bytes_max {
            return Err(CodecFault::Malformed.into());
        }
        let (block, behind) = rest.split_at_checked(length).ok_or(CodecFault::Cut)?;
        rest = behind;
        if frame.flags & BLOCK_CHECKSUM != 0 && take_u32_le(&mut rest).ok_or(CodecFault::Cut)? != xxh32(block) {
            return Err(CodecFault::Checksum.into());
        }
        if is_stored {
            out.put(block)?;
        } else {
            let bound = frame.block_bytes_max.min(length.saturating_mul(RATIO_MAX));
            let room = out.room(bound).get_mut(..bound).ok_or(CodecFault::Malformed)?;
            let size = i32::try_from(bound).map_err(|_| Refusal::TooLarge)?;
            let written = block::decompress_to_buffer(block, Some(size), room).map_err(|_| CodecFault::Malformed)?;
            out.advance(written)?;
        }
    }
    let content = out.bytes();
    if frame.content_size.is_some_and(|size| u64::try_from(content.len()) != Ok(size)) {
        return Err(CodecFault::Checksum.into());
    }
    if frame.flags & CONTENT_CHECKSUM != 0 && take_u32_le(&mut rest).ok_or(CodecFault::Cut)? != xxh32(content) {
        return Err(CodecFault::Checksum.into());
    }
    match take_u32_le(&mut rest) {
        None if rest.is_empty() => Ok(()),
        Some(MAGIC) => Err(CodecFault::SecondFrame.into()),
        Some(_) | None => Err(CodecFault::TrailingBytes.into()),
    }
}

pub(super) fn compress(plain: &[u8], effort: Effort, out: &mut BytesMut) -> Option<()> {
    let descriptor = [VERSION_1 | INDEPENDENT, BLOCK_CODE];
    out.put_u32_le(MAGIC);
    out.put_slice(&descriptor);
    out.put_u8(header_checksum(&descriptor));
    for plain in plain.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        out.put_u32_le(u32::MAX);
        let bound = block::compress_bound(plain.len()).ok()?;
        append(out, bound, |room| block::compress_to_buffer(plain, mode(effort), false, room).ok())?;
        let mut length = u32::try_from(out.len() - length_at - 4).ok()?;
        if out.len() - length_at - 4 >= plain.len() {
            out.truncate(length_at + 4);
            out.put_slice(plain);
            length = STORED | u32::try_from(plain.len()).ok()?;
        }
        out.get_mut(length_at..length_at + 4)?.copy_from_slice(&length.to_le_bytes());
    }
    out.put_u32_le(0);
    Some(())
}

fn mode(effort: Effort) -> Option<block::CompressionMode> {
    match effort {
        Effort::Fast => None,
        Effort::High => Some(block::CompressionMode::HIGHCOMPRESSION(LEVEL_HIGH)),
    }
}

/// A frame's header.
struct Frame {
    flags: u8,
    block_bytes_max: usize,
    content_size: Option<u64>,
}

impl Frame {
    fn take(bytes: &mut &[u8]) -> Result<Self, Refusal> {
        match take_u32_le(bytes) {
            Some(MAGIC) => {}
            Some(_) => return Err(CodecFault::Malformed.into()),
            None => return Err(CodecFault::Cut.into()),
        }
        let descriptor = *bytes;
        let (&[flags, block_code], mut rest) = descriptor.split_first_chunk().ok_or(CodecFault::Cut)?;
        if flags & VERSION_MASK != VERSION_1 {
            return Err(CodecFault::Malformed.into());
        }
        if flags & RESERVED_OR_DICTIONARY != 0 || flags & INDEPENDENT == 0 {
            return Err(CodecFault::Unsupported.into());
        }
        let block_bytes_max = match block_code {
            0x40 => 64 * 1024,
            0x50 => 256 * 1024,
            0x60 => 1024 * 1024,
            0x70 => 4 * 1024 * 1024,
            _ => return Err(CodecFault::Malformed.into()),
        };
        let mut content_size = None;
        if flags & CONTENT_SIZE != 0 {
            let (size, behind) = rest.split_first_chunk().ok_or(CodecFault::Cut)?;
            content_size = Some(u64::from_le_bytes(*size));
            rest = behind;
        }
        let descriptor = descriptor.get(..descriptor.len() - rest.len()).unwrap_or_default();
        let (&checksum, rest) = rest.split_first().ok_or(CodecFault::Cut)?;
        if checksum != header_checksum(descriptor) {
            return Err(CodecFault::Checksum.into());
        }
        *bytes = rest;
        Ok(Self { flags, block_bytes_max, content_size })
    }
}

/// The second byte of the descriptor's hash. Kafka before KIP-57 hashed the magic too; magic 2 came after it.
fn header_checksum(descriptor: &[u8]) -> u8 {
    let [_, second, ..] = xxh32(descriptor).to_le_bytes();
    second
}
