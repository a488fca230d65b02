//! What connections cost that do nothing.

use rustls::version::TLS13;
use weir_testkit::Listener;

use crate::ground::{Client, Weir, cluster, place};

/// The design's budget for a connection with TLS on both sides, bytes.
const IDLE_BYTES_MAX: u64 = 64 << 10;

/// Connections before the first look at memory: what the process needs once is there then.
const WARM_UP: usize = 50;
const CONNECTIONS: usize = 200;

#[test]
fn an_idle_connection_with_tls_on_both_sides_is_small() {
    let cluster = cluster();
    let weir = Weir::start(
        &cluster.tls,
        |dir| {
            dir.write("ca.pem", cluster.authority.pem()).unwrap();
            place(dir, "door", &cluster.authority.issue(&["127.0.0.1"]).unwrap());
            place(dir, "weir", &cluster.authority.issue(&["weir"]).unwrap());
        },
        |yaml, ports| {
            let listener = Listener::anonymous("open", &ports.address(0), &["apps"]);
            yaml.listener(listener.line("tls: { cert: door.crt, key: door.key }"))
                .upstream("tls: { ca: ca.pem, cert: weir.crt, key: weir.key }")
        },
    );
    weir.becomes_ready();
    let connect = || {
        let mut client = Client::connect(&weir.address(), cluster.authority.pem(), &[&TLS13]).unwrap();
        client.asks_the_broker().unwrap();
        client
    };
    let _warm: Vec<Client> = (0..WARM_UP).map(|_| connect()).collect();
    let before = weir.process.usage().unwrap();
    let _idle: Vec<Client> = (0..CONNECTIONS).map(|_| connect()).collect();
    let after = weir.process.usage().unwrap();
    let connections = u64::try_from(CONNECTIONS).unwrap();
    assert!(after.files >= before.files + 2 * CONNECTIONS, "each has a connection to the broker");
    let each = after.rss_bytes.saturating_sub(before.rss_bytes) / connections;
    println!("an idle connection with TLS on both sides: {each} bytes");
    assert!(each < IDLE_BYTES_MAX, "{each} bytes each");
}
