//! How long the log still has room, at the rate of its last day: read from the log itself, beside a weir that writes it or not.

use std::fmt::Write as _;
use std::path::Path;

use weir_audit_store::{Ballast, Query, Reader, Space, StoreError, used_bytes};

use crate::config::{Config, RetainConfig, Then};

/// What the log is, and what came lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Entries that are there.
    entries: u64,
    /// Bytes on disk.
    bytes: u64,
    /// Entries of the last day, or of the time since the first one.
    recent: u64,
    /// That time in seconds.
    seconds: u64,
    /// What may still be written before weir keeps the rest for its last words, bytes.
    room: u64,
}

/// A line about the log of the configured `data_dir`; `None` = there is none. `now`: wall clock, nanoseconds since 1970.
pub(super) fn outlook(config: &Config, now: u64) -> Option<String> {
    match look(&config.data_dir, &config.audit.retain, now) {
        Ok(seen) => Some(line(&seen, &config.audit.retain)),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => Some(format!("audit log: {error}")),
    }
}

fn look(data_dir: &Path, retain: &RetainConfig, now: u64) -> Result<Seen, StoreError> {
    let reader = Reader::open_read_only(data_dir)?;
    let entries = reader.head().map_or(0, |state| state.head.size()).saturating_sub(reader.first());
    let since = Query { since: Some(now.saturating_sub(DAY)), limit: Some(0), ..Query::default() };
    let covered = reader.query(&since)?.covered;
    let (recent, began) = covered.map_or((0, now), |covered| (covered.last + 1 - covered.first, covered.first_at));
    let space = Space::of(data_dir)?;
    let kept = retain.reserve.min(space.total / 8).saturating_mul(2);
    let free = space.free.saturating_add(Ballast::of(data_dir).bytes());
    Ok(Seen {
        entries,
        bytes: used_bytes(data_dir)?,
        recent,
        seconds: (now.saturating_sub(began) / NANOS).clamp(SECONDS_MIN, DAY / NANOS),
        room: free.saturating_sub(kept),
    })
}

fn line(seen: &Seen, retain: &RetainConfig) -> String {
    let mut text = format!("audit log: {} entries, {}", seen.entries, size(seen.bytes));
    let per_entry = seen.bytes.checked_div(seen.entries).unwrap_or(0);
    let per_day = u128::from(seen.recent) * u128::from(per_entry) * u128::from(DAY / NANOS) / u128::from(seen.seconds);
    let days = |bytes: u64| u128::from(bytes).checked_div(per_day).filter(|days| *days <= DAYS_SHOWN_MAX);
    let shown = |bytes: u64| match days(bytes) {
        Some(1) => "1 day".to_owned(),
        Some(days) => format!("{days} days"),
        None => format!("more than {DAYS_SHOWN_MAX} days"),
    };
    let disk = shown(seen.room);
    let rest = match (retain.bytes_max, retain.then) {
        (Some(bytes_max), Then::Stop) if bytes_max.saturating_sub(seen.bytes) < seen.room => {
            format!("{} until `audit.retain.bytes_max`", shown(bytes_max.saturating_sub(seen.bytes)))
        }
        (Some(bytes_max), Then::Prune) => {
            format!("`audit.retain.bytes_max` keeps {}, the disk {disk}", shown(bytes_max))
        }
        (Some(_) | None, _) => format!("{disk} until the disk is full"),
    };
    let per_day = u64::try_from(per_day).unwrap_or(u64::MAX);
    // Writing to a string does not fail.
    let written = write!(text, "; at the last day's rate, {} a day: {rest}", size(per_day));
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    text
}

fn size(bytes: u64) -> String {
    let (unit, name) = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit)
        .unwrap_or((1, "B"));
    if unit == 1 {
        return format!("{bytes} B");
    }
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 24 * 60 * 60 * NANOS;

/// A log that is younger says nothing about a day yet, but this is what there is.
const SECONDS_MIN: u64 = 60;

/// Days that are told apart.
const DAYS_SHOWN_MAX: u128 = 9999;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[track_caller]
    fn check(seen: Seen, retain: RetainConfig, expected: &str) {
        let text = line(&seen, &retain);
        let (_, rest) = text.split_once("rate, ").unwrap();
        assert_eq!(rest, expected);
    }

    #[test]
    fn the_nearest_limit_is_told_in_days() {
        // A mebibyte is a thousand entries, and a thousand came in half a day.
        let seen = Seen { entries: 10_000, bytes: 10_000 << 10, recent: 1024, seconds: 12 * 60 * 60, room: 100 * MIB };
        let none = RetainConfig::default();
        check(seen, none, "2.0 MiB a day: 50 days until the disk is full");
        let stop = |bytes_max| RetainConfig { bytes_max: Some(bytes_max), ..none };
        check(seen, stop((10_000 << 10) + 3 * MIB), "2.0 MiB a day: 1 day until `audit.retain.bytes_max`");
        check(seen, stop(1 << 40), "2.0 MiB a day: 50 days until the disk is full");
        let prune = RetainConfig { then: Then::Prune, ..stop(60 * MIB) };
        check(seen, prune, "2.0 MiB a day: `audit.retain.bytes_max` keeps 30 days, the disk 50 days");
        check(Seen { room: 0, ..seen }, none, "2.0 MiB a day: 0 days until the disk is full");
        check(Seen { recent: 0, ..seen }, none, "0 B a day: more than 9999 days until the disk is full");
        check(Seen { entries: 0, bytes: 0, ..seen }, none, "0 B a day: more than 9999 days until the disk is full");
    }

    #[test]
    fn a_log_that_is_not_there_is_not_spoken_of() {
        let nothing = tempfile::tempdir().unwrap();
        assert!(matches!(look(nothing.path(), &RetainConfig::default(), 0), Err(StoreError::NotFound { .. })));
    }
}
