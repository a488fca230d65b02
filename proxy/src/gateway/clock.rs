//! The one place that reads the clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_session::Now;

/// Both clocks, the monotonic one counted from the start of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        Now { monotonic: self.started.elapsed(), wall: wall() }
    }

    /// The moment of a session's deadline.
    pub(crate) fn instant(self, monotonic: Duration) -> Instant {
        self.started.checked_add(monotonic).unwrap_or(self.started)
    }

    /// Wall-clock nanoseconds since the Unix epoch.
    pub(crate) fn wall_ns() -> u64 {
        u64::try_from(wall().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock before 1970 reads as 1970: every token is then not yet valid, and nobody gets in.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
