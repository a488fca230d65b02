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
    /// The rebuilt batches.
    pub(super) fn take_out(&mut self) -> Bytes {
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
