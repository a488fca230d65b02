//! Starts of the built binary: the very first one, killed at each of its steps; and those that find less of the log than there was.

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use weir_testkit::Finished;

use crate::NO_BROKER;
use crate::errors::walks_row;
use crate::gateway::{Gateway, Setting};
use crate::tamper::copy_all;

const WAIT_MAX: Duration = Duration::from_secs(60);

fn serve(gateway: &Gateway) -> Finished {
    let config = gateway.weir.options().config.display().to_string();
    gateway.weir.options().run(&["serve", "--config", &config]).unwrap()
}

/// A weir that does not start, for the reason of a row.
#[track_caller]
fn refused(gateway: &Gateway, row: &str) {
    let finished = serve(gateway);
    assert_eq!(finished.status.code(), Some(78), "{row}: {}", finished.stderr);
    match row {
        "start-log-missing" => walks_row("start-log-missing"),
        "start-checkpoint-missing" => walks_row("start-checkpoint-missing"),
        "start-checkpoint-damaged" => walks_row("start-checkpoint-damaged"),
        "start-keys-missing" => walks_row("start-keys-missing"),
        "start-digest-key-missing" => walks_row("start-digest-key-missing"),
        "start-name-missing" => walks_row("start-name-missing"),
        _ => walks_row("start-loss-pending"),
    }
    .is_said(&finished.stderr);
}

fn accept_loss(gateway: &Gateway) -> Finished {
    gateway.weir.options().run(&["audit", "accept-loss", "--reason", "by ops, OPS-1"]).unwrap()
}

/// Starts and stops it on a new log that takes the place of a lost one.
#[track_caller]
fn goes_on_anew(gateway: &mut Gateway) {
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);
    assert_eq!(gateway.verify().0, Some(0));
    let entries = gateway.entries();
    assert_eq!((&entries[0]["kind"], entries.len()), (&Value::from("accept_loss"), 3));
}

#[test]
fn a_log_that_was_taken_away_from_its_keys_is_missed_and_can_be_given_up() {
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    assert_eq!(gateway.stop(), 0);
    let (data_dir, kept) = (gateway.data_dir(), TempDir::new().unwrap());
    copy_all(&data_dir, kept.path());
    let restore = |what: &str| {
        drop(fs::remove_dir_all(data_dir.join(what)));
        copy_all(&kept.path().join(what), &data_dir.join(what));
    };
    fs::remove_dir_all(data_dir.join("audit/db")).unwrap();
    refused(&gateway, "start-log-missing");
    fs::remove_dir_all(data_dir.join("audit")).unwrap();
    // The second time as the first: what refuses makes nothing.
    refused(&gateway, "start-log-missing");
    refused(&gateway, "start-log-missing");
    restore("audit");
    fs::remove_file(data_dir.join("audit/vkeys")).unwrap();
    refused(&gateway, "start-keys-missing");
    restore("audit");
    fs::remove_file(data_dir.join("keys/digest-key")).unwrap();
    refused(&gateway, "start-digest-key-missing");
    // None was made meanwhile that the next start would take.
    refused(&gateway, "start-digest-key-missing");
    restore("keys");
    fs::remove_dir_all(data_dir.join("keys")).unwrap();
    refused(&gateway, "start-name-missing");
    restore("keys");
    // Control: whole, it starts.
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);
    assert_eq!((gateway.verify().0, gateway.entries().len()), (Some(0), 4));

    fs::remove_dir_all(data_dir.join("audit")).unwrap();
    refused(&gateway, "start-log-missing");
    let accepted = accept_loss(&gateway).success("weir audit accept-loss").unwrap();
    assert!(accepted.stdout.contains("its database was missing"), "{}", accepted.stdout);
    goes_on_anew(&mut gateway);
}

