//! Hostile and broken batches: each is refused, for its own reason, in Produce and in Fetch.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

#[path = "records/build.rs"]
mod build;

use build::{Bytes, Header, Rec, framed, put_nullable, varint};
use weir_protocol::records::{
    BatchError, Change, Codec, CodecFault, Edits, Field, Inspect, Limits, Options, RecordView, Scratch, Verdict,
    check_fetch, check_produce, rewrite_fetch, rewrite_produce,
};

/// Keeps everything and counts.
#[derive(Default)]
struct Count(u32);

impl Inspect for Count {
    fn record(&mut self, _: &RecordView<'_>, _: &mut Edits) -> Verdict {
        self.0 += 1;
        Verdict::Keep
    }
}

fn rewrite_error(batch: &[u8], limits: &Limits) -> Option<BatchError> {
    let options = Options { limits, digest_key: Some(&[1; 32]) };
    let mut bytes = batch.to_vec();
    let result = rewrite_produce(&mut bytes, 13, &options, &mut Count::default(), &mut Scratch::default());
    assert_eq!(bytes, batch, "a refused batch is untouched");
    result.err()
}

/// The batch breaks a rule of its header: refused opened or not.
#[track_caller]
fn check_header(batch: &[u8], expected: BatchError) {
    assert_eq!(check_produce(batch, 13), Err(expected.clone()));
    assert_eq!(rewrite_error(batch, &Limits::default()), Some(expected));
}

/// The payload is at fault: refused in Produce, and an empty batch stands for it in Fetch.
#[track_caller]
fn check_payload(codec: Codec, count: usize, payload: &[u8], expected: BatchError) {
    check_limited(codec, count, payload, &Limits::default(), Some(expected));
}

#[track_caller]
fn check_limited(codec: Codec, count: usize, payload: &[u8], limits: &Limits, expected: Option<BatchError>) {
    let batch = Header::produce(codec, count).seal(payload);
    assert!(check_produce(&batch, 13).is_ok(), "the header is right");
    assert_eq!(rewrite_error(&batch, limits), expected);
    let options = Options { limits, digest_key: None };
    let fetched = rewrite_fetch(&mut batch.clone(), &options, &mut Count::default(), &mut Scratch::default());
    match expected {
        None => assert_eq!((fetched.change, fetched.withheld_batches), (Change::None, 0)),
        Some(expected) => {
            assert_eq!(fetched.failures, [expected]);
            let Change::Replaced(bytes) = fetched.change else { panic!("an unreadable batch was delivered") };
            check_empty(&bytes, &batch);
        }
    }
}

#[track_caller]
fn check_empty(empty: &[u8], instead_of: &[u8]) {
    assert_eq!(empty.len(), 61);
    assert_eq!(empty[..8], instead_of[..8], "base offset");
    assert_eq!(empty[12..17], instead_of[12..17], "leader epoch, magic");
    assert_eq!(empty[23..27], instead_of[23..27], "last offset delta");
    assert_eq!(empty[35..57], instead_of[35..57], "max timestamp, producer");
    assert_eq!(build::read(empty), []);
}

fn one() -> Vec<Rec> {
    vec![Rec::of(0, "key", "value").header("name", Some("text"))]
}

fn fault(codec: Codec, fault: CodecFault) -> BatchError {
    BatchError::Compressed { codec, fault }
}

#[test]
fn the_controls_pass() {
    for &codec in Codec::ALL {
        let payload = build::compress(codec, &build::payload_of(&one()));
        check_limited(codec, 1, &payload, &Limits::default(), None);
    }
}

#[test]
fn refuses_bad_framing() {
    let good = build::produce(Codec::None, &one());
    let patched = |at: usize, with: &[u8]| {
        let mut batch = good.clone();
        batch[at..at + with.len()].copy_from_slice(with);
        build::reseal(&mut batch);
        batch
    };
    let length = i32::try_from(good.len() - 12).unwrap();
    check_header(&[], BatchError::NoBatch);
    check_header(&good[..5], BatchError::Truncated { have: 5, announced: 61 });
    check_header(&[&good[..], &good].concat(), BatchError::BytesAfterBatch(good.len()));
    check_header(&[&good[..], b"x"].concat(), BatchError::BytesAfterBatch(1));
    check_header(&patched(8, &(length - 1).to_be_bytes()), BatchError::BytesAfterBatch(1));
    let longer = BatchError::Truncated { have: good.len(), announced: good.len() + 1 };
    check_header(&patched(8, &(length + 1).to_be_bytes()), longer);
    let longest = BatchError::Truncated { have: good.len(), announced: 12 + usize::try_from(i32::MAX).unwrap() };
    check_header(&patched(8, &i32::MAX.to_be_bytes()), longest);
    check_header(&patched(8, &(-1i32).to_be_bytes()), BatchError::BatchLength(-1));
    check_header(&patched(8, &48i32.to_be_bytes()), BatchError::BatchLength(48));
    check_header(&patched(16, &[0]), BatchError::Magic(0));
    check_header(&patched(16, &[1]), BatchError::Magic(1));
    check_header(&patched(16, &[3]), BatchError::Magic(3));
    check_header(&patched(16, &[0xff]), BatchError::Magic(-1));
    let mut wrong = good.clone();
    wrong[17] ^= 1;
    check_header(&wrong, BatchError::Crc);
}

