//! What brokers store and no client writes: it comes through weir with its offsets, times and kinds, and masked.

use std::time::{Duration, Instant};

use rdkafka::message::Timestamp;
use rdkafka::producer::Producer;

use crate::batch::{Codec, Header, plain, records};
use crate::clients::{At, Read, WAIT_MAX, send};
use crate::errors::walks_row;
use crate::place::{CARD, MASKED, PLACE};
use crate::wire::{Client, FETCH, PRODUCE, fetch_body, fetched, produce_body, produced};

const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

fn attributes(batch: &[u8]) -> i16 {
    i16::from_be_bytes([batch[21], batch[22]])
}

fn last_delta_and_count(batch: &[u8]) -> (i32, i32) {
    let i32_at = |at: usize| i32::from_be_bytes(batch[at..at + 4].try_into().unwrap());
    (i32_at(23), i32_at(57))
}

/// A value with a card.
fn card(n: i32) -> String {
    format!(r#"{{"card":"{CARD}","n":{n}}}"#)
}

fn masked(text: &str) -> String {
    text.replace(CARD, MASKED)
}

/// Produces past weir.
fn store(topic: &str, batch: &[u8]) {
    let mut broker = Client::connect(PLACE.kafka.bootstrap());
    let answer = broker.call(PRODUCE, 8, &produce_body(-1, &[(topic, &[(0, batch)])])).unwrap();
    assert_eq!(produced(&answer)[0].error, 0);
}

/// Through weir comes what comes from the broker, but for masks: batch by batch in everything but length and CRC, and record by record for
/// librdkafka and for Java.
#[track_caller]
fn same_but_for_masks(topic: &str) -> Vec<Vec<u8>> {
    let (stored, _) = At::Broker.fetch(topic, 1 << 20);
    let (shown, _) = At::Weir.fetch(topic, 1 << 20);
    assert_eq!(shown.len(), stored.len());
    let header = |batch: &[u8]| [&batch[..8], &batch[12..17], &batch[21..61]].concat();
    for (shown, stored) in shown.iter().zip(&stored) {
        assert_eq!(header(shown), header(stored));
        let (_, count) = last_delta_and_count(stored);
        if count == 0 || attributes(stored) & CONTROL != 0 {
            assert_eq!(shown, stored);
        }
    }
    for isolation in ["read_uncommitted", "read_committed"] {
        let stored = At::Broker.read(topic, isolation);
        assert!(stored.iter().any(|read| read.3.as_deref().is_some_and(|value| value.contains(CARD))), "{topic}");
        let expected: Vec<Read> = stored
            .into_iter()
            .map(|(offset, time, key, value)| (offset, time, key, value.map(|v| masked(&v))))
            .collect();
        assert_eq!(At::Weir.read(topic, isolation), expected, "librdkafka, {isolation}");
    }
    let count = At::Broker.read(topic, "read_committed").len();
    let java = |at: At| {
        let properties = ["print.timestamp=true", "print.offset=true", "print.key=true", "print.headers=true"];
        let console = properties
            .iter()
            .fold(at.console(), |console, property| console.argument("--formatter-property").argument(property));
        let console = console.argument("--isolation-level").argument("read_committed");
        console.consume(topic, count).unwrap().success("consume").unwrap().stdout
    };
    let stored = java(At::Broker);
    assert_eq!(stored.lines().count(), count);
    assert_eq!(java(At::Weir), masked(&stored), "Java");
    stored_holds_a_card(&stored);
    shown
}

fn stored_holds_a_card(text: &str) {
    assert!(text.contains(CARD), "there is something to mask in {text}");
}

#[test]
fn log_append_time_stays() {
    let topic = "ruled-append-time";
    store(topic, &plain(&[&card(0), "{}"]));
    let values = [card(2), card(3)];
    store(topic, &Header::of(2).codec(Codec::Zstd).seal(&Codec::Zstd.compress(&records(&[&values[0], &values[1]]))));
    let shown = same_but_for_masks(topic);
    assert!(shown.iter().all(|batch| attributes(batch) & LOG_APPEND_TIME != 0));
    assert!(At::Weir.read(topic, "read_committed").iter().all(|read| matches!(read.1, Timestamp::LogAppendTime(_))));
}

/// Committed, aborted and no transactions: whoever reads committed gets what was committed, and the bytes of the aborted one are masked too.
#[test]
fn transactions_stay_and_their_aborted_records_are_masked() {
    let topic = "ruled-transactions";
    for (id, commits) in [("first", true), ("second", false)] {
        let producer = At::Broker.producer(&[("transactional.id", id)]);
        producer.init_transactions(WAIT_MAX).unwrap();
        producer.begin_transaction().unwrap();
        let (one, two) = (card(1), card(2));
        assert!(send(&producer, topic, &[(Some("a"), Some(&one)), (Some("b"), Some(&two))]).iter().all(Result::is_ok));
        let ended = if commits { producer.commit_transaction(WAIT_MAX) } else { producer.abort_transaction(WAIT_MAX) };
        ended.unwrap();
    }
    store(topic, &plain(&[&card(3)]));
    let shown = same_but_for_masks(topic);
    let kinds = |bits: i16| shown.iter().filter(|batch| attributes(batch) & bits == bits).count();
    assert_eq!((kinds(TRANSACTIONAL), kinds(CONTROL), shown.len()), (4, 2, 5));
    assert_eq!(At::Weir.read(topic, "read_committed").len(), 3);
    assert_eq!(At::Weir.read(topic, "read_uncommitted").len(), 5);
    for batch in &shown {
        assert!(!batch.windows(CARD.len()).any(|window| window == CARD.as_bytes()), "a card left");
    }
}

/// Gaps, an empty batch that stands for a producer, delete horizons: consumers come to the same end.
#[test]
fn what_compaction_leaves_stays() {
    let topic = "ruled-compacted";
    let producer = At::Broker.producer(&[("transactional.id", "compacted")]);
    producer.init_transactions(WAIT_MAX).unwrap();
    producer.begin_transaction().unwrap();
    let cards: Vec<String> = (0..10).map(card).collect();
    let keyed = |key: &'static str, n: usize| (Some(key), Some(cards[n].as_str()));
    assert!(send(&producer, topic, &[keyed("a", 0), keyed("b", 1)]).iter().all(Result::is_ok));
    producer.commit_transaction(WAIT_MAX).unwrap();
    let producer = At::Broker.producer(&[("linger.ms", "100")]);
    // Each segment lasts a tenth of a second.
    let next_segment = || std::thread::sleep(Duration::from_millis(300));
    for records in [
        vec![keyed("a", 2), keyed("b", 3), keyed("c", 4), keyed("d", 5)],
        vec![keyed("a", 6), keyed("c", 7)],
        vec![(Some("d"), None), keyed("e", 8)],
        vec![keyed("z", 9)],
    ] {
        next_segment();
        assert!(send(&producer, topic, &records).iter().all(Result::is_ok));
    }
    let end = Instant::now() + WAIT_MAX;
    loop {
        let (stored, _) = At::Broker.fetch(topic, 1 << 20);
        let any = |holds: fn(&[u8]) -> bool| stored.iter().any(|batch| holds(batch));
        let gap = any(|batch| matches!(last_delta_and_count(batch), (last, count) if count > 0 && count <= last));
        let empty = any(|batch| last_delta_and_count(batch).1 == 0);
        let horizon = any(|batch| attributes(batch) & DELETE_HORIZON != 0);
        let control = any(|batch| attributes(batch) & CONTROL != 0);
        if gap && empty && horizon && control {
            break;
        }
        assert!(Instant::now() < end, "gap {gap}, empty {empty}, delete horizon {horizon}, control {control}");
        std::thread::sleep(Duration::from_millis(200));
    }
    // The cleaner may clean once more: nothing new is written, so what it left stays.
    let shown = same_but_for_masks(topic);
    assert_eq!(At::Weir.read(topic, "read_committed").last().unwrap().2.as_deref(), Some("z"));
    assert!(shown.iter().any(|batch| attributes(batch) & DELETE_HORIZON != 0));
}

/// A broker cuts its answer at a number of bytes, in the middle of a batch: what cannot be inspected does not leave, and is asked for again.
#[test]
fn answers_that_end_within_a_batch_bring_whole_batches() {
    let topic = "ruled-partial";
    (0..12).for_each(|n| store(topic, &plain(&[&card(n), &card(n)])));
    let (all, partial) = At::Weir.fetch(topic, 1 << 20);
    assert_eq!((all.len(), partial), (12, 0));
    for bytes_max in [1, 200, 250, 333, 500, 777] {
        let (stored, _) = At::Broker.fetch(topic, bytes_max);
        assert_eq!(stored.len(), 12);
        let (shown, partial) = At::Weir.fetch(topic, bytes_max);
        assert_eq!(partial, 0, "{bytes_max}");
        assert_eq!(shown, all, "{bytes_max}");
    }
    let cut = [200, 250, 333, 500, 777].map(|bytes_max| At::Broker.fetch(topic, bytes_max).1);
    assert!(cut.iter().sum::<usize>() > 4, "the broker itself does cut batches: {cut:?}");
}

/// A broker of today gives out what one of another time stored (KIP-724): it is refused, since nothing in it was inspected.
#[test]
fn an_old_message_format_is_refused() {
    let topic = "ruled-old";
    let answer = |mut client: Client| fetched(&client.call(FETCH, 11, &fetch_body(topic, 0, 0, 1000)).unwrap());
    let (error, _, bytes) = answer(Client::connect(PLACE.kafka.bootstrap()));
    assert_eq!((error, bytes[16]), (0, 1), "the broker gives out version 1");
    assert!(bytes.windows(CARD.len()).any(|window| window == CARD.as_bytes()));
    let (error, _, bytes) = answer(PLACE.weir.open());
    assert_eq!((error, bytes.len()), (56, 0));
    let line = PLACE.weir.logs(&[("event", "records.refused"), ("topic", topic)]);
    walks_row("old-format").holds("56", &[line], |counter| PLACE.weir.metric(counter));
    let entries = PLACE.weir.entries(&["--topic", topic]);
    assert!(entries.iter().any(|entry| entry["reason"] == "ruled-old-0: old message format"), "{entries:?}");
}
