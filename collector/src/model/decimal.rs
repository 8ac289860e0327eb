//! Exact decimal numbers: what a device says, before and after scaling. No binary floating point.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// `mantissa * 10^exponent`, exactly. The same number may have several forms; compare with [`Decimal::cmp_value`] or
/// after [`Decimal::normalised`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// All digits with the sign.
    pub mantissa: i64,
    /// Power of ten that the mantissa is multiplied by; `-2` for a number with two decimals.
    pub exponent: i8,
}

/// Why a text is no [`Decimal`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecimalError {
    /// Not of the form `-12.34e5`.
    #[error("`{0}` is not a decimal number such as -12.34 or 1e-3")]
    Syntax(String),
    /// More significant digits than an `i64` holds, or an exponent beyond 127.
    #[error("`{0}` has more digits than fit (18 are safe)")]
    Range(String),
}

impl Decimal {
    /// The number 1.
    pub const ONE: Self = Self { mantissa: 1, exponent: 0 };
    /// The number 0.
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0 };

    /// `mantissa * 10^exponent`.
    pub const fn new(mantissa: i64, exponent: i8) -> Self {
        Self { mantissa, exponent }
    }

    /// Reads a JSON or TOML style number from its bytes, keeping every digit: `-12.340`, `1e3`, `.5`, `+7`.
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        let syntax = || DecimalError::Syntax(String::from_utf8_lossy(text).into_owned());
        let range = || DecimalError::Range(String::from_utf8_lossy(text).into_owned());
        let (negative, digits) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            _ => (false, text),
        };
        let mut mantissa: i64 = 0;
        let mut exponent: i32 = 0;
        // Zeros that may turn out to be trailing are kept apart, so that "1.000000000000000000000" still fits.
        let mut pending_zeros: u32 = 0;
        let mut seen_digit = false;
        let mut seen_point = false;
        let mut rest = digits.iter();
        let mut exponent_text: Option<&[u8]> = None;
        while let Some(&byte) = rest.next() {
            match byte {
                b'0'..=b'9' => {
                    seen_digit = true;
                    if seen_point {
                        exponent = exponent.saturating_sub(1);
                    }
                    if byte == b'0' {
                        pending_zeros = pending_zeros.saturating_add(1);
                    } else {
                        let shift = 10i64.checked_pow(pending_zeros.saturating_add(1));
                        let shifted = match (mantissa, shift) {
                            (0, _) => Some(0),
                            (_, Some(shift)) => mantissa.checked_mul(shift),
                            (_, None) => None,
                        };
                        let digit = i64::from(byte.wrapping_sub(b'0'));
                        mantissa = shifted.and_then(|value| value.checked_sub(digit)).ok_or_else(range)?;
                        pending_zeros = 0;
                    }
                }
                b'.' if !seen_point => seen_point = true,
                b'e' | b'E' if seen_digit => {
                    exponent_text = Some(rest.as_slice());
                    break;
                }
                _ => return Err(syntax()),
            }
        }
        if !seen_digit {
            return Err(syntax());
        }
        if let Some(text) = exponent_text {
            let text = std::str::from_utf8(text).map_err(|_| syntax())?;
            if !text.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(syntax());
            }
            let power: i32 = text.parse().map_err(|_| syntax())?;
            exponent = exponent.checked_add(power).ok_or_else(range)?;
        }
        if mantissa == 0 {
            return Ok(Self { mantissa: 0, exponent: i8::try_from(exponent).unwrap_or(0) });
        }
        // Trailing zeros go back into the mantissa where they fit ("1.50" keeps exponent -2), else into the exponent.
        match 10i64.checked_pow(pending_zeros).and_then(|shift| mantissa.checked_mul(shift)) {
            Some(shifted) => mantissa = shifted,
            None => exponent = exponent.checked_add(i32::try_from(pending_zeros).map_err(|_| range())?).ok_or_else(range)?,
        }
        // The mantissa was built negative, so that i64::MIN is reachable.
        let mantissa = if negative { mantissa } else { mantissa.checked_neg().ok_or_else(range)? };
        Ok(Self { mantissa, exponent: i8::try_from(exponent).map_err(|_| range())? })
    }

    /// The mantissa this number has at `decimals` digits after the point, rounded half to even; `None` when it does
    /// not fit an `i64`.
    pub fn to_mantissa(self, decimals: u8) -> Option<i64> {
        let shift = i32::from(self.exponent).checked_add(i32::from(decimals))?;
        if shift >= 0 {
            if self.mantissa == 0 {
                return Some(0);
            }
            self.mantissa.checked_mul(10i64.checked_pow(u32::try_from(shift).ok()?)?)
        } else {
            let Some(divisor) = 10i128.checked_pow(shift.unsigned_abs()) else { return Some(0) };
            i64::try_from(div_half_even(i128::from(self.mantissa), divisor)?).ok()
        }
    }

    /// The same number without trailing zeros in the mantissa.
    pub fn normalised(self) -> Self {
        let mut number = self;
        if number.mantissa == 0 {
            return Self::ZERO;
        }
        while number.mantissa % 10 == 0 && number.exponent < i8::MAX {
            number.mantissa /= 10;
            number.exponent = number.exponent.saturating_add(1);
        }
        number
    }

    /// Order by value, whatever the form.
    pub fn cmp_value(self, other: Self) -> std::cmp::Ordering {
        let (a, b) = (self.normalised(), other.normalised());
        let sign = a.mantissa.signum().cmp(&b.mantissa.signum());
        if sign != std::cmp::Ordering::Equal || a.mantissa == 0 {
            return sign;
        }
        let exponent = a.exponent.min(b.exponent);
        let widen = |number: Self| {
            let shift = u32::try_from(i32::from(number.exponent).saturating_sub(i32::from(exponent))).ok()?;
            i128::from(number.mantissa).checked_mul(10i128.checked_pow(shift)?)
        };
        match (widen(a), widen(b)) {
            (Some(x), Some(y)) => x.cmp(&y),
            // Only the one with the larger exponent can overflow, so it is the larger in magnitude.
            (None, _) if a.mantissa > 0 => std::cmp::Ordering::Greater,
            (None, _) => std::cmp::Ordering::Less,
            (_, None) if b.mantissa > 0 => std::cmp::Ordering::Less,
            (_, None) => std::cmp::Ordering::Greater,
        }
    }
}

