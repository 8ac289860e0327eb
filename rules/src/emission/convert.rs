//! The formulae of flue gas: HJ 212-2017 appendix D.2.3, by the number of the equation. Each is exact for numbers.
//!
//! Temperatures in degC, pressures in Pa, contents in %, molar masses in g/mol, flows in m3/h, velocities in m/s.
//! Standard state is 273 K (not 273.15) and 101 325 Pa, as printed there.

use super::fixed::Arithmetic;
use super::hour::Reason;
use crate::Number;

/// O2 of air by which the standards convert, %.
const AIR_O2: i64 = 21;
const STANDARD_K: i64 = 273;
const STANDARD_PA: i64 = 101_325;

/// (26): C x (21 - reference) / (21 - O2), both O2 in % of dry gas. At or above `bound`, and always from 21 % on, it is undefined.
pub fn to_reference_o2(concentration: &Number, o2: &Number, reference: &Number, bound: &Number) -> Result<Number, Reason> {
    Ok(concentration.times(&o2_factor(o2, reference, bound)?))
}

/// (27), (28): C x alpha / reference, alpha = 21 / (21 - O2).
pub fn to_reference_alpha(concentration: &Number, o2: &Number, reference: &Number, bound: &Number) -> Result<Number, Reason> {
    Ok(concentration.times(&alpha_factor(o2, reference, bound)?))
}

/// (19): content of dry gas from that of wet gas; also O2. `humidity`: % by volume.
pub fn dry(content: &Number, humidity: &Number) -> Result<Number, Reason> {
    Ok(content.times(&dry_factor(humidity)?))
}

/// (18): concentration at standard state from that at the state of the duct. `pressure`: static, against `barometric`.
pub fn standard(concentration: &Number, temperature: &Number, pressure: &Number, barometric: &Number) -> Result<Number, Reason> {
    Ok(concentration.times(&standard_factor(temperature, pressure, barometric)?))
}

/// (20): mg/m3 at standard state from ppm.
pub fn ppm_to_mass(ppm: &Number, molar_mass: &Number) -> Number {
    ppm.times(&ppm_factor(molar_mass))
}

/// (21): NOx as NO2 in mg/m3 from both in mg/m3: NO x M(NO2) / M(NO) + NO2.
pub fn nox_from_mass(no: &Number, no2: &Number, molar_mass_no: &Number, molar_mass_no2: &Number) -> Result<Number, Reason> {
    nox_mass(no, no2, molar_mass_no, molar_mass_no2)
}

/// (22): NOx as NO2 in mg/m3 from both in ppm: (NO + NO2) x M(NO2) / 22.4.
pub fn nox_from_ppm(no: &Number, no2: &Number, molar_mass_no2: &Number) -> Number {
    no.plus(no2).times(&ppm_factor(molar_mass_no2))
}

/// (29), (31): flow as it is, wet: 3600 x area x field factor x velocity.
pub fn actual_flow(velocity: &Number, area_m2: &Number, field_factor: &Number) -> Number {
    velocity.times(&area_factor(area_m2, field_factor))
}

/// (30): dry flow at standard state from the flow as it is.
pub fn standard_flow(
    actual: &Number,
    temperature: &Number,
    pressure: &Number,
    barometric: &Number,
    humidity: &Number,
) -> Result<Number, Reason> {
    flow_at_standard(actual, &standard_factor(temperature, pressure, barometric)?.times(&dry_factor(humidity)?))
}

/// (33): kg/h = mg/m3 (dry, standard state, **not** converted) x m3/h (dry, standard state) x 1e-6.
pub fn mass_rate(concentration: &Number, standard_flow: &Number) -> Number {
    concentration.times(standard_flow).times(&Number::decimal(1, 6))
}

pub(super) fn o2_factor<T: Arithmetic>(o2: &T, reference: &T, bound: &T) -> Result<T, Reason> {
    T::whole(AIR_O2).minus(reference).divided_by(&below_air(o2, bound)?).ok_or(Reason::O2NearAir)
}