#[test]
fn refuses_what_only_a_broker_may_write() {
    let batch = |edit: fn(&mut Header)| {
        let mut header = Header::produce(Codec::None, 1);
        edit(&mut header);
        header.seal(&build::payload_of(&one()))
    };
    let count = |records, last_offset_delta| BatchError::RecordCount { records, last_offset_delta };
    check_header(&batch(|h| h.base_offset = 1), BatchError::BaseOffset(1));
    check_header(&batch(|h| h.last_offset_delta = 1), count(1, 1));
    check_header(&batch(|h| h.last_offset_delta = -1), count(1, -1));
    check_header(&batch(|h| h.count = 2), count(2, 0));
    check_header(&batch(|h| h.count = -1), count(-1, 0));
    check_header(&batch(|h| (h.count, h.last_offset_delta) = (0, -1)), count(0, -1));
    check_header(&batch(|h| (h.count, h.last_offset_delta) = (0, 0)), count(0, 0));
    check_header(&batch(|h| h.count = i32::MIN), count(i32::MIN, 0));
    check_header(&batch(|h| h.attributes |= 0x20), BatchError::ControlBatch);
    check_header(&batch(|h| h.attributes |= 0x08), BatchError::LogAppendTime);
    check_header(&batch(|h| h.attributes |= 0x40), BatchError::DeleteHorizon);
    check_header(&batch(|h| h.attributes |= 0x80), BatchError::UnknownAttributes(0x80));
    check_header(&batch(|h| h.attributes |= 0x180), BatchError::UnknownAttributes(0x180));
    check_header(&batch(|h| h.attributes = i16::MIN), BatchError::UnknownAttributes(i16::MIN));
    check_header(&batch(|h| h.attributes = 5), BatchError::UnknownCodec(5));
    check_header(&batch(|h| h.attributes = 7), BatchError::UnknownCodec(7));
    check_header(&batch(|h| h.base_sequence = -1), BatchError::BaseSequence(-1));
    // Without a producer id there is no sequence.
    assert!(check_produce(&batch(|h| (h.producer_id, h.base_sequence) = (-1, -1)), 13).is_ok());
}

#[test]
fn refuses_hidden_and_missing_records() {
    let hidden = [one(), vec![Rec::of(1, "hidden", "SECRET")]].concat();
    let hidden_bytes = hidden[1].encode().len();
    for &codec in Codec::ALL {
        let payload = build::compress(codec, &build::payload_of(&hidden));
        check_payload(codec, 1, &payload, BatchError::BytesAfterRecords(hidden_bytes));
        check_payload(codec, 3, &payload, BatchError::RecordCut { record: 2 });
    }
    check_payload(Codec::None, 1, &[], BatchError::RecordCut { record: 0 });
}

#[test]
fn refuses_offsets_that_are_not_consecutive() {
    for deltas in [[0, 2], [1, 2], [0, 0], [-1, 0]] {
        let records: Vec<Rec> = deltas.iter().map(|delta| Rec::of(*delta, "k", "v")).collect();
        let wrong = if deltas[0] == 0 { 1 } else { 0 };
        let error = BatchError::OffsetDelta { record: wrong, delta: deltas[usize::try_from(wrong).unwrap()] };
        assert_eq!(rewrite_error(&build::produce(Codec::None, &records), &Limits::default()), Some(error));
    }
}

/// A record body written field by field.
fn body(attributes: u8, rest: impl FnOnce(&mut Bytes)) -> Bytes {
    let mut body = vec![attributes, 0, 0];
    rest(&mut body);
    body
}

