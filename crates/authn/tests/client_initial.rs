//! The OAUTHBEARER client initial response: one reading or none.

use proptest::prelude::*;
use weir_authn::{CLIENT_INITIAL_BYTES_MAX, SaslError, TOKEN_BYTES_MAX, parse_client_initial};

/// `^` stands for byte 0x01.
fn check(message: &str, expected: Result<(&str, Option<&str>), SaslError>) {
    let parsed = parse_client_initial(message.replace('^', "\x01").as_bytes());
    let read = parsed.as_ref().map(|initial| (initial.token.expose(), initial.authzid.as_deref()));
    assert_eq!(read, expected.as_ref().copied(), "{message}");
}

#[test]
fn reads_what_clients_send() {
    check("n,,^auth=Bearer abc^^", Ok(("abc", None)));
    check("n,,^auth=bearer abc^^", Ok(("abc", None)));
    check("n,,^auth=BEARER    abc^^", Ok(("abc", None)));
    check("n,,^auth=Bearer aZ09-._~+/==^^", Ok(("aZ09-._~+/==", None)));
    check("n,a=ada,^auth=Bearer abc^^", Ok(("abc", Some("ada"))));
    check("n,a=a=2Cb=3Dc,^auth=Bearer abc^^", Ok(("abc", Some("a,b=c"))));
    check("n,,^auth=Bearer abc^host=kafka^port=9092^^", Ok(("abc", None)));
    check("n,,^host=kafka^port=9092^auth=Bearer abc^^", Ok(("abc", None)));
    check("n,,^traceId=a=b, c\t\r\n^auth=Bearer abc^^", Ok(("abc", None)));
}

#[test]
fn refuses_other_gs2_headers() {
    check("y,,^auth=Bearer abc^^", Err(SaslError::ChannelBinding));
    check("p=tls-exporter,,^auth=Bearer abc^^", Err(SaslError::ChannelBinding));
    check("", Err(SaslError::Malformed("no GS2 header")));
    check("n", Err(SaslError::Malformed("no GS2 header")));
    check("N,,^auth=Bearer abc^^", Err(SaslError::Malformed("no GS2 header")));
    check("F,n,,^auth=Bearer abc^^", Err(SaslError::Malformed("no GS2 header")));
    check("n^auth=Bearer abc^^", Err(SaslError::Malformed("no GS2 header")));
    check("n,^auth=Bearer abc^^", Err(SaslError::Malformed("the GS2 header is not ended")));
    check("n,b=ada,^auth=Bearer abc^^", Err(SaslError::Malformed("the GS2 header has an unknown field")));
    check("n,,auth=Bearer abc^^", Err(SaslError::Malformed("no separator behind the GS2 header")));
    check("n,,,^auth=Bearer abc^^", Err(SaslError::Malformed("no separator behind the GS2 header")));
}

#[test]
fn refuses_authorization_identities_that_are_no_sasl_names() {
    for name in ["", "a=2", "a=", "a=2c", "a=41", "ä", "a\x7f", "a\tb", "a\x00"] {
        check(&format!("n,a={name},^auth=Bearer abc^^"), Err(SaslError::AuthzidInvalid));
    }
}

#[test]
fn refuses_a_key_that_stands_twice() {
    check("n,,^auth=Bearer abc^auth=Bearer def^^", Err(SaslError::DuplicateKey));
    check("n,,^auth=Bearer abc^Auth=Bearer def^^", Err(SaslError::DuplicateKey));
    check("n,,^AUTH=Bearer abc^auth=Bearer def^^", Err(SaslError::Malformed("`auth` in other letters")));
    check("n,,^auth=Bearer abc^host=a^host=a^^", Err(SaslError::DuplicateKey));
    check("n,,^auth=Bearer abc^host=a^hostname=a^^", Ok(("abc", None)));
}

#[test]
fn refuses_lists_with_a_second_reading() {
    let unended = "the last value is not ended";
    check("n,,^auth=Bearer abc", Err(SaslError::Malformed("no separator at the end")));
    check("n,,^auth=Bearer abc^", Err(SaslError::Malformed(unended)));
    check("n,,^auth=Bearer abc^^x", Err(SaslError::Malformed("no separator at the end")));
    check("n,,^auth=Bearer abc^^^", Err(SaslError::Malformed("a pair without `=`")));
    check("n,,^auth=Bearer abc^^host=a^^", Err(SaslError::Malformed("a pair without `=`")));
    check("n,,^^auth=Bearer abc^^", Err(SaslError::Malformed("a pair without `=`")));
    check("n,,^^^", Err(SaslError::Malformed("a pair without `=`")));
    check("n,,^^", Err(SaslError::Malformed(unended)));
    check("n,,^", Err(SaslError::Malformed("no separator at the end")));
    check("n,,^auth=Bearer abc\n^^\n", Err(SaslError::Malformed("no separator at the end")));
}

