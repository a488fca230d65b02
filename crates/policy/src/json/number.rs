//! JSON numbers: their grammar, and the range that serde_json accepts.

/// Why a number is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberError {
    /// Not the grammar of RFC 8259 section 6; where.
    Grammar(usize),
    /// Beyond the range of a 64-bit float.
    Range,
}

/// Finds the end of the number that begins at `start` with `-` or a digit.
#[inline]
pub(super) fn scan(doc: &[u8], start: usize) -> Result<usize, NumberError> {
    let mut at = start;
    if doc.get(at) == Some(&b'-') {
        at += 1;
    }
    let whole = at;
    at = digits_end(doc, at);
    if at == whole || (at > whole + 1 && doc.get(whole) == Some(&b'0')) {
        return Err(NumberError::Grammar(at.min(whole + 1)));
    }
    match doc.get(at) {
        Some(b'.' | b'e' | b'E') => scan_float(doc, start, at),
        _ if at - start > DIGITS_ALWAYS_IN_RANGE => in_range(doc, start, at),
        _ => Ok(at),
    }
}

/// A number of this many bytes without an exponent cannot leave the range, which begins at 309 digits.
const DIGITS_ALWAYS_IN_RANGE: usize = 300;

/// [`scan`] from the byte behind the whole digits.
fn scan_float(doc: &[u8], start: usize, mut at: usize) -> Result<usize, NumberError> {
    if doc.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = digits_end(doc, fraction);
        if at == fraction {
            return Err(NumberError::Grammar(at));
        }
    }
    let mut exponent_digits = 0;
    if let Some(b'e' | b'E') = doc.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = doc.get(at) {
            at += 1;
        }
        let exponent = at;
        at = digits_end(doc, exponent);
        exponent_digits = at - exponent;
        if exponent_digits == 0 {
            return Err(NumberError::Grammar(at));
        }
    }
    // Two hundred digits times ten to the 99th stay in range.
    if exponent_digits <= 2 && at - start <= 200 { Ok(at) } else { in_range(doc, start, at) }
}

#[inline]
fn digits_end(doc: &[u8], mut at: usize) -> usize {
    while doc.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Is the well-formed number at `start..end` in the range that serde_json accepts?
///
/// serde_json rounds as it goes (it keeps 64 bits of the digits and multiplies by a power of ten), and so refuses some
/// numbers just below the largest float and accepts some just above. To say exactly what it says, this computes the
/// same.
#[cold]
#[inline(never)]
fn in_range(doc: &[u8], start: usize, end: usize) -> Result<usize, NumberError> {
    let number = doc.get(start..end).unwrap_or_default();
    let mut bytes = number.iter().copied().skip_while(|&byte| byte == b'-').peekable();
    let (mut significand, mut exponent, mut full) = (0_u64, 0_i32, false);
    let mut fraction = false;
    while let Some(byte) = bytes.next_if(|byte| !matches!(byte, b'e' | b'E')) {
        if byte == b'.' {
            fraction = true;
            // Whole digits beyond the 64 bits count as powers of ten; behind the point digits may count again.
            full = false;
            continue;
        }
        let longer = significand.checked_mul(10).and_then(|more| more.checked_add(u64::from(byte - b'0')));
        match longer.filter(|_| !full) {
            Some(longer) => {
                significand = longer;
                exponent = exponent.saturating_sub(i32::from(fraction));
            }
            None => {
                full = true;
                exponent = exponent.saturating_add(i32::from(!fraction));
            }
        }
    }
    bytes.next();
    let negative = bytes.next_if(|byte| matches!(byte, b'+' | b'-')) == Some(b'-');
    let mut power = Some(0_i32);
    for byte in bytes {
        power = power.and_then(|power| power.checked_mul(10)?.checked_add(i32::from(byte - b'0')));
    }
    let in_range = match (power, negative) {
        (None, false) => significand == 0,
        (None, true) => true,
        (Some(power), false) => is_finite(significand, exponent.saturating_add(power)),
        (Some(power), true) => is_finite(significand, exponent.saturating_sub(power)),
    };
    if in_range { Ok(end) } else { Err(NumberError::Range) }
}

/// Is `significand` times ten to the `exponent` a finite 64-bit float?
fn is_finite(significand: u64, exponent: i32) -> bool {
    if significand == 0 || exponent <= 0 {
        return true;
    }
    #[expect(clippy::cast_precision_loss, reason = "the rounding is wanted: serde_json rounds here")]
    let rounded = significand as f64;
    // Powers of ten up to 1e308 are exact to the last bit when parsed, not when multiplied up.
    u16::try_from(exponent)
        .ok()
        .filter(|&exponent| exponent <= 308)
        .and_then(power_of_ten)
        .is_some_and(|power| (rounded * power).is_finite())
}

/// Ten to the `exponent`, correctly rounded.
fn power_of_ten(exponent: u16) -> Option<f64> {
    // "1e" and three digits, without an allocation.
    let digits = [b'1', b'e', digit(exponent / 100), digit(exponent / 10 % 10), digit(exponent % 10)];
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

fn digit(value: u16) -> u8 {
    b'0' + u8::try_from(value % 10).unwrap_or(0)
}
