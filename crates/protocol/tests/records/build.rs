//! Builds record batches and reads them back, independently of the crate under test: plain code after Kafka's format
//! description, compression by the codecs' own libraries.

use std::io::{Read, Write};

use weir_protocol::records::Codec;

pub(crate) type Bytes = Vec<u8>;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Rec {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Rec {
    pub(crate) fn of(offset_delta: i32, key: &str, value: &str) -> Self {
        Self { offset_delta, key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    pub(crate) fn header(mut self, key: &str, value: Option<&str>) -> Self {
        self.headers.push((key.into(), value.map(Into::into)));
        self
    }

    /// From the key's length to the end of the headers.
    pub(crate) fn content(&self) -> Bytes {
        let mut out = Vec::new();
        put_nullable(&mut out, self.key.as_deref());
        put_nullable(&mut out, self.value.as_deref());
        varint(&mut out, i64::try_from(self.headers.len()).unwrap());
        for (key, value) in &self.headers {
            put_nullable(&mut out, Some(key));
            put_nullable(&mut out, value.as_deref());
        }
        out
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut body = vec![0];
        varint(&mut body, self.timestamp_delta);
        varint(&mut body, self.offset_delta.into());
        body.extend(self.content());
        framed(&body)
    }
}

/// A record's length and body.
pub(crate) fn framed(body: &[u8]) -> Bytes {
    let mut out = Vec::new();
    varint(&mut out, i64::try_from(body.len()).unwrap());
    out.extend_from_slice(body);
    out
}

/// A batch header; `seal` puts it before a payload.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
}

impl Header {
    /// What a producer writes for `count` records.
    pub(crate) fn produce(codec: Codec, count: usize) -> Self {
        let count = i32::try_from(count).unwrap();
        Self {
            base_offset: 0,
            leader_epoch: -1,
            attributes: i16::try_from(Codec::ALL.iter().position(|known| *known == codec).unwrap()).unwrap(),
            last_offset_delta: count - 1,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_500,
            producer_id: 4711,
            producer_epoch: 3,
            base_sequence: 17,
            count,
        }
    }

    /// The batch with this header and `payload` behind it, length and CRC right.
    pub(crate) fn seal(&self, payload: &[u8]) -> Bytes {
        let mut out = Vec::new();
        out.extend(self.base_offset.to_be_bytes());
        out.extend(i32::try_from(49 + payload.len()).unwrap().to_be_bytes());
        out.extend(self.leader_epoch.to_be_bytes());
        out.push(2);
        out.extend([0; 4]);
        out.extend(self.attributes.to_be_bytes());
        out.extend(self.last_offset_delta.to_be_bytes());
        out.extend(self.base_timestamp.to_be_bytes());
        out.extend(self.max_timestamp.to_be_bytes());
        out.extend(self.producer_id.to_be_bytes());
        out.extend(self.producer_epoch.to_be_bytes());
        out.extend(self.base_sequence.to_be_bytes());
        out.extend(self.count.to_be_bytes());
        out.extend_from_slice(payload);
        reseal(&mut out);
        out
    }
}

/// Writes the right CRC.
pub(crate) fn reseal(batch: &mut [u8]) {
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

pub(crate) fn payload_of(records: &[Rec]) -> Bytes {
    records.iter().flat_map(Rec::encode).collect()
}

/// A producer's batch of these records.
pub(crate) fn produce(codec: Codec, records: &[Rec]) -> Bytes {
    Header::produce(codec, records.len()).seal(&compress(codec, &payload_of(records)))
}

/// The records of one batch.
pub(crate) fn read(batch: &[u8]) -> Vec<Rec> {
    assert_eq!(crc32c(&batch[21..]).to_be_bytes(), batch[17..21], "CRC");
    assert_eq!(usize::try_from(i32::from_be_bytes(batch[8..12].try_into().unwrap())).unwrap() + 12, batch.len());
    let count = i32::from_be_bytes(batch[57..61].try_into().unwrap());
    let plain = decompress(Codec::ALL[usize::from(batch[22] & 7)], &batch[61..]);
    let mut rest = &plain[..];
    let records = (0..count).map(|_| read_record(&mut rest)).collect();
    assert!(rest.is_empty(), "bytes behind the records");
    records
}

fn read_record(rest: &mut &[u8]) -> Rec {
    let length = take_varint(rest);
    let (mut body, behind) = rest.split_at(usize::try_from(length).unwrap());
    *rest = behind;
    assert_eq!(body[0], 0);
    body = &body[1..];
    let mut record = Rec {
        timestamp_delta: take_varint(&mut body),
        offset_delta: i32::try_from(take_varint(&mut body)).unwrap(),
        key: take_nullable(&mut body),
        value: take_nullable(&mut body),
        headers: Vec::new(),
    };
    for _ in 0..take_varint(&mut body) {
        record.headers.push((take_nullable(&mut body).unwrap(), take_nullable(&mut body)));
    }
    assert!(body.is_empty(), "bytes behind the headers");
    record
}

/// Zigzag varint.
pub(crate) fn varint(out: &mut Bytes, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw > 0x7f {
        out.push(u8::try_from(raw & 0x7f).unwrap() | 0x80);
        raw >>= 7;
    }
    out.push(u8::try_from(raw).unwrap());
}

pub(crate) fn put_nullable(out: &mut Bytes, bytes: Option<&[u8]>) {
    varint(out, bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap()));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn take_varint(bytes: &mut &[u8]) -> i64 {
    let mut raw = 0u64;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        raw |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
}

fn take_nullable(bytes: &mut &[u8]) -> Option<Bytes> {
    let length = usize::try_from(take_varint(bytes)).ok()?;
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(taken.to_vec())
}

pub(crate) fn compress(codec: Codec, plain: &[u8]) -> Bytes {
    match codec {
        Codec::None => plain.to_vec(),
        Codec::Gzip => gzip(plain),
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        Codec::Lz4 => lz4_frame(plain, &mut lz4::EncoderBuilder::new()),
        Codec::Zstd => zstd(plain),
    }
}

pub(crate) fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// An lz4 frame by the C library; blocks are made independent, as Kafka's clients do.
pub(crate) fn lz4_frame(plain: &[u8], builder: &mut lz4::EncoderBuilder) -> Bytes {
    let mut encoder = builder.block_mode(lz4::liblz4::BlockMode::Independent).build(Vec::new()).unwrap();
    encoder.write_all(plain).unwrap();
    let (bytes, result) = encoder.finish();
    result.unwrap();
    bytes
}

pub(crate) fn zstd(plain: &[u8]) -> Bytes {
    let mut out = vec![0; zstd_safe::compress_bound(plain.len())];
    let written = zstd_safe::compress(&mut out[..], plain, 3).unwrap();
    out.truncate(written);
    out
}

/// The framing of snappy-java, blocks of `block` plain bytes.
pub(crate) fn xerial(plain: &[u8], block: usize) -> Bytes {
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for chunk in plain.chunks(block) {
        let compressed = snap::raw::Encoder::new().compress_vec(chunk).unwrap();
        out.extend(i32::try_from(compressed.len()).unwrap().to_be_bytes());
        out.extend(compressed);
    }
    out
}

pub(crate) fn decompress(codec: Codec, compressed: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    match codec {
        Codec::None => plain.extend_from_slice(compressed),
        Codec::Gzip => {
            flate2::read::GzDecoder::new(compressed).read_to_end(&mut plain).unwrap();
        }
        Codec::Snappy => match compressed.strip_prefix(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01") {
            None => plain = snap::raw::Decoder::new().decompress_vec(compressed).unwrap(),
            Some(mut blocks) => {
                while let Some((length, rest)) = blocks.split_first_chunk() {
                    let (block, rest) = rest.split_at(usize::try_from(i32::from_be_bytes(*length)).unwrap());
                    plain.extend(snap::raw::Decoder::new().decompress_vec(block).unwrap());
                    blocks = rest;
                }
            }
        },
        Codec::Lz4 => {
            lz4::Decoder::new(compressed).unwrap().read_to_end(&mut plain).unwrap();
        }
        Codec::Zstd => {
            let size = zstd_safe::get_frame_content_size(compressed).unwrap().unwrap_or(64 << 20);
            plain.resize(usize::try_from(size).unwrap(), 0);
            let written = zstd_safe::decompress(&mut plain[..], compressed).unwrap();
            plain.truncate(written);
        }
    }
    plain
}

/// CRC-32C, one bit at a time.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}
