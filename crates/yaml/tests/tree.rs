//! What the tree holds, where its parts are, and what is refused.

use proptest::prelude::*;
use weir_yaml::{DEPTH_MAX, MapReader, Node, Problems, TEXT_BYTES_MAX, Value, parse};

/// Parses, and compares the problems (without counts), one string each.
fn check_problems(text: &str, expected: &[&str]) -> Vec<Node> {
    let mut problems = Problems::default();
    let documents = parse("t.yaml", text, &mut problems);
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let shown: String = text.chars().take(200).collect();
    assert_eq!(found, expected, "{shown}");
    documents
}

/// The tree with places, in a short notation: `1:1{a@1:1=1:4 text}`.
fn show(node: &Node) -> String {
    let place = format!("{}:{}", node.place.line, node.place.column);
    match &node.value {
        Value::Null => format!("{place} null"),
        Value::Bool(value) => format!("{place} {value}"),
        Value::Int(value) => format!("{place} {value}"),
        Value::Float(value) => format!("{place} {value:?}"),
        Value::String(text) => format!("{place} {text:?}"),
        Value::List(items) => format!("{place}[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let shown = entries.iter().map(|entry| {
                format!("{}@{}:{}={}", entry.key, entry.key_place.line, entry.key_place.column, show(&entry.value))
            });
            format!("{place}{{{}}}", shown.collect::<Vec<_>>().join(", "))
        }
    }
}

