//! Every mistake is found, with its place, and all of them at once.

use crate::support::compile_all;

/// Compiles the policy; each problem is shown as `line:column message | cure`, warnings with `warning:` before them.
fn problems(text: &str) -> Vec<String> {
    let (_, problems) = compile_all(&[text]);
    let shown = |problem: &weir_yaml::Problem| {
        let place = problem.place.as_ref().map(|place| format!("{}:{} ", place.line, place.column)).unwrap_or_default();
        let cure = problem.cure.as_ref().map(|cure| format!(" | {cure}")).unwrap_or_default();
        let severity = if problem.severity == weir_yaml::Severity::Warning { "warning: " } else { "" };
        format!("{severity}{place}{}{cure}", problem.message)
    };
    problems.iter().map(shown).collect()
}

/// The policy has exactly these problems, each recognised by a part of it.
fn check(text: &str, expected: &[&str]) {
    let found = problems(text);
    let as_expected =
        found.len() == expected.len() && found.iter().zip(expected).all(|(found, part)| found.contains(part));
    assert!(as_expected, "{text}\nfound    {found:#?}\nexpected {expected:#?}");
}

/// A rule with these lines besides its name and match.
fn rule(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("rules:\n  - name: r\n    match: {{ topics: [t], direction: both }}\n{lines}")
}

fn field(field: &str) -> String {
    rule(&format!("fields:\n  - {field}"))
}

#[test]
fn accepts_what_issue_three_has() {
    let text = r#"
version: 1
access:
  - name: checkout
    principals: { groups: [checkout], users: [svc-1] }
    allow:
      - produce: ["orders", "payments.*", "/logs-[0-9]+/"]
      - consume: ["orders"]
        consumer_groups: ["checkout-*", "my group"]
rules:
  - name: cards
    match: { topics: ["payments.*"], direction: both }
    fields:
      - { path: "$.card.number", transform: { mask: { keep_first: 2, keep_last: 4 } } }
      - { path: "$..email", transform: { hash: { key: links-2026 } } }
      - { path: "$.pin", transform: mask }
      - { header: "x-customer", transform: redact }
      - { key: true, transform: { hash: { key: links-2026 } } }
    on_failure: redact
  - name: block
    match: { topics: ["/payments[.].+/"], direction: produce }
    unless: { principals: { users: [svc-1] } }
    action: refuse
    fields: [ { path: "$.cvc" }, { header: "x" }, { key: true } ]
  - name: opened
    match: { topics: ["orders"], direction: consume }
    inspect: always
tests:
  - name: t
    given:
      topic: payments.eu
      direction: produce
      principal: svc-1
      groups: []
      key: k
      value: { a: 1 }
      headers: { a: b, c: null }
    expect: { decision: masked, value: { a: 1 }, key: k, headers: [ { name: a, value: b }, { name: c } ], rules: [cards] }
"#;
    check(text, &[]);
}

#[test]
fn reports_everything_at_once_with_places() {
    let text = "\
access:
  - name: a
    principal: { groups: [g] }
    allow: [ { produce: [t] } ]
rules:
  - name: r
    match: { topics: [t], direction: sideways }
    fields: [ { path: card, transform: redact } ]
  - match: { topics: [], direction: produce }
    inspekt: always
";
    check(
        text,
        &[
            "2:5 `principals` is required | say for whom",
            "3:5 unknown key `principal` | did you mean `principals`?",
            "7:38 `direction` cannot be `sideways` | it is one of: produce, consume, both",
            "8:23 a path begins with `$`",
            "9:5 `name` is required",
            "9:22 `topics` is empty and matches nothing",
            "10:5 unknown key `inspekt` | did you mean `inspect`?",
        ],
    );
}

