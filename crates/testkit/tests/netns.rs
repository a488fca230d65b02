//! In the testkit's network there is no way past weir.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use weir_testkit::{Kafka, KafkaOptions, Namespace, Network, wire};

/// Whether a TCP connection from one namespace to an address is possible.
fn reaches(from: &Namespace, address: &str) -> bool {
    let target = address.parse().unwrap();
    from.run(|| TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok()).unwrap()
}

#[test]
fn lets_clients_reach_weir_and_nothing_else() {
    let network = Network::create().unwrap();
    let weir = network.weir().run(|| TcpListener::bind((Network::WEIR_ADDRESS, 9192)).unwrap()).unwrap();
    let broker = network.broker().run(|| TcpListener::bind((Network::BROKER_ADDRESS, 9092)).unwrap()).unwrap();
    let (weir, broker) = (weir.local_addr().unwrap().to_string(), broker.local_addr().unwrap().to_string());

    assert!(reaches(network.clients(), &weir), "clients reach weir");
    assert!(reaches(network.weir(), &broker), "weir reaches the broker");
    assert!(!reaches(network.clients(), &broker), "clients do not reach the broker");

    // Negative control: the broker would answer, were there a way.
    network.open_bypass().unwrap();
    assert!(reaches(network.clients(), &broker), "the bypass works");
}

#[test]
fn runs_commands_inside_and_cleans_up() {
    let network = Network::create().unwrap();
    let output = network.broker().command("ip").args(["-brief", "address"]).output().unwrap();
    let addresses = String::from_utf8(output.stdout).unwrap();
    assert!(addresses.contains(Network::BROKER_ADDRESS), "{addresses}");
    let name = network.broker().name().to_owned();
    let path = std::path::Path::new("/run/netns").join(name);
    assert!(path.exists());
    drop(network);
    assert!(!path.exists());
}

#[test]
fn keeps_threads_started_inside_inside() {
    let network = Network::create().unwrap();
    let listener = network.weir().run(|| TcpListener::bind((Network::WEIR_ADDRESS, 9000)).unwrap()).unwrap();
    let server = thread::spawn(move || listener.accept().unwrap().0.write_all(b"weir").unwrap());
    let client = network.clients().run(|| thread::spawn(|| TcpStream::connect((Network::WEIR_ADDRESS, 9000)).unwrap()));
    let mut answer = String::new();
    client.unwrap().join().unwrap().read_to_string(&mut answer).unwrap();
    server.join().unwrap();
    assert_eq!(answer, "weir");
}

#[test]
fn starts_a_broker_inside() {
    let network = Network::create().unwrap();
    let options = KafkaOptions::default().in_namespace(network.broker(), Network::BROKER_ADDRESS);
    let kafka = Kafka::start(options).unwrap();
    kafka.create_topic("orders", 1).unwrap();
    let seen = network.weir().run(|| wire::metadata(kafka.bootstrap(), &["orders"])).unwrap().unwrap();
    assert_eq!(seen.topics.len(), 1);
    assert!(wire::metadata(kafka.bootstrap(), &[]).is_err(), "not reachable from the test's own network");
}
