//! The one table of units: symbol, form in series names, dimension, exact factor to the dimension's base unit.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a unit measures; only units of one dimension convert into each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Active power, base W.
    Power,
    /// Reactive power, base var.
    ReactivePower,
    /// Apparent power, base VA.
    ApparentPower,
    /// Energy and heat, base J.
    Energy,
    /// Reactive energy, base var h.
    ReactiveEnergy,
    /// Voltage, base V.
    Voltage,
    /// Current, base A.
    Current,
    /// Frequency, base Hz.
    Frequency,
    /// Plain number: ratio, count, power factor; base 1.
    Number,
    /// Volume as it flows, base L.
    Volume,
    /// Gas volume at 0 degrees C and 101.325 kPa, base L.
    NormalVolume,
    /// Volume flow as it flows, base L/h.
    Flow,
    /// Gas flow at 0 degrees C and 101.325 kPa, base L/h.
    NormalFlow,
    /// Mass concentration in gas or water, base ug/m3.
    Concentration,
    /// Mass concentration in gas at 0 degrees C and 101.325 kPa, base ug/m3.
    NormalConcentration,
    /// Volume fraction in gas, base ppb; needs a molar mass to become a mass concentration.
    VolumeFraction,
    /// Pressure, base Pa.
    Pressure,
    /// Temperature, base m degC (thousandths, so that the offset to kelvin is whole).
    Temperature,
    /// Time, base s.
    Time,
    /// Length, base mm.
    Length,
    /// Mass, base g.
    Mass,
    /// Mass flow, base g/h.
    MassFlow,
    /// Velocity, base mm/s.
    Velocity,
    /// Acidity; converts to nothing.
    Acidity,
    /// Sound level; converts to nothing.
    SoundLevel,
    /// Electrical conductivity, base uS/cm.
    Conductivity,
    /// Turbidity; converts to nothing.
    Turbidity,
    /// An enumerated state; converts to nothing.
    State,
}

/// One row of the unit table. Compare and copy freely: it is an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unit(u8);

struct Row {
    symbol: &'static str,
    name_form: &'static str,
    dimension: Dimension,
    numerator: i64,
    denominator: i64,
    offset: i64,
    aliases: &'static [&'static str],
}

macro_rules! units {
    ($($symbol:literal $form:literal $dimension:ident $numerator:literal / $denominator:literal + $offset:literal $aliases:expr;)*) => {
        const TABLE: &[Row] = &[$(Row { symbol: $symbol, name_form: $form, dimension: Dimension::$dimension,
            numerator: $numerator, denominator: $denominator, offset: $offset, aliases: &$aliases },)*];
    };
}

