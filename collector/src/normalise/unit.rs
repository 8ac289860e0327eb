//! First step: the device's number becomes a mantissa in the canonical unit, exact until one rounding at the end.
//!
//! `mantissa = ((raw * scale + offset) in the raw unit -> canonical unit) * 10^decimals`, rounded half to even
//! (GB/T 8170). All of it is one line `(raw * factor + summand) / divisor` whose integers are computed once per point.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use super::exact::{Ratio, ratio_half_even};
use crate::catalogue::Point;
use crate::model::decimal::div_half_even;
use crate::model::{Number, Reason};

/// The way from a point's raw number to its mantissa.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    factor: i128,
    summand: i128,
    divisor: i128,
    /// The same three where they fit: nearly always.
    narrow: Option<[i64; 3]>,
    /// Nearest floats of factor / divisor and summand / divisor.
    slope: f64,
    intercept: f64,
    /// The point's.
    decimals: u8,
}

/// Scalings of many points, each once: points of one device model share it.
#[derive(Debug, Default)]
pub(super) struct Scalings(BTreeMap<(i128, i128, i128, u8), Arc<Scaling>>);

impl Scalings {
    /// As [`Scaling::new`].
    pub(super) fn of(&mut self, point: &Point) -> Option<Arc<Scaling>> {
        let scaling = Scaling::new(point)?;
        let key = (scaling.factor, scaling.summand, scaling.divisor, scaling.decimals);
        Some(Arc::clone(self.0.entry(key).or_insert_with(|| Arc::new(scaling))))
    }
}

/// Floats below this magnitude have a fraction that can be looked at.
const FRACTION_LIMIT: f64 = 2_251_799_813_685_248.0; // 2^51
/// Relative doubt of the fast path for a 64-bit float: eight roundings of 2^-53 at most (slope three, product, sum,
/// intercept, shortest decimal against binary), doubled.
const DOUBT_F64: f64 = 1.0 / 562_949_953_421_312.0; // 2^-49
/// The same for a 32-bit float, whose shortest decimal lies up to 2^-24 away.
const DOUBT_F32: f64 = 1.0 / 8_388_608.0; // 2^-23

impl Scaling {
    /// The scaling of a point; `None` when its integers do not fit 127 bits, which no sensible config reaches.
    pub(super) fn new(point: &Point) -> Option<Self> {
        let decimals = point.identity.decimals;
        let conversion = point.raw_unit.conversion_to(point.identity.unit)?;
        let unit_factor = Ratio::new(conversion.numerator, conversion.denominator)?;
        let unit_summand = Ratio::new(conversion.offset_numerator, conversion.offset_denominator)?;
        let shift = Ratio::new(10i128.checked_pow(u32::from(decimals))?, 1)?;
        let slope = Ratio::of_decimal(point.scale, 0)?.times(unit_factor)?.times(shift)?;
        let intercept = Ratio::of_decimal(point.offset, 0)?.times(unit_factor)?.plus(unit_summand)?.times(shift)?;
        let divisor = Ratio::new(slope.denominator, intercept.denominator)?.numerator.checked_mul(intercept.denominator)?;
        let factor = slope.numerator.checked_mul(divisor.checked_div(slope.denominator)?)?;
        let summand = intercept.numerator.checked_mul(divisor.checked_div(intercept.denominator)?)?;
        let narrow = match (i64::try_from(factor), i64::try_from(summand), i64::try_from(divisor)) {
            (Ok(factor), Ok(summand), Ok(divisor)) => Some([factor, summand, divisor]),
            _ => None,
        };
        #[expect(clippy::cast_precision_loss, reason = "the doubt of the fast path counts these roundings")]
        let float = |ratio: Ratio| ratio.numerator as f64 / ratio.denominator as f64;
        Some(Self { factor, summand, divisor, narrow, slope: float(slope), intercept: float(intercept), decimals })
    }

    /// The mantissa of a number, or why there is none: the device's reason, not a number, overflow.
    pub(super) fn mantissa(&self, number: Number) -> Result<i64, Reason> {
        match number {
            Number::Exact(decimal) => self.exact(decimal.mantissa, i32::from(decimal.exponent)),
            Number::F32(value) if value.is_finite() => self.float(f64::from(value), DOUBT_F32, |text| write!(text, "{value:e}")),
            Number::F64(value) if value.is_finite() => self.float(value, DOUBT_F64, |text| write!(text, "{value:e}")),
            Number::F32(_) | Number::F64(_) => Err(Reason::NotANumber),
            Number::Canonical(decimal) => decimal.to_mantissa(self.decimals).ok_or(Reason::Overflow),
            Number::Missing(reason) => Err(reason),
        }
    }

