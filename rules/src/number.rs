//! Exact numbers for figures that decide: rationals, read from decimal text, rounded once on output.
//!
//! Nothing here is binary floating point. 44/12 stays a fraction; a difference that was split in time is cut to
//! [`KEPT`] decimals, which is more than the 28 significant digits that figures are kept with.
//!
//! Nearly all numerators and denominators fit 128 bits and are computed there; what does not goes on in big integers, with
//! the same result.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};
use std::str::FromStr;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Signed as _, ToPrimitive as _, Zero as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimals that [`Number::kept`] leaves.
pub const KEPT: u32 = 30;
/// Most digits and largest exponent of a text that is read; anything longer is no measured or declared figure.
const TEXT_MAX: usize = 64;
const EXPONENT_MAX: u32 = 60;
/// Decimals of which a power of ten fits 128 bits.
const SMALL_DECIMALS: u32 = 38;

/// An exact number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Number(Fraction);

/// Lowest terms, denominator above 0; `Big` only where `Small` has no room, so that equal numbers look the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Fraction {
    Small(i128, i128),
    Big(Box<BigRational>),
}

/// Why a text is no [`Number`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a decimal number such as 12.5, -3 or 1e-3")]
pub struct NumberError(pub String);

impl Number {
    /// 0.
    pub const fn zero() -> Self {
        Self(Fraction::Small(0, 1))
    }

    /// 1.
    pub const fn one() -> Self {
        Self(Fraction::Small(1, 1))
    }

    /// `mantissa / 10^decimals`.
    pub fn decimal(mantissa: i128, decimals: u32) -> Self {
        match small_power(decimals) {
            Some(power) if mantissa != i128::MIN => Self(lowest(mantissa, power)),
            _ => Self::big(BigRational::new(BigInt::from(mantissa), power_of_ten(decimals))),
        }
    }

    /// `numerator / denominator`; `None` for a denominator of 0.
    pub fn fraction(numerator: i128, denominator: i128) -> Option<Self> {
        (denominator != 0).then(|| Self::big(BigRational::new(BigInt::from(numerator), BigInt::from(denominator))))
    }

    /// Whether it is 0.
    pub fn is_zero(&self) -> bool {
        matches!(self.0, Fraction::Small(0, _))
    }

