//! Record batches: what is accepted is read alike by a reader of its own and by kafka-protocol, and edits change what they say.

use bytes::{Bytes, BytesMut};
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};
use kafka_protocol::records::RecordBatchDecoder;
use weir_protocol::records::{
    Change, Codec, Edits, Field, Inspect, Limits, Options, RecordView, Scratch, Verdict, check_fetch, check_produce,
    rewrite_fetch, rewrite_produce,
};

use crate::BATCH_BYTES_MAX;

/// A Produce version that knows all codecs.
const VERSION: i16 = 13;

const HEADER_BYTES: usize = 61;

fn limits() -> Limits {
    Limits { batch_bytes_max: BATCH_BYTES_MAX, ..Limits::default() }
}

/// One record, as read and edited by plain code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Shows what passes, and keeps all of it.
#[derive(Default)]
struct Keep(Vec<Plain>);

impl Inspect for Keep {
    fn record(&mut self, record: &RecordView<'_>, _: &mut Edits) -> Verdict {
        self.0.push(plain(record));
        Verdict::Keep
    }
}

fn plain(record: &RecordView<'_>) -> Plain {
    let headers = record.headers.iter().map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect();
    Plain { key: record.key.map(<[u8]>::to_vec), value: record.value.map(<[u8]>::to_vec), headers }
}

/// Whole batches, once as they come and once with length and CRC made right. `batches…`
pub(crate) fn batch(data: &[u8]) -> bool {
    let accepted = whole(data);
    let mut sealed = data.to_vec();
    seal(&mut sealed) && whole(&sealed) || accepted
}

/// Says whether it is a batch for Produce.
fn whole(data: &[u8]) -> bool {
    let (limits, mut scratch) = (limits(), Scratch::default());
    let options = Options { limits: &limits, digest_key: Some(&[1; 32]) };
    let (mut bytes, mut kept) = (data.to_vec(), Keep::default());
    let opened = rewrite_produce(&mut bytes, VERSION, &options, &mut kept, &mut scratch);
    assert_eq!(bytes, data, "what is kept is not touched");
    let accepted = opened.is_ok();
    if let Ok(opened) = opened {
        assert_eq!(check_produce(data, VERSION), Ok(opened.info));
        assert_eq!(opened.change, Change::None);
        assert_eq!(oracle(data), kept.0);
    }
    let fetched = rewrite_fetch(&mut bytes, &options, &mut Keep::default(), &mut scratch);
    assert_eq!(bytes, data, "what is kept is not touched");
    assert!(fetched.bytes_out <= data.len());
    if let Change::Replaced(left) = fetched.change
        && !fetched.old_format
    {
        let again = check_fetch(&left).unwrap();
        assert_eq!((again.usable, again.batches), (left.len(), fetched.batches), "whole batches are left");
    }
    accepted
}

pub(crate) fn gzip(data: &[u8]) -> bool {
    coded(Codec::Gzip, data)
}

pub(crate) fn snappy(data: &[u8]) -> bool {
    coded(Codec::Snappy, data)
}

pub(crate) fn lz4(data: &[u8]) -> bool {
    coded(Codec::Lz4, data)
}

pub(crate) fn zstd(data: &[u8]) -> bool {
    coded(Codec::Zstd, data)
}

/// A compressed payload: what is accepted, the codec's own library opens to the same records. `[records, payload…]`
fn coded(codec: Codec, data: &[u8]) -> bool {
    let Some((&records, payload)) = data.split_first() else { return false };
    whole(&produced(codec, records, payload))
}

/// Edits, by the bytes of `choices`; uncompressed and through each codec. `[records, choices…(8), payload…]`
pub(crate) fn patch(data: &[u8]) -> bool {
    let Some((&[records], rest)) = data.split_first_chunk() else { return false };
    let Some((choices, payload)) = rest.split_first_chunk::<8>() else { return false };
    let (limits, mut scratch) = (limits(), Scratch::default());
    let options = Options { limits: &limits, digest_key: None };
    let batch = produced(Codec::None, records, payload);
    let mut kept = Keep::default();
    if rewrite_produce(&mut batch.clone(), VERSION, &options, &mut kept, &mut scratch).is_err() {
        return false;
    }
    let choices = u64::from_le_bytes(*choices);
    for codec in Codec::ALL {
        let original = produced(*codec, records, &compressed(*codec, payload));
        let (mut bytes, mut editor) = (original.clone(), Editor { choices, expected: Vec::new() });
        let rewritten = rewrite_produce(&mut bytes, VERSION, &options, &mut editor, &mut scratch).unwrap();
        let edited = match rewritten.change {
            Change::None => {
                assert_eq!(bytes, original);
                bytes
            }
            Change::InPlace => bytes,
            Change::Replaced(edited) => edited.to_vec(),
        };
        assert_eq!(rewritten.bytes_out, edited.len());
        assert_eq!(oracle(&edited), editor.expected, "{codec:?}");
        // Header fields but for length and CRC.
        assert_eq!((&edited[..8], &edited[12..17]), (&original[..8], &original[12..17]));
        assert_eq!(edited[21..HEADER_BYTES], original[21..HEADER_BYTES]);
    }
    true
}

