//! What the binary says of a log that somebody changed, or that is not there. Every way of changing one is in the tests of `weir-audit`
//! and `weir-audit-store`.

use std::fs;
use std::path::Path;

use rocksdb::{DB, Options};
use serde_json::Value;
use tempfile::TempDir;

use crate::NO_BROKER;
use crate::gateway::{Gateway, Setting};

/// Copies a log of ten entries, lets `change` loose on the database of the copy, and gives how `verify` of it ends with its findings.
fn check(gateway: &Gateway, what: &str, change: impl FnOnce(&DB), expected: (i32, &[(&str, u64)])) {
    let copy = TempDir::new().unwrap();
    copy_all(&gateway.data_dir(), copy.path());
    let database = copy.path().join("audit/db");
    let families = DB::list_cf(&Options::default(), &database).unwrap();
    let db = DB::open_cf(&Options::default(), &database, families).unwrap();
    change(&db);
    drop(db);
    let arguments = ["audit", "verify", "--report", "json", "--data-dir", copy.path().to_str().unwrap()];
    let finished = gateway.weir.options().run(&arguments).unwrap();
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.map(|finding| (finding["class"].as_str().unwrap(), finding["first"].as_u64().unwrap()));
    let found = (finished.status.code().unwrap(), findings.collect::<Vec<_>>());
    assert_eq!((found.0, found.1.as_slice()), expected, "{what}: {report}");
}

#[test]
fn a_row_that_is_gone_or_changed_is_proven() {
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    for _ in 0..4 {
        gateway.weir.stop().unwrap();
        gateway.weir.start_again().unwrap();
    }
    assert_eq!(gateway.stop(), 0);
    assert_eq!(gateway.entries().len(), 10);
    let (key, newest) = (4_u64.to_be_bytes(), 9_u64.to_be_bytes());

    check(&gateway, "nothing", |_| {}, (0, &[]));
    check(
        &gateway,
        "a row is gone",
        |db| db.delete_cf(db.cf_handle("entry").unwrap(), key).unwrap(),
        (1, &[("MISSING", 4)]),
    );
    check(
        &gateway,
        "the newest row is gone",
        |db| db.delete_cf(db.cf_handle("entry").unwrap(), newest).unwrap(),
        (1, &[("TRUNCATED", 9)]),
    );
    let edit = |db: &DB| {
        let family = db.cf_handle("entry").unwrap();
        let mut bytes = db.get_cf(family, key).unwrap().unwrap();
        // The reason of a start, a text: still an entry, and another one.
        let at = bytes.windows(5).position(|window| window == b"weir ").unwrap();
        bytes[at] = b'W';
        db.put_cf(family, key, bytes).unwrap();
    };
    check(&gateway, "a row is changed", edit, (1, &[("EDIT", 4)]));
}

#[test]
fn nothing_to_verify_is_no_success() {
    let gateway = Gateway::start(NO_BROKER, &Setting::default());
    let nothing = TempDir::new().unwrap();
    for data_dir in [nothing.path().to_owned(), nothing.path().join("not-there")] {
        let arguments = ["audit", "verify", "--data-dir", data_dir.to_str().unwrap()];
        let finished = gateway.weir.options().run(&arguments).unwrap();
        assert_eq!(finished.status.code(), Some(3), "{}", finished.stderr);
    }
}

pub(crate) fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_all(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).unwrap();
        }
    }
}
