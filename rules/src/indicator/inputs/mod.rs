//! What indicators are computed from: one value that stands alone, so that anybody can repeat a figure without a park.
//!
//! Amounts come in three ways, and indicators do not tell them apart: readings of a meter with its segments, totals of a
//! meter that were formed already (by the gateway's own totals), and amounts people declare. What a list does not hold is
//! missing, never zero; where "there is none" is an answer of its own (certificates, process emissions) the list is given
//! and empty.
//!
//! Units: what a meter's totals, declared amounts and stocks are in is the unit of the energy, by its factor row
//! (electricity kWh, heat GJ, gas m3 at its standard state, solid and liquid fuels kg, water m3), unless `unit` says otherwise.

mod declared;
mod activity;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use activity::{Charging, EmissionHour, EmissionSeries, GunState, GunStateKind, OutOfControl, OutletKind, Pile, Session, ValueCount};
pub use declared::{
    Allowance, Certificate, CertificateKind, Commitment, Declared, DeclaredAmount, Figure, FuelStock, PeriodEnergy, ProcessEmission,
    Provenance, Quota,
};

use crate::Number;
use crate::factor::FactorRow;
pub use crate::meter::Flag;
use crate::period::{Day, Moment, Period, Zone};

/// Inputs of the indicators.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "parkgate indicator inputs")]
pub struct Inputs {
    /// The park.
    pub park: Park,
    /// Periods asked for.
    pub periods: Vec<Period>,
    /// Day the report is closed, 2025-07-15: grid factors published by then count. Else the day the period ends.
    pub closed_on: Option<Day>,
    /// Instant up to which the figures have come, when a period asked for is not over: its days count for time progress,
    /// pace and forecasts up to here. Absent: the period is over.
    pub as_of: Option<Moment>,
    /// Enterprises of the park.
    pub enterprises: Vec<Enterprise>,
    /// Meters and where they sit. The list is taken as whole: what has no meter here and is not declared does not exist.
    pub meters: Vec<Meter>,
    /// Totals of meters that were formed already; they count before the meter's readings.
    pub totals: Vec<MeterTotal>,
    /// Amounts that are declared, not metered: heat, feedstock, a fuel without stock figures.
    pub amounts: Vec<DeclaredAmount>,
    /// Fuels by stock: used = opening + purchases - closing.
    pub stocks: Vec<FuelStock>,
    /// Economic and other declared figures.
    pub declared: Vec<Declared>,
    /// Green certificates held. Absent: not known; empty: none.
    pub certificates: Option<Vec<Certificate>>,
    /// Process emissions. Absent: not known; empty: none.
    pub process_emissions: Option<Vec<ProcessEmission>>,
    /// Whether working media (耗能工质) count in energy; never in park energy and quota figures that are reported.
    pub include_media: bool,
    /// Factor rows that come before the built-in ones.
    pub factors: Vec<FactorRow>,
    /// Energy quota.
    pub quota: Option<Quota>,
    /// Hourly concentrations and flows of outlets.
    pub emissions: Vec<EmissionSeries>,
    /// Charging.
    pub charging: Option<Charging>,
    /// Values got and due.
    pub values: Vec<ValueCount>,
}

/// The park.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Park {
    /// Name shown.
    pub name: String,
    /// Its zone; UTC+8 unless given.
    pub zone: Zone,
    /// Region of its grid factor: key of the grid table.
    pub region: String,
    /// Codes of the leading industries; an enterprise whose code begins with one belongs to them, unless it says itself.
    pub leading_industries: Option<Vec<String>>,
    /// Innovation platforms of provincial or higher level, by year.
    pub innovation_platforms: BTreeMap<Period, Number>,
    /// Largest share of network loss that is taken as sound, a fraction; no check without it.
    pub loss_share_max: Option<Number>,
}

impl Default for Park {
    fn default() -> Self {
        Self {
            name: String::new(),
            zone: Zone::default(),
            region: "sichuan".to_owned(),
            leading_industries: None,
            innovation_platforms: BTreeMap::new(),
            loss_share_max: None,
        }
    }
}

