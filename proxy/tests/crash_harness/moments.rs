//! Random moments that can be had again.

#![expect(clippy::print_stdout, reason = "a run that fails must be had again")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `WEIR_CRASH_SEED` sets the seed that a run prints.
pub(crate) struct Moments(u64);

impl Moments {
    pub(crate) fn new() -> Self {
        let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
        let seed = std::env::var("WEIR_CRASH_SEED").ok().map_or_else(now, |seed| seed.parse().unwrap());
        println!("the same moments again with WEIR_CRASH_SEED={seed}");
        Self(seed)
    }

    /// Between two numbers of milliseconds (splitmix64).
    pub(crate) fn between(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_millis(from_ms + (mixed ^ (mixed >> 31)) % (to_ms - from_ms))
    }
}
