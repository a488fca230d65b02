//! Values that are no single JSON document.

use weir_policy::Direction;

use crate::support::{Rec, compile, inspect, rule_set};

/// Inspects the bytes under one rule; expected: what comes out, or `refused: cause`.
fn check(rule: &str, bytes: &[u8], expected: &str) {
    let policy = compile(&format!(
        "rules:\n  - name: r\n    match: {{ topics: [t], direction: produce }}\n    {}\n",
        rule.replace('\n', "\n    ")
    ));
    let set = rule_set(&policy, "t", Direction::Produce).unwrap();
    let through = |bytes: &[u8]| {
        let seen = inspect(&set, &Rec { value: Some(bytes.to_vec()), ..Rec::default() });
        match seen.record {
            Some(record) => record.value.unwrap(),
            None => format!("refused: {}", seen.refused[0].rsplit(' ').next().unwrap()),
        }
    };
    let shown = String::from_utf8_lossy(bytes);
    let once = through(bytes);
    assert_eq!(once, expected, "{rule} {shown:?}");
    if !once.starts_with("refused") {
        assert_eq!(through(once.as_bytes()), once, "{rule} {shown:?}, twice");
    }
}

#[test]
fn steps_over_a_byte_order_mark_and_keeps_it() {
    let json = "fields: [ { path: $.a, transform: mask } ]";
    check(json, "\u{feff}{\"a\":\"xyz\"}".as_bytes(), "\u{feff}{\"a\":\"***\"}");
    check(json, "\u{feff}".as_bytes(), "refused: not_json");
    check(json, "{\"a\":\"x\"}\u{feff}".as_bytes(), "refused: not_json");
    check(json, b"\xff\xfe{\0", "refused: not_json");
    check(
        "format: ndjson\nfields: [ { path: $.a, transform: mask } ]",
        "\u{feff}{\"a\":1}\n".as_bytes(),
        "\u{feff}{\"a\":0}\n",
    );
    check("format: csv\nfields: [ { column: 0, transform: mask } ]", "\u{feff}ab,c".as_bytes(), "\u{feff}**,c");
    check("format: text\nfields: [ { pair: a, transform: mask } ]", "\u{feff}a=bc".as_bytes(), "\u{feff}a=**");
}