#[test]
fn refuses_lies_about_lengths() {
    let record = 0;
    let good = one()[0].encode();
    let check_everywhere = |plain: &[u8], expected: BatchError| {
        for &codec in Codec::ALL {
            check_payload(codec, 1, &build::compress(codec, plain), expected.clone());
        }
    };
    // The declared length one too large, with a byte that a reader by fields takes for the next record.
    let mut longer = framed(&[&good[1..], b"\0"].concat());
    check_everywhere(&longer, BatchError::RecordLength { record });
    longer.pop();
    check_everywhere(&longer, BatchError::RecordCut { record });
    let mut shorter = good.clone();
    shorter[0] -= 2;
    check_everywhere(&shorter, BatchError::RecordCut { record });
    check_everywhere(&[1], BatchError::NegativeLength { record });
    check_everywhere(&framed(&[]), BatchError::RecordCut { record });
    check_everywhere(&framed(&body(1, |b| b.extend([1, 1, 0]))), BatchError::RecordAttributes { record });

    let nullable = |b: &mut Bytes, fields: &[Option<&[u8]>]| fields.iter().for_each(|field| put_nullable(b, *field));
    let negative = BatchError::NegativeLength { record };
    check_everywhere(&framed(&body(0, |b| varint(b, -2))), negative.clone());
    check_everywhere(&framed(&body(0, |b| varint(b, i32::MIN.into()))), negative.clone());
    let value = body(0, |b| {
        nullable(b, &[None]);
        varint(b, -2);
    });
    check_everywhere(&framed(&value), negative.clone());
    let header_count = |count: i64, then: &[Option<&[u8]>]| {
        framed(&body(0, |b| {
            nullable(b, &[None, None]);
            varint(b, count);
            nullable(b, then);
        }))
    };
    check_everywhere(&header_count(-1, &[]), negative.clone());
    check_everywhere(&header_count(1, &[None, None]), negative);
    check_everywhere(&header_count(1, &[]), BatchError::RecordCut { record });
    check_everywhere(&header_count(2, &[Some(b"a"), None]), BatchError::RecordCut { record });
    check_everywhere(&header_count(0, &[Some(b"SECRET")]), BatchError::RecordLength { record });
    let many = BatchError::TooManyHeaders { record, headers: i32::MAX.cast_unsigned(), max: 1000 };
    check_everywhere(&header_count(i32::MAX.into(), &[]), many);
    check_everywhere(&framed(&body(0, |b| varint(b, i32::MAX.into()))), BatchError::RecordCut { record });
    check_everywhere(&framed(&body(0, |b| varint(b, i64::MAX))), BatchError::Overlong { record });
}

#[test]
fn refuses_counts_beyond_all_bytes_without_a_limit() {
    let limits = Limits { records_max: usize::MAX, headers_max: usize::MAX, ..Limits::default() };
    let mut header = Header::produce(Codec::None, 1);
    (header.count, header.last_offset_delta) = (i32::MAX, i32::MAX - 1);
    let batch = header.seal(&build::payload_of(&one()));
    assert_eq!(rewrite_error(&batch, &limits), Some(BatchError::RecordCut { record: 1 }));
    let many = BatchError::TooManyRecords { records: i32::MAX.cast_unsigned(), max: 1_000_000 };
    assert_eq!(rewrite_error(&batch, &Limits::default()), Some(many));
    let headers = framed(&body(0, |b| {
        b.extend([1, 1]);
        varint(b, i32::MAX.into());
        b.extend([0; 100]);
    }));
    check_limited(Codec::None, 1, &headers, &limits, Some(BatchError::RecordCut { record: 0 }));
}

#[test]
fn refuses_over_long_integers_in_every_place() {
    // Record: length, attributes, timestamp, offset, key length, value length, headers, header key length, value length.
    let fields: [&[u8]; 9] = [&[], &[0], &[2], &[0], &[2, b'k'], &[2, b'v'], &[2], &[2, b'h'], &[2, b'w']];
    for place in (0..fields.len()).filter(|place| *place != 1) {
        for extra in 1..=10 {
            let over_long = |field: &[u8]| {
                let mut long = field.to_vec();
                long[0] |= 0x80;
                let zeros: Bytes = (1..=extra).map(|group| if group == extra { 0 } else { 0x80 }).collect();
                long.splice(1..1, zeros);
                long
            };
            let body: Bytes = (1..fields.len())
                .flat_map(|other| if other == place { over_long(fields[other]) } else { fields[other].to_vec() })
                .collect();
            let length = framed(&body)[0];
            let payload = if place == 0 { [over_long(&[length]), body].concat() } else { framed(&body) };
            check_payload(Codec::None, 1, &payload, BatchError::Overlong { record: 0 });
        }
    }
}

