//! The policies of the demonstration are clean and pass their own tests.

use std::fs;
use std::path::Path;

use weir_policy::{KeyRing, PolicyLimits, PolicySet, Source};
use weir_yaml::Problems;

/// Compiles a policy without an error or a warning and runs its tests; returns how many there are.
fn check(name: &str) -> usize {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)).unwrap();
    let (keys, mut problems) = (KeyRing::new(Vec::new()), Problems::default());
    let sources = [Source { name: name.to_owned(), text }];
    let set = PolicySet::compile(&sources, &keys, &PolicyLimits::default(), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    let outcomes = set.unwrap().run_tests();
    for test in &outcomes {
        assert!(test.passed, "{}: {}", test.name, test.detail);
    }
    outcomes.len()
}

#[test]
fn payments_passes_its_tests() {
    assert_eq!(check("payments.yaml"), 3);
}

#[test]
fn none_is_clean_and_has_nothing_to_test() {
    assert_eq!(check("none.yaml"), 0);
}
