//! What a configuration was read from, to notice that it is another one by now.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use weir_yaml::TEXT_BYTES_MAX;
use zeroize::Zeroizing;

use super::files::SecretFileError;
use super::{files, glob};

/// The files and patterns of a configuration as they were at one moment: their contents as fingerprints, not their times, so that
/// a symbolic link that leads elsewhere is a change and a file that was touched is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// By path: the most bytes that are read, and what was there.
    files: BTreeMap<PathBuf, (usize, Fingerprint)>,
    /// What each pattern named, by the directory that it starts from.
    patterns: BTreeMap<(PathBuf, String), Vec<PathBuf>>,
}

/// Digest of a file's content and permissions; `None` when it could not be read.
type Fingerprint = Option<[u8; 32]>;

impl Seen {
    /// The same files and patterns as they are now, with the files that the patterns name now.
    #[must_use]
    pub fn again(&self) -> Seen {
        let pattern = |(key, _): (&(PathBuf, String), &Vec<PathBuf>)| {
            (key.clone(), glob::expand(&key.0, &key.1).unwrap_or_default())
        };
        let patterns: BTreeMap<_, _> = self.patterns.iter().map(pattern).collect();
        let file =
            |path: &PathBuf, bytes_max: usize| (path.clone(), (bytes_max, fingerprint(&files::open(path, bytes_max))));
        let mut files: BTreeMap<_, _> =
            self.files.iter().map(|(path, (bytes_max, _))| file(path, *bytes_max)).collect();
        for path in patterns.values().flatten().filter(|path| !self.files.contains_key(*path)) {
            files.extend([file(path, TEXT_BYTES_MAX)]);
        }
        Seen { files, patterns }
    }

    /// The files that differ from those of `other`, or are in one of them only.
    pub fn changes<'a>(&'a self, other: &'a Seen) -> impl Iterator<Item = &'a Path> {
        let of_self =
            self.files.iter().filter(|(path, (_, now))| other.files.get(*path).is_none_or(|(_, then)| now != then));
        let gone = other.files.keys().filter(|path| !self.files.contains_key(*path));
        of_self.map(|(path, _)| path.as_path()).chain(gone.map(PathBuf::as_path))
    }
}

/// Reads the files of one configuration, and remembers what it saw: whatever is read through it is watched for changes.
#[derive(Debug, Default)]
pub(crate) struct Files {
    seen: RefCell<Seen>,
}

impl Files {
    /// Reads a text file of at most `bytes_max` bytes. The error says why not, without the name.
    ///
    /// # Errors
    ///
    /// A reason in a user's words.
    pub(crate) fn read_text(&self, path: &Path, bytes_max: usize) -> Result<String, String> {
        let (mut text, _) = self.open(path, bytes_max)?;
        Ok(std::mem::take(&mut *text))
    }

    /// Reads a file whose content is secret: nobody but its owner and group may read it.
    ///
    /// # Errors
    ///
    /// A reason in a user's words, never a byte of the content.
    pub(crate) fn read_secret(&self, path: &Path, bytes_max: usize) -> Result<Zeroizing<String>, SecretFileError> {
        let (text, mode) = self.open(path, bytes_max).map_err(SecretFileError::Unreadable)?;
        if mode & files::MODE_OTHERS != 0 {
            return Err(SecretFileError::OpenToOthers);
        }
        Ok(text)
    }

    /// The files that a pattern names, in the order of their names.
    ///
    /// # Errors
    ///
    /// A reason in a user's words.
    pub(super) fn expand(&self, base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let paths = glob::expand(base, pattern);
        let listed = paths.clone().unwrap_or_default();
        self.seen.borrow_mut().patterns.insert((base.to_owned(), pattern.to_owned()), listed);
        paths
    }

    /// Everything that was read.
    pub(crate) fn into_seen(self) -> Seen {
        self.seen.into_inner()
    }

    fn open(&self, path: &Path, bytes_max: usize) -> Result<(Zeroizing<String>, u32), String> {
        let read = files::open(path, bytes_max);
        self.seen.borrow_mut().files.insert(path.to_owned(), (bytes_max, fingerprint(&read)));
        read
    }
}

/// What stands for a file that was read, or could not be.
fn fingerprint(read: &Result<(Zeroizing<String>, u32), String>) -> Fingerprint {
    let (text, mode) = read.as_ref().ok()?;
    let mut digest = Sha256::new();
    digest.update(mode.to_be_bytes());
    digest.update(text.as_bytes());
    Some(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::Files;

    #[test]
    fn notices_what_changed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("one", "1"), ("two", "2"), ("p.yaml", "a")] {
            std::fs::write(path(name), text).unwrap();
        }
        symlink(path("one"), path("link")).unwrap();
        let files = Files::default();
        for name in ["link", "two", "absent", "p.yaml"] {
            drop(files.read_text(&path(name), 10));
        }
        assert_eq!(files.expand(folder.path(), "*.yaml"), Ok(vec![path("p.yaml")]));
        let seen = files.into_seen();
        let check = |names: &[&str]| {
            let now = seen.again();
            assert_eq!(
                now.changes(&seen).map(|path| path.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>(),
                names
            );
            now != seen
        };
        assert!(!check(&[]));
        std::fs::write(path("two"), "2").unwrap();
        assert!(!check(&[]), "the same content at another time is the same");
        std::fs::remove_file(path("link")).unwrap();
        symlink(path("two"), path("link")).unwrap();
        assert!(check(&["link"]), "a link leads elsewhere");
        std::fs::set_permissions(path("two"), PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(path("absent"), "").unwrap();
        assert!(check(&["absent", "link", "two"]));
        std::fs::write(path("q.yaml"), "").unwrap();
        assert!(check(&["absent", "link", "q.yaml", "two"]), "a pattern names one file more");
        let once = seen.again();
        std::fs::write(path("q.yaml"), "half").unwrap();
        assert!(seen.again() != once, "and that one is still being written");
    }
}
