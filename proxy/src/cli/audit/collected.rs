//! Files that a verification is given: the keys that somebody trusts, and the lines that somebody collected.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use weir_audit::SignedCheckpoint;
use weir_audit::checkpoint::{AnchorReader, COLLECTED_LINE_BYTES_MAX, TrustedKeys};

/// Checkpoints that were found in collected lines.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Each once.
    pub(super) checkpoints: Vec<SignedCheckpoint>,
    /// Lines that speak of a checkpoint and hold none.
    pub(super) unreadable: u64,
}

/// Reads a trust file.
pub(super) fn trust(path: &Path) -> Result<TrustedKeys, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let read = file.take(TRUST_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    TrustedKeys::parse(&text).map_err(|error| format!("`{}`: {error}", path.display()))
}

/// Reads collected lines, `-` from standard input.
pub(super) fn anchors(paths: &[PathBuf]) -> Result<Collected, String> {
    let (mut collected, mut seen) = (Collected::default(), HashSet::new());
    for path in paths {
        let cannot = |error| format!("cannot read `{}`: {error}", path.display());
        let mut input: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(BufReader::new(File::open(path).map_err(cannot)?))
        };
        let (mut reader, mut found, mut line) = (AnchorReader::new(), Vec::new(), Vec::new());
        loop {
            line.clear();
            let read = read_line(&mut input, &mut line).map_err(cannot)?;
            if read {
                reader.line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']), &mut found);
            } else {
                reader.end(&mut found);
            }
            for checkpoint in found.drain(..) {
                if seen.len() == ANCHORS_MAX {
                    return Err(format!(
                        "more than {ANCHORS_MAX} checkpoints were collected; give the newest lines alone"
                    ));
                }
                if seen.insert(checkpoint.to_string()) {
                    collected.checkpoints.push(checkpoint);
                }
            }
            if !read {
                break;
            }
        }
        collected.unreadable += reader.unreadable();
    }
    Ok(collected)
}

/// Reads one line, of which no more is kept than a line may have; false at the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut any = false;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |end| end + 1);
        let room = COLLECTED_LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend(chunk.iter().take(taken.min(room)));
        input.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Distinct checkpoints of all collected lines: eleven days of one a second, some 300 MB.
const ANCHORS_MAX: usize = 1_000_000;

/// Bytes read of a trust file.
const TRUST_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_and_the_next_one_is_whole() {
        let text = ["x".repeat(COLLECTED_LINE_BYTES_MAX + 1), "y".to_owned(), "z".repeat(COLLECTED_LINE_BYTES_MAX - 1)]
            .join("\n");
        let mut input = BufReader::with_capacity(1000, text.as_bytes());
        let mut lengths = Vec::new();
        let mut line = Vec::new();
        while read_line(&mut input, &mut line).unwrap() {
            lengths.push(line.len());
            line.clear();
        }
        assert_eq!(lengths, [COLLECTED_LINE_BYTES_MAX, 2, COLLECTED_LINE_BYTES_MAX - 1]);
    }
}
