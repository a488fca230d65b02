//! Produces as fast as answers come, or at a fixed pace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::wire::{expect_stored, number, produce, read_frame};
use crate::{Latencies, batch_of, document};

/// One Produce request, encoded once.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: BytesMut,
    /// Size of the record values in it, bytes.
    pub value_bytes: usize,
}

impl Frame {
    /// One uncompressed batch of so many JSON documents of about 1 KB.
    #[must_use]
    pub fn of_documents(topic: &str, records: usize) -> Self {
        let values: Vec<String> = (0..records).map(document).collect();
        let value_bytes = values.iter().map(String::len).sum();
        Self { bytes: produce(topic, batch_of(values.into_iter()).into()), value_bytes }
    }
}

/// Produces `requests` times over one connection with up to `in_flight` of them not answered; returns how long it took.
///
/// # Panics
/// When a batch is refused.
pub async fn flood(address: SocketAddr, frame: &Frame, requests: i32, in_flight: usize) -> Duration {
    let (mut reader, mut writer) = connect(address).await.into_split();
    let mut bytes = frame.bytes.clone();
    let places = Arc::new(Semaphore::new(in_flight));
    let began = Instant::now();
    let write = async {
        for correlation_id in 1..=requests {
            places.acquire().await.unwrap().forget();
            number(&mut bytes, correlation_id);
            writer.write_all(&bytes).await.unwrap();
        }
    };
    let read = async {
        for correlation_id in 1..=requests {
            expect_stored(read_frame(&mut reader).await.unwrap(), correlation_id);
            places.add_permits(1);
        }
    };
    tokio::join!(write, read);
    began.elapsed()
}

/// Produces `rate` times a second for `period`, whatever became of the requests before, and measures each from the moment it was due
/// until its acknowledgement.
///
/// # Panics
/// When a batch is refused.
pub async fn paced(address: SocketAddr, frame: &Frame, rate: u32, period: Duration) -> Latencies {
    let (mut reader, mut writer) = connect(address).await.into_split();
    let mut bytes = frame.bytes.clone();
    // The first opens the way to the broker, and is not measured.
    number(&mut bytes, 0);
    writer.write_all(&bytes).await.unwrap();
    expect_stored(read_frame(&mut reader).await.unwrap(), 0);

    let (sent, mut expected) = mpsc::unbounded_channel::<(i32, Instant)>();
    let start = Instant::now();
    let write = async {
        let requests = u32::try_from(period.as_millis() * u128::from(rate) / 1000).unwrap();
        for at in 0..requests {
            let due = start + Duration::from_secs(1) * at / rate;
            sleep_until(due).await;
            let correlation_id = i32::try_from(at).unwrap() + 1;
            number(&mut bytes, correlation_id);
            writer.write_all(&bytes).await.unwrap();
            sent.send((correlation_id, due)).unwrap();
        }
        drop(sent);
    };
    let read = async {
        let mut measured = Latencies::default();
        while let Some((correlation_id, due)) = expected.recv().await {
            expect_stored(read_frame(&mut reader).await.unwrap(), correlation_id);
            measured.push(due.elapsed());
        }
        measured
    };
    tokio::join!(write, read).1
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
