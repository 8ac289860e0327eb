//! Exact numbers for figures that decide: rationals, read from decimal text, rounded once on output.
//!
//! Nothing here is binary floating point. 44/12 stays a fraction; a difference that was split in time is cut to
//! [`KEPT`] decimals, which is more than the 28 significant digits that figures are kept with.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};
use std::str::FromStr;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Signed as _, Zero as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimals that [`Number::kept`] leaves.
pub const KEPT: u32 = 30;
/// Most digits and largest exponent of a text that is read; anything longer is no measured or declared figure.
const TEXT_MAX: usize = 64;
const EXPONENT_MAX: i32 = 60;

/// An exact number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(BigRational);

/// Why a text is no [`Number`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a decimal number such as 12.5, -3 or 1e-3")]
pub struct NumberError(pub String);

impl Number {
    /// 0.
    pub fn zero() -> Self {
        Self(BigRational::zero())
    }

    /// 1.
    pub fn one() -> Self {
        Self(BigRational::one())
    }

    /// `mantissa / 10^decimals`.
    pub fn decimal(mantissa: i128, decimals: u32) -> Self {
        Self(BigRational::new(BigInt::from(mantissa), power_of_ten(decimals)))
    }

    /// `numerator / denominator`; `None` for a denominator of 0.
    pub fn fraction(numerator: i128, denominator: i128) -> Option<Self> {
        (denominator != 0).then(|| Self(BigRational::new(BigInt::from(numerator), BigInt::from(denominator))))
    }

    /// Whether it is 0.
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Whether it is below 0.
    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    /// Whether it is above 0.
    pub fn is_positive(&self) -> bool {
        self.0.is_positive()
    }

    /// The exact quotient; `None` for a divisor of 0.
    pub fn over(&self, divisor: &Self) -> Option<Self> {
        (!divisor.0.is_zero()).then(|| Self(&self.0 / &divisor.0))
    }

    /// Itself, or 0 when it is negative.
    #[must_use]
    pub fn at_least_zero(self) -> Self {
        if self.is_negative() { Self::zero() } else { self }
    }

    /// Its distance from 0.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self(self.0.abs())
    }

    /// The whole number below or at it.
    #[must_use]
    pub fn floor(&self) -> Self {
        Self(self.0.floor())
    }

    /// The whole number above or at it.
    #[must_use]
    pub fn ceil(&self) -> Self {
        Self(self.0.ceil())
    }

    /// Rounded to so many decimals, half to even (GB/T 8170).
    #[must_use]
    pub fn rounded(&self, decimals: u32) -> Self {
        let scale = power_of_ten(decimals);
        Self(BigRational::new(self.mantissa(&scale), scale))
    }

    /// Cut to [`KEPT`] decimals, half to even: for quotients that are summed up many times, whose exact denominators
    /// would grow without end. A number of fewer decimals stays as it is.
    #[must_use]
    pub fn kept(&self) -> Self {
        self.rounded(KEPT)
    }

    /// The nearest float, for pictures and series only.
    pub fn to_f64(&self) -> f64 {
        self.text(KEPT).parse().unwrap_or(f64::NAN)
    }

    /// As text with at most so many decimals, rounded half to even, without trailing zeros.
    pub fn text(&self, decimals: u32) -> String {
        let fixed = self.fixed(decimals);
        if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.').to_owned() } else { fixed }
    }

    /// As text with exactly so many decimals, rounded half to even. Never `-0`.
    pub fn fixed(&self, decimals: u32) -> String {
        let mantissa = self.mantissa(&power_of_ten(decimals));
        let sign = if mantissa.is_negative() { "-" } else { "" };
        let places = usize::try_from(decimals).unwrap_or(usize::MAX);
        let digits = mantissa.abs().to_string();
        let padded = format!("{digits:0>width$}", width = places.saturating_add(1));
        let (whole, part) = padded.split_at(padded.len().saturating_sub(places));
        if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
    }

    /// `self * scale`, rounded half to even.
    fn mantissa(&self, scale: &BigInt) -> BigInt {
        let scaled = &self.0 * BigRational::from_integer(scale.clone());
        let floor = scaled.floor().to_integer();
        let rest = (&scaled - BigRational::from_integer(floor.clone())) * BigRational::from_integer(BigInt::from(2));
        let up = match rest.cmp(&BigRational::one()) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => (&floor % BigInt::from(2)) != BigInt::zero(),
        };
        if up { floor + BigInt::one() } else { floor }
    }
}

fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

impl Default for Number {
    fn default() -> Self {
        Self::zero()
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(BigRational::from_integer(BigInt::from(value)))
    }
}

impl fmt::Display for Number {
    /// Plain decimal digits, at most [`KEPT`] decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(KEPT))
    }
}

impl FromStr for Number {
    type Err = NumberError;

