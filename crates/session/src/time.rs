//! Time as an argument: the session reads no clock.

use std::time::Duration;

/// One reading of both clocks, taken by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since an arbitrary fixed point; never goes back. Deadlines are measured on it.
    pub monotonic: Duration,
    /// Time since the Unix epoch; may step. Token lifetimes and audit entries are measured on it.
    pub wall: Duration,
}

impl Now {
    /// Wall-clock nanoseconds since the Unix epoch, saturating.
    pub(crate) fn wall_ns(self) -> u64 {
        u64::try_from(self.wall.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Wall-clock milliseconds since the Unix epoch, saturating.
    pub(crate) fn wall_ms(self) -> u64 {
        u64::try_from(self.wall.as_millis()).unwrap_or(u64::MAX)
    }
}