pub(super) fn alpha_factor<T: Arithmetic>(o2: &T, reference: &T, bound: &T) -> Result<T, Reason> {
    let alpha = T::whole(AIR_O2).divided_by(&below_air(o2, bound)?).ok_or(Reason::O2NearAir)?;
    alpha.divided_by(reference).ok_or(Reason::O2NearAir)
}

/// 21 - O2, above 0.
fn below_air<T: Arithmetic>(o2: &T, bound: &T) -> Result<T, Reason> {
    let air = T::whole(AIR_O2);
    if o2 >= bound || *o2 >= air { Err(Reason::O2NearAir) } else { Ok(air.minus(o2)) }
}

pub(super) fn dry_factor<T: Arithmetic>(humidity: &T) -> Result<T, Reason> {
    let hundred = T::whole(100);
    if *humidity < T::whole(0) || *humidity >= hundred {
        return Err(Reason::NoHumidity);
    }
    hundred.divided_by(&hundred.minus(humidity)).ok_or(Reason::NoHumidity)
}

pub(super) fn standard_factor<T: Arithmetic>(temperature: &T, pressure: &T, barometric: &T) -> Result<T, Reason> {
    let kelvin = T::whole(STANDARD_K).plus(temperature);
    let pascal = barometric.plus(pressure);
    if kelvin <= T::whole(0) {
        return Err(Reason::NoTemperature);
    }
    if pascal <= T::whole(0) {
        return Err(Reason::NoPressure);
    }
    let above = T::whole(STANDARD_PA).times(&kelvin);
    above.divided_by(&pascal.times(&T::whole(STANDARD_K))).ok_or(Reason::NoPressure)
}

pub(super) fn ppm_factor<T: Arithmetic>(molar_mass: &T) -> T {
    // M / 22.4 L/mol, the molar volume at standard state.
    molar_mass.times(&T::whole(10)).divided_by(&T::whole(224)).unwrap_or_else(|| T::whole(0))
}

pub(super) fn nox_mass<T: Arithmetic>(no: &T, no2: &T, molar_mass_no: &T, molar_mass_no2: &T) -> Result<T, Reason> {
    let as_no2 = no.times(molar_mass_no2).divided_by(molar_mass_no).ok_or(Reason::NoMolarMass)?;
    Ok(as_no2.plus(no2))
}

pub(super) fn area_factor<T: Arithmetic>(area_m2: &T, field_factor: &T) -> T {
    T::whole(3600).times(area_m2).times(field_factor)
}

