//! Logins whose token needs keys that are not there yet: first the keys, then the decision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kafka_protocol::messages::{MetadataRequest, SaslAuthenticateRequest};
use weir_authn::{Algorithm, Identity, IssuerConfig, IssuerKeys, Jwks};
use weir_session::{Context, KEYS_WAIT_MAX, Now};
use weir_testkit::{KeyKind, TokenIssuer};

use crate::messages::{METADATA, metadata, metadata_answer};
use crate::stage::{Setup, Stage, authentication, play, play_in};
use crate::world::{self, SECOND, TICK};

/// The issuer before and after it changed its key.
#[derive(Clone, Copy, Debug)]
enum Key {
    Old,
    New,
}

fn issuer(key: Key) -> &'static TokenIssuer {
    static OLD: OnceLock<TokenIssuer> = OnceLock::new();
    static NEW: OnceLock<TokenIssuer> = OnceLock::new();
    let (cell, id) = match key {
        Key::Old => (&OLD, "old"),
        Key::New => (&NEW, "new"),
    };
    cell.get_or_init(|| TokenIssuer::new("https://issuer.test", &[(id, KeyKind::P256)]).unwrap())
}

/// A token signed with that key, good for a minute. Made once: signatures are not repeatable.
fn token(subject: &str, key: Key, now: Now) -> String {
    static TOKENS: OnceLock<Mutex<HashMap<String, String>>> = OnceLock::new();
    let mut tokens = TOKENS.get_or_init(Mutex::default).lock().unwrap();
    let fresh = || {
        let token = issuer(key).token(subject).issued_at(now.wall).expires_in(60 * SECOND);
        token.groups(&["checkout"]).sign().unwrap()
    };
    tokens.entry(format!("{subject} {key:?} {now:?}")).or_insert_with(fresh).clone()
}

fn with_keys(keys: IssuerKeys) -> Context {
    let issuer = IssuerConfig {
        issuer: "https://issuer.test".to_owned(),
        audience: vec!["kafka".to_owned()],
        algorithms: vec![Algorithm::ES256],
        principal_path: "sub".to_owned(),
        groups_path: "groups".to_owned(),
        keys,
    };
    let identity = Identity::new(vec![issuer], Duration::ZERO, 3600 * SECOND).unwrap();
    Context { identity: Arc::new(identity), ..world::context() }
}

fn jwks(key: Key) -> Jwks {
    Jwks::parse(&issuer(key).jwks()).unwrap()
}

/// A world in which that key was fetched, or none yet.
fn fetched(key: Option<Key>) -> Context {
    with_keys(IssuerKeys::Fetched(key.map(jwks)))
}

fn knows(key: Option<Key>) -> impl Fn() -> Setup {
    move || Setup { context: fetched(key), ..Setup::default() }
}

/// Begins a login that has to wait, and returns its name.
#[track_caller]
fn login_waits(stage: &mut Stage, subject: &str, key: Key) -> u64 {
    stage.handshake();
    stage.ask(2, &authentication(&token(subject, key, stage.now)));
    stage.no_answer();
    let asked = stage.asked_for();
    let last = asked.last().and_then(|asked| asked.strip_prefix("keys of https://issuer.test for "));
    last.unwrap_or_else(|| panic!("{asked:?}")).parse().unwrap()
}

#[test]
fn a_token_with_a_new_key_waits_for_it_and_is_let_in() {
    for known in [None, Some(Key::Old)] {
        play_in(knows(known), |stage| {
            let login = login_waits(stage, "svc-1", Key::New);
            stage.wait(3 * SECOND);
            stage.no_answer();
            stage.keys_are_tried(login, true, fetched(Some(Key::New)));
            assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 0);
            assert_eq!(stage.session.principal(), Some("svc-1"));
            assert_eq!(stage.refused(), []);
            stage.stays_open();
        });
    }
}

#[test]
fn keys_that_are_given_are_not_waited_for() {
    let setup = || Setup { context: with_keys(jwks(Key::Old).into()), ..Setup::default() };
    play_in(setup, |stage| {
        stage.handshake();
        assert_eq!(stage.authenticate(&token("svc-1", Key::New, stage.now)).error_code, 58);
        assert_eq!(stage.refused(), [(58, "token_unknown_key", None)]);
        assert_eq!(stage.asked_for(), [""; 0]);
        stage.closed_by("login_failed");
    });
}

#[test]
fn a_key_that_the_issuer_does_not_have_is_refused_after_it_was_asked() {
    let told = |fetched: bool, known, after| {
        let mut message = String::new();
        let (message_out, refused) = (&mut message, std::cell::RefCell::new(Vec::new()));
        let out = Mutex::new(message_out);
        play_in(knows(known), |stage| {
            let login = login_waits(stage, "svc-1", Key::New);
            stage.keys_are_tried(login, fetched, self::fetched(after));
            let answer = stage.answer::<SaslAuthenticateRequest>();
            assert_eq!(answer.error_code, 58);
            **out.lock().unwrap() = answer.error_message.unwrap().to_string();
            *refused.borrow_mut() = stage.refused();
            stage.closed_by("login_failed");
        });
        let reason = refused.borrow().first().map(|(_, reason, _)| *reason);
        (message, reason)
    };
    let old = Some(Key::Old);
    assert_eq!(
        told(true, old, old),
        ("weir: the token is signed with a key that its issuer does not publish".to_owned(), Some("token_unknown_key"))
    );
    let unavailable = "weir: the token is signed with a key that is not known here, and its issuer cannot be asked now; \
                       try again in a while";
    assert_eq!(told(false, old, old), (unavailable.to_owned(), Some("issuer_keys_unavailable")));
    let missing = "weir: the keys of the token's issuer could not be fetched yet; try again in a while";
    assert_eq!(told(false, None, None), (missing.to_owned(), Some("issuer_keys_missing")));
}

