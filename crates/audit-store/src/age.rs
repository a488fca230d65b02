//! How old entries are, by what the log itself witnesses.
//!
//! The clock alone does not say it: one that is a year ahead, for a second or for good, makes every entry a year old. A weir that runs writes
//! an entry at least each hour, so that what lies further apart than [`STEP_MAX`] is a clock that jumped, or a time in which weir was off.
//! Which of them nobody can tell afterwards. So of each step from one entry to the next, and from the last one to now, that much counts and
//! no more:
//!
//! ```text
//! entries          a ── 1 h ── b ──── a year ──── c ── 1 h ── d ·· 10 s ·· now
//! a is as old as       1 h     +      2 h      +      1 h     +   10 s
//! ```
//!
//! Times of entries never go back, so a stretch that is no longer than one step holds no jump, and the jumps of a log are found by halves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rocksdb::DB;
use weir_audit::{ChainState, Entry};

use crate::database::{ENTRY, family};
use crate::error::StoreError;

/// What is old enough to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// Entries older than this go, nanoseconds.
    pub max: u64,
    /// Wall clock, nanoseconds since 1970.
    pub now: u64,
}

/// What keeps entries that are old by the clock alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Time since the oldest entry that does not count, nanoseconds: steps that are too long.
    pub uncounted: u64,
}

/// The steps of a log that are too long, as far as it was looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The last entry that was looked at, and its time.
    seen: Option<(u64, u64)>,
    /// By the entry after it: what is too much of a step.
    excess: BTreeMap<u64, u64>,
}

/// Which entries are old.
#[derive(Clone, Debug)]
pub(crate) struct Old {
    /// By the time that counts, an entry before this is old.
    limit: u64,
    excess: BTreeMap<u64, u64>,
}

impl Steps {
    /// Judges the entries from `first` on. `state`: where the log stands.
    pub(crate) fn judge(&self, db: &DB, first: u64, state: &ChainState, age: &Age) -> Result<Old, StoreError> {
        let (size, last_at) = (state.head.size(), state.head.last_at);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.excess = known.excess.split_off(&first.saturating_add(1));
        if let Some(last) = size.checked_sub(1).filter(|last| *last >= first) {
            let from = match known.seen.filter(|(seq, _)| (first..=last).contains(seq)) {
                Some(seen) => seen,
                None => (first, time_of(db, first)?),
            };
            find(from, (last, last_at), &mut |seq| time_of(db, seq), &mut known.excess)?;
            known.seen = Some((last, last_at));
        }
        let since = age.now.saturating_sub(last_at).min(STEP_MAX);
        let limit = last_at.saturating_add(since).saturating_sub(age.max);
        Ok(Old { limit, excess: known.excess.clone() })
    }
}

impl Old {
    /// Whether the entry of this sequence number and time is old.
    pub(crate) fn is_old(&self, seq: u64, at: u64) -> bool {
        at.saturating_add(self.uncounted(seq)) < self.limit
    }

    /// Time since an entry that does not count.
    pub(crate) fn uncounted(&self, seq: u64) -> u64 {
        self.excess.range(seq.saturating_add(1)..).fold(0, |sum, (_, excess)| sum.saturating_add(*excess))
    }
}

/// Finds the steps between two entries that are too long. Each is given as its sequence number and time.
fn find(
    first: (u64, u64),
    last: (u64, u64),
    time_of: &mut impl FnMut(u64) -> Result<u64, StoreError>,
    excess: &mut BTreeMap<u64, u64>,
) -> Result<(), StoreError> {
    // No deeper than the halves of a 64-bit number: of two halves the first is looked at to its end before the second.
    let mut stretches = vec![(first, last)];
    while let Some(((from, from_at), (to, to_at))) = stretches.pop() {
        let long = to_at.saturating_sub(from_at);
        if long <= STEP_MAX || to <= from {
            continue;
        }
        if to - from == 1 {
            excess.insert(to, long - STEP_MAX);
            continue;
        }
        let middle = from + (to - from) / 2;
        let middle = (middle, time_of(middle)?.clamp(from_at, to_at));
        stretches.push((middle, (to, to_at)));
        stretches.push(((from, from_at), middle));
    }
    Ok(())
}

/// The time of a stored entry.
pub(crate) fn time_of(db: &DB, seq: u64) -> Result<u64, StoreError> {
    let row = db.get_pinned_cf(family(db, ENTRY)?, seq.to_be_bytes()).map_err(StoreError::database("read"))?;
    let entry = row.and_then(|bytes| Entry::decode(&bytes).ok());
    entry.map(|entry| entry.at).ok_or(StoreError::Damaged { what: "an entry is missing, or is none" })
}

/// What counts of the time between two entries, nanoseconds: two hours. A weir that runs is silent for an hour at most
/// (`audit.checkpoint.idle`); twice that leaves room for a log that could not be written for a while.
pub const STEP_MAX: u64 = 2 * 60 * 60 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = STEP_MAX / 2;

    /// The excess of a log of these times, and how many entries were read for it.
    fn found(times: &[u64]) -> (Vec<(u64, u64)>, usize) {
        let (mut excess, mut reads) = (BTreeMap::new(), 0);
        let at = |seq: u64| times[usize::try_from(seq).unwrap()];
        let last = u64::try_from(times.len()).unwrap() - 1;
        let mut time_of = |seq| {
            reads += 1;
            Ok(at(seq))
        };
        find((0, at(0)), (last, at(last)), &mut time_of, &mut excess).unwrap();
        (excess.into_iter().collect(), reads)
    }

    #[test]
    fn a_step_counts_up_to_its_limit() {
        assert_eq!(found(&[5]).0, []);
        assert_eq!(found(&[0, STEP_MAX]).0, []);
        assert_eq!(found(&[0, STEP_MAX + 1]).0, [(1, 1)]);
        assert_eq!(
            found(&[0, 0, STEP_MAX, 2 * STEP_MAX + 7, 2 * STEP_MAX + 7, 4 * STEP_MAX]).0,
            [(3, 7), (5, STEP_MAX - 7)]
        );
    }

    #[test]
    fn one_jump_in_a_long_log_is_found_with_few_reads() {
        let mut times = (0..100_000_u64).map(|number| number * 1000).collect::<Vec<_>>();
        times[70_000..].iter_mut().for_each(|at| *at += 365 * 24 * HOUR);
        let (excess, reads) = found(&times);
        assert_eq!(excess, [(70_000, 365 * 24 * HOUR + 1000 - STEP_MAX)]);
        assert!(reads < 40, "{reads}");
    }

    #[test]
    fn an_entry_is_as_old_as_the_steps_since_it() {
        // A year between the entries 1 and 2.
        let old = Old { limit: 1000 * HOUR, excess: BTreeMap::from([(2, 900 * HOUR)]) };
        assert_eq!((old.uncounted(0), old.uncounted(1), old.uncounted(2)), (900 * HOUR, 900 * HOUR, 0));
        assert!(old.is_old(1, 100 * HOUR - 1) && !old.is_old(1, 100 * HOUR), "what is before the jump");
        assert!(old.is_old(2, 1000 * HOUR - 1) && !old.is_old(2, 1000 * HOUR), "what is after it");
    }
}
