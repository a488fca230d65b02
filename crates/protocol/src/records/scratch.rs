//! What is reused from batch to batch.

use bytes::{Bytes, BytesMut};

use super::codec::{Codecs, Output};
use super::patch::Plan;

/// Buffers larger than this are given back after the batch that needed them, in bytes: one thread's scratch stays
/// within a few times this size however large a batch was.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Codec contexts, the buffer for decompressed records, edits and output, kept between batches. It belongs to one
/// thread at a time and holds nothing that the next call reads.
#[derive(Default)]
pub struct Scratch {
    pub(super) codecs: Codecs,
    /// Decompressed records.
    pub(super) plain: Output,
    pub(super) plan: Plan,
    /// Edited records before they are compressed.
    pub(super) edited: BytesMut,
    /// Rebuilt batches; what leaves as `Bytes` is reclaimed once it was dropped.
    pub(super) out: BytesMut,
    /// Record contents on their way into the digest.
    pub(super) gathered: Vec<u8>,
}

impl Scratch {
    /// The rebuilt batches, in memory of about their size: room for a batch that may not compress is taken from the buffer, and
    /// bytes that wait for a broker must not keep all of it.
    pub(super) fn take_out(&mut self) -> Bytes {
        if self.out.capacity() / 2 > self.out.len() {
            let exact = Bytes::copy_from_slice(&self.out);
            self.out.clear();
            return exact;
        }
        let out = self.out.split().freeze();
        if out.len() > KEPT_BYTES_MAX {
            self.out = BytesMut::new();
        }
        out
    }

    /// Empties the buffers and gives unusual sizes back.
    pub(super) fn settle(&mut self) {
        self.plan.shrink(KEPT_BYTES_MAX);
        self.plain.shrink(KEPT_BYTES_MAX);
        self.edited.clear();
        if self.edited.capacity() > KEPT_BYTES_MAX {
            self.edited = BytesMut::new();
        }
        if self.out.capacity() > KEPT_BYTES_MAX {
            self.out = BytesMut::new();
        }
        self.out.clear();
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("plain_bytes", &self.plain.capacity()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_keeps_no_more_than_twice_its_size() {
        let check = |room: usize, used: usize| {
            let mut scratch = Scratch::default();
            scratch.out.reserve(room);
            scratch.out.resize(used, 7);
            let out = scratch.take_out();
            scratch.out = BytesMut::new();
            assert_eq!(out.as_ref(), vec![7; used]);
            let kept = out.try_into_mut().map_or(usize::MAX, |out| out.capacity());
            assert!(kept <= used.saturating_mul(2).saturating_add(1), "{kept} for {used} of {room}");
        };
        check(16 << 20, 2 << 20);
        check(16 << 20, 10);
        check(1000, 1000);
        check(1000, 501);
    }
}
