//! The file system under a log: how much room there is, how much the log takes, and a file that can be given up for the last words.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;

use crate::error::StoreError;

/// Room on a file system, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total: u64,
    /// What a process without privileges may still write.
    pub free: u64,
}

/// A file of a fixed size in a data directory that holds nothing but its place.
#[derive(Clone, Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Space {
    /// Of the file system that holds a path.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let found = statvfs(path).map_err(|errno| StoreError::file("measure", path)(errno.into()))?;
        let block = found.fragment_size();
        Ok(Self { total: block.saturating_mul(found.blocks()), free: block.saturating_mul(found.blocks_available()) })
    }
}

/// Bytes of the log of a data directory: its files, not its keys and not its ballast.
///
/// # Errors
/// When a directory cannot be read. A file that is removed meanwhile counts nothing.
pub fn used_bytes(data_dir: &Path) -> Result<u64, StoreError> {
    let audit = data_dir.join("audit");
    let mut sum = 0_u64;
    for directory in [audit.join("db"), audit] {
        let files = match fs::read_dir(&directory) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::file("read", &directory)(error)),
        };
        for file in files {
            let metadata = file.and_then(|file| file.metadata());
            match metadata {
                Ok(metadata) if metadata.is_file() => sum = sum.saturating_add(metadata.len()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::file("read", &directory)(error)),
            }
        }
    }
    Ok(sum)
}

impl Ballast {
    /// The ballast of a data directory, there or not.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join("ballast") }
    }

    /// Its size, bytes; 0 = it is not there.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Makes it, or makes it as large as this. One that cannot be made whole is removed again.
    ///
    /// # Errors
    /// When the file system says no; when there is no room above all.
    pub fn make(&self, bytes: u64) -> Result<(), StoreError> {
        if self.bytes() == bytes {
            return Ok(());
        }
        self.release()?;
        let made = self.allocate(bytes);
        if made.is_err() {
            self.release()?;
        }
        made
    }

    fn allocate(&self, bytes: u64) -> Result<(), StoreError> {
        let error = StoreError::file("reserve", &self.path);
        let file: File =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path).map_err(&error)?;
        let length = i64::try_from(bytes).map_err(|_| error(ErrorKind::InvalidInput.into()))?;
        posix_fallocate(file.as_fd(), 0, length).map_err(|errno| error(errno.into()))
    }

    /// Removes it: its place is free now. True when it was there.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn release(&self) -> Result<bool, StoreError> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::file("remove", &self.path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ballast_takes_its_place_and_gives_it_back() {
        let data_dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(data_dir.path());
        assert_eq!((ballast.bytes(), ballast.release().unwrap()), (0, false));
        for bytes in [1 << 20, 1 << 20, 3 << 20, 1 << 19] {
            ballast.make(bytes).unwrap();
            use std::os::unix::fs::MetadataExt;
            let taken = fs::metadata(&ballast.path).unwrap().blocks() * 512;
            assert_eq!((ballast.bytes(), taken >= bytes), (bytes, true), "its blocks are there, not only its length");
        }
        assert_eq!((ballast.release().unwrap(), ballast.bytes()), (true, 0));
    }

    #[test]
    fn a_ballast_that_does_not_fit_leaves_nothing() {
        let data_dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(data_dir.path());
        let space = Space::of(data_dir.path()).unwrap();
        assert!(space.free > 0 && space.total >= space.free, "{space:?}");
        assert!(ballast.make(space.total.saturating_mul(2)).is_err());
        assert_eq!(ballast.bytes(), 0);
    }

    #[test]
    fn only_the_files_of_the_log_count() {
        let data_dir = tempfile::tempdir().unwrap();
        assert_eq!(used_bytes(data_dir.path()).unwrap(), 0);
        fs::create_dir_all(data_dir.path().join("audit/db")).unwrap();
        fs::write(data_dir.path().join("audit/head"), [0; 100]).unwrap();
        fs::write(data_dir.path().join("audit/db/1.log"), [0; 1000]).unwrap();
        Ballast::of(data_dir.path()).make(1 << 20).unwrap();
        assert_eq!(used_bytes(data_dir.path()).unwrap(), 1100);
    }
}
