//! Batches that lie, and batches that explode.

use std::time::Duration;

use crate::batch::{self, Codec, Header, Record, plain, records};
use crate::ground::{KAFKA, WEIR, Weir, end_offset, topic};
use crate::wire::{
    Bytes, Client, FETCH, PRODUCE, Produced, fetch_body, fetched, produce_body, produced, produced_in, request,
};

/// INVALID_RECORD.
const INVALID_RECORD: i16 = 87;

/// In every record that is refused here; it must not be found in any log line or answer.
const CANARY: &str = "canary-5e1f";

fn produce(client: &mut Client, topic: &str, batch: &[u8]) -> Produced {
    let answer = client.call(PRODUCE, 8, &produce_body(-1, &[(topic, &[(0, batch)])])).unwrap();
    produced(&answer).pop().unwrap()
}

/// Refused with its reason, logged, recorded, not stored; the connection goes on.
#[track_caller]
fn check(weir: &Weir, topic: &str, batch: &[u8], fault: &str) {
    let stored = end_offset(topic, 0);
    let mut client = weir.open();
    let refused = produce(&mut client, topic, batch);
    assert_eq!(refused.error, INVALID_RECORD, "{fault}: {refused:?}");
    let event = refused.message.rsplit_once("(event ").map_or("", |(_, event)| event.trim_end_matches(')'));
    assert_eq!(refused.message, format!("weir: this batch cannot be read: {fault} (event {event})"));
    assert!(!refused.message.contains(CANARY));
    let line = weir.logs(&[("event", "records.refused"), ("event_id", event)]);
    assert_eq!((line["topic"].as_str(), line["rule"].as_str()), (Some(topic), Some(&*format!("unreadable: {fault}"))));
    assert!(!weir.log_text().contains(CANARY), "a record is in the log");
    assert_eq!(end_offset(topic, 0), stored, "nothing was stored");
    assert_eq!(produce(&mut client, topic, &plain(&[r#"{"good":1}"#])).error, 0, "the connection goes on");
    assert_eq!(end_offset(topic, 0), stored + 1);
    weir.lives();
}

/// One record of the ruled topics.
fn one() -> Record {
    Record::new(0, format!(r#"{{"name":"{CANARY}"}}"#).as_bytes())
}

fn lie(change: impl FnOnce(&mut Record)) -> Vec<u8> {
    let mut record = one();
    change(&mut record);
    Header::of(1).seal(&record.encode())
}

fn lie_of_header(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::of(1);
    change(&mut header);
    header.seal(&one().encode())
}

#[test]
fn a_wrong_crc_is_refused_with_and_without_a_rule() {
    for name in ["ruled-crc", "crc"] {
        topic(name, 1);
        check(&WEIR, name, &lie_of_header(|header| header.crc_lie = 1), "the CRC of the batch is wrong");
        let mut changed = lie_of_header(|_| {});
        *changed.last_mut().unwrap() ^= 1;
        check(&WEIR, name, &changed, "the CRC of the batch is wrong");
        let entries = WEIR.entries(&["--topic", name]);
        let block = entries.iter().find(|entry| entry["kind"] == "block").unwrap();
        assert_eq!(block["reason"], format!("{name}-0: unreadable: the CRC of the batch is wrong"));
        assert_eq!((block["decision"].as_str(), &block["error_code"]), (Some("refused"), &INVALID_RECORD.into()));
    }
}

#[test]
fn counts_that_lie_are_refused() {
    topic("ruled-counts", 1);
    let check = |batch: &[u8], fault: &str| check(&WEIR, "ruled-counts", batch, fault);
    let value = format!(r#"{{"name":"{CANARY}"}}"#);
    check(&Header::of(2).seal(&records(&[&value])), "record 1 is cut");
    // A record behind the count: a reader that goes on to the end of the batch sees it.
    let hidden = Record::new(1, value.as_bytes()).encode();
    let fault = format!("{} bytes follow the last record", hidden.len());
    check(&Header::of(1).seal(&records(&[&value, &value])), &fault);
    check(&Header::of(0).seal(&records(&[&value])), "the batch has 0 records and a last offset delta of -1");
    check(&Header::of(-1).seal(&records(&[&value])), "the batch has -1 records and a last offset delta of -2");
    let fault = "the batch has 1 records and a last offset delta of 5";
    check(&lie_of_header(|header| header.last_offset_delta = 5), fault);
    // `kafka-protocol` sets 378 GB aside for this one, and 38 GB for the next.
    check(&Header::of(i32::MAX).seal(&records(&[&value])), "the batch has 2147483647 records, more than 1000000");
    let headers = lie(|record| record.headers_lie = i64::from(i32::MAX));
    check(&headers, "record 0 has 2147483647 headers, more than 1000");
    check(&lie(|record| record.headers_lie = 1), "record 0 is cut");
    check(&lie(|record| record.headers_lie = -1), "record 0 has a negative length");
    check(&lie(|record| record.offset_delta = 1), "record 0 has the offset delta 1");
}

#[test]
fn lengths_that_lie_are_refused() {
    topic("ruled-lengths", 1);
    let check = |batch: &[u8], fault: &str| check(&WEIR, "ruled-lengths", batch, fault);
    check(&lie(|record| record.length_lie = 1), "record 0 is cut");
    check(&lie(|record| record.length_lie = i64::from(i32::MAX)), "record 0 has an over-long integer");
    check(&lie(|record| record.length_lie = -1), "record 0 is cut");
    check(&lie(|record| record.length_lie = -1000), "record 0 has a negative length");
    check(&lie(|record| record.value_length_lie = 1), "record 0 is cut");
    check(&lie(|record| record.value_length_lie = -1), "record 0 has a negative length");
    check(&lie(|record| record.value_length_lie = -1000), "record 0 has a negative length");
    let length = lie_of_header(|_| {}).len();
    let fault = format!("the batch is cut: {length} of {} bytes are there", length + 7);
    check(&lie_of_header(|header| header.length_lie = 7), &fault);
    check(&lie_of_header(|header| header.length_lie = -7), "7 bytes follow the batch");
    check(
        &lie_of_header(|header| header.length_lie = -length.cast_signed() as i32),
        "the batch length -12 is impossible",
    );
    check(
        &[lie_of_header(|_| {}), plain(&["{}"])].concat(),
        &format!("{} bytes follow the batch", plain(&["{}"]).len()),
    );
    // The broker cuts this off in silence.
    check(&[lie_of_header(|_| {}), plain(&["{}"])[..30].to_vec()].concat(), "30 bytes follow the batch");
    check(&lie_of_header(|_| {})[..40], &format!("the batch is cut: 40 of {length} bytes are there"));
}

#[test]
fn records_that_are_null_or_empty_are_refused() {
    topic("ruled-nothing", 1);
    for length in [-1, 0] {
        let body = Bytes::default().i16(-1).i16(-1).i32(10_000).count(1).string("ruled-nothing").count(1).i32(0);
        let mut client = WEIR.open();
        let refused = produced(&client.call(PRODUCE, 8, &body.i32(length).0).unwrap()).pop().unwrap();
        let told = "weir: this batch cannot be read: the records are null or empty";
        assert_eq!((refused.error, refused.message.as_str()), (INVALID_RECORD, told));
        let line = WEIR.logs(&[("event", "request.refused"), ("peer", &client.peer())]);
        assert_eq!((line["reason"].as_str(), line["resource"].as_str()), (Some("no_batch"), Some("ruled-nothing")));
    }
    assert_eq!(end_offset("ruled-nothing", 0), 0);
    assert_eq!(produce(&mut WEIR.open(), "ruled-nothing", &plain(&["{}"])).error, 0);
    WEIR.lives();
}

#[test]
fn headers_that_no_client_writes_are_refused() {
    topic("ruled-headers", 1);
    let check = |change: fn(&mut Header), fault: &str| check(&WEIR, "ruled-headers", &lie_of_header(change), fault);
    check(|header| header.magic = 1, "the record format is version 1, not 2");
    check(|header| header.magic = 3, "the record format is version 3, not 2");
    check(|header| header.base_offset = 5, "the base offset is 5, not 0");
    check(|header| header.attributes = 1 << 5, "a client cannot write a control batch");
    check(|header| header.attributes = 1 << 3, "a client cannot write a batch with log append time");
    check(|header| header.attributes = 1 << 6, "a client cannot write a batch with a delete horizon");
    check(|header| header.attributes = 1 << 9, "the batch attributes have unknown bits 0x0200");
    check(|header| header.attributes = 7, "the compression code 7 is unknown");
    check(|header| header.producer_id = 7, "the batch has a producer id but the base sequence -1");
    check(|header| header.producer_id = -2, "the producer id is -2");
    check(|header| header.attributes = 1 << 4, "the batch is part of a transaction, but the request names none");
}

#[test]
fn compressed_bytes_that_are_none_are_refused() {
    topic("ruled-streams", 1);
    let plain = one().encode();
    for codec in Codec::ALL {
        let (name, good) = (format!("{codec:?}").to_lowercase(), codec.compress(&plain));
        let sealed = |payload: &[u8]| Header::of(1).codec(codec).seal(payload);
        let mut client = WEIR.open();
        assert_eq!(produce(&mut client, "ruled-streams", &sealed(&good)).error, 0, "{name}");
        for bad in [plain.clone(), good[..good.len() - 1].to_vec(), [&good[..], &[0]].concat(), good.repeat(2), vec![]]
        {
            let stored = end_offset("ruled-streams", 0);
            let refused = produce(&mut client, "ruled-streams", &sealed(&bad));
            assert_eq!(refused.error, INVALID_RECORD, "{name}: {refused:?}");
            let begin = format!("weir: this batch cannot be read: the {name} data ");
            assert!(refused.message.starts_with(&begin), "{}", refused.message);
            assert_eq!(end_offset("ruled-streams", 0), stored);
        }
    }
    // 4 GiB announced in nine bytes.
    let snappy = Header::of(1).codec(Codec::Snappy).seal(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0]);
    check(&WEIR, "ruled-streams", &snappy, "the records inflate to more than 64 times their size");
}

/// A good batch is not lost with a bad one in the same request, and the answers come in its order.
#[test]
fn a_bad_batch_leaves_a_good_one_beside_it_alone() {
    topic("ruled-beside", 3);
    let (good, bad) = (plain(&["{}"]), lie_of_header(|header| header.crc_lie = 1));
    let body = produce_body(-1, &[("ruled-beside", &[(2, &bad), (0, &good), (1, &bad)])]);
    let mut client = WEIR.open();
    let answers = produced(&client.call(PRODUCE, 8, &body).unwrap());
    let short: Vec<_> = answers.iter().map(|answer| (answer.partition, answer.error)).collect();
    assert_eq!(short, [(2, INVALID_RECORD), (0, 0), (1, INVALID_RECORD)]);
    assert_eq!([0, 1, 2].map(|partition| end_offset("ruled-beside", partition)), [1, 0, 0]);
    WEIR.lives();
}

#[test]
fn acks_of_no_meaning_are_refused() {
    topic("ruled-acks", 1);
    let error = |acks: i16| {
        let body = produce_body(acks, &[("ruled-acks", &[(0, &plain(&["{}"]))])]);
        produced(&WEIR.open().call(PRODUCE, 8, &body).unwrap())[0].error
    };
    for acks in [2, -2, i16::MAX] {
        assert_eq!(error(acks), 21, "INVALID_REQUIRED_ACKS");
        WEIR.logs(&[("event", "request.refused"), ("reason", "acks_invalid"), ("resource", &format!("acks={acks}"))]);
    }
    assert_eq!(end_offset("ruled-acks", 0), 0);
    assert_eq!((error(1), error(-1)), (0, 0));
    assert_eq!(end_offset("ruled-acks", 0), 2);
    WEIR.lives();
}

/// Before version 8 an answer has no room for a reason: the code alone must be right. zstd came with version 7.
#[test]
fn an_old_client_gets_the_code() {
    topic("ruled-old", 1);
    let zstd = Header::of(1).codec(Codec::Zstd).seal(&Codec::Zstd.compress(&one().encode()));
    let check = |version: i16, batch: &[u8], error: i16| {
        let body = produce_body(-1, &[("ruled-old", &[(0, batch)])]);
        let answer = WEIR.open().call(PRODUCE, version, &body).unwrap();
        assert_eq!(produced_in(version, &answer)[0].error, error, "version {version}");
    };
    check(6, &zstd, INVALID_RECORD);
    WEIR.logs(&[
        ("event", "records.refused"),
        ("topic", "ruled-old"),
        ("rule", "unreadable: zstd needs produce version 7, this is version 6"),
    ]);
    check(3, &lie_of_header(|header| header.crc_lie = 1), INVALID_RECORD);
    assert_eq!(end_offset("ruled-old", 0), 0);
    check(7, &zstd, 0);
    check(3, &plain(&["{}"]), 0);
    assert_eq!(end_offset("ruled-old", 0), 2);
    WEIR.lives();
}

/// Who asks for no answer cannot be told: the end of the connection is the refusal.
#[test]
fn a_bad_batch_without_an_answer_ends_the_connection() {
    topic("ruled-silent", 1);
    let frame = |batch: &[u8]| request(PRODUCE, 8, 1, &produce_body(0, &[("ruled-silent", &[(0, batch)])]));
    let mut client = WEIR.open();
    client.send_frame(&frame(&lie_of_header(|header| header.crc_lie = 1)));
    client.is_closed();
    WEIR.closed(&client, "silent_request_refused", "a request with acks=0 was refused");
    assert_eq!(end_offset("ruled-silent", 0), 0);
    let mut client = WEIR.open();
    client.send_frame(&frame(&plain(&["{}"])));
    client.hears_nothing_for(Duration::from_millis(300));
    assert_eq!(end_offset("ruled-silent", 0), 1);
}

/// Bytes that each bomb becomes, and what weir may decompress.
const BOMB: usize = 128 << 20;
const BOMB_MAX: usize = 8 << 20;

fn weir_with_small_batches() -> Weir {
    Weir::start(|yaml| yaml.section("limits", &format!("batch_bytes_max: {BOMB_MAX}B")))
}

#[test]
fn a_bomb_of_each_codec_is_refused_in_bounded_memory() {
    topic("ruled-bombs-in", 1);
    let weir = weir_with_small_batches();
    weir.lives();
    let before = weir.usage().rss_bytes;
    let bombs = Codec::ALL.map(|codec| codec.bomb(BOMB));
    let largest = bombs.iter().map(Vec::len).max().unwrap();
    std::thread::scope(|scope| {
        for bomb in &bombs {
            for _ in 0..2 {
                scope.spawn(|| {
                    let refused = produce(&mut weir.open(), "ruled-bombs-in", bomb);
                    assert_eq!(refused.error, INVALID_RECORD);
                    let fault = format!("the records need more than {BOMB_MAX} bytes");
                    assert!(refused.message.contains(&fault), "{}", refused.message);
                });
            }
        }
        scope.spawn(|| (0..5).for_each(|_| weir.lives()));
    });
    // Two frames of each, and what the inspecting threads may hold.
    let most = (before as usize) + 8 * largest + 8 * 2 * BOMB_MAX;
    let used = weir.usage().rss_bytes_max as usize;
    assert!(used < most, "{used} bytes were resident, {most} are expected at most");
    assert_eq!(end_offset("ruled-bombs-in", 0), 0);
    for codec in Codec::ALL {
        check(&weir, "ruled-bombs-in", &codec.bomb(BOMB_MAX), &format!("the records need more than {BOMB_MAX} bytes"));
    }
}

/// With the default limits it is the ratio that is refused.
#[test]
fn a_bomb_within_the_size_limit_is_refused_for_its_ratio() {
    topic("ruled-ratio", 1);
    let bomb = Codec::Zstd.bomb(32 << 20);
    check(&WEIR, "ruled-ratio", &bomb, "the records inflate to more than 64 times their size");
    // Up to 16 MiB no ratio is too great: equal documents compress as well as that.
    let value = format!("{{\"a\":\"{}\"}}", " ".repeat(15 << 20));
    let batch =
        Header::of(1).codec(Codec::Zstd).seal(&Codec::Zstd.compress(&Record::new(0, value.as_bytes()).encode()));
    assert_eq!(produce(&mut WEIR.open(), "ruled-ratio", &batch).error, 0);
}

/// A bomb that another way led into the topic: whoever reads it through weir gets an empty batch in its place, and reads on.
#[test]
fn a_stored_bomb_is_withheld_and_passed_by() {
    KAFKA.create_topic_with("ruled-bombs-out", 1, &[("max.message.bytes", "20000000")]).unwrap();
    let weir = weir_with_small_batches();
    let mut broker = Client::connect(KAFKA.bootstrap());
    let mut store = |batch: &[u8]| assert_eq!(produce(&mut broker, "ruled-bombs-out", batch).error, 0);
    store(&plain(&["{}"]));
    Codec::ALL.iter().for_each(|codec| store(&codec.bomb(48 << 20)));
    store(&plain(&["{}", "{}"]));
    weir.lives();
    let before = weir.usage().rss_bytes;

    let (mut client, mut next, mut batches) = (weir.open(), 0, Vec::new());
    while next < 7 {
        let answer = client.call(FETCH, 11, &fetch_body("ruled-bombs-out", 0, next, 1000)).unwrap();
        let (error, _, bytes) = fetched(&answer);
        assert_eq!(error, 0);
        assert!(bytes.len() < 1 << 20, "{} bytes came", bytes.len());
        let found = batch::batches(&bytes);
        next = found.last().unwrap().1 + 1;
        batches.extend(found);
    }
    assert_eq!(
        batches,
        [(0, 0, 1), (1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 4, 0), (5, 6, 2)],
        "first and last offset, records"
    );
    let fault = format!("unreadable: the records need more than {BOMB_MAX} bytes");
    weir.logs(&[("event", "records.refused"), ("api", "Fetch"), ("topic", "ruled-bombs-out"), ("rule", &fault)]);
    let withheld =
        weir.entries(&["--topic", "ruled-bombs-out"]).into_iter().filter(|entry| entry["decision"] == "withheld");
    assert!(withheld.count() > 0, "the log says that something was withheld");
    let grown = weir.usage().rss_bytes_max.saturating_sub(before);
    assert!(grown < 64 << 20, "the process grew by {grown} bytes");
    weir.lives();
}

/// The last number that each limit takes, and the first that it does not.
#[test]
fn limits_on_a_batch_hold_at_their_edge() {
    topic("ruled-edges", 1);
    let weir = Weir::start(|yaml| {
        let limits = ["batch_bytes_max: 1KiB", "records_per_batch_max: 3", "headers_per_record_max: 2"];
        limits.iter().fold(yaml, |yaml, line| yaml.section("limits", line))
    });
    let check = |batch: &[u8], fault: &str| check(&weir, "ruled-edges", batch, fault);
    let good = |batch: &[u8]| assert_eq!(produce(&mut weir.open(), "ruled-edges", batch).error, 0);
    good(&plain(&["{}"; 3]));
    check(&plain(&["{}"; 4]), "the batch has 4 records, more than 3");
    let with_headers = |headers: usize| lie(|record| record.headers = headers);
    good(&with_headers(2));
    check(&with_headers(3), "record 0 has 3 headers, more than 2");
    let of_size = |bytes: usize| {
        let record = |spaces: usize| Record::new(0, format!("{{}}{}", " ".repeat(spaces)).as_bytes()).encode();
        let spaces = (0..bytes).find(|spaces| record(*spaces).len() == bytes).unwrap();
        record(spaces)
    };
    for codec in [None, Some(Codec::Zstd)] {
        let sealed = |plain: &[u8]| match codec {
            None => Header::of(1).seal(plain),
            Some(codec) => Header::of(1).codec(codec).seal(&codec.compress(plain)),
        };
        good(&sealed(&of_size(1024)));
        check(&sealed(&of_size(1025)), "the records need more than 1024 bytes");
    }
}