    /// Whether it is below 0.
    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Fraction::Small(numerator, _) => *numerator < 0,
            Fraction::Big(value) => value.is_negative(),
        }
    }

    /// Whether it is above 0.
    pub fn is_positive(&self) -> bool {
        !self.is_zero() && !self.is_negative()
    }

    /// The exact quotient; `None` for a divisor of 0.
    pub fn over(&self, divisor: &Self) -> Option<Self> {
        let inverse = match &divisor.0 {
            Fraction::Small(0, _) => return None,
            Fraction::Small(numerator, denominator) => Self(Fraction::Small(denominator * numerator.signum(), numerator.abs())),
            Fraction::Big(value) => Self::big(value.recip()),
        };
        Some(self * &inverse)
    }

    /// Itself, or 0 when it is negative.
    #[must_use]
    pub fn at_least_zero(self) -> Self {
        if self.is_negative() { Self::zero() } else { self }
    }

    /// Its distance from 0.
    #[must_use]
    pub fn abs(&self) -> Self {
        if self.is_negative() { -self.clone() } else { self.clone() }
    }

    /// The whole number below or at it.
    #[must_use]
    pub fn floor(&self) -> Self {
        match &self.0 {
            Fraction::Small(numerator, denominator) => Self(Fraction::Small(numerator.div_euclid(*denominator), 1)),
            Fraction::Big(value) => Self::big(value.floor()),
        }
    }

    /// The whole number above or at it.
    #[must_use]
    pub fn ceil(&self) -> Self {
        -(-self.clone()).floor()
    }

    /// Rounded to so many decimals, half to even (GB/T 8170).
    #[must_use]
    pub fn rounded(&self, decimals: u32) -> Self {
        if let Fraction::Small(_, denominator) = self.0
            && small_power(decimals).is_some_and(|power| power % denominator == 0)
        {
            return self.clone();
        }
        let mantissa = self.mantissa(decimals);
        match mantissa.to_i128() {
            Some(mantissa) => Self::decimal(mantissa, decimals),
            None => Self::big(BigRational::new(mantissa, power_of_ten(decimals))),
        }
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
        let mantissa = self.mantissa(decimals);
        let sign = if mantissa.is_negative() { "-" } else { "" };
        let places = usize::try_from(decimals).unwrap_or(usize::MAX);
        let digits = mantissa.abs().to_string();
        let padded = format!("{digits:0>width$}", width = places.saturating_add(1));
        let (whole, part) = padded.split_at(padded.len().saturating_sub(places));
        if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
    }

    /// `self * 10^decimals`, rounded half to even.
    fn mantissa(&self, decimals: u32) -> BigInt {
        if let Fraction::Small(numerator, denominator) = self.0
            && let Some(power) = small_power(decimals)
            && power % denominator == 0
            && let Some(mantissa) = numerator.checked_mul(power / denominator)
        {
            return BigInt::from(mantissa);
        }
        let value = self.rational();
        let numerator = value.numer() * power_of_ten(decimals);
        let denominator = value.denom();
        let truncated = &numerator / denominator;
        let floor = if numerator.is_negative() && &truncated * denominator != numerator { truncated - BigInt::one() } else { truncated };
        let rest = (numerator - &floor * denominator) * BigInt::from(2);
        let up = match rest.cmp(denominator) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => (&floor % BigInt::from(2)) != BigInt::zero(),
        };
        if up { floor + BigInt::one() } else { floor }
    }

    /// In lowest terms already, as big integers.
    fn rational(&self) -> BigRational {
        match &self.0 {
            Fraction::Small(numerator, denominator) => BigRational::new_raw(BigInt::from(*numerator), BigInt::from(*denominator)),
            Fraction::Big(value) => (**value).clone(),
        }
    }

    /// Of a rational in lowest terms.
    fn big(value: BigRational) -> Self {
        match (value.numer().to_i128(), value.denom().to_i128()) {
            (Some(numerator), Some(denominator)) if numerator != i128::MIN => Self(Fraction::Small(numerator, denominator)),
            _ => Self(Fraction::Big(Box::new(value))),
        }
    }

    fn plus(&self, other: &Self, sign: i128) -> Self {
        if let (Fraction::Small(a, b), Fraction::Small(c, d)) = (&self.0, &other.0)
            && let Some(sum) = small_sum(*a, *b, c * sign, *d)
        {
            return Self(sum);
        }
        let (one, other) = (self.rational(), other.rational());
        Self::big(if sign < 0 { one - other } else { one + other })
    }

    fn times(&self, other: &Self) -> Self {
        if let (Fraction::Small(a, b), Fraction::Small(c, d)) = (&self.0, &other.0)
            && let Some(product) = small_product(*a, *b, *c, *d)
        {
            return Self(product);
        }
        Self::big(self.rational() * other.rational())
    }
}

/// `a/b + c/d` where it fits; all in lowest terms.
fn small_sum(a: i128, b: i128, c: i128, d: i128) -> Option<Fraction> {
    if b == d {
        return lowest_unless_min(a.checked_add(c)?, b);
    }
    let common = gcd(b, d);
    let (b_part, d_part) = (b / common, d / common);
    let numerator = a.checked_mul(d_part)?.checked_add(c.checked_mul(b_part)?)?;
    // Whatever still divides both divides what the denominators have in common.
    let shared = if numerator == 0 { return Some(Fraction::Small(0, 1)) } else { gcd(numerator, common) };
    let numerator = numerator / shared;
    (numerator != i128::MIN).then_some(())?;
    Some(Fraction::Small(numerator, (common / shared).checked_mul(b_part)?.checked_mul(d_part)?))
}

/// `a/b * c/d` where it fits; all in lowest terms.
fn small_product(a: i128, b: i128, c: i128, d: i128) -> Option<Fraction> {
    if a == 0 || c == 0 {
        return Some(Fraction::Small(0, 1));
    }
    let (one, other) = (gcd(a, d), gcd(c, b));
    let numerator = (a / one).checked_mul(c / other).filter(|numerator| *numerator != i128::MIN)?;
    Some(Fraction::Small(numerator, (b / other).checked_mul(d / one)?))
}

fn lowest_unless_min(numerator: i128, denominator: i128) -> Option<Fraction> {
    (numerator != i128::MIN).then(|| lowest(numerator, denominator))
}

/// In lowest terms; the numerator is not the least there is, the denominator above 0.
fn lowest(numerator: i128, denominator: i128) -> Fraction {
    if denominator == 1 {
        return Fraction::Small(numerator, 1);
    }
    let common = gcd(numerator, denominator);
    Fraction::Small(numerator / common, denominator / common)
}

/// The greatest common divisor; of 0 and a denominator the denominator.
fn gcd(numerator: i128, denominator: i128) -> i128 {
    let (mut a, mut b) = (numerator.unsigned_abs(), denominator.unsigned_abs());
    while b != 0 {
        if let (Ok(a), Ok(b)) = (u64::try_from(a), u64::try_from(b)) {
            return i128::from(gcd_u64(a, b));
        }
        (a, b) = (b, a % b);
    }
    i128::try_from(a).unwrap_or(1)
}

