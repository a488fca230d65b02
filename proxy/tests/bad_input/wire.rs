//! A Kafka client of a few lines, with which anything can be said: frames are written by hand, so that they can be wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long weir may take to answer or to close, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PRODUCE: i16 = 0;
pub(crate) const FETCH: i16 = 1;
pub(crate) const METADATA: i16 = 3;
pub(crate) const HEARTBEAT: i16 = 12;
pub(crate) const SASL_HANDSHAKE: i16 = 17;
pub(crate) const API_VERSIONS: i16 = 18;
pub(crate) const SASL_AUTHENTICATE: i16 = 36;

/// Bytes in Kafka's order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn i8(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A length of 32 bits, or a count.
    pub(crate) fn count(self, count: usize) -> Self {
        self.i32(i32::try_from(count).unwrap())
    }

    /// A string with a length of 16 bits.
    pub(crate) fn string(self, text: &str) -> Self {
        self.i16(i16::try_from(text.len()).unwrap()).raw(text.as_bytes())
    }

    /// A string of the flexible versions: an unsigned varint of the length and one.
    pub(crate) fn compact(self, text: &str) -> Self {
        self.varint(u32::try_from(text.len() + 1).unwrap()).raw(text.as_bytes())
    }

    /// An unsigned varint.
    pub(crate) fn varint(mut self, mut value: u32) -> Self {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// A request without its size, under header version 1.
pub(crate) fn request(api: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    Bytes::default().i16(api).i16(version).i32(correlation_id).string("bad-input").raw(body).0
}

/// A request without its size, under header version 2 (flexible versions).
pub(crate) fn flexible(api: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    Bytes::default().i16(api).i16(version).i32(correlation_id).string("bad-input").varint(0).raw(body).0
}

/// A frame behind its size.
pub(crate) fn sized(frame: &[u8]) -> Vec<u8> {
    Bytes::default().count(frame.len()).raw(frame).0
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    /// Connects from that address.
    pub(crate) fn connect_from(local: &str, address: &str) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let local: IpAddr = local.parse().unwrap();
        socket.bind(&SocketAddr::new(local, 0).into()).unwrap();
        socket.connect_timeout(&address.parse::<SocketAddr>().unwrap().into(), PATIENCE).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, correlation_id: 0 }
    }

    /// The address by which weir's log knows this connection.
    pub(crate) fn peer(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    /// Sends bytes as they are. weir may close while they are on their way.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if !is_end(&error) => panic!("cannot send: {error}"),
            Ok(()) | Err(_) => {}
        }
    }

    /// Sends a frame with its right size in front.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) {
        self.send(&sized(frame));
    }

    /// Says that nothing more will come.
    pub(crate) fn close_own_side(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer: its correlation id and what is behind it; `None` when the connection ends first.
    pub(crate) fn answer(&mut self) -> Option<(i32, Vec<u8>)> {
        let mut size = [0; 4];
        self.fill(&mut size)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
        self.fill(&mut frame)?;
        let body = frame.split_off(4);
        Some((i32::from_be_bytes(frame.try_into().unwrap()), body))
    }

    /// Asks, and takes the answer's body; `None` when the connection ends instead.
    pub(crate) fn call(&mut self, api: i16, version: i16, body: &[u8]) -> Option<Vec<u8>> {
        self.correlation_id += 1;
        self.send_frame(&request(api, version, self.correlation_id, body));
        let (correlation_id, body) = self.answer()?;
        assert_eq!(correlation_id, self.correlation_id, "answers keep their order");
        Some(body)
    }

    /// What still comes until weir ends the connection.
    #[track_caller]
    pub(crate) fn until_end(&mut self) -> Vec<u8> {
        let mut received = Vec::new();
        match self.stream.read_to_end(&mut received) {
            Err(error) if !is_end(&error) => panic!("the connection does not end: {error}"),
            Ok(_) | Err(_) => received,
        }
    }

    /// weir ends the connection without a word.
    #[track_caller]
    pub(crate) fn is_closed(&mut self) {
        assert_eq!(self.until_end(), b"", "nothing is said before the end");
    }

    /// The connection stands and nothing arrives for a moment.
    #[track_caller]
    pub(crate) fn hears_nothing_for(&mut self, moment: Duration) {
        self.stream.set_read_timeout(Some(moment)).unwrap();
        let read = self.stream.read(&mut [0; 1]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let waited = read
            .as_ref()
            .err()
            .is_some_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(waited, "{read:?}");
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) if is_end(&error) => None,
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

fn is_end(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// ApiVersions version 0 has an empty body. The error code and the API keys with their versions.
pub(crate) fn api_versions(body: &[u8]) -> (i16, Vec<(i16, i16, i16)>) {
    let mut reader = Reader(body);
    let error = reader.i16();
    let keys = reader.list(|reader| (reader.i16(), reader.i16(), reader.i16()));
    reader.end();
    (error, keys)
}

/// A Metadata request of version 1 that names topics.
pub(crate) fn metadata_body(topics: &[&str]) -> Vec<u8> {
    topics.iter().fold(Bytes::default().count(topics.len()), |body, topic| body.string(topic)).0
}

/// Brokers (id, host, port) and topics (error code, name) of a Metadata answer of version 1.
pub(crate) fn metadata(body: &[u8]) -> (Vec<(i32, String, i32)>, Vec<(i16, String)>) {
    let mut reader = Reader(body);
    let brokers = reader.list(|reader| {
        let broker = (reader.i32(), reader.string().unwrap(), reader.i32());
        reader.string();
        broker
    });
    reader.i32();
    let topics = reader.list(|reader| {
        let (error, name) = (reader.i16(), reader.string().unwrap());
        reader.take(1);
        reader.list(|reader| {
            reader.take(10);
            reader.list(Reader::i32);
            reader.list(Reader::i32);
        });
        (error, name)
    });
    reader.end();
    (brokers, topics)
}

/// A Produce request of versions 3 to 8 with one batch per partition.
pub(crate) fn produce_body(acks: i16, topics: &[(&str, &[(i32, &[u8])])]) -> Vec<u8> {
    let mut body = Bytes::default().i16(-1).i16(acks).i32(10_000).count(topics.len());
    for (topic, partitions) in topics {
        body = body.string(topic).count(partitions.len());
        for (partition, batch) in *partitions {
            body = body.i32(*partition).count(batch.len()).raw(batch);
        }
    }
    body.0
}

/// One partition of a Produce answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) error: i16,
    pub(crate) offset: i64,
    pub(crate) message: String,
}

/// A Produce answer of version 8.
pub(crate) fn produced(body: &[u8]) -> Vec<Produced> {
    produced_in(8, body)
}

/// A Produce answer of versions 3 to 8. Before version 8 there is no message.
pub(crate) fn produced_in(version: i16, body: &[u8]) -> Vec<Produced> {
    let mut reader = Reader(body);
    let topics = reader.list(|reader| {
        let topic = reader.string().unwrap();
        reader.list(|reader| {
            let (partition, error, offset) = (reader.i32(), reader.i16(), reader.i64());
            reader.take(if version >= 5 { 16 } else { 8 });
            let mut message = String::new();
            if version >= 8 {
                reader.list(|reader| {
                    reader.i32();
                    reader.string();
                });
                message = reader.string().unwrap_or_default();
            }
            Produced { topic: topic.clone(), partition, error, offset, message }
        })
    });
    reader.i32();
    reader.end();
    topics.concat()
}

/// A Fetch request of version 11 for one partition.
pub(crate) fn fetch_body(topic: &str, partition: i32, offset: i64, max_wait_ms: i32) -> Vec<u8> {
    let body = Bytes::default().i32(-1).i32(max_wait_ms).i32(1).i32(1 << 20).i8(0).i32(0).i32(-1);
    let body = body.count(1).string(topic).count(1).i32(partition).i32(-1).i64(offset).i64(-1).i32(1 << 20);
    body.count(0).string("").0
}

/// Error code, high watermark and record bytes of a Fetch answer of version 11 for one partition.
pub(crate) fn fetched(body: &[u8]) -> (i16, i64, Vec<u8>) {
    let mut reader = Reader(body);
    reader.i32();
    assert_eq!(reader.i16(), 0, "error of the whole answer");
    reader.i32();
    let topics = reader.list(|reader| {
        reader.string();
        reader.list(|reader| {
            reader.i32();
            let (error, high_watermark) = (reader.i16(), reader.i64());
            reader.take(16);
            reader.list(|reader| {
                reader.take(16);
            });
            reader.i32();
            let length = usize::try_from(reader.i32()).unwrap_or(0);
            (error, high_watermark, reader.take(length).to_vec())
        })
    });
    reader.end();
    topics.concat().pop().unwrap()
}

/// What a SaslAuthenticate answer of version 1 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) error: i16,
    pub(crate) message: String,
    pub(crate) lifetime_ms: i64,
}

/// The message of SASL/OAUTHBEARER (RFC 7628) with this token.
pub(crate) fn oauthbearer(token: &str) -> Vec<u8> {
    format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").into_bytes()
}

impl Client {
    /// SaslHandshake of version 1: the error code and the mechanisms.
    pub(crate) fn handshake(&mut self, mechanism: &str) -> (i16, Vec<String>) {
        let body = self.call(SASL_HANDSHAKE, 1, &Bytes::default().string(mechanism).0).unwrap();
        let mut reader = Reader(&body);
        let answer = (reader.i16(), reader.list(|reader| reader.string().unwrap()));
        reader.end();
        answer
    }

    /// SaslAuthenticate of version 1 with any bytes.
    pub(crate) fn authenticate(&mut self, message: &[u8]) -> Login {
        let body = Bytes::default().count(message.len()).raw(message).0;
        let answer = self.call(SASL_AUTHENTICATE, 1, &body).unwrap();
        let mut reader = Reader(&answer);
        let (error, message) = (reader.i16(), reader.string().unwrap_or_default());
        let length = usize::try_from(reader.i32()).unwrap();
        assert_eq!(reader.take(length), b"");
        let lifetime_ms = reader.i64();
        reader.end();
        Login { error, message, lifetime_ms }
    }

    /// Handshake and token.
    pub(crate) fn login(&mut self, token: &str) -> Login {
        assert_eq!(self.handshake("OAUTHBEARER").0, 0);
        self.authenticate(&oauthbearer(token))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()).ok()?;
        Some(String::from_utf8(self.take(length).to_vec()).unwrap())
    }

    fn list<T>(&mut self, each: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.i32()).map(|_| each(self)).collect()
    }

    fn end(&self) {
        assert!(self.0.is_empty(), "bytes behind the answer");
    }
}
