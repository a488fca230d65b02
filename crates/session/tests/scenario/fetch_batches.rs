//! Fetch: batches as only brokers write them. Offsets, timestamps and the index of aborted transactions stay; data is masked wherever
//! it stands.

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::AbortedTransaction;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use weir_audit::{Decision, Outcome};

use crate::batch::{Batch, DELETE_HORIZON, LOG_APPEND_TIME, TRANSACTIONAL};
use crate::messages::{FETCH, fetch, fetched, partition, shown};
use crate::stage::{Stage, play};

const CARD: &str = r#"{"card":{"number":"4111111111111111"}}"#;
const MASKED: &str = r#"{"card":{"number":"************1111"}}"#;

/// What the client gets of a ruled topic when the broker answers with these records.
#[track_caller]
fn through(stage: &mut Stage, topic: &str, records: &[Bytes]) -> FetchResponse {
    stage.ask(FETCH, &fetch(&[topic]));
    let (asked, request) = stage.heard::<FetchRequest>();
    stage.say(&asked, &fetched(&request, &records.concat().into()));
    stage.answer::<FetchRequest>()
}

fn header(batch: &[u8]) -> (i64, i32, i16, i64, i64) {
    let i64_at = |at: usize| i64::from_be_bytes(batch[at..at + 8].try_into().unwrap());
    let last = i32::from_be_bytes(batch[23..27].try_into().unwrap());
    (i64_at(0), last, i16::from_be_bytes([batch[21], batch[22]]), i64_at(27), i64_at(35))
}

fn batches(mut records: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !records.is_empty() {
        let length = usize::try_from(i32::from_be_bytes(records[8..12].try_into().unwrap())).unwrap();
        let (batch, rest) = records.split_at(12 + length);
        found.push(batch);
        records = rest;
    }
    found
}

#[test]
fn every_kind_of_batch_keeps_its_offsets_and_times_beside_masked_ones() {
    play(|stage| {
        stage.login();
        let written = [
            Batch::of([CARD, "{}"]).at(10),
            Batch::of([CARD, CARD]).at(12).compacted(&[1, 4], 7),
            Batch::of([]).at(20).compacted(&[], 4).times(-1, 5).by(7, 0, 3),
            Batch::of([CARD]).at(25).with(LOG_APPEND_TIME).times(5, 99),
            Batch::of([CARD]).at(26).with(TRANSACTIONAL).by(7, 0, 4),
            Batch::marker(true).at(27).by(7, 0, -1),
            Batch::of([CARD]).at(28).with(DELETE_HORIZON).times(777, 42),
            Batch::marker(false).at(29).by(8, 0, -1).with(DELETE_HORIZON).times(778, 43),
        ];
        let written: Vec<Bytes> = written.iter().map(Batch::encode).collect();
        let answer = through(stage, "payments.eu", &written);
        let got = partition(&answer).records.clone().unwrap();
        let got = batches(&got);
        assert_eq!(got.len(), written.len());
        for (got, written) in got.iter().zip(&written) {
            assert_eq!(header(got), header(written));
            if !written.windows(4).any(|window| window == b"card") {
                assert_eq!(got, written, "what holds nothing to mask is byte-identical");
            }
        }
        let expected = [(10, MASKED), (11, "{}"), (13, MASKED), (16, MASKED), (25, MASKED), (26, MASKED), (28, MASKED)];
        assert_eq!(shown(&answer), (0, expected.map(|(offset, text)| (offset, text.to_owned())).to_vec()));
        let entries = stage.entries();
        let part = &entries.last().unwrap().parts[0];
        assert_eq!((part.base_offset, part.last_offset, part.records), (Some(10), Some(29), 7));
        // Where no rule applies, all of it is byte-identical.
        let answer = through(stage, "orders", &written);
        assert_eq!(partition(&answer).records.as_deref(), Some(&written.concat()[..]));
    });
}

