//! A few raw requests to a broker, written out by hand: what a test must know without trusting weir's own protocol code,
//! nor waiting 1.5 s for a JVM.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::Error;

/// What a Metadata answer says (version 1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Node id, host and port of each broker.
    pub brokers: Vec<(i32, String, i32)>,
    /// The topics asked for.
    pub topics: Vec<Topic>,
}

/// One topic of a [`Metadata`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Kafka's error code, 0 when it exists.
    pub error: i16,
    /// Its name.
    pub name: String,
    /// Error code, index and leader of each partition.
    pub partitions: Vec<(i16, i32, i32)>,
}

/// Asks for the brokers and, by name, for topics; without names, for all topics.
///
/// # Errors
/// When the address does not answer, or not as a broker does.
pub fn metadata(address: &str, topics: &[&str]) -> Result<Metadata, Error> {
    let mut body = Writer::default();
    if topics.is_empty() {
        body.i32(-1);
    } else {
        body.list(topics, |body, name| body.string(name));
    }
    let answer = request(address, "Metadata", 3, 1, &body.0)?;
    let mut reader = Reader { rest: &answer, api: "Metadata" };
    let brokers = reader.list(|reader| {
        let broker = (reader.i32()?, reader.string()?, reader.i32()?);
        reader.string()?; // rack
        Ok(broker)
    })?;
    reader.i32()?; // controller id
    let topics = reader.list(|reader| {
        let (error, name) = (reader.i16()?, reader.string()?);
        reader.take(1)?; // is internal
        let partitions = reader.list(|reader| {
            let partition = (reader.i16()?, reader.i32()?, reader.i32()?);
            reader.list(Reader::i32)?; // replicas
            reader.list(Reader::i32)?; // in-sync replicas
            Ok(partition)
        })?;
        Ok(Topic { error, name, partitions })
    })?;
    Ok(Metadata { brokers, topics })
}

/// Creates a topic (CreateTopics version 4), with `(name, value)` configuration.
///
/// # Errors
/// [`Error::Kafka`] with 36 when it exists already, and with what else the broker refuses.
pub fn create_topic(
    address: &str,
    name: &str,
    partitions: i32,
    replicas: i16,
    configs: &[(&str, &str)],
) -> Result<(), Error> {
    let mut body = Writer::default();
    body.list(&[name], |body, name| {
        body.string(name);
        body.i32(partitions);
        body.i16(replicas);
        body.i32(0); // no manual assignments
        body.list(configs, |body, (key, value)| {
            body.string(key);
            body.string(value);
        });
    });
    body.i32(10_000); // timeout_ms
    body.0.push(0); // validate_only
    let answer = request(address, "CreateTopics", 19, 4, &body.0)?;
    let mut reader = Reader { rest: &answer, api: "CreateTopics" };
    reader.i32()?; // throttle_time_ms
    let codes = reader.list(|reader| {
        reader.string()?;
        let code = reader.i16()?;
        reader.string()?;
        Ok(code)
    })?;
    match codes.as_slice() {
        [0] => Ok(()),
        [code] => Err(Error::Kafka { api: "CreateTopics", code: *code }),
        _ => Err(Error::Answer { api: "CreateTopics" }),
    }
}

/// The offset after the last record of a partition (ListOffsets version 1).
///
/// # Errors
/// [`Error::Kafka`] when the partition does not exist or has no leader yet.
pub fn end_offset(address: &str, topic: &str, partition: i32) -> Result<i64, Error> {
    let mut body = Writer::default();
    body.i32(-1); // replica_id
    body.list(&[topic], |body, topic| {
        body.string(topic);
        body.list(&[partition], |body, partition| {
            body.i32(*partition);
            body.i64(-1); // latest
        });
    });
    let answer = request(address, "ListOffsets", 2, 1, &body.0)?;
    let mut reader = Reader { rest: &answer, api: "ListOffsets" };
    let topics = reader.list(|reader| {
        reader.string()?;
        reader.list(|reader| {
            reader.i32()?;
            let code = reader.i16()?;
            reader.take(8)?; // timestamp
            Ok((code, reader.i64()?))
        })
    })?;
    match topics.concat().as_slice() {
        [(0, offset)] => Ok(*offset),
        [(code, _)] => Err(Error::Kafka { api: "ListOffsets", code: *code }),
        _ => Err(Error::Answer { api: "ListOffsets" }),
    }
}

/// Sends one request with a version 1 header and returns the answer's body.
///
/// # Errors
/// When the address does not answer within [`PATIENCE`], or the connection ends first.
pub fn request(address: &str, api: &'static str, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>, Error> {
    let mut frame = Writer::default();
    frame.i16(key);
    frame.i16(version);
    frame.i32(CORRELATION_ID);
    frame.string("weir-testkit");
    frame.0.extend_from_slice(body);
    let size = i32::try_from(frame.0.len()).map_err(|_| Error::Answer { api })?;

    let answer = exchange(address, &[&size.to_be_bytes(), frame.0.as_slice()].concat())
        .map_err(Error::io(format!("{api} to {address}")))?;
    match answer.split_at_checked(4) {
        Some((correlation_id, body)) if correlation_id == CORRELATION_ID.to_be_bytes() => Ok(body.to_vec()),
        _ => Err(Error::Answer { api }),
    }
}

/// How long an address may take to accept, to read and to answer.
pub const PATIENCE: Duration = Duration::from_secs(15);

const CORRELATION_ID: i32 = 0x7765_6972;
const ANSWER_BYTES_MAX: u64 = 64 << 20;

fn exchange(address: &str, frame: &[u8]) -> std::io::Result<Vec<u8>> {
    let target = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(frame)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = u64::from(u32::from_be_bytes(size)).min(ANSWER_BYTES_MAX);
    let mut answer = Vec::new();
    if Read::take(&mut stream, size).read_to_end(&mut answer)? as u64 == size {
        Ok(answer)
    } else {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn string(&mut self, value: &str) {
        self.i16(i16::try_from(value.len()).unwrap_or(i16::MAX));
        self.0.extend_from_slice(value.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.i32(i32::try_from(items.len()).unwrap_or(i32::MAX));
        items.iter().for_each(|item| each(self, item));
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    api: &'static str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::Answer { api: self.api })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| Error::Answer { api: self.api })
    }

    fn i16(&mut self) -> Result<i16, Error> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_be_bytes)
    }

    /// A string; null reads as empty.
    fn string(&mut self) -> Result<String, Error> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn list<T>(&mut self, each: impl Fn(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let length = self.i32()?;
        (0..length).map(|_| each(self)).collect()
    }
}
