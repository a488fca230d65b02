//! What was measured, and its percentiles.

use std::time::Duration;

/// Times of one kind.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one.
    pub fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Adds those of another set.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `percent` of them stay within (nearest rank), in milliseconds; 100 is the maximum, and without any
    /// measurement it is infinite.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).map_or(f64::INFINITY, |took| took.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let check = |count: u64, percent: usize, expected: f64| {
            let mut latencies = Latencies::default();
            (1..=count).rev().for_each(|ms| latencies.push(Duration::from_millis(ms)));
            assert!((latencies.percentile_ms(percent) - expected).abs() < 1e-9, "{percent} of {count}");
        };
        check(100, 50, 50.0);
        check(100, 99, 99.0);
        check(100, 100, 100.0);
        check(1, 99, 1.0);
        check(200, 99, 198.0);
        assert!(Latencies::default().percentile_ms(50).is_infinite());
    }
}
