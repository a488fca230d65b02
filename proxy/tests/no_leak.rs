//! No canary passes weir: not to the broker's disk, not to a consumer, not into anything that weir writes of itself. What cannot be
//! read is refused or withheld. `controls_leak.rs` runs the same search with the protection switched off.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

#[path = "common/canaries.rs"]
mod canaries;
#[path = "common/leak.rs"]
mod leak;
#[path = "common/librdkafka.rs"]
mod librdkafka;
#[path = "common/segments.rs"]
mod segments;
#[path = "common/stage.rs"]
mod stage;
#[path = "common/unreadable.rs"]
mod unreadable;

use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode;

use canaries::CODECS;
use leak::{READER, STORED, STRICT_IN, STRICT_OUT, VEILED, WRITER};
use librdkafka::{Delivery, Record};
use stage::{Setting, Stage};
use unreadable::{DEPTH_MAX, GOOD, good, mixed, nested, unreadable};

fn shared() -> Arc<Stage> {
    stage::shared(&Setting { policy: &leak::policy(), topics: &leak::TOPICS, env: &[] })
}

#[test]
fn no_canary_passes_in_any_place_codec_or_client() {
    let stage = shared();
    let evidence = leak::gather(&stage);
    let none: [String; 0] = [];

    // Masked on its way in.
    assert_eq!(leak::seen(&evidence.stored, &evidence.disk), none);
    assert_eq!(leak::seen(&evidence.stored, &evidence.disk_of_stored), none);
    assert_eq!(leak::seen(&evidence.stored, &evidence.to_reader), none);
    assert_eq!(leak::seen(&evidence.stored, &evidence.to_entitled), none, "what was masked is gone for everybody");
    // Masked on its way out, for all but the entitled.
    assert_eq!(leak::seen(&evidence.shown, &evidence.to_reader), none);
    assert_eq!(leak::unseen(&evidence.shown, &evidence.to_entitled), none);
    // Never in anything that weir writes.
    leak::check_own_output(&stage, &evidence);

    // The same search finds what is there in clear, so it would have found the others.
    assert_eq!(leak::unseen(&evidence.shown, &evidence.disk), none);
    assert_eq!(leak::unseen(&evidence.shown, &evidence.disk_of_shown), none);
    assert_eq!(evidence.stored.len(), 2 * CODECS.len() * 17);
    assert_eq!(evidence.shown.len(), evidence.stored.len());
    for (source, told) in evidence.weir.iter().zip(["login.ok", "weir_records_changed_total", STORED, STORED]) {
        assert!(source.holds(told), "{} tells of what happened", source.name);
    }
    leak::check_codecs(&stage);
}