/// Makes edits and knows what they must lead to.
struct Editor {
    choices: u64,
    expected: Vec<Plain>,
}

impl Editor {
    fn choose(&mut self, below: usize) -> usize {
        self.choices = self.choices.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.choices >> 33).unwrap() % below.max(1)
    }

    fn edit(&mut self, bytes: &mut Vec<u8>, field: Field, edits: &mut Edits) {
        let start = self.choose(bytes.len() + 1);
        let end = start + self.choose(bytes.len() - start + 1);
        match self.choose(4) {
            0 => {
                edits.mask(field, start..end, b'*');
                bytes[start..end].fill(b'*');
            }
            1 => {
                let with = vec![b'+'; self.choose(200)];
                edits.replace(field, start..end, &with);
                bytes.splice(start..end, with);
            }
            _ => {}
        }
    }
}

impl Inspect for Editor {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        let mut after = plain(record);
        // Not in the order of the fields, which the edits are sorted into.
        if let Some(value) = &mut after.value {
            self.edit(value, Field::Value, edits);
        }
        for (place, (_, value)) in (0..).zip(&mut after.headers) {
            if let Some(value) = value {
                self.edit(value, Field::HeaderValue(place), edits);
            }
        }
        if let Some(key) = &mut after.key {
            self.edit(key, Field::Key, edits);
        }
        self.expected.push(after);
        Verdict::Keep
    }
}

/// The records of a batch as kafka-protocol reads them. It keeps one header of a name, so that headers come from a reader of our own.
#[expect(clippy::disallowed_methods, reason = "the oracle")]
fn oracle(batch: &[u8]) -> Vec<Plain> {
    let set = RecordBatchDecoder::decode(&mut Bytes::copy_from_slice(batch)).unwrap();
    let mut shown = Keep::default();
    let limits = limits();
    let options = Options { limits: &limits, digest_key: None };
    rewrite_produce(&mut batch.to_vec(), VERSION, &options, &mut shown, &mut Scratch::default()).unwrap();
    assert_eq!(set.records.len(), shown.0.len());
    for (record, shown) in set.records.iter().zip(&shown.0) {
        assert_eq!(record.key.as_deref(), shown.key.as_deref());
        assert_eq!(record.value.as_deref(), shown.value.as_deref());
        assert!(record.headers.len() <= shown.headers.len());
        for (name, value) in &record.headers {
            let known = |(other, held): &(Vec<u8>, Option<Vec<u8>>)| {
                other == name.as_bytes() && held.as_deref() == value.as_deref()
            };
            assert!(shown.headers.iter().any(known));
        }
    }
    shown.0
}

fn compressed(codec: Codec, plain: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    macro_rules! put {
        ($codec:ident) => {
            $codec::compress(&mut out, |buffer| {
                buffer.extend_from_slice(plain);
                Ok(())
            })
        };
    }
    match codec {
        Codec::None => return plain.to_vec(),
        Codec::Gzip => put!(Gzip),
        Codec::Snappy => put!(Snappy),
        Codec::Lz4 => put!(Lz4),
        Codec::Zstd => put!(Zstd),
    }
    .unwrap();
    out.to_vec()
}

/// A producer's batch of so many records with this payload, length and CRC right.
fn produced(codec: Codec, records: u8, payload: &[u8]) -> Vec<u8> {
    let code = Codec::ALL.iter().position(|known| *known == codec).unwrap();
    let mut batch = vec![0; HEADER_BYTES];
    batch[12..16].fill(0xff);
    batch[16] = 2;
    batch[22] = u8::try_from(code).unwrap();
    batch[23..27].copy_from_slice(&(i32::from(records) - 1).to_be_bytes());
    batch[27..43].copy_from_slice(&[1_700_000_000_000_i64.to_be_bytes(), 1_700_000_000_500_i64.to_be_bytes()].concat());
    batch[43..57].fill(0xff);
    batch[60] = records;
    batch.extend_from_slice(payload);
    seal(&mut batch);
    batch
}

/// Makes length and CRC right; says whether there is a batch at all.
fn seal(batch: &mut [u8]) -> bool {
    if batch.len() < HEADER_BYTES {
        return false;
    }
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    true
}

/// CRC-32C of each byte.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut crc, mut bit) = (at, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[at as usize] = crc;
        at += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| crc >> 8 ^ CRC[usize::from(crc.to_le_bytes()[0] ^ byte)])
}
