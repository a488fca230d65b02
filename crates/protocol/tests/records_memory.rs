//! Memory: nothing is allocated for each record, and a hostile batch gets no more than it can fill.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "records/build.rs"]
mod build;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use build::{Header, Rec};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir_protocol::records::{
    Change, Codec, Edits, Field, Inspect, Limits, Options, RecordView, Scratch, Verdict, rewrite_fetch, rewrite_produce,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process: one measurement at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const RECORDS: usize = 1000;

/// Masks the first bytes of each value, or replaces them by more; counts headers, to read them too.
struct Mask {
    longer: bool,
    headers: usize,
    /// The negative control: one allocation for each record.
    wasteful: bool,
}

impl Inspect for Mask {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        self.headers += record.headers.iter().filter(|header| header.value.is_some()).count();
        if self.longer {
            edits.replace(Field::Value, 0..4, b"redacted");
        } else {
            edits.mask(Field::Value, 0..4, b'*');
            edits.replace(Field::HeaderValue(0), 0..1, b"#");
        }
        if self.wasteful {
            self.headers += usize::from(record.value.unwrap_or_default().to_vec().is_empty());
        }
        Verdict::Keep
    }
}

fn records() -> Vec<Rec> {
    let value = "a value of some length, the same for each record ".repeat(4);
    (0..RECORDS).map(|place| Rec::of(i32::try_from(place).unwrap(), "key", &value).header("h", Some("text"))).collect()
}

/// Allocations of one call once the buffers have found their size: the fewest of some rounds, because the test harness
/// allocates beside us now and then.
fn allocations(batch: &[u8], fetch: bool, longer: bool, wasteful: bool) -> usize {
    let limits = Limits::default();
    let key = [3; 32];
    let options = Options { limits: &limits, digest_key: Some(&key) };
    let mut scratch = Scratch::default();
    let mut fewest = usize::MAX;
    for _ in 0..8 {
        let mut batch = batch.to_vec();
        let mut mask = Mask { longer, headers: 0, wasteful };
        let region = Region::new(ALLOCATOR);
        let change = if fetch {
            rewrite_fetch(&mut batch, &options, &mut mask, &mut scratch).change
        } else {
            rewrite_produce(&mut batch, 13, &options, &mut mask, &mut scratch).unwrap().change
        };
        let stats = region.change();
        fewest = fewest.min(stats.allocations + stats.reallocations);
        assert_ne!(change, Change::None);
        assert_eq!(mask.headers, RECORDS);
    }
    fewest
}

#[test]
fn edits_in_place_allocate_nothing() {
    let _alone = alone();
    let batch = build::produce(Codec::None, &records());
    for fetch in [false, true] {
        assert_eq!(allocations(&batch, fetch, false, false), 0);
    }
}

#[test]
fn the_count_sees_an_allocation_for_each_record() {
    let _alone = alone();
    let batch = build::produce(Codec::None, &records());
    assert!(allocations(&batch, false, false, true) >= RECORDS);
}

#[test]
fn rebuilt_batches_allocate_for_the_batch_at_most() {
    let _alone = alone();
    for &codec in Codec::ALL {
        let batch = build::produce(codec, &records());
        for fetch in [false, true] {
            let allocated = allocations(&batch, fetch, true, false);
            assert!(allocated <= 4, "{codec:?}: {allocated}");
        }
    }
}

#[test]
fn hostile_batches_get_no_more_memory_than_they_fill() {
    let _alone = alone();
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    let mut bomb = Rec::of(0, "k", "");
    bomb.value = Some(vec![0; 80 << 20]);
    let plain = bomb.encode();
    let claim: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0];
    let mut cases: Vec<(Codec, Vec<u8>, usize, usize)> = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]
        .into_iter()
        .map(|codec| (codec, build::compress(codec, &plain), 1, 64 << 20))
        .collect();
    cases.push((Codec::Snappy, claim.to_vec(), 1, 1 << 20));
    cases.push((Codec::None, vec![0x80], usize::try_from(i32::MAX).unwrap(), 1 << 20));
    for (codec, payload, count, bytes_max) in cases {
        let mut batch = Header::produce(codec, count).seal(&payload);
        let region = Region::new(ALLOCATOR);
        let mut mask = Mask { longer: false, headers: 0, wasteful: false };
        let result = rewrite_produce(&mut batch, 13, &options, &mut mask, &mut Scratch::default());
        // Growing by doubling: at most twice what is held at last.
        let stats = region.change();
        assert!(result.is_err(), "{codec:?}");
        assert!(stats.bytes_allocated <= bytes_max, "{codec:?} {} bytes: {stats:?}", payload.len());
        assert_eq!(batch[16], 2);
    }
}