/// An enterprise.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enterprise {
    /// Its id, which meters and declarations name.
    pub id: String,
    /// Name shown.
    #[serde(default)]
    pub name: String,
    /// Industry code (GB/T 4754).
    #[serde(default)]
    pub industry: Option<String>,
    /// Whether it belongs to a leading industry; else by its code.
    #[serde(default)]
    pub leading: Option<bool>,
    /// Whether it belongs to a high-tech industry.
    #[serde(default)]
    pub high_tech: Option<bool>,
}

/// What a meter or a declared amount stands for in the park's networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Comes in over the park's boundary.
    Gate,
    /// Leaves over the park's boundary.
    GateExport,
    /// Generation of a PV plant, behind the meter of its enterprise; without enterprise it feeds the park's network.
    Pv,
    /// An enterprise gives it into the park's network or to another one: electricity exported, heat sold.
    InternalExport,
    /// An enterprise gets it from the park's network or from outside: electricity imported, gas, fuel, heat received.
    Import,
    /// Use of the public area.
    Public,
    /// A charging station; part of its parent, never added to it.
    Charging,
    /// Used as material, not burnt; part of its parent or of the enterprise's use, never added to it.
    Feedstock,
    /// Fresh water of an enterprise.
    Fresh,
    /// Household part of an enterprise's fresh water.
    Household,
    /// Water used again in an enterprise's own cycles.
    Recirculated,
    /// Treated waste water that is used.
    Reclaimed,
    /// Waste water that is treated.
    Treated,
    /// Any other part of its parent; enters no figure.
    Sub,
}

/// A meter.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// Its id.
    pub id: String,
    /// Energy or medium: key of the coefficient table (`electricity`, `heat`, `natural_gas_gas_field`, `raw_coal`, ...) or `water`.
    pub energy: String,
    /// Where it sits.
    pub place: Place,
    /// Its enterprise.
    #[serde(default)]
    pub enterprise: Option<String>,
    /// Meter it is part of.
    #[serde(default)]
    pub parent: Option<String>,
    /// Unit of register x multiplier, where it is not the unit of the energy: kWh, MWh, MJ, GJ, kg, t, m3, Nm3.
    #[serde(default)]
    pub unit: Option<String>,
    /// Register value at which it wraps to 0. Without it a falling register is suspect.
    #[serde(default)]
    pub modulus: Option<Number>,
    /// Highest plausible rate in register units per hour, before the multiplier. Without it a falling register is suspect.
    #[serde(default)]
    pub rate_max: Option<Number>,
    /// Minutes between readings when all is well; longer gaps count as outages. Without it no gap is judged.
    #[serde(default)]
    pub readings_every_minutes: Option<u32>,
    /// Segments with one register and multiplier each; none: one without end, multiplier 1.
    #[serde(default)]
    pub segments: Vec<Segment>,
    /// Register readings, in any order.
    #[serde(default)]
    pub readings: Vec<Reading>,
}

/// A stretch of time with one register and one multiplier.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Segment {
    /// Start; absent: since ever.
    pub from: Option<Moment>,
    /// End; absent: until now.
    pub to: Option<Moment>,
    /// Primary units per register unit; 1 unless given.
    pub multiplier: Option<Number>,
    /// Register at `from`, as the exchange protocol has it.
    pub first_register: Option<Number>,
    /// Register at `to`.
    pub last_register: Option<Number>,
}

/// A register reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// When.
    pub time: Moment,
    /// Register, before the multiplier.
    pub register: Number,
}

/// A meter's total over a period, formed elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeterTotal {
    /// Meter.
    pub meter: String,
    /// Period.
    pub period: Period,
    /// Amount in the meter's unit; null: not known, `incomplete` says why.
    pub amount: Option<Number>,
    /// What happened.
    #[serde(default)]
    pub flags: Vec<Flag>,
    /// Part of the amount that is estimated.
    #[serde(default)]
    pub estimated: Number,
    /// Part of the amount that a split at a boundary assigned.
    #[serde(default)]
    pub interpolated: Number,
    /// Share of the period not inside gaps; 1 unless given.
    #[serde(default)]
    pub completeness: Option<Number>,
    /// Why the amount is not whole; absent when it is.
    #[serde(default)]
    pub incomplete: Option<String>,
    /// Readings it rests on, for the explanation.
    #[serde(default)]
    pub readings: Vec<Reading>,
}
