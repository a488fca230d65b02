//! The record path allocates nothing per record once its memory has found its size.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir_policy::{Direction, Key, KeyRing, KeyUse, PolicyLimits, PolicySet, Scratch, Source, Subject};
use weir_protocol::records::{Edits, Headers, Inspect, RecordView, Verdict};
use weir_yaml::Problems;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test only: what other threads allocate would count.
#[test]
fn records_allocate_nothing_in_the_steady_state() {
    let key = |id: &str| Key { id: id.to_owned(), use_: KeyUse::Hash, secret: [7; 32], retired: false };
    let keys = KeyRing::new(vec![key("links-2026"), key("other")]);
    let sources = [Source { name: "p.yaml".to_owned(), text: RULES.to_owned() }];
    let mut problems = Problems::default();
    let policy = PolicySet::compile(&sources, &keys, &PolicyLimits::default(), &mut problems).unwrap();
    let set = policy.rules(&Subject { id: "svc", groups: &[] }, "t", Direction::Produce).unwrap();
    let headers = *b"\x02h\x0avalue\x02i\x01";
    let value = br#"{"card":{"number":"4111"},"email":"a@example.com","to":[{"email":"b\u0040c"}],"note":"n","n":1}"#;
    let view =
        RecordView { index: 0, key: Some(b"key"), value: Some(value), headers: Headers::read(&headers, 2).unwrap() };
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let mut inspector = set.inspector(&mut scratch);
    for _ in 0..3 {
        assert_eq!(inspector.record(&view, &mut edits), Verdict::Keep);
        assert_eq!(edits.iter().count(), 6);
        edits.clear();
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..100 {
        assert_eq!(inspector.record(&view, &mut edits), Verdict::Keep);
        edits.clear();
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));

    // The control: the same measure sees one allocation.
    let region = Region::new(ALLOCATOR);
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert_eq!(region.change().allocations, 1);
}

const RULES: &str = "
rules:
  - name: all-of-it
    match: { topics: [t], direction: produce }
    fields:
      - { path: $.card.number, transform: { mask: { keep_last: 4 } } }
      - { path: $..email, transform: { hash: { key: links-2026 } } }
      - { path: $.note, transform: redact }
      - { header: h, transform: redact }
      - { key: true, transform: { hash: { key: other } } }
  - name: failures
    match: { topics: [t], direction: produce }
    action: refuse
    fields: [ { path: $.pin } ]
";
