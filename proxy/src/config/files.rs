//! Files and environment variables that a configuration names.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why a secret is not taken from a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SecretFileError {
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
pub(super) fn open(path: &Path, bytes_max: usize) -> Result<(String, u32), String> {
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
pub(super) const MODE_OTHERS: u32 = 0o007;