// symbol, form in names, dimension, value in base units = value * numerator / denominator + offset, other spellings.
// Sources: SI brochure, 9th edition, tables 2-8; 1 kWh = 3.6 MJ; 0 degC = 273.15 K.
units! {
    "W" "w" Power 1/1+0 [];
    "kW" "kw" Power 1_000/1+0 [];
    "MW" "mw" Power 1_000_000/1+0 [];
    "var" "var" ReactivePower 1/1+0 [];
    "kvar" "kvar" ReactivePower 1_000/1+0 [];
    "VA" "va" ApparentPower 1/1+0 [];
    "kVA" "kva" ApparentPower 1_000/1+0 [];
    "J" "j" Energy 1/1+0 [];
    "kJ" "kj" Energy 1_000/1+0 [];
    "MJ" "mj" Energy 1_000_000/1+0 [];
    "GJ" "gj" Energy 1_000_000_000/1+0 [];
    "Wh" "wh" Energy 3_600/1+0 [];
    "kWh" "kwh" Energy 3_600_000/1+0 ["kW.h", "kW·h"];
    "MWh" "mwh" Energy 3_600_000_000/1+0 [];
    "10^4 kWh" "ten_thousand_kwh" Energy 36_000_000_000/1+0 ["万kWh"];
    "varh" "varh" ReactiveEnergy 1/1+0 [];
    "kvarh" "kvarh" ReactiveEnergy 1_000/1+0 [];
    "V" "v" Voltage 1_000/1_000+0 [];
    "mV" "mv" Voltage 1/1_000+0 [];
    "kV" "kv" Voltage 1_000/1+0 [];
    "A" "a" Current 1/1+0 [];
    "mA" "ma" Current 1/1_000+0 [];
    "kA" "ka" Current 1_000/1+0 [];
    "Hz" "hz" Frequency 1/1+0 [];
    "mHz" "mhz" Frequency 1/1_000+0 [];
    "1" "ratio" Number 1/1+0 [""];
    "%" "percent" Number 1/100+0 [];
    "L" "l" Volume 1/1+0 ["l"];
    "m3" "m3" Volume 1_000/1+0 ["m³", "m^3"];
    "10^4 m3" "ten_thousand_m3" Volume 10_000_000/1+0 ["万m3", "万m³"];
    "Nm3" "nm3" NormalVolume 1_000/1+0 ["Nm³"];
    "10^4 Nm3" "ten_thousand_nm3" NormalVolume 10_000_000/1+0 ["万Nm3"];
    "m3/h" "m3_per_h" Flow 1_000/1+0 ["m³/h"];
    "m3/s" "m3_per_s" Flow 3_600_000/1+0 ["m³/s"];
    "L/s" "l_per_s" Flow 3_600/1+0 ["l/s"];
    "L/min" "l_per_min" Flow 60/1+0 ["l/min"];
    "L/h" "l_per_h" Flow 1/1+0 ["l/h"];
    "Nm3/h" "nm3_per_h" NormalFlow 1_000/1+0 ["Nm³/h"];
    "mg/m3" "mg_per_m3" Concentration 1_000/1+0 ["mg/m³"];
    "ug/m3" "ug_per_m3" Concentration 1/1+0 ["µg/m3", "µg/m³"];
    "mg/L" "mg_per_l" Concentration 1_000_000/1+0 ["mg/l"];
    "ug/L" "ug_per_l" Concentration 1_000/1+0 ["ug/l", "µg/L"];
    "mg/Nm3" "mg_per_nm3" NormalConcentration 1_000/1+0 ["mg/Nm³"];
    "ppm" "ppm" VolumeFraction 1_000/1+0 [];
    "ppb" "ppb" VolumeFraction 1/1+0 [];
    "Pa" "pa" Pressure 1/1+0 [];
    "hPa" "hpa" Pressure 100/1+0 ["mbar"];
    "kPa" "kpa" Pressure 1_000/1+0 [];
    "MPa" "mpa" Pressure 1_000_000/1+0 [];
    "bar" "bar" Pressure 100_000/1+0 [];
    "degC" "degc" Temperature 1_000/1+0 ["°C", "℃"];
    "K" "k" Temperature 1_000/1+-273_150 [];
    "ms" "ms" Time 1/1_000+0 [];
    "s" "s" Time 1/1+0 [];
    "min" "min" Time 60/1+0 [];
    "h" "h" Time 3_600/1+0 [];
    "d" "d" Time 86_400/1+0 [];
    "mm" "mm" Length 1/1+0 [];
    "cm" "cm" Length 10/1+0 [];
    "m" "m" Length 1_000/1+0 [];
    "km" "km" Length 1_000_000/1+0 [];
    "g" "g" Mass 1/1+0 [];
    "kg" "kg" Mass 1_000/1+0 [];
    "t" "t" Mass 1_000_000/1+0 [];
    "kg/h" "kg_per_h" MassFlow 1_000/1+0 [];
    "t/h" "t_per_h" MassFlow 1_000_000/1+0 [];
    "m/s" "m_per_s" Velocity 1_000/1+0 [];
    "pH" "ph" Acidity 1/1+0 [];
    "dB" "db" SoundLevel 1/1+0 ["dB(A)"];
    "uS/cm" "us_per_cm" Conductivity 1/1+0 ["µS/cm"];
    "mS/cm" "ms_per_cm" Conductivity 1_000/1+0 [];
    "NTU" "ntu" Turbidity 1/1+0 [];
    "state" "state" State 1/1+0 [];
    "B" "bytes" Number 1/1+0 ["bytes"];
}

impl Unit {
    /// The unit of a symbol or one of its other spellings, exactly as written (`kWh`, `m³`); `None` when unknown.
    pub fn parse(text: &str) -> Option<Self> {
        let index = TABLE.iter().position(|row| row.symbol == text || row.aliases.contains(&text))?;
        u8::try_from(index).ok().map(Self)
    }