const fn gcd_u64(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// 10 to a power, where it fits.
const fn small_power(exponent: u32) -> Option<i128> {
    if exponent <= SMALL_DECIMALS { 10i128.checked_pow(exponent) } else { None }
}

fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Fraction::Small(a, b), Fraction::Small(c, d)) = (&self.0, &other.0)
            && let (Some(one), Some(other)) = (a.checked_mul(*d), c.checked_mul(*b))
        {
            return one.cmp(&other);
        }
        self.rational().cmp(&other.rational())
    }
}

impl Default for Number {
    fn default() -> Self {
        Self::zero()
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(Fraction::Small(i128::from(value), 1))
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
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) || exponent.unsigned_abs() > EXPONENT_MAX {
            return Err(error());
        }
        let decimals = i64::try_from(part.len()).map_err(|_| error())?.saturating_sub(i64::from(exponent));
        if let (Ok(mantissa), Ok(decimals)) = (all.parse::<i128>(), u32::try_from(decimals)) {
            return Ok(Self::decimal(if negative { -mantissa } else { mantissa }, decimals));
        }
        let mantissa: BigInt = all.parse().map_err(|_| error())?;
        let power = power_of_ten(u32::try_from(decimals.unsigned_abs()).map_err(|_| error())?);
        let value = if decimals >= 0 { BigRational::new(mantissa, power) } else { BigRational::from_integer(mantissa * power) };
        Ok(Self::big(if negative { -value } else { value }))
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
    ($($operation:ident $method:ident $by:expr),*) => {$(
        impl $operation for Number {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                $by(&self, &other)
            }
        }
        impl $operation<&Self> for Number {
            type Output = Self;
            fn $method(self, other: &Self) -> Self {
                $by(&self, other)
            }
        }
        impl $operation for &Number {
            type Output = Number;
            fn $method(self, other: Self) -> Number {
                $by(self, other)
            }
        }
    )*};
}
arithmetic!(Add add |a: &Number, b: &Number| a.plus(b, 1), Sub sub |a: &Number, b: &Number| a.plus(b, -1), Mul mul Number::times);

impl Neg for Number {
    type Output = Self;
    fn neg(self) -> Self {
        match self.0 {
            Fraction::Small(numerator, denominator) => Self(Fraction::Small(-numerator, denominator)),
            Fraction::Big(value) => Self::big(-*value),
        }
    }
}

impl AddAssign<&Self> for Number {
    fn add_assign(&mut self, other: &Self) {
        *self = self.plus(other, 1);
    }
}

impl SubAssign<&Self> for Number {
    fn sub_assign(&mut self, other: &Self) {
        *self = self.plus(other, -1);
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
        for text in ["", "-", ".", "1,5", "0x10", "1e", "1e999", "1e-2147483648", "nan", "inf", " 1", "一"] {
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

        /// Whatever has room in 128 bits is what big integers say, and looks the same however it was made.
        #[test]
        fn small_and_big_agree(parts in proptest::array::uniform4(prop_oneof![any::<i128>(), (-1_000_000i128..1_000_000), Just(i128::MAX), Just(i128::MIN), Just(0)]), decimals in 0u32..45) {
            let [a, b, c, d] = parts;
            let (Some(one), Some(other)) = (Number::fraction(a, b), Number::fraction(c, d)) else { return Ok(()) };
            let (x, y) = (BigRational::new(a.into(), b.into()), BigRational::new(c.into(), d.into()));
            let same = |ours: Number, theirs: BigRational| -> Result<(), TestCaseError> {
                prop_assert_eq!(ours.rational(), theirs.clone());
                prop_assert_eq!(ours, Number::big(theirs));
                Ok(())
            };
            same(&one + &other, &x + &y)?;
            same(&one - &other, &x - &y)?;
            same(&one * &other, &x * &y)?;
            same(-one.clone(), -x.clone())?;
            same(one.abs(), x.abs())?;
            same(one.floor(), x.floor())?;
            same(one.ceil(), x.ceil())?;
            if let Some(quotient) = one.over(&other) {
                same(quotient, &x / &y)?;
            }
            prop_assert_eq!(one.cmp(&other), x.cmp(&y));
            same(Number::decimal(a, decimals), BigRational::new(a.into(), power_of_ten(decimals)))?;
            prop_assert_eq!(one.rounded(decimals), one.fixed(decimals).parse::<Number>().unwrap_or(one.rounded(decimals)));
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
