//! Against servers that do what no good server does.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::*;

/// One P-256 key; any would do.
const KEY: &str = r#"{"kty":"EC","crv":"P-256","kid":"k","use":"sig","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

/// A server on this machine: `answer` gets the path that is asked for, and its own address.
fn serve(answer: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let (answer, own) = (Arc::new(answer), address.clone());
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let (mut stream, answer, own) = (stream.unwrap(), Arc::clone(&answer), own.clone());
            std::thread::spawn(move || {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                // Whoever asked may be gone.
                drop(stream.write_all(&answer(path, &own)));
            });
        }
    });
    address
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into()
}

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "", body)
}

fn key_set() -> String {
    format!("{{\"keys\":[{KEY}]}}")
}

fn fetch_from(issuer: String, place: KeyPlace) -> Result<Fetched, FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Fetcher::new(KeySource { issuer, place, ca: None }).unwrap().fetch())
}

/// Fetches the key set at `/keys` of a server.
fn fetch(answer: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static) -> Result<Fetched, FetchError> {
    let url = format!("http://{}/keys", serve(answer)).parse().unwrap();
    fetch_from("i".to_owned(), KeyPlace::Url(url))
}

/// Discovers the keys of a server whose document is that, `HERE` being its own address.
fn discover(document: &'static str) -> Result<Fetched, FetchError> {
    let address = serve(move |path, own| match path {
        "/.well-known/openid-configuration" => ok(&document.replace("HERE", own)),
        "/keys" => ok(&key_set()),
        _ => answer("404 Not Found", "", ""),
    });
    let document = format!("http://{address}/.well-known/openid-configuration").parse().unwrap();
    fetch_from(format!("http://{address}"), KeyPlace::Discover(document))
}

#[track_caller]
fn check(fetched: Result<Fetched, FetchError>, expected: Result<usize, &str>) {
    match (&fetched, expected) {
        (Ok(fetched), Ok(keys)) => assert_eq!(fetched.jwks.len(), keys),
        (Err(error), Err(code)) => {
            assert_eq!(error.code(), code, "{error}");
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.contains("secret"), "{text}");
            assert!(!error.hint().is_empty());
        }
        (Ok(_), Err(code)) => panic!("fetched instead of {code}"),
        (Err(error), Ok(_)) => panic!("{error}"),
    }
}

#[test]
fn takes_a_key_set_and_how_long_it_stays_good() {
    let fetched = fetch(|_, _| answer("200 OK", "cache-control: public, max-age=77\r\n", &key_set())).unwrap();
    assert_eq!((fetched.jwks.len(), fetched.max_age), (1, Some(Duration::from_secs(77))));
    assert_eq!(fetch(|_, _| ok(&key_set())).unwrap().max_age, None);
}

#[test]
fn refuses_what_is_no_key_set() {
    check(fetch(|_, _| ok("<html>secret</html>")), Err("key_set"));
    check(fetch(|_, _| ok("{\"keys\":[]}")), Err("key_set"));
    check(fetch(|_, _| ok("")), Err("key_set"));
    check(fetch(|_, _| answer("200 OK", "", "\u{fffd}")), Err("key_set"));
    check(fetch(|_, _| answer("500 Oh", "", &key_set())), Err("status"));
    check(fetch(|_, _| answer("204 No Content", "", "")), Err("status"));
}

#[test]
fn reads_up_to_a_limit() {
    let padded = |bytes: usize| {
        let set = key_set();
        set.clone() + &" ".repeat(bytes - set.len())
    };
    check(fetch(move |_, _| ok(&padded(JWKS_BYTES_MAX))), Ok(1));
    check(fetch(move |_, _| ok(&padded(JWKS_BYTES_MAX + 1))), Err("too_long"));
    // Without a length the end is that of the connection, which an enemy does not give.
    check(
        fetch(move |_, _| format!("HTTP/1.1 200 OK\r\n\r\n{}", padded(JWKS_BYTES_MAX * 2)).into_bytes()),
        Err("too_long"),
    );
}

