//! Dated tables of the review, shipped in `config/review/`: orders on energy review, substitution ratios, thresholds,
//! names of energy with their coefficients.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Number;
use crate::factor::{FactorError, FactorKind, Factors};
use crate::ledger::Pollutant;
use crate::period::Day;

/// All of them.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Orders on energy review, oldest first.
    pub orders: Vec<Order>,
    /// Substitution ratios.
    pub ratios: Vec<Ratio>,
    /// Standard land.
    pub land: Land,
    /// Unit product energy.
    pub product: Product,
    /// Energy by its name in a project file.
    pub energy: BTreeMap<String, Energy>,
    /// Coefficients to standard coal.
    pub factors: Factors,
}

/// An order on the energy review of projects.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(non_snake_case, reason = "units keep their letters")]
pub struct Order {
    /// Id, `NDRC-31-2025`.
    pub id: String,
    /// Title.
    pub zh: String,
    /// Title.
    pub en: String,
    /// First day in force.
    pub from: Day,
    /// Last day in force.
    pub to: Option<Day>,
    /// Exempt only strictly below, tce a year.
    pub exempt_below_tce: Number,
    /// And strictly below, kWh a year.
    pub exempt_below_kWh: Option<Number>,
    /// And strictly below, t of raw coal a year.
    pub exempt_below_coal_t: Option<Number>,
    /// Reviewed by the province from here, tce a year.
    pub provincial_from_tce: Number,
    /// How sure that is, where it differs from `mark`.
    pub provincial_mark: Option<String>,
    /// How sure the row is.
    pub mark: String,
}

impl Order {
    /// Whether it was in force on a day; both ends included.
    pub fn counts(&self, on: Day) -> bool {
        self.from <= on && self.to.is_none_or(|to| on <= to)
    }
}

/// Which quality decides on a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttainedBy {
    /// Last year's mean of PM2.5.
    Pm25,
    /// Last year's water quality.
    Water,
}

/// A substitution ratio.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// Of which pollutants.
    pub pollutants: Vec<Pollutant>,
    /// Which quality decides.
    pub attained_by: AttainedBy,
    /// Ratio where it was attained.
    pub attained: Number,
    /// Ratio where it was missed.
    pub missed: Number,
    /// First day.
    pub from: Day,
    /// How sure it is.
    pub mark: String,
}

/// Thresholds of the ratio value / threshold of standard land.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Land {
    /// Passes from here.
    pub pass: Number,
    /// Conditional from here.
    pub conditional: Number,
    /// How sure they are.
    pub mark: String,
}

/// Threshold of unit product energy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The worst level that passes.
    pub level_worst: u32,
    /// How sure it is.
    pub mark: String,
}

/// A kind of energy in a project file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// Its name with the unit, `coal_kg`.
    pub name: String,
    /// Key of its coefficient, equivalent value (当量值), in the tables of factors.
    pub factor: String,
    /// Units of that coefficient in one unit here, where they differ: 1000 MJ in a GJ.
    #[serde(default = "Number::one")]
    pub units: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Orders {
    order: Vec<Order>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratios {
    ratio: Vec<Ratio>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Thresholds {
    land: Land,
    product: Product,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Energies {
    energy: Vec<Energy>,
}

/// Name in a project file of what is given in tce already.
pub const OTHER_TCE: &str = "other_tce";
/// Name of electricity in a project file.
pub const ELECTRICITY: &str = "electricity_kWh";
/// Name of raw coal in a project file.
pub const COAL: &str = "coal_kg";

impl Tables {
    /// The shipped ones.
    ///
    /// # Panics
    /// Never: they are part of the program, and a test reads them.
    pub fn shipped() -> Self {
        let orders: Orders = read(include_str!("../../../config/review/energy_review.toml"));
        let ratios: Ratios = read(include_str!("../../../config/review/substitution.toml"));
        let thresholds: Thresholds = read(include_str!("../../../config/review/thresholds.toml"));
        let energies: Energies = read(include_str!("../../../config/review/energy.toml"));
        Self {
            orders: orders.order,
            ratios: ratios.ratio,
            land: thresholds.land,
            product: thresholds.product,
            energy: energies.energy.into_iter().map(|energy| (energy.name.clone(), energy)).collect(),
            factors: Factors::built_in(),
        }
    }

    /// Names of energy that a project file may have.
    pub fn energy_names(&self) -> Vec<&str> {
        self.energy.keys().map(String::as_str).chain([OTHER_TCE]).collect()
    }

    /// kgce per unit of a kind of energy on a day, at the equivalent value; `other_tce` has 1000.
    ///
    /// # Errors
    /// When no coefficient is entered for it.
    pub fn kgce(&self, name: &str, on: Day) -> Result<Number, FactorError> {
        let Some(energy) = self.energy.get(name) else { return Ok(Number::from(1000)) };
        let row = self.factors.valid(FactorKind::Equivalent, &energy.factor, on)?;
        Ok(row.factor().unwrap_or_default() * &energy.units)
    }

    /// The ratio of a pollutant that counts on a day, the newest where none is named.
    pub fn ratio(&self, pollutant: Pollutant, on: Option<Day>) -> Option<&Ratio> {
        let counts = |ratio: &&Ratio| ratio.pollutants.contains(&pollutant) && on.is_none_or(|on| ratio.from <= on);
        self.ratios.iter().filter(counts).max_by_key(|ratio| ratio.from)
    }

    /// The first day for which a pollutant has a ratio.
    pub fn first_ratio(&self, pollutant: Pollutant) -> Option<Day> {
        self.ratios.iter().filter(|ratio| ratio.pollutants.contains(&pollutant)).map(|ratio| ratio.from).min()
    }
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).expect("a shipped table, read by a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_tables_are_whole() {
        let tables = Tables::shipped();
        // No day without an order, no day with two.
        for pair in tables.orders.windows(2) {
            assert_eq!(pair[0].to.unwrap().0.tomorrow().unwrap(), pair[1].from.0);
        }
        assert_eq!(tables.orders.last().unwrap().to, None);
        for pollutant in Pollutant::ALL {
            assert!(tables.ratio(pollutant, None).is_some(), "{pollutant:?}");
        }
        let on: Day = "2025-09-01".parse().unwrap();
        for (name, kgce) in [
            ("electricity_kWh", "0.1229"),
            ("gas_Nm3", "1.2143"),
            ("coal_kg", "0.7143"),
            ("diesel_kg", "1.4571"),
            ("heat_GJ", "34.12"),
            ("other_tce", "1000"),
        ] {
            assert_eq!(tables.kgce(name, on).unwrap().to_string(), kgce, "{name}");
        }
        for name in tables.energy_names() {
            assert!(tables.kgce(name, on).unwrap().is_positive(), "{name}");
        }
    }
}
