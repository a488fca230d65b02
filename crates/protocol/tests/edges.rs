//! Every limit of the one decoder at its edge: n passes, n + 1 gets its own error, in Produce and in Fetch, in every codec. And what is
//! accepted has one reading: written again by other code, it is the same bytes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "records/build.rs"]
mod build;

use build::{Bytes, Header, Rec};
use proptest::prelude::*;
use weir_protocol::records::{
    BatchError, Codec, CodecFault, Edits, Inspect, Limits, Options, RecordPart, RecordView, Scratch, Verdict,
    check_fetch, check_produce, rewrite_fetch, rewrite_produce,
};

struct KeepAll;

impl Inspect for KeepAll {
    fn record(&mut self, _: &RecordView<'_>, _: &mut Edits) -> Verdict {
        Verdict::Keep
    }
}

/// What stands against `batch`, the same on both ways.
#[track_caller]
fn fault(batch: &[u8], limits: &Limits) -> Option<BatchError> {
    let options = Options { limits, digest_key: None };
    let mut scratch = Scratch::default();
    let produced = rewrite_produce(&mut batch.to_vec(), 13, &options, &mut KeepAll, &mut scratch).err();
    let fetched = rewrite_fetch(&mut batch.to_vec(), &options, &mut KeepAll, &mut scratch);
    assert_eq!(fetched.failures, produced.clone().into_iter().collect::<Vec<_>>());
    assert_eq!(fetched.bytes_out, if produced.is_some() { 61 } else { batch.len() });
    produced
}

/// A limit of a batch: the batch that reaches it by `n`, the limits that allow `max`, and the error of whoever is over.
struct Edge {
    batch: fn(Codec, usize) -> Bytes,
    limits: fn(usize) -> Limits,
    error: fn(Codec, usize, usize) -> BatchError,
}

fn of(codec: Codec, records: &[Rec]) -> Bytes {
    build::produce(codec, records)
}

fn part(part: RecordPart, bytes: usize, max: usize) -> BatchError {
    BatchError::PartBytes { record: 1, part, bytes, max }
}

/// Two records, the second with this key, value and header.
fn second(codec: Codec, edit: impl FnOnce(&mut Rec)) -> Bytes {
    let mut record = Rec::of(1, "", "").header("", Some(""));
    edit(&mut record);
    of(codec, &[Rec::of(0, "k", "v"), record])
}

const EDGES: [Edge; 6] = [
    Edge {
        batch: |codec, n| {
            of(codec, &(0..i32::try_from(n).unwrap()).map(|at| Rec::of(at, "k", "v")).collect::<Vec<_>>())
        },
        limits: |max| Limits { records_max: max, ..Limits::default() },
        error: |_, n, max| BatchError::TooManyRecords { records: u32::try_from(n).unwrap(), max },
    },
    Edge {
        batch: |codec, n| second(codec, |record| record.headers = vec![(b"h".to_vec(), None); n]),
        limits: |max| Limits { headers_max: max, ..Limits::default() },
        error: |_, n, max| BatchError::TooManyHeaders { record: 1, headers: u32::try_from(n).unwrap(), max },
    },
    Edge {
        batch: |codec, n| second(codec, |record| record.key = Some(vec![b'k'; n])),
        limits: |max| Limits { key_bytes_max: max, ..Limits::default() },
        error: |_, n, max| part(RecordPart::Key, n, max),
    },
    Edge {
        batch: |codec, n| second(codec, |record| record.value = Some(vec![b'v'; n])),
        limits: |max| Limits { value_bytes_max: max, ..Limits::default() },
        error: |_, n, max| part(RecordPart::Value, n, max),
    },
    Edge {
        batch: |codec, n| second(codec, |record| record.headers = vec![(vec![b'n'; n], None)]),
        limits: |max| Limits { header_name_bytes_max: max, ..Limits::default() },
        error: |_, n, max| part(RecordPart::HeaderName, n, max),
    },
    Edge {
        batch: |codec, n| second(codec, |record| record.headers = vec![(b"h".to_vec(), Some(vec![b'v'; n]))]),
        limits: |max| Limits { value_bytes_max: max, ..Limits::default() },
        error: |_, n, max| part(RecordPart::HeaderValue, n, max),
    },
];

