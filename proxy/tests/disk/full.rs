//! A file system of 16 MiB under the log, which others fill too.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::KAFKA;
use crate::errors::walks_row;
use crate::gateway::{Gateway, Setting};
use crate::load::{Load, PARTITIONS};
use crate::watch::{
    assert_not_ready, events, is_ready, log, metric, settle, told, value, wait_for, wait_for_event, wait_for_more,
    wait_for_standstill,
};

const MIB: u64 = 1 << 20;

/// A small file system, gone when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, mib: u64) -> Self {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mib}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "weir-test"]).arg(path).status().unwrap();
        assert!(mounted.success(), "mounting needs root");
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Somebody else's file on the same file system.
struct Other {
    path: PathBuf,
}

impl Other {
    fn of(gateway: &Gateway) -> Self {
        Self { path: gateway.data_dir().join("somebody-else") }
    }

    /// Lets it grow until so many bytes are free.
    fn leave(&self, free: u64) {
        let mut file = File::options().create(true).append(true).open(&self.path).unwrap();
        loop {
            let now = weir_audit_store::Space::of(&self.path).unwrap().free;
            let Some(more) = now.checked_sub(free).filter(|more| *more >= 4096) else { return };
            let chunk = usize::try_from(more.min(64 << 10)).unwrap();
            // Full before it was measured to be.
            if file.write_all(&vec![7; chunk]).is_err() {
                return;
            }
        }
    }

    fn remove(&self) {
        fs::remove_file(&self.path).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_and_withholds_and_goes_on_when_there_is_room() {
    let topic = "full";
    KAFKA.create_topic(topic, PARTITIONS).unwrap();
    let setting = Setting { prepare: Some(|path| Box::new(SmallDisk::mount(path, 16))), ..Setting::default() };
    let gateway = Gateway::start(KAFKA.bootstrap(), &setting);
    let ballast = || fs::metadata(gateway.data_dir().join("ballast")).map_or(0, |metadata| metadata.len());
    assert_eq!(ballast(), 2 * MIB, "an eighth of the disk");
    let other = Other::of(&gateway);
    let load = Load::start(&gateway.bootstrap, topic);
    load.wait_for_first();

    // The log itself takes the last of the room; what is kept free is still there then, and the database never sees a full disk.
    other.leave(2 * MIB + MIB / 2);
    wait_for_event(&gateway, "audit.disk_full", 1);
    wait_for_standstill(&gateway, &load);
    assert_not_ready(&gateway, "the disk of the audit log is full");
    assert_eq!(events(&gateway, "audit.write_failed"), 0);
    walks_row("disk-full").holds(&told(&gateway, topic), &log(&gateway), |counter| value(&gateway, counter));
    let refused = metric(&gateway, "weir_audit_unrecorded_total");
    wait_for(&gateway, "more refusals", || metric(&gateway, "weir_audit_unrecorded_total") > refused);
    other.remove();
    wait_for_event(&gateway, "audit.resumed", 1);
    wait_for_more(&gateway, &load, 200);
    assert_eq!((ballast(), is_ready(&gateway)), (2 * MIB, true));

    // Somebody else takes all of it at once, faster than anybody looks.
    other.leave(0);
    wait_for(&gateway, "the second time", || events(&gateway, "audit.disk_full") == 2);
    other.leave(0);
    wait_for_standstill(&gateway, &load);
    assert_not_ready(&gateway, "the ");
    // A reader needs no room.
    assert_eq!(gateway.verify().0, Some(0));
    other.remove();
    wait_for_event(&gateway, "audit.resumed", 2);
    wait_for_more(&gateway, &load, 200);

    assert_eq!(metric(&gateway, "weir_audit_stops_total"), 2);
    let kinds = gateway.entries().into_iter().filter(|entry| entry["kind"] == "resumed" || entry["kind"] == "degraded");
    let kinds = kinds.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds.first().map(String::as_str), Some("degraded"));
    assert_eq!(kinds.iter().filter(|kind| *kind == "resumed").count(), 2, "{kinds:?}");
    settle(gateway, load, topic);
}

#[test]
fn a_start_and_an_end_on_a_full_disk_are_on_record() {
    let setting = Setting { prepare: Some(|path| Box::new(SmallDisk::mount(path, 16))), ..Setting::default() };
    let mut gateway = Gateway::start(crate::NO_BROKER, &setting);
    let other = Other::of(&gateway);
    other.leave(0);
    wait_for_event(&gateway, "audit.disk_full", 1);
    assert_eq!(gateway.stop(), 0);
    let last = gateway.entries().pop().unwrap();
    assert_eq!(last["kind"], "shutdown", "the ballast made room for it: {last}");
    assert_eq!(gateway.verify().0, Some(0));
    // What the end gave back is taken, but for what a start needs.
    other.leave(3 * MIB);
    gateway.weir.start_again().unwrap();
    wait_for_event(&gateway, "audit.disk_full", 2);
    assert_not_ready(&gateway, "the disk of the audit log is full");
    other.remove();
    wait_for_event(&gateway, "audit.resumed", 1);
    assert_eq!(gateway.stop(), 0);
    let kinds = gateway.entries().into_iter().map(|entry| entry["kind"].as_str().unwrap().to_owned());
    let kinds = kinds.collect::<Vec<_>>();
    assert_eq!(kinds, ["boot", "degraded", "shutdown", "boot", "degraded", "resumed", "shutdown"]);
}
