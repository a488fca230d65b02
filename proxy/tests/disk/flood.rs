//! Bad logins from many addresses: the log says how many there were, and hardly grows.
//!
//! `WEIR_FLOOD_SECONDS` makes it longer: `just flood-proof` floods for the 60 seconds that are promised.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use weir_audit_store::used_bytes;
use weir_testkit::{KeyKind, Listener, PortBlock, Ready, TokenIssuer, WeirOptions, WeirProcess, WeirYaml, WorkDir};

/// What 60 seconds may add.
const BYTES_PER_MINUTE: u64 = 1_000_000;
const THREADS: u32 = 4;

/// A weir that nobody can log in to with what these clients have.
pub(crate) struct Flooded {
    pub(crate) weir: WeirProcess,
    dir: WorkDir,
    bootstrap: SocketAddr,
    _ports: PortBlock,
}

/// What a flood was.
#[derive(Debug)]
pub(crate) struct Flood {
    pub(crate) seconds: u64,
    /// Logins that were refused.
    pub(crate) refused: u64,
    /// Of these, those that the log counts.
    pub(crate) counted: u64,
    pub(crate) entries: u64,
    /// Bytes by which the files of the log grew.
    pub(crate) grown: u64,
}

impl Flood {
    pub(crate) fn bytes_max(&self) -> u64 {
        BYTES_PER_MINUTE * self.seconds / 60
    }
}

impl Flooded {
    pub(crate) fn start(env: &[(&str, &str)]) -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let issuer = TokenIssuer::new("https://issuer.test", &[("ec-1", KeyKind::P256)]).unwrap();
        let config = WeirYaml::new("127.0.0.1:1")
            .node_ids("1")
            .listener(Listener::oauthbearer("apps", &ports.address(0)))
            .issuer(issuer.name(), "kafka", &issuer.jwks(), &["ES256"])
            .policy("none", "version: 1\naccess: []\n")
            .metrics(&ports.address(15))
            .write(&dir)
            .unwrap();
        let bootstrap = ports.address(0).parse().unwrap();
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_weir"));
        let mut options = WeirOptions::new(binary, &config, Ready::Ports(vec![bootstrap]));
        options.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { weir: WeirProcess::start(options).unwrap(), dir, bootstrap, _ports: ports }
    }

    /// Floods it for so long, stops it and counts.
    pub(crate) fn flood(mut self, seconds: u64) -> Flood {
        let data_dir = self.dir.path().join("data");
        let before = used_bytes(&data_dir).unwrap();
        let (end, refused) = (Instant::now() + Duration::from_secs(seconds), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (to, refused) = (self.bootstrap, &refused);
                scope.spawn(move || {
                    for number in (thread..).step_by(4) {
                        if Instant::now() >= end {
                            break;
                        }
                        let [_, a, b, c] = (number % 0x00ff_0000 + 0x0002).to_be_bytes();
                        refused.fetch_add(u64::from(bad_login([127, a, b, c], to)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(self.weir.stop().unwrap().success());
        let grown = used_bytes(&data_dir).unwrap().saturating_sub(before);
        let query = ["audit", "query", "-o", "ndjson", "-n", "100000000"];
        let found = self.weir.options().run(&query).unwrap().success("weir audit query").unwrap().stdout;
        let refusals = found.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let refusals = refusals.filter(|entry| entry["kind"] == "auth_fail").collect::<Vec<_>>();
        let counted = refusals.iter().map(|entry| entry["count"].as_u64().unwrap()).sum();
        let (refused, entries) = (refused.load(Ordering::Relaxed), u64::try_from(refusals.len()).unwrap());
        Flood { seconds, refused, counted, entries, grown }
    }
}

/// Tries a token that is none, and says whether that was refused with SASL_AUTHENTICATION_FAILED.
fn bad_login(from: [u8; 4], to: SocketAddr) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mechanism = b"OAUTHBEARER";
    let mut body = u16::try_from(mechanism.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(mechanism);
    call(&mut stream, 17, 1, &body);
    let message = b"n,,\x01auth=Bearer no.such.token\x01\x01";
    let mut body = u32::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(message);
    let answer = call(&mut stream, 36, 1, &body);
    answer.get(4..6) == Some(58_i16.to_be_bytes().as_slice())
}

fn call(stream: &mut TcpStream, api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = [api.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend_from_slice(&[0, 0, 0, 1, 0, 1, b'f']);
    frame.extend_from_slice(body);
    let size = u32::try_from(frame.len()).unwrap().to_be_bytes();
    if stream.write_all(&[size.as_slice(), &frame].concat()).is_err() {
        return Vec::new();
    }
    let mut size = [0; 4];
    if stream.read_exact(&mut size).is_err() {
        return Vec::new();
    }
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap().min(1 << 16)];
    if stream.read_exact(&mut answer).is_err() {
        return Vec::new();
    }
    answer
}
