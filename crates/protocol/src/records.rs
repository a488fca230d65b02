//! Record batches: strict reading, inspection, and edits.
//!
//! A batch is accepted only when every reader in the field sees the same records in it: each byte is accounted for, from
//! the header to the end of the compressed stream. What an inspector changes is patched in place where no length
//! changes, and copied once where one does; what it leaves alone leaves byte-identical.
//!
//! - [`check_produce`], [`check_fetch`]: header, length and CRC, the payload not opened.
//! - [`rewrite_produce`], [`rewrite_fetch`]: everything opened, walked, inspected by an [`Inspect`], and edited.
//!
//! ```
//! use weir_protocol::records::{Edits, Field, Inspect, RecordView, Verdict};
//!
//! struct MaskValues;
//!
//! impl Inspect for MaskValues {
//!     fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict {
//!         if let Some(value) = record.value {
//!             edits.mask(Field::Value, 0..value.len(), b'*');
//!         }
//!         Verdict::Keep
//!     }
//! }
//! ```

mod batch;
mod codec;
mod compression;
mod digest;
mod edits;
mod error;
mod patch;
mod rewrite;
mod scratch;
mod walk;

pub use batch::{BatchInfo, FetchChecked, check_fetch, check_produce};
pub use compression::Codec;
pub use edits::{EditView, Edits, Field, Replacement};
pub use error::{BatchError, CodecFault, RecordPart};
pub use rewrite::{Change, FetchRewritten, Rewritten, rewrite_fetch, rewrite_produce};
pub use scratch::Scratch;
pub use walk::{HeaderView, Headers, RecordView};

/// Bounds of one batch, so that a small frame cannot ask for much work or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of records, decompressed.
    pub batch_bytes_max: usize,
    /// Bytes out for each compressed byte in; it counts only past 16 MiB of output, because equal documents compress
    /// further than any useful ratio.
    pub inflate_ratio_max: usize,
    /// Records in a batch.
    pub records_max: usize,
    /// Headers of a record.
    pub headers_max: usize,
    /// Bytes of a record's key.
    pub key_bytes_max: usize,
    /// Bytes of a record's value, and of each of its headers' values.
    pub value_bytes_max: usize,
    /// Bytes of a header's name.
    pub header_name_bytes_max: usize,
    /// Bytes of a batch as it goes to the broker, beyond which edits may not make it grow: what its topic takes.
    pub grown_bytes_max: usize,
}

impl Limits {
    /// What rewriting one batch may hold at most, bytes: the batch opened, edited and compressed again, each of the latter two longer by
    /// what its edits put in place, the edits themselves, and the codec at work. `just bench-memory` holds it against what the kernel counts.
    #[must_use]
    pub const fn rewrite_bytes_max(&self) -> usize {
        let batches = self.batch_bytes_max.saturating_mul(3);
        batches.saturating_add(edits::EDIT_BYTES_MAX * 2 + edits::EDITS_MEMORY_BYTES + codec::CONTEXT_BYTES_MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes_max: 64 * 1024 * 1024,
            inflate_ratio_max: 64,
            records_max: 1_000_000,
            headers_max: 1000,
            key_bytes_max: 1024 * 1024,
            value_bytes_max: 64 * 1024 * 1024,
            header_name_bytes_max: 32 * 1024,
            grown_bytes_max: usize::MAX,
        }
    }
}

/// How batches are rewritten.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The bounds.
    pub limits: &'a Limits,
    /// Key of the digest; without one there is none.
    pub digest_key: Option<&'a [u8; 32]>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("limits", self.limits).field("digest", &self.digest_key.is_some()).finish()
    }
}

/// What happens to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, with the edits that were made.
    Keep,
    /// It does not: Produce refuses the whole batch, Fetch leaves the record out.
    Refuse,
}

/// Looks at records and says what is to change.
pub trait Inspect {
    /// Called once for each record, in order. `edits` takes the changes to this record.
    fn record(&mut self, record: &RecordView<'_>, edits: &mut Edits) -> Verdict;
}

/// Reads `data` in every way a peer could make us read it; nothing may panic, and what is accepted must hold together.
#[doc(hidden)]
pub fn fuzz_records(data: &[u8]) {
    struct KeepAll;
    impl Inspect for KeepAll {
        fn record(&mut self, record: &RecordView<'_>, _: &mut Edits) -> Verdict {
            assert_eq!(u32::try_from(record.headers.iter().count()), Ok(record.headers.count()));
            Verdict::Keep
        }
    }
    let limits = Limits::default();
    let options = Options { limits: &limits, digest_key: None };
    let mut scratch = Scratch::default();
    let mut bytes = data.to_vec();
    let opened = rewrite_produce(&mut bytes, 13, &options, &mut KeepAll, &mut scratch).is_ok();
    assert!(!opened || check_produce(data, 13).is_ok());
    assert_eq!(bytes, data);
    let fetched = rewrite_fetch(&mut bytes, &options, &mut KeepAll, &mut scratch);
    assert!(fetched.bytes_out <= data.len());
    assert_eq!(bytes, data);
}