#[test]
fn waits_up_to_a_limit() {
    let silent = |_: &str, _: &str| {
        std::thread::sleep(FETCH_TIMEOUT * 3);
        Vec::new()
    };
    check(fetch(silent), Err("timeout"));
    // The connection ends in the midst of the body.
    check(fetch(|_, _| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()), Err("broken"));
    // Nobody listens.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/keys").parse().unwrap();
    check(fetch_from("i".to_owned(), KeyPlace::Url(url)), Err("connect"));
}

#[test]
fn follows_no_redirect_to_another_host() {
    let moved = |to: String| answer("302 Found", &format!("location: {to}\r\n"), "");
    let here = move |path: &str, own: &str| match path {
        "/keys" => moved(format!("http://{own}/moved")),
        "/moved" => ok(&key_set()),
        _ => answer("404 Not Found", "", ""),
    };
    check(fetch(here), Ok(1));
    let elsewhere = serve(|_, _| ok(&key_set()));
    check(fetch(move |_, _| moved(format!("http://{elsewhere}/keys"))), Err("redirect"));
    check(fetch(move |_, own| moved(format!("http://{own}/keys"))), Err("redirect"));
}

#[test]
fn believes_a_document_of_its_issuer_alone() {
    check(discover(r#"{"issuer":"http://HERE","jwks_uri":"http://HERE/keys"}"#), Ok(1));
    check(discover(r#"{"issuer":"http://HERE/","jwks_uri":"http://HERE/keys"}"#), Err("other_issuer"));
    check(discover(r#"{"issuer":"https://evil.test","jwks_uri":"http://HERE/keys"}"#), Err("other_issuer"));
    check(discover(r#"{"jwks_uri":"http://HERE/keys"}"#), Err("discovery"));
    check(discover(r#"{"issuer":"http://HERE"}"#), Err("discovery"));
    check(discover(r#"{"issuer":"http://HERE","jwks_uri":7}"#), Err("discovery"));
    check(discover("secret"), Err("discovery"));
    check(discover(r#"{"issuer":"http://HERE","jwks_uri":"http://keys.example.com/"}"#), Err("jwks_uri"));
    check(discover(r#"{"issuer":"http://HERE","jwks_uri":"/keys"}"#), Err("jwks_uri"));
    check(discover(r#"{"issuer":"http://HERE","jwks_uri":"http://HERE/absent"}"#), Err("status"));
}

#[test]
fn discovers_again_after_a_failure_and_not_before() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static DOCUMENTS: AtomicUsize = AtomicUsize::new(0);
    static SETS: AtomicUsize = AtomicUsize::new(0);
    let address = serve(|path, own| match path {
        "/.well-known/openid-configuration" => {
            DOCUMENTS.fetch_add(1, Ordering::Relaxed);
            ok(&format!("{{\"issuer\":\"http://{own}\",\"jwks_uri\":\"http://{own}/keys\"}}"))
        }
        // The third request fails.
        _ => match SETS.fetch_add(1, Ordering::Relaxed) {
            2 => answer("503 Busy", "", ""),
            _ => ok(&key_set()),
        },
    });
    let document = format!("http://{address}/.well-known/openid-configuration").parse().unwrap();
    let source = KeySource { issuer: format!("http://{address}"), place: KeyPlace::Discover(document), ca: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut fetcher = Fetcher::new(source).unwrap();
    let mut attempt = || runtime.block_on(fetcher.fetch()).is_ok();
    assert_eq!([attempt(), attempt(), attempt()], [true, true, false]);
    assert_eq!(DOCUMENTS.load(Ordering::Relaxed), 1);
    assert!(attempt());
    assert_eq!(DOCUMENTS.load(Ordering::Relaxed), 2);
}

#[test]
fn reads_max_age() {
    let check = |value: &str, expected: Option<u64>| {
        assert_eq!(max_age(value), expected.map(Duration::from_secs), "{value}");
    };
    check("public, max-age=3600", Some(3600));
    check("Max-Age=\"60\"", Some(60));
    check("max-age=0", Some(0));
    for value in ["", "no-store", "max-age", "max-age=", "max-age=-1", "s-maxage=60", "x-max-age=7"] {
        check(value, None);
    }
}