fn check_tree(text: &str, expected: &[&str]) {
    let documents = check_problems(text, &[]);
    assert_eq!(documents.iter().map(show).collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn keys_and_values_know_where_they_start() {
    check_tree("a: x\nbc:\n  - 1\n  - d: y\n", &[r#"1:1{a@1:1=1:4 "x", bc@2:1=3:3[3:5 1, 4:5{d@4:5=4:8 "y"}]}"#]);
    check_tree("# comment\n{ a: { b: [ü, 'x'] } } # more", &[r#"2:1{a@2:3=2:6{b@2:8=2:11[2:12 "ü", 2:15 "x"]}}"#]);
    check_tree(
        "issuers:\n  - issuer: x\n    jwks: y\n",
        &[r#"1:1{issuers@1:1=2:3[2:5{issuer@2:5=2:13 "x", jwks@3:5=3:11 "y"}]}"#],
    );
}

#[test]
fn columns_count_characters_and_crlf_is_one_line_end() {
    check_tree("ä: ö\r\nb: c\r\n", &[r#"1:1{ä@1:1=1:4 "ö", b@2:1=2:4 "c"}"#]);
}

#[test]
fn each_document_is_a_node_and_empty_ones_are_left_out() {
    check_tree("---\na: 1\n---\n- 2\n---\n", &["2:1{a@2:1=2:4 1}", "4:1[4:3 2]"]);
    check_tree("# nothing\n", &[]);
    check_tree("", &[]);
}

#[test]
fn scalars_follow_the_core_schema() {
    let check = |scalar: &str, expected: &str| check_tree(scalar, &[&format!("1:1 {expected}")]);
    check("true", "true");
    check("no", r#""no""#);
    check("on", r#""on""#);
    check("'true'", r#""true""#);
    check("12", "12");
    check("-0x1", r#""-0x1""#);
    check("0x1F", "31");
    check("0o17", "15");
    check("1e3", "1000.0");
    check(".5", "0.5");
    check("-.inf", "-inf");
    check("inf", r#""inf""#);
    check("nan", r#""nan""#);
    check(".", r#"".""#);
    check("1.2.3.4", r#""1.2.3.4""#);
    check("10m", r#""10m""#);
    check("4111111111111111", "4111111111111111");
    check("2026-01-01", r#""2026-01-01""#);
}

#[test]
fn a_key_is_text_whatever_it_looks_like() {
    check_tree("{1: a, true: b, 'x y': c}", &[r#"1:1{1@1:2=1:5 "a", true@1:8=1:14 "b", x y@1:17=1:24 "c"}"#]);
}

#[test]
fn a_number_that_does_not_fit_is_refused() {
    check_problems(
        "a: 9223372036854775808",
        &["error: the number does not fit 64 bits\n  t.yaml:1:4       put it in quotes"],
    );
}

#[test]
fn duplicate_keys_are_refused_and_the_first_is_kept() {
    let documents = check_problems(
        "a: 1\nb: 2\na: 3\n",
        &["error: `a` appears twice in one mapping\n  t.yaml:3:1       the first is in line 1"],
    );
    assert_eq!(documents.iter().map(show).collect::<Vec<_>>(), ["1:1{a@1:1=1:4 1, b@2:1=2:4 2}"]);
    check_problems("- {a: 1}\n- {a: 2}\n", &[]);
}

#[test]
fn anchors_aliases_and_tags_are_refused_where_they_are() {
    check_problems(
        "a: &x 1\nb: *x\nc: !!str 2\nd: *missing\n",
        &[
            "error: anchors are not supported\n  t.yaml:1:7       write the value out where it is needed",
            "error: aliases are not supported\n  t.yaml:2:4       write the value out",
            "error: tags are not supported\n  t.yaml:3:10      remove it; use quotes to make text of a number",
            "error: aliases are not supported\n  t.yaml:4:4       write the value out",
        ],
    );
}

#[test]
fn an_alias_bomb_stays_small() {
    let mut text = String::from("a0: &a0 [x, x]\n");
    for level in 1..40 {
        let before = level - 1;
        text.push_str(&format!("a{level}: &a{level} [*a{before}, *a{before}]\n"));
    }
    let mut problems = Problems::default();
    let documents = parse("t.yaml", &text, &mut problems);
    assert!(problems.errors() >= 100);
    assert!(documents.is_empty(), "reading ends after a hundred problems");
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    check_problems(&nested(DEPTH_MAX), &[]);
    check_problems(&nested(DEPTH_MAX + 1), &["error: nested deeper than 64\n  t.yaml:1:65"]);
    check_problems(&"[".repeat(200_000), &["error: nested deeper than 64\n  t.yaml:1:256"]);
    check_problems(&"- ".repeat(200_000), &["error: nested deeper than 64\n  t.yaml:1:129"]);
}

#[test]
fn a_file_over_a_mebibyte_is_refused() {
    check_problems(&" ".repeat(TEXT_BYTES_MAX), &[]);
    check_problems(
        &" ".repeat(TEXT_BYTES_MAX + 1),
        &["error: the file is larger than 1048576 bytes\n  t.yaml:1:1       split it"],
    );
}

#[test]
fn a_key_must_be_a_word() {
    check_problems("? [a, b]\n: c\n", &["error: a key must be a word, not a list or a mapping\n  t.yaml:1:3"]);
}

#[test]
fn syntax_errors_and_directives_have_a_place() {
    check_problems("a: [1, 2\nb: 3\n", &["error: not valid YAML: illegal placement of ':' indicator\n  t.yaml:2:2"]);
    check_problems("a: 'x\n", &["error: not valid YAML: unclosed quote\n  t.yaml:1:4"]);
    check_problems("%TAG ! x\n---\na: 1\n", &["error: not valid YAML: YAML directives are disallowed\n  t.yaml:1:1"]);
}

#[test]
fn unknown_keys_are_reported_with_the_nearest_known_one() {
    let mut problems = Problems::default();
    let documents = parse("t.yaml", "issuer: x\naudiance: [a]\nzzz: 1\n", &mut problems);
    let mut map = MapReader::new(&documents[0], "an issuer", &mut problems).unwrap();
    assert_eq!(map.take("issuer").and_then(|node| node.as_str("issuer", &mut problems)), Some("x"));
    assert!(map.required("audience", "add  audience: [kafka]", &mut problems).is_none());
    map.finish(&mut problems);
    assert_eq!(
        problems.to_string(),
        "error: `audience` is required\n  t.yaml:1:1       add  audience: [kafka]\n\
         error: unknown key `audiance`\n  t.yaml:2:1       did you mean `audience`?\n\
         error: unknown key `zzz`\n  t.yaml:3:1\n\n3 errors\n"
    );
}

#[test]
fn typed_readers_say_what_they_expected() {
    let text = "a: 5\nb: [x, 7]\nc: text\nd: 30\ne: 10 s\nf: 64KB\ng: 12\nh: 99999d\ni: {}\nj:\n";
    let mut problems = Problems::default();
    let documents = parse("t.yaml", text, &mut problems);
    let mut map = MapReader::new(&documents[0], "it", &mut problems).unwrap();
    let mut at = |key: &str| map.take(key).unwrap();
    let p = &mut problems;
    assert_eq!(at("a").as_str("a", p), None);
    assert_eq!(at("b").str_list("b", p), None);
    assert_eq!(at("c").str_list("c", p), None);
    assert_eq!(at("c").as_bool("c", p), None);
    assert_eq!(at("d").as_duration("d", p), None);
    assert_eq!(at("e").as_duration("e", p), None);
    assert_eq!(at("f").as_size("f", p), None);
    assert_eq!(at("g").as_u64("g", 1..=10, p), None);
    assert_eq!(at("g").as_u64("g", 13..=u64::MAX, p), None);
    assert_eq!(at("h").as_duration("h", p), None);
    assert_eq!(at("i").as_str("i", p), None);
    assert_eq!(at("j").as_size("j", p), None);
    assert!(MapReader::new(at("b"), "b", p).is_none());
    assert_eq!(
        problems.to_string(),
        "error: `a` must be text, not a number\n  t.yaml:1:4       put it in quotes\n\
         error: `b` must be text, not a number\n  t.yaml:2:8       put it in quotes\n\
         error: `c` must be a list, not text\n  t.yaml:3:4       put it in brackets:  c: [ … ]\n\
         error: `c` must be true or false, not text\n  t.yaml:3:4\n\
         error: `d` is 30 without a unit\n  t.yaml:4:4       add a unit, as in 250ms, 10s, 5m, 1h or 1d\n\
         error: `e` is not a duration\n  t.yaml:5:4       add a unit, as in 250ms, 10s, 5m, 1h or 1d\n\
         error: `f` is not a size\n  t.yaml:6:4       add a unit, as in 512B, 64KiB, 4MiB or 2GiB\n\
         error: `g` is 12, it must be between 1 and 10\n  t.yaml:7:4\n\
         error: `g` is 12, it must be at least 13\n  t.yaml:7:4\n\
         error: `h` is too large\n  t.yaml:8:4       the longest is 3650d\n\
         error: `i` must be text, not a mapping\n  t.yaml:9:4\n\
         error: `j` must be a size, not empty\n  t.yaml:10:2\n\
         error: `b` must be a mapping, not a list\n  t.yaml:2:4\n\n13 errors\n"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the text, reading it ends, and places lie in it.
    #[test]
    fn any_text_is_read_without_panic(text in "[a-c0:{}\\[\\],&*!|>'\"#%@?\\-\n\r\t ~.\u{feff}ü]{0,200}") {
        let mut problems = Problems::default();
        let documents = parse("t.yaml", &text, &mut problems);
        // Every kind of line end that YAML knows, counted generously.
        let lines = text.chars().filter(|c| matches!(c, '\n' | '\r')).count() + 1;
        for place in problems.iter().filter_map(|problem| problem.place.as_ref()) {
            prop_assert!(place.line >= 1 && place.column >= 1);
            prop_assert!((place.line as usize) <= lines + 1);
        }
        for document in &documents {
            prop_assert!(depth(document) <= DEPTH_MAX + 1);
        }
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => 1,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
    }
}
