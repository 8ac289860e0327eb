//! Scaling against figures worked out by hand and against checks that share no code with it.

use proptest::prelude::*;

use super::super::tests::point;
use super::*;
use crate::model::{Decimal, Kind};

fn scaling(raw_unit: &str, scale: &str, offset: &str, unit: &str, decimals: u8) -> Scaling {
    let mut point = point(1, Kind::Gauge, unit, decimals);
    point.raw_unit = crate::model::Unit::parse(raw_unit).unwrap();
    point.scale = scale.parse().unwrap();
    point.offset = offset.parse().unwrap();
    Scaling::new(&point).unwrap()
}

fn exact(text: &str) -> Number {
    Number::Exact(text.parse().unwrap())
}

#[test]
fn scales_converts_and_rounds_once() {
    for (number, raw_unit, scale, offset, unit, decimals, expected) in [
        // 123456 * 0.01 kWh = 1234.56 kWh
        (exact("123456"), "kWh", "0.01", "0", "kWh", 2, Ok(123_456)),
        // 1.5 MWh = 1500 kWh
        (exact("1.5"), "MWh", "1", "0", "kWh", 1, Ok(15_000)),
        // 1 GJ = 277.777... kWh
        (exact("1"), "GJ", "1", "0", "kWh", 3, Ok(277_778)),
        // 9 GJ = 2500 kWh exactly
        (exact("9"), "GJ", "1", "0", "kWh", 0, Ok(2500)),
        // 293.15 K = 20 degC
        (exact("293.15"), "K", "1", "0", "degC", 2, Ok(2000)),
        // raw 500 * 0.1 - 40 degC = 10 degC
        (exact("500"), "degC", "0.1", "-40", "degC", 1, Ok(100)),
        // 0.25 L/s = 0.9 m3/h
        (exact("0.25"), "L/s", "1", "0", "m3/h", 2, Ok(90)),
        // ties go to even: 0.125 at 2 decimals
        (exact("0.125"), "V", "1", "0", "V", 2, Ok(12)),
        (exact("0.135"), "V", "1", "0", "V", 2, Ok(14)),
        (exact("-0.125"), "V", "1", "0", "V", 2, Ok(-12)),
        // rounded once, not first to a raw resolution: 0.4999... stays 0
        (exact("0.499999999999999999"), "V", "1", "0", "V", 0, Ok(0)),
        // a tie only after the conversion: 12.5 hPa = 1.25 kPa
        (exact("12.5"), "hPa", "1", "0", "kPa", 1, Ok(12)),
        (exact("13.5"), "hPa", "1", "0", "kPa", 1, Ok(14)),
        // exponents beyond any table, and back
        (exact("5e30"), "V", "1e-30", "0", "V", 0, Ok(5)),
        (exact("1e-120"), "V", "1", "0", "V", 6, Ok(0)),
        (exact("1e20"), "V", "1", "0", "V", 0, Err(Reason::Overflow)),
        (exact("9223372036854775807"), "V", "1", "0", "V", 0, Ok(i64::MAX)),
        (exact("9223372036854775807"), "V", "1", "0", "V", 1, Err(Reason::Overflow)),
        (exact("-9223372036854775808"), "V", "1", "0", "V", 0, Ok(i64::MIN)),
        // floats stand for their shortest decimal, whole numbers too: 0.15 as f32 is 0.150000006, as f64 0.1499999999999999944
        (Number::F32(0.15), "V", "1", "0", "V", 1, Ok(2)),
        (Number::F64(0.15), "V", "1", "0", "V", 1, Ok(2)),
        (Number::F32(0.25), "V", "1", "0", "V", 1, Ok(2)),
        (Number::F64(2.675), "V", "1", "0", "V", 2, Ok(268)),
        (Number::F64(1.005), "V", "1", "0", "V", 2, Ok(100)),
        (Number::F32(230.12), "V", "1", "0", "V", 2, Ok(23_012)),
        (Number::F32(1_234_567_936.0), "V", "1", "0", "V", 0, Ok(1_234_568_000)),
        (Number::F64(-0.0), "V", "1", "0", "V", 2, Ok(0)),
        (Number::F64(-0.0), "K", "1", "0", "degC", 2, Ok(-27_315)),
        (Number::F32(f32::from_bits(1)), "V", "1", "0", "V", 6, Ok(0)),
        (Number::F32(f32::MAX), "V", "1", "0", "V", 0, Err(Reason::Overflow)),
        (Number::F64(f64::MAX), "V", "1", "0", "V", 0, Err(Reason::Overflow)),
        (Number::F64(5e-324), "V", "1", "0", "V", 18, Ok(0)),
        (Number::F32(f32::NAN), "V", "1", "0", "V", 0, Err(Reason::NotANumber)),
        (Number::F64(f64::NEG_INFINITY), "V", "1", "0", "V", 0, Err(Reason::NotANumber)),
        (Number::Missing(Reason::Timeout), "V", "1", "0", "V", 0, Err(Reason::Timeout)),
    ] {
        let found = scaling(raw_unit, scale, offset, unit, decimals).mantissa(number);
        assert_eq!(found, expected, "{number:?} {raw_unit} * {scale} + {offset} -> {unit} at {decimals}");
    }
}

