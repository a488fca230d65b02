//! Who is answered when, and what keys are still believed.

use rustls::pki_types::CertificateDer;
use weir_session::KEYS_WAIT_MAX;

use super::fetch::FETCH_TIMEOUT;
use super::follow::{ASK_PAUSE, Ask, DOUBLINGS_MAX, REFRESH_EVERY, REFRESH_MAX, REFRESH_MIN, RETRY_MAX, RETRY_MIN};
use super::still_vouched;
use crate::config::{KeyPlace, KeySource};
use crate::gateway::inbox::{Inbox, Message};

#[test]
fn a_login_sees_the_end_of_the_attempt_that_is_made_for_it() {
    // It may come when an attempt has just begun, which says nothing about its key.
    assert!(ASK_PAUSE.max(FETCH_TIMEOUT) + FETCH_TIMEOUT < KEYS_WAIT_MAX);
    assert!(REFRESH_MIN < REFRESH_EVERY && REFRESH_EVERY < REFRESH_MAX && RETRY_MIN < RETRY_MAX);
    assert!(RETRY_MIN * (1 << DOUBLINGS_MAX) > RETRY_MAX);
}

#[tokio::test]
async fn a_login_is_answered_also_when_whoever_was_to_do_it_is_gone() {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let inbox = Inbox::new(sender);
    // In the queue of a task that is aborted, and taken by it already.
    let (asks, mut asked) = tokio::sync::mpsc::channel(2);
    for login in [1, 2] {
        asks.try_send(Ask::new(login, inbox.clone())).ok().unwrap();
    }
    let (taken, is_taken) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let held = asked.recv().await;
        taken.send(()).unwrap();
        std::future::pending::<()>().await;
        drop((held, asked));
    });
    is_taken.await.unwrap();
    assert!(told.try_recv().is_err(), "the control: as long as it lives nobody is answered");
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let mut answered = Vec::new();
    while let Ok(Message::Keys { login, fetched }) = told.try_recv() {
        assert!(!fetched);
        answered.push(login);
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 2]);
    // One that was answered is not answered again.
    Ask::new(3, inbox).answer(true);
    assert!(matches!(told.try_recv(), Ok(Message::Keys { login: 3, fetched: true })));
    assert!(told.try_recv().is_err());
}

#[test]
fn keys_stay_only_where_everybody_who_was_trusted_still_is() {
    let source = |url: &str, ca: Option<&[u8]>| KeySource {
        issuer: "issuer".to_owned(),
        place: KeyPlace::Url(url.parse().unwrap()),
        ca: ca.map(|names| names.iter().map(|name| CertificateDer::from(vec![*name])).collect()),
    };
    let here = "https://sso.example.com/keys";
    for (old, new, stays) in [
        (None, None, true),
        (Some(&b"a"[..]), Some(&b"a"[..]), true),
        (Some(b"a"), Some(b"ba"), true),
        (Some(b"ab"), Some(b"b"), false),
        (Some(b"a"), Some(b"b"), false),
        (Some(b"a"), None, false),
        (None, Some(b"a"), false),
    ] {
        assert_eq!(still_vouched(&source(here, old), &source(here, new)), stays, "{old:?} {new:?}");
        assert!(!still_vouched(&source(here, old), &source("https://sso.example.com/other", new)));
    }
}
