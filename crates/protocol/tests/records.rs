//! Rewriting batches: what is untouched leaves byte-identical, what is edited reads as the edits say, and nothing else
//! changes. Results are read back by code that shares nothing with the crate, and by `kafka-protocol`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "records/build.rs"]
mod build;

use build::{Header, Rec};
use proptest::prelude::*;
use weir_protocol::records::{
    BatchError, BatchInfo, Change, Codec, Edits, Field, Inspect, Limits, Options, RecordView, Rewritten, Scratch,
    Verdict, check_fetch, check_produce, rewrite_fetch, rewrite_produce,
};

const KEY: [u8; 32] = [7; 32];

/// What a test wants done with a record.
#[derive(Clone, Debug, Default)]
struct Wish {
    edits: Vec<(Field, std::ops::Range<usize>, With)>,
    refuse: bool,
}

#[derive(Clone, Debug)]
enum With {
    Bytes(Vec<u8>),
    Fill(u8),
}

/// Carries out wishes and checks that it is shown what was written.
struct Wisher<'a> {
    records: &'a [Rec],
    wishes: &'a [Wish],
    seen: usize,
}

impl Inspect for Wisher<'_> {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        let written = &self.records[self.seen];
        assert_eq!(usize::try_from(record.index).unwrap(), self.seen);
        assert_eq!(record.key, written.key.as_deref());
        assert_eq!(record.value, written.value.as_deref());
        let headers: Vec<_> = record.headers.iter().map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
        assert_eq!(headers, written.headers);
        assert!(edits.is_empty());
        let wish = self.wishes.get(self.seen).cloned().unwrap_or_default();
        self.seen += 1;
        for (field, span, with) in wish.edits {
            match with {
                With::Bytes(bytes) => edits.replace(field, span, &bytes),
                With::Fill(fill) => edits.mask(field, span, fill),
            }
        }
        if wish.refuse { Verdict::Refuse } else { Verdict::Keep }
    }
}

fn wished(record: &Rec, wish: &Wish) -> Rec {
    let mut record = record.clone();
    let mut edits = wish.edits.clone();
    edits.sort_by_key(|(field, span, _)| (*field, span.start, span.end));
    for (field, span, with) in edits.into_iter().rev() {
        let bytes = match field {
            Field::Key => record.key.as_mut().unwrap(),
            Field::Value => record.value.as_mut().unwrap(),
            Field::HeaderValue(place) => record.headers[usize::try_from(place).unwrap()].1.as_mut().unwrap(),
        };
        let with = match with {
            With::Bytes(bytes) => bytes,
            With::Fill(fill) => vec![fill; span.len()],
        };
        bytes.splice(span, with);
    }
    record
}

fn digest_of(records: &[Rec]) -> Option<[u8; 32]> {
    let contents: Vec<u8> = records.iter().flat_map(Rec::content).collect();
    Some(*blake3::keyed_hash(&KEY, &contents).as_bytes())
}

fn options(limits: &Limits) -> Options<'_> {
    Options { limits, digest_key: Some(&KEY) }
}

fn produce_with(batch: &mut [u8], records: &[Rec], wishes: &[Wish]) -> Result<Rewritten, BatchError> {
    let mut wisher = Wisher { records, wishes, seen: 0 };
    rewrite_produce(batch, 13, &options(&Limits::default()), &mut wisher, &mut Scratch::default())
}

/// Everything of a header that an edit must leave: all but length, CRC and count.
fn kept_header(batch: &[u8]) -> Vec<u8> {
    [&batch[..8], &batch[12..17], &batch[21..57]].concat()
}

/// Reads a batch with `kafka-protocol`, which keeps only the last of equal header keys.
fn oracle(batch: &[u8]) -> Vec<kafka_protocol::records::Record> {
    let mut bytes = bytes::Bytes::copy_from_slice(batch);
    kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes).unwrap().records
}

fn check_oracle(batch: &[u8], expected: &[Rec]) {
    let read = oracle(batch);
    assert_eq!(read.len(), expected.len());
    for (read, expected) in read.iter().zip(expected) {
        assert_eq!(read.key.as_deref(), expected.key.as_deref());
        assert_eq!(read.value.as_deref(), expected.value.as_deref());
        assert_eq!(read.producer_id, 4711);
        for (key, value) in &expected.headers {
            if expected.headers.iter().filter(|(other, _)| other == key).count() == 1 {
                let name = kafka_protocol::protocol::StrBytes::from_string(String::from_utf8(key.clone()).unwrap());
                assert_eq!(read.headers[&name].as_deref(), value.as_deref());
            }
        }
    }
}

