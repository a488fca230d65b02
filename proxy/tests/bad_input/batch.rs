//! Record batches written by hand, so that each part of one can lie.

use std::io::Write;

/// One record: its fields, and what may be wrong with them.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) offset_delta: i64,
    pub(crate) value: Vec<u8>,
    /// Headers that it has, all alike.
    pub(crate) headers: usize,
    /// Added to the number of headers that it announces.
    pub(crate) headers_lie: i64,
    /// Added to the length that it announces.
    pub(crate) length_lie: i64,
    /// Added to the length that its value announces.
    pub(crate) value_length_lie: i64,
}

impl Record {
    pub(crate) fn new(offset_delta: i64, value: &[u8]) -> Self {
        Self { offset_delta, value: value.to_vec(), headers: 0, headers_lie: 0, length_lie: 0, value_length_lie: 0 }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = vec![0];
        varint(&mut body, 0);
        varint(&mut body, self.offset_delta);
        varint(&mut body, -1);
        varint(&mut body, i64::try_from(self.value.len()).unwrap() + self.value_length_lie);
        body.extend(&self.value);
        varint(&mut body, i64::try_from(self.headers).unwrap() + self.headers_lie);
        (0..self.headers).for_each(|_| body.extend([2, b'h', 1]));
        let mut record = Vec::new();
        varint(&mut record, i64::try_from(body.len()).unwrap() + self.length_lie);
        record.extend(body);
        record
    }
}

/// The fields of a batch header of magic 2 that a lie can be told in.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    pub(crate) magic: i8,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) producer_id: i64,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
    /// Added to the batch length.
    pub(crate) length_lie: i32,
    /// Added to the CRC, at last.
    pub(crate) crc_lie: u32,
}

impl Header {
    pub(crate) fn of(count: i32) -> Self {
        Self {
            base_offset: 0,
            magic: 2,
            attributes: 0,
            last_offset_delta: count - 1,
            producer_id: -1,
            base_sequence: -1,
            count,
            length_lie: 0,
            crc_lie: 0,
        }
    }

    pub(crate) fn codec(mut self, codec: Codec) -> Self {
        self.attributes |= codec as i16;
        self
    }

    pub(crate) fn seal(&self, payload: &[u8]) -> Vec<u8> {
        let mut checked = Vec::new();
        checked.extend(self.attributes.to_be_bytes());
        checked.extend(self.last_offset_delta.to_be_bytes());
        checked.extend(NOW_MS.to_be_bytes());
        checked.extend(NOW_MS.to_be_bytes());
        checked.extend(self.producer_id.to_be_bytes());
        checked.extend(if self.producer_id < 0 { -1_i16 } else { 0 }.to_be_bytes());
        checked.extend(self.base_sequence.to_be_bytes());
        checked.extend(self.count.to_be_bytes());
        checked.extend(payload);
        let mut batch = Vec::new();
        batch.extend(self.base_offset.to_be_bytes());
        batch.extend((i32::try_from(checked.len()).unwrap() + 9 + self.length_lie).to_be_bytes());
        batch.extend((-1_i32).to_be_bytes());
        batch.extend(self.magic.to_be_bytes());
        batch.extend(crc32c(&checked).wrapping_add(self.crc_lie).to_be_bytes());
        batch.extend(checked);
        batch
    }
}

/// Kafka's compression codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub(crate) const ALL: [Self; 4] = [Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    pub(crate) fn compress(self, plain: &[u8]) -> Vec<u8> {
        match self {
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Self::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
            Self::Lz4 => {
                let mut builder = lz4::EncoderBuilder::new();
                builder.block_mode(lz4::BlockMode::Independent).checksum(lz4::ContentChecksum::NoChecksum);
                let mut encoder = builder.build(Vec::new()).unwrap();
                encoder.write_all(plain).unwrap();
                let (compressed, ended) = encoder.finish();
                ended.unwrap();
                compressed
            }
            Self::Zstd => {
                let mut compressed = vec![0; zstd_safe::compress_bound(plain.len())];
                let length = zstd_safe::compress(&mut compressed[..], plain, 3).unwrap();
                compressed.truncate(length);
                compressed
            }
        }
    }

    /// A good batch of one record whose value is that many bytes, all alike.
    pub(crate) fn bomb(self, bytes: usize) -> Vec<u8> {
        Header::of(1).codec(self).seal(&self.compress(&Record::new(0, &vec![b' '; bytes]).encode()))
    }
}

/// A batch of plain records with these values.
pub(crate) fn plain(values: &[&str]) -> Vec<u8> {
    Header::of(i32::try_from(values.len()).unwrap()).seal(&records(values))
}

pub(crate) fn records(values: &[&str]) -> Vec<u8> {
    let each = |(delta, value): (usize, &&str)| Record::new(i64::try_from(delta).unwrap(), value.as_bytes()).encode();
    values.iter().enumerate().flat_map(each).collect()
}

/// First offset, last offset and number of records of each batch, as their headers say.
pub(crate) fn batches(mut bytes: &[u8]) -> Vec<(i64, i64, i32)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let i32_at = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let first = i64::from_be_bytes(bytes[..8].try_into().unwrap());
        found.push((first, first + i64::from(i32_at(23)), i32_at(57)));
        bytes = &bytes[usize::try_from(i32_at(8)).unwrap() + 12..];
    }
    found
}

/// A zigzag varint.
pub(crate) fn varint(to: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        to.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    to.push(zigzag as u8);
}

const NOW_MS: i64 = 1_760_000_000_000;

/// CRC-32C (RFC 3720 appendix B.4), a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
