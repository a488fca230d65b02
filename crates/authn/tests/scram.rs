//! SCRAM as a client: the RFC's own exchange, one computed apart, and servers that are not what they seem.
#![expect(clippy::unwrap_used, reason = "test code")]

use proptest::prelude::*;
use weir_authn::{
    ClientFinal, ClientFirst, SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, SCRAM_MESSAGE_BYTES_MAX, SaltedPassword,
    ScramError, ScramHash,
};

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn answer(hash: ScramHash, (name, password): (&str, &str), nonce: &str, server_first: &str) -> ClientFinal {
    let challenge = ClientFirst::new(hash, name, nonce.to_owned()).challenge(server_first.as_bytes()).unwrap();
    let salted = SaltedPassword::new(hash, password, challenge.salt(), challenge.iterations());
    challenge.prove(&salted)
}

/// RFC 7677 section 3.
#[test]
fn the_exchange_of_the_rfc_is_spoken_word_for_word() {
    let first = ClientFirst::new(ScramHash::Sha256, "user", NONCE.to_owned());
    assert_eq!(first.message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let last = answer(ScramHash::Sha256, ("user", "pencil"), NONCE, SERVER_FIRST);
    assert_eq!(
        last.message(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    last.verify(SERVER_FINAL.as_bytes()).unwrap();
}

/// The expected texts were computed with Python's `hashlib` and `hmac`.
#[test]
fn sha_512_escaped_names_and_later_extensions_are_as_computed_apart() {
    let server_first = "r=abcDEF,s=c2FsdHlzYWx0,i=5000,x=later";
    let first = ClientFirst::new(ScramHash::Sha512, "w=e,ir", "abc".to_owned());
    assert_eq!(first.message(), "n,,n=w=3De=2Cir,r=abc");
    let last = answer(ScramHash::Sha512, ("w=e,ir", "pencil ünd"), "abc", server_first);
    assert_eq!(last.message(), SHA_512_CLIENT_FINAL);
    last.verify(SHA_512_SERVER_FINAL.as_bytes()).unwrap();
}

const SHA_512_CLIENT_FINAL: &str =
    "c=biws,r=abcDEF,p=NpVTEf5w14scg2ZpBvYUJ/cuzC2lm5RPuhJPqkPT32p8cqRP7TbkDQYrQpSZaRjdBUAuEYmczShj1YxuordMtg==";
const SHA_512_SERVER_FINAL: &str =
    "v=kP2XRPfLx3mpHRoHL3sATnwOxaj3BObK6TRVbh/ZS3Swr3/qVdE58MlIIcmMnjsH0p8/Inrh9ySY4dXVc40rbw==";

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let check = |server_final: &str, expected| {
        let last = answer(ScramHash::Sha256, ("user", "pencil"), NONCE, SERVER_FIRST);
        assert_eq!(last.verify(server_final.as_bytes()), Err(expected), "{server_final}");
    };
    check("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", ScramError::SignatureMismatch);
    check("v=", ScramError::SignatureMismatch);
    check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4", ScramError::Malformed("the signature is not base64"));
    check("", ScramError::Malformed("no signature"));
    check("e=invalid-proof", ScramError::Refused);
    let other = answer(ScramHash::Sha256, ("user", "pencil2"), NONCE, SERVER_FIRST);
    assert_eq!(other.verify(SERVER_FINAL.as_bytes()), Err(ScramError::SignatureMismatch));
}

#[test]
fn the_first_answer_must_be_ours_and_ask_for_what_is_safe() {
    let check = |server_first: &str, expected: Result<(), ScramError>| {
        let first = ClientFirst::new(ScramHash::Sha512, "weir", "abc".to_owned());
        assert_eq!(first.challenge(server_first.as_bytes()).map(|_| ()), expected, "{server_first}");
    };
    let with = |iterations: u32| format!("r=abcd,s=c2FsdA==,i={iterations}");
    check(&with(SCRAM_ITERATIONS_MIN), Ok(()));
    check(&with(SCRAM_ITERATIONS_MAX), Ok(()));
    check(&with(SCRAM_ITERATIONS_MIN - 1), Err(ScramError::Iterations(SCRAM_ITERATIONS_MIN - 1)));
    check(&with(SCRAM_ITERATIONS_MAX + 1), Err(ScramError::Iterations(SCRAM_ITERATIONS_MAX + 1)));
    check("r=abcd,s=c2FsdA==,i=99999999999", Err(ScramError::Iterations(u32::MAX)));
    for number in ["", "+4096", "-4096", "0x1000", "4096 "] {
        check(&format!("r=abcd,s=c2FsdA==,i={number}"), Err(ScramError::Iterations(0)));
    }
    for nonce in ["abc", "abd", "", "Abcd", "xabcd"] {
        check(&format!("r={nonce},s=c2FsdA==,i=4096"), Err(ScramError::NonceMismatch));
    }
    check("r=abcd,s=c2FsdA,i=4096", Err(ScramError::Malformed("the salt is not base64")));
    check("r=abcd,s=,i=4096", Err(ScramError::Malformed("the salt is empty")));
    let order = Err(ScramError::Malformed("a field is not the one that belongs there"));
    for text in ["m=must,r=abcd,s=c2FsdA==,i=4096", "s=c2FsdA==,r=abcd,i=4096", "e=unknown-user,s=,i=", ""] {
        check(text, order);
    }
    check("r=abcd,s=c2FsdA==", Err(ScramError::Malformed("a field is missing")));
    let long = |bytes: usize| format!("{:x<bytes$}", "r=abcd,s=c2FsdA==,i=4096,");
    check(&long(SCRAM_MESSAGE_BYTES_MAX), Ok(()));
    check(&long(SCRAM_MESSAGE_BYTES_MAX + 1), Err(ScramError::Malformed("it is too long")));
}

#[test]
fn nothing_of_it_is_shown() {
    let first = ClientFirst::new(ScramHash::Sha256, "user", NONCE.to_owned());
    let mut shown = format!("{first:?}");
    let challenge = first.challenge(SERVER_FIRST.as_bytes()).unwrap();
    let salted = SaltedPassword::new(ScramHash::Sha256, "pencil", challenge.salt(), challenge.iterations());
    shown += &format!("{challenge:?} {salted:?}");
    shown += &format!("{:?}", challenge.prove(&salted));
    assert_eq!(shown, "ClientFirst { .. }Challenge { .. } SaltedPassword { .. }ClientFinal { .. }");
}

proptest! {
    /// Whatever a server says is read to an end.
    #[test]
    fn fuzz_server_messages(first in prop::collection::vec(any::<u8>(), 0..200), last in "[ve]=.{0,40}|.{0,40}") {
        let made = |text: &[u8]| ClientFirst::new(ScramHash::Sha256, "weir", "abc".to_owned()).challenge(text).is_ok();
        prop_assert!(!made(&first));
        let challenge = ClientFirst::new(ScramHash::Sha256, "weir", "abc".to_owned());
        let challenge = challenge.challenge(b"r=abcd,s=c2FsdA==,i=4096").unwrap();
        let salted = SaltedPassword::new(ScramHash::Sha256, "p", b"salt", challenge.iterations());
        prop_assert!(challenge.prove(&salted).verify(last.as_bytes()).is_err());
    }
}
