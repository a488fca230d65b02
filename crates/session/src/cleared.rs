//! Bytes that may be written to a socket.
//!
//! ```text
//!   Vetted ──┬─► Held ── Receipt ──► Cleared ──► socket      (nothing in it is left to inspect)
//!            └────────── NoEntry ──► Cleared ──► socket
//! ```
//!
//! [`Cleared`] is the only type that the socket writers accept, and this module is the only place that makes one: either
//! against the [`Receipt`] of the entry that the bytes had to wait for, or with a [`NoEntry`] that names why these bytes
//! need none.

use bytes::{BufMut, Bytes, BytesMut};
use weir_audit::{Receipt, Ticket};
use weir_protocol::Segments;

use crate::vetted::Vetted;

/// A frame with its size prefix that may be written to the socket it was polled for.
pub struct Cleared {
    segments: Segments,
}

impl Cleared {
    /// The slices of the frame in order, for a vectored write.
    pub fn segments(&self) -> impl Iterator<Item = &Bytes> {
        self.segments.iter()
    }

    /// Bytes on the wire, size prefix included.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether nothing would be written; never true of a frame.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Clears a frame that needs no entry, for the reason given.
    pub(crate) fn without_entry(frame: Vetted, _why: NoEntry) -> Self {
        Self::with_size_prefix(frame.into_frame())
    }

    fn with_size_prefix(frame: Segments) -> Self {
        let mut prefix = BytesMut::with_capacity(4);
        // Frames are bounded far below this by the frame guard; a longer one would be cut by the peer, not misread by it.
        prefix.put_u32(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        let mut segments = Segments::from(prefix.freeze());
        for part in frame.iter() {
            segments.push(part.clone());
        }
        Self { segments }
    }
}

impl std::fmt::Debug for Cleared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cleared").field("len", &self.len()).finish()
    }
}

/// Why a frame may leave without an audit entry of its own (design: A4, L1, invariant 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// It carries no record: metadata, offsets, group membership, and weir's own requests.
    ControlPlane,
    /// A Fetch response without a single record.
    NothingFetched,
    /// Every topic in it is configured as `durability: async`.
    Async,
    /// A request whose topics are configured as `durability: outcome`: the entry is waited for before the reply.
    OutcomeOnly,
    /// A refusal: nothing moved, and the refusal itself is recorded without being waited for.
    Refusal,
}

/// A frame that waits for its entry.
pub(crate) struct Held {
    frame: Vetted,
    ticket: Ticket,
}

impl Held {
    pub(crate) fn new(frame: Vetted, ticket: Ticket) -> Self {
        Self { frame, ticket }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Waits for a further attempt at the same entry, under another ticket.
    pub(crate) fn renew(&mut self, ticket: Ticket) {
        self.ticket = ticket;
    }

    /// Clears the frame against the receipt of its own ticket, and gives it back against any other.
    pub(crate) fn release(self, receipt: Receipt) -> Result<Cleared, Self> {
        if receipt.ticket() == self.ticket { Ok(Cleared::with_size_prefix(self.frame.into_frame())) } else { Err(self) }
    }
}
