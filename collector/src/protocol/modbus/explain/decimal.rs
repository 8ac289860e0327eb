//! Decimal numbers of any length, exact: what a float's shortest text times a scale plus an offset is.
//!
//! Only for what is shown. The record's arithmetic is in `normalise`, which rounds to a point's decimals.

use std::cmp::Ordering;
use std::fmt;

/// Longest text that is read, in bytes.
const TEXT_LENGTH_MAX: usize = 400;
/// Largest power of ten that is read, either way; bounds the length of all that is computed.
const POWER_MAX: i32 = 400;

/// A number: decimal digits, the lowest first and the highest not 0, times a power of ten. No digits: 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exact {
    negative: bool,
    digits: Vec<u8>,
    exponent: i32,
}

impl Exact {
    /// Reads `-12.34e5`; `None` for what is no such number, and for more digits or a larger power than anyone needs.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_LENGTH_MAX {
            return None;
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let unsigned = power.strip_prefix(['-', '+']).unwrap_or(power);
        if !is_number(whole) || !is_number(fraction) || !is_number(unsigned) || whole.len().saturating_add(fraction.len()) == 0 {
            return None;
        }
        let power: i32 = power.parse().ok().filter(|power: &i32| power.abs() <= POWER_MAX)?;
        let digits = fraction.bytes().rev().chain(whole.bytes().rev()).map(|byte| byte & 15).collect();
        let decimals = i32::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits, exponent: power.saturating_sub(decimals) }.trimmed())
    }

    /// A whole number.
    pub fn whole(value: i128) -> Self {
        Self::parse(&value.to_string()).unwrap_or_default()
    }

    /// The shortest decimal that reads back as the same 32-bit float. Finite.
    pub fn of_f32(value: f32) -> Self {
        Self::parse(&format!("{value:e}")).unwrap_or_default()
    }

    /// The shortest decimal that reads back as the same 64-bit float. Finite.
    pub fn of_f64(value: f64) -> Self {
        Self::parse(&format!("{value:e}")).unwrap_or_default()
    }

    /// Times a power of ten.
    pub fn shifted(mut self, power: i8) -> Self {
        self.exponent = self.exponent.saturating_add(i32::from(power));
        self
    }

    /// The product.
    pub fn times(&self, other: &Self) -> Self {
        let mut digits = vec![0u8; self.digits.len().saturating_add(other.digits.len())];
        for (place, &a) in self.digits.iter().enumerate() {
            let mut carry = 0u8;
            for (index, slot) in digits.iter_mut().skip(place).enumerate() {
                let b = other.digits.get(index).copied().unwrap_or(0);
                // 9 + 9 * 9 + 9 at most.
                let sum = slot.saturating_add(a.saturating_mul(b)).saturating_add(carry);
                *slot = sum % 10;
                carry = sum / 10;
            }
        }
        let exponent = self.exponent.saturating_add(other.exponent);
        Self { negative: self.negative != other.negative, digits, exponent }.trimmed()
    }

    /// The sum.
    pub fn plus(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        let (a, b) = (self.padded(exponent), other.padded(exponent));
        let same_sign = self.negative == other.negative;
        let (large, small, negative) = match compare(&a, &b) {
            Ordering::Less => (b, a, other.negative),
            _ => (a, b, self.negative),
        };
        let mut digits = Vec::with_capacity(large.len().saturating_add(1));
        let mut carry = false;
        for (index, &a) in large.iter().enumerate() {
            let b = small.get(index).copied().unwrap_or(0).saturating_add(u8::from(carry));
            if same_sign {
                let sum = a.saturating_add(b);
                digits.push(sum % 10);
                carry = sum > 9;
            } else {
                carry = a < b;
                digits.push(if carry { a.saturating_add(10).saturating_sub(b) } else { a.saturating_sub(b) });
            }
        }
        if carry {
            digits.push(1);
        }
        Self { negative, digits, exponent }.trimmed()
    }

    /// Rounded half to even to so many significant digits, but never before the decimal point.
    pub fn rounded(&self, significant: usize) -> Self {
        let beyond = self.digits.len().saturating_sub(significant);
        let decimals = usize::try_from(self.exponent.saturating_neg()).unwrap_or(0);
        let cut = beyond.min(decimals);
        let (Some((lost, kept)), Some(&highest)) = (self.digits.split_at_checked(cut), self.digits.get(cut.saturating_sub(1))) else {
            return self.clone();
        };
        let below = lost.iter().rev().skip(1).any(|digit| *digit != 0);
        let is_odd = kept.first().is_some_and(|digit| digit % 2 == 1);
        let up = !lost.is_empty() && (highest > 5 || (highest == 5 && (below || is_odd)));
        let exponent = self.exponent.saturating_add(i32::try_from(cut).unwrap_or(0));
        let kept = Self { negative: self.negative, digits: kept.to_vec(), exponent };
        let step = Self { negative: self.negative, digits: vec![1], exponent };
        if up { kept.plus(&step) } else { kept.trimmed() }
    }

    /// The digits it has with a smaller exponent.
    fn padded(&self, exponent: i32) -> Vec<u8> {
        if self.digits.is_empty() {
            return Vec::new();
        }
        let zeros = usize::try_from(self.exponent.saturating_sub(exponent)).unwrap_or(0);
        std::iter::repeat_n(0, zeros).chain(self.digits.iter().copied()).collect()
    }

    /// The same without zeros at either end; 0 without a sign.
    fn trimmed(mut self) -> Self {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        self.exponent = self.exponent.saturating_add(i32::try_from(zeros).unwrap_or(0));
        if self.digits.is_empty() { Self::default() } else { self }
    }

    /// With a power of ten where the plain text is long: `3.4028235e38`. For tables that people read.
    pub fn short(&self) -> String {
        let plain = self.to_string();
        if plain.len() <= 20 {
            return plain;
        }
        let digits: String = self.highest_first().collect();
        let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
        let power = i32::try_from(rest.len()).unwrap_or(0).saturating_add(self.exponent);
        let (sign, point) = (if self.negative { "-" } else { "" }, if rest.is_empty() { "" } else { "." });
        format!("{sign}{first}{point}{rest}e{power}")
    }

    fn highest_first(&self) -> impl Iterator<Item = char> {
        self.digits.iter().rev().map(|digit| char::from(b'0'.saturating_add(*digit)))
    }
}

fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.iter().rev().cmp(b.iter().rev()))
}

impl fmt::Display for Exact {
    /// Plain, with no zeros that say nothing: `-12.34`, `1500`, `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        let sign = if self.negative { "-" } else { "" };
        let digits: String = self.highest_first().collect();
        let shift = usize::try_from(self.exponent.unsigned_abs()).unwrap_or(0);
        if self.exponent >= 0 {
            return write!(f, "{sign}{digits}{}", "0".repeat(shift));
        }
        let padded = format!("{digits:0>width$}", width = shift.saturating_add(1));
        let (whole, fraction) = padded.split_at_checked(padded.len().saturating_sub(shift)).unwrap_or((&padded, ""));
        write!(f, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(text: &str) -> Exact {
        Exact::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn numbers_are_read_and_written() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("0e99", "0"),
            ("007", "7"),
            ("+1.50", "1.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-12.34e5", "-1234000"),
            ("1e-3", "0.001"),
            ("1E+3", "1000"),
            ("18446744073709551615", "18446744073709551615"),
            ("-0.000000000000000000000000000001", "-0.000000000000000000000000000001"),
        ] {
            assert_eq!(exact(text).to_string(), shown, "{text}");
        }
        for text in ["", "-", ".", "1e", "e5", "1.2.3", "0x10", "NaN", "1 ", "--1", "1e--1", "1e401", "1e99999999999", "１"] {
            assert_eq!(Exact::parse(text), None, "{text}");
        }
        assert_eq!(Exact::parse(&"1".repeat(401)), None);
        assert_eq!(Exact::of_f32(235.344).to_string(), "235.344");
        assert_eq!(Exact::of_f32(0.1).to_string(), "0.1");
        assert_eq!(Exact::of_f32(-0.0).to_string(), "0");
        assert_eq!(Exact::of_f32(f32::MAX).to_string(), "340282350000000000000000000000000000000");
        assert_eq!(Exact::of_f64(5e-324).to_string().len(), 326);
        assert_eq!((Exact::of_f32(f32::MAX).short(), Exact::of_f64(-1e300).short()), ("3.4028235e38".to_owned(), "-1e300".to_owned()));
        assert_eq!((exact("1500").short(), exact("1e-30").short()), ("1500".to_owned(), "1e-30".to_owned()));
    }

