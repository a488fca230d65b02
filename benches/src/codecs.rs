//! The codecs by themselves: what a producer writes, and the least that opening a batch and compressing it again can cost.
//! Contexts and buffers are kept, as weir keeps them, and nothing is checked.

#![expect(clippy::disallowed_types, clippy::indexing_slicing, reason = "the comparison that weir is measured against")]

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};
use snap::raw::{Decoder, Encoder};
use weir_protocol::records::Codec;
use zstd_safe::{CCtx, DCtx};

/// How hard a codec tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The defaults of Kafka's Java client.
    Producer,
    /// The fastest level, which is what weir recompresses with.
    Fast,
}

/// The libraries' contexts, and room for what goes in and out.
pub struct Own {
    plain: Vec<u8>,
    out: Vec<u8>,
    inflate: Decompress,
    deflate: [Compress; 2],
    snappy: Encoder,
    zstd_in: DCtx<'static>,
    zstd_out: CCtx<'static>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("plain_bytes", &self.plain.len()).finish_non_exhaustive()
    }
}

const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0];
const SNAPPY_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Version 1, independent blocks of 64 KiB, and the checksum of that.
const LZ4_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const LZ4_STORED: u32 = 0x8000_0000;

impl Own {
    /// Room for batches that open to `plain_bytes`.
    pub fn new(plain_bytes: usize) -> Self {
        Self {
            plain: vec![0; plain_bytes],
            out: vec![0; plain_bytes + plain_bytes / 4 + 4096],
            inflate: Decompress::new(false),
            deflate: [6, 1].map(|level| Compress::new(Compression::new(level), false)),
            snappy: Encoder::new(),
            zstd_in: DCtx::create(),
            zstd_out: CCtx::create(),
        }
    }

    /// Opens `compressed` and compresses it again, fast; gives the size of the result.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn again(&mut self, codec: Codec, compressed: &[u8]) -> usize {
        let opened = self.decompress(codec, compressed);
        let plain = std::mem::take(&mut self.plain);
        let length = self.compress(codec, &plain[..opened], Effort::Fast).len();
        self.plain = plain;
        length
    }

    /// Compresses `plain` in the framing of Kafka's clients.
    ///
    /// # Panics
    /// When the codec fails.
    pub fn compress(&mut self, codec: Codec, plain: &[u8], effort: Effort) -> &[u8] {
        let out = &mut self.out;
        let length = match codec {
            Codec::None => {
                out[..plain.len()].copy_from_slice(plain);
                plain.len()
            }
            Codec::Gzip => {
                let deflate = &mut self.deflate[usize::from(effort == Effort::Fast)];
                deflate.reset();
                out[..10].copy_from_slice(&GZIP_HEADER);
                let status = deflate.compress(plain, &mut out[10..], FlushCompress::Finish).unwrap();
                assert_eq!(status, Status::StreamEnd);
                let end = 10 + usize::try_from(deflate.total_out()).unwrap();
                out[end..end + 4].copy_from_slice(&crc(plain).to_le_bytes());
                out[end + 4..end + 8].copy_from_slice(&u32::try_from(plain.len()).unwrap().to_le_bytes());
                end + 8
            }
            Codec::Snappy => {
                out[..16].copy_from_slice(&SNAPPY_HEADER);
                plain.chunks(32 * 1024).fold(16, |at, block| {
                    let length = self.snappy.compress(block, &mut out[at + 4..]).unwrap();
                    out[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                    at + 4 + length
                })
            }
            Codec::Lz4 => {
                out[..7].copy_from_slice(&LZ4_HEADER);
                let end = plain.chunks(64 * 1024).fold(7, |at, block| {
                    let length = lz4::block::compress_to_buffer(block, None, false, &mut out[at + 4..]).unwrap();
                    out[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
                    at + 4 + length
                });
                out[end..end + 4].fill(0);
                end + 4
            }
            Codec::Zstd => {
                let level = if effort == Effort::Fast { 1 } else { 3 };
                self.zstd_out.compress(&mut out[..], plain, level).unwrap()
            }
        };
        &self.out[..length]
    }

    fn decompress(&mut self, codec: Codec, compressed: &[u8]) -> usize {
        let plain = &mut self.plain;
        match codec {
            Codec::None => {
                plain[..compressed.len()].copy_from_slice(compressed);
                compressed.len()
            }
            Codec::Gzip => {
                self.inflate.reset(false);
                let status = self.inflate.decompress(&compressed[10..], plain, FlushDecompress::Finish).unwrap();
                assert_eq!(status, Status::StreamEnd);
                let length = usize::try_from(self.inflate.total_out()).unwrap();
                let trailer = &compressed[compressed.len() - 8..];
                assert_eq!(crc(&plain[..length]).to_le_bytes(), trailer[..4]);
                length
            }
            Codec::Snappy => {
                let (mut rest, mut at) = (&compressed[16..], 0);
                while let Some((length, blocks)) = rest.split_first_chunk() {
                    let (block, behind) = blocks.split_at(usize::try_from(i32::from_be_bytes(*length)).unwrap());
                    at += Decoder::new().decompress(block, &mut plain[at..]).unwrap();
                    rest = behind;
                }
                at
            }
            Codec::Lz4 => {
                let (mut rest, mut at) = (&compressed[7..], 0);
                while let Some((length, blocks)) = rest.split_first_chunk() {
                    let length = u32::from_le_bytes(*length);
                    assert_eq!(length & LZ4_STORED, 0, "documents compress");
                    if length == 0 {
                        break;
                    }
                    let (block, behind) = blocks.split_at(usize::try_from(length).unwrap());
                    let room = &mut plain[at..];
                    let size = i32::try_from(room.len()).unwrap();
                    at += lz4::block::decompress_to_buffer(block, Some(size), room).unwrap();
                    rest = behind;
                }
                at
            }
            Codec::Zstd => self.zstd_in.decompress(&mut plain[..], compressed).unwrap(),
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
