//! One socket, in plain text or under TLS. The only code that touches its bytes; it writes nothing but [`Cleared`].
//!
//! Readiness style, alike for both: wait for [`Socket::readable`], then [`Socket::read`] what is there; [`Socket::queue`] what was
//! cleared, then [`Socket::write`] what the peer takes now.
//!
//! ```text
//! Cleared ─► Outgoing (slices, uncopied) ──────────────────────────────► tcp      plain
//! Cleared ─► Outgoing ─► rustls: at most SEALED_BYTES_MAX of records ──► tcp      TLS: one copy, encrypted in place
//! ```

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;
use weir_session::Cleared;

use crate::tls;

/// Bytes that are read from a socket at once.
pub(crate) const READ_BYTES: usize = weir_session::READ_CHUNK_BYTES;

/// Slices that are handed to one vectored write; Linux takes 1,024 (`IOV_MAX`).
const SLICES_MAX: usize = 64;

/// Bytes of TLS records that wait for the peer to take them: a few full records, so that one system call moves them.
const SEALED_BYTES_MAX: usize = 64 << 10;

/// Bytes under TLS that may wait for the rest of their record, or carry no data, without being counted or timed: of a client, whose every read
/// is as long, and who has nothing to say but data and now and then a new key; and of a broker, which may hand out tickets for a resumption.
const UNCOUNTED_OF_CLIENT_BYTES: usize = 4 << 10;
const UNCOUNTED_OF_BROKER_BYTES: usize = 16 << 10;

/// Most bytes that rustls keeps of what it cannot open yet.
const UNOPENED_BYTES_MAX: usize = 64 << 10;

/// TLS reads of at most 4 KiB in one turn: as many as a turn's bytes need, and twice that for records that carry none.
const TLS_READS_MAX: usize = 2 * READ_BYTES / 4096;

/// A connected socket of a client or a broker.
pub(crate) struct Socket {
    tcp: TcpStream,
    /// An idle one holds about 10 KiB, its keys most of all, and the buffer of a record.
    tls: Option<Box<Tls>>,
    outgoing: Outgoing,
}

/// Sets a connected socket up: no delay for small frames, and a peer that vanished is noticed.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_keepalive(true)
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

