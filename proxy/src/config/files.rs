//! Files and environment variables that a configuration names.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

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
///
/// It may be a secret: the one buffer that it is read into is as large as it needs to be, so that no copy stays where it grew, and is
/// cleared when it is dropped.
pub(super) fn open(path: &Path, bytes_max: usize) -> Result<(Zeroizing<String>, u32), String> {
    // A pipe would block the reading, and has no place in a configuration.
    let named = std::fs::metadata(path).map_err(|error| reason(&error))?;
    if !named.is_file() {
        return Err("it is not a file".into());
    }
    let file = File::open(path).map_err(|error| reason(&error))?;
    let metadata = file.metadata().map_err(|error| reason(&error))?;
    let expected = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut bytes = read_whole(file, expected, bytes_max).map_err(|error| reason(&error))?;
    if bytes.len() > bytes_max {
        return Err(format!("it is larger than {bytes_max} bytes"));
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok((Zeroizing::new(text), metadata.mode())),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err("it is not UTF-8 text".to_owned())
        }
    }
}

/// Everything that is there, and of more than `bytes_max` bytes one more. No copy stays anywhere, also where it is longer than `expected`.
fn read_whole(mut file: impl Read, expected: usize, bytes_max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let most = bytes_max.saturating_add(1);
    // With room for one byte more its end is seen without a larger buffer.
    let mut bytes = Zeroizing::new(vec![0; expected.saturating_add(1).min(most)]);
    let mut filled = 0;
    loop {
        let room = bytes.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            if filled == most {
                break;
            }
            let mut larger = Zeroizing::new(vec![0; filled.saturating_mul(2).clamp(1, most)]);
            larger.iter_mut().zip(bytes.iter()).for_each(|(to, from)| *to = *from);
            bytes = larger;
            continue;
        }
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Permission bits of everybody who is neither the owner nor in the group.
pub(super) const MODE_OTHERS: u32 = 0o007;

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let piece = self.1.min(room.len());
            self.0.read(room.get_mut(..piece).unwrap_or_default())
        }
    }

    #[test]
    fn all_of_a_file_is_read_whatever_size_it_was_said_to_have() {
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for expected in [0, 1, 7, 999, 1000, 1001, usize::MAX] {
            for (bytes_max, read) in [(2000, 1000), (1000, 1000), (999, 1000), (9, 10), (0, 1)] {
                for piece in [1, 64, 5000] {
                    let bytes = read_whole(Slow(&text, piece), expected, bytes_max).unwrap();
                    assert_eq!(bytes.as_slice(), &text[..read], "{expected} {bytes_max} {piece}");
                }
            }
        }
        assert!(read_whole(Slow(&[], 1), 0, 10).unwrap().is_empty());
    }
}
