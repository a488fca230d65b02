//! The small files beside the database, each written whole: to a name of its own, synced, renamed, and the directory synced.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use weir_audit::HeadNote;

use crate::error::StoreError;

/// The head file of a log. Cheap to clone, so that another thread than the committer's may write it.
#[derive(Clone, Debug)]
pub struct HeadFile {
    path: PathBuf,
}

/// Where things are in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) data_dir: PathBuf,
    pub(crate) audit: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) head: HeadFile,
    pub(crate) keys: PathBuf,
    pub(crate) chain_id: PathBuf,
    pub(crate) digest_key: PathBuf,
    pub(crate) checkpoint_key: PathBuf,
}

impl Layout {
    pub(crate) fn new(data_dir: &Path) -> Self {
        let (audit, keys) = (data_dir.join("audit"), data_dir.join("keys"));
        Self {
            data_dir: data_dir.to_owned(),
            database: audit.join("db"),
            head: HeadFile { path: audit.join("head") },
            audit,
            chain_id: keys.join("chain-id"),
            digest_key: keys.join("digest-key"),
            checkpoint_key: keys.join("checkpoint-key"),
            keys,
        }
    }

    /// Makes the directories that are not there, open to nobody else.
    pub(crate) fn make(&self) -> Result<(), StoreError> {
        for path in [&self.keys, &self.audit] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(StoreError::file("create the directory", path))?;
        }
        Ok(())
    }
}

impl HeadFile {
    /// Writes a head atomically and durably. Write only what is durable in the log already, never an older head over a newer one.
    ///
    /// # Errors
    /// When the file system says no; the file is the old one then.
    pub fn write(&self, note: &HeadNote) -> Result<(), StoreError> {
        write_whole(&self.path, note.to_string().as_bytes())
    }

    /// Reads the head file; `None` = there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    pub fn read(&self) -> Result<Option<HeadNote>, StoreError> {
        let Some(text) = read_small(&self.path)? else { return Ok(None) };
        let parsed = text.parse().map_err(|source| StoreError::HeadFile { path: self.path.clone(), source })?;
        Ok(Some(parsed))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
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
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(StoreError::file("sync", parent))
}

/// Reads a small text file; `None` = there is none. What is longer than such a file ever is, or no text, is cut or replaced: the parser
/// refuses it.
pub(crate) fn read_small(path: &Path) -> Result<Option<String>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::file("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(SMALL_BYTES_MAX).read_to_end(&mut bytes).map_err(StoreError::file("read", path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Bytes read of a small file; a head file has less than 350.
const SMALL_BYTES_MAX: u64 = 4096;
