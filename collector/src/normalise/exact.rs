//! Exact arithmetic behind the scaling: small rationals, and natural numbers of any length for the rare rest.
//!
//! Nothing here rounds except [`ratio_half_even`], which rounds once.

use std::cmp::Ordering;

use crate::model::Decimal;

/// A fraction in lowest terms, denominator above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    pub(super) numerator: i128,
    pub(super) denominator: i128,
}

impl Ratio {
    /// The reduced fraction; `None` for a denominator below 1.
    pub(super) fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator < 1 {
            return None;
        }
        let divisor = i128::try_from(gcd(numerator.unsigned_abs(), denominator.unsigned_abs())).ok()?;
        Some(Self { numerator: numerator.checked_div(divisor)?, denominator: denominator.checked_div(divisor)? })
    }

    /// `number * 10^shift`; `None` when it does not fit.
    pub(super) fn of_decimal(number: Decimal, shift: u8) -> Option<Self> {
        let number = number.normalised();
        let exponent = i32::from(number.exponent).checked_add(i32::from(shift))?;
        let power = 10i128.checked_pow(exponent.unsigned_abs());
        match (number.mantissa, exponent >= 0) {
            (0, _) => Self::new(0, 1),
            (mantissa, true) => Self::new(i128::from(mantissa).checked_mul(power?)?, 1),
            (mantissa, false) => Self::new(i128::from(mantissa), power?),
        }
    }

    pub(super) fn times(self, other: Self) -> Option<Self> {
        // Cross-reduced first, so that only a result that is too large itself fails.
        let left = Self::new(self.numerator, other.denominator)?;
        let right = Self::new(other.numerator, self.denominator)?;
        Self::new(left.numerator.checked_mul(right.numerator)?, left.denominator.checked_mul(right.denominator)?)
    }

    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Self::new(left.checked_add(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    /// `-self`.
    pub(super) fn negated(self) -> Option<Self> {
        Some(Self { numerator: self.numerator.checked_neg()?, denominator: self.denominator })
    }

    /// `1 / self`; `None` for 0.
    pub(super) fn inverse(self) -> Option<Self> {
        if self.numerator < 0 {
            return Self::new(self.denominator.checked_neg()?, self.numerator.checked_neg()?);
        }
        Self::new(self.denominator, self.numerator)
    }

    /// Largest whole number not above.
    pub(super) fn floor(self) -> i128 {
        self.numerator.div_euclid(self.denominator)
    }

    /// Smallest whole number not below.
    pub(super) fn ceil(self) -> i128 {
        self.floor().saturating_add(i128::from(self.denominator != 1))
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    a.max(1)
}

/// `(raw * 10^exponent * factor + summand) / divisor` rounded half to even, whatever the size of what lies between.
///
/// `None` when the result does not fit an `i64`. Takes microseconds: the fast paths are in the caller.
pub(super) fn ratio_half_even(raw: i64, exponent: i32, factor: i128, summand: i128, divisor: i128) -> Option<i64> {
    let power = exponent.unsigned_abs();
    let (up, down) = if exponent >= 0 { (power, 0) } else { (0, power) };
    let product = Natural::new(factor.unsigned_abs()).times(raw.unsigned_abs()).times_ten_to(up);
    let product_negative = (raw < 0) != (factor < 0);
    let summand_size = Natural::new(summand.unsigned_abs()).times_ten_to(down);
    let divisor = Natural::new(divisor.unsigned_abs()).times_ten_to(down);
    let (size, negative) = if product_negative == (summand < 0) {
        (product.plus(&summand_size), product_negative)
    } else if product.compare(&summand_size) == Ordering::Less {
        (summand_size.minus(&product), summand < 0)
    } else {
        (product.minus(&summand_size), product_negative)
    };
    // Half to even is symmetric about 0.
    let rounded = i128::from(size.quotient_half_even(&divisor)?);
    i64::try_from(if negative { rounded.checked_neg()? } else { rounded }).ok()
}

/// A natural number: 32-bit digits, lowest first, no leading zeros.
#[derive(Clone, Debug)]
struct Natural(Vec<u32>);

impl Natural {
    fn new(mut value: u128) -> Self {
        let mut digits = Vec::new();
        while value != 0 {
            digits.push(low_digit(value));
            value >>= 32;
        }
        Self(digits)
    }

    fn times(&self, factor: u64) -> Self {
        let mut digits = Vec::with_capacity(self.0.len().saturating_add(2));
        let mut carry: u128 = 0;
        for &digit in &self.0 {
            // Below 2^96 + 2^64: never saturates.
            carry = u128::from(digit).saturating_mul(u128::from(factor)).saturating_add(carry);
            digits.push(low_digit(carry));
            carry >>= 32;
        }
        while carry != 0 {
            digits.push(low_digit(carry));
            carry >>= 32;
        }
        Self(digits).trimmed()
    }

    fn times_ten_to(mut self, mut power: u32) -> Self {
        while power > 0 {
            let step = power.min(18);
            self = self.times(10u64.saturating_pow(step));
            power = power.saturating_sub(step);
        }
        self
    }

    fn plus(&self, other: &Self) -> Self {
        let mut digits = Vec::with_capacity(self.0.len().max(other.0.len()).saturating_add(1));
        let mut carry: u64 = 0;
        for position in 0..self.0.len().max(other.0.len()) {
            carry = carry.saturating_add(self.digit(position)).saturating_add(other.digit(position));
            digits.push(low_digit(u128::from(carry)));
            carry >>= 32;
        }
        digits.push(low_digit(u128::from(carry)));
        Self(digits).trimmed()
    }

    /// `self - other`, for `other` not above `self`.
    fn minus(&self, other: &Self) -> Self {
        let mut digits = Vec::with_capacity(self.0.len());
        let mut borrow: u64 = 0;
        for position in 0..self.0.len() {
            let lent = self.digit(position).saturating_add(1 << 32);
            let rest = lent.saturating_sub(other.digit(position)).saturating_sub(borrow);
            digits.push(low_digit(u128::from(rest)));
            borrow = u64::from(rest >> 32 == 0);
        }
        Self(digits).trimmed()
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `self / divisor` rounded half to even; `None` when that is 2^64 or more.
    fn quotient_half_even(&self, divisor: &Self) -> Option<u64> {
        let mut quotient: u64 = 0;
        for bit in (0..64).rev() {
            let attempt = quotient | (1u64 << bit);
            if divisor.times(attempt).compare(self) != Ordering::Greater {
                quotient = attempt;
            }
        }
        let rest = self.minus(&divisor.times(quotient));
        if rest.compare(divisor) != Ordering::Less {
            return None;
        }
        match rest.times(2).compare(divisor) {
            Ordering::Less => Some(quotient),
            Ordering::Equal if quotient & 1 == 0 => Some(quotient),
            _ => quotient.checked_add(1),
        }
    }

    fn digit(&self, position: usize) -> u64 {
        self.0.get(position).copied().map_or(0, u64::from)
    }

    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }
}

/// The lowest 32 bits.
fn low_digit(value: u128) -> u32 {
    u32::try_from(value & u128::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_division_rounds_once() {
        for (raw, exponent, factor, summand, divisor, expected) in [
            (5, 0, 1, 0, 2, Some(2)),
            (7, 0, 1, 0, 2, Some(4)),
            (-5, 0, 1, 0, 2, Some(-2)),
            (5, -1, 1, 0, 1, Some(0)),
            (15, -1, 1, 0, 1, Some(2)),
            (1, 30, 1, 0, 10i128.pow(30), Some(1)),
            (25, 100, 1, 0, 10, None),
            (1, -300, 1, 1, 2, Some(1)),
            (-1, -300, 1, 1, 2, Some(0)),
            (i64::MIN, 0, 1, 0, 1, Some(i64::MIN)),
            (i64::MIN, 0, -1, 0, 1, None),
            (i64::MIN, 0, -1, -1, 1, Some(i64::MAX)),
            (0, 120, 3, 0, 7, Some(0)),
            (i64::MAX, 0, i128::MAX, 0, i128::MAX, Some(i64::MAX)),
        ] {
            assert_eq!(
                ratio_half_even(raw, exponent, factor, summand, divisor),
                expected,
                "{raw}e{exponent} * {factor} + {summand} / {divisor}"
            );
        }
    }

    #[test]
    fn ratios_reduce_and_round() {
        let ratio = |numerator, denominator| Ratio::new(numerator, denominator).unwrap();
        assert_eq!(ratio(6, 4), ratio(3, 2));
        assert_eq!(ratio(1, 3).times(ratio(3, 7)), Some(ratio(1, 7)));
        assert_eq!(ratio(1, 3).plus(ratio(1, 6)), Some(ratio(1, 2)));
        assert_eq!((ratio(-3, 2).floor(), ratio(-3, 2).ceil(), ratio(4, 2).ceil()), (-2, -1, 2));
        assert_eq!(Ratio::of_decimal(Decimal::new(-125, -3), 2), Some(ratio(-25, 2)));
        assert_eq!(Ratio::of_decimal(Decimal::new(1, 127), 0), None);
    }
}
