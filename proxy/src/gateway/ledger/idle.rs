//! When nothing happens, that is recorded too: a heartbeat is an entry with nothing but its time.

use std::time::{Duration, Instant};

/// Knows how long the log has not grown.
#[derive(Debug)]
pub(super) struct Idle {
    max: Duration,
    size: u64,
    since: Instant,
}

impl Idle {
    pub(super) fn new(max: Duration, now: Instant) -> Self {
        Self { max, size: 0, since: now }
    }

    /// Whether a heartbeat is due in a log of so many entries; if so, the next one is due no sooner than after the same time again.
    pub(super) fn is_due(&mut self, size: u64, now: Instant) -> bool {
        if size != self.size {
            (self.size, self.since) = (size, now);
        }
        let due = now.saturating_duration_since(self.since) >= self.max;
        if due {
            self.since = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_due_after_silence_alone_and_not_more_often() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut idle = Idle::new(60 * second, start);
        assert!(!idle.is_due(5, start));
        assert!(!idle.is_due(5, start + 59 * second));
        assert!(!idle.is_due(6, start + 60 * second), "an entry came");
        assert!(!idle.is_due(6, start + 119 * second));
        assert!(idle.is_due(6, start + 120 * second));
        // It could not be written yet: the log has not grown, and one is owed.
        assert!(!idle.is_due(6, start + 121 * second));
        assert!(!idle.is_due(7, start + 122 * second), "written");
        assert!(!idle.is_due(7, start + 181 * second));
        assert!(idle.is_due(7, start + 182 * second));
    }
}
