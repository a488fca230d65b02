//! What is accepted: exactly what serde_json accepts as a `Value`.

use proptest::prelude::*;
use weir_policy::json::{self, FieldTrie, JsonError, Scratch};

use super::documents::{damage, document, number};
use super::hard::{HARD, NUMBERS};
use super::select::trie;

/// serde_json refuses to open more containers than this; the comparison stays below.
const DEPTH_MAX: usize = 127;

/// Compares with serde_json, and says whether the document is accepted.
fn check(doc: &[u8]) -> bool {
    let expected = serde_json::from_slice::<serde_json::Value>(doc);
    let mut accepted = Vec::new();
    for trie in [FieldTrie::default(), trie(&["$.a", "$..b", "$.c[1]", "$.*.x", "$..[*]..email"])] {
        let found = json::select(doc, &trie, DEPTH_MAX, &mut Scratch::default(), &mut |selected| {
            assert!(selected.span.start < selected.span.end && selected.span.end <= doc.len());
        });
        let shown = String::from_utf8_lossy(doc);
        assert_eq!(found.is_ok(), expected.is_ok(), "{found:?} and {expected:?} for {shown:?} = {doc:02x?}");
        if let Err(JsonError::Malformed { at } | JsonError::NotUtf8 { at } | JsonError::NumberOutOfRange { at }) = found
        {
            assert!(at <= doc.len(), "{at} of {}", doc.len());
        }
        accepted.push(found.is_ok());
    }
    accepted[0]
}

#[test]
fn agrees_on_hard_documents_wherever_they_stand() {
    assert!(HARD.len() >= 300, "{} documents", HARD.len());
    for (accepted, doc) in HARD {
        assert_eq!(check(doc), *accepted, "{:?}", String::from_utf8_lossy(doc));
        for (before, behind) in [
            ("[", "]"),
            ("[0,", ",0]"),
            ("{\"a\":", "}"),
            ("{\"b\":{\"x\":1},\"a\" : ", " , \"email\":\"\"}"),
            ("[\"", "\"]"),
            ("{\"", "\":1}"),
            (" \n\t\r", " \n\t\r"),
            ("\u{feff}", ""),
            ("\"0123456789abcdef\\n", "0123456789abcdef\""),
            ("[\"a string that is longer than any block of bytes that is looked at together by anyone\",", "]"),
        ] {
            check(&[before.as_bytes(), doc, behind.as_bytes()].concat());
        }
        for end in 0..doc.len().min(40) {
            check(&doc[..end]);
        }
    }
}

#[test]
fn agrees_on_numbers_at_the_edge_of_the_range() {
    let mut refused = 0;
    for number in NUMBERS {
        for sign in ["", "-"] {
            refused += usize::from(!check(format!("{sign}{number}").as_bytes()));
        }
    }
    assert!(refused > 10);
    for digits in 290..330 {
        check("9".repeat(digits).as_bytes());
        check(format!("{}.5", "1".repeat(digits)).as_bytes());
        check(format!("0.{}1e{digits}", "0".repeat(digits)).as_bytes());
        check(format!("0.{}1e{}", "0".repeat(digits), digits * 2).as_bytes());
        check(format!("1797693134862315{}e-{}", "0".repeat(digits), digits - 290).as_bytes());
    }
}

#[test]
fn a_whole_well_formed_document_has_no_well_formed_beginning() {
    let doc = br#"{"a":[1,-2.5e+3,"x\u00e9\ud83d\ude00",true,false,null,{}],"b":{"c":""}}"#;
    for end in 0..doc.len() {
        assert!(!check(&doc[..end]));
    }
    assert!(check(doc));
}

#[test]
fn agrees_on_every_byte_at_every_place() {
    let doc = br#" {"a" : [ 1 , -0.5e-1 , "x\n\u00e9" , true , null ] } "#;
    let mut accepted = 0;
    for at in 0..doc.len() {
        let mut changed = doc.to_vec();
        for byte in 0..=255 {
            changed[at] = byte;
            accepted += usize::from(check(&changed));
        }
    }
    assert!(accepted > doc.len());
}

#[test]
fn says_where_and_why() {
    for (doc, expected) in [
        ("", JsonError::Empty),
        (" \n", JsonError::Empty),
        ("{\"a\":1,}", JsonError::Malformed { at: 7 }),
        ("[1 2]", JsonError::Malformed { at: 3 }),
        ("[1}", JsonError::Malformed { at: 2 }),
        ("\"a\tb\"", JsonError::Malformed { at: 2 }),
        ("[\n\"ab\", \"a\tb\"]", JsonError::Malformed { at: 10 }),
        ("[01]", JsonError::Malformed { at: 2 }),
        ("[1e999]", JsonError::NumberOutOfRange { at: 1 }),
        ("\u{feff}1", JsonError::Malformed { at: 0 }),
    ] {
        assert_eq!(json::check(doc.as_bytes(), 9), Err(expected), "{doc:?}");
    }
    assert_eq!(json::check(b"\"\xff\"", 9), Err(JsonError::NotUtf8 { at: 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn agrees_on_generated_documents(doc in document()) {
        check(doc.as_bytes());
    }

    #[test]
    fn agrees_on_damaged_documents(doc in document(), damages in prop::collection::vec(damage(), 8)) {
        for damage in damages {
            let mut doc = doc.clone().into_bytes();
            damage.iter().for_each(|damage| damage.apply(&mut doc));
            check(&doc);
        }
    }

    #[test]
    fn agrees_on_numbers(numbers in prop::collection::vec(number(), 16)) {
        for number in numbers {
            check(number.as_bytes());
        }
    }

    #[test]
    fn survives_noise(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        json::fuzz_json(&noise);
    }

    #[test]
    fn survives_noise_as_a_path(noise in "[$.\\[\\]*'\"a0-9,:? \\\\udD8eé-]{0,24}") {
        for noise in [noise.clone(), format!("${noise}")] {
            if let Ok(path) = json::Path::parse(&noise) {
                prop_assert_eq!(json::Path::parse(&path.to_string()), Ok(path));
            }
        }
    }
}
