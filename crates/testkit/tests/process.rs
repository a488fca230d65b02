//! Processes are started, watched and ended as tests need it. A shell script stands in for `weir`.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use weir_testkit::{Guarded, PortBlock, Ready, WeirOptions, WeirProcess, WorkDir};

/// A stand-in for `weir serve --config FILE`: prints its arguments, then does what `script` says.
fn weir(dir: &WorkDir, script: &str, ready: Ready) -> WeirOptions {
    let binary = dir.write("weir.sh", format!("#!/bin/sh\necho \"$@\"\necho problem >&2\n{script}\n")).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let config = dir.write("weir.yaml", "version: 1\n").unwrap();
    WeirOptions { within: Duration::from_secs(20), ..WeirOptions::new(&binary, &config, ready) }
}

/// What makes the stand-in listen: this test program again, in [`serve_if_told`].
fn serve(port: u16) -> String {
    let program = std::env::current_exe().unwrap();
    format!("WEIR_TESTKIT_SERVE={port} exec '{}' --exact starts_kills_and_starts_again", program.display())
}

/// Answers every connection with 501, for ever, when this process is a stand-in.
fn serve_if_told() {
    let Some(port) = std::env::var_os("WEIR_TESTKIT_SERVE") else { return };
    let listener = TcpListener::bind(("127.0.0.1", port.to_str().unwrap().parse().unwrap())).unwrap();
    for stream in listener.incoming() {
        // Who only looks whether the port is open is gone already.
        stream.unwrap().write_all(b"HTTP/1.1 501 Not Implemented\r\n\r\n").ok();
    }
}

fn is_alive(pid: u32) -> bool {
    // A process that nobody waits for stays as a zombie: dead for our purpose.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn ends_soon(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_alive(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    !is_alive(pid)
}

#[test]
fn starts_kills_and_starts_again() {
    serve_if_told();
    let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
    let ready = Ready::Ports(vec![ports.address(0).parse().unwrap()]);
    let mut process = WeirProcess::start(weir(&dir, &serve(ports.port(0)), ready)).unwrap();
    let first = process.pid().unwrap();
    assert!(process.usage().unwrap().rss_bytes > 1 << 20);
    assert!(!process.kill().unwrap().success());
    assert!(!is_alive(first) && process.usage().is_err());

    process.start_again().unwrap();
    assert!(process.output().unwrap().starts_with("serve --config /"), "{}", process.output().unwrap());
    assert_eq!(process.output().unwrap().matches("problem").count(), 2, "output of both runs");
    process.stop().unwrap();
}

#[test]
fn shows_the_output_of_a_start_that_failed() {
    let dir = WorkDir::new().unwrap();
    let error = WeirProcess::start(weir(&dir, "exit 3", Ready::Ports(vec!["127.0.0.1:1".parse().unwrap()])));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("exit status: 3") && message.contains("| problem"), "{message}");
}

#[test]
fn a_port_that_answers_is_not_yet_readyz() {
    let (dir, ports) = (WorkDir::new().unwrap(), PortBlock::reserve().unwrap());
    let ready = Ready::Readyz(ports.address(0).parse().unwrap());
    let options = WeirOptions { within: Duration::from_secs(2), ..weir(&dir, &serve(ports.port(0)), ready) };
    let message = WeirProcess::start(options).unwrap_err().to_string();
    assert!(message.contains("did not get ready within 2s"), "{message}");
}

#[test]
fn runs_other_verbs_of_the_same_binary() {
    let dir = WorkDir::new().unwrap();
    let finished = weir(&dir, "exit 1", Ready::Ports(Vec::new())).run(&["audit", "verify"]).unwrap();
    assert_eq!((finished.stdout.as_str(), finished.status.code()), ("audit verify\n", Some(1)));
}

#[test]
fn ends_with_its_group_when_dropped() {
    let dir = WorkDir::new().unwrap();
    let pids = dir.path().join("pids");
    let guarded = spawn_family(&pids);
    let family = read_pids(&pids);
    assert!(family.iter().all(|pid| is_alive(*pid)));
    drop(guarded);
    assert!(family.iter().all(|pid| ends_soon(*pid)));
}

/// The one way to see the guardian work is to be killed; this test runs itself for that.
#[test]
fn ends_when_its_owner_is_killed() {
    if let Some(pids) = std::env::var_os("WEIR_TESTKIT_DOOMED") {
        let _family = spawn_family(Path::new(&pids));
        std::thread::sleep(Duration::from_secs(60));
    }
    let dir = WorkDir::new().unwrap();
    let pids = dir.path().join("pids");
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends_when_its_owner_is_killed"])
        .env("WEIR_TESTKIT_DOOMED", &pids)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let family = read_pids(&pids);
    assert!(family.iter().all(|pid| is_alive(*pid)));
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(family.iter().all(|pid| ends_soon(*pid)));
}

/// A shell with a child of its own; their process ids go to the file.
fn spawn_family(pids: &Path) -> Guarded {
    let script = "sleep 60 & echo $$ $! > \"$0.new\"; mv \"$0.new\" \"$0\"; wait";
    Guarded::spawn(Command::new("sh").args(["-c", script]).arg(pids), "a shell").unwrap()
}

fn read_pids(file: &Path) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !file.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = fs::read_to_string(file).unwrap();
    text.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
