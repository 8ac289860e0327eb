//! Pollutants whose yearly totals are kept in the ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pollutant. Totals are in t a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Pollutant {
    /// Sulphur dioxide.
    #[serde(rename = "SO2")]
    So2,
    /// Nitrogen oxides, as NO2.
    #[serde(rename = "NOx")]
    Nox,
    /// Volatile organic compounds.
    #[serde(rename = "VOCs")]
    Vocs,
    /// Smoke and dust.
    #[serde(rename = "dust")]
    Dust,
    /// Chemical oxygen demand.
    #[serde(rename = "COD")]
    Cod,
    /// Ammonia nitrogen.
    #[serde(rename = "NH3N")]
    Nh3n,
}

impl Pollutant {
    /// All, in the order of tables.
    pub const ALL: [Self; 6] = [Self::So2, Self::Nox, Self::Vocs, Self::Dust, Self::Cod, Self::Nh3n];

    /// Those that every project has to give.
    pub const REQUIRED: [Self; 5] = [Self::So2, Self::Nox, Self::Vocs, Self::Cod, Self::Nh3n];

    /// Its name in files and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::So2 => "SO2",
            Self::Nox => "NOx",
            Self::Vocs => "VOCs",
            Self::Dust => "dust",
            Self::Cod => "COD",
            Self::Nh3n => "NH3N",
        }
    }

    /// Its Chinese name.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::So2 => "二氧化硫",
            Self::Nox => "氮氧化物",
            Self::Vocs => "挥发性有机物",
            Self::Dust => "烟粉尘",
            Self::Cod => "化学需氧量",
            Self::Nh3n => "氨氮",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}
