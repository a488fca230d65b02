//! The spans that are selected.

use std::collections::BTreeSet;
use std::ops::Range;

use proptest::prelude::*;
use weir_policy::json::{self, FieldId, FieldTrie, JsonError, JsonKind, Kind, Path, Scratch, Selected, Share};

use super::documents::{Step, document, path, spell};
use super::oracle;

pub(crate) fn trie(paths: &[&str]) -> FieldTrie {
    let fields: Vec<(FieldId, Path)> =
        (0..).map(FieldId).zip(paths.iter().map(|path| Path::parse(path).unwrap())).collect();
    FieldTrie::build(&fields)
}

pub(crate) fn select(doc: &[u8], trie: &FieldTrie, scratch: &mut Scratch) -> Result<Vec<Selected>, JsonError> {
    let mut found = Vec::new();
    json::select(doc, trie, 127, scratch, &mut |selected| found.push(selected))?;
    Ok(found)
}

/// Expected: each report as `field:text`, with `+` in front of one that shares its span with the report before it.
fn check(doc: &str, paths: &[&str], expected: &[&str]) {
    let found = select(doc.as_bytes(), &trie(paths), &mut Scratch::default()).unwrap();
    let shown: Vec<String> = found
        .iter()
        .map(|selected| {
            let further = if selected.share == Share::Further { "+" } else { "" };
            format!("{further}{}:{}", selected.field.0, &doc[selected.span.clone()])
        })
        .collect();
    assert_eq!(shown, expected, "{paths:?} in {doc}");
}

#[test]
fn finds_members_elements_and_descendants() {
    let doc = r#"{"a":{"b":1,"c":[10,{"b":"x"},[20]]},"b":null}"#;
    check(doc, &["$.a.b"], &["0:1"]);
    check(doc, &["$.b"], &["0:null"]);
    check(doc, &["$.a.c[0]"], &["0:10"]);
    check(doc, &["$.a.c[3]"], &[]);
    check(doc, &["$.a.c[*]"], &["0:10", "0:{\"b\":\"x\"}", "0:[20]"]);
    check(doc, &["$.a.c[1].b"], &["0:\"x\""]);
    check(doc, &["$.a.c[*].b"], &["0:\"x\""]);
    check(doc, &["$.a.c[2][0]"], &["0:20"]);
    check(doc, &["$..b"], &["0:1", "0:\"x\"", "0:null"]);
    check(doc, &["$..c..b"], &["0:\"x\""]);
    check(doc, &["$..[0]"], &["0:10", "0:20"]);
    check(doc, &["$.*.b"], &["0:1"]);
    check(doc, &["$"], &[&format!("0:{doc}")]);
    check(doc, &["$.a.c", "$.b"], &["0:[10,{\"b\":\"x\"},[20]]", "1:null"]);
    check(doc, &["$[0]", "$.a[0]", "$.a.c.b"], &[]);
    check(doc, &[], &[]);
}

#[test]
fn selects_scalars_at_the_root() {
    check(" 12 ", &["$"], &["0:12"]);
    check("\"x\"", &["$", "$..a"], &["0:\"x\""]);
    check("[[]]", &["$[*]"], &["0:[]"]);
}