#[test]
fn refuses_lz4_beyond_one_plain_frame() {
    use lz4::liblz4::BlockChecksum;
    use lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder};
    let plain = build::payload_of(&one());
    let lz4 = |fault_: CodecFault| fault(Codec::Lz4, fault_);
    let good = build::lz4_frame(&plain, &mut EncoderBuilder::new());
    let check = |payload: &[u8], fault_: CodecFault| check_payload(Codec::Lz4, 1, payload, lz4(fault_));
    check(&[&good[..], &good].concat(), CodecFault::SecondFrame);
    check(&[&good[..], b"SECRET"].concat(), CodecFault::TrailingBytes);
    check(&[&good[..], b"S"].concat(), CodecFault::TrailingBytes);
    check(&[&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &good].concat(), CodecFault::Malformed);
    check(&good[..good.len() - 8], CodecFault::Cut);
    check(&[], CodecFault::Cut);
    let mut version = good.clone();
    version[4] = 0x80 | version[4] & 0x3f;
    check(&version, CodecFault::Malformed);
    let mut dictionary = good.clone();
    dictionary[4] |= 1;
    check(&dictionary, CodecFault::Unsupported);
    let mut block_code = good.clone();
    block_code[5] = 0x30;
    check(&block_code, CodecFault::Malformed);
    let mut header_checksum = good.clone();
    header_checksum[6] ^= 1;
    check(&header_checksum, CodecFault::Checksum);

    let mut linked = Vec::new();
    let mut encoder = EncoderBuilder::new().block_mode(BlockMode::Linked).build(&mut linked).unwrap();
    std::io::Write::write_all(&mut encoder, &plain).unwrap();
    encoder.finish().1.unwrap();
    check(&linked, CodecFault::Unsupported);

    let full = |block_size| {
        let mut builder = EncoderBuilder::new();
        builder.block_size(block_size).block_checksum(BlockChecksum::BlockChecksumEnabled);
        builder.checksum(ContentChecksum::ChecksumEnabled).content_size(u64::try_from(plain.len()).unwrap());
        build::lz4_frame(&plain, &mut builder)
    };
    for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        check_limited(Codec::Lz4, 1, &full(block_size), &Limits::default(), None);
    }
    let full = full(BlockSize::Max64KB);
    let mut content = full.clone();
    *content.last_mut().unwrap() ^= 1;
    check(&content, CodecFault::Checksum);
    check(&full[..full.len() - 4], CodecFault::Cut);
    let mut block = full.clone();
    let at = block.len() - 4 - 4 - 1;
    block[at] ^= 1;
    check(&block, CodecFault::Checksum);
}

#[test]
fn refuses_zstd_beyond_one_plain_frame() {
    let good = build::zstd(&build::payload_of(&one()));
    let check = |payload: &[u8], fault_: CodecFault| check_payload(Codec::Zstd, 1, payload, fault(Codec::Zstd, fault_));
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 6, 0, 0, 0][..], b"SECRET"].concat();
    check(&[&good[..], &skippable].concat(), CodecFault::SecondFrame);
    check(&[&skippable[..], &good].concat(), CodecFault::Unsupported);
    check(&skippable, CodecFault::Unsupported);
    check(&[&good[..], &good].concat(), CodecFault::SecondFrame);
    check(&[&good[..], b"SECRET"].concat(), CodecFault::TrailingBytes);
    check(&good[..good.len() - 1], CodecFault::Cut);
    check(&[], CodecFault::Cut);
    let mut dictionary = good.clone();
    dictionary[4] |= 1;
    dictionary.insert(5, 1);
    check(&dictionary, CodecFault::Unsupported);
    let mut reserved = good.clone();
    reserved[4] |= 8;
    check(&reserved, CodecFault::Malformed);
}

