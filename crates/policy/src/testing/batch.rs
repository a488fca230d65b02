//! One record as a record batch, and back.

use weir_protocol::records::{
    BatchError, Edits, Inspect, Limits, Options, RecordView, Scratch, Verdict, rewrite_produce,
};

use super::PRODUCE_VERSION;
use crate::document::{Given, TestHeader};

/// A record, owned.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<TestHeader>,
}

impl Record {
    pub(super) fn of(given: &Given) -> Self {
        Self { key: given.key.clone(), value: given.value.clone(), headers: given.headers.clone() }
    }
}

/// An uncompressed batch of one record: magic 2, no producer id, timestamps 0.
///
/// ```text
/// baseOffset i64 · batchLength i32 · leaderEpoch i32 · magic i8 · crc u32 ┤ attributes i16 · lastOffsetDelta i32 ·
/// baseTimestamp i64 · maxTimestamp i64 · producerId i64 · producerEpoch i16 · baseSequence i32 · count i32 · records
/// ```
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let mut fields = vec![0, 0, 0]; // attributes, timestampDelta, offsetDelta
    put_bytes(record.key.as_deref(), &mut fields);
    put_bytes(record.value.as_deref(), &mut fields);
    put_varint(record.headers.len(), &mut fields);
    for header in &record.headers {
        put_bytes(Some(header.name.as_bytes()), &mut fields);
        put_bytes(header.value.as_deref(), &mut fields);
    }
    let mut checked = Vec::with_capacity(fields.len() + 64);
    checked.extend_from_slice(&0_i16.to_be_bytes());
    checked.extend_from_slice(&0_i32.to_be_bytes());
    checked.extend_from_slice(&[0; 16]);
    checked.extend_from_slice(&(-1_i64).to_be_bytes());
    checked.extend_from_slice(&(-1_i16).to_be_bytes());
    checked.extend_from_slice(&(-1_i32).to_be_bytes());
    checked.extend_from_slice(&1_i32.to_be_bytes());
    put_varint(fields.len(), &mut checked);
    checked.append(&mut fields);

    // Behind batchLength: leaderEpoch, magic and crc, and what the crc covers. A policy file has at most 1 MiB.
    let length = i32::try_from(4 + 1 + 4 + checked.len()).unwrap_or(i32::MAX);
    let mut batch = Vec::with_capacity(checked.len() + 21);
    batch.extend_from_slice(&0_i64.to_be_bytes());
    batch.extend_from_slice(&length.to_be_bytes());
    batch.extend_from_slice(&(-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c(&checked).to_be_bytes());
    batch.append(&mut checked);
    batch
}

/// Reads the record back with the strict reader that the record path has.
///
/// # Errors
///
/// When the batch is not well-formed, which would be a defect of the rewriting.
pub(super) fn decode(batch: &mut [u8]) -> Result<Option<Record>, BatchError> {
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    let mut capture = Capture(None);
    rewrite_produce(batch, PRODUCE_VERSION, &options, &mut capture, &mut Scratch::default())?;
    Ok(capture.0)
}

struct Capture(Option<Record>);

impl Inspect for Capture {
    fn record(&mut self, record: &RecordView<'_>, _: &mut Edits) -> Verdict {
        self.0 = Some(Record {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|header| TestHeader {
                    name: String::from_utf8_lossy(header.key).into_owned(),
                    value: header.value.map(<[u8]>::to_vec),
                })
                .collect(),
        });
        Verdict::Keep
    }
}

fn put_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        Some(bytes) => {
            put_varint(bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        None => out.push(1), // zigzag of -1
    }
}

/// A length as Kafka's zigzag varint.
fn put_varint(length: usize, out: &mut Vec<u8>) {
    let mut rest = (length as u64) << 1;
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

/// CRC-32C (Castagnoli), bit by bit: a test's record is small, and the fast one is the record path's own.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry == 1 {
                crc ^= CASTAGNOLI_REVERSED;
            }
        }
    }
    !crc
}

const CASTAGNOLI_REVERSED: u32 = 0x82f6_3b78;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_has_its_check_value() {
        // RFC 3720, appendix B.4, and the check value of CRC-32/ISCSI.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let header =
            |name: &str, value: Option<&[u8]>| TestHeader { name: name.into(), value: value.map(<[u8]>::to_vec) };
        for record in [
            Record { key: None, value: None, headers: vec![] },
            Record { key: Some(vec![]), value: Some(vec![b'x'; 300]), headers: vec![] },
            Record {
                key: Some(b"k".to_vec()),
                value: Some(vec![]),
                headers: vec![header("a", None), header("a", Some(b"1")), header("", Some(b""))],
            },
        ] {
            assert!(decode(&mut encode(&record)).unwrap() == Some(record));
        }
    }
}