#[test]
fn every_limit_of_a_batch_holds_at_its_edge() {
    for edge in EDGES {
        for &codec in Codec::ALL {
            for max in [1, 2, 63, 64, 300] {
                assert_eq!(fault(&(edge.batch)(codec, max), &(edge.limits)(max)), None);
                let over = (edge.batch)(codec, max + 1);
                assert_eq!(fault(&over, &(edge.limits)(max)), Some((edge.error)(codec, max + 1, max)));
                // The control: it is that limit that stops it.
                assert_eq!(fault(&over, &(edge.limits)(max + 1)), None);
            }
        }
    }
}

/// The defaults, as documented, to the byte.
#[test]
fn the_default_limits_hold_at_their_edge() {
    let limits = Limits::default();
    let long = |edge: &Edge, max: usize| {
        assert_eq!(fault(&(edge.batch)(Codec::Zstd, max), &limits), None);
        assert_eq!(fault(&(edge.batch)(Codec::Zstd, max + 1), &limits), Some((edge.error)(Codec::Zstd, max + 1, max)));
    };
    let [records, headers, key, _, header_name, _] = &EDGES;
    long(headers, 1000);
    long(key, 1 << 20);
    long(header_name, 32 << 10);
    assert_eq!((limits.records_max, limits.value_bytes_max, limits.batch_bytes_max), (1_000_000, 64 << 20, 64 << 20));
    // A million records take too long to write one by one; those that are missing are noticed behind the limit.
    let mut header = Header::produce(Codec::None, 1_000_000);
    let payload = build::payload_of(&[Rec::of(0, "k", "v")]);
    assert_eq!(fault(&header.seal(&payload), &limits), Some(BatchError::RecordCut { record: 1 }));
    (header.count, header.last_offset_delta) = (1_000_001, 1_000_000);
    assert_eq!(fault(&header.seal(&payload), &limits), Some((records.error)(Codec::None, 1_000_001, 1_000_000)));
}

/// Past sixteen MiB of output, the largest allowed ratio passes and the next smaller one does not.
#[test]
fn the_ratio_holds_at_its_edge() {
    let mut record = Rec::of(0, "k", "");
    record.value = Some(vec![b'x'; (16 << 20) + 1000]);
    let plain = record.encode();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let compressed = build::compress(codec, &plain);
        let mut batch = Header::produce(codec, 1).seal(&[]);
        batch.extend_from_slice(&compressed);
        let length = i32::try_from(batch.len() - 12).unwrap();
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]);
        batch[17..21].copy_from_slice(&u32::try_from(crc).unwrap().to_be_bytes());
        let least = plain.len().div_ceil(compressed.len());
        let of_ratio = |ratio_max: usize| Limits { inflate_ratio_max: ratio_max, ..Limits::default() };
        assert_eq!(fault(&batch, &of_ratio(least)), None, "{codec:?}");
        let ratio_max = least - 1;
        // Where no ratio is left under it, sixteen MiB are the limit all the same.
        assert_eq!(fault(&batch, &of_ratio(ratio_max)), Some(BatchError::InflateRatio { ratio_max }), "{codec:?}");
    }
}

/// 128 MiB of window are taken, as of the highest level; an eighth more is not. The frame is written by hand.
#[test]
fn the_window_of_zstd_holds_at_its_edge() {
    let plain = build::payload_of(&[Rec::of(0, "k", "v")]);
    let frame = |window: u8| {
        let block = (u32::try_from(plain.len()).unwrap() << 3 | 1).to_le_bytes();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, window][..], &block[..3], &plain].concat()
    };
    let batch = |window: u8| Header::produce(Codec::Zstd, 1).seal(&frame(window));
    let refused = BatchError::Compressed { codec: Codec::Zstd, fault: CodecFault::Window };
    assert_eq!(fault(&batch(0), &Limits::default()), None);
    assert_eq!(fault(&batch(17 << 3), &Limits::default()), None);
    for window in [17 << 3 | 1, 18 << 3, 0xff] {
        assert_eq!(fault(&batch(window), &Limits::default()), Some(refused.clone()));
    }
}