#[test]
fn refuses_gzip_beyond_one_plain_member() {
    let good = build::gzip(&build::payload_of(&one()));
    let check = |payload: &[u8], fault_: CodecFault| check_payload(Codec::Gzip, 1, payload, fault(Codec::Gzip, fault_));
    check(&[&good[..], &good].concat(), CodecFault::SecondFrame);
    check(&[&good[..], b"SECRET"].concat(), CodecFault::TrailingBytes);
    check(&good[..good.len() - 1], CodecFault::Cut);
    check(&good[..9], CodecFault::Cut);
    check(&[], CodecFault::Cut);
    for flag in [2, 4, 8, 16] {
        let mut named = good.clone();
        named[3] = flag;
        named.splice(10..10, *b"SECRET\0");
        check(&named, CodecFault::Unsupported);
    }
    for at in [4, 8] {
        let mut wrong = good.clone();
        let at = wrong.len() - at;
        wrong[at] ^= 1;
        check(&wrong, CodecFault::Checksum);
    }
    let mut method = good.clone();
    method[2] = 7;
    check(&method, CodecFault::Malformed);
}

#[test]
fn refuses_snappy_beyond_one_plain_stream() {
    let plain = build::payload_of(&one());
    let raw = build::compress(Codec::Snappy, &plain);
    let good = build::xerial(&plain, 7);
    check_limited(Codec::Snappy, 1, &good, &Limits::default(), None);
    let check = |payload: &[u8], fault_: CodecFault| {
        check_payload(Codec::Snappy, 1, payload, fault(Codec::Snappy, fault_));
    };
    check(&[&good[..], &good].concat(), CodecFault::SecondFrame);
    check(&[&good[..], b"S"].concat(), CodecFault::Cut);
    check(&[&good[..], &[0, 0, 0, 9, 1]].concat(), CodecFault::Cut);
    check(&[&good[..], &[0xff, 0xff, 0xff, 0xff, 1]].concat(), CodecFault::Malformed);
    check(&[&good[..], &[0, 0, 0, 0]].concat(), CodecFault::Malformed);
    check(&good[..good.len() - 1], CodecFault::Cut);
    check(&good[..12], CodecFault::Unsupported);
    let mut version = good.clone();
    version[11] = 2;
    check(&version, CodecFault::Unsupported);
    check(&[&raw[..], b"SECRET"].concat(), CodecFault::Malformed);
    check(&raw[..raw.len() - 1], CodecFault::Malformed);
    check(&[], CodecFault::Malformed);
    let mut over_long = raw.clone();
    over_long[0] |= 0x80;
    over_long.insert(1, 0);
    check(&over_long, CodecFault::Malformed);
}

#[test]
fn refuses_sizes_that_the_stream_cannot_reach() {
    let too_large = |limits: &Limits| BatchError::BatchBytes { max: limits.batch_bytes_max };
    let limits = Limits { inflate_ratio_max: usize::MAX, ..Limits::default() };
    // 4 GiB in nine bytes, raw and framed.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0];
    check_limited(Codec::Snappy, 1, &claim, &limits, Some(too_large(&limits)));
    let framed = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x09"[..], &claim].concat();
    check_limited(Codec::Snappy, 1, &framed, &limits, Some(too_large(&limits)));
    // 32 MiB, within the limit but not within reach.
    let claim = [0x80, 0x80, 0x80, 0x10, 0, 0, 0, 0, 0];
    let malformed = fault(Codec::Snappy, CodecFault::Malformed);
    check_limited(Codec::Snappy, 1, &claim, &limits, Some(malformed));
    // A zstd frame that announces 1 TiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    frame.extend((1u64 << 40).to_le_bytes());
    frame.extend([1, 0, 0]);
    check_limited(Codec::Zstd, 1, &frame, &limits, Some(too_large(&limits)));
}

#[test]
fn refuses_bombs_of_every_codec() {
    let limits = Limits::default();
    let mut record = Rec::of(0, "k", "");
    record.value = Some(vec![0; (64 << 20) + 1]);
    let plain = record.encode();
    for &codec in Codec::ALL {
        let expected = match codec {
            // They inflate at most 1 and 22 times: the size stops them.
            Codec::None | Codec::Snappy => BatchError::BatchBytes { max: 64 << 20 },
            Codec::Gzip | Codec::Lz4 | Codec::Zstd => BatchError::InflateRatio { ratio_max: 64 },
        };
        let compressed = build::compress(codec, &plain);
        check_once(codec, &compressed, &limits, Some(expected));
        let by_size = Limits { inflate_ratio_max: usize::MAX, ..limits };
        check_once(codec, &compressed, &by_size, Some(BatchError::BatchBytes { max: 64 << 20 }));
    }
}

