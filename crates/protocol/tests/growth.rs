//! Edits that make a batch grow: compressed once more, harder, where that helps it under its limit; else its own error, with both sizes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "records/build.rs"]
mod build;

use build::{Bytes, Header, Rec};
use weir_protocol::records::{
    BatchError, Change, Codec, Edits, Field, Inspect, Limits, Options, RecordView, Scratch, Verdict, rewrite_fetch,
    rewrite_produce,
};

/// Puts this behind the first byte of every value.
struct Lengthen(&'static [u8]);

impl Inspect for Lengthen {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        if record.value.is_some() {
            edits.replace(Field::Value, 1..1, self.0);
        }
        Verdict::Keep
    }
}

/// Text that compresses a little: words of a small vocabulary, no two records alike.
fn records() -> Vec<Rec> {
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap()
    };
    let words: Vec<String> = (0..400)
        .map(|_| (0..3 + next() % 6).map(|_| char::from(b'a' + u8::try_from(next() % 26).unwrap())).collect())
        .collect();
    (0..300)
        .map(|at| {
            Rec::of(at, "k", &(0..30).map(|_| words[next() % words.len()].as_str()).collect::<Vec<_>>().join(" "))
        })
        .collect()
}

fn rewrite(batch: &[u8], grown_bytes_max: usize) -> Result<Bytes, BatchError> {
    let limits = Limits { grown_bytes_max, ..Limits::default() };
    let options = Options { limits: &limits, digest_key: None };
    let mut bytes = batch.to_vec();
    let result = rewrite_produce(&mut bytes, 13, &options, &mut Lengthen(b" longer"), &mut Scratch::default());
    assert_eq!(bytes, batch, "what leaves as a copy, or not at all, is left alone");
    result.map(|rewritten| match rewritten.change {
        Change::Replaced(bytes) => {
            assert_eq!(rewritten.bytes_out, bytes.len());
            bytes.to_vec()
        }
        Change::None | Change::InPlace => panic!("the lengths change"),
    })
}

/// The batch as a client of the best compression writes it, and as weir does without a limit.
fn batch(codec: Codec) -> (Bytes, Bytes) {
    let header = Header::produce(codec, 300);
    let plain = build::payload_of(&records());
    let compressed = match codec {
        Codec::Lz4 => build::lz4_frame(&plain, lz4::EncoderBuilder::new().level(12)),
        Codec::None | Codec::Gzip | Codec::Snappy | Codec::Zstd => build::compress(codec, &plain),
    };
    let batch = header.seal(&compressed);
    let fast = rewrite(&batch, usize::MAX).unwrap();
    (batch, fast)
}

fn lengthened() -> Vec<Rec> {
    let lengthen = |mut record: Rec| {
        record.value.as_mut().unwrap().splice(1..1, *b" longer");
        record
    };
    records().into_iter().map(lengthen).collect()
}

#[test]
fn a_limit_holds_to_the_byte_and_the_error_has_both_sizes() {
    for &codec in Codec::ALL {
        let (batch, fast) = batch(codec);
        assert!(fast.len() > batch.len(), "{codec:?}: {} from {}", fast.len(), batch.len());
        assert_eq!(rewrite(&batch, fast.len()), Ok(fast.clone()), "{codec:?}: what fits is not compressed again");
        // Below what any compression reaches.
        let max = batch.len();
        let Err(BatchError::Grown { records, bytes_in, bytes_out, max: told }) = rewrite(&batch, max) else {
            panic!("{codec:?} fits into {max}")
        };
        assert_eq!((records, bytes_in, told), (300, batch.len(), max));
        assert!(bytes_out > max && bytes_out <= fast.len(), "{codec:?}: {bytes_out}");
        // One byte more or less than the harder compression reaches.
        let hard = rewrite(&batch, bytes_out).unwrap();
        assert_eq!(hard.len(), bytes_out);
        assert_eq!(build::read(&hard), lengthened());
        assert_eq!(hard[22] & 7, batch[22] & 7, "the codec stays");
        let refused = BatchError::Grown { records: 300, bytes_in: batch.len(), bytes_out, max: bytes_out - 1 };
        assert_eq!(rewrite(&batch, bytes_out - 1), Err(refused));
    }
}

#[test]
fn codecs_with_levels_have_more_to_give() {
    for (codec, has_more) in
        [(Codec::Gzip, true), (Codec::Lz4, true), (Codec::Zstd, true), (Codec::Snappy, false), (Codec::None, false)]
    {
        let (batch, fast) = batch(codec);
        assert_eq!(rewrite(&batch, fast.len() - 1).is_ok(), has_more, "{codec:?}");
    }
}

/// It is for the broker to say so; on Fetch, nobody has a limit.
#[test]
fn what_was_too_large_before_is_not_held_to_the_limit() {
    for &codec in Codec::ALL {
        let (batch, fast) = batch(codec);
        assert_eq!(rewrite(&batch, batch.len() - 1), Ok(fast));
        let limits = Limits::default();
        let options = Options { limits: &limits, digest_key: None };
        let fetched = rewrite_fetch(&mut batch.clone(), &options, &mut Lengthen(b" longer"), &mut Scratch::default());
        assert_eq!((fetched.failures.len(), fetched.edited_records), (0, 300));
    }
}
