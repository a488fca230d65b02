//! One capped decoder for every codec, and their fast encoders.
//!
//! Memory follows the bytes that really come out: an announced size is checked against the limit and against what the
//! format can reach from so many bytes before anything is set aside for it. Each stream must be exactly one frame that
//! ends with its input.

mod gzip;
mod lz4;
mod snappy;
mod xxh32;
mod zstd;

use bytes::BytesMut;

use super::Limits;
use super::compression::Codec;
use super::error::{BatchError, CodecFault};

/// Output up to this size is never refused for its ratio: equal JSON documents compress beyond any useful ratio limit.
pub(super) const RATIO_FREE_BYTES: usize = 16 * 1024 * 1024;

/// First size of the output buffer.
const OUTPUT_BYTES_MIN: usize = 64 * 1024;

/// What the contexts of all codecs and the ends of buffers take together, bytes, rounded up from 15 MiB measured.
pub(super) const CONTEXT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The codecs' contexts, made at first use and kept.
#[derive(Default)]
pub(super) struct Codecs {
    gzip: gzip::Contexts,
    snappy: snappy::Contexts,
    zstd: zstd::Contexts,
}

impl Codecs {
    /// Decompresses `compressed` into `out`, which is emptied first.
    ///
    /// # Errors
    /// [`BatchError::Compressed`], [`BatchError::BatchBytes`], [`BatchError::InflateRatio`].
    pub(super) fn decompress(
        &mut self,
        codec: Codec,
        compressed: &[u8],
        limits: &Limits,
        out: &mut Output,
    ) -> Result<(), BatchError> {
        out.begin(compressed.len(), limits);
        let result = match codec {
            Codec::None => out.put(compressed),
            Codec::Gzip => self.gzip.decompress(compressed, out),
            Codec::Snappy => snappy::decompress(compressed, out),
            Codec::Lz4 => lz4::decompress(compressed, out),
            Codec::Zstd => self.zstd.decompress(compressed, out),
        };
        result.map_err(|error| match error {
            Refusal::TooLarge => out.too_large(),
            Refusal::Fault(fault) => BatchError::Compressed { codec, fault },
        })
    }

    /// Appends the compressed form of `plain` to `out`.
    ///
    /// # Errors
    /// [`BatchError::Compress`].
    pub(super) fn compress(
        &mut self,
        codec: Codec,
        plain: &[u8],
        effort: Effort,
        out: &mut BytesMut,
    ) -> Result<(), BatchError> {
        let done = match codec {
            Codec::None => {
                out.extend_from_slice(plain);
                Some(())
            }
            Codec::Gzip => self.gzip.compress(plain, effort, out),
            Codec::Snappy => self.snappy.compress(plain, out),
            Codec::Lz4 => lz4::compress(plain, effort, out),
            Codec::Zstd => self.zstd.compress(plain, effort, out),
        };
        done.ok_or(BatchError::Compress(codec))
    }
}

/// How hard a codec tries. Recompression is the largest cost of an edit, so that more is spent only where it makes the difference
/// between a batch that its topic takes and one that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// The fast level.
    Fast,
    /// One higher level, for gzip, lz4 and zstd; the others have none.
    High,
}

impl Effort {
    /// Whether a codec has more to give.
    pub(super) fn is_higher_for(codec: Codec) -> bool {
        match codec {
            Codec::None | Codec::Snappy => false,
            Codec::Gzip | Codec::Lz4 | Codec::Zstd => true,
        }
    }
}

/// Why a codec stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// More output than is allowed.
    TooLarge,
    /// The stream is at fault.
    Fault(CodecFault),
}

impl From<CodecFault> for Refusal {
    fn from(fault: CodecFault) -> Self {
        Self::Fault(fault)
    }
}

/// Decompressed bytes, in a buffer that is kept between batches and grows only with real output.
#[derive(Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    len: usize,
    max: usize,
    /// The ratio that set `max`, if it was not the size limit.
    ratio_max: Option<usize>,
    size_max: usize,
}

impl Output {
    /// The bytes that came out.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// The same, to be edited.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }

    /// Bytes that the buffer holds, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Gives back memory above `bytes_max`.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.len = 0;
        if self.buffer.len() > bytes_max {
            self.buffer.truncate(bytes_max);
            self.buffer.shrink_to(bytes_max);
        }
    }

    fn begin(&mut self, compressed: usize, limits: &Limits) {
        let by_ratio = compressed.saturating_mul(limits.inflate_ratio_max).max(RATIO_FREE_BYTES);
        self.len = 0;
        self.size_max = limits.batch_bytes_max;
        self.max = by_ratio.min(limits.batch_bytes_max);
        self.ratio_max = (by_ratio < limits.batch_bytes_max).then_some(limits.inflate_ratio_max);
    }

    fn too_large(&self) -> BatchError {
        match self.ratio_max {
            Some(ratio_max) => BatchError::InflateRatio { ratio_max },
            None => BatchError::BatchBytes { max: self.size_max },
        }
    }

    /// Room for at least `least` more bytes (at least one). It may reach past the limit: [`advance`](Self::advance)
    /// refuses what was really written there.
    fn room(&mut self, least: usize) -> &mut [u8] {
        let needed = self.len.saturating_add(least.max(1));
        if needed > self.buffer.len() {
            let doubled = self.buffer.len().saturating_mul(2).min(self.max.saturating_add(1));
            self.buffer.resize(needed.max(doubled).max(OUTPUT_BYTES_MIN.min(self.max)), 0);
        }
        self.buffer.get_mut(self.len..).unwrap_or_default()
    }

    /// `written` bytes of the room are output.
    fn advance(&mut self, written: usize) -> Result<(), Refusal> {
        self.len = self.len.saturating_add(written).min(self.buffer.len());
        if self.len > self.max { Err(Refusal::TooLarge) } else { Ok(()) }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if bytes.len() > self.left() {
            return Err(Refusal::TooLarge);
        }
        if let Some(room) = self.room(bytes.len()).get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.advance(bytes.len())
    }

    /// Bytes that may still come.
    fn left(&self) -> usize {
        self.max.saturating_sub(self.len)
    }
}

/// Appends up to `bound` bytes to `out`: `write` fills them and says how many it used.
fn append(out: &mut BytesMut, bound: usize, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<()> {
    let from = out.len();
    out.resize(from.checked_add(bound)?, 0);
    let written = write(out.get_mut(from..)?)?;
    out.truncate(from.checked_add(written)?);
    Some(())
}

/// A little-endian 32-bit number at the front of `bytes`.
fn take_u32_le(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}