/// As [`check_limited`], for large batches: once, with the crate's own CRC.
#[track_caller]
fn check_once(codec: Codec, compressed: &[u8], limits: &Limits, expected: Option<BatchError>) {
    let mut batch = Header::produce(codec, 1).seal(&[]);
    batch.extend_from_slice(compressed);
    batch[8..12].copy_from_slice(&i32::try_from(49 + compressed.len()).unwrap().to_be_bytes());
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]);
    batch[17..21].copy_from_slice(&u32::try_from(crc).unwrap().to_be_bytes());
    let options = Options { limits, digest_key: None };
    let result = rewrite_produce(&mut batch, 13, &options, &mut Count::default(), &mut Scratch::default());
    assert_eq!(result.err(), expected, "{codec:?}");
}

#[test]
fn limits_hold_to_the_byte() {
    for &codec in Codec::ALL {
        let plain = build::payload_of(&[Rec::of(0, "k", &"value ".repeat(500))]);
        let compressed = build::compress(codec, &plain);
        for (max, passes) in [(plain.len(), true), (plain.len() - 1, false)] {
            let limits = Limits { batch_bytes_max: max, ..Limits::default() };
            check_limited(codec, 1, &compressed, &limits, (!passes).then_some(BatchError::BatchBytes { max }));
        }
    }
}

#[test]
fn the_ratio_counts_past_sixteen_mebibytes_only() {
    const FREE: usize = 16 << 20;
    let of_size = |size: usize| {
        let mut record = Rec::of(0, "k", "");
        record.value = Some(vec![b'x'; size - 64]);
        let overhead = record.encode().len() - (size - 64);
        record.value = Some(vec![b'x'; size - overhead]);
        let plain = record.encode();
        assert_eq!(plain.len(), size);
        plain
    };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let limits = Limits { inflate_ratio_max: 10, ..Limits::default() };
        let refused = BatchError::InflateRatio { ratio_max: 10 };
        check_once(codec, &build::compress(codec, &of_size(FREE)), &limits, None);
        check_once(codec, &build::compress(codec, &of_size(FREE + 1)), &limits, Some(refused));
        // What does not inflate further than the ratio passes at any size.
        let generous = Limits { inflate_ratio_max: 100_000, ..Limits::default() };
        check_once(codec, &build::compress(codec, &of_size(FREE + 1)), &generous, None);
    }
}

#[test]
fn record_and_header_limits_hold_exactly() {
    let records: Vec<Rec> = (0..10).map(|delta| Rec::of(delta, "k", "v")).collect();
    let payload = build::payload_of(&records);
    for (max, error) in [(10, None), (9, Some(BatchError::TooManyRecords { records: 10, max: 9 }))] {
        check_limited(Codec::None, 10, &payload, &Limits { records_max: max, ..Limits::default() }, error);
    }
    let headers = (0..10).fold(Rec::of(0, "k", "v"), |record, _| record.header("", None));
    for (max, error) in [(10, None), (9, Some(BatchError::TooManyHeaders { record: 0, headers: 10, max: 9 }))] {
        check_limited(Codec::None, 1, &headers.encode(), &Limits { headers_max: max, ..Limits::default() }, error);
    }
}

#[test]
fn an_edit_out_of_place_fails_the_batch() {
    struct Misplaced(Vec<(Field, std::ops::Range<usize>)>);
    impl Inspect for Misplaced {
        fn record(&mut self, _: &RecordView<'_>, edits: &mut Edits) -> Verdict {
            for (field, span) in &self.0 {
                edits.mask(*field, span.clone(), b'*');
            }
            Verdict::Keep
        }
    }
    let mut record = Rec::of(0, "key", "value").header("h", Some("text")).header("h", None);
    record.key = None;
    let original = build::produce(Codec::None, &[record]);
    let check = |edits: &[(Field, std::ops::Range<usize>)], passes: bool| {
        let limits = Limits::default();
        let options = Options { limits: &limits, digest_key: None };
        let mut batch = original.clone();
        let mut scratch = Scratch::default();
        let result = rewrite_produce(&mut batch, 13, &options, &mut Misplaced(edits.to_vec()), &mut scratch);
        let expected = (!passes).then_some(BatchError::EditOutOfPlace { record: 0 });
        assert_eq!(result.err(), expected, "{edits:?}");
        assert_eq!(batch == original, !passes);
    };
    check(&[(Field::Value, 0..5)], true);
    check(&[(Field::Value, 3..5), (Field::Value, 0..3)], true);
    check(&[(Field::HeaderValue(0), 0..4), (Field::Value, 1..2)], true);
    check(&[(Field::Value, 0..6)], false);
    check(&[(Field::Value, 6..7)], false);
    #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
    check(&[(Field::Value, 3..2)], false);
    check(&[(Field::Value, 0..usize::MAX)], false);
    check(&[(Field::Value, 0..3), (Field::Value, 2..5)], false);
    check(&[(Field::Key, 0..0)], false);
    check(&[(Field::HeaderValue(1), 0..0)], false);
    check(&[(Field::HeaderValue(2), 0..1)], false);
    check(&[(Field::HeaderValue(u32::MAX), 0..1)], false);
}

