//! One broker takes connections and answers no login: nobody else waits for it, and what is held for whoever goes is given back.
//!
//! Both brokers are made here, of the few answers that weir's login and a question about the cluster need.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use weir_testkit::{Listener, PortBlock, Ready, WeirOptions, WeirProcess, WeirYaml, WorkDir};

use crate::POLICY;
use crate::wire::{self, API_VERSIONS, Bytes, Client, METADATA, PATIENCE, SASL_AUTHENTICATE, SASL_HANDSHAKE};

/// The port of each in the block that weir has, too: bootstrap at 0, brokers 0 and 1 at 1 and 2.
const WELL: u16 = 8;
const STUCK: u16 = 9;

/// A connection that the stuck broker has: what was said on it, and whether it was closed.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    bytes: usize,
    closed: bool,
}

struct Stage {
    weir: WeirProcess,
    ports: PortBlock,
    stuck: Arc<Mutex<Vec<Heard>>>,
    _dir: WorkDir,
}

impl Stage {
    /// Two brokers share `handshakes_max`.
    fn start(handshakes_max: usize, connect_timeout: &str) -> Self {
        let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
        let well = TcpListener::bind(ports.address(WELL)).unwrap();
        let cluster = [ports.port(WELL), ports.port(STUCK)];
        serve(well, move |stream| answers(stream, cluster));
        let stuck = Arc::<Mutex<Vec<Heard>>>::default();
        let heard = Arc::clone(&stuck);
        serve(TcpListener::bind(ports.address(STUCK)).unwrap(), move |mut stream| {
            let at = {
                let mut heard = heard.lock().unwrap();
                heard.push(Heard::default());
                heard.len() - 1
            };
            while let Ok(read @ 1..) = stream.read(&mut [0; 1024]) {
                heard.lock().unwrap()[at].bytes += read;
            }
            heard.lock().unwrap()[at].closed = true;
        });
        let config = WeirYaml::new(&ports.address(WELL))
            .node_ids("0-1")
            .upstream("auth: { mechanism: plain, username: weir, password: { env: KAFKA_PASSWORD } }")
            .upstream(&format!("connect_timeout: {connect_timeout}"))
            // What a client sent goes on for so long after it went.
            .section("audit", "hold_max: 1s")
            .section("limits", &format!("handshakes_max: {handshakes_max}"))
            .listener(Listener::anonymous("open", &ports.address(0), &["apps"]))
            .policy("orders", POLICY)
            .metrics(&ports.address(15))
            .write(&dir)
            .unwrap();
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_weir"));
        let mut options = WeirOptions::new(binary, &config, Ready::Readyz(ports.address(15).parse().unwrap()));
        options.env.push(("KAFKA_PASSWORD".to_owned(), "of-no-consequence".to_owned()));
        let weir = WeirProcess::start(options).unwrap();
        Self { weir, ports, stuck, _dir: dir }
    }

    /// A client that asks that broker for the cluster.
    fn asks(&self, broker: u16) -> Client {
        let mut client = Client::connect(&self.ports.address(1 + broker));
        client.send_frame(&wire::request(METADATA, 1, 1, &wire::metadata_body(&["orders"])));
        client
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&[Heard]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.stuck.lock().unwrap()) {
            assert!(
                Instant::now() < end,
                "{what}: {:?}\n{}",
                self.stuck.lock().unwrap(),
                self.weir.output().unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn serve(listener: TcpListener, each: impl Fn(TcpStream) + Clone + Send + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (each, stream) = (each.clone(), stream.unwrap());
            thread::spawn(move || each(stream));
        }
    });
}

/// What a broker answers that lets everybody in and has no topics.
fn answers(mut stream: TcpStream, cluster: [u16; 2]) {
    loop {
        let mut size = [0; 4];
        if stream.read_exact(&mut size).is_err() {
            return;
        }
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame).unwrap();
        let short = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        let answer = Bytes::default().raw(&frame[4..8]);
        let brokers = |answer: Bytes| {
            let one =
                |answer: Bytes, (id, port): (i32, u16)| answer.i32(id).string("127.0.0.1").i32(i32::from(port)).i16(-1);
            (0..).zip(cluster).fold(answer.count(2), one)
        };
        let answer = match (short(0), short(2)) {
            (API_VERSIONS, 0) => {
                let apis = [(API_VERSIONS, 0), (METADATA, 4), (SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 0)];
                apis.iter().fold(answer.i16(0).count(4), |answer, (api, max)| answer.i16(*api).i16(0).i16(*max))
            }
            (API_VERSIONS, _) => answer.i16(35).count(0),
            (SASL_HANDSHAKE, _) => answer.i16(0).count(0),
            (SASL_AUTHENTICATE, _) => answer.i16(0).i16(-1).count(0),
            (METADATA, 1) => brokers(answer).i32(0).count(0),
            (METADATA, _) => brokers(answer.i32(0)).i16(-1).i32(0).count(0),
            other => panic!("{other:?}"),
        };
        if stream.write_all(&wire::sized(&answer.0)).is_err() {
            return;
        }
    }
}

#[test]
fn a_broker_that_answers_no_login_keeps_nobody_from_the_others() {
    let stage = Stage::start(4, "5s");
    // More than all places there are.
    let waiting: Vec<Client> = (0..8).map(|_| stage.asks(1)).collect();
    stage.until("all are connected, and its share logs in", |heard| {
        heard.len() == waiting.len() && heard.iter().filter(|heard| heard.bytes > 0).count() == 2
    });
    for _ in 0..6 {
        assert!(stage.asks(0).answer().is_some(), "{}", stage.weir.output().unwrap());
    }
    // The control: those that wait for the other are still there, and no more of them log in.
    let heard = stage.stuck.lock().unwrap().clone();
    assert_eq!(heard.iter().filter(|heard| heard.bytes > 0).count(), 2, "{heard:?}");
}

#[test]
fn who_goes_while_its_broker_is_waited_for_gives_back_what_it_held() {
    let stage = Stage::start(2, "60s");
    let first = stage.asks(1);
    stage.until("the first logs in", |heard| heard.len() == 1 && heard[0].bytes > 0);
    let second = stage.asks(1);
    stage.until("the second is connected and waits for its turn", |heard| heard.len() == 2);
    let third = stage.asks(1);
    stage.until("and so is the third", |heard| heard.len() == 3);
    thread::sleep(Duration::from_millis(300));
    let heard = stage.stuck.lock().unwrap().clone();
    assert!(heard.iter().all(|heard| !heard.closed) && heard[1].bytes + heard[2].bytes == 0, "the control: {heard:?}");
    drop(second);
    stage.until("its connection to the broker is closed", |heard| heard[1].closed);
    drop(first);
    stage.until("the place of the first is the third's", |heard| heard[0].closed && heard[2].bytes > 0);
    drop(third);
}
