//! Batches as real clients write them (`testdata/records`).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "records/build.rs"]
mod build;

use std::path::Path;

use weir_protocol::records::{
    Change, Codec, Edits, Field, Inspect, Limits, Options, RecordView, Scratch, Verdict, check_fetch, check_produce,
    rewrite_fetch, rewrite_produce,
};

const CARD: &[u8] = b"4111111111111111";
const CLIENTS: [&str; 2] = ["java", "kafka-python"];

/// Replaces each card number; without a replacement, keeps it.
struct Cards(Option<&'static [u8]>);

impl Inspect for Cards {
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
        let value = record.value.unwrap_or_default();
        if let (Some(with), Some(at)) = (self.0, value.windows(CARD.len()).position(|window| window == CARD)) {
            edits.replace(Field::Value, at..at + CARD.len(), with);
        }
        Verdict::Keep
    }
}

struct RefuseAll;

impl Inspect for RefuseAll {
    fn record(&mut self, _: &RecordView<'_>, _: &mut Edits) -> Verdict {
        Verdict::Refuse
    }
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/records").join(name)).unwrap()
}

fn produce(batch: &mut [u8], with: Option<&'static [u8]>) -> Change {
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    rewrite_produce(batch, 13, &options, &mut Cards(with), &mut Scratch::default()).unwrap().change
}

#[test]
fn batches_of_real_clients_pass_untouched() {
    for client in CLIENTS {
        for codec in Codec::ALL {
            let original = golden(&format!("{client}-{}.bin", codec.name()));
            let mut batch = original.clone();
            assert_eq!(check_produce(&batch, 13).unwrap().codec, *codec);
            assert_eq!(produce(&mut batch, None), Change::None, "{client} {codec:?}");
            assert_eq!(batch, original);
        }
    }
}

#[test]
fn batches_of_real_clients_are_masked() {
    for client in CLIENTS {
        for codec in Codec::ALL {
            for with in [&b"************1111"[..], b"", b"\"redacted, and longer than before\""] {
                let original = golden(&format!("{client}-{}.bin", codec.name()));
                let mut batch = original.clone();
                let result = match produce(&mut batch, Some(with)) {
                    Change::None => panic!("{client} {codec:?}: nothing was masked"),
                    Change::InPlace => batch,
                    Change::Replaced(bytes) => bytes.to_vec(),
                };
                let mut expected = build::read(&original);
                for value in expected.iter_mut().filter_map(|record| record.value.as_mut()) {
                    if let Some(at) = value.windows(CARD.len()).position(|window| window == CARD) {
                        value.splice(at..at + CARD.len(), with.iter().copied());
                    }
                }
                assert_eq!(build::read(&result), expected, "{client} {codec:?}");
            }
        }
    }
}

#[test]
fn a_batch_without_records_is_the_one_that_kafka_writes() {
    let mut batch = golden("java-stored.bin");
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    let rewritten = rewrite_fetch(&mut batch, &options, &mut RefuseAll, &mut Scratch::default());
    let Change::Replaced(bytes) = rewritten.change else { panic!("nothing was replaced") };
    assert_eq!(bytes, golden("java-stored-emptied.bin"));
    assert_eq!((rewritten.withheld_records, rewritten.records), (42, 0));
    assert_eq!((rewritten.first_offset, rewritten.last_offset), (5000, 5041));
}

#[test]
fn a_transaction_marker_passes_unseen() {
    let marker = golden("java-marker.bin");
    let mut stored = [golden("java-stored-emptied.bin"), marker].concat();
    let original = stored.clone();
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    let rewritten = rewrite_fetch(&mut stored, &options, &mut RefuseAll, &mut Scratch::default());
    assert_eq!(rewritten.change, Change::None);
    assert_eq!(stored, original);
    assert_eq!((rewritten.batches, rewritten.records, rewritten.withheld_records), (2, 0, 0));
    assert_eq!(check_fetch(&stored).unwrap().last_offset, 5042);
}
