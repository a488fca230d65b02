//! The digest of a batch's contents: keyed BLAKE3 over key, value and headers of each record, as encoded.
//!
//! Offsets and timestamps are left out: the broker assigns them after Produce, and the digest of what a producer wrote
//! is to equal that of what a consumer reads. Each record's part is self-delimiting, so no two sequences of records give
//! the same bytes.

use super::walk::take_content;

/// BLAKE3 hashes 16 chunks of 1 KiB side by side where the machine can; records are gathered into updates of this many
/// bytes so that small ones profit.
const GATHER_BYTES: usize = 64 * 1024;

/// Hashes the records of one or more batches.
pub(super) struct Digest {
    hasher: Option<blake3::Hasher>,
    gathered: Vec<u8>,
}

impl Digest {
    /// Without a key nothing is hashed. `gathered` is only a buffer.
    pub(super) fn new(key: Option<&[u8; 32]>, mut gathered: Vec<u8>) -> Self {
        gathered.clear();
        Self { hasher: key.map(blake3::Hasher::new_keyed), gathered }
    }

    /// Adds the records of an opened payload that was walked before.
    pub(super) fn add(&mut self, mut payload: &[u8]) {
        let Some(hasher) = &mut self.hasher else { return };
        while let Some(content) = take_content(&mut payload) {
            if self.gathered.len() + content.len() > GATHER_BYTES {
                hasher.update(&self.gathered);
                self.gathered.clear();
            }
            if content.len() > GATHER_BYTES {
                hasher.update(content);
            } else {
                self.gathered.extend_from_slice(content);
            }
        }
    }

    /// The digest, and the buffer back.
    pub(super) fn finish(self) -> (Option<[u8; 32]>, Vec<u8>) {
        let digest = self.hasher.map(|mut hasher| {
            hasher.update(&self.gathered);
            *hasher.finalize().as_bytes()
        });
        (digest, self.gathered)
    }
}
