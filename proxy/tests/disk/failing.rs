//! Syncs that fail from a moment on while weir runs, and work again from another.

use std::process::{Child, Command, Stdio};

use crate::KAFKA;
use crate::errors::walks_row;
use crate::gateway::{Gateway, Setting};
use crate::load::{Load, PARTITIONS};
use crate::watch::{
    assert_not_ready, events, is_ready, log, settle, told, value, wait_for, wait_for_event, wait_for_more,
    wait_for_standstill,
};

/// strace, attached to a running process, lets every sync of file data fail until it is let go.
struct Fault {
    strace: Option<Child>,
}

impl Fault {
    fn inject(gateway: &Gateway, error: &str) -> Self {
        let inject = format!("inject=fdatasync:error={error}");
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject, "-p"])
            .arg(gateway.weir.pid().unwrap().to_string())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { strace: Some(strace) }
    }

    /// It detaches, and the disk is well.
    fn heal(mut self) {
        self.detach();
    }

    fn detach(&mut self) {
        let Some(mut strace) = self.strace.take() else { return };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(strace.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        strace.wait().unwrap();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.detach();
    }
}

#[test]
fn a_disk_that_begins_to_fail_under_load_and_is_healed_costs_nothing_but_time() {
    let topic = "syncs";
    KAFKA.create_topic(topic, PARTITIONS).unwrap();
    let gateway = Gateway::start(KAFKA.bootstrap(), &Setting::default());
    let load = Load::start(&gateway.bootstrap, topic);
    load.wait_for_first();
    for (round, error) in ["EIO", "ENOSPC"].into_iter().enumerate() {
        let fault = Fault::inject(&gateway, error);
        wait_for_event(&gateway, "audit.write_failed", round + 1);
        // It is opened again and again, and fails again and again.
        wait_for_event(&gateway, "audit.reopen_failed", round + 1);
        wait_for_standstill(&gateway, &load);
        walks_row("log-fails").holds(&told(&gateway, topic), &log(&gateway), |counter| value(&gateway, counter));
        assert_not_ready(&gateway, if error == "EIO" { "the audit log cannot be written" } else { "the disk" });
        fault.heal();
        wait_for(&gateway, "it is ready again", || is_ready(&gateway));
        wait_for_more(&gateway, &load, 200);
    }
    assert_eq!((events(&gateway, "audit.disk_full"), events(&gateway, "audit.resumed")), (1, 1), "of ENOSPC alone");
    settle(gateway, load, topic);
}