/// What a client may say of a producer and a transaction (T21); the last column is what the broker's own batches may say on Fetch.
#[test]
fn the_producer_of_a_batch_is_whole_or_absent() {
    let payload = build::payload_of(&[Rec::of(0, "k", "v")]);
    let check = |(id, epoch, sequence): (i64, i16, i32), expected: Option<BatchError>| {
        let mut header = Header::produce(Codec::None, 1);
        (header.producer_id, header.producer_epoch, header.base_sequence) = (id, epoch, sequence);
        let batch = header.seal(&payload);
        assert_eq!(check_produce(&batch, 13).err(), expected);
        assert!(check_fetch(&batch).is_ok(), "what is stored is shown");
    };
    check((0, 0, 0), None);
    check((i64::MAX, i16::MAX, i32::MAX), None);
    check((7, 0, -1), Some(BatchError::BaseSequence(-1)));
    check((7, -1, 0), Some(BatchError::ProducerEpoch(-1)));
    check((-2, -1, -1), Some(BatchError::ProducerId(-2)));
    check((i64::MIN, 0, 0), Some(BatchError::ProducerId(i64::MIN)));
    check((-1, -1, -1), None);
    // Two clients in the field write zeros where there is no producer id.
    check((-1, 0, 0), None);
    check((-1, -1, 0), None);
}

/// There cannot be more records than offsets, whether the payload is opened or not.
#[test]
fn a_header_with_more_records_than_offsets_is_refused() {
    let payload = build::payload_of(&[Rec::of(0, "k", "v"), Rec::of(1, "k", "v")]);
    for (count, last_offset_delta, is_stored) in [(2, 1, true), (2, 9, true), (2, 0, false), (1, -1, false)] {
        let mut header = Header::produce(Codec::None, 2);
        (header.count, header.last_offset_delta) = (count, last_offset_delta);
        let expected = (!is_stored).then_some(BatchError::RecordCount { records: count, last_offset_delta });
        assert_eq!(check_fetch(&header.seal(&payload)).err(), expected);
    }
}

fn record(place: i32) -> impl Strategy<Value = Rec> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    let name = proptest::collection::vec(any::<u8>(), 0..4);
    (any::<i64>(), bytes(), bytes(), proptest::collection::vec((name, bytes()), 0..3)).prop_map(
        move |(timestamp_delta, key, value, headers)| Rec { timestamp_delta, offset_delta: place, key, value, headers },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Bytes of a payload are changed, taken away or put in, under a right header. If it is still accepted, other code reads the same
    /// number of records in it, and what it read, written again, is those bytes: nothing in them is without meaning.
    #[test]
    fn what_is_accepted_has_one_encoding(
        records in (1..4i32).prop_flat_map(|count| (0..count).map(record).collect::<Vec<_>>()),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..3u8, any::<u8>()), 0..3),
    ) {
        let mut payload = build::payload_of(&records);
        for (at, change, with) in changes {
            let at = at.index(payload.len());
            match change {
                0 => payload[at] = with,
                1 => drop(payload.remove(at)),
                _ => payload.insert(at, with),
            }
            if payload.is_empty() {
                payload.push(with);
            }
        }
        let batch = Header::produce(Codec::None, records.len()).seal(&payload);
        if fault_of_produce(&batch).is_none() {
            let read = build::read(&batch);
            prop_assert_eq!(read.len(), records.len());
            prop_assert_eq!(build::payload_of(&read), payload);
        }
    }
}

fn fault_of_produce(batch: &[u8]) -> Option<BatchError> {
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    rewrite_produce(&mut batch.to_vec(), 13, &options, &mut KeepAll, &mut Scratch::default()).err()
}