#[test]
fn edits_are_bounded_too() {
    struct Many(usize, usize);
    impl Inspect for Many {
        fn record(&mut self, _: &RecordView<'_>, edits: &mut Edits) -> Verdict {
            let with = vec![b'x'; self.1];
            (0..self.0).for_each(|_| edits.replace(Field::Value, 0..0, &with));
            Verdict::Keep
        }
    }
    for (count, size, passes) in
        [(2_000_000, 0, true), (2_000_001, 0, false), (1, 32 << 20, true), (32, 1 << 20, true), (33, 1 << 20, false)]
    {
        let limits = Limits::default();
        let options = Options { limits: &limits, digest_key: None };
        let mut batch = build::produce(Codec::None, &one());
        let mut scratch = Scratch::default();
        let result = rewrite_produce(&mut batch, 13, &options, &mut Many(count, size), &mut scratch);
        assert_eq!(result.err(), (!passes).then_some(BatchError::TooManyEdits { record: 0 }), "{count} of {size}");
    }
}

/// The first record takes all the room; the second, whose only edit is turned away, must not pass as if it had none.
#[test]
fn a_record_whose_only_edit_has_no_room_does_not_pass_unchanged() {
    struct Greedy;
    impl Inspect for Greedy {
        fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
            let size = if record.index == 0 { 32 << 20 } else { 1 };
            edits.replace(Field::Value, 0..1, &vec![b'x'; size]);
            Verdict::Keep
        }
    }
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    let mut batch = build::produce(Codec::None, &[Rec::of(0, "key", "value"), Rec::of(1, "key", "value")]);
    let result = rewrite_produce(&mut batch, 13, &options, &mut Greedy, &mut Scratch::default());
    assert_eq!(result.err(), Some(BatchError::TooManyEdits { record: 1 }));
}

/// Masks every value.
struct MaskAll(u32);

impl Inspect for MaskAll {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        self.0 += 1;
        if let Some(value) = record.value {
            edits.mask(Field::Value, 0..value.len(), b'*');
        }
        Verdict::Keep
    }
}

fn stored(base_offset: i64, edit: impl FnOnce(&mut Header), payload: &[u8]) -> Bytes {
    let mut header = Header::produce(Codec::None, 1);
    header.base_offset = base_offset;
    edit(&mut header);
    header.seal(payload)
}

#[track_caller]
fn fetch(records: &[u8]) -> (Bytes, weir_protocol::records::FetchRewritten) {
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    let mut bytes = records.to_vec();
    let rewritten = rewrite_fetch(&mut bytes, &options, &mut MaskAll(0), &mut Scratch::default());
    let delivered = match &rewritten.change {
        Change::None | Change::InPlace => bytes,
        Change::Replaced(replaced) => replaced.to_vec(),
    };
    assert_eq!(rewritten.bytes_out, delivered.len());
    (delivered, rewritten)
}

#[test]
fn a_broken_batch_is_withheld_alone() {
    let good = |offset| stored(offset, |_| {}, &build::payload_of(&one()));
    let mut corrupt = good(11);
    *corrupt.last_mut().unwrap() ^= 1;
    let bad_payload = stored(12, |_| {}, &[0]);
    let bad_attributes = stored(13, |header| header.attributes = 0x80, &build::payload_of(&one()));
    let hidden_in_empty = stored(14, |header| header.count = 0, &build::payload_of(&one()));
    let input = [good(10), corrupt.clone(), bad_payload, bad_attributes, hidden_in_empty, good(15)].concat();
    let (delivered, rewritten) = fetch(&input);
    assert_eq!(rewritten.withheld_batches, 4);
    let errors = [
        BatchError::Crc,
        BatchError::RecordCut { record: 0 },
        BatchError::UnknownAttributes(0x80),
        BatchError::BytesAfterRecords(one()[0].encode().len()),
    ];
    assert_eq!(rewritten.failures, errors);
    assert_eq!((rewritten.batches, rewritten.records, rewritten.edited_records), (6, 2, 2));
    assert_eq!((rewritten.first_offset, rewritten.last_offset), (10, 15));
    let whole = good(10).len();
    assert_eq!(delivered.len(), 2 * whole + 4 * 61);
    check_empty(&delivered[whole..whole + 61], &corrupt);
    for batch in [&delivered[..whole], &delivered[whole + 4 * 61..]] {
        assert_eq!(build::read(batch)[0].value.as_deref(), Some(&b"*****"[..]));
    }
    assert_eq!(check_fetch(&input), Err(BatchError::Crc));
}

