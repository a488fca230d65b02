//! The connection that produces large batches back to back, with a Heartbeat of its own behind each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, HeartbeatResponse};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use crate::Latencies;
use crate::wire::{
    HEARTBEAT_VERSION, expect_stored, heartbeat, number, produce as produce_request, read_frame, read_response,
};
use crate::{compressed_batch_of, document};

/// One batch of JSON records, compressed with zstd.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Bytes,
    /// Records in it.
    pub records: usize,
    /// Size of the documents without compression, in bytes.
    pub plain_bytes: usize,
}

impl Batch {
    /// Documents of about 1 KB that compress as business data does, as many as fill `plain_bytes_min`.
    #[must_use]
    pub fn of_documents(plain_bytes_min: usize) -> Self {
        let mut state = SEED;
        let documents = (0..).map(|at| {
            // Ids, hashes and free text: what no codec shortens.
            let noise = (0..NOISE_WORDS).map(|_| format!("{:016x}", next(&mut state))).collect::<String>();
            document(at).replace("leave at the door", &noise)
        });
        Self::of_values(documents, plain_bytes_min)
    }

    /// Documents with a long run of one letter: a few KB on the wire, all of it when it is opened.
    #[must_use]
    pub fn of_runs(plain_bytes_max: usize) -> Self {
        let run = "x".repeat(RUN_BYTES);
        let documents = (0..).map(|at| document(at).replace("leave at the door", &run));
        Self::of_values(documents, plain_bytes_max.saturating_sub(2 * RUN_BYTES))
    }

    fn of_values(values: impl Iterator<Item = String>, plain_bytes_min: usize) -> Self {
        let mut left = plain_bytes_min;
        let values = values.take_while(|value| {
            let goes_on = left > 0;
            left = left.saturating_sub(value.len());
            goes_on
        });
        let values = values.collect::<Vec<_>>();
        let (records, plain_bytes) = (values.len(), values.iter().map(String::len).sum());
        Self { bytes: compressed_batch_of(values.into_iter()).into(), records, plain_bytes }
    }

    /// Size as it is sent, in bytes.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn request(&self, topic: &str) -> BytesMut {
        produce_request(topic, self.bytes.clone())
    }
}

/// The producer while it runs.
#[derive(Debug)]
pub struct Bulk {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Produced>,
}

/// What a producer did.
#[derive(Clone, Debug)]
pub struct Produced {
    /// Batches that were acknowledged.
    pub batches: usize,
    /// From the first byte to the last answer.
    pub took: Duration,
    /// Heartbeats of the producer's own connection: replies keep their order, so these wait behind batches.
    pub behind: Latencies,
}

impl Bulk {
    /// Starts to produce to `topic`, with so many requests that are not answered yet.
    ///
    /// # Panics
    /// The producer's thread, when a batch is refused.
    #[must_use]
    pub fn start(address: SocketAddr, batch: &Batch, topic: &str, in_flight: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, frame) = (Arc::clone(&stop), batch.request(topic));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(produce(address, frame, in_flight, &flag))
        });
        Self { stop, thread }
    }

    /// Sends nothing more, waits for the answers and says what was done.
    ///
    /// # Panics
    /// When a batch was refused.
    #[must_use]
    pub fn finish(self) -> Produced {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn produce(address: SocketAddr, mut frame: BytesMut, in_flight: usize, stop: &AtomicBool) -> Produced {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let places = Arc::new(Semaphore::new(in_flight));
    let (sent, mut expected) = mpsc::unbounded_channel::<(i32, Instant)>();
    let began = Instant::now();
    let write = async {
        let mut correlation_id = 0;
        while !stop.load(Ordering::Relaxed) {
            places.acquire().await.unwrap().forget();
            correlation_id += 1;
            number(&mut frame, correlation_id);
            writer.write_all(&frame).await.unwrap();
            writer.write_all(&heartbeat(correlation_id)).await.unwrap();
            sent.send((correlation_id, Instant::now())).unwrap();
        }
        drop(sent);
    };
    let read = async {
        let mut produced = Produced { batches: 0, took: Duration::ZERO, behind: Latencies::default() };
        while let Some((correlation_id, since)) = expected.recv().await {
            let frame = read_frame(&mut reader).await.unwrap();
            expect_stored(frame, correlation_id);
            produced.batches += 1;
            places.add_permits(1);
            let frame = read_frame(&mut reader).await.unwrap();
            let (id, answer) = read_response::<HeartbeatResponse>(frame, ApiKey::Heartbeat, HEARTBEAT_VERSION);
            assert_eq!((id, answer.error_code), (correlation_id, 0));
            produced.behind.push(since.elapsed());
        }
        produced.took = began.elapsed();
        produced
    };
    tokio::join!(write, read).1
}

/// xorshift64: the same batch in every run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// 8 bytes each, of about 1,000: such a batch shrinks to about a fifth.
const NOISE_WORDS: usize = 16;
/// weir asks no ratio of a batch up to 16 MiB, so these must stay below it.
const RUN_BYTES: usize = 1 << 20;
