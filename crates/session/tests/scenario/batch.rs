//! Record batches of the scenarios: plain code after Kafka's format description, independent of the crates under test.

use bytes::Bytes;

/// A batch in the making. Values are texts; `None` is a deletion.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    base_offset: i64,
    producer: (i64, i16, i32),
    values: Vec<Option<String>>,
    attributes: i16,
    /// Offset deltas of the records and the header's last one; none is 0, 1, 2 …
    offsets: Option<(Vec<i64>, i32)>,
    times: (i64, i64),
    /// The one record is the end of a transaction.
    is_marker: bool,
}

/// Attribute bits of a batch.
pub(crate) const LOG_APPEND_TIME: i16 = 0x08;
pub(crate) const TRANSACTIONAL: i16 = 0x10;
pub(crate) const CONTROL: i16 = 0x20;
pub(crate) const DELETE_HORIZON: i16 = 0x40;

const NOW_MS: i64 = 1_700_000_000_000;

impl Batch {
    pub(crate) fn of<const N: usize>(values: [&str; N]) -> Self {
        let values = values.iter().map(|value| Some((*value).to_owned())).collect();
        Self {
            base_offset: 0,
            producer: (-1, -1, -1),
            values,
            attributes: 0,
            offsets: None,
            times: (NOW_MS, NOW_MS),
            is_marker: false,
        }
    }

    /// What ends a transaction, well or badly (`EndTxnMarker`).
    pub(crate) fn marker(commits: bool) -> Self {
        let value = if commits { "\0\u{1}" } else { "\0\0" };
        Self { is_marker: true, ..Self::of([value]).with(TRANSACTIONAL | CONTROL) }
    }

    pub(crate) fn with(mut self, attributes: i16) -> Self {
        self.attributes |= attributes;
        self
    }

    /// As the log cleaner leaves it: these offsets are still there, and the last one was this.
    pub(crate) fn compacted(mut self, deltas: &[i64], last: i32) -> Self {
        self.offsets = Some((deltas.to_vec(), last));
        self
    }

    /// The header's base and largest timestamp, in milliseconds.
    pub(crate) fn times(mut self, base: i64, max: i64) -> Self {
        self.times = (base, max);
        self
    }

    pub(crate) fn at(mut self, base_offset: i64) -> Self {
        self.base_offset = base_offset;
        self
    }

    /// Of an idempotent producer: id, epoch, first sequence number.
    pub(crate) fn by(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    pub(crate) fn encode(&self) -> Bytes {
        let count = i32::try_from(self.values.len()).unwrap();
        let (deltas, last) = self.offsets.clone().unwrap_or_else(|| ((0..i64::from(count)).collect(), count - 1));
        let key =
            self.is_marker.then(|| if self.values == [Some("\0\u{1}".to_owned())] { [0, 0, 0, 1] } else { [0; 4] });
        let each = deltas.iter().zip(&self.values);
        let records: Vec<u8> = each
            .flat_map(|(delta, value)| record(*delta, key.as_ref().map(|key| &key[..]), value.as_deref()))
            .collect();
        let mut out = Vec::new();
        out.extend(self.base_offset.to_be_bytes());
        out.extend(i32::try_from(49 + records.len()).unwrap().to_be_bytes());
        out.extend((-1_i32).to_be_bytes());
        out.push(2);
        out.extend([0; 4]);
        out.extend(self.attributes.to_be_bytes());
        out.extend(last.to_be_bytes());
        out.extend(self.times.0.to_be_bytes());
        out.extend(self.times.1.to_be_bytes());
        out.extend(self.producer.0.to_be_bytes());
        out.extend(self.producer.1.to_be_bytes());
        out.extend(self.producer.2.to_be_bytes());
        out.extend(count.to_be_bytes());
        out.extend(records);
        let crc = crc32c(&out[21..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out.into()
    }

    /// The same with a wrong check sum.
    pub(crate) fn encode_damaged(&self) -> Bytes {
        let mut out = self.encode().to_vec();
        *out.last_mut().unwrap() ^= 1;
        out.into()
    }
}

/// Offset and value of each record of these batches, but of those that end transactions.
pub(crate) fn read(mut batches: &[u8]) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    while !batches.is_empty() {
        let length = usize::try_from(i32::from_be_bytes(batches[8..12].try_into().unwrap())).unwrap();
        let (batch, rest) = batches.split_at(12 + length);
        assert_eq!(crc32c(&batch[21..]).to_be_bytes(), batch[17..21], "check sum");
        let base = i64::from_be_bytes(batch[..8].try_into().unwrap());
        let count = i32::from_be_bytes(batch[57..61].try_into().unwrap());
        let mut records = &batch[61..];
        if i16::from_be_bytes(batch[21..23].try_into().unwrap()) & CONTROL != 0 {
            batches = rest;
            continue;
        }
        for _ in 0..count {
            let length = usize::try_from(take_varint(&mut records)).unwrap();
            let (mut body, behind) = records.split_at(length);
            records = behind;
            body = &body[1..];
            take_varint(&mut body);
            let delta = take_varint(&mut body);
            assert_eq!(take_varint(&mut body), -1, "no key");
            let size = usize::try_from(take_varint(&mut body)).unwrap();
            found.push((base + delta, String::from_utf8(body[..size].to_vec()).unwrap()));
        }
        assert!(records.is_empty(), "bytes behind the records");
        batches = rest;
    }
    found
}

fn record(offset_delta: i64, key: Option<&[u8]>, value: Option<&str>) -> Vec<u8> {
    let mut body = vec![0];
    put_varint(&mut body, 0);
    put_varint(&mut body, offset_delta);
    put_varint(&mut body, key.map_or(-1, |key| i64::try_from(key.len()).unwrap()));
    body.extend(key.unwrap_or_default());
    put_varint(&mut body, value.map_or(-1, |value| i64::try_from(value.len()).unwrap()));
    body.extend(value.unwrap_or_default().as_bytes());
    put_varint(&mut body, 0);
    let mut out = Vec::new();
    put_varint(&mut out, i64::try_from(body.len()).unwrap());
    out.extend(body);
    out
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw > 0x7f {
        out.push(u8::try_from(raw & 0x7f).unwrap() | 0x80);
        raw >>= 7;
    }
    out.push(u8::try_from(raw).unwrap());
}

fn take_varint(bytes: &mut &[u8]) -> i64 {
    let mut raw = 0_u64;
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

/// CRC-32C, one bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}
