//! In steady state, selecting and transforming allocate nothing. One test, as the allocator is the whole process's.

use std::alloc::System;
use std::sync::Arc;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir_policy::json::{self, FieldId, FieldTrie, Path, Selected};
use weir_policy::transform::{self, HashKey, Transform};
use weir_protocol::records::{Edits, Field};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn allocates_nothing_once_the_scratch_has_grown() {
    let paths = ["$.card.number", "$..email", "$.items[*].note", "$.whole", "$.amount"];
    let fields: Vec<(FieldId, Path)> = (0..).map(FieldId).zip(paths.map(|path| Path::parse(path).unwrap())).collect();
    let trie = FieldTrie::build(&fields);
    let transforms = [
        Transform::Mask { keep_first: 0, keep_last: 4 },
        Transform::Hash(Arc::new(HashKey::new("k", [1; 32]))),
        Transform::Mask { keep_first: 1, keep_last: 0 },
        Transform::Redact,
        Transform::Redact,
    ];
    let doc = r#"{"card":{"number":"4111111111111111"},"em\u0061il":"jana\u0040example.com","user":{"email":"größe"},
        "items":[{"note":"a\u00e9"},{"note":7.25,"email":"x"}],"whole":{"a":["b",1,{"email":"c"}]},"amount":12}"#
        .as_bytes();

    let mut json_scratch = json::Scratch::default();
    let mut scratch = transform::Scratch::default();
    let mut edits = Edits::default();
    let mut found: Vec<Selected> = Vec::new();
    let mut run = || {
        found.clear();
        edits.clear();
        json::select(doc, &trie, 64, &mut json_scratch, &mut |selected| found.push(selected)).unwrap();
        for selected in &found {
            let transform = &transforms[usize::from(selected.field.0)];
            transform::apply(transform, doc, selected, Field::Value, &mut edits, &mut scratch);
        }
        for transform in &transforms {
            transform::apply_bytes(transform, "größe".as_bytes(), Field::HeaderValue(0), &mut edits, &mut scratch);
        }
        (found.len(), edits.iter().count())
    };
    let allocations = |work: &mut dyn FnMut()| {
        let region = Region::new(ALLOCATOR);
        work();
        region.change().allocations + region.change().reallocations
    };
    // The first run grows the scratch: the control that the counter counts.
    assert!(allocations(&mut || assert_eq!(run(), (9, 15))) > 0);
    let steady = allocations(&mut || {
        for _ in 0..100 {
            run();
        }
    });
    assert_eq!(steady, 0);
}