    /// `raw * 10^exponent` scaled and rounded once.
    fn exact(&self, raw: i64, exponent: i32) -> Result<i64, Reason> {
        if let Some(mantissa) = self.exact_narrow(raw, exponent) {
            return Ok(mantissa);
        }
        self.exact_wide(raw, exponent)
            .or_else(|| ratio_half_even(raw, exponent, self.factor, self.summand, self.divisor))
            .ok_or(Reason::Overflow)
    }

    fn exact_narrow(&self, raw: i64, exponent: i32) -> Option<i64> {
        let [factor, summand, divisor] = self.narrow?;
        if exponent == 0 {
            return div_half_even_narrow(raw.checked_mul(factor)?.checked_add(summand)?, divisor);
        }
        let power = 10i64.checked_pow(exponent.unsigned_abs())?;
        if exponent > 0 {
            return div_half_even_narrow(raw.checked_mul(power)?.checked_mul(factor)?.checked_add(summand)?, divisor);
        }
        div_half_even_narrow(raw.checked_mul(factor)?.checked_add(summand.checked_mul(power)?)?, divisor.checked_mul(power)?)
    }

    fn exact_wide(&self, raw: i64, exponent: i32) -> Option<i64> {
        let power = 10i128.checked_pow(exponent.unsigned_abs())?;
        let (up, down) = if exponent >= 0 { (power, 1) } else { (1, power) };
        let numerator = i128::from(raw).checked_mul(self.factor)?.checked_mul(up)?.checked_add(self.summand.checked_mul(down)?)?;
        i64::try_from(div_half_even(numerator, self.divisor.checked_mul(down)?)?).ok()
    }

    /// A finite float stands for its shortest decimal that reads back the same. Where the float arithmetic is surely on
    /// one side of a rounding tie it gives the same mantissa as that decimal, and is taken; else the decimal is.
    fn float(&self, value: f64, doubt: f64, print: impl FnOnce(&mut ShortText) -> fmt::Result) -> Result<i64, Reason> {
        if value == 0.0 {
            return self.exact(0, 0);
        }
        let product = value * self.slope;
        let scaled = product + self.intercept;
        if scaled.abs() < FRACTION_LIMIT && value.abs() >= f64::from(f32::MIN_POSITIVE) {
            let rounded = scaled.round_ties_even();
            let to_tie = 0.5 - (scaled - rounded).abs();
            if to_tie > (product.abs() + self.intercept.abs()) * doubt {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^51")]
                return Ok(rounded as i64);
            }
        }
        let mut text = ShortText::default();
        print(&mut text).map_err(|_| Reason::Overflow)?;
        let (raw, exponent) = text.parse().ok_or(Reason::Overflow)?;
        self.exact(raw, exponent)
    }
}

/// As [`div_half_even`] for a positive divisor, without the cost of 128 bits.
fn div_half_even_narrow(numerator: i64, divisor: i64) -> Option<i64> {
    if divisor == 1 {
        return Some(numerator);
    }
    let quotient = numerator.checked_div_euclid(divisor)?;
    let remainder = numerator.checked_rem_euclid(divisor)?;
    let rest = divisor.checked_sub(remainder)?;
    let up = remainder > rest || (remainder == rest && quotient & 1 == 1);
    if up { quotient.checked_add(1) } else { Some(quotient) }
}

/// A float printed as `-1.2345e-7`: at most 17 digits, sign, point and exponent.
#[derive(Default)]
struct ShortText {
    bytes: [u8; 32],
    length: usize,
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length.checked_add(text.len()).ok_or(fmt::Error)?;
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl ShortText {
    /// Mantissa and power of ten.
    fn parse(&self) -> Option<(i64, i32)> {
        let text = std::str::from_utf8(self.bytes.get(..self.length)?).ok()?;
        let (digits, power) = text.split_once('e')?;
        let mut mantissa: i64 = 0;
        let mut exponent: i32 = power.parse().ok()?;
        let mut after_point = false;
        for byte in digits.bytes() {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa.checked_mul(10)?.checked_add(i64::from(byte & 15))?;
                    exponent = exponent.checked_sub(i32::from(after_point))?;
                }
                b'.' => after_point = true,
                _ => {}
            }
        }
        Some((if digits.starts_with('-') { mantissa.checked_neg()? } else { mantissa }, exponent))
    }
}

#[cfg(test)]
mod tests;
