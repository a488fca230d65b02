//! Reading under TLS: nothing that is decrypted is forgotten, and each way to end is told.
#![expect(clippy::disallowed_methods, reason = "the peer of these tests writes what it wants")]

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};

use super::{Read, SEALED_BYTES_MAX, Socket};

/// A client, and the socket that it came to. `early` is what the client sends together with the end of its handshake.
async fn pair(version: &'static SupportedProtocolVersion, early: &[u8]) -> (Peer, Socket) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["weir.test".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]).unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let early = early.to_vec();
    let peer = tokio::task::spawn_blocking(move || {
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        let name = ServerName::try_from("weir.test").unwrap();
        let mut connection = ClientConnection::new(Arc::new(client), name).unwrap();
        // Before the handshake, so that it leaves with its last flight.
        connection.writer().write_all(&early).unwrap();
        while connection.is_handshaking() || connection.wants_write() {
            connection.complete_io(&mut tcp).unwrap();
        }
        Peer { tcp, connection }
    });
    let (tcp, _) = listener.accept().await.unwrap();
    let accepted = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(tcp).await.unwrap();
    let (tcp, connection): (TcpStream, _) = accepted.into_inner();
    (peer.await.unwrap(), Socket::secured(tcp, Connection::from(connection)).unwrap())
}

struct Peer {
    tcp: std::net::TcpStream,
    connection: ClientConnection,
}

impl Peer {
    fn send(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(10_000) {
            self.connection.writer().write_all(piece).unwrap();
            while self.connection.wants_write() {
                self.connection.write_tls(&mut self.tcp).unwrap();
            }
        }
    }
}

/// Reads until there are `count` bytes, `wanted` at a time; `None` when the peer ended first.
async fn read(socket: &mut Socket, wanted: usize, count: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        tokio::time::timeout(Duration::from_secs(20), socket.readable()).await.expect("something is there")?;
        match socket.read(wanted, |read| bytes.extend_from_slice(read))? {
            Read::Taken(()) | Read::Nothing => {}
            Read::Closed => return Ok(None),
        }
    }
    Ok(Some(bytes))
}

