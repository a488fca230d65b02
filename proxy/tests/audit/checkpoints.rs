//! Checkpoints of the built binary: its key, its lines on standard output, what they prove, and the way out after a loss.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use weir_testkit::Finished;

use crate::NO_BROKER;
use crate::errors::walks_row;
use crate::gateway::{Gateway, Setting};
use crate::tamper::copy_all;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// The lines that a collector would have taken, and the checkpoints in them.
fn collected(gateway: &Gateway) -> (String, Vec<Value>) {
    let text = fs::read_to_string(gateway.weir.stdout_file()).unwrap();
    let lines = text.lines().filter(|line| line.contains("audit.checkpoint"));
    let lines = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    (text, lines)
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < WAIT_MAX, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The trust file of a gateway, written outside its data directory.
fn trust(gateway: &Gateway, folder: &Path) -> PathBuf {
    let keys = gateway.weir.options().run(&["audit", "key"]).unwrap().success("weir audit key").unwrap().stdout;
    let path = folder.join("trust.txt");
    fs::write(&path, keys).unwrap();
    path
}

fn verify(gateway: &Gateway, data_dir: &Path, trust: &Path, anchors: &Path) -> (i32, Value) {
    let arguments = ["audit", "verify", "--report", "json", "--data-dir", data_dir.to_str().unwrap()];
    let given = ["--trust", trust.to_str().unwrap(), "--anchor", anchors.to_str().unwrap()];
    let finished = gateway.weir.options().run(&[&arguments[..], &given].concat()).unwrap();
    (finished.status.code().unwrap(), serde_json::from_str(&finished.stdout).unwrap())
}

fn classes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["class"].as_str().unwrap()).collect()
}

fn serve(gateway: &Gateway) -> Finished {
    let config = gateway.weir.options().config.display().to_string();
    gateway.weir.options().run(&["serve", "--config", &config]).unwrap()
}

#[test]
fn what_was_printed_proves_that_the_directory_is_the_newest() {
    let folder = TempDir::new().unwrap();
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    let key = gateway.data_dir().join("keys/checkpoint-key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let trust = trust(&gateway, folder.path());
    let printed = fs::read_to_string(&trust).unwrap();
    let vkey = printed.trim_end().strip_prefix("log ").unwrap();
    let banner = wait_for("the banner", || Some(collected(&gateway).0).filter(|text| text.contains("signed by")));
    assert!(banner.contains(vkey), "{banner}");

    let config = gateway.weir.options().config.display().to_string();
    let checked = gateway.weir.options().run(&["check", "--config", &config]).unwrap();
    assert!(checked.stdout.contains(&format!("signed by {vkey}")), "{}", checked.stdout);

    // A checkpoint while it runs, verified while it runs.
    wait_for("a checkpoint", || collected(&gateway).1.pop());
    let lines = folder.path().join("collected.log");
    fs::write(&lines, collected(&gateway).0).unwrap();
    let (exit, report) = verify(&gateway, &gateway.data_dir(), &trust, &lines);
    assert_eq!((exit, classes(&report)), (0, vec![]), "{report}");
    assert_eq!(report["keys"], "trusted");

    // An older copy of the whole directory.
    assert_eq!(gateway.stop(), 0);
    let (older, gone_on) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    copy_all(&gateway.data_dir(), older.path());
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);
    let (text, found) = collected(&gateway);
    let log: String = text.lines().map(|line| format!("2026-01-02T03:04:05.678Z stdout F {line} trailing\n")).collect();
    fs::write(&lines, log).unwrap();
    assert_eq!(found.last().unwrap()["size"], 4, "the last entry is covered by the last line");
    let (exit, report) = verify(&gateway, &gateway.data_dir(), &trust, &lines);
    assert_eq!((exit, classes(&report)), (0, vec![]), "{report}");
    assert_eq!((&report["anchored"]["entries"], &report["anchored"]["newer"]), (&Value::from(4), &Value::from(0)));
    let (exit, report) = verify(&gateway, older.path(), &trust, &lines);
    assert_eq!((exit, classes(&report)), (1, vec!["ROLLBACK"]), "{report}");
    // Control: without the lines the older copy is a log like any other.
    let plain = ["audit", "verify", "--data-dir", older.path().to_str().unwrap(), "--trust", trust.to_str().unwrap()];
    let plain = gateway.weir.options().run(&plain).unwrap();
    assert_eq!(plain.status.code(), Some(0));
    assert!(plain.stderr.contains("--anchor FILE"), "{}", plain.stderr);

    // The older copy, put back and gone on.
    copy_all(&gateway.data_dir(), gone_on.path());
    fs::remove_dir_all(gateway.data_dir()).unwrap();
    copy_all(older.path(), &gateway.data_dir());
    for _ in 0..2 {
        gateway.weir.start_again().unwrap();
        assert_eq!(gateway.stop(), 0);
    }
    let (exit, report) = verify(&gateway, &gateway.data_dir(), &trust, &lines);
    assert_eq!((exit, classes(&report)), (1, vec!["FORK"]), "{report}");

    // Lines of nobody, and of another log.
    fs::write(&lines, "nothing was collected\n").unwrap();
    let (exit, report) = verify(&gateway, gone_on.path(), &trust, &lines);
    assert_eq!((exit, &report["verdict"]), (3, &Value::from("inconclusive")), "{report}");
    let other = Gateway::start(NO_BROKER, &Setting::default());
    wait_for("a checkpoint", || collected(&other).1.pop());
    fs::write(&lines, collected(&other).0).unwrap();
    let (exit, report) = verify(&gateway, gone_on.path(), &trust, &lines);
    assert_eq!((exit, report["anchors"].as_u64()), (3, Some(0)), "{report}");
    // A trust file of another log.
    fs::write(&lines, text).unwrap();
    let foreign = self::trust(&other, folder.path());
    let (exit, report) = verify(&gateway, gone_on.path(), &foreign, &lines);
    assert_eq!(exit, 1, "{report}");
    assert_eq!(classes(&report), ["OTHER_LOG"], "{report}");
}

