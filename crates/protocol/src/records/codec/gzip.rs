//! gzip (RFC 1952): one member, none of the optional header fields.

use bytes::{BufMut, BytesMut};
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Effort, Output, Refusal, append};
use crate::records::error::CodecFault;

const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

/// Recompression is the largest cost of an edit: the fastest level.
const LEVEL: u32 = 1;

/// What zlib and Kafka's clients take when nobody asks for a level.
const LEVEL_HIGH: u32 = 6;

#[derive(Default)]
pub(super) struct Contexts {
    inflate: Option<Decompress>,
    deflate: Option<Compress>,
}

impl Contexts {
    pub(super) fn decompress(&mut self, compressed: &[u8], out: &mut Output) -> Result<(), Refusal> {
        let (header, mut rest) = compressed.split_first_chunk::<HEADER_BYTES>().ok_or(CodecFault::Cut)?;
        match header {
            [0x1f, 0x8b, 8, 0, ..] => {}
            // Names, comments and extra fields are bytes that no reader of records inspects.
            [0x1f, 0x8b, 8, ..] => return Err(CodecFault::Unsupported.into()),
            _ => return Err(CodecFault::Malformed.into()),
        }
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        loop {
            let (read, written) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(rest, out.room(1), FlushDecompress::None)
                .map_err(|_| Refusal::Fault(CodecFault::Malformed))?;
            let read = usize::try_from(inflate.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(inflate.total_out() - written).unwrap_or(usize::MAX);
            rest = rest.get(read..).ok_or(CodecFault::Malformed)?;
            out.advance(written)?;
            match status {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError if read == 0 && written == 0 => return Err(CodecFault::Cut.into()),
                Status::Ok | Status::BufError => {}
            }
        }
        let (trailer, behind) = rest.split_first_chunk::<TRAILER_BYTES>().ok_or(CodecFault::Cut)?;
        match behind {
            [] => {}
            [0x1f, 0x8b, ..] => return Err(CodecFault::SecondFrame.into()),
            _ => return Err(CodecFault::TrailingBytes.into()),
        }
        if *trailer == trailer_of(out.bytes()) { Ok(()) } else { Err(CodecFault::Checksum.into()) }
    }

    pub(super) fn compress(&mut self, plain: &[u8], effort: Effort, out: &mut BytesMut) -> Option<()> {
        // XFL of RFC 1952: 4 is the fastest algorithm.
        let (fastest, mut high) = match effort {
            Effort::Fast => (4, None),
            Effort::High => (0, Some(Compress::new(Compression::new(LEVEL_HIGH), false))),
        };
        out.put_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, fastest, 0]);
        let fast = &mut self.deflate;
        let deflate = match &mut high {
            Some(high) => high,
            None => fast.get_or_insert_with(|| Compress::new(Compression::new(LEVEL), false)),
        };
        deflate.reset();
        let mut rest = plain;
        loop {
            let (read, written) = (deflate.total_in(), deflate.total_out());
            let mut status = Status::BufError;
            append(out, rest.len() / 2 + 4096, |room| {
                status = deflate.compress(rest, room, FlushCompress::Finish).ok()?;
                usize::try_from(deflate.total_out() - written).ok()
            })?;
            rest = rest.get(usize::try_from(deflate.total_in() - read).ok()?..)?;
            match status {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError if deflate.total_out() == written => return None,
                Status::Ok | Status::BufError => {}
            }
        }
        out.put_slice(&trailer_of(plain));
        Some(())
    }
}

/// CRC-32 and size modulo 2^32 of the plain bytes, little-endian.
fn trailer_of(plain: &[u8]) -> [u8; TRAILER_BYTES] {
    let mut crc = Crc::new();
    crc.update(plain);
    let [a, b, c, d] = crc.sum().to_le_bytes();
    let [e, f, g, h, ..] = plain.len().to_le_bytes();
    [a, b, c, d, e, f, g, h]
}
