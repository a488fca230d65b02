//! The negative control of `no_leak.rs`: with masking switched off, the same search finds every canary, one by one, and what
//! cannot be read passes.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test code")]

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

use leak::{READER, STRICT_IN, STRICT_OUT, WRITER};
use stage::{Setting, Stage};
use unreadable::mixed;

fn shared() -> Arc<Stage> {
    let env = [("WEIR_SABOTAGE", "mask-off")];
    stage::shared(&Setting { policy: &leak::policy(), topics: &leak::TOPICS, env: &env })
}

#[test]
fn without_masking_every_canary_is_found_wherever_it_can_be_seen() {
    let stage = shared();
    let evidence = leak::gather(&stage);
    let none: [String; 0] = [];
    assert_eq!(evidence.stored.len(), 2 * canaries::CODECS.len() * 17);
    assert_eq!(leak::unseen(&evidence.stored, &evidence.disk), none);
    assert_eq!(leak::unseen(&evidence.stored, &evidence.disk_of_stored), none);
    assert_eq!(leak::unseen(&evidence.shown, &evidence.disk_of_shown), none);
    assert_eq!(leak::unseen(&evidence.stored, &evidence.to_reader), none);
    assert_eq!(leak::unseen(&evidence.shown, &evidence.to_reader), none);
    assert_eq!(leak::unseen(&evidence.shown, &evidence.to_entitled), none);
    leak::check_codecs(&stage);
    // Not even then does weir write them down.
    assert_eq!(leak::seen(&evidence.stored, &evidence.weir), none);
    leak::check_own_output(&stage, &evidence);
}

#[test]
fn without_masking_what_cannot_be_read_passes_both_ways() {
    let stage = shared();
    let one_batch = [("linger.ms", "500")];
    let sent = stage.door(WRITER).send(&one_batch, STRICT_IN, &mixed());
    assert!(sent.iter().all(|delivery| delivery.result.is_ok()), "{sent:?}");
    let stored = stage.back_door().send(&one_batch, STRICT_OUT, &mixed());
    assert!(stored.iter().all(|delivery| delivery.result.is_ok()), "{stored:?}");
    for topic in [STRICT_IN, STRICT_OUT] {
        leak::check_batches(&stage, topic, &["none"], mixed().len());
    }
    let read = stage.door(READER).read("strict", STRICT_OUT, 1);
    let values = |records: &[librdkafka::Record]| records.iter().map(|record| record.value.clone()).collect::<Vec<_>>();
    assert_eq!(values(&read), values(&mixed()));
}
