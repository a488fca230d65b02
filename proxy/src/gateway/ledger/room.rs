//! When there is too little room for the log, and when enough again.
//!
//! ```text
//!            0 ········· reserve ········· 2 × reserve ······ 2.5 × reserve          bytes left, the ballast among them
//!   stopped  ◄──────────────────────────── stops here         goes on from here
//! ```
//!
//! The ballast is one reserve; the other is what must stay free beside it. So what is open is closed and the last words are said long
//! before the database finds the disk full; and where somebody else fills the disk in one go, there is the ballast to give up.

use weir_audit_store::Space;

use crate::config::{RetainConfig, Then};

/// Why nothing new is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The file system is full.
    DiskFull,
    /// The log is as large as `audit.retain.bytes_max`.
    BytesMax,
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The file system.
    pub(super) space: Space,
    /// Bytes of the log.
    pub(super) used: u64,
    /// Bytes of the ballast, which are free once it is given up.
    pub(super) ballast: u64,
}

impl Stop {
    /// The word in metrics and log lines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::BytesMax => "bytes_max",
        }
    }

    /// For `/readyz`, log lines and the log itself.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::DiskFull => "the disk of the audit log is full",
            Self::BytesMax => "the audit log has its `audit.retain.bytes_max`",
        }
    }
}

/// The policy that a prune entry names.
pub(super) fn policy(retain: &RetainConfig) -> String {
    let days = retain.days.map(|days| format!("days: {days}"));
    let bytes_max = retain.bytes_max.map(|bytes| format!("bytes_max: {bytes}B"));
    let parts = [days, bytes_max, Some("then: prune".to_owned())].into_iter().flatten().collect::<Vec<_>>();
    format!("audit.retain: {{ {} }}", parts.join(", "))
}

/// Bytes of the ballast: what is configured, less on a small disk.
pub(super) fn reserve(retain: &RetainConfig, space: Space) -> u64 {
    retain.reserve.min(space.total / RESERVE_SHARE)
}

/// Whether nothing new may be recorded, and why. `stopped`: whether it is so already.
pub(super) fn judge(retain: &RetainConfig, look: &Look, stopped: Option<Stop>) -> Option<Stop> {
    let reserve = reserve(retain, look.space);
    let back = if stopped == Some(Stop::DiskFull) { reserve / 2 } else { 0 };
    if look.space.free.saturating_add(look.ballast) < reserve.saturating_mul(2).saturating_add(back) {
        return Some(Stop::DiskFull);
    }
    let bytes_max = retain.bytes_max.filter(|_| retain.then == Then::Stop)?;
    let limit = if stopped == Some(Stop::BytesMax) { bytes_max / 100 * RESUME_PERCENT } else { bytes_max };
    (look.used >= limit).then_some(Stop::BytesMax)
}

/// Bytes of entries that pruning is to take away; 0 = the log is not too large. Below the limit, so that it does not prune all the time.
pub(super) fn surplus(retain: &RetainConfig, used: u64) -> u64 {
    let Some(bytes_max) = retain.bytes_max.filter(|bytes_max| used > *bytes_max) else { return 0 };
    used - bytes_max / 100 * PRUNE_TO_PERCENT
}

/// The reserve is at most this share of a file system.
const RESERVE_SHARE: u64 = 8;

/// A log that stopped at its `bytes_max` goes on when it has shrunk to this, or the limit was raised.
const RESUME_PERCENT: u64 = 95;

/// Pruning for `bytes_max` goes on until the log is down to this.
const PRUNE_TO_PERCENT: u64 = 90;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn look(total: u64, free: u64, ballast: u64, used: u64) -> Look {
        Look { space: Space { total: total * MIB, free }, used, ballast }
    }

    #[test]
    fn stops_below_two_reserves_and_goes_on_half_a_reserve_later() {
        let retain = RetainConfig::default();
        let check = |free: u64, ballast: u64, stopped: Option<Stop>, expected: Option<Stop>| {
            assert_eq!(judge(&retain, &look(1 << 20, free, ballast, 0), stopped), expected, "{free} and {ballast}");
        };
        let full = Some(Stop::DiskFull);
        check(64 * MIB, 64 * MIB, None, None);
        check(64 * MIB - 1, 64 * MIB, None, full);
        // Giving up the ballast changes nothing.
        check(128 * MIB - 1, 0, full, full);
        check(160 * MIB - 1, 0, full, full);
        check(160 * MIB, 0, full, None);
        check(0, 0, None, full);
    }

    #[test]
    fn a_prune_entry_names_its_policy() {
        let retain = RetainConfig { days: Some(90), then: Then::Prune, ..RetainConfig::default() };
        assert_eq!(policy(&retain), "audit.retain: { days: 90, then: prune }");
        let both = RetainConfig { bytes_max: Some(1 << 30), ..retain };
        assert_eq!(policy(&both), "audit.retain: { days: 90, bytes_max: 1073741824B, then: prune }");
    }

    #[test]
    fn a_small_disk_has_a_small_reserve() {
        let retain = RetainConfig::default();
        for (total, expected) in [(16, 2), (256, 32), (512, 64), (1 << 20, 64)] {
            assert_eq!(reserve(&retain, Space { total: total * MIB, free: 0 }), expected * MIB, "{total} MiB");
        }
    }

    #[test]
    fn a_log_stops_at_its_limit_only_where_it_is_not_pruned() {
        let stop = RetainConfig { bytes_max: Some(100 * MIB), ..RetainConfig::default() };
        let at = |retain: &RetainConfig, used, stopped| judge(retain, &look(1 << 20, 1 << 40, 0, used), stopped);
        let reached = Some(Stop::BytesMax);
        assert_eq!((at(&stop, 100 * MIB - 1, None), at(&stop, 100 * MIB, None)), (None, reached));
        assert_eq!((at(&stop, 96 * MIB, reached), at(&stop, 94 * MIB, reached)), (reached, None));
        let prune = RetainConfig { then: Then::Prune, ..stop };
        assert_eq!(at(&prune, 200 * MIB, None), None);
        assert_eq!((surplus(&prune, 100 * MIB), surplus(&prune, 101 * MIB)), (0, 101 * MIB - 100 * MIB / 100 * 90));
    }
}