fn check_produce_rewrite(codec: Codec, records: &[Rec], wishes: &[Wish]) {
    let original = build::produce(codec, records);
    let mut batch = original.clone();
    let rewritten = produce_with(&mut batch, records, wishes).unwrap();
    let refused: Vec<u32> = (0..).zip(wishes).filter(|(_, wish)| wish.refuse).map(|(place, _)| place).collect();
    assert_eq!(rewritten.refused, refused);
    if !refused.is_empty() {
        assert_eq!((rewritten.change, rewritten.digest), (Change::None, None));
        assert_eq!(batch, original);
        return;
    }
    let expected: Vec<Rec> = records.iter().zip(wishes).map(|(record, wish)| wished(record, wish)).collect();
    let edited = wishes.iter().filter(|wish| !wish.edits.is_empty()).count();
    assert_eq!(usize::try_from(rewritten.edited_records).unwrap(), edited);
    let result = match rewritten.change {
        Change::None => {
            assert_eq!(edited, 0);
            assert_eq!(batch, original);
            batch
        }
        Change::InPlace => {
            assert_eq!(codec, Codec::None);
            assert_eq!(batch.len(), original.len());
            batch
        }
        Change::Replaced(bytes) => {
            assert_eq!(batch, original, "the frame is left alone when the batch leaves as a copy");
            bytes.to_vec()
        }
    };
    assert_eq!(rewritten.bytes_out, result.len());
    assert_eq!(kept_header(&result), kept_header(&original));
    assert_eq!(build::read(&result), expected);
    assert_eq!(rewritten.digest, digest_of(&expected));
    assert_eq!(check_produce(&result, 13).unwrap().records, rewritten.info.records);
    check_oracle(&result, &expected);
}

fn check_fetch_rewrite(codec: Codec, batches: &[(Vec<Rec>, Vec<Wish>)], tail: usize) {
    let mut original = Vec::new();
    let mut base_offset = 1000;
    for (records, _) in batches {
        let mut header = Header::produce(codec, records.len());
        header.base_offset = base_offset;
        header.leader_epoch = 5;
        header.attributes |= 0x18;
        // As after compaction: offsets with gaps, the last one gone.
        header.last_offset_delta = i32::try_from(records.len()).unwrap() * 2 + 3;
        base_offset += i64::from(header.last_offset_delta) + 1;
        original.extend(header.seal(&build::compress(codec, &build::payload_of(records))));
    }
    let whole = original.len();
    let partial = original[..tail.min(60)].to_vec();
    original.extend(&partial);
    let mut wire = original.clone();
    let all: Vec<Rec> = batches.iter().flat_map(|(records, _)| records.clone()).collect();
    let mut inspect = PerBatch { batches, batch: 0, inner: 0 };
    let rewritten = rewrite_fetch(&mut wire, &options(&Limits::default()), &mut inspect, &mut Scratch::default());
    assert_eq!(rewritten.failures, []);
    let delivered = match rewritten.change {
        Change::None => {
            assert!(partial.is_empty());
            assert_eq!(wire, original);
            wire
        }
        Change::InPlace => {
            assert!(partial.is_empty());
            wire
        }
        Change::Replaced(bytes) => bytes.to_vec(),
    };
    assert_eq!(rewritten.bytes_out, delivered.len());
    assert_eq!(rewritten.bytes_in, original.len());
    let (mut rest, mut originals) = (&delivered[..], &original[..whole]);
    let mut all_expected = Vec::new();
    for (records, wishes) in batches {
        let batch = take_batch(&mut rest);
        let before = take_batch(&mut originals);
        let kept: Vec<Rec> = records
            .iter()
            .zip(wishes)
            .filter(|(_, wish)| !wish.refuse)
            .map(|(record, wish)| wished(record, wish))
            .collect();
        if kept.is_empty() {
            assert_eq!(batch.len(), 61);
        } else {
            assert_eq!(kept_header(batch), kept_header(before));
        }
        if wishes.iter().all(|wish| wish.edits.is_empty() && !wish.refuse) {
            assert_eq!(batch, before, "an untouched batch beside a changed one");
        }
        assert_eq!(build::read(batch), kept);
        all_expected.extend(kept);
    }
    assert!(rest.is_empty());
    assert_eq!(rewritten.digest, digest_of(&all_expected));
    assert_eq!(usize::try_from(rewritten.records + rewritten.withheld_records).unwrap(), all.len());
    assert_eq!((rewritten.first_offset, rewritten.last_offset), (1000, base_offset - 1));
    let checked = check_fetch(&delivered).unwrap();
    assert_eq!((checked.usable, checked.batches), (delivered.len(), rewritten.batches));
    assert_eq!((checked.first_offset, checked.last_offset), (1000, base_offset - 1));
}

