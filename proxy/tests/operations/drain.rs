//! SIGTERM: what is open is answered, nobody new is let in, and the last line says what became of the connections.

use std::net::TcpStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::batch;
use crate::errors::walks_row;
use crate::ground::{KAFKA, Weir, topic, until};
use crate::wire::{
    Client, FETCH, METADATA, PRODUCE, fetch_body, fetched, metadata_body, produce_body, produced, request,
};

impl Weir {
    pub(crate) fn tell_to_stop(&self) {
        kill(Pid::from_raw(self.pid.try_into().unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Waits for its end; its exit code.
    pub(crate) fn ended(&self) -> Option<i32> {
        self.process.lock().unwrap().stop().unwrap().code()
    }
}

/// A client whose Fetch is at the broker, which answers after so long.
fn polling(weir: &Weir, topic: &str, wait_ms: i32) -> Client {
    let mut client = weir.open();
    client.call(METADATA, 1, &metadata_body(&[topic])).unwrap();
    let sent = || weir.metric(r#"weir_sent_bytes_total{peer="broker"}"#);
    let before = sent();
    client.send_frame(&request(FETCH, 11, 7, &fetch_body(topic, 0, 0, wait_ms)));
    until("the poll is at the broker", || sent() > before);
    client
}

#[test]
fn open_requests_are_answered_and_nobody_new_is_let_in() {
    topic("drained", 1);
    let weir = Weir::start(|yaml| yaml);
    let mut idle = weir.open();
    idle.call(METADATA, 1, &metadata_body(&["drained"])).unwrap();
    let mut polling = polling(&weir, "drained", 60_000);
    weir.tell_to_stop();
    until("it says that it is not ready", || {
        let answer = weir.http("/readyz");
        answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\ndraining\n")
    });
    until("its ports are closed", || TcpStream::connect(weir.ports.address(0)).is_err());
    assert!(weir.http("/livez").starts_with("HTTP/1.1 200 "));
    assert_eq!(weir.metric(r#"weir_unready{part="process"}"#), 1.0);
    idle.is_closed();
    // Somebody else, past weir, brings what the poll waits for.
    let body = produce_body(-1, &[("drained", &[(0, &batch::plain(&["{}"]))])]);
    assert_eq!(produced(&Client::connect(KAFKA.bootstrap()).call(PRODUCE, 8, &body).unwrap())[0].error, 0);
    let (correlation_id, body) = polling.answer().unwrap();
    assert_eq!((correlation_id, fetched(&body).0), (7, 0));
    polling.is_closed();
    assert_eq!(weir.ended(), Some(0));
    let line = weir.logs(&[("event", "weir.stopped")]);
    assert_eq!((&line["connections_drained"], &line["connections_cut"]), (&2.into(), &0.into()), "{line}");
    assert_eq!(line["recorded"], 1, "what the poll brought: {line}");
}

#[test]
fn what_is_not_answered_in_time_is_cut_and_told() {
    topic("cut", 1);
    let weir = Weir::start(|yaml| yaml.section("limits", "drain_timeout: 1s"));
    let mut idle = weir.open();
    idle.call(METADATA, 1, &metadata_body(&["cut"])).unwrap();
    let mut polling = polling(&weir, "cut", 60_000);
    weir.tell_to_stop();
    assert!(polling.answer().is_none());
    assert_eq!(weir.ended(), Some(1));
    let line = weir.logs(&[("event", "weir.stopped")]);
    assert_eq!((&line["connections_drained"], &line["connections_cut"]), (&1.into(), &1.into()), "{line}");
    let line = weir.logs(&[("event", "weir.drain_timeout"), ("level", "WARN")]);
    walks_row("drain-cut").holds("closed", &[line], |counter| weir.metric(counter));
}
