//! The steps that lead to each row.

use std::time::Duration;

use weir_testkit::{KeyKind, TokenIssuer};

use crate::batch::{self, Header, Record};
use crate::closed;
use crate::ground::{ISSUER, WEIR, Weir, token, topic, until};
use crate::wire::{
    self, Bytes, Client, FETCH, HEARTBEAT, METADATA, PRODUCE, fetch_body, fetched, flexible, metadata_body,
    oauthbearer, produce_body, produced, request, sized,
};

/// What the client got.
pub(crate) struct Got {
    /// Kafka's code; none when the connection was closed.
    pub(crate) code: Option<i16>,
    /// The client's address, where the log line must name it.
    pub(crate) peer: Option<String>,
}

/// How to get there.
pub(crate) struct Walk {
    pub(crate) weir: &'static Weir,
    pub(crate) act: Box<dyn Fn(&Weir) -> Got + std::panic::RefUnwindSafe>,
}

/// A weir whose limits are within reach.
static NARROW: std::sync::LazyLock<Weir> = std::sync::LazyLock::new(|| {
    let limits = ["connections_per_address_max: 3", "body_timeout: 1s", "login_timeout: 1s"];
    Weir::start(|yaml| limits.iter().fold(yaml, |yaml, line| yaml.section("limits", line)))
});

/// A weir that takes three connections of all addresses together, and one login at a time.
static SMALL: std::sync::LazyLock<Weir> = std::sync::LazyLock::new(|| {
    let limits = ["connections_max: 3", "handshakes_max: 1"];
    Weir::start(|yaml| limits.iter().fold(yaml, |yaml, line| yaml.section("limits", line)))
});

/// A weir that lets sixteen log in at once, and four of one address.
static SHARES: std::sync::LazyLock<Weir> =
    std::sync::LazyLock::new(|| Weir::start(|yaml| yaml.section("limits", "handshakes_max: 16")));

/// A weir at which everybody may read one topic, and nothing else.
static STRICT: std::sync::LazyLock<Weir> =
    std::sync::LazyLock::new(|| Weir::start(|yaml| yaml.policy("test", STRICT_POLICY)));

const STRICT_POLICY: &str = r#"
version: 1
access:
  - name: readers
    principals: { groups: [apps] }
    allow: [{ consume: ["alive"] }]
"#;

/// Every row that one weir before one broker can show, with the steps to it.
pub(crate) fn walks() -> Vec<(&'static str, Walk)> {
    let mut walks = Vec::new();
    connections(&mut walks);
    apis(&mut walks);
    logins(&mut walks);
    records(&mut walks);
    walks
}

type Walks = Vec<(&'static str, Walk)>;

fn add(
    walks: &mut Walks,
    key: &'static str,
    weir: &'static Weir,
    act: impl Fn(&Weir) -> Got + std::panic::RefUnwindSafe + 'static,
) {
    walks.push((key, Walk { weir, act: Box::new(act) }));
}

/// Sends bytes and waits for the end of the connection.
fn sends(mut client: Client, bytes: &[u8]) -> Got {
    client.send(bytes);
    closed(client)
}

fn connections(walks: &mut Walks) {
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 506]].concat();
    add(walks, "tls-on-plaintext", &WEIR, move |weir| sends(weir.open(), &hello));
    add(walks, "http-on-kafka", &WEIR, |weir| sends(weir.open(), b"GET / HTTP/1.1\r\nhost: kafka:9092\r\n\r\n"));
    add(walks, "frame-size", &WEIR, |weir| sends(weir.open(), &(-1_i32).to_be_bytes()));
    let frame = || sized(&request(METADATA, 1, 1, &metadata_body(&[])));
    add(walks, "frame-cut", &WEIR, move |weir| {
        let mut client = weir.open();
        client.send(&frame()[..6]);
        client.close_own_side();
        closed(client)
    });
    add(walks, "body-late", &NARROW, move |weir| sends(weir.open(), &frame()[..6]));
    add(walks, "request-form", &WEIR, |weir| {
        sends(weir.open(), &sized(&request(METADATA, 1, 1, &[metadata_body(&[]), vec![0]].concat())))
    });
    add(walks, "login-late", &NARROW, |weir| closed(weir.apps()));
    add(walks, "too-many-of-an-address", &NARROW, |weir| crowd(weir, || weir.open(), 3));
    add(walks, "too-many", &SMALL, |weir| crowd(weir, || weir.open(), 3));
    add(walks, "too-many-logins", &SMALL, |weir| crowd(weir, || weir.apps(), 1));
    add(walks, "too-many-logins-of-an-address", &SHARES, |weir| crowd(weir, || weir.apps(), 4));
}

/// So many are let in; the next is not.
fn crowd(weir: &Weir, connect: impl Fn() -> Client, places: usize) -> Got {
    // Whoever was there before may have gone without weir knowing it yet.
    let open = |listener: &str| weir.metric(&format!("weir_connections{{listener=\"{listener}\"}}"));
    until("nobody is there", || open("open") + open("apps") == 0.0);
    let mut inside = (0..places).map(|_| connect()).collect::<Vec<_>>();
    assert!(inside.iter_mut().all(|client| client.call(wire::API_VERSIONS, 0, &[]).is_some()));
    closed(connect())
}

