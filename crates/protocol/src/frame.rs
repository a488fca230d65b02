//! Frames: four bytes of size, then that many bytes.
//!
//! ```text
//! bytes from a socket ──push──► ┌ size: i32 ┬ frame … ┐┌ size ┬ … ──next_frame──► frame
//! ```

use bytes::{Buf as _, BytesMut};

/// Bytes of the size in front of every frame.
const SIZE_BYTES: usize = 4;

/// A frame of at least this many bytes takes the buffer with it; what follows it is copied into a small one.
const LARGE_FRAME_BYTES: usize = 64 * 1024;

/// At most this many bytes are copied for that.
const REST_COPIED_BYTES_MAX: usize = 64 * 1024;

/// Cuts a stream of bytes into frames.
///
/// Memory follows the bytes received, never the size that a peer announces, and an idle reader holds no buffer at all.
#[derive(Default)]
pub struct FrameReader {
    buffer: BytesMut,
}

/// Why a stream cannot be cut into frames any further. The connection has to be closed: the reader cannot find the next
/// frame, and says the same again when asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The size is below zero.
    #[error("frame size {announced} is negative")]
    Negative {
        /// The size that the peer announced.
        announced: i32,
    },
    /// The size is zero: a frame has at least a header.
    #[error("frame is empty")]
    Empty,
    /// The size is over the limit.
    #[error("frame of {announced} bytes is larger than {max}")]
    TooLarge {
        /// The size that the peer announced, in bytes.
        announced: usize,
        /// The limit at this point of the connection, in bytes.
        max: usize,
    },
    /// The first bytes are a TLS record: the peer speaks TLS to a port without it.
    #[error("peer speaks TLS where Kafka without TLS is spoken")]
    LooksLikeTls,
    /// The first bytes are an HTTP request or status line.
    #[error("peer speaks HTTP where Kafka is spoken")]
    LooksLikeHttp,
}

impl FrameReader {
    /// A reader without a byte in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, without its size; `None` until it has arrived whole.
    ///
    /// `frame_bytes_max` may differ from call to call: it is smaller before login.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the announced size cannot be a frame's.
    pub fn next_frame(&mut self, frame_bytes_max: usize) -> Result<Option<BytesMut>, FrameError> {
        let Some(size) = self.announced() else {
            return Ok(None);
        };
        let size = check_size(size, frame_bytes_max)?;
        if self.buffer.len() < SIZE_BYTES.saturating_add(size) {
            return Ok(None);
        }
        self.buffer.advance(SIZE_BYTES);
        let frame = self.buffer.split_to(size);
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        } else if frame.len() >= LARGE_FRAME_BYTES && self.buffer.len() <= REST_COPIED_BYTES_MAX {
            // Otherwise a few bytes of the next frame would keep the memory of the large one alive.
            self.buffer = BytesMut::from(self.buffer.as_ref());
        }
        Ok(Some(frame))
    }

    /// Bytes received and not yet handed out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes still missing of the oldest incomplete frame; 0 when there is none, or when its size is not known yet or
    /// not acceptable.
    #[must_use]
    pub fn missing(&self) -> usize {
        let size = self.announced().and_then(|size| usize::try_from(size).ok());
        size.map_or(0, |size| SIZE_BYTES.saturating_add(size).saturating_sub(self.buffer.len()))
    }

    /// Whether no byte of a frame waits here.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    fn announced(&self) -> Option<i32> {
        self.buffer.first_chunk::<SIZE_BYTES>().map(|size| i32::from_be_bytes(*size))
    }
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader").field("buffered", &self.buffer.len()).finish()
    }
}

