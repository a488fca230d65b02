//! Tokens that must not open the door.

use std::time::Duration;

use weir_testkit::{KeyKind, PublicKeyAs, TokenIssuer};

use crate::ground::{ISSUER, WEIR, token, until};
use crate::wire::{METADATA, metadata_body, oauthbearer};

/// SASL_AUTHENTICATION_FAILED.
const FAILED: i16 = 58;

/// The client is told what is wrong with its login and cut; the log says the same and holds nothing of the token.
#[track_caller]
fn check_message(message: &[u8], reason: &str, told: &str) {
    let mut client = WEIR.apps();
    assert_eq!(client.handshake("OAUTHBEARER").0, 0);
    let login = client.authenticate(message);
    assert_eq!((login.error, login.message), (FAILED, format!("weir: {told}")));
    client.is_closed();
    WEIR.closed(&client, "login_failed", told);
    let refused = WEIR.logs(&[("event", "login.refused"), ("peer", &client.peer())]);
    assert_eq!(refused["reason"], reason, "{refused}");
}

#[track_caller]
fn check(token: &str, reason: &str, told: &str) {
    check_message(&oauthbearer(token), reason, told);
    let log = WEIR.log_text();
    for part in token.split('.').filter(|part| part.len() >= 8) {
        assert!(!log.contains(part), "a part of a token is in the log");
    }
}

#[test]
fn a_good_token_of_each_key_opens_the_door() {
    for kid in ["ec-1", "rsa-1"] {
        let mut client = WEIR.apps();
        let login = client.login(&ISSUER.token("checkout").groups(&["apps"]).signed_by(kid).sign().unwrap());
        assert_eq!((login.error, login.message.as_str()), (0, ""));
        assert!((1..=300_000).contains(&login.lifetime_ms), "{}", login.lifetime_ms);
        assert!(client.call(METADATA, 1, &metadata_body(&["alive"])).is_some());
        WEIR.logs(&[("event", "login.ok"), ("peer", &client.peer()), ("principal", "checkout")]);
    }
    let log = WEIR.log_text();
    assert!(!log.contains(token("checkout").split('.').next().unwrap()), "a part of a token is in the log");
}

#[test]
fn an_expired_token_is_refused() {
    let expired = ISSUER.token("late").expired(Duration::from_secs(190)).sign().unwrap();
    check(&expired, "token_expired", "token expired 3 minutes ago");
    // Refusals before login are merged for a second before they are written.
    until("the refusal is recorded", || {
        let entries = WEIR.entries(&["--scan", "--limit", "10000"]);
        entries.iter().any(|entry| entry["reason"] == "token_expired" && entry["kind"] == "auth_fail")
    });
}

#[test]
fn a_token_from_the_future_is_refused() {
    let early = ISSUER.token("early").not_before(Duration::from_secs(210)).sign().unwrap();
    check(&early, "token_not_yet_valid", "token becomes valid in 3 minutes");
}

#[test]
fn a_token_for_another_audience_is_refused() {
    check(
        &ISSUER.token("a").audience("billing").sign().unwrap(),
        "token_wrong_audience",
        "the token is for another audience",
    );
    let none = ISSUER.token("a").without("aud").sign().unwrap();
    check(&none, "token_missing_claim", "the token has no claim `aud`");
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    let told = "the token comes from an issuer that is not configured";
    let other = TokenIssuer::new("https://other.test", &[("ec-1", KeyKind::P256)]).unwrap();
    check(&other.token("a").sign().unwrap(), "token_wrong_issuer", told);
    // A name that only begins like the right one.
    check(&ISSUER.token("a").claim("iss", format!("{}/", ISSUER.name())).sign().unwrap(), "token_wrong_issuer", told);
    check(&ISSUER.token("a").without("iss").sign().unwrap(), "token_missing_claim", "the token has no claim `iss`");
}

#[test]
fn a_token_of_an_unknown_key_is_refused() {
    let told = "the token is signed with a key that its issuer does not publish";
    let stranger = TokenIssuer::new(ISSUER.name(), &[("ec-2", KeyKind::P256)]).unwrap();
    check(&stranger.token("a").sign().unwrap(), "token_unknown_key", told);
    // The right name for the wrong key.
    let impostor = TokenIssuer::new(ISSUER.name(), &[("ec-1", KeyKind::P256)]).unwrap();
    check(&impostor.token("a").sign().unwrap(), "token_bad_signature", "the token's signature does not hold");
}