    /// Every unit, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..u8::try_from(TABLE.len()).expect("the table is short")).map(Self)
    }

    fn row(self) -> &'static Row {
        TABLE.get(usize::from(self.0)).expect("made from the table")
    }

    /// The symbol shown to people and written in config.
    pub fn symbol(self) -> &'static str {
        self.row().symbol
    }

    /// The form in series names: `mg_per_m3`.
    pub fn name_form(self) -> &'static str {
        self.row().name_form
    }

    /// What it measures.
    pub fn dimension(self) -> Dimension {
        self.row().dimension
    }

    /// Fraction from this unit to its dimension's base unit, without the summand of temperatures.
    pub(super) fn base(self) -> (i128, i128) {
        (i128::from(self.row().numerator), i128::from(self.row().denominator))
    }

    /// The exact way from `self` to `target`; `None` when the dimensions differ.
    pub fn conversion_to(self, target: Self) -> Option<Conversion> {
        let (from, to) = (self.row(), target.row());
        if from.dimension != to.dimension {
            return None;
        }
        // base = x * fn/fd + fo; y = (base - to) * td/tn
        let numerator = i128::from(from.numerator).checked_mul(i128::from(to.denominator))?;
        let denominator = i128::from(from.denominator).checked_mul(i128::from(to.numerator))?;
        let shift = i128::from(from.offset).checked_sub(i128::from(to.offset))?;
        let offset_numerator = shift.checked_mul(i128::from(to.denominator))?;
        let divisor = gcd(numerator, denominator);
        Some(Conversion {
            numerator: numerator.checked_div(divisor)?,
            denominator: denominator.checked_div(divisor)?,
            offset_numerator,
            offset_denominator: i128::from(to.numerator),
        })
    }
}

/// `y = x * numerator / denominator + offset_numerator / offset_denominator`, exactly. Denominators are positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Factor above the line.
    pub numerator: i128,
    /// Factor below the line, above 0.
    pub denominator: i128,
    /// Summand above the line, in the target unit.
    pub offset_numerator: i128,
    /// Summand below the line, above 0.
    pub offset_denominator: i128,
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    i128::try_from(a).unwrap_or(1).max(1)
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.symbol())
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("unknown unit `{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn symbols_and_name_forms_are_unique_and_read_back() {
        let mut seen = HashSet::new();
        for unit in Unit::all() {
            assert_eq!(Unit::parse(unit.symbol()), Some(unit));
            assert!(seen.insert(unit.symbol()) && seen.insert(unit.name_form()) || unit.symbol() == unit.name_form(), "{unit}");
        }
        for (index, row) in TABLE.iter().enumerate() {
            for other in TABLE.iter().skip(index + 1) {
                assert_ne!(row.name_form, other.name_form);
            }
        }
    }

    #[test]
    fn converts_exactly() {
        for (from, to, numerator, denominator) in [
            ("Wh", "kWh", 1, 1000),
            ("GJ", "kWh", 2500, 9),
            ("L/s", "m3/h", 18, 5),
            ("mg/L", "mg/m3", 1000, 1),
            ("%", "1", 1, 100),
            ("kV", "V", 1000, 1),
        ] {
            let conversion = Unit::parse(from).unwrap().conversion_to(Unit::parse(to).unwrap()).unwrap();
            assert_eq!(
                (conversion.numerator, conversion.denominator, conversion.offset_numerator),
                (numerator, denominator, 0),
                "{from} -> {to}"
            );
        }
        let kelvin = Unit::parse("K").unwrap().conversion_to(Unit::parse("degC").unwrap()).unwrap();
        assert_eq!((kelvin.numerator, kelvin.denominator, kelvin.offset_numerator, kelvin.offset_denominator), (1, 1, -273_150, 1000));
    }

    #[test]
    fn unlike_things_do_not_convert() {
        for (from, to) in [("m3", "Nm3"), ("kW", "kWh"), ("ppm", "mg/m3"), ("kW", "kVA"), ("mg/m3", "mg/Nm3")] {
            assert_eq!(Unit::parse(from).unwrap().conversion_to(Unit::parse(to).unwrap()), None, "{from} -> {to}");
        }
    }
}