impl Peer {
    fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            assert!(self.connection.read_tls(&mut self.tcp).unwrap() > 0, "{} of {count} bytes", bytes.len());
            let state = self.connection.process_new_packets().unwrap();
            let mut piece = vec![0; state.plaintext_bytes_to_read()];
            io::Read::read_exact(&mut self.connection.reader(), &mut piece).unwrap();
            bytes.extend_from_slice(&piece);
        }
        bytes
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_decrypted_is_read_however_little_is_wanted() {
    for version in VERSIONS {
        for wanted in [1, 10, 4_096, 100_000] {
            let (mut peer, mut socket) = pair(version, b"").await;
            let sent: Vec<u8> = (0..50_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            let expected = sent.clone();
            // It says nothing more after it: whoever waits for the socket alone waits for ever.
            let peer = tokio::task::spawn_blocking(move || {
                peer.send(&sent);
                peer
            });
            let got = read(&mut socket, wanted, expected.len()).await.unwrap();
            assert!(got.is_some_and(|got| got == expected), "{wanted} at a time");
            drop(peer.await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_the_handshake_is_not_forgotten() {
    for version in VERSIONS {
        let (_peer, mut socket) = pair(version, b"early").await;
        assert_eq!(read(&mut socket, 3, 5).await.unwrap().as_deref(), Some(&b"early"[..]));
        assert!(matches!(socket.read(3, |_| ()), Ok(Read::Nothing)), "the control: there is no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_an_end_whether_it_is_said_or_not() {
    for version in VERSIONS {
        for said in [true, false] {
            let (mut peer, mut socket) = pair(version, b"last").await;
            if said {
                peer.connection.send_close_notify();
                peer.connection.write_tls(&mut peer.tcp).unwrap();
            } else {
                peer.tcp.shutdown(std::net::Shutdown::Write).unwrap();
            }
            assert_eq!(read(&mut socket, 100, 4).await.unwrap().as_deref(), Some(&b"last"[..]), "what came before it");
            assert_eq!(read(&mut socket, 100, 1).await.unwrap(), None);
            assert_eq!(read(&mut socket, 100, 1).await.unwrap(), None, "and stays one");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_tls_after_the_handshake_ends_the_connection() {
    for version in VERSIONS {
        let (mut peer, mut socket) = pair(version, b"good").await;
        assert!(read(&mut socket, 100, 4).await.unwrap().is_some());
        peer.tcp.write_all(&[0; 64]).unwrap();
        let error = read(&mut socket, 100, 1).await.unwrap_err().to_string();
        assert!(error.contains("does not speak TLS"), "{error}");
        assert!(read(&mut socket, 100, 1).await.is_err(), "and stays so");
    }
}

/// As [`Socket::queue`] does with what a session cleared.
fn queue(socket: &mut Socket, bytes: &[u8], slice: usize) {
    socket.outgoing.slices.extend(bytes.chunks(slice).map(bytes::Bytes::copy_from_slice));
    socket.outgoing.len += bytes.len();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_nothing_is_kept_a_bounded_number_of_records() {
    // More than the buffers of the kernel take.
    let sent: Vec<u8> = (0..16_u32 << 20).map(|n| (n / 7).to_le_bytes()[0]).collect();
    for slice in [1_000, 100_000, sent.len()] {
        let (mut peer, mut socket) = pair(&rustls::version::TLS13, b"").await;
        queue(&mut socket, &sent, slice);
        while socket.write().unwrap() {}
        assert!(!socket.is_flushed() && socket.unsent() > SEALED_BYTES_MAX);
        let sealed = socket.tls.as_mut().unwrap().connection.process_new_packets().unwrap().tls_bytes_to_write();
        // Each of the records has a head and a tag.
        assert!((1..SEALED_BYTES_MAX + SEALED_BYTES_MAX / 4).contains(&sealed), "{sealed} bytes wait");
        let count = sent.len();
        let peer = tokio::task::spawn_blocking(move || peer.receive(count));
        tokio::time::timeout(Duration::from_secs(60), socket.flush()).await.expect("it takes all in the end").unwrap();
        assert_eq!(socket.unsent(), 0);
        assert!(peer.await.unwrap() == sent, "in slices of {slice}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_says_goodbye() {
    let (mut peer, mut socket) = pair(&rustls::version::TLS13, b"").await;
    assert!(socket.is_flushed());
    assert_eq!(socket.unsent(), 0);
    socket.close();
    assert!(!socket.is_flushed());
    socket.flush().await.unwrap();
    assert!(socket.is_flushed());
    let closed = tokio::task::spawn_blocking(move || {
        // Behind the tickets that this server gives.
        while peer.connection.read_tls(&mut peer.tcp).unwrap() > 0 {
            if peer.connection.process_new_packets().unwrap().peer_has_closed() {
                return true;
            }
        }
        false
    });
    assert!(closed.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_record_is_counted_and_timed_until_it_is_whole() {
    const WITHIN: Duration = Duration::from_secs(1);
    for version in VERSIONS {
        let (mut peer, mut socket) = pair(version, b"").await;
        peer.connection.writer().write_all(&[7; 16_000]).unwrap();
        let mut sealed = Vec::new();
        peer.connection.write_tls(&mut sealed).unwrap();
        let (first, rest) = sealed.split_at(9_000);
        peer.tcp.write_all(first).unwrap();
        let begun = std::time::Instant::now();
        while socket.unread() < first.len() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{} bytes", socket.unread());
            tokio::time::timeout(Duration::from_secs(20), socket.readable()).await.unwrap().unwrap();
            assert!(matches!(socket.read(100_000, |_| ()), Ok(Read::Nothing)));
        }
        assert_eq!(socket.unread(), first.len());
        let due = socket.record_due(WITHIN).unwrap();
        socket.give_time();
        assert!(socket.record_due(WITHIN).unwrap() > due, "a peer that is not read has its time anew");
        peer.tcp.write_all(rest).unwrap();
        assert_eq!(read(&mut socket, 100, 16_000).await.unwrap().map(|bytes| bytes.len()), Some(16_000));
        assert_eq!((socket.unread(), socket.record_due(WITHIN)), (0, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_on_a_quiet_connection_are_no_half_record() {
    let (mut peer, mut socket) = pair(&rustls::version::TLS13, b"").await;
    for _ in 0..8 {
        peer.connection.refresh_traffic_keys().unwrap();
        peer.connection.write_tls(&mut peer.tcp).unwrap();
    }
    peer.send(b"data");
    assert_eq!(read(&mut socket, 100, 4).await.unwrap().as_deref(), Some(&b"data"[..]));
    peer.connection.refresh_traffic_keys().unwrap();
    peer.connection.write_tls(&mut peer.tcp).unwrap();
    socket.readable().await.unwrap();
    assert!(matches!(socket.read(100, |_| ()), Ok(Read::Nothing)));
    assert_eq!((socket.unread(), socket.record_due(Duration::ZERO)), (0, None));
}
