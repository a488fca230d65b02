//! Reads log segments with the codecs' own libraries and nothing of weir's: the decoder that a leak cannot share.
#![expect(clippy::disallowed_types, reason = "reads what a test's own broker stored, and must not use weir's decoder")]

use std::io::Read;

/// A record batch (magic 2) as it stands in a segment.
pub(crate) struct StoredBatch {
    pub(crate) codec: &'static str,
    pub(crate) records: u32,
    /// Header included, records decompressed.
    pub(crate) bytes: Vec<u8>,
}

/// The batches of the segments of a partition, in order.
pub(crate) fn batches(mut segment: &[u8]) -> Vec<StoredBatch> {
    let mut batches = Vec::new();
    while segment.len() > HEADER_BYTES {
        let length = usize::try_from(i32_at(segment, 8)).unwrap() + 12;
        let (batch, rest) = segment.split_at_checked(length).expect("a whole batch");
        segment = rest;
        let (header, payload) = batch.split_at(HEADER_BYTES);
        let codec = ["none", "gzip", "snappy", "lz4", "zstd"][usize::from(header[22] & 0b111)];
        let records = u32::try_from(i32_at(header, 57)).unwrap();
        batches.push(StoredBatch { codec, records, bytes: [header, &inflate(codec, payload)].concat() });
    }
    batches
}

const HEADER_BYTES: usize = 61;
/// More than any batch of these tests.
const INFLATED_BYTES_MAX: usize = 16 << 20;
/// The framing of the Java library; others write one raw block.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

fn inflate(codec: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match codec {
        "none" => bytes.extend(payload),
        "gzip" => drop(flate2::read::MultiGzDecoder::new(payload).read_to_end(&mut bytes).unwrap()),
        "lz4" => drop(lz4::Decoder::new(payload).unwrap().read_to_end(&mut bytes).unwrap()),
        "snappy" if payload.starts_with(XERIAL) => {
            let mut rest = &payload[XERIAL_HEADER_BYTES..];
            while !rest.is_empty() {
                let length = usize::try_from(i32_at(rest, 0)).unwrap();
                bytes.extend(snap::raw::Decoder::new().decompress_vec(&rest[4..4 + length]).unwrap());
                rest = &rest[4 + length..];
            }
        }
        "snappy" => bytes.extend(snap::raw::Decoder::new().decompress_vec(payload).unwrap()),
        _ => {
            bytes.resize(INFLATED_BYTES_MAX, 0);
            let length = zstd_safe::DCtx::create().decompress(&mut bytes[..], payload).unwrap();
            bytes.truncate(length);
        }
    }
    bytes
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
