//! Files that a verification is given: the keys that somebody trusts, and the lines that somebody collected.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use weir_audit::checkpoint::{AnchorReader, TrustedKeys};
use weir_audit::{ChainId, SignedCheckpoint};

/// Checkpoints that were found in collected lines.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Each once.
    pub(super) checkpoints: HashSet<SignedCheckpoint>,
    /// Lines with those of logs that nobody asked for and no key is trusted of.
    pub(super) others: u64,
    /// Checkpoints that could not be read.
    pub(super) unreadable: u64,
    /// Where the first of these is.
    pub(super) first_unreadable: Option<String>,
    /// Those that are cut short by the beginning or the end of a file.
    pub(super) cut: u64,
}

/// Reads a trust file.
pub(super) fn trust(path: &Path) -> Result<TrustedKeys, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let read = file.take(TRUST_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    TrustedKeys::parse(&text).map_err(|error| format!("`{}`: {error}", path.display()))
}

/// Reads collected lines, `-` from standard input; what is of logs that are not `wanted` is counted alone.
pub(super) fn anchors(paths: &[PathBuf], wanted: impl Fn(&ChainId) -> bool) -> Result<Collected, String> {
    let mut collected = Collected::default();
    for path in paths {
        let cannot = |error| format!("cannot read `{}`: {error}", path.display());
        let mut input: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(BufReader::with_capacity(READ_BYTES, File::open(path).map_err(cannot)?))
        };
        let (mut reader, mut found) = (AnchorReader::new(), Vec::new());
        loop {
            let bytes = input.fill_buf().map_err(cannot)?;
            let read = bytes.len();
            if read > 0 {
                reader.bytes(bytes, &mut found);
            } else {
                reader.end(&mut found);
            }
            input.consume(read);
            collected.take(&mut found, &wanted)?;
            if read == 0 {
                break;
            }
        }
        collected.unreadable += reader.unreadable();
        collected.cut += reader.cut();
        if let Some(line) = reader.first_unreadable() {
            collected.first_unreadable.get_or_insert_with(|| format!("`{}` line {line}", path.display()));
        }
    }
    Ok(collected)
}

impl Collected {
    fn take(&mut self, found: &mut Vec<SignedCheckpoint>, wanted: &impl Fn(&ChainId) -> bool) -> Result<(), String> {
        for checkpoint in found.drain(..) {
            if !wanted(&checkpoint.checkpoint().chain) {
                self.others += 1;
            } else if self.checkpoints.insert(checkpoint) && self.checkpoints.len() > ANCHORS_MAX {
                return Err(format!(
                    "more than {ANCHORS_MAX} checkpoints were collected; give the files of one time after those of another"
                ));
            }
        }
        Ok(())
    }
}

/// Distinct checkpoints of all collected lines: eleven days of one a second, some 400 MB.
const ANCHORS_MAX: usize = 1_000_000;

/// Bytes read at once of collected lines.
const READ_BYTES: usize = 256 << 10;

/// Bytes read of a trust file.
const TRUST_BYTES_MAX: u64 = 1 << 20;
