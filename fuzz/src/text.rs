//! Policies and the YAML that they are written in.

use weir_policy::{Direction, KeyRing, PolicyLimits, PolicySet, Source, Subject};
use weir_yaml::Problems;

/// A policy that compiles has an answer for everybody. `text`
pub(crate) fn policy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut problems = Problems::default();
    let documents = weir_yaml::parse("fuzz.yaml", text, &mut problems);
    let is_yaml = problems.errors() == 0;
    assert!(is_yaml || !problems.to_string().is_empty());
    drop(documents);

    let mut problems = Problems::default();
    let source = Source { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let compiled = PolicySet::compile(&[source], &KeyRing::default(), &PolicyLimits::default(), &mut problems);
    assert_eq!(compiled.is_none(), problems.errors() > 0, "a policy compiles or says why not");
    let Some(policy) = compiled else { return false };
    assert!(is_yaml);
    let groups = ["staff".to_owned()];
    let subject = Subject { id: "svc", groups: &groups };
    for direction in [Direction::Produce, Direction::Consume] {
        drop(policy.rules(&subject, "orders", direction));
    }
    drop(policy.access(&subject));
    true
}