#[test]
fn a_silent_gateway_says_each_so_often_that_it_is_there() {
    let setting = Setting { audit: &["checkpoint: { every: 100ms, idle: 1s }"], ..Setting::default() };
    let mut gateway = Gateway::start(NO_BROKER, &setting);
    let beats = |entries: &[Value]| entries.iter().filter(|entry| entry["kind"] == "heartbeat").count();
    wait_for("heartbeats", || Some(gateway.entries()).filter(|entries| beats(entries) >= 3));
    let covered =
        wait_for("their checkpoints", || collected(&gateway).1.pop().filter(|line| line["size"].as_u64() >= Some(4)));
    assert!(covered["time"].is_string());
    assert_eq!(gateway.stop(), 0);
    assert_eq!(gateway.verify().0, Some(0));
}

#[test]
fn a_given_key_signs_from_the_next_start_on_and_the_made_one_never_again() {
    let folder = TempDir::new().unwrap();
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    assert_eq!(gateway.stop(), 0);
    let config = gateway.weir.options().config.clone();
    let made = fs::read_to_string(&config).unwrap();
    fs::write(config.with_file_name("audit.key"), secret).unwrap();
    fs::set_permissions(config.with_file_name("audit.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&config, format!("{made}audit: {{ checkpoint: {{ key: {{ file: audit.key }} }} }}\n")).unwrap();
    for _ in 0..2 {
        gateway.weir.start_again().unwrap();
        assert_eq!(gateway.stop(), 0);
    }
    let changes = gateway.entries().into_iter().filter(|entry| entry["kind"] == "key_change").count();
    assert_eq!(changes, 1);
    let trust = trust(&gateway, folder.path());
    assert_eq!(fs::read_to_string(&trust).unwrap().lines().count(), 2);
    let lines = folder.path().join("collected.log");
    let text = collected(&gateway).0;
    assert!(!text.contains(secret) && !gateway.weir.output().unwrap().contains(secret));
    fs::write(&lines, text).unwrap();
    let (exit, report) = verify(&gateway, &gateway.data_dir(), &trust, &lines);
    assert_eq!((exit, classes(&report)), (0, vec![]), "{report}");
    // Back to the made one: it was replaced, and whoever has it now must not be able to go on.
    fs::write(&config, made).unwrap();
    let finished = serve(&gateway);
    assert_eq!(finished.status.code(), Some(78));
    assert!(finished.stderr.contains("was replaced by another one before"), "{}", finished.stderr);
}

#[test]
fn a_log_behind_its_checkpoint_is_refused_with_the_way_out() {
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    assert_eq!(gateway.stop(), 0);
    let older = TempDir::new().unwrap();
    copy_all(&gateway.data_dir().join("audit/db"), older.path());
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);
    let newer = TempDir::new().unwrap();
    let database = gateway.data_dir().join("audit/db");
    copy_all(&database, newer.path());
    fs::remove_dir_all(&database).unwrap();
    copy_all(older.path(), &database);
    let finished = serve(&gateway);
    assert_eq!(finished.status.code(), Some(78), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("has 2 entries and the checkpoint beside it vouches for 4"),
        "{}",
        finished.stderr
    );
    walks_row("start-behind").is_said(&finished.stderr);
    // The better way out: the newer copy.
    let lost = TempDir::new().unwrap();
    copy_all(&database, lost.path());
    fs::remove_dir_all(&database).unwrap();
    copy_all(newer.path(), &database);
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);
    // And the other one.
    fs::remove_dir_all(&database).unwrap();
    copy_all(lost.path(), &database);
    assert_eq!(serve(&gateway).status.code(), Some(78));
    let accept = |reason: &str| gateway.weir.options().run(&["audit", "accept-loss", "--reason", reason]).unwrap();
    assert_eq!(accept("two\nlines").status.code(), Some(2));
    let accepted = accept("disk replaced, OPS-1234").success("weir audit accept-loss").unwrap();
    assert!(
        accepted.stdout.contains("entries 2 to 5 are lost; reason: disk replaced, OPS-1234"),
        "{}",
        accepted.stdout
    );
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);
    assert_eq!(gateway.verify().0, Some(0));
    let entries = gateway.entries();
    assert_eq!((&entries[0]["kind"], entries.len()), (&Value::from("accept_loss"), 3));
    assert_eq!(
        gateway.weir.options().run(&["audit", "accept-loss", "--reason", "again"]).unwrap().status.code(),
        Some(2)
    );
}

#[test]
fn nobody_needs_to_read_what_is_printed() {
    let setting = Setting { audit: &["anchors: []"], ..Setting::default() };
    let mut gateway = Gateway::start(NO_BROKER, &setting);
    assert_eq!(gateway.stop(), 0);
    assert_eq!(collected(&gateway).1, Vec::<Value>::new());
    assert_eq!(gateway.verify().0, Some(0));
}