#[test]
fn what_cannot_be_read_is_refused_on_produce() {
    let stage = shared();
    let door = stage.door(WRITER);
    for codec in CODECS {
        let settings = [("compression.type", codec), ("linger.ms", "200")];
        for (what, payload) in unreadable() {
            let sent = door.send(&settings, STRICT_IN, &[Record::value(payload)]);
            let refused = [Delivery { number: 0, result: Err(RDKafkaErrorCode::InvalidRecord) }];
            assert_eq!(sent, refused, "{codec}: {what}");
        }
        // In a batch with two of them, the library knows which they were: the others only shared their fate.
        let padded = Record::value(format!(r#"{{"pad":"{}"}}"#, "pad".repeat(200)));
        let batch = [padded, Record::value("no JSON"), good(), Record::value("[")];
        let results: Vec<_> =
            door.send(&settings, STRICT_IN, &batch).iter().map(|sent| sent.result.unwrap_err()).collect();
        let (bad, other) = (RDKafkaErrorCode::InvalidRecord, RDKafkaErrorCode::InvalidDifferentRecord);
        assert_eq!(results, [other, bad, other, bad], "{codec}");
    }
    assert_eq!(stage.kafka.end_offset(STRICT_IN, 0).unwrap(), 0, "nothing of it is on the broker");

    // What is good passes: null too (there is nothing in it), and the deepest that may be.
    let null = Record { key: Some(b"k".to_vec()), ..Record::default() };
    let passed = door.send(&[], STRICT_IN, &[good(), null, Record::value(nested(DEPTH_MAX))]);
    assert!(passed.iter().all(|delivery| delivery.result.is_ok()), "{passed:?}");
    check_java_refusal(&stage);
    assert_eq!(stage.kafka.end_offset(STRICT_IN, 0).unwrap(), 3);
}

/// Java shows the text: it names the rule and an event that the audit log knows.
fn check_java_refusal(stage: &Stage) {
    let refused = stage.console(WRITER).produce(STRICT_IN, &[r#"{"card":{"number":"4111111111111111""#]).unwrap();
    let prefix = r#"weir: rule "strict-in" refused this record (not_json; event "#;
    let told: Vec<&str> = refused.stderr.match_indices(prefix).filter_map(|(at, _)| refused.stderr.get(at..)).collect();
    assert!(!told.is_empty(), "{}", refused.stderr);
    assert!(refused.stderr.contains("InvalidRecordException"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("4111"), "the text does not quote the data");
    let log = leak::audit_query(stage, "ndjson");
    for text in told {
        let event = text.strip_prefix(prefix).and_then(|rest| rest.get(..26)).unwrap();
        let entry =
            log.lines().find(|line| line.contains(event)).unwrap_or_else(|| panic!("{event} is not in the log"));
        assert!(entry.contains("strict-in") && entry.contains(r#""decision":"refused""#), "{entry}");
    }
}

#[test]
fn what_cannot_be_read_is_withheld_on_fetch_and_its_neighbours_arrive() {
    let stage = shared();
    let (sent, bad) = (mixed(), unreadable().len());
    for topic in [STRICT_OUT, VEILED] {
        for codec in CODECS {
            let settings = [("compression.type", codec), ("linger.ms", "500")];
            let stored = stage.back_door().send(&settings, topic, &sent);
            assert!(stored.iter().all(|delivery| delivery.result.is_ok()), "{codec}: {stored:?}");
        }
        leak::check_batches(&stage, topic, &CODECS, sent.len());
    }
    let masked = GOOD.replace("4222222222222222", "****************");
    let offsets = |wanted: fn(usize) -> bool| -> Vec<i64> {
        let all = 0..CODECS.len() * sent.len();
        all.filter(|offset| wanted(offset % (2 * unreadable().len() + 1)))
            .map(|offset| offset.try_into().unwrap())
            .collect()
    };

    // Every second one is good.
    let strict = stage.door(READER).read("strict", STRICT_OUT, 1);
    assert_eq!(strict.iter().map(|record| record.offset).collect::<Vec<_>>(), offsets(|at| at % 2 == 0));
    assert!(strict.iter().all(|record| record.text() == masked));
    let java = leak::consume_in_java(&stage.console(READER), STRICT_OUT, strict.len());
    assert_eq!(java.lines().filter(|line| line.ends_with(&masked)).count(), strict.len(), "{java}");
    assert_eq!(java.lines().count(), strict.len(), "{java}");

    // With `on_failure: redact` each offset arrives, with the placeholder where the value cannot be shown.
    let veiled = stage.door(READER).read("veiled", VEILED, 1);
    assert_eq!(veiled.iter().map(|record| record.offset).collect::<Vec<_>>(), offsets(|_| true));
    for record in &veiled {
        let is_good = usize::try_from(record.offset).unwrap() % sent.len() % 2 == 0;
        assert_eq!(
            record.text(),
            if is_good { masked.as_str() } else { r#""[redacted]""# },
            "offset {}",
            record.offset
        );
    }

    // It is in the log and counted.
    let log = leak::audit_query(&stage, "ndjson");
    let withheld = log.lines().filter(|line| line.contains(r#""decision":"withheld""#) && line.contains(STRICT_OUT));
    assert!(withheld.clone().count() >= 2 && withheld.clone().all(|line| line.contains("strict-out")));
    let counted = leak::metrics(&stage);
    let counted = counted.lines().find_map(|line| line.strip_prefix(r#"weir_records_refused_total{api="Fetch"} "#));
    // By both clients.
    assert!(counted.unwrap().parse::<usize>().unwrap() >= 2 * CODECS.len() * bad, "{counted:?}");
}