fn take_batch<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(i32::from_be_bytes(bytes[8..12].try_into().unwrap())).unwrap() + 12;
    let (batch, rest) = bytes.split_at(length);
    *bytes = rest;
    batch
}

/// Wishes of several batches.
struct PerBatch<'a> {
    batches: &'a [(Vec<Rec>, Vec<Wish>)],
    batch: usize,
    inner: usize,
}

impl Inspect for PerBatch<'_> {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        if self.inner == self.batches[self.batch].0.len() {
            self.batch += 1;
            self.inner = 0;
        }
        let (records, wishes) = &self.batches[self.batch];
        let mut wisher = Wisher { records, wishes, seen: self.inner };
        self.inner += 1;
        wisher.record(record, edits)
    }
}

fn field_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => proptest::collection::vec(b'a'..b'e', 60..200),
        1 => Just(Vec::new()),
    ]
}

fn nullable() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![5 => field_bytes().prop_map(Some), 1 => Just(None)]
}

fn record() -> impl Strategy<Value = Rec> {
    // Few names, so that duplicates are common.
    let header = ("[a-c]{0,2}".prop_map(String::into_bytes), nullable());
    (any::<i32>(), nullable(), nullable(), proptest::collection::vec(header, 0..4)).prop_map(
        |(timestamp_delta, key, value, headers)| Rec {
            timestamp_delta: timestamp_delta.into(),
            offset_delta: 0,
            key,
            value,
            headers,
        },
    )
}

fn with() -> impl Strategy<Value = With> {
    prop_oneof![field_bytes().prop_map(With::Bytes), any::<u8>().prop_map(With::Fill)]
}

