//! What a broker stored, read from its disk: the ground truth of every no-leak test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Kafka, jars};
use crate::{Error, child};

impl Kafka {
    /// The log segments of a partition, oldest first.
    ///
    /// # Errors
    /// When the partition has no folder.
    pub fn segments(&self, topic: &str, partition: i32) -> Result<Vec<PathBuf>, Error> {
        let mut files = files_below(&self.log_dir().join(format!("{topic}-{partition}")))?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        Ok(files)
    }

    /// All bytes of a partition's log segments, in order: record batches as they were stored, compressed ones
    /// compressed.
    ///
    /// # Errors
    /// As [`Kafka::segments`], and when a file cannot be read.
    pub fn segment_bytes(&self, topic: &str, partition: i32) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for path in self.segments(topic, partition)? {
            bytes.extend(fs::read(&path).map_err(Error::io(format!("read {}", path.display())))?);
        }
        Ok(bytes)
    }

    /// Every file below [`Kafka::log_dir`] that holds `needle`, with the first position. Compressed batches are not
    /// opened.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn find_bytes(&self, needle: &[u8]) -> Result<Vec<(PathBuf, usize)>, Error> {
        let mut found = Vec::new();
        for path in files_below(&self.log_dir())? {
            let bytes = match fs::read(&path) {
                // The broker deletes and renames files while it runs.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                read => read.map_err(Error::io(format!("read {}", path.display())))?,
            };
            if let Some(at) = bytes.windows(needle.len().max(1)).position(|window| window == needle) {
                found.push((path, at));
            }
        }
        Ok(found)
    }

    /// Kafka's own `DumpLogSegments` of a partition: a line per batch (offsets, producer, codec, CRC, `isvalid`) and per
    /// record (headers, key, payload), batches decompressed.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn dump_log(&self, topic: &str, partition: i32) -> Result<String, Error> {
        let files: Vec<String> =
            self.segments(topic, partition)?.iter().map(|path| path.display().to_string()).collect();
        let tool = "org.apache.kafka.tools.DumpLogSegments";
        let mut dump = jars::java(&jars::tools()?, &[], tool, Command::new("java"));
        dump.args(["--print-data-log", "--deep-iteration", "--files", &files.join(",")]);
        Ok(child::run(&mut dump, tool, &[], DUMP_WITHIN)?.success(tool)?.stdout)
    }
}

const DUMP_WITHIN: Duration = Duration::from_secs(120);

fn files_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let context = || format!("list {}", folder.display());
        for entry in fs::read_dir(&folder).map_err(Error::io(context()))? {
            let path = entry.map_err(Error::io(context()))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
