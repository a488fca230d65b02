//! 200 starts of one log.

use std::process::Stdio;
use std::time::Instant;

use weir_testkit::Guarded;

use crate::NO_BROKER;
use crate::gateway::{Gateway, Setting, count};
use crate::moments::Moments;

const ROUNDS: u64 = 100;

#[test]
fn the_log_is_intact_after_each_of_200_starts_clean_and_killed() {
    let began = Instant::now();
    let mut gateway = Gateway::start(NO_BROKER, &Setting::default());
    assert_eq!(gateway.stop(), 0);
    let mut moments = Moments::new();
    let mut starts = Vec::new();
    let mut entries = intact(&gateway);
    for _ in 0..ROUNDS {
        // At any moment from the first instruction on, long before it serves.
        let config = gateway.weir.options().config.display().to_string();
        let mut serve = gateway.weir.options().command(&["serve", "--config", &config]);
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut killed = Guarded::spawn(&mut serve, "weir").unwrap();
        std::thread::sleep(moments.between(0, 200));
        killed.kill().unwrap();
        let before = std::mem::replace(&mut entries, intact(&gateway));
        assert!((before..=before + 1).contains(&entries), "a killed start records itself or nothing");

        gateway.weir.start_again().unwrap();
        starts.push(gateway.weir.ready_after());
        assert!(gateway.weir.stop().unwrap().success());
        let before = std::mem::replace(&mut entries, intact(&gateway));
        assert_eq!(entries, before + 2, "a clean one its start and its end");
    }
    starts.sort();
    println!(
        "{} starts, {entries} entries ({:?}), intact after each; clean starts took {:?} (median) to {:?}; {:?} in all",
        ROUNDS * 2,
        count(&gateway.entries()),
        starts[starts.len() / 2],
        starts[starts.len() - 1],
        began.elapsed(),
    );
}

/// Verifies the log, and gives its number of entries.
fn intact(gateway: &Gateway) -> u64 {
    let (exit, report) = gateway.verify();
    assert_eq!(exit, Some(0), "{report}");
    report["entries"].as_u64().unwrap()
}