/// Up to two edits of each field that is not null, from cut points in ascending order; shuffled now and then.
fn wish(record: &Rec, same_length: bool, may_refuse: bool) -> impl Strategy<Value = Wish> + use<> {
    let mut fields = Vec::new();
    fields.extend(record.key.as_ref().map(|key| (Field::Key, key.len())));
    fields.extend(record.value.as_ref().map(|value| (Field::Value, value.len())));
    for (place, (_, value)) in (0..).zip(&record.headers) {
        fields.extend(value.as_ref().map(|value| (Field::HeaderValue(place), value.len())));
    }
    let edits: Vec<_> = fields
        .into_iter()
        .map(|(field, len)| {
            let cuts = proptest::collection::vec(0..=len, 4);
            (0..3usize, cuts, with(), with()).prop_map(move |(count, mut cuts, first, second)| {
                cuts.sort_unstable();
                let both = [(field, cuts[0]..cuts[1], first), (field, cuts[2]..cuts[3], second)];
                both.into_iter()
                    .take(count)
                    .map(|(field, span, with)| match with {
                        With::Bytes(mut bytes) if same_length => {
                            bytes.resize(span.len(), b'x');
                            (field, span, With::Bytes(bytes))
                        }
                        With::Bytes(_) | With::Fill(_) => (field, span, with),
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    (edits, any::<bool>(), any::<bool>(), 0..8u8).prop_map(move |(edits, touch, reverse, refuse)| {
        let mut edits: Vec<_> = edits.into_iter().flatten().filter(|_| touch).collect();
        if reverse && edits.windows(2).all(|pair| pair[0].1.start < pair[1].1.start || pair[0].0 != pair[1].0) {
            edits.reverse();
        }
        Wish { edits, refuse: may_refuse && refuse == 0 }
    })
}

fn batch(same_length: bool, may_refuse: bool) -> impl Strategy<Value = (Vec<Rec>, Vec<Wish>)> {
    proptest::collection::vec(record(), 1..12).prop_flat_map(move |mut records| {
        for (place, record) in (0..).zip(&mut records) {
            record.offset_delta = place;
        }
        let wishes: Vec<_> = records.iter().map(|record| wish(record, same_length, may_refuse)).collect();
        (Just(records), wishes)
    })
}

fn codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn produce_edits_change_what_they_say(codec in codec(), (records, wishes) in batch(false, false)) {
        check_produce_rewrite(codec, &records, &wishes);
    }

    #[test]
    fn produce_edits_of_equal_length_change_what_they_say(codec in codec(), (records, wishes) in batch(true, false)) {
        check_produce_rewrite(codec, &records, &wishes);
    }

    #[test]
    fn produce_with_a_refused_record_changes_nothing(codec in codec(), (records, wishes) in batch(false, true)) {
        check_produce_rewrite(codec, &records, &wishes);
    }

    #[test]
    fn fetch_edits_and_removals_keep_offsets(
        codec in codec(),
        mut batches in proptest::collection::vec(batch(false, true), 1..4),
        tail in 0usize..60,
    ) {
        for record in batches.iter_mut().flat_map(|(records, _)| records) {
            record.offset_delta = record.offset_delta * 2 + 1;
        }
        check_fetch_rewrite(codec, &batches, tail / 30 * tail);
    }

    #[test]
    fn a_flipped_bit_never_passes(codec in codec(), (records, _) in batch(true, false), at: prop::sample::Index, bit in 0..8u8) {
        let mut batch = build::produce(codec, &records);
        let at = at.index(batch.len());
        // Base offset, length, leader epoch, magic are outside of the CRC; Kafka sets the first and third itself.
        prop_assume!(!(12..16).contains(&at));
        batch[at] ^= 1 << bit;
        prop_assert!(check_produce(&batch, 13).is_err());
        prop_assert!(produce_with(&mut batch, &records, &[]).is_err());
    }

    #[test]
    fn a_flip_under_a_right_crc_never_panics(codec in codec(), (records, _) in batch(true, false), at: prop::sample::Index, with: u8) {
        let mut batch = build::produce(codec, &records);
        let at = 21 + at.index(batch.len() - 21);
        batch[at] = with;
        build::reseal(&mut batch);
        weir_protocol::records::fuzz_records(&batch);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        weir_protocol::records::fuzz_records(&bytes);
        weir_protocol::records::fuzz_records(&Header::produce(Codec::None, 1).seal(&bytes));
    }
}

/// A few records of every shape.
fn samples() -> Vec<Rec> {
    vec![
        Rec::of(0, "k0", "{\"card\":\"4111111111111111\"}").header("trace", Some("abc")).header("trace", Some("def")),
        Rec { offset_delta: 1, key: None, value: Some(Vec::new()), ..Rec::default() },
        Rec { offset_delta: 2, key: Some(Vec::new()), value: None, timestamp_delta: -7, ..Rec::default() },
        Rec::of(3, "k3", &"long ".repeat(400)).header("", None),
    ]
}

#[test]
fn refuses_every_truncation() {
    for &codec in Codec::ALL {
        let batch = build::produce(codec, &samples());
        for end in 0..batch.len() {
            assert!(check_produce(&batch[..end], 13).is_err(), "{codec:?} {end}");
            assert!(produce_with(&mut batch[..end].to_vec(), &samples(), &[]).is_err(), "{codec:?} {end}");
            let cut = check_fetch(&batch[..end]).unwrap();
            assert_eq!((cut.usable, cut.batches), (0, 0));
        }
    }
}

#[test]
fn refuses_every_truncated_payload_under_a_right_header() {
    for &codec in Codec::ALL {
        let payload = build::compress(codec, &build::payload_of(&samples()));
        for end in 0..payload.len() {
            let mut batch = Header::produce(codec, 4).seal(&payload[..end]);
            assert!(produce_with(&mut batch, &samples(), &[]).is_err(), "{codec:?} {end}");
        }
    }
}

#[test]
fn reads_every_header_field() {
    let mut header = Header::produce(Codec::Zstd, 4);
    header.attributes |= 0x10;
    let batch = header.seal(&build::compress(Codec::Zstd, &build::payload_of(&samples())));
    let expected = BatchInfo {
        base_offset: 0,
        last_offset_delta: 3,
        records: 4,
        codec: Codec::Zstd,
        producer_id: 4711,
        producer_epoch: 3,
        base_sequence: 17,
        is_transactional: true,
        is_control: false,
        partition_leader_epoch: -1,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_500,
        length: batch.len(),
    };
    assert_eq!(check_produce(&batch, 7), Ok(expected));
    assert_eq!(check_produce(&batch, 6), Err(BatchError::ZstdTooEarly { api_version: 6 }));
}

#[test]
fn scratch_serves_batch_after_batch() {
    let mut scratch = Scratch::default();
    let limits = Limits::default();
    for round in 0..3 {
        for &codec in Codec::ALL {
            let records = samples();
            let wishes: Vec<Wish> = (0..records.len())
                .map(|place| match place {
                    0 => Wish { edits: vec![(Field::Value, 9..25, With::Bytes(vec![b'*'; round * 9]))], refuse: false },
                    _ => Wish::default(),
                })
                .collect();
            let mut batch = build::produce(codec, &records);
            let mut wisher = Wisher { records: &records, wishes: &wishes, seen: 0 };
            let rewritten = rewrite_produce(&mut batch, 13, &options(&limits), &mut wisher, &mut scratch).unwrap();
            let Change::Replaced(bytes) = rewritten.change else { panic!("the length changed") };
            assert_eq!(build::read(&bytes)[0], wished(&records[0], &wishes[0]));
            assert!(build::produce(Codec::None, &records).len() > 61);
        }
    }
}
