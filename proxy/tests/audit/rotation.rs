//! A change of the signing key on a disk that fails right then.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_audit_store::Store;

use crate::NO_BROKER;
use crate::gateway::{Gateway, Setting};
use crate::tamper::copy_all;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// The write-ahead log that the next start of this log begins, as a start of a copy shows.
fn next_wal(data_dir: &Path) -> PathBuf {
    let copy = TempDir::new().unwrap();
    copy_all(data_dir, copy.path());
    let opened = Store::open(copy.path()).unwrap();
    let files = fs::read_dir(copy.path().join("audit/db")).unwrap().map(|file| file.unwrap().file_name());
    let logs = files.filter(|name| name.to_str().unwrap().ends_with(".log"));
    let newest = logs.max().unwrap();
    drop(opened);
    data_dir.join("audit/db").join(newest)
}

/// The first entry under the new key cannot be written at first. The old key's last checkpoint, which is in its file alone, must not be
/// lost with it, and nothing may be signed before the log tells of the change.
#[test]
fn a_change_of_keys_whose_first_write_fails_stays_explained() {
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    assert_eq!(gateway.stop(), 0);
    let (data_dir, config) = (gateway.data_dir(), gateway.weir.options().config.clone());
    let (key, log) = (config.with_file_name("audit.key"), config.with_file_name("second.log"));
    fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let made = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{made}audit: {{ checkpoint: {{ key: {{ file: audit.key }} }} }}\n")).unwrap();
    let checkpoint = || fs::read_to_string(data_dir.join("audit/checkpoint")).unwrap();
    let before = checkpoint();

    let mut weir = Command::new("strace")
        .args([
            "-D",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fdatasync",
            "-e",
            "inject=fdatasync:error=EIO:when=1",
        ])
        .arg("-P")
        .arg(next_wal(&data_dir))
        .arg(&gateway.weir.options().binary)
        .args(["serve", "--config"])
        .arg(&config)
        .current_dir(config.parent().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = |event: &str| fs::read_to_string(&log).unwrap().contains(event);
    let began = Instant::now();
    while !said("audit.reopened") || checkpoint() == before {
        assert!(began.elapsed() < WAIT_MAX, "{}", fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").arg(weir.id().to_string()).status().unwrap().success());
    assert_eq!(weir.wait().unwrap().code(), Some(0));
    assert!(said("audit.write_failed"), "the first entry under the new key found a failing disk");
    let (exit, report) = gateway.verify();
    assert_eq!(exit, Some(0), "{report}");
    // And the next starts are as any other.
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);
    let (exit, report) = gateway.verify();
    assert_eq!(exit, Some(0), "{report}");
    assert!(gateway.entries().iter().any(|entry| entry["kind"] == "key_change"));
}
