//! Limits how many log lines others can cause: nobody fills the disk with them. Metrics count each event all the same.
//!
//! Lines that are alike (the same event, listener, source and reason) share a meter, and all lines of one event share another. A
//! line that is written says how many of its like were not since the last one; what is left over when a source falls silent is
//! told in a line of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::places::site;

/// Lines that are alike and may come at once.
const LIKE_BURST: u32 = 100;
/// Pause after which one more of them may come.
const LIKE_EVERY: Duration = Duration::from_secs(5);
/// Lines of one event that may come at once, whoever causes them.
const EVENT_BURST: u32 = 1000;
/// Pause after which one more of them may come. 2 lines a second are some 50 MB a day.
const EVENT_EVERY: Duration = Duration::from_millis(500);
/// Sources that are told apart; beyond it all share one.
const SOURCES_MAX: usize = 4096;
/// How often sources that fell silent are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Whose lines are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) event: &'static str,
    pub(crate) listener: String,
    /// The principal, or the network of a client without one.
    pub(crate) who: String,
    pub(crate) what: String,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// It is written; `Some` when lines like it were not since the last one, and how many. `None`: it is not written.
    pub(crate) line: Option<Option<u64>>,
    /// Sources that fell silent with so many lines unwritten.
    pub(crate) silent: Vec<(Source, u64)>,
}

/// The meters of all sources.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Meters>);

#[derive(Debug, Default)]
struct Meters {
    sources: HashMap<Source, Meter>,
    events: HashMap<&'static str, Meter>,
    swept: Duration,
}

/// Lets a burst pass, then one at a time: the generic cell rate algorithm.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    /// When it will be as if nothing had come.
    idle_at: Duration,
    suppressed: u64,
}

impl Meter {
    fn passes(&mut self, now: Duration, burst: u32, every: Duration) -> bool {
        let next = self.idle_at.max(now).saturating_add(every);
        let passes = next.saturating_sub(now) <= every.saturating_mul(burst);
        if passes {
            self.idle_at = next;
        }
        passes
    }
}

impl Throttle {
    /// Whether a line may be written now, `now` being the time since some start.
    pub(crate) fn pass(&self, now: Duration, source: Source) -> Pass {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = meters.sweep(now);
        let source = meters.place(source);
        let event = source.event;
        let of_event = meters.events.get(event).copied().unwrap_or_default();
        let meter = meters.sources.entry(source).or_default();
        let mut shared = of_event;
        let line = if meter.passes(now, LIKE_BURST, LIKE_EVERY) && shared.passes(now, EVENT_BURST, EVENT_EVERY) {
            Some(Some(std::mem::take(&mut meter.suppressed)).filter(|suppressed| *suppressed > 0))
        } else {
            meter.suppressed = meter.suppressed.saturating_add(1);
            None
        };
        meters.events.insert(event, shared);
        Pass { line, silent }
    }

    /// Everything that was not written and not told yet.
    pub(crate) fn finish(&self) -> Vec<(Source, u64)> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = meters.sources.drain().collect::<Vec<_>>();
        left.sort_by(|one, other| one.0.cmp(&other.0));
        left.into_iter().map(|(source, meter)| (source, meter.suppressed)).filter(|(_, lines)| *lines > 0).collect()
    }
}

impl Meters {
    /// Forgets the sources that are as good as new.
    fn sweep(&mut self, now: Duration) -> Vec<(Source, u64)> {
        if now.saturating_sub(self.swept) < SWEEP_EVERY {
            return Vec::new();
        }
        self.swept = now;
        let mut silent = Vec::new();
        self.sources.retain(|source, meter| {
            let stays = meter.idle_at > now;
            if !stays && meter.suppressed > 0 {
                silent.push((source.clone(), meter.suppressed));
            }
            stays
        });
        silent
    }

    /// The source, or the one for all that there is no more room for.
    fn place(&self, source: Source) -> Source {
        if self.sources.len() < SOURCES_MAX || self.sources.contains_key(&source) {
            return source;
        }
        Source { listener: OTHERS.to_owned(), who: OTHERS.to_owned(), what: OTHERS.to_owned(), ..source }
    }
}

/// Stands for sources that are not told apart.
const OTHERS: &str = "others";

/// Who stands behind an address, for lines: whoever has one address of a network has more of them.
pub(crate) fn network(address: IpAddr) -> String {
    match site(address) {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => format!("{address}/64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(event: &'static str, who: &str) -> Source {
        Source { event, listener: "apps".to_owned(), who: who.to_owned(), what: "expired".to_owned() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// How many of so many lines at one time are written.
    fn written(throttle: &Throttle, now: Duration, lines: u32, source: impl Fn(u32) -> Source) -> usize {
        (0..lines).filter(|at| throttle.pass(now, source(*at)).line.is_some()).count()
    }

    #[test]
    fn a_burst_passes_and_then_one_at_a_time_that_tells_of_the_others() {
        let throttle = Throttle::default();
        assert_eq!(written(&throttle, seconds(0), LIKE_BURST, |_| source("login.refused", "a")), 100);
        assert_eq!(throttle.pass(seconds(0), source("login.refused", "a")).line, None);
        assert_eq!(throttle.pass(seconds(4), source("login.refused", "a")).line, None);
        assert_eq!(throttle.pass(seconds(5), source("login.refused", "a")).line, Some(Some(2)));
        assert_eq!(throttle.pass(seconds(5), source("login.refused", "a")).line, None);
        assert_eq!(throttle.pass(seconds(5), source("login.refused", "b")).line, Some(None), "another source");
        assert_eq!(throttle.pass(seconds(5), source("request.refused", "a")).line, Some(None), "another event");
    }

    #[test]
    fn many_sources_share_what_an_event_may_write() {
        let throttle = Throttle::default();
        let many = |at: u32| source("login.refused", &at.to_string());
        assert_eq!(written(&throttle, seconds(0), 3 * EVENT_BURST, many), 1000);
        assert_eq!(written(&throttle, seconds(60), 3 * EVENT_BURST, |at| many(at + 10_000)), 120);
        assert!(throttle.pass(seconds(60), source("request.refused", "0")).line.is_some());
    }

    #[test]
    fn sources_are_bounded_and_told_of_when_they_fall_silent() {
        let throttle = Throttle::default();
        for at in 0..2 * SOURCES_MAX {
            throttle.pass(seconds(1), source("login.refused", &at.to_string()));
        }
        assert_eq!(throttle.0.lock().expect("a lock").sources.len(), SOURCES_MAX + 1);
        let later = throttle.pass(seconds(10_000), source("login.refused", "x"));
        assert_eq!(later.line, Some(None));
        let unwritten = later.silent.iter().map(|(_, lines)| lines).sum::<u64>();
        assert_eq!(unwritten, 2 * 4096 - 1000, "each line that was not written is told of");
        assert_eq!(throttle.0.lock().expect("a lock").sources.len(), 1);
    }

    #[test]
    fn nothing_is_left_untold_at_the_end() {
        let throttle = Throttle::default();
        written(&throttle, seconds(0), 150, |_| source("login.refused", "a"));
        written(&throttle, seconds(0), 50, |_| source("login.refused", "b"));
        assert_eq!(throttle.finish(), [(source("login.refused", "a"), 50)]);
        assert_eq!(throttle.finish(), []);
    }

    #[test]
    fn addresses_are_taken_by_network() {
        let network = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(network("10.1.2.3"), "10.1.2.0/24");
        assert_eq!(network("::ffff:10.1.2.3"), "10.1.2.0/24");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }
}