#[test]
fn reads_one_document_a_line() {
    let rule = "format: ndjson\nfields: [ { path: $..a, transform: redact } ]";
    for (text, expected) in [
        ("", ""),
        ("\n\n \t\r\n", "\n\n \t\r\n"),
        ("{\"a\":\"x\"}", "{\"a\":\"[redacted]\"}"),
        ("{\"a\":1}\n{\"b\":1}\n{\"a\":[2]}\n", "{\"a\":0}\n{\"b\":1}\n{\"a\":[0]}\n"),
        ("{\"a\":1}\r\n\r\n{\"a\":2}\r\n", "{\"a\":0}\r\n\r\n{\"a\":0}\r\n"),
        ("1\n\"a\"\n[{\"a\":3}]", "1\n\"a\"\n[{\"a\":0}]"),
        ("{\"a\":\"\\n\"}\nnull", "{\"a\":\"[redacted]\"}\nnull"),
        ("{\"a\":1}\nx", "refused: not_json"),
        ("{\"a\":1} {\"a\":2}", "refused: not_json"),
        ("{\"a\":1}\r{\"a\":2}", "refused: not_json"),
        ("{\"a\":\n1}", "refused: not_json"),
        ("{\"a\":1}\n\u{feff}{}", "refused: not_json"),
        ("{}\n[[[[[[[[[]]]]]]]]]", "refused: too_deep"),
    ] {
        check(rule, text.as_bytes(), expected);
    }
    check(rule, b"{}\n\"\xff\"", "refused: not_json");
    let nested = "format: ndjson\nfields: [ { path: '$.p|json|$.a', transform: redact } ]";
    check(nested, br#"{"p":"{\"a\":1}"}"#, r#"{"p":"{\"a\":0}"}"#);
    let refuse = "format: ndjson\naction: refuse\nfields: [ { path: $.a } ]";
    check(refuse, b"{}\n{\"a\":1}", "refused: rule");
    check(refuse, b"{}\n{\"a\":null}", "{}\n{\"a\":null}");
}

#[test]
fn masks_columns_of_tables() {
    let rule = "format: csv\nfields: [ { column: 1, transform: { mask: { keep_last: 2 } } } ]";
    for (text, expected) in [
        ("", ""),
        ("id,abcd,x", "id,**cd,x"),
        ("id,abcd\n1,efgh\n", "id,**cd\n1,**gh\n"),
        ("id,abcd\r\n1,efgh\r\n", "id,**cd\r\n1,**gh\r\n"),
        ("1,abcd\n\n\r\n2,efgh", "1,**cd\n\n\r\n2,**gh"),
        ("1,\"abcd\",x", "1,\"**cd\",x"),
        ("1,\"a,\n\r\nd\"\n2,xyzw", "1,\"****\nd\"\n2,**zw"),
        ("1,\"a\"\"b\"\"\"", "1,\"**b\"\"\""),
        ("1,\"\"\"\"\"\"", "1,\"**\""),
        ("\"a,b\",xyz", "\"a,b\",*yz"),
        ("1,größe", "1,***ße"),
        ("1,", "1,"),
        (",\n,", ",\n,"),
        ("1,\"\"", "1,\"\""),
        ("a\tb,cdef", "a\tb,**ef"),
        ("1", "refused: wrong_columns"),
        ("1,abcd\n2", "refused: wrong_columns"),
        ("1,\"abcd", "refused: not_table"),
        ("1,\"abcd\"x", "refused: not_table"),
        ("1,ab\"cd", "refused: not_table"),
        ("1, \"abcd\"", "refused: not_table"),
        ("1,\"ab\"\"", "refused: not_table"),
        ("1,ab\rcd", "refused: not_table"),
        ("1,abcd\r", "refused: not_table"),
        ("1,ab\0d", "refused: not_table"),
        ("1,\"ab\u{1b}d\"", "refused: not_table"),
    ] {
        check(rule, text.as_bytes(), expected);
    }
    check(rule, b"1,ab\xff", "refused: not_table");
    check(rule, b"1,\"a\xc3\"", "refused: not_table");
}

#[test]
fn transforms_of_columns_keep_the_table_well_formed() {
    let with = |transform: &str| format!("format: csv\nfields: [ {{ column: 0, transform: {transform} }} ]");
    check(&with("redact"), b"a,b\n\"a\"\"\n,\",b\n\"\",c\n,d", "[redacted],b\n\"[redacted]\",b\n\"[redacted]\",c\n,d");
    let refuse = "format: csv\naction: refuse\nfields: [ { column: 0 } ]";
    check(refuse, b",b\n,c", ",b\n,c");
    check(refuse, b",b\nx,c", "refused: rule");
    check(refuse, b"\"\",b", "refused: rule");
    let redact = "format: csv\non_failure: redact\nfields: [ { column: 3, transform: redact } ]";
    check(redact, b"a,b", "\"[redacted]\"");
}

#[test]
fn hashes_of_columns_are_of_what_is_written() {
    let policy = compile(
        "rules:\n  - name: r\n    match: { topics: [t], direction: produce }\n    format: csv\n    \
         fields: [ { column: 0, transform: { hash: { key: other } } } ]\n",
    );
    let set = rule_set(&policy, "t", Direction::Produce).unwrap();
    let seen = inspect(&set, &Rec { value: Some(b"ab,1\n\"ab\",2\n\"a\"\"b\",3\n".to_vec()), ..Rec::default() });
    let value = seen.record.unwrap().value.unwrap();
    let hashes: Vec<&str> = value.lines().map(|line| line.split(',').next().unwrap().trim_matches('"')).collect();
    assert!(hashes.iter().all(|hash| hash.starts_with("h:other:")), "{value}");
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}

#[test]
fn named_columns_must_all_be_there() {
    let rule = "format: csv\ncolumns: [id, ssn, city]\nfields: [ { column: ssn, transform: mask } ]";
    check(rule, b"1,123,Rome\n2,456,\n", "1,***,Rome\n2,***,\n");
    check(rule, b"id,ssn,city\n", "id,***,city\n");
    check(rule, b"1,123", "refused: wrong_columns");
    // Somebody forgot to quote a comma: what is where is anybody's guess.
    check(rule, b"1,Doe, John,Rome", "refused: wrong_columns");
    let tabs = "format: tsv\ncolumns: [id, ssn]\nfields: [ { column: ssn, transform: mask } ]";
    check(tabs, b"1\tab,c\n\"2\t\"\t\"x\ty\"\n", "1\t****\n\"2\t\"\t\"***\"\n");
    check(tabs, b"1,abc", "refused: wrong_columns");
}

#[test]
fn masks_pairs_in_text() {
    let rule = "format: text\nfields: [ { pair: user, transform: mask }, { pair: email, transform: mask } ]";
    for (text, expected) in [
        ("", ""),
        ("no pair at all", "no pair at all"),
        ("user=ada", "user=***"),
        ("10:02 login user=ada id=7 user=bob\n", "10:02 login user=*** id=7 user=***\n"),
        ("user=\"ada l\" x=1", "user=\"*****\" x=1"),
        (r#"user="a \"b\"" x=1"#, r#"user="*****" x=1"#),
        (r#"email="" user= x"#, r#"email="" user= x"#),
        ("user= email=ada", "user= email=***"),
        ("user =ada", "user =***"),
        ("user = ada x", "user = *** x"),
        ("user\t=\tada", "user\t=\t***"),
        ("user = \nada", "user = \nada"),
        ("users=ada xuser=ada User=ada user.x=ada", "users=ada xuser=ada User=ada user.x=ada"),
        ("(user=ada) [user=bob]", "(user=**** [user=****"),
        ("user=ada,x=1 y", "user=******* y"),
        ("x=1,user=ada y", "x=1,user=*** y"),
        ("http://h/?id=1&user=ada y", "http://h/?id=1&user=*** y"),
        ("user=ada,email=bob y", "user=************* y"),
        ("user==ada", "user=****"),
        ("user=größe", "user=*****"),
        // Pairs in a quoted value are text of that value.
        (r#"msg="user=ada \"x\"" user=bob"#, r#"msg="user=ada \"x\"" user=***"#),
        (r#"msg="a"user=bob"#, r#"msg="a"user=***"#),
        ("\"user\"=ada", "\"user\"=ada"),
        ("user=\"ada\", x", "user=\"***\", x"),
        ("x='a user=bob' y", "x='a user=**** y"),
        // In two ways, or in none.
        ("user=\"ada", "refused: not_text"),
        ("msg=\"ada user=bob", "refused: not_text"),
        (r#"msg="C:\q" user=bob"#, "refused: not_text"),
        ("user=\"ada\"l", "refused: not_text"),
        ("user=ad\"a", "refused: not_text"),
        ("user='ada l'", "refused: not_text"),
        ("said \"user=ada\"", "refused: not_text"),
        ("user=ada,x=\"b c\"", "refused: not_text"),
        ("user=\"a\tb\"", "refused: not_text"),
        ("u\0s\0e\0r\0=\0a\0", "refused: not_text"),
    ] {
        check(rule, text.as_bytes(), expected);
    }
    check(rule, b"user=\xff", "refused: not_text");
    let refuse = "format: text\naction: refuse\nfields: [ { pair: cvc } ]";
    check(refuse, b"cvc=7", "refused: rule");
    check(refuse, b"cvc=\"\"", "refused: rule");
    check(refuse, b"cvc= x", "cvc= x");
}

/// Two rules of these formats and fields on one topic.
fn two(first: &str, second: &str, bytes: &str) -> (String, Vec<String>) {
    let rule = |name: &str, lines: &str| {
        format!(
            "  - name: {name}\n    match: {{ topics: [t], direction: produce }}\n    {}\n",
            lines.replace('\n', "\n    ")
        )
    };
    let policy = compile(&format!("rules:\n{}{}", rule("one", first), rule("two", second)));
    let set = rule_set(&policy, "t", Direction::Produce).unwrap();
    let seen = inspect(&set, &Rec { value: Some(bytes.as_bytes().to_vec()), ..Rec::default() });
    match seen.record {
        Some(record) => (record.value.unwrap(), seen.hits),
        None => ("refused".to_owned(), seen.refused),
    }
}

#[test]
fn rules_of_several_formats_apply_to_one_value() {
    let json = "fields: [ { path: $.a, transform: mask } ]";
    let text = "format: text\nfields: [ { pair: user, transform: redact } ]";
    let hit = |hits: &[&str]| hits.iter().map(|&hit| hit.to_owned()).collect::<Vec<_>>();
    // Apart from each other.
    let found = two(json, text, "{\"a\":\"x\",\"b\":\"user=ada \"}");
    assert_eq!(found, ("{\"a\":\"*\",\"b\":\"user=[redacted] \"}".to_owned(), hit(&["one mask 1", "two redact 1"])));
    // One inside the other: the outer span is redacted.
    let found = two(json, text, "{\"a\":\"by user=ada now\"}");
    assert_eq!(found, ("{\"a\":\"[redacted]\"}".to_owned(), hit(&["one redact 1", "two redact 1"])));
    // Each cannot read what the other can.
    assert_eq!(two(json, text, "user=ada").1, ["4 one not_json"]);
    let csv = "format: csv\ncolumns: [x, y]\nfields: [ { column: 1, transform: mask } ]";
    let veiled = format!("on_failure: redact\n{json}");
    assert_eq!(two(&veiled, csv, "p,q"), ("\"[redacted]\"".to_owned(), hit(&["one failure_redact 1"])));
    assert_eq!(two(&veiled, csv, "p").1, ["4 two wrong_columns"]);
    // They overlap in part: no edit does justice to both.
    let crossing = "format: csv\nfields: [ { column: 0, transform: mask } ]";
    assert_eq!(two(text, crossing, "user=a,b c").1, ["4 one crossing_fields"]);
}