    #[test]
    fn sums_and_products_are_exact() {
        for (a, b, product, sum) in [
            ("3", "0.1", "0.3", "3.1"),
            ("18446744073709551615", "0.001", "18446744073709551.615", "18446744073709551615.001"),
            ("-5", "5", "-25", "0"),
            ("-1", "0.25", "-0.25", "-0.75"),
            ("1", "-0.25", "-0.25", "0.75"),
            ("0", "-0.00001", "0", "-0.00001"),
            ("0", "7", "0", "7"),
            ("99", "1", "99", "100"),
            ("100", "-1", "-100", "99"),
            ("1e30", "1e-5", "10000000000000000000000000", "1000000000000000000000000000000.00001"),
            ("999999999999", "999999999999", "999999999998000000000001", "1999999999998"),
        ] {
            assert_eq!(exact(a).times(&exact(b)).to_string(), product, "{a} * {b}");
            assert_eq!(exact(b).times(&exact(a)).to_string(), product, "{b} * {a}");
            assert_eq!(exact(a).plus(&exact(b)).to_string(), sum, "{a} + {b}");
            assert_eq!(exact(b).plus(&exact(a)).to_string(), sum, "{b} + {a}");
        }
        assert_eq!(exact("123").shifted(-5).to_string(), "0.00123");
        assert_eq!(exact("123").shifted(2).to_string(), "12300");
    }

    #[test]
    fn rounding_spares_whole_numbers() {
        for (text, significant, rounded) in [
            ("235.34396", 6, "235.344"),
            ("235.344", 6, "235.344"),
            ("-0.123456789", 6, "-0.123457"),
            ("16777217", 6, "16777217"),
            ("1234567.5", 6, "1234568"),
            ("1234566.5", 6, "1234566"),
            ("0.0000001234565", 6, "0.000000123456"),
            ("0.00000012345651", 6, "0.000000123457"),
            ("99.99999", 6, "100"),
            ("0", 6, "0"),
            ("1e30", 6, "1000000000000000000000000000000"),
        ] {
            assert_eq!(exact(text).rounded(significant).to_string(), rounded, "{text}");
        }
    }

    proptest! {
        /// As 128-bit integers have it.
        #[test]
        fn whole_numbers_agree_with_integers(a in any::<i64>(), b in any::<i64>()) {
            let (a, b) = (i128::from(a), i128::from(b));
            prop_assert_eq!(Exact::whole(a).times(&Exact::whole(b)).to_string(), (a * b).to_string());
            prop_assert_eq!(Exact::whole(a).plus(&Exact::whole(b)).to_string(), (a + b).to_string());
        }

        /// Every float reads back.
        #[test]
        fn floats_read_back(bits32 in any::<u32>(), bits64 in any::<u64>()) {
            let (short, long) = (f32::from_bits(bits32), f64::from_bits(bits64));
            if short.is_finite() {
                prop_assert_eq!(Exact::of_f32(short).to_string().parse::<f32>().unwrap(), short);
            }
            if long.is_finite() {
                prop_assert_eq!(Exact::of_f64(long).to_string().parse::<f64>().unwrap(), long);
            }
        }

        #[test]
        fn any_text_is_survived(text in "[-+0-9.eE]{0,40}") {
            if let Some(number) = Exact::parse(&text) {
                let plain = number.to_string();
                prop_assert!(plain.len() > TEXT_LENGTH_MAX || Exact::parse(&plain) == Some(number), "{}", plain);
            }
        }
    }
}
