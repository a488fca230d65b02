//! The promise: a flood of bad logins adds less than a megabyte a minute.

use crate::flood::Flooded;

const SECONDS: u64 = 8;

#[test]
fn a_flood_of_bad_logins_hardly_grows_the_log_and_every_one_is_counted() {
    let seconds = std::env::var("WEIR_FLOOD_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let flood = Flooded::start(&[]).flood(seconds);
    println!("{flood:?}, at most {} bytes", flood.bytes_max());
    assert!(flood.refused > 100 * flood.seconds, "that is no flood");
    assert_eq!(flood.counted, flood.refused);
    assert!(flood.grown < flood.bytes_max());
    assert!(flood.entries * 10 < flood.refused, "they were merged");
}