const UNITS: &[(&str, &str)] = &[
    ("V", "V"),
    ("GJ", "kWh"),
    ("Wh", "kWh"),
    ("K", "degC"),
    ("degC", "K"),
    ("L/s", "m3/h"),
    ("h", "min"),
    ("d", "s"),
    ("%", "1"),
    ("kWh", "GJ"),
];

proptest! {
    /// `mantissa` is the nearest whole number to the exact fraction, the even one of two: checked by multiplication
    /// alone, without the library's own division and reduction.
    #[test]
    fn exact_numbers_are_rounded_to_the_nearest(
        raw in -1_000_000_000i64..1_000_000_000, exponent in -4i8..=1, scale in 1i64..10_000, scale_exponent in -3i8..=1,
        offset in -1000i64..1000, decimals in 0u8..=4, units in proptest::sample::select(UNITS),
    ) {
        let (from, to) = (crate::model::Unit::parse(units.0).unwrap(), crate::model::Unit::parse(units.1).unwrap());
        let mut point = point(1, Kind::Gauge, units.1, decimals);
        point.raw_unit = from;
        (point.scale, point.offset) = (Decimal::new(scale, scale_exponent), Decimal::new(offset, -1));
        let found = Scaling::new(&point).unwrap().mantissa(Number::Exact(Decimal::new(raw, exponent)));
        let way = from.conversion_to(to).unwrap();
        // Raw unit, in 10^-7: raw * scale + offset.
        let power = |power: i8| 10i128.pow(u32::try_from(power).unwrap());
        let inner = i128::from(raw) * i128::from(scale) * power(exponent + scale_exponent + 7) + i128::from(offset) * power(6);
        let shift = power(i8::try_from(decimals).unwrap());
        let numerator = (inner * way.numerator * way.offset_denominator + way.offset_numerator * power(7) * way.denominator) * shift;
        let denominator = power(7) * way.denominator * way.offset_denominator;
        match found {
            Ok(mantissa) => {
                let distance = (numerator - i128::from(mantissa) * denominator).abs() * 2;
                prop_assert!(distance < denominator || (distance == denominator && mantissa % 2 == 0), "{mantissa} for {numerator}/{denominator}");
            }
            Err(reason) => {
                prop_assert_eq!(reason, Reason::Overflow);
                prop_assert!(numerator.abs() / denominator >= i128::from(i64::MAX));
            }
        }
    }

    /// The three ways of computing agree wherever they answer at all.
    #[test]
    fn narrow_wide_and_long_arithmetic_agree(raw: i64, exponent in -40i32..40, scale in 1i64..1_000_000, scale_exponent in -18i8..18, decimals in 0u8..=6) {
        let scaling = scaling("GJ", &Decimal::new(scale, scale_exponent).to_string(), "0.1", "kWh", decimals);
        let long = ratio_half_even(raw, exponent, scaling.factor, scaling.summand, scaling.divisor);
        if let Some(narrow) = scaling.exact_narrow(raw, exponent) {
            prop_assert_eq!(Some(narrow), long);
        }
        if let Some(wide) = scaling.exact_wide(raw, exponent) {
            prop_assert_eq!(Some(wide), long);
        }
        prop_assert_eq!(scaling.exact(raw, exponent).ok(), long);
    }

    /// A float gives what its shortest decimal gives, near ties and far from them.
    #[test]
    fn floats_give_what_their_decimal_gives(
        wild: u64, tame in -2_000_000_000i64..2_000_000_000, places in 0i32..8, scale in 1i64..2000, decimals in 0u8..=4,
        units in proptest::sample::select(UNITS),
    ) {
        let scaling = scaling(units.0, &Decimal::new(scale, -3).to_string(), "-0.5", units.1, decimals);
        let text = format!("{tame}e-{places}");
        let by_text = |text: String| match Decimal::parse(text.as_bytes()) {
            Ok(decimal) => Some(scaling.mantissa(Number::Exact(decimal))),
            Err(_) => None,
        };
        for value in [text.parse::<f32>().unwrap(), f32::from_bits((wild & 0xFFFF_FFFF) as u32)] {
            if let (true, Some(expected)) = (value.is_finite(), by_text(format!("{value:e}"))) {
                prop_assert_eq!(scaling.mantissa(Number::F32(value)), expected, "{:e}", value);
            }
        }
        for value in [text.parse::<f64>().unwrap(), f64::from_bits(wild)] {
            if let (true, Some(expected)) = (value.is_finite(), by_text(format!("{value:e}"))) {
                prop_assert_eq!(scaling.mantissa(Number::F64(value)), expected, "{:e}", value);
            }
        }
    }

    /// Whatever the config and the number, there is an answer and no panic.
    #[test]
    fn extremes_do_not_panic(mantissa: i64, exponent: i8, scale: i64, scale_exponent: i8, offset: i64, offset_exponent: i8, decimals in 0u8..=18, bits: u64) {
        let mut point = point(1, Kind::Gauge, "degC", decimals);
        point.raw_unit = crate::model::Unit::parse("K").unwrap();
        (point.scale, point.offset) = (Decimal::new(scale, scale_exponent), Decimal::new(offset, offset_exponent));
        if let Some(scaling) = Scaling::new(&point) {
            let _ = scaling.mantissa(Number::Exact(Decimal::new(mantissa, exponent)));
            let _ = scaling.mantissa(Number::F64(f64::from_bits(bits)));
            let _ = scaling.mantissa(Number::F32(f32::from_bits((bits >> 32) as u32)));
        }
    }
}
