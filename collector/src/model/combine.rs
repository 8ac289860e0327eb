//! Which units multiply and divide into which, with the exact factor. What is not in the table has no product.

use super::unit::{Dimension, Unit};

/// `numerator / denominator`, both above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// Above the line.
    pub numerator: i128,
    /// Below the line.
    pub denominator: i128,
}

/// Dimensions `a * b = c`: a value of `c` in its base unit is the product in base units times the fraction.
/// By definition of the units (SI brochure, 9th edition, tables 2-8; 1 L = 10^-3 m3, 1 h = 3,600 s).
const PRODUCTS: &[(Dimension, Dimension, Dimension, i128, i128)] = &[
    (Dimension::Voltage, Dimension::Current, Dimension::ApparentPower, 1, 1),
    // Of direct current.
    (Dimension::Voltage, Dimension::Current, Dimension::Power, 1, 1),
    // By the power factor.
    (Dimension::ApparentPower, Dimension::Number, Dimension::Power, 1, 1),
    (Dimension::Power, Dimension::Time, Dimension::Energy, 1, 1),
    (Dimension::ReactivePower, Dimension::Time, Dimension::ReactiveEnergy, 1, 3_600),
    (Dimension::Flow, Dimension::Time, Dimension::Volume, 1, 3_600),
    (Dimension::NormalFlow, Dimension::Time, Dimension::NormalVolume, 1, 3_600),
    (Dimension::MassFlow, Dimension::Time, Dimension::Mass, 1, 3_600),
    (Dimension::Velocity, Dimension::Time, Dimension::Length, 1, 1),
    // L/h * ug/m3 = 10^-3 m3/h * 10^-6 g/m3.
    (Dimension::Flow, Dimension::Concentration, Dimension::MassFlow, 1, 1_000_000_000),
    (Dimension::NormalFlow, Dimension::NormalConcentration, Dimension::MassFlow, 1, 1_000_000_000),
    (Dimension::Volume, Dimension::Concentration, Dimension::Mass, 1, 1_000_000_000),
    (Dimension::NormalVolume, Dimension::NormalConcentration, Dimension::Mass, 1, 1_000_000_000),
];

/// Whether values of a dimension can be added and multiplied at all: logarithms, states and temperatures with their own
/// zero cannot.
pub fn is_linear(dimension: Dimension) -> bool {
    !matches!(dimension, Dimension::Temperature | Dimension::Acidity | Dimension::SoundLevel | Dimension::State)
}

fn of_dimensions(a: Dimension, b: Dimension, product: Dimension) -> Option<(i128, i128)> {
    let scaled = |number: Dimension, other: Dimension| number == Dimension::Number && other == product && is_linear(other);
    if scaled(a, b) || scaled(b, a) {
        return Some((1, 1));
    }
    let row = PRODUCTS.iter().find(|row| row.2 == product && ((row.0, row.1) == (a, b) || (row.0, row.1) == (b, a)))?;
    Some((row.3, row.4))
}

/// What `a * b`, taken as bare numbers in these units, is to be multiplied with to be in `product`; `None` when the units
/// do not combine so.
pub fn product_factor(a: Unit, b: Unit, product: Unit) -> Option<Factor> {
    let (numerator, denominator) = of_dimensions(a.dimension(), b.dimension(), product.dimension())?;
    let (a, b, c) = (a.base(), b.base(), product.base());
    Some(Factor {
        numerator: a.0.checked_mul(b.0)?.checked_mul(numerator)?.checked_mul(c.1)?,
        denominator: a.1.checked_mul(b.1)?.checked_mul(denominator)?.checked_mul(c.0)?,
    })
}

/// The same for `a / b`: it is a quotient where `b * quotient = a` is a product.
pub fn quotient_factor(a: Unit, b: Unit, quotient: Unit) -> Option<Factor> {
    let (numerator, denominator) = of_dimensions(b.dimension(), quotient.dimension(), a.dimension())?;
    let (a, b, c) = (a.base(), b.base(), quotient.base());
    Some(Factor {
        numerator: a.0.checked_mul(b.1)?.checked_mul(denominator)?.checked_mul(c.1)?,
        denominator: a.1.checked_mul(b.0)?.checked_mul(numerator)?.checked_mul(c.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> Unit {
        Unit::parse(text).unwrap()
    }

    #[test]
    fn units_combine_with_exact_factors() {
        // (a, b, product, factor): hand-worked; 2 kV * 3 A = 6 kVA, 5 m3/h * 7 mg/m3 = 35 mg/h = 0.000035 kg/h.
        for (a, b, product, numerator, denominator) in [
            ("kV", "A", "kVA", 1, 1),
            ("V", "A", "kW", 1, 1_000),
            ("kVA", "1", "kW", 1, 1),
            ("kVA", "%", "kW", 1, 100),
            ("kW", "h", "kWh", 1, 1),
            ("kW", "min", "kWh", 1, 60),
            ("kvar", "h", "kvarh", 1, 1),
            ("m3/h", "mg/m3", "kg/h", 1, 1_000_000),
            ("Nm3/h", "mg/Nm3", "kg/h", 1, 1_000_000),
            ("m3/h", "mg/L", "kg/h", 1, 1_000),
            ("m3/s", "s", "m3", 1, 1),
            ("t/h", "h", "t", 1, 1),
            ("m/s", "s", "m", 1, 1),
            ("m3", "mg/m3", "g", 1, 1_000),
            ("1", "degC", "degC", 0, 0),
            ("kW", "kW", "kW", 0, 0),
            ("Nm3/h", "mg/m3", "kg/h", 0, 0),
            ("kW", "h", "kW", 0, 0),
        ] {
            for (a, b) in [(a, b), (b, a)] {
                let found = product_factor(unit(a), unit(b), unit(product));
                let expected = (denominator > 0).then_some((numerator, denominator));
                let same = |found: Factor, (n, d): (i128, i128)| found.numerator * d == found.denominator * n;
                assert!(
                    match (found, expected) {
                        (Some(found), Some(expected)) => same(found, expected),
                        (found, expected) => found.is_none() && expected.is_none(),
                    },
                    "{a} * {b} = {product}: {found:?}"
                );
            }
        }
        for (a, b, quotient, numerator, denominator) in [
            ("kW", "kW", "1", 1, 1),
            ("kW", "W", "%", 100_000, 1),
            ("kW", "kVA", "1", 1, 1),
            ("kWh", "h", "kW", 1, 1),
            ("kg/h", "m3/h", "mg/m3", 1_000_000, 1),
            ("kW", "%", "kW", 100, 1),
            ("m3", "h", "m3/h", 1, 1),
        ] {
            let found = quotient_factor(unit(a), unit(b), unit(quotient)).unwrap();
            assert_eq!(found.numerator * denominator, found.denominator * numerator, "{a} / {b} = {quotient}: {found:?}");
        }
        for (a, b, quotient) in [("degC", "degC", "1"), ("pH", "pH", "1"), ("kW", "m3", "1"), ("kW", "kvar", "1")] {
            assert_eq!(quotient_factor(unit(a), unit(b), unit(quotient)), None);
        }
    }

    /// Where `a * b = c` there are both quotients, and they undo the product.
    #[test]
    fn quotients_undo_products() {
        for a in Unit::all() {
            for b in Unit::all() {
                for c in Unit::all() {
                    let Some(product) = product_factor(a, b, c) else { continue };
                    let quotient = quotient_factor(c, b, a).unwrap();
                    assert_eq!(product.numerator * quotient.numerator, product.denominator * quotient.denominator, "{a} * {b} = {c}");
                }
            }
        }
    }
}