fn apis(walks: &mut Walks) {
    add(walks, "api-unknown", &WEIR, |weir| sends(weir.open(), &sized(&request(999, 0, 1, &[]))));
    add(walks, "api-not-served", &WEIR, |weir| {
        let mut client = weir.open();
        // DescribeAcls: throttle time, then the code.
        client.send_frame(&flexible(29, 3, 9, b"the body is not read"));
        let (_, body) = client.answer().unwrap();
        let code = body.windows(2).take(8).map(|two| i16::from_be_bytes([two[0], two[1]])).find(|code| *code != 0);
        Got { code, peer: Some(client.peer()) }
    });
    add(walks, "not-logged-in", &WEIR, |weir| {
        sends(weir.apps(), &sized(&request(METADATA, 1, 1, &metadata_body(&[]))))
    });
}

fn logins(walks: &mut Walks) {
    add(walks, "mechanism", &WEIR, |weir| {
        let mut client = weir.apps();
        Got { code: Some(client.handshake("PLAIN").0), peer: Some(client.peer()) }
    });
    let mut refused = |key: &'static str, token: fn() -> String| {
        add(walks, key, &WEIR, move |weir| log_in(weir, &oauthbearer(&token())));
    };
    refused("token-expired", || ISSUER.token("late").expired(Duration::from_secs(190)).sign().unwrap());
    refused("token-early", || ISSUER.token("early").not_before(Duration::from_secs(210)).sign().unwrap());
    refused("token-audience", || ISSUER.token("a").audience("billing").sign().unwrap());
    refused("token-issuer", || {
        TokenIssuer::new("https://other.test", &[("ec-1", KeyKind::P256)]).unwrap().token("a").sign().unwrap()
    });
    refused("token-key", || {
        TokenIssuer::new(ISSUER.name(), &[("ec-2", KeyKind::P256)]).unwrap().token("a").sign().unwrap()
    });
    refused("token-signature", || ISSUER.token("a").tampered("sub", "admin").unwrap());
    refused("token-algorithm", || ISSUER.token("a").header("alg", "none").unsigned());
    add(walks, "auth-twice", &WEIR, |weir| {
        let good = token("twice");
        log_in(weir, format!("n,,\u{1}auth=Bearer {good}\u{1}auth=Bearer {good}\u{1}\u{1}").as_bytes())
    });
    add(walks, "principal-changed", &WEIR, |weir| {
        let mut client = weir.apps();
        assert_eq!(client.login(&token("first")).error, 0);
        // A connection may log in again once a second.
        std::thread::sleep(Duration::from_millis(1100));
        let second = client.login(&token("second"));
        Got { code: Some(second.error), peer: Some(client.peer()) }
    });
    add(walks, "session-expired", &WEIR, |weir| {
        let mut client = weir.apps();
        let short = ISSUER.token("short").groups(&["apps"]).expires_in(Duration::from_secs(2)).sign().unwrap();
        assert_eq!(client.login(&short).error, 0);
        closed(client)
    });
}

fn log_in(weir: &Weir, message: &[u8]) -> Got {
    let mut client = weir.apps();
    assert_eq!(client.handshake("OAUTHBEARER").0, 0);
    Got { code: Some(client.authenticate(message).error), peer: Some(client.peer()) }
}

fn records(walks: &mut Walks) {
    add(walks, "produce-denied", &STRICT, |weir| produce(weir, -1, "alive", &batch::plain(&["{}"]), true));
    add(walks, "fetch-denied", &STRICT, |weir| {
        let mut client = weir.open();
        let body = client.call(FETCH, 11, &fetch_body("ruled-errors", 0, 0, 10)).unwrap();
        Got { code: Some(fetched(&body).0), peer: Some(client.peer()) }
    });
    add(walks, "group-denied", &STRICT, |weir| {
        let mut client = weir.open();
        let body = client.call(HEARTBEAT, 0, &Bytes::default().string("g").i32(1).string("member").0).unwrap();
        Got { code: Some(i16::from_be_bytes([body[0], body[1]])), peer: Some(client.peer()) }
    });
    static TOPIC: std::sync::Once = std::sync::Once::new();
    TOPIC.call_once(|| topic("ruled-errors", 1));
    add(walks, "record-refused", &WEIR, |weir| produce(weir, -1, "ruled-errors", &batch::plain(&["no json"]), false));
    add(walks, "batch-unreadable", &WEIR, |weir| {
        let mut header = Header::of(1);
        header.crc_lie = 1;
        produce(weir, -1, "ruled-errors", &header.seal(&Record::new(0, b"{}").encode()), false)
    });
    add(walks, "refused-without-answer", &WEIR, |weir| {
        let body = produce_body(0, &[("ruled-errors", &[(0, &batch::plain(&["no json"]))])]);
        sends(weir.open(), &sized(&request(PRODUCE, 8, 1, &body)))
    });
    add(walks, "acks", &WEIR, |weir| produce(weir, 2, "ruled-errors", &batch::plain(&["{}"]), true));
}

/// `by_peer`: the log line names the client's address.
fn produce(weir: &Weir, acks: i16, topic: &str, batch: &[u8], by_peer: bool) -> Got {
    let mut client = weir.open();
    let body = client.call(PRODUCE, 8, &produce_body(acks, &[(topic, &[(0, batch)])])).unwrap();
    Got { code: Some(produced(&body)[0].error), peer: by_peer.then(|| client.peer()) }
}
