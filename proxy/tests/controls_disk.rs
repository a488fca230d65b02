//! Negative controls of the proofs about the disk, with a weir whose protections can be switched off.

#![expect(clippy::unwrap_used, reason = "test code")]

#[path = "disk/flood.rs"]
mod flood;

use crate::flood::Flooded;

#[test]
fn a_flood_that_is_not_merged_is_found() {
    let flood = Flooded::start(&[("WEIR_SABOTAGE_UNMERGED", "1")]).flood(8);
    println!("{flood:?}, at most {} bytes", flood.bytes_max());
    assert_eq!((flood.entries, flood.counted), (flood.refused, flood.refused));
    assert!(flood.grown > flood.bytes_max(), "the proof would not notice that nothing is merged");
}