#[test]
fn compares_names_decoded() {
    check(
        r#"{"em\u0061il":1,"\u0065mail":2,"email":3,"Email":4,"emai":5,"email2":6}"#,
        &["$.email"],
        &["0:1", "0:2", "0:3"],
    );
    check(r#"{"\n":1,"\u000a":2}"#, &[r"$['\n']"], &["0:1", "0:2"]);
    check(r#"{"":1}"#, &["$['']"], &["0:1"]);
    check(r#"{"123456789":1,"12345678":2,"123456780":3,"12345678\u0039":4}"#, &["$['123456789']"], &["0:1", "0:4"]);
    check(r#"{"a\u0000":1,"a":2}"#, &[r"$['a\u0000']"], &["0:1"]);
    check(r#"{"a\u0000":1,"a":2}"#, &["$.a"], &["0:2"]);
    check("{\"ключ\":1}", &["$.ключ"], &["0:1"]);
}

#[test]
fn selects_every_duplicate() {
    check(r#"{"a":1,"a":[2],"a":{"a":3}}"#, &["$.a"], &["0:1", "0:[2]", "0:{\"a\":3}"]);
}

#[test]
fn reports_the_outer_of_nested_spans_once() {
    check(r#"{"a":{"a":{"a":1}},"b":[{"a":2}]}"#, &["$..a"], &["0:{\"a\":{\"a\":1}}", "0:2"]);
    check(r#"[[1,[2]],3]"#, &["$..[*]"], &["0:[1,[2]]", "0:3"]);
}

#[test]
fn reports_all_fields_that_meet_on_one_span() {
    check(r#"{"a":{"b":1},"c":2}"#, &["$.a.b", "$..b", "$.c"], &["0:1", "+1:1", "2:2"]);
    check(r#"{"a":{"b":1},"c":2}"#, &["$.a.b", "$.a", "$.c"], &["1:{\"b\":1}", "+0:{\"b\":1}", "2:2"]);
    check(r#"{"a":{"b":1,"b":1}}"#, &["$", "$..b"], &["0:{\"a\":{\"b\":1,\"b\":1}}", "+1:{\"a\":{\"b\":1,\"b\":1}}"]);
    check("7", &["$", "$"], &["0:7", "+1:7"]);
}

#[test]
fn one_field_with_several_paths_does_not_meet_itself() {
    let path = |text| (FieldId(4), Path::parse(text).unwrap());
    let trie = FieldTrie::build(&[path("$.a.b"), path("$..b"), path("$.a")]);
    let found = select(br#"{"a":{"b":1}}"#, &trie, &mut Scratch::default()).unwrap();
    assert_eq!(
        found,
        [Selected {
            span: 5..12,
            field: FieldId(4),
            kind: Kind::Json(JsonKind::Object),
            share: Share::Alone,
            depth: 1
        }]
    );
}

#[test]
fn says_what_kind_each_value_is() {
    let found = select(br#"[{},[],"",-1,true,false,null]"#, &trie(&["$[*]"]), &mut Scratch::default()).unwrap();
    let kinds: Vec<Kind> = found.iter().map(|selected| selected.kind).collect();
    use JsonKind::{Array, Bool, Null, Number, Object, String};
    assert_eq!(kinds, [Object, Array, String, Number, Bool, Bool, Null].map(Kind::Json));
}

#[test]
fn serves_more_segments_than_a_word_has_bits() {
    let names: Vec<String> = (0..200).map(|n| format!("$.n{n}['a b'].c[*].d")).collect();
    let paths: Vec<&str> = names.iter().map(String::as_str).collect();
    let doc: Vec<String> =
        (0..200).map(|n| format!("\"n{n}\":{{\"a b\":{{\"c\":[{{\"d\":{n}}},{{\"e\":0}}]}}}}")).collect();
    let doc = format!("{{{}}}", doc.join(","));
    let expected: Vec<String> = (0..200).map(|n| format!("{n}:{n}")).collect();
    check(&doc, &paths, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    let long = format!("${}", ".a".repeat(64));
    let doc = format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64));
    check(&doc, &["$.b", &long, "$.c", &long], &["1:1", "+3:1"]);
}

#[test]
fn limits_the_depth_without_recursion() {
    let deep = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    assert_eq!(json::check(&deep(5), 5), Ok(()));
    assert_eq!(json::check(&deep(6), 5), Err(JsonError::TooDeep { depth_max: 5, at: 5 }));
    assert_eq!(json::check(b"1", 0), Ok(()));
    assert_eq!(json::check(b"[]", 0), Err(JsonError::TooDeep { depth_max: 0, at: 0 }));
    assert_eq!(json::check(&deep(1_000_000), usize::MAX), Ok(()));
    let open = b"{\"a\":".repeat(1_000_000);
    assert_eq!(json::check(&open, usize::MAX), Err(JsonError::Malformed { at: open.len() }));
}

/// What is reported, one entry per span, having checked that the reports are in order.
fn grouped(found: &[Selected]) -> Vec<(Range<usize>, BTreeSet<u16>)> {
    let mut groups: Vec<(Range<usize>, BTreeSet<u16>)> = Vec::new();
    for (place, selected) in found.iter().enumerate() {
        let next = found.get(place + 1).map(|next| next.share);
        match selected.share {
            Share::Alone => assert_ne!(next, Some(Share::Further)),
            Share::First => assert_eq!(next, Some(Share::Further)),
            Share::Further => {
                let (span, fields) = groups.last_mut().unwrap();
                assert_eq!(*span, selected.span);
                assert!(fields.insert(selected.field.0));
                continue;
            }
        }
        assert!(groups.last().is_none_or(|(span, _)| span.end <= selected.span.start));
        groups.push((selected.span.clone(), BTreeSet::from([selected.field.0])));
    }
    groups
}

fn check_against_oracle(doc: &str, paths: &[Vec<Step>], scratch: &mut Scratch) -> usize {
    let spelled: Vec<String> = paths.iter().map(|path| spell(path)).collect();
    let trie = trie(&spelled.iter().map(String::as_str).collect::<Vec<_>>());
    let Ok(found) = select(doc.as_bytes(), &trie, scratch) else {
        assert!(serde_json::from_str::<serde_json::Value>(doc).is_err());
        return 0;
    };
    assert_eq!(grouped(&found), oracle::selected(&oracle::tree(doc), paths), "{spelled:?} in {doc}");
    found.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn selects_what_the_naive_model_selects(
        docs in prop::collection::vec(document(), 1..4),
        paths in prop::collection::vec(path(), 0..6),
    ) {
        let mut scratch = Scratch::default();
        for doc in &docs {
            check_against_oracle(doc, &paths, &mut scratch);
        }
    }
}

/// The negative control of the property above: with documents and paths of these kinds, it compares real selections,
/// and a model that knows no descendants would differ.
#[test]
fn the_property_has_something_to_compare() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut scratch = Scratch::default();
    let (mut found, mut told_apart) = (0, 0);
    for _ in 0..256 {
        let doc = document().new_tree(&mut runner).unwrap().current();
        let paths = prop::collection::vec(path(), 0..6).new_tree(&mut runner).unwrap().current();
        if serde_json::from_str::<serde_json::Value>(&doc).is_err() {
            continue;
        }
        found += check_against_oracle(&doc, &paths, &mut scratch);
        let mut flat = paths.clone();
        flat.iter_mut().flatten().for_each(|step| step.descendant = false);
        let tree = oracle::tree(&doc);
        told_apart += usize::from(oracle::selected(&tree, &flat) != oracle::selected(&tree, &paths));
    }
    assert!(found > 200 && told_apart > 10, "{found} found, {told_apart} told apart");
}