impl Socket {
    /// A socket without TLS.
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self { tcp, tls: None, outgoing: Outgoing::default() }
    }

    /// A socket whose TLS handshake is done.
    ///
    /// # Errors
    ///
    /// When what the peer sent together with the end of its handshake is not TLS.
    pub(crate) fn secured(tcp: TcpStream, connection: rustls::Connection) -> io::Result<Self> {
        let tls = Tls::after_handshake(connection)?;
        Ok(Self { tcp, tls: Some(Box::new(tls)), outgoing: Outgoing::default() })
    }

    /// Returns when [`Socket::read`] would not come back with nothing, or might not.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match &self.tls {
            // What is decrypted already makes no socket readable.
            Some(tls) if tls.has_news() => Ok(()),
            Some(_) | None => self.tcp.readable().await,
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.tcp.writable().await
    }

    /// Takes bytes to write; [`Socket::write`] writes them.
    pub(crate) fn queue(&mut self, cleared: Cleared) {
        self.outgoing.queue(cleared);
    }

    /// Nothing waits for the peer to take it.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outgoing.is_empty() && self.tls.as_ref().is_none_or(|tls| !tls.connection.wants_write())
    }

    /// Bytes that wait for the peer to take them, those of TLS records at their most.
    pub(crate) fn unsent(&self) -> usize {
        let sealed = self.tls.as_ref().is_some_and(|tls| tls.connection.wants_write());
        self.outgoing.len() + if sealed { SEALED_BYTES_MAX } else { 0 }
    }

    /// Bytes that came and were not handed on: they wait for the rest of their TLS record, or for whoever reads.
    pub(crate) fn unread(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.decrypted + if tls.waits_since.is_some() { tls.unopened } else { 0 })
    }

    /// When what came must have become data.
    pub(crate) fn record_due(&self, within: Duration) -> Option<Instant> {
        self.tls.as_ref().and_then(|tls| tls.waits_since?.checked_add(within))
    }

    /// The peer is not read at the moment: the time for the rest of its record begins anew with the next read.
    pub(crate) fn give_time(&mut self) {
        if let Some(since) = self.tls.as_mut().and_then(|tls| tls.waits_since.as_mut()) {
            *since = Instant::now();
        }
    }

    /// Writes what the peer takes now; true when it took something.
    #[expect(clippy::disallowed_methods, reason = "the one writer of cleared bytes")]
    pub(crate) fn write(&mut self) -> io::Result<bool> {
        let (outgoing, tcp) = (&mut self.outgoing, &self.tcp);
        let mut progress = false;
        let Some(tls) = &mut self.tls else {
            while !outgoing.is_empty() {
                match outgoing.offer(|slices| tcp.try_write_vectored(slices)) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(_) => progress = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            return Ok(progress);
        };
        loop {
            while tls.connection.wants_write() {
                match tls.connection.write_tls(&mut Raw(tcp)) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(_) => progress = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(progress),
                    // A peer that refuses us says so before it closes: that is the better reason.
                    Err(error) => return Err(tls.last_words(tcp).unwrap_or(error)),
                }
            }
            if outgoing.is_empty() {
                return Ok(progress);
            }
            let mut writer = tls.connection.writer();
            if outgoing.offer(|slices| io::Write::write_vectored(&mut writer, slices))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
    }

    /// Waits until the peer has taken everything.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        loop {
            self.write()?;
            if self.is_flushed() {
                return Ok(());
            }
            self.writable().await?;
        }
    }

    /// Says goodbye, where TLS has a word for it; [`Socket::flush`] sends it.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.connection.send_close_notify();
        }
    }

    /// Reads once, at most `wanted` bytes, through a buffer of the thread: an idle connection holds none.
    pub(crate) fn read<T>(&mut self, wanted: usize, take: impl FnOnce(&[u8]) -> T) -> io::Result<Read<T>> {
        thread_local! {
            static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(READ_BYTES, 0);
            let room = buffer.get_mut(..wanted.min(READ_BYTES)).unwrap_or_default();
            let read = match &mut self.tls {
                Some(tls) => tls.read(&self.tcp, room),
                None => self.tcp.try_read(room),
            };
            match read {
                Ok(0) => Ok(Read::Closed),
                Ok(read) => Ok(Read::Taken(take(room.get(..read).unwrap_or_default()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
                Err(error) => Err(error),
            }
        })
    }
}

/// The TLS of one socket.
struct Tls {
    connection: rustls::Connection,
    /// Bytes that are decrypted and not taken yet.
    decrypted: usize,
    /// The peer said that it is done, or just closed: a frame that is cut by that is noticed where frames are read.
    ended: bool,
    /// Why nothing can be read any more.
    failure: Option<rustls::Error>,
    /// Bytes that came since the last data; rustls keeps no more of them than it cannot open.
    unopened: usize,
    /// Since when they are more than nobody counts.
    waits_since: Option<Instant>,
}

impl Tls {
    fn after_handshake(mut connection: rustls::Connection) -> io::Result<Self> {
        connection.set_buffer_limit(Some(SEALED_BYTES_MAX));
        // What the peer sent right behind its handshake may be here already.
        let state = connection.process_new_packets().map_err(io::Error::other)?;
        let (decrypted, ended) = (state.plaintext_bytes_to_read(), state.peer_has_closed());
        Ok(Self { connection, decrypted, ended, failure: None, unopened: 0, waits_since: None })
    }

    /// Something is to be told although the socket itself may never get readable again.
    fn has_news(&self) -> bool {
        self.decrypted > 0 || self.ended || self.failure.is_some()
    }

    /// As a read of a socket: 0 at the end, `WouldBlock` when there is nothing.
    fn read(&mut self, tcp: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        for _ in 0..TLS_READS_MAX {
            if self.decrypted > 0 {
                let read = io::Read::read(&mut self.connection.reader(), room.get_mut(filled..).unwrap_or_default())?;
                (self.decrypted, filled) = (self.decrypted.saturating_sub(read), filled + read);
            }
            if filled == room.len() || self.has_news() {
                break;
            }
            match self.connection.read_tls(&mut Raw(tcp)) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    let before = self.decrypted;
                    self.open(tcp);
                    self.account(read, self.decrypted > before);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if filled == 0 => return Err(error),
                // The next read meets it again.
                Err(_) => break,
            }
        }
        match &self.failure {
            _ if filled > 0 => Ok(filled),
            Some(failure) => Err(io::Error::other(tls::explain(failure))),
            None if self.ended => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Decrypts what came.
    fn open(&mut self, tcp: &TcpStream) {
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.decrypted = state.plaintext_bytes_to_read();
                self.ended = state.peer_has_closed();
            }
            Err(error) => {
                self.failure = Some(error);
                self.send_alert(tcp);
            }
        }
    }

    /// `read` bytes came, and with them the end of a record with data or not. What lies behind that end is less than one read.
    fn account(&mut self, read: usize, data: bool) {
        if data {
            (self.unopened, self.waits_since) = (0, None);
            return;
        }
        self.unopened = self.unopened.saturating_add(read).min(UNOPENED_BYTES_MAX);
        let uncounted = match &self.connection {
            rustls::Connection::Server(_) => UNCOUNTED_OF_CLIENT_BYTES,
            rustls::Connection::Client(_) => UNCOUNTED_OF_BROKER_BYTES,
        };
        if self.unopened > uncounted && self.waits_since.is_none() {
            self.waits_since = Some(Instant::now());
        }
    }

    /// Tells the peer what is wrong with what it sent, if it takes that now.
    #[expect(clippy::disallowed_methods, reason = "an alert of rustls, no byte of a record")]
    fn send_alert(&mut self, tcp: &TcpStream) {
        if self.connection.wants_write() && self.connection.write_tls(&mut Raw(tcp)).is_err() {
            tracing::trace!(event = "tls.alert_unsent");
        }
    }

    /// Why the peer closed, if it said so.
    fn last_words(&mut self, tcp: &TcpStream) -> Option<io::Error> {
        for _ in 0..TLS_READS_MAX {
            if self.failure.is_some() || !matches!(self.connection.read_tls(&mut Raw(tcp)), Ok(1..)) {
                break;
            }
            self.failure = self.connection.process_new_packets().err();
        }
        self.failure.as_ref().map(|failure| io::Error::other(tls::explain(failure)))
    }
}

/// The encrypted side, as rustls wants it.
struct Raw<'a>(&'a TcpStream);

impl io::Read for Raw<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(room)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one writer of cleared bytes, encrypted")]
impl io::Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is being written to one socket.
#[derive(Default)]
struct Outgoing {
    slices: VecDeque<Bytes>,
    /// Bytes of the first slice that are written already.
    written: usize,
    /// Bytes that are not written yet.
    len: usize,
}

impl Outgoing {
    fn queue(&mut self, cleared: Cleared) {
        self.len += cleared.len();
        self.slices.extend(cleared.segments().filter(|slice| !slice.is_empty()).cloned());
    }

    fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Bytes that are not written yet.
    fn len(&self) -> usize {
        self.len
    }

    /// Offers the next slices, and forgets as much of them as was taken.
    fn offer(&mut self, take: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        for (to, (at, from)) in slices.iter_mut().zip(self.slices.iter().enumerate()) {
            let skip = if at == 0 { self.written } else { 0 };
            *to = IoSlice::new(from.get(skip..).unwrap_or_default());
            used += 1;
        }
        let taken = take(slices.get(..used).unwrap_or_default())?;
        self.advance(taken);
        Ok(taken)
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