/// `numerator / divisor` rounded half to even (GB/T 8170); `None` for a divisor below 1 or on overflow.
pub fn div_half_even(numerator: i128, divisor: i128) -> Option<i128> {
    if divisor < 1 {
        return None;
    }
    let quotient = numerator.div_euclid(divisor);
    let remainder = numerator.rem_euclid(divisor);
    let rest = divisor.checked_sub(remainder)?;
    let up = remainder > rest || (remainder == rest && quotient.rem_euclid(2) == 1);
    if up { quotient.checked_add(1) } else { Some(quotient) }
}

impl FromStr for Decimal {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Decimal {
    /// Plain notation, as many decimals as the form has: `-12.340`, `1500`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        if self.exponent >= 0 {
            let zeros = if self.mantissa == 0 { 0 } else { usize::from(self.exponent.unsigned_abs()) };
            return write!(f, "{sign}{digits}{}", "0".repeat(zeros));
        }
        let decimals = usize::from(self.exponent.unsigned_abs());
        let padded = format!("{digits:0>width$}", width = decimals.saturating_add(1));
        let (whole, fraction) = padded.split_at(padded.len().saturating_sub(decimals));
        write!(f, "{sign}{whole}.{fraction}")
    }
}

impl Serialize for Decimal {
    /// As a string, since a JSON number would be read back as binary floating point.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_exactly() {
        for (text, mantissa, exponent) in [
            ("0", 0, 0),
            ("-0.00", 0, -2),
            ("12", 12, 0),
            ("12.340", 12340, -3),
            ("-0.05", -5, -2),
            (".5", 5, -1),
            ("7.", 7, 0),
            ("+7", 7, 0),
            ("1e3", 1, 3),
            ("1.5E-7", 15, -8),
            ("100", 100, 0),
            ("9223372036854775807", i64::MAX, 0),
            ("-9223372036854775808", i64::MIN, 0),
            ("0.000000000000000001", 1, -18),
        ] {
            assert_eq!(text.parse::<Decimal>(), Ok(Decimal::new(mantissa, exponent)), "{text}");
        }
        assert_eq!("1.0000000000000000000000".parse::<Decimal>().unwrap().normalised(), Decimal::ONE);
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["", "-", ".", "1.2.3", "1e", "e5", "0x10", "NaN", "1 ", "--1", "1e+-3", "９"] {
            assert!(matches!(text.parse::<Decimal>(), Err(DecimalError::Syntax(_))), "{text}");
        }
        for text in ["9223372036854775808", "1e200", "12345678901234567890123"] {
            assert!(matches!(text.parse::<Decimal>(), Err(DecimalError::Range(_))), "{text}");
        }
    }

    #[test]
    fn rounds_half_to_even() {
        for (text, decimals, mantissa) in [
            ("0.5", 0, 0),
            ("1.5", 0, 2),
            ("2.5", 0, 2),
            ("-0.5", 0, 0),
            ("-1.5", 0, -2),
            ("1.25", 1, 12),
            ("1.35", 1, 14),
            ("1.2501", 1, 13),
            ("3", 2, 300),
            ("1e-40", 2, 0),
        ] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_mantissa(decimals), Some(mantissa), "{text} at {decimals}");
        }
        assert_eq!("9223372036854775807".parse::<Decimal>().unwrap().to_mantissa(1), None);
    }

    #[test]
    fn prints_what_it_read() {
        for text in ["0", "12.340", "-0.05", "1500", "-9223372036854775808", "0.000000000000000001"] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), text);
        }
        assert_eq!(Decimal::new(15, 2).to_string(), "1500");
    }

    #[test]
    fn compares_by_value() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        for (a, b, order) in [
            ("1.50", "1.5", Equal),
            ("0", "-0.00", Equal),
            ("1e100", "2", Greater),
            ("-1e100", "2", Less),
            ("3", "1e120", Less),
            ("-1", "1", Less),
            ("-1e99", "-1e-99", Less),
        ] {
            assert_eq!(a.parse::<Decimal>().unwrap().cmp_value(b.parse().unwrap()), order, "{a} {b}");
        }
    }
}
