//! Processes that are killed at a step of theirs: strace sends the signal where a system call begins, which is then not made.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DATA_DIR: &str = "WEIR_TEST_STEPS_DATA_DIR";

/// The calls that change what a directory shows, or make durable what is in the database.
pub(crate) const STEPS: [&str; 4] =
    ["?mkdir,?mkdirat", "?rename,?renameat,?renameat2", "?unlink,?unlinkat", "fdatasync"];

/// Where the child works; `None` = this is not the child.
pub(crate) fn data_dir() -> Option<PathBuf> {
    std::env::var_os(DATA_DIR).map(PathBuf::from)
}

/// Runs a test of this binary as a process that is killed at its `when`th such call; false = it had fewer and came to its end.
pub(crate) fn killed(test: &str, data_dir: &Path, step: &str, when: u32) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={step}"), "-e"])
        .arg(format!("inject={step}:signal=SIGKILL:when={when}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(DATA_DIR, data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace");
    // strace ends as its child did.
    match (status.signal(), status.code()) {
        (Some(9), _) => true,
        (None, Some(0)) => false,
        other => panic!("{test}, {step} {when}: {other:?}"),
    }
}