#[test]
fn what_follows_an_unknown_end_is_cut() {
    let good = stored(10, |_| {}, &build::payload_of(&one()));
    for (length, error) in [(-1i32, BatchError::BatchLength(-1)), (48, BatchError::BatchLength(48))] {
        let mut broken = good.clone();
        broken[8..12].copy_from_slice(&length.to_be_bytes());
        let (delivered, rewritten) = fetch(&[&good[..], &broken, &good].concat());
        assert_eq!(rewritten.failures, [error]);
        assert_eq!(delivered.len(), good.len());
        assert_eq!(build::read(&delivered)[0].value.as_deref(), Some(&b"*****"[..]));
    }
}

#[test]
fn old_formats_deliver_nothing() {
    let good = stored(10, |_| {}, &build::payload_of(&one()));
    for magic in [0, 1] {
        let mut old = good.clone();
        old[8..12].copy_from_slice(&30i32.to_be_bytes());
        old[16] = magic;
        old.truncate(42);
        for input in [old.clone(), [&good[..], &old].concat()] {
            let (delivered, rewritten) = fetch(&input);
            assert!(rewritten.old_format);
            assert!(delivered.is_empty());
            let checked = check_fetch(&input).unwrap();
            assert!(checked.old_format);
            assert_eq!(checked.bytes_out, 0);
        }
    }
}

#[test]
fn a_control_batch_of_another_shape_is_data() {
    let marker = |edit: fn(&mut Rec)| {
        let mut record = Rec::of(0, "\0\0\0\u{1}", "\0\0\0\0\0\u{d}");
        edit(&mut record);
        record
    };
    let delivered = |records: &[Rec], count: i32| {
        let payload = build::payload_of(records);
        let edit = |header: &mut Header| {
            header.attributes |= 0x30;
            (header.count, header.last_offset_delta) = (count, count - 1);
        };
        let batch = stored(10, edit, &payload);
        fetch(&batch).0 == batch
    };
    assert!(delivered(&[marker(|_| {})], 1), "a marker passes");
    assert!(!delivered(&[marker(|record| record.key = Some(b"longer".to_vec()))], 1));
    assert!(!delivered(&[marker(|record| record.key = None)], 1));
    assert!(!delivered(&[marker(|record| record.value = Some(vec![b's'; 65]))], 1));
    assert!(!delivered(&[marker(|record| record.headers.push((b"h".to_vec(), None)))], 1));
    assert!(!delivered(&[marker(|_| {}), marker(|record| record.offset_delta = 1)], 2));
}

#[test]
fn offsets_ascend_inside_the_batch() {
    for (deltas, fails) in
        [([3, 7], None), ([7, 3], Some(1)), ([3, 3], Some(1)), ([3, 10], Some(1)), ([-1, 3], Some(0))]
    {
        let records: Vec<Rec> = deltas.iter().map(|delta| Rec::of(*delta, "k", "v")).collect();
        let edit = |header: &mut Header| (header.count, header.last_offset_delta) = (2, 9);
        let (_, rewritten) = fetch(&stored(100, edit, &build::payload_of(&records)));
        let errors: Vec<_> = fails
            .map(|record| BatchError::OffsetDelta { record, delta: deltas[usize::try_from(record).unwrap()] })
            .into_iter()
            .collect();
        assert_eq!(rewritten.failures, errors);
    }
}

#[test]
fn messages_carry_no_record_bytes() {
    let error = fault(Codec::Gzip, CodecFault::SecondFrame);
    assert_eq!(error.to_string(), "the gzip data has a second frame");
    assert_eq!(BatchError::RecordLength { record: 3 }.to_string(), "record 3 is longer than its fields");
    let mut edits = Edits::default();
    edits.replace(Field::Value, 0..3, b"SECRET");
    assert!(!format!("{edits:?} {:?}", edits.iter().next()).contains("SECRET"));
}
