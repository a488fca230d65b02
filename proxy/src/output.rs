//! What weir prints while it serves. Whoever reads standard output and standard error may be slow, stuck or gone; nothing that moves data
//! waits for them, so each is written by a thread of its own.

mod log;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) use self::log::Log;

/// Bytes that a pipe takes in one piece, so that the lines of two threads do not mix (`PIPE_BUF` of Linux).
const ATOMIC_BYTES_MAX: usize = 4096;

/// Pause before a file that somebody else made non-blocking is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A handle to standard output of its own: the one of the standard library has a lock, and a buffer that is written at the very end.
pub(crate) fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn stderr() -> io::Result<File> {
    Ok(File::from(io::stderr().as_fd().try_clone_to_owned()?))
}

/// Prints a text on a thread of its own. What is given tells when it is out; a wait for it needs an end.
///
/// # Errors
///
/// When there is no handle, or no thread.
pub(crate) fn print(text: String) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let mut out = stdout()?;
    let (told, printed) = oneshot::channel();
    // Nobody may wait any more.
    let work = move || drop(told.send(put(&mut out, text.as_bytes())));
    thread::Builder::new().name("print".to_owned()).spawn(work)?;
    Ok(printed)
}

/// Writes all of it, however long that takes.
///
/// # Errors
///
/// When it cannot be written. A part of it may have been.
pub(crate) fn put(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(BUSY_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes each time, and none each second time.
    struct Grudging(Vec<u8>, u32);

    impl Write for Grudging {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            match self.1 % 3 {
                0 => Err(ErrorKind::WouldBlock.into()),
                1 => Err(ErrorKind::Interrupted.into()),
                _ => self.0.write(bytes.get(..3).unwrap_or(bytes)),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_taken_in_pieces_arrives_whole() {
        let mut out = Grudging(Vec::new(), 0);
        put(&mut out, b"a line of text\n").expect("written");
        assert_eq!(out.0, b"a line of text\n");
        assert!(put(&mut &mut [0; 4][..], b"five!").is_err(), "a file without room is no success");
    }
}
