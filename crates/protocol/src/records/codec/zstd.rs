//! zstd (RFC 8878): one frame, no dictionary, no skippable frame.

use bytes::BytesMut;
use zstd_safe::{CCtx, DCtx, InBuffer, OutBuffer, ResetDirective};

use super::{Effort, Output, Refusal, append};
use crate::records::error::CodecFault;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// `184D2A50` to `184D2A5F`, little-endian.
const SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Recompression is the largest cost of an edit: the fastest level without loss of the format's strengths.
const LEVEL: i32 = 1;

/// Well above 3, which clients take when nobody asks for a level.
const LEVEL_HIGH: i32 = 9;

/// Largest window of a frame, in bytes: what the format's own decoder takes unless it is told otherwise, and what its highest level
/// asks for. Memory is taken for what comes out, not for what is announced.
const WINDOW_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Window up to which a decoder is kept for the next batch, in bytes: the largest that the format asks every decoder to
/// support. A larger one (level 20 and up) is legal, but its context would hold up to 128 MiB for good.
const WINDOW_BYTES_KEPT: u64 = 8 * 1024 * 1024;

/// Room offered to the decoder at a time: the largest block of the format.
const BLOCK_BYTES: usize = 128 * 1024;

#[derive(Default)]
pub(super) struct Contexts {
    decoder: Option<DCtx<'static>>,
    encoder: Option<CCtx<'static>>,
}

impl Contexts {
    pub(super) fn decompress(&mut self, compressed: &[u8], out: &mut Output) -> Result<(), Refusal> {
        let window = check_header(compressed)?;
        let announced = zstd_safe::get_frame_content_size(compressed).map_err(|_| CodecFault::Malformed)?;
        if announced.is_some_and(|announced| usize::try_from(announced).map_or(true, |size| size > out.left())) {
            return Err(Refusal::TooLarge);
        }
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => DCtx::try_create().ok_or(Refusal::TooLarge)?,
        };
        decoder.reset(ResetDirective::SessionOnly).map_err(|_| CodecFault::Malformed)?;
        let result = stream(&mut decoder, compressed, out);
        if window.or(announced).is_some_and(|window| window <= WINDOW_BYTES_KEPT) {
            self.decoder = Some(decoder);
        }
        result
    }

    pub(super) fn compress(&mut self, plain: &[u8], effort: Effort, out: &mut BytesMut) -> Option<()> {
        if self.encoder.is_none() {
            self.encoder = CCtx::try_create();
        }
        let encoder = self.encoder.as_mut()?;
        let level = match effort {
            Effort::Fast => LEVEL,
            Effort::High => LEVEL_HIGH,
        };
        append(out, zstd_safe::compress_bound(plain.len()), |room| encoder.compress(room, plain, level).ok())
    }
}

fn stream(decoder: &mut DCtx<'_>, compressed: &[u8], out: &mut Output) -> Result<(), Refusal> {
    let mut input = InBuffer::around(compressed);
    loop {
        let read = input.pos;
        let room = out.room(BLOCK_BYTES.min(out.left().saturating_add(1)));
        let mut output = OutBuffer::around(room);
        let hint = decoder.decompress_stream(&mut output, &mut input).map_err(|_| CodecFault::Malformed)?;
        let written = output.pos();
        let is_full = written == output.capacity();
        out.advance(written)?;
        if hint == 0 {
            break;
        }
        if !is_full && (input.pos == compressed.len() || (written == 0 && input.pos == read)) {
            return Err(CodecFault::Cut.into());
        }
    }
    let behind = compressed.get(input.pos..).unwrap_or_default();
    match behind {
        [] => Ok(()),
        [_, rest @ ..] if behind.starts_with(&MAGIC) || rest.starts_with(&SKIPPABLE_MAGIC) => {
            Err(CodecFault::SecondFrame.into())
        }
        _ => Err(CodecFault::TrailingBytes.into()),
    }
}

/// Checks the frame's first bytes and gives its window size; without one, the content is the window.
fn check_header(compressed: &[u8]) -> Result<Option<u64>, Refusal> {
    let (magic, header) = compressed.split_first_chunk().ok_or(CodecFault::Cut)?;
    match magic {
        &MAGIC => {}
        [_, rest @ ..] if *rest == SKIPPABLE_MAGIC => return Err(CodecFault::Unsupported.into()),
        _ => return Err(CodecFault::Malformed.into()),
    }
    let [descriptor, window, ..] = *header else { return Err(CodecFault::Cut.into()) };
    let is_single_segment = descriptor & 0x20 != 0;
    if descriptor & 0x08 != 0 {
        return Err(CodecFault::Malformed.into());
    }
    if descriptor & 0x03 != 0 {
        // A dictionary id.
        return Err(CodecFault::Unsupported.into());
    }
    if is_single_segment {
        // The whole content is the window.
        return Ok(None);
    }
    let base = 1u64 << (10 + u32::from(window >> 3));
    let window = base + base / 8 * u64::from(window & 7);
    if window > WINDOW_BYTES_MAX { Err(CodecFault::Window.into()) } else { Ok(Some(window)) }
}
