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
    let headers = *b"\x02h\x0avalue\x02i\x01\x02c\x10{\"a\":12}";
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    for (topic, value, expected) in VALUES {
        let set = policy.rules(&Subject { id: "svc", groups: &[] }, topic, Direction::Produce).unwrap();
        let view = RecordView {
            index: 0,
            key: Some(b"{\"id\":\"key\"}"),
            value: Some(value.as_bytes()),
            headers: Headers::read(&headers, 3).unwrap(),
        };
        let mut inspector = set.inspector(&mut scratch);
        for _ in 0..3 {
            assert_eq!(inspector.record(&view, &mut edits), Verdict::Keep, "{topic}");
            assert_eq!(edits.iter().count(), *expected, "{topic}");
            edits.clear();
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..100 {
            assert_eq!(inspector.record(&view, &mut edits), Verdict::Keep);
            edits.clear();
        }
        let change = region.change();
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{topic}");
    }

    // The control: the same measure sees one allocation.
    let region = Region::new(ALLOCATOR);
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert_eq!(region.change().allocations, 1);
}

/// Topic, value, and how many edits of the record there are.
const VALUES: &[(&str, &str, usize)] = &[
    ("t", r#"{"card":{"number":"4111"},"email":"a@example.com","to":[{"email":"b\u0040c"}],"note":"n","n":1}"#, 6),
    ("inside", r#"{"p":"{\"q\":\"{\\\"ssn\\\":\\\"12\u00334\\\"}\",\"a\":[1,\"x\"]}","v":"x"}"#, 6),
    ("lines", "{\"a\":\"1234\"}\n\n{\"a\":[1,2]}\r\n", 3),
    ("table", "1,\"a \"\"b\"\"\",x\n2,c,y\n", 2),
    ("text", "user=ada,email=x user=\"a b\" email=größe", 3),
    ("mixed", "1,user=ada\n2,user=bob", 4),
    ("unread", "no json", 1),
];

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
  - name: inside
    match: { topics: [inside], direction: produce }
    fields:
      - { path: '$.p|json|$.q|json|$.ssn', transform: { hash: { key: other } } }
      - { path: '$..p|json|$.a', transform: redact }
      - { path: $.v, transform: redact }
      - { header: c, path: $.a, transform: redact }
      - { key: true, path: $.id, transform: { hash: { key: other } } }
  - name: lines
    match: { topics: [lines], direction: produce }
    format: ndjson
    fields: [ { path: $.a, transform: { hash: { key: other } } } ]
  - name: table
    match: { topics: [table], direction: produce }
    format: csv
    fields: [ { column: 1, transform: { hash: { key: other } } } ]
  - name: text
    match: { topics: [text, mixed], direction: produce }
    format: text
    fields: [ { pair: user, transform: mask }, { pair: email, transform: mask } ]
  - name: mixed
    match: { topics: [mixed], direction: produce }
    format: csv
    fields: [ { column: 0, transform: redact } ]
  - name: unread
    match: { topics: [unread], direction: produce }
    fields: [ { path: $.a, transform: redact } ]
    on_failure: redact
";
