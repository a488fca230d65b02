//! The only code that touches the bytes of a socket: it writes nothing but [`Cleared`].

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;
use tokio::net::TcpStream;
use weir_session::Cleared;

/// Bytes that are read from a socket at once.
pub(crate) const READ_BYTES: usize = weir_session::READ_CHUNK_BYTES;

/// Slices that are handed to one vectored write; Linux takes 1,024 (`IOV_MAX`).
const SLICES_MAX: usize = 64;

/// Sets a connected socket up: no delay for small frames, and a peer that vanished is noticed.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_keepalive(true)
}

/// What is being written to one socket.
#[derive(Default)]
pub(crate) struct Outgoing {
    slices: VecDeque<Bytes>,
    /// Bytes of the first slice that are written already.
    written: usize,
    /// Bytes that are not written yet.
    len: usize,
}

impl Outgoing {
    pub(crate) fn queue(&mut self, cleared: Cleared) {
        self.len += cleared.len();
        self.slices.extend(cleared.segments().filter(|slice| !slice.is_empty()).cloned());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Bytes that are not written yet.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes what the socket takes now.
    #[expect(clippy::disallowed_methods, reason = "the one writer of cleared bytes")]
    pub(crate) fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.slices.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut used = 0;
            for (to, (at, from)) in slices.iter_mut().zip(self.slices.iter().enumerate()) {
                let skip = if at == 0 { self.written } else { 0 };
                *to = IoSlice::new(from.get(skip..).unwrap_or_default());
                used += 1;
            }
            match stream.try_write_vectored(slices.get(..used).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.len = self.len.saturating_sub(written);
        while let Some(first) = self.slices.front() {
            let left = first.len() - self.written;
            if written < left {
                self.written += written;
                return;
            }
            written -= left;
            self.written = 0;
            self.slices.pop_front();
        }
    }
}

/// What a read brought.
pub(crate) enum Read<T> {
    /// What became of the bytes.
    Taken(T),
    /// The socket had none.
    Nothing,
    /// The peer closed its side.
    Closed,
}

/// Reads once, at most `wanted` bytes, through a buffer of the thread: an idle connection holds none.
pub(crate) fn read<T>(stream: &TcpStream, wanted: usize, take: impl FnOnce(&[u8]) -> T) -> io::Result<Read<T>> {
    thread_local! {
        static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(READ_BYTES, 0);
        let room = buffer.get_mut(..wanted.min(READ_BYTES)).unwrap_or_default();
        match stream.try_read(room) {
            Ok(0) => Ok(Read::Closed),
            Ok(read) => Ok(Read::Taken(take(room.get(..read).unwrap_or_default()))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
            Err(error) => Err(error),
        }
    })
}
