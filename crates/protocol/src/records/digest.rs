//! The digest of a batch's contents: keyed BLAKE3 over key, value and headers of each record, as encoded.
//!
//! Offsets and timestamps are left out: the broker assigns them after Produce, and the digest of what a producer wrote
//! is to equal that of what a consumer reads. Each record's part is self-delimiting, so no two sequences of records give
//! the same bytes.

use super::walk::take_content;

/// BLAKE3 hashes 16 chunks of 1 KiB side by side where the machine can, but only in updates that begin and end with a
/// chunk: records are gathered into updates of exactly this many bytes.
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
        while let Some(mut content) = take_content(&mut payload) {
            while self.gathered.len() + content.len() >= GATHER_BYTES {
                let (filling, rest) = content.split_at_checked(GATHER_BYTES - self.gathered.len()).unwrap_or_default();
                content = rest;
                if self.gathered.is_empty() {
                    hasher.update(filling);
                } else {
                    self.gathered.extend_from_slice(filling);
                    hasher.update(&self.gathered);
                    self.gathered.clear();
                }
            }
            self.gathered.extend_from_slice(content);
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
