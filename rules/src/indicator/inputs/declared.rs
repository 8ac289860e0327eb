//! What people declare: amounts, stocks, economic figures, certificates, process emissions, the quota.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Place;
use crate::Number;
use crate::period::{Moment, Period};

/// An amount that is declared, not metered. A later entry for the same place, energy, enterprise and period takes the place of an earlier one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredAmount {
    /// Energy or medium, as with meters.
    pub energy: String,
    /// Where.
    pub place: Place,
    /// Whose.
    #[serde(default)]
    pub enterprise: Option<String>,
    /// Period.
    pub period: Period,
    /// Amount.
    pub amount: Number,
    /// Its unit, where it is not the unit of the energy.
    #[serde(default)]
    pub unit: Option<String>,
    /// Whether it is an estimate.
    #[serde(default)]
    pub estimate: bool,
    /// Where it comes from.
    #[serde(default)]
    pub source: Provenance,
}

/// A fuel by stock (R-STOCK).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FuelStock {
    /// Fuel: key of the coefficient table.
    pub energy: String,
    /// Whose.
    pub enterprise: String,
    /// Period.
    pub period: Period,
    /// Stock at the start.
    pub opening: Number,
    /// Bought in the period.
    pub purchases: Number,
    /// Stock at the end.
    pub closing: Number,
    /// Their unit, where it is not the unit of the energy.
    #[serde(default)]
    pub unit: Option<String>,
    /// Whether it is an estimate.
    #[serde(default)]
    pub estimate: bool,
    /// Where it comes from.
    #[serde(default)]
    pub source: Provenance,
}

/// Who declared something, when, by which document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provenance {
    /// Id of the entry, where it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Who entered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When; of two entries for the same thing the later one counts, at the same time the one further down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<Moment>,
}

/// What is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Revenue, 10k CNY.
    Revenue,
    /// Industrial added value, 10k CNY.
    AddedValue,
    /// Output, 10k CNY.
    Output,
    /// Tax, 10k CNY.
    Tax,
    /// R&D spending, 10k CNY.
    RAndD,
    /// Land, mu. A level: the entry whose period holds the period asked for counts.
    LandMu,
    /// Staff. A level.
    Staff,
}

/// A declared figure.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Which.
    pub figure: Figure,
    /// Whose; absent: of the whole park, which then counts before the sum of the enterprises.
    #[serde(default)]
    pub enterprise: Option<String>,
    /// For which period.
    pub period: Period,
    /// Value.
    pub value: Number,
    /// Whether it is an estimate.
    #[serde(default)]
    pub estimate: bool,
    /// Where it comes from.
    #[serde(default)]
    pub source: Provenance,
}

/// Green certificates. A certificate counts in periods that hold its own as a whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Of whose electricity.
    pub kind: CertificateKind,
    /// Enterprise that holds them; absent: the public area.
    #[serde(default)]
    pub holder: Option<String>,
    /// Meter of the PV plant, for own ones.
    #[serde(default)]
    pub pv_meter: Option<String>,
    /// Period of the electricity.
    pub period: Period,
    /// How many, 1000 kWh each.
    pub certificates: Number,
    /// Where it comes from.
    #[serde(default)]
    pub source: Provenance,
}

/// Of whose electricity a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateKind {
    /// Own PV, capped by that meter's generation.
    OwnPv,
    /// Bought, capped by the holder's metered import.
    Bought,
}

/// Process emissions of an enterprise.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessEmission {
    /// Whose.
    pub enterprise: String,
    /// Period.
    pub period: Period,
    /// t of CO2.
    #[serde(rename = "co2_t")]
    pub co2: Number,
    /// Product or process.
    #[serde(default)]
    pub process: String,
    /// Where it comes from.
    #[serde(default)]
    pub source: Provenance,
}

/// Energy quota of the park.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Allowances by year.
    pub allowances: Vec<Allowance>,
    /// Controlled energy of closed periods, where it is to count instead of what follows from the meters.
    pub closed: Vec<PeriodEnergy>,
    /// Last year's controlled energy: the year, and months or longer periods from its start (`2024`, `2024-01` ...).
    pub last_year: Vec<PeriodEnergy>,
    /// Last year's controlled energy from its first day up to the end of the period named, where months do not tell it.
    pub last_year_to_date: Vec<PeriodEnergy>,
    /// Approved projects that do not produce yet. Absent: not known; empty: none.
    pub committed: Option<Vec<Commitment>>,
}

/// An allowance.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Year.
    pub period: Period,
    /// tce.
    #[serde(rename = "energy_tce")]
    pub energy: Number,
    /// Where it comes from.
    #[serde(default)]
    pub source: Provenance,
}

/// Energy of a period.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeriodEnergy {
    /// Period.
    pub period: Period,
    /// tce.
    #[serde(rename = "energy_tce")]
    pub energy: Number,
    /// Where it comes from.
    #[serde(default)]
    pub source: Provenance,
}

/// Energy promised to a project.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// Project.
    pub project: String,
    /// tce a year.
    #[serde(rename = "energy_tce")]
    pub energy: Number,
    /// Where it comes from.
    #[serde(default)]
    pub source: Provenance,
}