#[test]
fn a_checkpoint_that_is_missing_or_damaged_is_restored_from_the_last_line_or_given_up() {
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    assert_eq!(gateway.stop(), 0);
    let file = gateway.data_dir().join("audit/checkpoint");
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    refused(&gateway, "start-checkpoint-missing");
    let printed = fs::read_to_string(gateway.weir.stdout_file()).unwrap();
    let line = printed.lines().rev().find(|line| line.contains("audit.checkpoint")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    fs::write(&file, line["note"].as_str().unwrap()).unwrap();
    gateway.weir.start_again().unwrap();
    assert_eq!(gateway.stop(), 0);
    assert_eq!((gateway.verify().0, gateway.entries().len()), (Some(0), 4));

    // Cut, and with a signature that is not one.
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    refused(&gateway, "start-checkpoint-damaged");
    let (head, signature) = text.trim_end().rsplit_once(' ').unwrap();
    let swapped = signature.chars().rev().skip_while(|character| *character == '=').collect::<String>();
    let forged = format!("{head} {}{}\n", &signature[..12], &swapped[..signature.len() - 12]);
    fs::write(&file, forged).unwrap();
    refused(&gateway, "start-checkpoint-damaged");
    let accepted = accept_loss(&gateway).success("weir audit accept-loss").unwrap();
    assert!(accepted.stdout.contains("its checkpoint was damaged"), "{}", accepted.stdout);
    goes_on_anew(&mut gateway);
}

/// strace kills at the `when`th rename of a thread.
fn strace(when: usize) -> Command {
    let renames = "?rename,?renameat,?renameat2";
    let mut strace = Command::new("strace");
    // Its own child in the background, so that what is waited for is weir.
    strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={renames}"), "-e"]);
    strace.arg(format!("inject={renames}:signal=SIGKILL:when={when}"));
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace
}

#[test]
fn an_interrupted_acceptance_is_named_and_goes_on() {
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    assert_eq!(gateway.stop(), 0);
    fs::remove_file(gateway.data_dir().join("audit/checkpoint")).unwrap();
    // The database is opened first, with renames of its own; then comes the order, and next the log would move.
    let order = gateway.data_dir().join("keys/accept-loss");
    let killed = (1..50).find(|when| {
        let mut killed = strace(*when);
        killed.arg(&gateway.weir.options().binary).args(["audit", "accept-loss", "--reason", "by ops, OPS-1"]);
        let status = killed.arg("--data-dir").arg(gateway.data_dir()).status().unwrap();
        assert_eq!(status.signal(), Some(9), "{status}");
        order.exists()
    });
    assert!(killed.is_some() && gateway.data_dir().join("audit").exists(), "{killed:?}");
    refused(&gateway, "start-loss-pending");
    accept_loss(&gateway).success("weir audit accept-loss").unwrap();
    goes_on_anew(&mut gateway);
}

#[test]
fn the_very_first_start_goes_on_wherever_it_was_killed() {
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    assert_eq!(gateway.stop(), 0);
    let config = gateway.weir.options().config.clone();
    let mut kills = 0;
    loop {
        fs::remove_dir_all(gateway.data_dir()).unwrap();
        let mut child = strace(kills + 1)
            .arg(&gateway.weir.options().binary)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .spawn()
            .unwrap();
        let began = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if TcpStream::connect(&gateway.bootstrap).is_ok() {
                break None;
            }
            assert!(began.elapsed() < WAIT_MAX, "neither killed nor ready");
            std::thread::sleep(Duration::from_millis(20));
        };
        let Some(status) = ended else {
            child.kill().unwrap();
            child.wait().unwrap();
            break;
        };
        assert_eq!(status.signal(), Some(9), "rename {}: {status}", kills + 1);
        kills += 1;
        gateway.weir.start_again().unwrap();
        assert_eq!(gateway.stop(), 0);
        assert_eq!((gateway.verify().0, gateway.entries().len()), (Some(0), 2), "rename {kills}");
    }
    println!("killed at {kills} renames");
    assert!(kills >= 6, "{kills} kills: order, names and keys, list, checkpoint");
}
