//! The small files beside the database, each written whole: to a name of its own, synced, renamed, and the directory synced.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use weir_audit::{HeadNote, SignedCheckpoint};

use crate::error::StoreError;

/// What older versions kept in the place of a checkpoint. It is read, and gone once there is a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct HeadFile {
    path: PathBuf,
}

/// The last checkpoint of a log, beside its database. Cheap to clone, so that another thread than the committer's may write it.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    /// What older versions kept in its place.
    head: PathBuf,
}

/// Where things are in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) data_dir: PathBuf,
    pub(crate) audit: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) head: HeadFile,
    pub(crate) checkpoint: CheckpointFile,
    pub(crate) vkeys: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) chain_id: PathBuf,
    pub(crate) digest_key: PathBuf,
    pub(crate) checkpoint_key: PathBuf,
    pub(crate) accept_loss: PathBuf,
    pub(crate) beginning: PathBuf,
}

impl Layout {
    pub(crate) fn new(data_dir: &Path) -> Self {
        let (audit, keys) = (data_dir.join("audit"), data_dir.join("keys"));
        Self {
            data_dir: data_dir.to_owned(),
            database: audit.join("db"),
            head: HeadFile { path: audit.join("head") },
            checkpoint: CheckpointFile { path: audit.join("checkpoint"), head: audit.join("head") },
            vkeys: audit.join("vkeys"),
            audit,
            chain_id: keys.join("chain-id"),
            digest_key: keys.join("digest-key"),
            checkpoint_key: keys.join("checkpoint-key"),
            accept_loss: keys.join("accept-loss"),
            beginning: keys.join("beginning"),
            keys,
        }
    }

    /// Makes the directories that are not there, open to nobody else. They are durable: one that a power cut took away would look like
    /// one that somebody removed.
    pub(crate) fn make(&self) -> Result<(), StoreError> {
        let is_new = !self.data_dir.exists();
        self.make_keys()?;
        make_directory(&self.audit)?;
        if let Some(parent) = self.data_dir.parent().filter(|_| is_new) {
            sync_directory(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        sync_directory(&self.data_dir)
    }

    /// Makes the directory of the keys.
    pub(crate) fn make_keys(&self) -> Result<(), StoreError> {
        make_directory(&self.keys)
    }

    /// Whether there is a database: `CURRENT` is there from the moment on at which it is one.
    pub(crate) fn has_database(&self) -> bool {
        self.database.join("CURRENT").exists()
    }
}

impl HeadFile {
    /// Reads the head file; `None` = there is none.
    pub(crate) fn read(&self) -> Result<Option<HeadNote>, StoreError> {
        let Some(text) = read_small(&self.path)? else { return Ok(None) };
        let parsed = text.parse().map_err(|source| StoreError::HeadFile { path: self.path.clone(), source })?;
        Ok(Some(parsed))
    }
}

impl CheckpointFile {
    /// Writes a checkpoint atomically and durably. Write only what is durable in the log already, never an older one over a newer.
    ///
    /// # Errors
    /// When the file system says no; the file is the old one then.
    pub fn write(&self, checkpoint: &SignedCheckpoint) -> Result<(), StoreError> {
        write_whole(&self.path, checkpoint.to_string().as_bytes())?;
        match fs::remove_file(&self.head) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::file("remove", &self.head)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reads the checkpoint; `None` = there is none. Its signature is not looked at.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    pub fn read(&self) -> Result<Option<SignedCheckpoint>, StoreError> {
        let Some(text) = read_small(&self.path)? else { return Ok(None) };
        let parsed = text.parse().map_err(|source| StoreError::CheckpointFile { path: self.path.clone(), source })?;
        Ok(Some(parsed))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(StoreError::file("create the directory", path))
}

/// Writes a file of mode 0600 so that it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(StoreError::file("create", &fresh))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(StoreError::file("write", &fresh))?;
    fs::rename(&fresh, path).map_err(StoreError::file("replace", path))?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Makes durable which files a directory has.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(StoreError::file("sync", path))
}

/// Reads a small text file; `None` = there is none. What is longer than such a file ever is, or no text, is cut or replaced: the parser
/// refuses it.
pub(crate) fn read_small(path: &Path) -> Result<Option<String>, StoreError> {
    read_at_most(path, SMALL_BYTES_MAX)
}

/// The same, of a file that may be longer.
pub(crate) fn read_at_most(path: &Path, bytes_max: u64) -> Result<Option<String>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        // Where a file takes the place of its directory, the better words are those of making the directory.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(StoreError::file("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).map_err(StoreError::file("read", path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Bytes read of a small file; a checkpoint has less than 300.
const SMALL_BYTES_MAX: u64 = 16 << 10;