#[test]
fn refuses_keys_and_values_outside_the_grammar() {
    for pair in ["=x", "1a=x", "a-b=x", "a b=x", "ä=x"] {
        check(&format!("n,,^auth=Bearer abc^{pair}^^"), Err(SaslError::Malformed("a key that is not letters")));
    }
    for pair in ["a=", "a=\0", "a=\x7f", "a=ä", "a=x\x0b"] {
        let expected = Err(SaslError::Malformed("a value that is empty or not visible ASCII"));
        check(&format!("n,,^auth=Bearer abc^{pair}^^"), expected);
    }
    check("n,,^auth=Bearer abc^a^^", Err(SaslError::Malformed("a pair without `=`")));
}

#[test]
fn refuses_what_is_no_bearer_token() {
    check("n,,^host=a^^", Err(SaslError::NoToken));
    check("n,,^auth=Basic YTpi^^", Err(SaslError::NotBearer));
    check("n,,^auth=Bearer^^", Err(SaslError::NotBearer));
    check("n,,^auth=Bearer\tabc^^", Err(SaslError::NotBearer));
    check("n,,^auth=BearerX abc^^", Err(SaslError::NotBearer));
    check("n,,^auth= Bearer abc^^", Err(SaslError::NotBearer));
    for token in ["", " ", "=", "a b", "abc ", "a=b", "a,b", "a\tb", "a\"b"] {
        check(&format!("n,,^auth=Bearer {token}^^"), Err(SaslError::TokenInvalid));
    }
}

#[test]
fn bounds_the_message_the_token_and_the_extensions() {
    let token = |length: usize| format!("n,,^auth=Bearer {}^^", "a".repeat(length));
    check(&token(TOKEN_BYTES_MAX), Ok(("a".repeat(TOKEN_BYTES_MAX).as_str(), None)));
    check(&token(TOKEN_BYTES_MAX + 1), Err(SaslError::TokenTooLong));
    check(&token(CLIENT_INITIAL_BYTES_MAX), Err(SaslError::TooLong));
    let extensions = |count: usize| {
        let names: String = (1..=count).map(|at| format!("{}=x^", "k".repeat(at))).collect();
        format!("n,,^auth=Bearer abc^{names}^")
    };
    check(&extensions(16), Ok(("abc", None)));
    check(&extensions(17), Err(SaslError::TooManyExtensions));
}

#[test]
fn debug_output_and_errors_hide_the_token() {
    let initial = parse_client_initial(b"n,a=ada,\x01auth=Bearer s3cr3t\x01\x01");
    assert_eq!(format!("{initial:?}"), "Ok(ClientInitial { token: Token(6 bytes), authzid: Some(\"ada\") })");
    let refused = parse_client_initial(b"n,,\x01auth=Bearer s3cr3t s3cr3t\x01\x01");
    assert!(!format!("{refused:?}").contains("s3cr3t"));
}

/// What Kafka's own grammar takes, written as it is written there: whatever we read must be inside it.
fn kafka_would_read(message: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(message) else { return false };
    let Some((gs2, pairs)) = text.split_once('\x01') else { return false };
    let Some(pairs) = pairs.strip_suffix("\x01\x01") else { return false };
    gs2.starts_with("n,")
        && gs2.ends_with(',')
        && pairs.split('\x01').all(|pair| {
            pair.split_once('=').is_some_and(|(key, value)| {
                !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic()) && !value.is_empty()
            })
        })
}

proptest! {
    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        if parse_client_initial(&noise).is_ok() {
            prop_assert!(kafka_would_read(&noise));
        }
    }

    #[test]
    fn near_misses_never_panic_and_stay_inside_kafkas_grammar(
        at in 0_usize..40, byte in any::<u8>(), kind in 0..3,
    ) {
        let mut message = b"n,a=ada,\x01auth=Bearer a.b.c\x01host=kafka\x01\x01".to_vec();
        let at = at.min(message.len() - 1);
        match kind {
            0 => message[at] = byte,
            1 => message.insert(at, byte),
            _ => drop(message.remove(at)),
        }
        if let Ok(initial) = parse_client_initial(&message) {
            prop_assert!(kafka_would_read(&message));
            let token = initial.token.expose().as_bytes();
            prop_assert!(message.windows(token.len()).any(|window| window == token));
        }
    }

    #[test]
    fn what_the_grammar_makes_is_read_back(
        authzid in proptest::option::of("[ -+\\--<>-~]{1,20}"), token in "[A-Za-z0-9._~+/-]{1,60}={0,2}",
        extensions in proptest::collection::btree_map("[b-z]{1,8}", "[!-~ \t]{1,20}", 0..5),
    ) {
        let mut message = match &authzid {
            Some(name) => format!("n,a={name},\x01"),
            None => "n,,\x01".to_owned(),
        };
        for (key, value) in &extensions {
            message.push_str(&format!("{key}={value}\x01"));
        }
        message.push_str(&format!("auth=Bearer {token}\x01\x01"));
        let initial = parse_client_initial(message.as_bytes());
        prop_assert_eq!(initial.as_ref().map(|i| i.token.expose().to_owned()), Ok(token));
        prop_assert_eq!(initial.ok().and_then(|i| i.authzid), authzid);
    }
}
