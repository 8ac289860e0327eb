//! Numbers of exactly 30 decimals, for the many steps of a minute: no fraction is ever reduced, so they are fast. Each product and
//! quotient is rounded at the 30th decimal, far below anything that is compared or shown.

use std::sync::LazyLock;

use num_bigint::BigInt;
use num_traits::{Signed as _, Zero as _};

use crate::Number;
use crate::number::KEPT;

static SCALE: LazyLock<BigInt> = LazyLock::new(|| BigInt::from(10).pow(KEPT));
static HALF: LazyLock<BigInt> = LazyLock::new(|| &*SCALE >> 1_u8);
/// 10^15, whose square is the scale.
const ROOT: u64 = 1_000_000_000_000_000;
/// 10^0 to 10^30.
static POWERS: LazyLock<Vec<BigInt>> = LazyLock::new(|| (0..=KEPT).map(|exponent| BigInt::from(10).pow(exponent)).collect());

/// A number times 10^30.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fixed(BigInt);

impl Fixed {
    /// `numerator / (denominator x 10^decimals)`; `None` for a denominator of 0.
    pub(super) fn ratio(numerator: impl Into<BigInt>, denominator: impl Into<BigInt>, decimals: u32) -> Option<Self> {
        let denominator: BigInt = denominator.into();
        let up = KEPT.checked_sub(decimals).and_then(|up| POWERS.get(usize::try_from(up).ok()?));
        match up {
            Some(up) => divide(numerator.into() * up, &denominator).map(Self),
            None => divide(numerator.into(), &(denominator * BigInt::from(10).pow(decimals.saturating_sub(KEPT)))).map(Self),
        }
    }

    /// `mantissa / 10^decimals`.
    pub(super) fn decimal(mantissa: i64, decimals: u32) -> Self {
        match KEPT.checked_sub(decimals).and_then(|up| POWERS.get(usize::try_from(up).ok()?)) {
            Some(up) => Self(BigInt::from(mantissa) * up),
            None => Self::ratio(mantissa, 1, decimals).unwrap_or_default(),
        }
    }

    /// A number, rounded at the 30th decimal.
    pub(super) fn of(number: &Number) -> Self {
        // The text is exact at 30 decimals: its digits are the mantissa.
        let digits = number.fixed(KEPT).replace('.', "");
        Self(digits.parse().unwrap_or_default())
    }

    /// As a number for results.
    pub(super) fn number(&self) -> Number {
        // In groups of 30 digits, which fit an `i128`.
        let (mut rest, mut groups) = (self.0.clone(), Vec::new());
        while !rest.is_zero() {
            groups.push(i128::try_from(&rest % &*SCALE).unwrap_or_default());
            rest /= &*SCALE;
        }
        let group = |(index, group): (usize, i128)| {
            let decimals = u32::try_from(index).unwrap_or(u32::MAX).saturating_sub(1);
            let scaled = (0..decimals).fold(Number::decimal(group, 0), |scaled, _| scaled * Number::decimal(10_i128.pow(KEPT), 0));
            if index == 0 { Number::decimal(group, KEPT) } else { scaled }
        };
        groups.into_iter().enumerate().map(group).sum()
    }

    /// The mean of so many; `None` of none.
    pub(super) fn mean(sum: &Self, count: u32) -> Option<Number> {
        divide(sum.0.clone(), &BigInt::from(count)).map(|mean| Self(mean).number())
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }
}

/// Rounded to the nearest, halves away from 0.
fn divide(numerator: BigInt, denominator: &BigInt) -> Option<BigInt> {
    if denominator.is_zero() {
        return None;
    }
    if denominator.is_negative() {
        return divide(-numerator, &-denominator);
    }
    let half: BigInt = denominator >> 1_u8;
    Some(if numerator.is_negative() { (numerator - half) / denominator } else { (numerator + half) / denominator })
}

/// Divided by 10^30 and rounded as by [`divide`]; in two steps that fit a machine word, which is several times as fast.
fn scaled_down(product: BigInt) -> BigInt {
    let mut scaled = if product.is_negative() { product - &*HALF } else { product + &*HALF };
    scaled /= ROOT;
    scaled /= ROOT;
    scaled
}

/// What the formulae need; exact for [`Number`], at 30 decimals for [`Fixed`].
pub(super) trait Arithmetic: Clone + PartialOrd {
    fn whole(value: i64) -> Self;
    fn plus(&self, other: &Self) -> Self;
    fn minus(&self, other: &Self) -> Self;
    fn times(&self, other: &Self) -> Self;
    /// `None` for a divisor of 0.
    fn divided_by(&self, divisor: &Self) -> Option<Self>;
}

impl Arithmetic for Number {
    fn whole(value: i64) -> Self {
        Self::from(value)
    }
    fn plus(&self, other: &Self) -> Self {
        self + other
    }
    fn minus(&self, other: &Self) -> Self {
        self - other
    }
    fn times(&self, other: &Self) -> Self {
        self * other
    }
    fn divided_by(&self, divisor: &Self) -> Option<Self> {
        self.over(divisor)
    }
}

impl Arithmetic for Fixed {
    fn whole(value: i64) -> Self {
        Self(BigInt::from(value) * &*SCALE)
    }
    fn plus(&self, other: &Self) -> Self {
        Self(&self.0 + &other.0)
    }
    fn minus(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }
    fn times(&self, other: &Self) -> Self {
        Self(scaled_down(&self.0 * &other.0))
    }
    fn divided_by(&self, divisor: &Self) -> Option<Self> {
        divide(&self.0 * &*SCALE, &divisor.0).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thirds_are_cut_at_thirty_decimals() {
        let third = Fixed::ratio(1, 3, 0).unwrap();
        assert_eq!(third.number().to_string(), "0.333333333333333333333333333333");
        assert_eq!(Fixed::ratio(-2, 3, 0).unwrap().number().to_string(), "-0.666666666666666666666666666667");
        assert_eq!(Fixed::ratio(1, 0, 0), None);
        assert_eq!(Fixed::of(&"-12.5".parse().unwrap()).number().to_string(), "-12.5");
        assert_eq!(Fixed::decimal(1, 40).number(), Number::zero());
    }

    proptest! {
        #[test]
        fn the_four_operations_are_those_of_exact_numbers(a in any::<i32>(), b in any::<i32>(), decimals in 0u32..9) {
            let (x, y) = (Fixed::decimal(i64::from(a), decimals), Fixed::decimal(i64::from(b), 3));
            let (exact_x, exact_y) = (Number::decimal(i128::from(a), decimals), Number::decimal(i128::from(b), 3));
            prop_assert_eq!(x.plus(&y).number(), exact_x.plus(&exact_y));
            prop_assert_eq!(x.minus(&y).number(), exact_x.minus(&exact_y));
            prop_assert_eq!(x.times(&y).number(), exact_x.times(&exact_y));
            let (quotient, exact) = (x.divided_by(&y), exact_x.divided_by(&exact_y));
            prop_assert_eq!(quotient.is_some(), exact.is_some());
            let error = quotient.zip(exact).map(|(quotient, exact)| (quotient.number() - exact).abs());
            prop_assert!(error.is_none_or(|error| error <= Number::decimal(1, KEPT)));
        }
    }
}
