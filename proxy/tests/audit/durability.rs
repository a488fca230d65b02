//! `audit.durability`: what each leaves in the log. That replies wait as each says is in `controls_crash.rs`, where the log can be slow.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::KAFKA;
use crate::gateway::{Gateway, Setting, count};

#[path = "../crash_harness/single.rs"]
mod single;

const RECORDS: usize = 5;
const WAIT_MAX: Duration = Duration::from_secs(60);

#[test]
fn each_durability_records_what_was_stored_and_strict_its_intents_too() {
    let topics = "topics: [ { match: [outcome], durability: outcome }, { match: [async], durability: async } ]";
    let mut gateway = Gateway::start(KAFKA.bootstrap(), &Setting { audit: &[topics], ..Setting::default() });
    let producer = single::Single::new(&gateway.bootstrap);
    for topic in ["strict", "outcome", "async"] {
        KAFKA.create_topic(topic, 1).unwrap();
        for _ in 0..RECORDS {
            producer.send(topic);
        }
        assert_eq!(KAFKA.end_offset(topic, 0).unwrap(), i64::try_from(RECORDS).unwrap());
    }
    let waiting = Instant::now();
    let entries = loop {
        let entries = gateway.entries();
        // Nobody waited for those of `async`.
        if stored(&entries, "async").count() == RECORDS {
            break entries;
        }
        assert!(waiting.elapsed() < WAIT_MAX, "waited in vain: {:?}", count(&entries));
    };
    for (topic, intents) in [("strict", RECORDS), ("outcome", 0), ("async", 0)] {
        let offsets = stored(&entries, topic).map(|entry| entry["parts"][0]["base_offset"].as_i64().unwrap());
        assert_eq!(offsets.collect::<Vec<_>>(), [0, 1, 2, 3, 4], "{topic}");
        let with_intent = stored(&entries, topic).filter(|entry| entry["intent_time"].is_string()).count();
        assert_eq!(with_intent, intents, "{topic}");
        assert!(
            stored(&entries, topic).all(|entry| entry["decision"] == "masked" && entry["rules"][0]["rule"] == "cards")
        );
    }
    assert_eq!(gateway.stop(), 0, "intents that are open after a clean stop");
    assert_eq!(gateway.verify().0, Some(0));
}

fn stored<'a>(entries: &'a [Value], topic: &'a str) -> impl Iterator<Item = &'a Value> {
    entries.iter().filter(move |entry| entry["outcome"] == "stored" && entry["parts"][0]["topic"] == topic)
}