fn check_size(announced: i32, max: usize) -> Result<usize, FrameError> {
    let Ok(size) = usize::try_from(announced) else {
        return Err(FrameError::Negative { announced });
    };
    match size {
        0 => Err(FrameError::Empty),
        size if size <= max => Ok(size),
        size => Err(match announced.to_be_bytes() {
            // A TLS record of type handshake, or alert, version 3.x: what a client of TLS says first, and what a server of
            // TLS answers to anything else.
            [0x16 | 0x15, 0x03, ..] => FrameError::LooksLikeTls,
            [b'G', b'E', b'T', b' ']
            | [b'H', b'T', b'T', b'P']
            | [b'P', b'O', b'S', b'T']
            | [b'P', b'U', b'T', b' ']
            | [b'H', b'E', b'A', b'D']
            | [b'D', b'E', b'L', b'E']
            | [b'O', b'P', b'T', b'I']
            | [b'C', b'O', b'N', b'N']
            | [b'P', b'R', b'I', b' '] => FrameError::LooksLikeHttp,
            _ => FrameError::TooLarge { announced: size, max },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100 * 1024 * 1024;

    fn check(bytes: &[u8], expected: Result<Option<&[u8]>, FrameError>) {
        let mut reader = FrameReader::new();
        for byte in bytes {
            reader.push(&[*byte]);
        }
        let frame = reader.next_frame(MAX);
        assert_eq!(frame.as_ref().map(|frame| frame.as_deref()).map_err(|error| *error), expected);
        if expected.is_err() {
            assert_eq!(reader.next_frame(MAX), frame, "an error stays");
        }
    }

    #[test]
    fn cuts_frames_and_names_what_is_none() {
        check(&[], Ok(None));
        check(&[0, 0, 0], Ok(None));
        check(&[0, 0, 0, 3, 1, 2], Ok(None));
        check(&[0, 0, 0, 3, 1, 2, 3], Ok(Some(&[1, 2, 3])));
        check(&[0, 0, 0, 2, 1, 2, 3], Ok(Some(&[1, 2])));
        check(&[0, 0, 0, 0], Err(FrameError::Empty));
        check(&[0xff, 0xff, 0xff, 0xff], Err(FrameError::Negative { announced: -1 }));
        check(&[0x80, 0, 0, 0], Err(FrameError::Negative { announced: i32::MIN }));
        check(&[0x7f, 0xff, 0xff, 0xff], Err(FrameError::TooLarge { announced: 0x7fff_ffff, max: MAX }));
        check(&[0x16, 0x03, 0x01, 0x00, 0xf1], Err(FrameError::LooksLikeTls));
        check(b"GET / HTTP/1.1\r\n", Err(FrameError::LooksLikeHttp));
        check(b"POST /", Err(FrameError::LooksLikeHttp));
        check(&[0x15, 0x03, 0x03, 0, 2, 2, 70], Err(FrameError::LooksLikeTls));
        check(b"HTTP/1.1 400 Bad Request\r\n", Err(FrameError::LooksLikeHttp));
    }

    #[test]
    fn limit_is_inclusive() {
        let mut reader = FrameReader::new();
        reader.push(&[0, 0, 0, 5, 1, 2, 3, 4, 5]);
        assert_eq!(reader.next_frame(4), Err(FrameError::TooLarge { announced: 5, max: 4 }));
        assert_eq!(reader.next_frame(5).expect("five are allowed").as_deref(), Some(&[1, 2, 3, 4, 5][..]));
    }

    #[test]
    fn counts_what_is_there_and_what_is_missing() {
        let mut reader = FrameReader::new();
        assert!(reader.is_idle());
        reader.push(&[0, 0]);
        assert_eq!((reader.buffered(), reader.missing(), reader.is_idle()), (2, 0, false));
        reader.push(&[0, 9, 1]);
        assert_eq!((reader.buffered(), reader.missing()), (5, 8));
        reader.push(&[2; 8]);
        assert_eq!(reader.missing(), 0);
        assert_eq!(reader.next_frame(MAX).expect("a frame").map(|frame| frame.len()), Some(9));
        assert!(reader.is_idle());
        assert_eq!(reader.buffer.capacity(), 0, "an idle reader holds no buffer");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn frames_come_out_alike_however_they_arrive(
            sizes in proptest::collection::vec(1..3000_usize, 0..8),
            cuts in proptest::collection::vec(1..2000_usize, 1..40),
        ) {
            let frames: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, size)| vec![u8::try_from(at).unwrap(); *size]).collect();
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend(i32::try_from(frame.len()).unwrap().to_be_bytes());
                stream.extend(frame);
            }
            let mut reader = FrameReader::new();
            let mut found = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                reader.push(now);
                rest = later;
                while let Some(frame) = reader.next_frame(MAX).unwrap() {
                    found.push(frame.to_vec());
                }
            }
            proptest::prop_assert_eq!(found, frames);
            proptest::prop_assert!(reader.is_idle());
        }
    }

    #[test]
    fn memory_follows_bytes_received() {
        let mut reader = FrameReader::new();
        reader.push(&(90_i32 * 1024 * 1024).to_be_bytes());
        reader.push(&[7; 1000]);
        assert_eq!(reader.next_frame(MAX), Ok(None));
        assert!(reader.buffer.capacity() < 8 * 1024, "announced bytes are not reserved");
    }

    #[test]
    fn rest_behind_a_large_frame_lets_its_memory_go() {
        let mut reader = FrameReader::new();
        reader.push(&100_000_i32.to_be_bytes());
        reader.push(&[7; 100_000]);
        reader.push(&[0, 0, 0, 2, 1]);
        assert_eq!(reader.next_frame(MAX).expect("a frame").map(|frame| frame.len()), Some(100_000));
        assert!(reader.buffer.capacity() < 1024);
        reader.push(&[2]);
        assert_eq!(reader.next_frame(MAX).expect("a frame").as_deref(), Some(&[1, 2][..]));
    }
}
