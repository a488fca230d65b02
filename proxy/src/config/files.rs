//! Files and environment variables that a configuration names.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Reads a text file of at most `bytes_max` bytes. The error says why not, without the name.
///
/// # Errors
///
/// A reason in a user's words.
pub(super) fn read_text(path: &Path, bytes_max: usize) -> Result<String, String> {
    let (text, _) = open(path, bytes_max)?;
    Ok(text)
}

/// Reads a file whose content is secret: nobody but its owner and group may read it.
///
/// # Errors
///
/// A reason in a user's words, never a byte of the content.
pub(super) fn read_secret(path: &Path, bytes_max: usize) -> Result<String, SecretFileError> {
    let (text, mode) = open(path, bytes_max).map_err(SecretFileError::Unreadable)?;
    if mode & MODE_OTHERS != 0 {
        return Err(SecretFileError::OpenToOthers);
    }
    Ok(text)
}

/// Why a secret is not taken from a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SecretFileError {
    /// It cannot be read; the reason in a user's words.
    Unreadable(String),
    /// Every user of the machine may read or write it.
    OpenToOthers,
}

/// Whether this process runs as root. Linux tells it by the owner of `/proc/self`; elsewhere the answer is no.
pub(super) fn runs_as_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// An I/O error in a user's words.
pub(super) fn reason(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        "there is no such file".into()
    } else if kind == io::ErrorKind::PermissionDenied {
        "permission denied".into()
    } else {
        error.to_string().to_lowercase()
    }
}

/// The text and the mode of one regular file, both of the same open file, so that it cannot be swapped between the two.
fn open(path: &Path, bytes_max: usize) -> Result<(String, u32), String> {
    // A pipe would block the reading, and has no place in a configuration.
    let named = std::fs::metadata(path).map_err(|error| reason(&error))?;
    if !named.is_file() {
        return Err("it is not a file".into());
    }
    let file = File::open(path).map_err(|error| reason(&error))?;
    let metadata = file.metadata().map_err(|error| reason(&error))?;
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() > bytes_max {
        return Err(format!("it is larger than {bytes_max} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok((text, metadata.mode()))
}

/// Permission bits of everybody who is neither the owner nor in the group.
const MODE_OTHERS: u32 = 0o007;