#[test]
fn a_wait_has_an_end_and_an_answer() {
    play_in(knows(Some(Key::Old)), |stage| {
        let login = login_waits(stage, "svc-1", Key::New);
        stage.wait(KEYS_WAIT_MAX - TICK);
        stage.no_answer();
        stage.wait(TICK);
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 58);
        stage.closed_by("login_failed");
        assert_eq!(stage.refused(), [(58, "issuer_keys_unavailable", None)]);
        // Too late.
        stage.keys_are_tried(login, true, fetched(Some(Key::New)));
        assert_eq!(stage.session.principal(), None);
    });
}

#[test]
fn a_wait_ends_before_the_time_to_log_in_does() {
    let setup = || {
        let mut setup = knows(Some(Key::Old))();
        setup.context.limits.login_timeout = 4 * SECOND;
        setup
    };
    play_in(setup, |stage| {
        login_waits(stage, "svc-1", Key::New);
        stage.wait(3 * SECOND - TICK);
        stage.no_answer();
        stage.wait(TICK);
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 58);
        stage.closed_by("login_failed");
    });
}

#[test]
fn keys_that_come_for_somebody_else_let_in_at_once() {
    play_in(knows(Some(Key::Old)), |stage| {
        let login = login_waits(stage, "svc-1", Key::New);
        // Another world without the key changes nothing.
        stage.swap(fetched(Some(Key::Old)));
        stage.no_answer();
        stage.swap(fetched(Some(Key::New)));
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 0);
        // What comes of the question then is nobody's business, and not that of the next login.
        stage.wait(SECOND);
        let next = login_waits(stage, "svc-1", Key::Old);
        stage.keys_are_tried(login, true, fetched(Some(Key::New)));
        stage.no_answer();
        stage.keys_are_tried(next, true, fetched(Some(Key::Old)));
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 0);
        stage.stays_open();
    });
}

#[test]
fn a_login_again_waits_in_its_place_and_keeps_the_principal() {
    play_in(knows(Some(Key::Old)), |stage| {
        stage.handshake();
        assert_eq!(stage.authenticate(&token("svc-1", Key::Old, stage.now)).error_code, 0);
        stage.ask(METADATA, &metadata());
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.wait(50 * SECOND);
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        let login = login_waits(stage, "svc-1", Key::New);
        // Nothing behind the login is looked at before it is decided.
        stage.ask(METADATA, &metadata());
        stage.heard_nothing();
        assert!(stage.unread() > 0);
        stage.keys_are_tried(login, true, fetched(Some(Key::New)));
        let answer = stage.answer::<SaslAuthenticateRequest>();
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 60_000));
        assert_eq!(stage.session.principal(), Some("svc-1"));
        let (asked, _) = stage.heard::<MetadataRequest>();
        stage.say(&asked, &metadata_answer());
        stage.answer::<MetadataRequest>();
        stage.wait(20 * SECOND);
        stage.stays_open();
    });
}

#[test]
fn a_login_again_of_another_principal_with_a_new_key_ends_the_connection() {
    play_in(knows(Some(Key::Old)), |stage| {
        stage.handshake();
        assert_eq!(stage.authenticate(&token("svc-1", Key::Old, stage.now)).error_code, 0);
        stage.wait(SECOND);
        let login = login_waits(stage, "svc-2", Key::New);
        stage.keys_are_tried(login, true, fetched(Some(Key::New)));
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 58);
        assert_eq!(stage.refused(), [(58, "principal_changed", None)]);
        stage.closed_by("login_failed");
    });
}

#[test]
fn a_session_whose_token_expires_while_the_next_waits_ends() {
    play_in(knows(Some(Key::Old)), |stage| {
        stage.handshake();
        assert_eq!(stage.authenticate(&token("svc-1", Key::Old, stage.now)).error_code, 0);
        stage.wait(58 * SECOND);
        login_waits(stage, "svc-1", Key::New);
        stage.wait(2 * SECOND);
        stage.closed_by("expired");
        stage.no_answer();
    });
}

#[test]
fn a_dropped_key_takes_its_tokens_with_it() {
    play_in(knows(Some(Key::Old)), |stage| {
        stage.swap(fetched(Some(Key::New)));
        let login = login_waits(stage, "svc-1", Key::Old);
        stage.keys_are_tried(login, true, fetched(Some(Key::New)));
        assert_eq!(stage.answer::<SaslAuthenticateRequest>().error_code, 58);
        stage.closed_by("login_failed");
    });
}

#[test]
fn who_leaves_while_waiting_is_forgotten() {
    play_in(knows(None), |stage| {
        let login = login_waits(stage, "svc-1", Key::New);
        stage.client_goes();
        stage.keys_are_tried(login, true, fetched(Some(Key::New)));
        assert_eq!(stage.session.principal(), None);
        assert_eq!(stage.entries(), []);
    });
}

#[test]
fn the_old_world_needs_no_keys() {
    // The control for this file: where nothing is fetched nothing is asked for.
    play(|stage| {
        stage.login();
        assert_eq!(stage.asked_for(), ["login of svc-1"]);
    });
}
