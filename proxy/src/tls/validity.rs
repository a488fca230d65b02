//! When a certificate begins and ends to be valid: the few bytes of X.509 (RFC 5280, section 4.1) that rustls keeps to itself.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Validity {
    /// Reads it from a certificate in DER. `None` when that is none.
    ///
    /// ```text
    /// SEQUENCE (certificate)
    ///   SEQUENCE (to be signed)
    ///     [0] version, optional · INTEGER serial · SEQUENCE algorithm · SEQUENCE issuer
    ///     SEQUENCE (validity)   time · time
    /// ```
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let mut signed = Der(Der(Der(certificate).element(SEQUENCE)?).element(SEQUENCE)?);
        if signed.0.first() == Some(&VERSION) {
            signed.element(VERSION)?;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            signed.element(tag)?;
        }
        let mut validity = Der(signed.element(SEQUENCE)?);
        Some(Self { not_before: validity.time()?, not_after: validity.time()? })
    }

    pub(crate) fn has_expired(self) -> bool {
        self.not_after < now()
    }

    pub(crate) fn has_begun(self) -> bool {
        self.not_before <= now()
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A moment as people write it, in UTC.
pub(crate) fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("second {seconds}"), |time| time.to_string())
}

/// What is left to read of a value in DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, if it has that tag.
    fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        let length = match first {
            0..0x80 => usize::from(first),
            0x81..=0x84 => {
                let (digits, after) = rest.split_at_checked(usize::from(first - 0x80))?;
                rest = after;
                digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
            }
            0x80 | 0x85.. => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }

    /// `YYMMDDhhmmssZ`, or `YYYYMMDDhhmmssZ` where the tag says so.
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let digits = text.strip_suffix(b"Z")?;
        let pair = |pair: &[u8]| match pair {
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => i8::try_from((tens - b'0') * 10 + (ones - b'0')).ok(),
            _ => None,
        };
        let pairs = digits.chunks(2).map(pair).collect::<Option<Vec<i8>>>()?;
        let (century, rest) = match (tag, pairs.as_slice()) {
            (UTC_TIME, rest @ [year, ..]) => (if *year < UTC_TIME_PIVOT { 20 } else { 19 }, rest),
            (GENERALIZED_TIME, [century, rest @ ..]) => (*century, rest),
            _ => return None,
        };
        let &[year, month, day, hour, minute, second] = rest else { return None };
        let year = i16::from(century) * 100 + i16::from(year);
        let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        TimeZone::UTC.to_timestamp(time).ok().map(|time| time.as_second())
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`.
const VERSION: u8 = 0xa0;
/// Two digits below it are years of this century (RFC 5280, section 4.1.2.5.1).
const UTC_TIME_PIVOT: i8 = 50;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, until: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 2, 3), date_time_ymd(until, 11, 30));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn reads_both_forms_of_time() {
        let seconds = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        // Years from 2050 on are written with four digits.
        for (from, until) in [(1999, 2049), (2026, 2050), (2051, 3000)] {
            let expected = Validity {
                not_before: seconds(&format!("{from}-02-03T00:00:00Z")),
                not_after: seconds(&format!("{until}-11-30T00:00:00Z")),
            };
            assert_eq!(Validity::of(&certificate(from, until)), Some(expected), "{from}");
        }
        assert!(Validity::of(&certificate(1999, 2001)).unwrap().has_expired());
        assert!(!Validity::of(&certificate(2999, 3000)).unwrap().has_begun());
    }

    #[test]
    fn survives_what_is_no_certificate() {
        let good = certificate(2026, 2027);
        for cut in 0..good.len() {
            assert_eq!(Validity::of(&good[..cut]), None, "cut at {cut}");
        }
        for at in 0..good.len().min(200) {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                // Whatever it says, it says something.
                assert!(Validity::of(&bad).is_none_or(|validity| validity.not_after != i64::MIN));
            }
        }
        assert_eq!(Validity::of(b""), None);
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(i64::MAX), format!("second {}", i64::MAX));
    }
}
