//! Times on the command line.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A moment as somebody writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long ago: `15m`, `1h`, `2d`.
    Ago(Duration),
    /// At this time, nanoseconds since 1970: `2026-01-02T03:04:05Z`, or `2026-01-02 03:04` in UTC.
    At(u64),
}

impl When {
    /// Nanoseconds since 1970, given what time it is.
    pub(super) fn resolve(self, now: u64) -> u64 {
        match self {
            Self::Ago(ago) => now.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)),
            Self::At(at) => at,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = weir_yaml::parse_duration(text.strip_prefix('-').unwrap_or(text)) {
            return Ok(Self::Ago(ago));
        }
        let zoned = text.parse::<Timestamp>();
        let time = zoned.or_else(|_| text.parse::<DateTime>()?.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()));
        let nanos = time.ok().and_then(|time| u64::try_from(time.as_nanosecond()).ok());
        nanos.map(Self::At).ok_or_else(|| "write  15m, 1h, 2d  or  2026-01-02T03:04:05Z".to_owned())
    }
}

/// What time it is: nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<When>) {
        assert_eq!(text.parse::<When>().ok(), expected, "{text}");
    }

    #[test]
    fn durations_and_times_are_read() {
        check("1h", Some(When::Ago(Duration::from_secs(3600))));
        check("-2d", Some(When::Ago(Duration::from_secs(172_800))));
        check("1970-01-02T00:00:00Z", Some(When::At(86_400_000_000_000)));
        check("1970-01-02T01:00:00+01:00", Some(When::At(86_400_000_000_000)));
        check("1970-01-02 00:00", Some(When::At(86_400_000_000_000)));
        check("1970-01-02", Some(When::At(86_400_000_000_000)));
        check("1970-01-01T00:00:00.000000005Z", Some(When::At(5)));
        for wrong in ["", "1", "h", "yesteryear", "1960-01-01T00:00:00Z", "2026-13-01"] {
            check(wrong, None);
        }
        assert_eq!(When::Ago(Duration::from_secs(1)).resolve(3_000_000_000), 2_000_000_000);
        assert_eq!(When::Ago(Duration::from_secs(9)).resolve(3), 0);
    }

    #[test]
    fn times_in_the_table_can_be_given_back() {
        let at = 1_760_000_000_000_000_000;
        check(&weir_audit::rfc3339(at), Some(When::At(at)));
    }
}
