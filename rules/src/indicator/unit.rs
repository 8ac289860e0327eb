//! Units of amounts, converted by exact fractions to the unit a figure is formed in: kWh, GJ, kg, m3.

use crate::Number;

/// What a unit measures, and one of it in kWh, kg or m3 as numerator and denominator.
fn unit(name: &str) -> Option<(Dimension, i128, i128)> {
    Some(match name {
        "Wh" => (Dimension::Energy, 1, 1_000),
        "kWh" => (Dimension::Energy, 1, 1),
        "MWh" => (Dimension::Energy, 1_000, 1),
        "GWh" => (Dimension::Energy, 1_000_000, 1),
        "kJ" => (Dimension::Energy, 1, 3_600),
        "MJ" => (Dimension::Energy, 10, 36),
        "GJ" => (Dimension::Energy, 10_000, 36),
        "TJ" => (Dimension::Energy, 10_000_000, 36),
        "kg" => (Dimension::Mass, 1, 1),
        "t" => (Dimension::Mass, 1_000, 1),
        "m3" | "Nm3" => (Dimension::Volume, 1, 1),
        "L" => (Dimension::Volume, 1, 1_000),
        _ => return None,
    })
}

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// kWh and so on.
    Energy,
    /// kg and so on.
    Mass,
    /// m3 and so on; gas at the state its coefficient is given for.
    Volume,
}

/// What a unit measures; `None` for an unknown one.
pub fn dimension(name: &str) -> Option<Dimension> {
    unit(name).map(|(dimension, ..)| dimension)
}

/// The factor that turns amounts in `from` into amounts in `to`; `None` when they measure different things.
pub fn factor(from: &str, to: &str) -> Option<Number> {
    let (from_dimension, up, down) = unit(from)?;
    let (to_dimension, to_up, to_down) = unit(to)?;
    (from_dimension == to_dimension).then(|| Number::fraction(up * to_down, down * to_up)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_convert_exactly() {
        for (from, to, expected) in [
            ("MWh", "kWh", "1000"),
            ("GJ", "MJ", "1000"),
            ("MJ", "GJ", "0.001"),
            ("kWh", "MJ", "3.6"),
            ("GJ", "kWh", "277.777777777777777777777777777778"),
            ("t", "kg", "1000"),
            ("Nm3", "m3", "1"),
            ("L", "m3", "0.001"),
        ] {
            assert_eq!(factor(from, to).unwrap().to_string(), expected, "{from} to {to}");
        }
        assert_eq!(factor("kWh", "kg"), None);
        assert_eq!(factor("kwh", "kWh"), None);
        let there_and_back = factor("GJ", "kWh").unwrap() * factor("kWh", "GJ").unwrap();
        assert_eq!(there_and_back, Number::one());
    }
}