    /// Reads `-12.5`, `+3`, `.5`, `1e-3`.
    fn from_str(text: &str) -> Result<Self, NumberError> {
        let error = || NumberError(text.chars().take(TEXT_MAX).collect());
        if text.len() > TEXT_MAX {
            return Err(error());
        }
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().map_err(|_| error())?),
            None => (text, 0),
        };
        let (negative, digits) = match digits.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, digits.strip_prefix('+').unwrap_or(digits)),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{whole}{part}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) || exponent.abs() > EXPONENT_MAX {
            return Err(error());
        }
        let mantissa: BigInt = all.parse().map_err(|_| error())?;
        let decimals = i64::try_from(part.len()).map_err(|_| error())?.saturating_sub(i64::from(exponent));
        let power = power_of_ten(u32::try_from(decimals.unsigned_abs()).map_err(|_| error())?);
        let value = if decimals >= 0 { BigRational::new(mantissa, power) } else { BigRational::from_integer(mantissa * power) };
        Ok(Self(if negative { -value } else { value }))
    }
}

impl Serialize for Number {
    /// As a decimal string of at most [`KEPT`] decimals.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Number {
    /// From a string, or from a number by its shortest decimal: `"12.5"`, `12.5`, `12`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number, or one as text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number::from(value))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number::decimal(i128::from(value), 0))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Number, E> {
                // Its shortest decimal is what was written, up to 15 digits; longer numbers are given as text.
                value.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Number {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A decimal number, or one as text where all of more than 15 digits count.",
            "type": ["number", "string"],
            "pattern": "^[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?$",
        })
    }
}

macro_rules! arithmetic {
    ($($operation:ident $method:ident),*) => {$(
        impl $operation for Number {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self(self.0.$method(other.0))
            }
        }
        impl $operation<&Self> for Number {
            type Output = Self;
            fn $method(self, other: &Self) -> Self {
                Self(self.0.$method(&other.0))
            }
        }
        impl $operation for &Number {
            type Output = Number;
            fn $method(self, other: Self) -> Number {
                Number((&self.0).$method(&other.0))
            }
        }
    )*};
}
arithmetic!(Add add, Sub sub, Mul mul);

impl Neg for Number {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign<&Self> for Number {
    fn add_assign(&mut self, other: &Self) {
        self.0 += &other.0;
    }
}

impl SubAssign<&Self> for Number {
    fn sub_assign(&mut self, other: &Self) {
        self.0 -= &other.0;
    }
}

impl Sum for Number {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::zero(), Add::add)
    }
}

impl<'a> Sum<&'a Self> for Number {
    fn sum<I: Iterator<Item = &'a Self>>(numbers: I) -> Self {
        numbers.fold(Self::zero(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn texts_are_read_exactly() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("12.50", "12.5"),
            ("+3", "3"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e-3", "0.001"),
            ("1.25E2", "125"),
            ("12345678901234567890.123456789", "12345678901234567890.123456789"),
        ] {
            assert_eq!(number(text).to_string(), shown, "{text}");
        }
        for text in ["", "-", ".", "1,5", "0x10", "1e", "1e999", "nan", "inf", " 1", "一"] {
            assert!(text.parse::<Number>().is_err(), "{text}");
        }
    }

    #[test]
    fn rounding_is_half_to_even() {
        for (text, decimals, shown) in [
            ("0.5", 0, "0"),
            ("1.5", 0, "2"),
            ("2.5", 0, "2"),
            ("-0.5", 0, "0"),
            ("-1.5", 0, "-2"),
            ("0.0005", 3, "0.000"),
            ("0.0015", 3, "0.002"),
            ("0.00050000000000000000001", 3, "0.001"),
            ("1.2", 3, "1.200"),
        ] {
            assert_eq!(number(text).fixed(decimals), shown, "{text} to {decimals}");
        }
    }

    #[test]
    fn fractions_stay_exact() {
        let carbon = Number::fraction(44, 12).unwrap();
        assert_eq!(carbon.clone() * Number::from(3), Number::from(11));
        assert_eq!(carbon.text(4), "3.6667");
        assert_eq!(Number::fraction(1, 0), None);
        assert_eq!(Number::one().over(&Number::zero()), None);
        assert_eq!(Number::one().over(&Number::from(3)).unwrap().kept().to_string(), "0.333333333333333333333333333333");
    }

    #[test]
    fn json_takes_numbers_and_texts() {
        let read: Vec<Number> = serde_json::from_str(r#"[0.1, 3, -7, "0.12345678901234567890"]"#).unwrap();
        let shown: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["0.1", "3", "-7", "0.1234567890123456789"]);
        assert_eq!(serde_json::to_string(&read[0]).unwrap(), "\"0.1\"");
        assert!(serde_json::from_str::<Number>("true").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = text.parse::<Number>();
        }

        #[test]
        fn a_decimal_is_what_its_text_says(mantissa in any::<i64>(), decimals in 0u32..12) {
            let value = Number::decimal(i128::from(mantissa), decimals);
            prop_assert_eq!(value.to_string().parse::<Number>().unwrap(), value.clone());
            prop_assert_eq!(value.kept(), value);
        }

        #[test]
        fn sums_do_not_depend_on_order(mut values in proptest::collection::vec(any::<i32>(), 0..20)) {
            let sum = |values: &[i32]| -> Number { values.iter().map(|value| Number::decimal(i128::from(*value), 7)).sum() };
            let before = sum(&values);
            values.reverse();
            prop_assert_eq!(sum(&values), before);
        }
    }
}