/// A flow is less where its concentration is more: it is divided by what a concentration is multiplied by, dry and standard factor.
pub(super) fn flow_at_standard<T: Arithmetic>(actual: &T, both_factors: &T) -> Result<T, Reason> {
    actual.divided_by(both_factors).ok_or(Reason::NoPressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Number {
        text.parse().unwrap()
    }

    /// V = 10 m/s, F = 3 m2, ts = 130 degC, Ba = 95 000 Pa, Ps = -200 Pa, Xsw = 8 %:
    /// Qs = 3600 x 3 x 10 = 108 000; Qsn = 108 000 x 273/403 x 94 800/101 325 x 0.92 = 62 973.95.
    #[test]
    fn the_worked_check_of_a_stack() {
        let qs = actual_flow(&n("10"), &n("3"), &n("1"));
        assert_eq!(qs, n("108000"));
        let qsn = standard_flow(&qs, &n("130"), &n("-200"), &n("95000"), &n("8")).unwrap();
        assert_eq!(qsn.fixed(2), "62973.95");
        // Exactly: 108000 x 273 x 94800 x 92 / (403 x 101325 x 100).
        assert_eq!(qsn, Number::fraction(108_000 * 273 * 94_800 * 92, 403 * 101_325 * 100).unwrap());
        // 28.6 x (21 - 6) / (21 - 9.2) = 429 / 11.8 = 36.356
        let converted = to_reference_o2(&n("28.6"), &n("9.2"), &n("6"), &n("20.9")).unwrap();
        assert_eq!(converted, Number::fraction(4290, 118).unwrap());
        assert_eq!(converted.fixed(3), "36.356");
        // The mass takes 28.6, not 36.356: 28.6 x 62973.95 / 1e6 = 1.8011 kg/h.
        assert_eq!(mass_rate(&n("28.6"), &qsn).fixed(4), "1.8011");
        // 22 ppm NOx as NO2: 22 x 46 / 22.4 = 1012 / 22.4 = 45.179.
        assert_eq!(nox_from_ppm(&n("20"), &n("2"), &n("46")).fixed(3), "45.179");
        assert_eq!(ppm_to_mass(&n("22"), &n("46")).fixed(3), "45.179");
        // 20 x 101325/94800 x 403/273 = 31.556.
        assert_eq!(standard(&n("20"), &n("130"), &n("-200"), &n("95000")).unwrap().fixed(3), "31.556");
    }

    #[test]
    fn nox_counts_as_no2() {
        // 30 mg/m3 NO are 30 x 46/30 = 46 mg/m3 as NO2; with 4 mg/m3 NO2: 50.
        assert_eq!(nox_from_mass(&n("30"), &n("4"), &n("30"), &n("46")), Ok(n("50")));
        assert_eq!(nox_from_mass(&n("30"), &n("4"), &n("0"), &n("46")), Err(Reason::NoMolarMass));
    }

    #[test]
    fn wet_gas_is_made_dry() {
        // 9.2 / (1 - 0.08) = 10
        assert_eq!(dry(&n("9.2"), &n("8")), Ok(n("10")));
        assert_eq!(dry(&n("9.2"), &n("0")), Ok(n("9.2")));
        for humidity in ["100", "120", "-0.1"] {
            assert_eq!(dry(&n("9.2"), &n(humidity)), Err(Reason::NoHumidity), "{humidity}");
        }
    }

    #[test]
    fn o2_near_air_is_undefined_and_never_negative() {
        let converted = |o2: &str, bound: &str| to_reference_o2(&n("10"), &n(o2), &n("6"), &n(bound));
        for (o2, bound) in [("20.9", "20.9"), ("20.95", "20.9"), ("21", "20.9"), ("21", "21"), ("21.5", "30"), ("25", "25"), ("21", "30")] {
            assert_eq!(converted(o2, bound), Err(Reason::O2NearAir), "{o2} by {bound}");
        }
        // 10 x 15 / 0.1001 is the largest there is, just below the bound.
        assert_eq!(converted("20.8999", "20.9").unwrap().fixed(2), "1498.50");
        assert_eq!(converted("0", "20.9").unwrap().fixed(4), "7.1429");
    }

    #[test]
    fn excess_air_converts_as_printed() {
        // O2 9.2: alpha = 21 / 11.8 = 1.7797; 28.6 x 1.7797 / 1.4 = 36.356 (6 % O2 is an alpha of 1.4).
        assert_eq!(to_reference_alpha(&n("28.6"), &n("9.2"), &n("1.4"), &n("20.9")).unwrap().fixed(3), "36.356");
        assert_eq!(to_reference_alpha(&n("28.6"), &n("21"), &n("1.4"), &n("20.9")), Err(Reason::O2NearAir));
    }

    #[test]
    fn states_that_cannot_be_are_refused() {
        assert_eq!(standard(&n("20"), &n("-273"), &n("0"), &n("101325")), Err(Reason::NoTemperature));
        assert_eq!(standard(&n("20"), &n("130"), &n("-95000"), &n("95000")), Err(Reason::NoPressure));
        assert_eq!(standard(&n("20"), &n("0"), &n("0"), &n("101325")), Ok(n("20")));
        assert_eq!(standard_flow(&n("100"), &n("0"), &n("0"), &n("101325"), &n("100")), Err(Reason::NoHumidity));
    }
}