/// Filtering them is the reader's work (KIP-98), which needs the index and the last stable offset; whoever does not filter reads them.
#[test]
fn aborted_transactions_are_masked_and_their_index_stays() {
    play(|stage| {
        stage.login();
        stage.ask(FETCH, &fetch(&["payments.eu"]).with_isolation_level(1));
        let (asked, request) = stage.heard::<FetchRequest>();
        assert_eq!(request.isolation_level, 1);
        let aborted =
            [Batch::of([CARD]).at(4).with(TRANSACTIONAL).by(7, 0, 0), Batch::marker(false).at(5).by(7, 0, -1)];
        let records: Vec<Bytes> = aborted.iter().map(Batch::encode).collect();
        let mut answer = fetched(&request, &records.concat().into());
        let index = vec![AbortedTransaction::default().with_producer_id(7.into()).with_first_offset(4)];
        answer.responses[0].partitions[0].aborted_transactions = Some(index.clone());
        answer.responses[0].partitions[0].last_stable_offset = 6;
        answer.responses[0].partitions[0].log_start_offset = 2;
        stage.say(&asked, &answer);
        let answer = stage.answer::<FetchRequest>();
        let got = partition(&answer);
        assert_eq!(got.aborted_transactions.as_ref(), Some(&index));
        assert_eq!((got.last_stable_offset, got.log_start_offset), (6, 2));
        assert_eq!(shown(&answer), (0, vec![(4, MASKED.to_owned())]));
        assert_eq!(batches(got.records.as_deref().unwrap())[1], records[1], "the marker");
    });
}

#[test]
fn a_partial_batch_is_cut_off_wherever_it_was_cut() {
    for topic in ["orders", "payments.eu"] {
        play(|stage| {
            stage.login();
            let (whole, next) = (Batch::of([CARD]).at(3).encode(), Batch::of([CARD]).at(4).encode());
            // As far as the batch length, the magic, the end of the header, and one byte before the end.
            for cut in [1, 8, 11, 12, 16, 17, 60, 61, next.len() - 1] {
                let answer = through(stage, topic, &[whole.clone(), next.slice(..cut)]);
                let expected = if topic == "orders" { CARD } else { MASKED };
                assert_eq!(shown(&answer), (0, vec![(3, expected.to_owned())]), "{cut}");
                let answer = through(stage, topic, &[next.slice(..cut)]);
                assert_eq!(shown(&answer), (0, vec![]), "{cut}: nothing of it is shown");
            }
        });
    }
}

/// A message set of version 0 or 1 (KIP-724): offset, size, CRC-32, magic, attributes, a timestamp from version 1 on, key, value.
fn message_set(magic: u8) -> Bytes {
    let value = CARD.as_bytes();
    let mut message = vec![0, 0, 0, 0, magic, 0];
    message.extend(&[0; 8][..if magic == 0 { 0 } else { 8 }]);
    message.extend((-1_i32).to_be_bytes());
    message.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
    message.extend(value);
    let mut set = 3_i64.to_be_bytes().to_vec();
    set.extend(i32::try_from(message.len()).unwrap().to_be_bytes());
    set.extend(message);
    set.into()
}

#[test]
fn old_message_formats_are_refused_and_nothing_of_them_is_shown() {
    play(|stage| {
        stage.login();
        for topic in ["orders", "payments.eu"] {
            for magic in [0, 1] {
                let answer = through(stage, topic, &[message_set(magic)]);
                assert_eq!(shown(&answer), (56, vec![]));
                let entries = stage.entries();
                let entry = entries.last().unwrap();
                assert_eq!((entry.decision, entry.outcome), (Decision::Withhold, Outcome::Delivered));
                assert_eq!(entry.parts[0].error_code, 56);
                assert_eq!(entry.reason.as_deref(), Some(&*format!("{topic}-0: old message format")));
            }
            // The control.
            let answer = through(stage, topic, &[Batch::of(["{}"]).at(3).encode()]);
            assert_eq!(shown(&answer), (0, vec![(3, "{}".to_owned())]));
        }
    });
}
