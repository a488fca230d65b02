//! Durations and sizes with units.

use std::time::Duration;

/// The longest duration that is accepted, 3650 days, so that adding one to a clock cannot overflow.
pub const DURATION_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// Why a text is not a duration or a size. `Display` completes the sentence "`idle_timeout` …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitError {
    /// A number and nothing behind it.
    NoUnit,
    /// Something else than a whole number and a known unit.
    Malformed,
    /// Larger than [`DURATION_MAX`], or than a 64-bit number of bytes.
    TooLarge,
}

impl std::fmt::Display for UnitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            UnitError::NoUnit => "has no unit",
            UnitError::Malformed => "is not a whole number with a unit",
            UnitError::TooLarge => "is too large",
        })
    }
}

impl std::error::Error for UnitError {}

/// Reads `250ms`, `10s`, `5m`, `1h`, `1d`.
///
/// # Errors
///
/// [`UnitError`] for anything else, and for more than [`DURATION_MAX`].
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 86_400 * 1000,
        _ => return Err(UnitError::Malformed),
    };
    let duration = Duration::from_millis(number.checked_mul(millis_per_unit).ok_or(UnitError::TooLarge)?);
    if duration > DURATION_MAX { Err(UnitError::TooLarge) } else { Ok(duration) }
}

/// Reads `512B`, `64KiB`, `4MiB`, `200GiB`, `1TiB` into bytes.
///
/// # Errors
///
/// [`UnitError`] for anything else, and for what does not fit 64 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let bytes_per_unit: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(UnitError::Malformed),
    };
    number.checked_mul(bytes_per_unit).ok_or(UnitError::TooLarge)
}

/// Splits `10s` into 10 and `s`.
fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(unit).ok_or(UnitError::Malformed)?;
    if digits.is_empty() {
        return Err(UnitError::Malformed);
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    Ok((digits.parse().map_err(|_| UnitError::TooLarge)?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        let check = |text: &str, expected: Result<u64, UnitError>| {
            assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
        };
        check("250ms", Ok(250));
        check("10s", Ok(10_000));
        check("5m", Ok(300_000));
        check("1h", Ok(3_600_000));
        check("1d", Ok(86_400_000));
        check("0s", Ok(0));
        check("3650d", Ok(3650 * 86_400_000));
        check("3651d", Err(UnitError::TooLarge));
        check("99999999999999999999s", Err(UnitError::TooLarge));
        check("18446744073709551615d", Err(UnitError::TooLarge));
        check("10", Err(UnitError::NoUnit));
        for text in ["", "s", "-1s", "1.5s", "10 s", "10S", "1h30m", "10sec", "+1s", "１s"] {
            check(text, Err(UnitError::Malformed));
        }
    }

    #[test]
    fn reads_sizes() {
        let check = |text: &str, expected: Result<u64, UnitError>| assert_eq!(parse_size(text), expected, "{text}");
        check("512B", Ok(512));
        check("64KiB", Ok(65_536));
        check("4MiB", Ok(4 << 20));
        check("200GiB", Ok(200 << 30));
        check("1TiB", Ok(1 << 40));
        check("16777216TiB", Err(UnitError::TooLarge));
        check("64", Err(UnitError::NoUnit));
        for text in ["", "KiB", "64KB", "64K", "64kib", "64 KiB", "1.5MiB"] {
            check(text, Err(UnitError::Malformed));
        }
    }
}
