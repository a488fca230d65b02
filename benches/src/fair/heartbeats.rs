//! Connections that send a Heartbeat each at fixed times, whatever became of the one before.

use std::net::SocketAddr;
use std::time::Duration;

use kafka_protocol::messages::{ApiKey, HeartbeatResponse};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Latencies;
use crate::wire::{HEARTBEAT_VERSION, heartbeat, read_frame, read_response};

/// How often each connection sends one.
const EVERY: Duration = Duration::from_millis(100);

/// Sends Heartbeats over `connections` connections for `period`, and measures each from the moment it was due until its answer: a
/// load generator that falls behind counts against the result instead of hiding in it.
///
/// # Panics
/// When a Heartbeat is refused.
pub async fn heartbeats(address: SocketAddr, connections: u32, period: Duration) -> Latencies {
    let mut tasks = JoinSet::new();
    let mut ready = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // The first opens the way to the broker, and is not measured.
        beat(&mut stream, 0).await;
        ready.push(stream);
    }
    let start = Instant::now() + EVERY;
    for (stream, at) in ready.into_iter().zip(0..) {
        // Spread over the interval, as clients that started at different times are.
        tasks.spawn(member(stream, start + EVERY * at / connections, start + period));
    }
    let mut all = Latencies::default();
    while let Some(measured) = tasks.join_next().await {
        all.append(measured.unwrap());
    }
    all
}

async fn member(mut stream: TcpStream, mut due: Instant, end: Instant) -> Latencies {
    let mut measured = Latencies::default();
    let mut correlation_id = 0;
    while due < end {
        sleep_until(due).await;
        correlation_id += 1;
        beat(&mut stream, correlation_id).await;
        measured.push(due.elapsed());
        due += EVERY;
    }
    measured
}

async fn beat(stream: &mut TcpStream, correlation_id: i32) {
    stream.write_all(&heartbeat(correlation_id)).await.unwrap();
    let frame = read_frame(stream).await.unwrap();
    let (id, answer) = read_response::<HeartbeatResponse>(frame, ApiKey::Heartbeat, HEARTBEAT_VERSION);
    assert_eq!((id, answer.error_code), (correlation_id, 0));
}