#[test]
fn a_token_changed_after_it_was_signed_is_refused() {
    let changed = ISSUER.token("a").tampered("sub", "admin").unwrap();
    check(&changed, "token_bad_signature", "the token's signature does not hold");
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let told = "the token is signed with an algorithm that is not allowed for its issuer or key";
    for name in ["none", "None", "NONE", "nOnE"] {
        let unsigned = ISSUER.token("a").header("alg", name).unsigned();
        check(&unsigned, "token_algorithm_not_allowed", told);
    }
    let without = ISSUER.token("a").sign().unwrap();
    let (signed, _) = without.rsplit_once('.').unwrap();
    check(&format!("{signed}."), "token_bad_signature", "the token's signature does not hold");
    check(signed, "token_malformed", "the token is not a signed JSON web token");
}

/// The public key is known to everybody: whoever takes it as the secret of HS256 lets everybody in.
#[test]
fn a_token_signed_with_the_public_key_as_secret_is_refused() {
    let told = "the token is signed with an algorithm that is not allowed for its issuer or key";
    for kid in ["ec-1", "rsa-1"] {
        for form in [PublicKeyAs::Pem, PublicKeyAs::Der, PublicKeyAs::Raw] {
            let forged = ISSUER.token("a").signed_by(kid).signed_with_public_key(form).unwrap();
            check(&forged, "token_algorithm_not_allowed", told);
        }
    }
}

/// Kafka's own parser takes the last of two; another takes the first.
#[test]
fn a_login_message_with_auth_twice_is_refused() {
    let good = token("twice");
    let told = "the OAUTHBEARER message names a key twice";
    let bad = "x.y.z";
    for (first, second) in [(good.as_str(), bad), (bad, good.as_str()), (good.as_str(), good.as_str())] {
        let message = format!("n,,\u{1}auth=Bearer {first}\u{1}auth=Bearer {second}\u{1}\u{1}");
        check_message(message.as_bytes(), "sasl_duplicate_key", told);
        assert!(!WEIR.log_text().contains(good.split('.').nth(2).unwrap()));
    }
    let mut client = WEIR.apps();
    assert_eq!(client.login(&good).error, 0, "once is good");
}

#[test]
fn a_login_message_of_another_form_is_refused() {
    let good = token("form");
    let with = |text: &str| text.replace("TOKEN", &good).into_bytes();
    check_message(b"", "sasl_malformed", "the OAUTHBEARER message is malformed: no GS2 header");
    check_message(
        &with("n,,\u{1}\u{1}"),
        "sasl_malformed",
        "the OAUTHBEARER message is malformed: the last value is not ended",
    );
    check_message(
        &with("n,,\u{1}host=kafka\u{1}\u{1}"),
        "sasl_no_token",
        "the OAUTHBEARER message has no `auth` value",
    );
    let told = "the client asks for channel binding, which OAUTHBEARER here does not offer";
    check_message(&with("y,,\u{1}auth=Bearer TOKEN\u{1}\u{1}"), "sasl_channel_binding", told);
    check_message(
        &with("n,,\u{1}auth=Basic TOKEN\u{1}\u{1}"),
        "sasl_not_bearer",
        "the authorization scheme is not `Bearer`",
    );
    let told = "the client asks to act as another principal than its token's";
    check_message(&with("n,a=admin,\u{1}auth=Bearer TOKEN\u{1}\u{1}"), "authzid_mismatch", told);
    let told = "the token is longer than 32768 bytes";
    check_message(&oauthbearer(&"a".repeat(32769)), "token_too_long", told);
    let mut client = WEIR.apps();
    assert_eq!(client.handshake("OAUTHBEARER").0, 0);
    let login = client.authenticate(&with("n,a=form,\u{1}auth=Bearer TOKEN\u{1}host=kafka\u{1}\u{1}"));
    assert_eq!((login.error, login.message.as_str()), (0, ""), "its own name and an extension are good");
}