#[test]
fn says_what_is_not_supported_yet() {
    for (text, place, word) in [
        ("unmask: []".to_owned(), "1:1", "unmask"),
        (rule("detect: { in: [value] }"), "4:5", "detect"),
        (rule("inspect: always\non_failure: quarantine"), "5:17", "on_failure: quarantine"),
        (rule("action: quarantine\nfields: [ { path: $.a } ]"), "4:13", "action: quarantine"),
        (rule("action: { transform: redact }"), "4:13", "action: transform"),
        (rule("require_approval: []\ninspect: always"), "4:5", "require_approval"),
        (field("{ path: $.a, transform: { token: { key: k } } }"), "5:33", "transform: token"),
        (field("{ path: $.a, transform: { encrypt: { key: k } } }"), "5:33", "transform: encrypt"),
        (field("{ path: $.a, transform: token }"), "5:33", "transform: token"),
        (field("{ avro: a, transform: redact }"), "5:11", "avro"),
    ] {
        let found = problems(&text);
        let expected = format!("{place} `{word}` is not supported yet");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{text}\n{expected}\n{found:#?}");
    }
    let access = "\
access:
  - name: a
    principals: { groups: [g], claims: { x: y } }
    require_approval: [delete_topics]
    allow: [ { operations: [create], topics: [t] }, { produce: [t], transactional_ids: [x] } ]
";
    check(
        access,
        &[
            "3:32 `claims` is not supported yet",
            "4:5 `require_approval` is not supported yet",
            "5:16 `operations` is not supported yet",
            "5:38 `topics` is not supported yet",
            "5:69 `transactional_ids` is not supported yet",
        ],
    );
}

#[test]
fn rejects_access_that_says_nothing() {
    let access = |principals: &str, allow: &str| {
        format!("access:\n  - name: a\n    principals: {principals}\n    allow: {allow}\n")
    };
    let allow = "[ { produce: [t] } ]";
    check(&access("{}", allow), &["3:17 `principals` names nobody"]);
    check(&access("{ groups: [] }", allow), &["`principals` names nobody"]);
    check(&access("{ groups: ['*'] }", allow), &["3:28 `groups` takes names, not patterns"]);
    check(&access("{ groups: [''] }", allow), &["an empty name in `groups`"]);
    check(&access("{ groups: g }", allow), &["`groups` must be a list"]);
    let nobody = "{ groups: [g] }";
    check(&access(nobody, "[]"), &["4:12 `allow` is empty"]);
    check(&access(nobody, "[ {} ]"), &["4:14 an item of `allow` allows nothing"]);
    check(&access(nobody, "[ { produce: [] } ]"), &["4:25 `produce` is empty and matches nothing"]);
    check(&access(nobody, "[ { produce: ['a b'] } ]"), &["`a b` has the character ` `"]);
    check(&access(nobody, "[ { produce: ['/a'] } ]"), &["begins with `/`"]);
    check(&access(nobody, "[ { prodce: [a] } ]"), &["unknown key `prodce` | did you mean `produce`?"]);
    check(&access(nobody, "[ { consume: [a] } ]"), &["warning: 4:25 access entry `a` may consume but use no consumer"]);
    check(
        &format!("{}{}", access(nobody, allow), access(nobody, allow).replace("access:\n", "")),
        &["5:11 access entry `a` exists twice"],
    );
}

#[test]
fn rejects_rules_that_do_nothing_or_not_what_they_say() {
    check(&rule(""), &["2:11 rule `r` does nothing"]);
    check(&rule("fields: []"), &["`fields` of rule `r` is empty"]);
    check(&rule("action: refuse"), &["rule `r` refuses but names no `fields`"]);
    check(
        &rule("action: refuse\nfields: [ { path: $.a, transform: redact } ]"),
        &["`action: refuse` transforms nothing"],
    );
    check(&rule("action: refus\nfields: [ { path: $.a } ]"), &["`action` cannot be `refus` | did you mean `refuse`?"]);
    check(&rule("inspect: sometimes"), &["`inspect` cannot be `sometimes`"]);
    check(&rule("inspect: always\non_failure: redact"), &["warning: 5:17 `on_failure` of rule `r` has no effect"]);
    check(&rule("inspect: always\nunless: { groups: [g] }"), &["`principals` is required", "unknown key `groups`"]);
    check("rules: [ { name: r, inspect: always } ]", &["`match` is required"]);
    check("rules: [ { name: r, match: { topics: [t] }, inspect: always } ]", &["`direction` is required"]);
    let twice = "rules:\n  - &R";
    assert!(!problems(twice).is_empty());
    let two = format!("{}{}", rule("inspect: always"), rule("inspect: always").replace("rules:\n", ""));
    check(&two, &["5:11 rule `r` exists twice | the first is at p.yaml:2:11"]);
    let name = |name: &str| {
        format!("rules: [ {{ name: {name}, match: {{ topics: [t], direction: both }}, inspect: always }} ]")
    };
    for bad in ["''", "\" a\"", "\"a\\nb\"", &"x".repeat(201)] {
        check(&name(bad), &["`name` must be one line of 1 to 200 bytes"]);
    }
    check(&name("7"), &["`name` must be text"]);
}

#[test]
fn rejects_fields_that_are_none() {
    check(&field("{ transform: redact }"), &["5:9 a field names nothing"]);
    check(&field("{ key: true, header: h, transform: redact }"), &["5:9 a field is in one of"]);
    check(
        &field("{ path: $.a, column: 1, transform: redact }"),
        &["5:30 `column` does not fit", "5:9 a field is in one of"],
    );
    check(&field("{ path: $.a }"), &["5:9 `transform` is required"]);
    check(&field("{ path: a.b, transform: redact }"), &["5:17 a path begins with `$`"]);
    check(&field("{ path: '$.a[?(@.b)]', transform: redact }"), &["filters"]);
    check(&field("{ header: '', transform: redact }"), &["`header` is empty"]);
    check(&field("{ header: 'x-*', transform: redact }"), &["`header` takes a name, not a pattern"]);
    check(&field("{ key: false, transform: redact }"), &["`key: false` names nothing"]);
    check(&field("{ path: $.a, transform: readct }"), &["`transform` cannot be `readct` | did you mean `redact`?"]);
    check(&field("{ path: $.a, transform: rot13 }"), &["it is one of: redact, mask, hash"]);
    check(&field("{ path: $.a, transform: { redact: {} } }"), &["`redact` takes no settings"]);
    check(&field("{ path: $.a, transform: { mask: {}, redact: {} } }"), &["`transform` must be one transform"]);
    check(&field("{ path: $.a, transform: { mask: { keep_last: -1 } } }"), &["`keep_last` is -1"]);
    check(&field("{ path: $.a, transform: { mask: { keep_last: 65 } } }"), &["between 0 and 64"]);
    check(&field("{ path: $.a, transform: { mask: { keep: 4 } } }"), &["unknown key `keep`"]);
    check(&field("{ path: $.a, transfrom: redact }"), &["`transform` is required", "unknown key `transfrom`"]);
}

#[test]
fn accepts_fields_inside_of_headers_keys_and_strings() {
    check(&field("{ path: '$.payload|json|$..ssn', transform: redact }"), &[]);
    check(&field("{ header: h, path: $.a, transform: mask }"), &[]);
    check(&field("{ key: true, path: $.id, transform: { hash: { key: other } } }"), &[]);
    check(&field("{ key: true, path: $.id, transform: redact }"), &["5:45 a record key can only be hashed"]);
    check(&field("{ path: '$.a|json|b', transform: redact }"), &["5:17 `|json|` and a path into the document"]);
    check(&field("{ path: '$|json|$|json|$|json|$', transform: redact }"), &[]);
    check(&field("{ path: '$|json|$|json|$|json|$|json|$', transform: redact }"), &["at most 3 documents in strings"]);
    let key = "fields:\n  - { key: true, path: $.id, transform: { hash: { key: other } } }\non_failure: redact";
    check(&rule(key), &["6:17 a record key that cannot be read can only be refused"]);
    check(&rule("fields:\n  - { header: h, path: $.id, transform: redact }\non_failure: redact"), &[]);
    check(
        &rule("fields:\n  - { header: h, transform: redact }\non_failure: redact\nformat: csv"),
        &["7:5 `format` of rule `r` has no effect", "6:17 `on_failure` of rule `r` has no effect"],
    );
}

/// A rule of this format with one field.
fn formatted(format: &str, field: &str) -> String {
    rule(&format!("{format}\nfields:\n  - {{ {field}, transform: redact }}"))
}

#[test]
fn checks_fields_against_the_format_of_their_rule() {
    for (format, field) in [
        ("format: json", "path: $.a"),
        ("format: ndjson", "path: '$.a|json|$.b'"),
        ("format: csv", "column: 0"),
        ("format: csv", "header: h, column: 16383"),
        ("format: tsv\ncolumns: [id, ssn]", "column: ssn"),
        ("format: tsv\ncolumns: [id, ssn]", "column: 1"),
        ("format: text", "pair: user.name"),
        ("format: text", "header: h, pair: user"),
    ] {
        check(&formatted(format, field), &[]);
    }
    for (format, field, problem) in [
        ("format: xml", "path: $.a", "4:13 `format` cannot be `xml` | it is one of: json, ndjson, csv, tsv, text"),
        ("format: csv", "path: $.a", "6:17 `path` does not fit `format: csv` | name a column:  column: …"),
        ("format: text", "path: $.a", "6:17 `path` does not fit `format: text` | name a pair:  pair: …"),
        ("format: json", "column: 1", "6:19 `column` does not fit `format: json` | add  format: csv  or  tsv"),
        ("format: tsv", "pair: a", "6:17 `pair` does not fit `format: tsv` | add  format: text  to the rule"),
        ("format: csv", "column: -1", "6:19 `column` is -1, it must be between 0 and 16383"),
        ("format: csv", "column: 16384", "6:19 `column` is 16384"),
        ("format: csv", "column: ssn", "6:19 a column has a name only where the rule gives `columns`"),
        ("format: csv", "column: 1.5", "6:19 `column` must be a whole number"),
        ("columns: [a]\nformat: json", "path: $.a", "4:14 `columns` belongs to a rule with `format: csv` or `tsv`"),
        ("format: text", "pair: 'a b'", "6:17 no pair can have this name"),
        ("format: text", "pair: ''", "6:17 no pair can have this name"),
        ("format: json", "format: csv, path: $.a", "6:9 `format` belongs to the rule"),
    ] {
        check(&formatted(format, field), &[problem]);
    }
    for (columns, field, problem) in [
        ("[id, ssn]", "column: snn", "7:19 `columns` of the rule has no such column | did you mean `ssn`?"),
        ("[id, ssn]", "column: 2", "7:19 `column` is 2, it must be between 0 and 1"),
        ("[]", "column: 0", "5:14 `columns` names no column"),
        ("[a, a]", "column: a", "5:14 `columns` has a name twice"),
        ("a", "column: a", "`columns` must be a list"),
    ] {
        let found = problems(&formatted(&format!("format: csv\ncolumns: {columns}"), field));
        assert!(found[0].contains(problem), "{columns} {field} {found:?}");
    }
}

#[test]
fn columns_and_documents_in_strings_are_counted() {
    let columns = |count: usize| {
        let names: Vec<String> = (0..count).map(|name| format!("c{name}")).collect();
        formatted(&format!("format: csv\ncolumns: [{}]", names.join(", ")), "column: c0")
    };
    check(&columns(16_384), &[]);
    check(&columns(16_385), &["`columns` has more than 16384 names"]);
    let documents = |count: usize| {
        let item = |at: usize, inner: usize| {
            format!("  - {{ path: '$.a{at}{}', transform: mask }}\n", "|json|$".repeat(inner))
        };
        let items: String = (0..count / 3).map(|at| item(at, 3)).collect();
        rule(&format!("fields:\n{items}{}", item(count, count % 3)))
    };
    check(&documents(16_384), &[]);
    check(&documents(16_385), &["the paths of all rules go through more than 16384 documents in strings"]);
}

#[test]
fn rejects_keys_that_cannot_hash() {
    let hash = |key: &str| field(&format!("{{ path: $.a, transform: {{ hash: {{ {key} }} }} }}"));
    check(&hash("key: links-2026"), &[]);
    check(&hash("key: links-2025"), &["5:48 key `links-2025` is retired"]);
    check(&hash("key: links-2027"), &["5:48 key `links-2027` does not exist | did you mean `links-2026`?"]);
    check(&hash("key: unlike"), &["does not exist | add it to `keys` in weir.yaml"]);
    check(&hash(""), &["`key` is required"]);
    check(&field("{ path: $.a, transform: hash }"), &["`hash` needs a key"]);
}

#[test]
fn rejects_transforms_of_a_record_key_that_are_not_injective() {
    for transform in ["redact", "mask", "{ mask: { keep_last: 4 } }"] {
        check(&field(&format!("{{ key: true, transform: {transform} }}")), &["5:33 a record key can only be hashed"]);
    }
    check(&field("{ key: true, transform: { hash: { key: other } } }"), &[]);
}

/// Two rules, each with topics, direction and one field.
fn two(first: (&str, &str, &str), second: (&str, &str, &str)) -> String {
    let rule = |name: &str, (topics, direction, field): (&str, &str, &str)| {
        format!(
            "  - name: {name}\n    match: {{ topics: [{topics}], direction: {direction} }}\n    fields: [ {{ {field} }} ]\n"
        )
    };
    format!("rules:\n{}{}", rule("one", first), rule("two", second))
}

#[test]
fn rejects_transforms_that_meet() {
    let mask = "path: $.card, transform: mask";
    for (first, second) in [
        (("t", "both", mask), ("t", "both", "path: $.card, transform: redact")),
        (("t", "both", mask), ("'*'", "consume", "path: $.card.number, transform: redact")),
        (("'a.*'", "produce", mask), ("a.b", "produce", "path: $..card, transform: redact")),
        (("'a.*'", "produce", mask), ("'*.b'", "produce", "path: '$.*', transform: redact")),
        (("t", "both", mask), ("t", "both", "path: $.card, transform: { mask: { keep_last: 4 } }")),
        (("t", "both", "header: h, transform: mask"), ("t", "both", "header: h, transform: redact")),
        (("t", "both", "header: h, transform: mask"), ("t", "both", "header: h, path: $.a, transform: redact")),
        (("t", "both", mask), ("t", "both", "path: '$.card|json|$.a', transform: redact")),
        (
            ("t", "both", "key: true, transform: { hash: { key: other } }"),
            ("t", "both", "key: true, transform: { hash: { key: links-2026 } }"),
        ),
    ] {
        check(&two(first, second), &["7:15 a field of rule `two` can meet rule `one` on one span"]);
    }
    let same_rule = rule("fields:\n  - { path: $.a, transform: redact }\n  - { path: $..a, transform: mask }");
    check(&same_rule, &["6:9 a field of rule `r` can meet another field of its rule"]);
}

#[test]
fn accepts_transforms_that_do_not_meet_or_agree() {
    let mask = "path: $.card, transform: mask";
    for (first, second) in [
        (("t", "both", mask), ("t", "both", mask)),
        (("t", "both", mask), ("t", "both", "path: $.cart, transform: redact")),
        (("t", "produce", mask), ("t", "consume", "path: $.card, transform: redact")),
        (("'a.*'", "both", mask), ("'b.*'", "both", "path: $.card, transform: redact")),
        (("t", "both", "path: $.card.number, transform: mask"), ("t", "both", "path: $..email, transform: redact")),
        (("/a+/", "both", mask), ("/a/", "both", "path: $.card, transform: redact")),
        (("t", "both", "header: a, transform: mask"), ("t", "both", "header: A, transform: redact")),
        (("t", "both", mask), ("t", "both", "header: h, path: $.card, transform: redact")),
        (("t", "both", mask), ("t", "both", "path: '$.a|json|$.card', transform: redact")),
    ] {
        check(&two(first, second), &[]);
    }
    check(
        &format!(
            "{}  - name: x\n    match: {{ topics: [t], direction: both }}\n    action: refuse\n    fields: [ {{ path: $.card }} ]\n",
            two(("t", "both", mask), ("t", "both", mask))
        ),
        &[],
    );
}

#[test]
fn warns_of_rules_that_nothing_can_come_to() {
    let access = "access: [ { name: a, principals: { groups: [g] }, allow: [ { produce: ['pay.*', '*'] } ] } ]\n";
    let with = |topic: &str, direction: &str| {
        format!(
            "{access}rules: [ {{ name: r, match: {{ topics: [{topic}], direction: {direction} }}, inspect: always }} ]"
        )
    };
    check(&with("pay.eu", "both"), &[]);
    check(&with("orders", "produce"), &[]);
    check(&with("orders", "consume"), &["warning: 2:18 rule `r` is for topics that no access entry reaches"]);
    check(&with("__consumer_offsets", "produce"), &["rule `r` is for topics that no access entry reaches"]);
}

#[test]
fn rejects_tests_that_say_nothing() {
    let rules = rule("inspect: always");
    let test =
        |given: &str, expect: &str| format!("{rules}tests:\n  - name: t\n    given: {given}\n    expect: {expect}\n");
    let given = "{ topic: t, direction: produce }";
    check(&test(given, "{ decision: pass }"), &[]);
    check(&test(given, "{}"), &["8:13 a test expects nothing"]);
    check(&test(given, "{ decision: passed }"), &["`decision` cannot be `passed` | did you mean `pass`?"]);
    check(&test(given, "{ rules: [q] }"), &["8:23 rule `q` does not exist"]);
    check(&test(given, "{ decision: refused, value: 1 }"), &["a record that is refused has no output"]);
    check(&test(given, "{ value: 1, raw: '1' }"), &["`value` and `raw` are two ways"]);
    check(&test("{ topic: t, direction: both }", "{ rules: [] }"), &["`direction` cannot be `both`"]);
    check(&test("{ direction: produce }", "{ rules: [] }"), &["`topic` is required"]);
    check(&test("{ topic: t, direction: produce, value: .nan }", "{ rules: [] }"), &["JSON has no such number"]);
    check(&test("{ topic: t, direction: produce, vlaue: 1 }", "{ rules: [] }"), &["unknown key `vlaue`"]);
    check(&format!("{rules}tests: [ {{ name: t }} ]"), &["`given` is required", "`expect` is required"]);
}

#[test]
fn rejects_other_versions_and_what_is_no_policy() {
    check("version: 2", &["1:10 `version` is 2"]);
    check("- a", &["a policy must be a mapping"]);
    check("rulez: []", &["unknown key `rulez` | did you mean `rules`?"]);
    check("", &["warning: policy file `p.yaml` is empty"]);
    check("rules: {}", &["`rules` must be a list"]);
    assert!(problems("rules: [").len() == 1);
}

#[test]
fn names_of_different_files_are_told_apart_too() {
    let (policy, problems) = compile_all(&[&rule("inspect: always"), &rule("inspect: always")]);
    assert!(policy.is_none());
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.place.as_ref().unwrap().to_string(), "p1.yaml:2:11");
    assert!(problem.cure.as_ref().unwrap().contains("p.yaml:2:11"));
}

#[test]
fn hostile_text_is_an_error_and_no_panic() {
    for text in
        ["rules: [[[", "rules: [ 1, null, a, [], {} ]", "access: [ 1, { allow: 1, principals: 1, name: 1 } ]", "\u{0}"]
    {
        assert!(!problems(text).is_empty(), "{text}");
    }
}
