//! Record batches of the scenarios: plain code after Kafka's format description, independent of the crates under test.

use bytes::Bytes;

/// A batch in the making. Values are texts; `None` is a deletion.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    base_offset: i64,
    producer: (i64, i16, i32),
    values: Vec<Option<String>>,
}

impl Batch {
    pub(crate) fn of<const N: usize>(values: [&str; N]) -> Self {
        let values = values.iter().map(|value| Some((*value).to_owned())).collect();
        Self { base_offset: 0, producer: (-1, -1, -1), values }
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
        let records: Vec<u8> = (0..).zip(&self.values).flat_map(|(at, value)| record(at, value.as_deref())).collect();
        let mut out = Vec::new();
        out.extend(self.base_offset.to_be_bytes());
        out.extend(i32::try_from(49 + records.len()).unwrap().to_be_bytes());
        out.extend((-1_i32).to_be_bytes());
        out.push(2);
        out.extend([0; 4]);
        out.extend(0_i16.to_be_bytes());
        out.extend((count - 1).to_be_bytes());
        out.extend(1_700_000_000_000_i64.to_be_bytes());
        out.extend(1_700_000_000_000_i64.to_be_bytes());
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

/// Offset and value of each record of these batches.
pub(crate) fn read(mut batches: &[u8]) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    while !batches.is_empty() {
        let length = usize::try_from(i32::from_be_bytes(batches[8..12].try_into().unwrap())).unwrap();
        let (batch, rest) = batches.split_at(12 + length);
        assert_eq!(crc32c(&batch[21..]).to_be_bytes(), batch[17..21], "check sum");
        let base = i64::from_be_bytes(batch[..8].try_into().unwrap());
        let count = i32::from_be_bytes(batch[57..61].try_into().unwrap());
        let mut records = &batch[61..];
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

fn record(offset_delta: i64, value: Option<&str>) -> Vec<u8> {
    let mut body = vec![0];
    put_varint(&mut body, 0);
    put_varint(&mut body, offset_delta);
    put_varint(&mut body, -1);
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
