//! Reads the text of one JSON value as a number, keeping every digit that fits.

use std::borrow::Cow;

use crate::model::{Decimal, DecimalError, Number, Reason};

/// Significant digits that are kept of a number with too many of them: as many as always fit an `i64`.
const DIGITS_MAX: u32 = 18;

/// The number of one JSON value, given as its text in the payload without spaces around it.
///
/// A number keeps its digits; a string that holds a number counts as that number; `true` is 1, `false` is 0; `null` is
/// [`Reason::NotAvailable`]. A number of more digits than an `i64` holds, as some libraries print binary fractions, is
/// rounded half to even to 18 significant digits; one beyond 10^127 is [`Reason::Overflow`], one below 10^-128 is 0.
/// `None`: an object, an array or another string.
pub fn number(json: &str) -> Option<Number> {
    match json.as_bytes().first()? {
        b'-' | b'0'..=b'9' => decimal(json.as_bytes()),
        b'"' => decimal(string(json)?.trim_ascii().as_bytes()),
        b't' => Some(Number::Exact(Decimal::ONE)),
        b'f' => Some(Number::Exact(Decimal::ZERO)),
        b'n' => Some(Number::Missing(Reason::NotAvailable)),
        _ => None,
    }
}

/// The text of a JSON string, given with its quotes; `None` when it is none.
pub fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// The number that a plain text is, by the rules of [`number`]; `None` when it is none.
pub fn decimal(text: &[u8]) -> Option<Number> {
    if let Some(plain) = plain(text) {
        return Some(Number::Exact(plain));
    }
    match Decimal::parse(text) {
        Ok(number) => Some(Number::Exact(number)),
        Err(DecimalError::Range(_)) => rounded(text),
        Err(DecimalError::Syntax(_)) => {
            // An exponent of very many digits counts as a mistake there.
            let at = text.iter().position(|byte| matches!(byte, b'e' | b'E'))?;
            Decimal::parse(text.get(..at)?).ok().and_then(|_| rounded(text))
        }
    }
}

/// The quick way for what nearly all numbers are: `-12.34` with few digits. `None`: ask [`Decimal::parse`].
fn plain(text: &[u8]) -> Option<Decimal> {
    const POINT: usize = 1;
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    // So many digits cannot overflow, so the sums below need no check.
    if digits.is_empty() || digits.len() > 18usize.saturating_add(POINT) {
        return None;
    }
    let (mut mantissa, mut decimals, mut seen_point) = (0i64, 0i8, false);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(i64::from(digit));
            decimals = decimals.wrapping_sub(i8::from(seen_point));
        } else if byte == b'.' && !seen_point {
            seen_point = true;
        } else {
            return None;
        }
    }
    if digits.len() <= usize::from(seen_point) || (!seen_point && digits.len() > 18) {
        return None;
    }
    Some(Decimal::new(if negative { mantissa.wrapping_neg() } else { mantissa }, decimals))
}

/// The number with 18 significant digits at most. `text` is known to be a number, but for its exponent.
fn rounded(text: &[u8]) -> Option<Number> {
    let (mantissa_text, power) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (text.get(..at)?, power(text.get(at.checked_add(1)?..)?)?),
        None => (text, 0),
    };
    let (mut mantissa, mut kept, mut exponent) = (0i64, 0u32, i64::from(power));
    // The digits dropped, as a comparison with one half: first digit, and whether anything follows it.
    let (mut first_dropped, mut more_dropped) = (None, false);
    let mut after_point = false;
    for &byte in mantissa_text {
        match byte {
            b'.' => after_point = true,
            b'0'..=b'9' => {
                let digit = i64::from(byte.wrapping_sub(b'0'));
                if kept < DIGITS_MAX {
                    mantissa = mantissa.checked_mul(10)?.checked_add(digit)?;
                    kept = kept.saturating_add(u32::from(mantissa != 0));
                    exponent = exponent.saturating_sub(i64::from(after_point));
                } else {
                    match first_dropped {
                        None => first_dropped = Some(digit),
                        Some(_) => more_dropped |= digit != 0,
                    }
                    exponent = exponent.saturating_add(i64::from(!after_point));
                }
            }
            _ => {}
        }
    }
    let half = first_dropped.unwrap_or(0);
    if half > 5 || (half == 5 && (more_dropped || mantissa.rem_euclid(2) == 1)) {
        mantissa = mantissa.checked_add(1)?;
    }
    if text.first() == Some(&b'-') {
        mantissa = mantissa.checked_neg()?;
    }
    // A large exponent may still fit once zeros move into the mantissa, and a small one once digits leave it.
    Some(if mantissa == 0 {
        Number::Exact(Decimal::ZERO)
    } else if let Ok(exponent) = i8::try_from(exponent) {
        Number::Exact(Decimal::new(mantissa, exponent))
    } else if exponent < 0 {
        Number::Exact(Decimal::ZERO)
    } else {
        Number::Missing(Reason::Overflow)
    })
}

/// The exponent behind `e`, clamped far beyond what matters; `None` when it is no integer.
fn power(text: &[u8]) -> Option<i32> {
    const FAR: i32 = 1_000_000;
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut power = 0i32;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        power = power.saturating_mul(10).saturating_add(i32::from(byte.wrapping_sub(b'0'))).min(FAR);
    }
    Some(if negative { power.saturating_neg() } else { power })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_quick_way_agrees_with_the_long_one(text in "-?[0-9]{0,20}[.]?[0-9]{0,20}") {
            if let Some(quick) = plain(text.as_bytes()) {
                proptest::prop_assert_eq!(Decimal::parse(text.as_bytes()), Ok(quick));
            }
        }
    }

    #[test]
    fn reads_what_meters_send() {
        let exact = |mantissa, exponent| Some(Number::Exact(Decimal::new(mantissa, exponent)));
        for (json, wanted) in [
            ("12.340", exact(12340, -3)),
            ("-0.5e3", exact(-5, 2)),
            ("\"12.5\"", exact(125, -1)),
            ("\" 7 \"", exact(7, 0)),
            ("\"\\u0031\\u0032\"", exact(12, 0)),
            ("true", exact(1, 0)),
            ("false", exact(0, 0)),
            ("null", Some(Number::Missing(Reason::NotAvailable))),
            // More digits than an i64 holds: 18 are kept, half to even.
            ("0.1000000000000000055511151231257827", exact(100_000_000_000_000_006, -18)),
            ("-123.45600000000000307", exact(-123_456_000_000_000_003, -15)),
            ("12345678901234567890123", exact(123_456_789_012_345_679, 5)),
            ("9.999999999999999985", exact(999_999_999_999_999_998, -17)),
            ("9.999999999999999975", exact(999_999_999_999_999_998, -17)),
            ("9.9999999999999999850001", exact(999_999_999_999_999_999, -17)),
            ("999999999999999999.9999", exact(1_000_000_000_000_000_000, 0)),
            ("1e200", Some(Number::Missing(Reason::Overflow))),
            ("1e-200", exact(0, 0)),
            ("1e99999999999", Some(Number::Missing(Reason::Overflow))),
            ("-1e-99999999999", exact(0, 0)),
            ("\"\"", None),
            ("\"---\"", None),
            ("\"12,5\"", None),
            ("\"0x10\"", None),
            ("{\"v\":1}", None),
            ("[1]", None),
            ("", None),
        ] {
            assert_eq!(number(json), wanted, "{json}");
        }
    }
}
