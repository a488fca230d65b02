//! What can be wrong with a log on disk.

use std::io;
use std::path::PathBuf;

use weir_audit::checkpoint::{CheckpointError, SignatureFault, SignerError, TrustError};
use weir_audit::{ChainId, HeadNoteError, IdError};

/// Why a log cannot be opened, read or appended to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No log is there.
    #[error("there is no audit log in `{}`", path.display())]
    NotFound {
        /// The data directory.
        path: PathBuf,
    },
    /// Another process has the log open for writing.
    #[error("the audit log in `{}` is in use by another weir process; stop that one, or give each its own `data_dir`", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("cannot {what} `{}`: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database said no.
    #[error("cannot {what} the audit log: {source}")]
    Database {
        /// What was tried.
        what: &'static str,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// What is stored does not fit itself.
    #[error(
        "the audit log is damaged: {what}; see `weir audit verify`, and restore it from a copy, or keep the log aside and begin a new one \
         with  weir audit accept-loss --reason …"
    )]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
    /// The log is shorter than its last checkpoint says: entries were lost, or an older copy was put in its place.
    #[error(
        "the audit log has {rows} entries and the checkpoint beside it vouches for {noted}: entries were lost or an older copy was \
         restored; put the newer copy back, or record the loss and begin a new log with  weir audit accept-loss --reason …"
    )]
    Behind {
        /// Entries in the log.
        rows: u64,
        /// Entries that the checkpoint knows.
        noted: u64,
    },
    /// The log holds other entries than its last checkpoint says.
    #[error(
        "the audit log and the checkpoint beside it disagree on entry {seq} or one before it: the log was rewritten; restore it from a \
         copy, or keep it aside and begin a new log with  weir audit accept-loss --reason …"
    )]
    Forked {
        /// The last entry that the checkpoint covers.
        seq: u64,
    },
    /// The name of a chain without its database: a first start names it last, so the database was there.
    #[error(
        "the audit log `{}` is missing, and `{}` says that there was one: it was lost or removed; put it back from a copy, or record the \
         loss and begin a new log with  weir audit accept-loss --reason …",
        path.display(), named.display()
    )]
    DatabaseMissing {
        /// The database.
        path: PathBuf,
        /// The file with the chain's name.
        named: PathBuf,
    },
    /// A log without the name of its chain.
    #[error(
        "there is an audit log, and `{}`, which names its chain, is missing; restore that file from a copy, or keep the log aside and \
         begin a new one with  weir audit accept-loss --reason …",
        path.display()
    )]
    NameMissing {
        /// The file with the chain's name.
        path: PathBuf,
    },
    /// The checkpoint file is not there, and it was.
    #[error(
        "the checkpoint file `{}` is missing beside {rows} entries, and without it nobody knows whether they are what was written; restore \
         it from a copy or from the last collected line, or keep the log aside and begin a new one with  weir audit accept-loss --reason …",
        path.display()
    )]
    CheckpointMissing {
        /// The file.
        path: PathBuf,
        /// Entries in the log.
        rows: u64,
    },
    /// The checkpoint is not by a key of its log.
    #[error(
        "the checkpoint file `{}` is damaged: {source}; restore it from a copy or from the last collected line, or keep the log aside and \
         begin a new one with  weir audit accept-loss --reason …",
        path.display()
    )]
    CheckpointForged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SignatureFault,
    },
    /// The checkpoint file is not what was written.
    #[error(
        "the checkpoint file `{}` is damaged: {source}; restore it from a copy or from the last collected line, or keep the log aside and \
         begin a new one with  weir audit accept-loss --reason …",
        path.display()
    )]
    CheckpointFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The list of keys beside the log is not there, and a checkpoint is.
    #[error(
        "the list of keys `{}` is missing; restore it from a copy or from the trust file, or keep the log aside and begin a new one with  \
         weir audit accept-loss --reason …",
        path.display()
    )]
    KeyListMissing {
        /// The file.
        path: PathBuf,
    },
    /// The list of keys beside the log is not what was written.
    #[error(
        "the list of keys `{}` is damaged: {source}; restore it from a copy or from the trust file, or keep the log aside and begin a new \
         one with  weir audit accept-loss --reason …",
        path.display()
    )]
    KeyList {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TrustError,
    },
    /// The key that signs was replaced by another before.
    #[error(
        "the checkpoint key {id} was replaced by another one before, and signs nothing any more; give the newest, or a new one"
    )]
    KeyRetired {
        /// Its id.
        id: String,
    },
    /// The key does not sign.
    #[error("cannot sign checkpoints of the audit log: {0}")]
    Signer(#[from] SignerError),
    /// A loss is being accepted.
    #[error(
        "`weir audit accept-loss` was interrupted; run it again: it goes on, or keeps a log that was put back meanwhile"
    )]
    LossPending,
    /// What says how far the acceptance of a loss has come is not what was written.
    #[error(
        "`{}` is damaged; where the log was not moved aside yet, or was put back, remove this file; else begin the new log elsewhere",
        path.display()
    )]
    LossOrder {
        /// The file.
        path: PathBuf,
    },
    /// What is lost cannot be named, and so not accepted.
    #[error("nothing in `{}` names the log that was lost; move the directory aside, and a new log begins", path.display())]
    Unnamed {
        /// The data directory.
        path: PathBuf,
    },
    /// The log opens: there is no loss to accept.
    #[error("nothing is lost: the audit log opens and extends its checkpoint")]
    NothingLost,
    /// The head file is not what was written.
    #[error(
        "the head file `{}` is damaged: {source}; restore it from a copy, or keep the log aside and begin a new one with  weir audit \
         accept-loss --reason …",
        path.display()
    )]
    HeadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: HeadNoteError,
    },
    /// The file that names the chain is not what was written.
    #[error(
        "`{}`, which names the chain, is damaged: {source}; restore it from a copy, or keep the log aside and begin a new one with  weir \
         audit accept-loss --reason …",
        path.display()
    )]
    ChainFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IdError,
    },
    /// The key of the digests is not there, and the log is.
    #[error(
        "the digest key `{}` is missing, and without it the digests of earlier records cannot be checked; restore it from a copy, or keep \
         the log aside and begin a new one with  weir audit accept-loss --reason …",
        path.display()
    )]
    DigestKeyMissing {
        /// The file.
        path: PathBuf,
    },
    /// A key file is not what was written.
    #[error(
        "the key file `{}` is damaged: {source}; restore it from a copy, or remove it, keep the log aside and begin a new one with  weir \
         audit accept-loss --reason …",
        path.display()
    )]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IdError,
    },
    /// The key file of checkpoints is not what was written.
    #[error("the key file `{}` is not 32 bytes in base64; restore it from a copy", path.display())]
    CheckpointKey {
        /// The file.
        path: PathBuf,
    },
    /// A key file is readable by everyone.
    #[error("the key file `{}` is readable by everyone; make its mode 0600", path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
    },
    /// A log without the name of its chain, or with another's.
    #[error(
        "the audit log is of chain {log} and `{}` is not; restore from one copy what belongs together, or keep the log aside and begin a \
         new one with  weir audit accept-loss --reason …",
        path.display()
    )]
    OtherChain {
        /// The log's chain.
        log: ChainId,
        /// The file with the chain's name.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {source}")]
    Random {
        /// What the system said.
        source: getrandom::Error,
    },
    /// A batch that does not follow what is stored.
    #[error("a batch that starts at entry {found} was given to a log of {expected} entries")]
    OutOfPlace {
        /// Entries in the log.
        expected: u64,
        /// First entry of the batch.
        found: u64,
    },
    /// An append failed before; where the log stands is unknown until it is opened again.
    #[error("an append failed before; the audit log must be opened again")]
    Failed,
}

