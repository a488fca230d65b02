//! SCRAM, with a broker made of nothing but hash functions.

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kafka_protocol::messages::{MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse};
use weir_authn::ScramHash;
use weir_session::UpstreamMechanism;

use super::{PASSWORD, login, setup};
use crate::messages::{METADATA, metadata, metadata_answer};
use crate::stage::{Heard, Setup, Stage, play_in};

const ITERATIONS: u32 = 4096;
const SALT: &[u8] = b"salt of weir";

fn scram(hash: ScramHash, password: &str) -> Setup {
    let mut setup = setup();
    setup.context.upstream = Some(login(UpstreamMechanism::Scram(hash), "we=ir,", password));
    setup
}

/// What the broker makes of the two messages: whether the proof is right, and its own signature.
fn judge(hash: ScramHash, client_first: &str, server_first: &str, client_final: &str) -> (bool, String) {
    let (derive, sign_with, digest_with, len) = match hash {
        ScramHash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256, 32),
        ScramHash::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512, 64),
    };
    let mut salted = vec![0; len];
    pbkdf2::derive(derive, ITERATIONS.try_into().unwrap(), SALT, PASSWORD.as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(sign_with, key), text).as_ref().to_vec();
    let (bare, proof) = client_final.rsplit_once(",p=").unwrap();
    let auth = [client_first.strip_prefix("n,,").unwrap(), server_first, bare].join(",");
    let stored_key = digest::digest(digest_with, &sign(&salted, b"Client Key"));
    let signature = sign(stored_key.as_ref(), auth.as_bytes());
    let proof = STANDARD.decode(proof).unwrap();
    let client_key = proof.iter().zip(&signature).map(|(one, other)| one ^ other).collect::<Vec<_>>();
    let right = digest::digest(digest_with, &client_key).as_ref() == stored_key.as_ref();
    (right, STANDARD.encode(sign(&sign(&salted, b"Server Key"), auth.as_bytes())))
}

fn text(asked: &SaslAuthenticateRequest) -> String {
    String::from_utf8(asked.auth_bytes.to_vec()).unwrap()
}

/// The broker plays its part up to the last message; what it makes of the proof, and the signature that it owes.
#[track_caller]
fn exchange(stage: &mut Stage, hash: ScramHash) -> (Heard, bool, String) {
    stage.takes(UpstreamMechanism::Scram(hash).name());
    let (heard, first) = stage.heard::<SaslAuthenticateRequest>();
    stage.heard_nothing();
    let client_first = text(&first);
    let nonce = client_first.strip_prefix("n,,n=we=3Dir=2C,r=").unwrap();
    assert_eq!(nonce.len(), 64);
    let server_first = format!("r={nonce}and-more,s={},i={ITERATIONS}", STANDARD.encode(SALT));
    stage.say(&heard, &SaslAuthenticateResponse::default().with_auth_bytes(server_first.clone().into()));
    let (heard, last) = stage.heard::<SaslAuthenticateRequest>();
    stage.heard_nothing();
    let (right, signature) = judge(hash, &client_first, &server_first, &text(&last));
    (heard, right, signature)
}

#[test]
fn both_sides_prove_that_they_know_the_password() {
    for hash in [ScramHash::Sha256, ScramHash::Sha512] {
        play_in(
            || scram(hash, PASSWORD),
            |stage| {
                stage.ask(METADATA, &metadata());
                let (heard, right, signature) = exchange(stage, hash);
                assert!(right);
                stage.let_in(&heard, format!("v={signature}"), 0);
                let (asked, _) = stage.heard::<MetadataRequest>();
                stage.say(&asked, &metadata_answer());
                stage.answer::<MetadataRequest>();
            },
        );
    }
}

#[test]
fn a_wrong_password_is_no_proof() {
    play_in(
        || scram(ScramHash::Sha512, "hunter3"),
        |stage| {
            stage.ask(METADATA, &metadata());
            let (heard, right, _) = exchange(stage, ScramHash::Sha512);
            assert!(!right);
            stage.say(&heard, &SaslAuthenticateResponse::default().with_error_code(58));
            stage.closed_by("broker_login_failed");
        },
    );
}

#[test]
fn a_broker_that_does_not_know_the_password_gets_no_request() {
    for words in ["v=AAAA", "v=", "e=other-error", ""] {
        play_in(
            || scram(ScramHash::Sha256, PASSWORD),
            |stage| {
                stage.ask(METADATA, &metadata());
                let (heard, _, _) = exchange(stage, ScramHash::Sha256);
                let answer = SaslAuthenticateResponse::default().with_auth_bytes(words.into());
                stage.say(&heard, &answer);
                stage.closed_by("broker_login_failed");
                stage.heard_nothing();
                assert!(stage.last_words.starts_with("the login of `we=ir,` with SCRAM-SHA-256 was given up: "));
            },
        );
    }
}

#[test]
fn a_broker_that_asks_for_too_little_work_gets_no_proof() {
    play_in(
        || scram(ScramHash::Sha256, PASSWORD),
        |stage| {
            stage.ask(METADATA, &metadata());
            stage.takes("SCRAM-SHA-256");
            let (heard, first) = stage.heard::<SaslAuthenticateRequest>();
            let first = text(&first);
            let nonce = first.rsplit_once("r=").unwrap().1;
            let answer = format!("r={nonce}x,s=c2FsdA==,i=4095");
            stage.say(&heard, &SaslAuthenticateResponse::default().with_auth_bytes(answer.into()));
            stage.closed_by("broker_login_failed");
            stage.heard_nothing();
            assert!(stage.last_words.contains("asks for 4095 SCRAM iterations"), "{}", stage.last_words);
        },
    );
}