impl StoreError {
    pub(crate) fn database(what: &'static str) -> impl Fn(rocksdb::Error) -> Self {
        move |source| Self::Database { what, source }
    }

    pub(crate) fn file(what: &'static str, path: &std::path::Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }

    /// Whether this says that the stored bytes are not what was written, rather than that they could not be reached.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. }
            | Self::Behind { .. }
            | Self::Forked { .. }
            | Self::HeadFile { .. }
            | Self::DatabaseMissing { .. }
            | Self::NameMissing { .. }
            | Self::ChainFile { .. }
            | Self::CheckpointMissing { .. }
            | Self::CheckpointForged { .. }
            | Self::CheckpointFile { .. }
            | Self::KeyListMissing { .. }
            | Self::DigestKeyMissing { .. }
            | Self::KeyList { .. }
            | Self::Signer(_)
            | Self::OtherChain { .. } => true,
            Self::Database { source, .. } => source.kind() == rocksdb::ErrorKind::Corruption,
            Self::NotFound { .. }
            | Self::Locked { .. }
            | Self::File { .. }
            | Self::KeyFile { .. }
            | Self::CheckpointKey { .. }
            | Self::KeyRetired { .. }
            | Self::LossPending
            | Self::LossOrder { .. }
            | Self::Unnamed { .. }
            | Self::NothingLost
            | Self::KeyExposed { .. }
            | Self::Random { .. }
            | Self::OutOfPlace { .. }
            | Self::Failed => false,
        }
    }
}
