//! What is told hour by hour or event by event: emissions of outlets, charging, values got and due.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Number;
use crate::period::{Moment, Period};

/// Kind of outlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutletKind {
    /// Stack: concentration mg/Nm3 dry and not oxygen-corrected, flow Nm3/h dry.
    Gas,
    /// Waste water: concentration mg/L, volume m3 of the hour.
    Water,
}

/// One pollutant of one outlet, hour by hour. Hours before the period are needed to fill gaps in it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmissionSeries {
    /// Outlet.
    pub outlet: String,
    /// Its kind.
    pub kind: OutletKind,
    /// Its enterprise.
    #[serde(default)]
    pub enterprise: Option<String>,
    /// Pollutant: SO2, NOx, VOCs, COD, NH3N, ...
    pub pollutant: String,
    /// Hours, in any order.
    pub hours: Vec<EmissionHour>,
    /// Valid rate of quarters, by the month they begin with, a fraction; else counted from the hours given.
    #[serde(default)]
    pub quarter_valid_rates: BTreeMap<Period, Number>,
    /// Stretches out of control after a failed calibration.
    #[serde(default)]
    pub out_of_control: Vec<OutOfControl>,
}

/// One hour of an outlet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmissionHour {
    /// Start of the hour.
    pub start: Moment,
    /// Mean concentration.
    #[serde(default)]
    pub concentration: Option<Number>,
    /// Flow or volume.
    #[serde(default)]
    pub flow: Option<Number>,
    /// Mass in kg, where it was formed already; counts before concentration x flow.
    #[serde(default)]
    pub mass_kg: Option<Number>,
    /// Whether the hour is valid.
    #[serde(default = "yes")]
    pub valid: bool,
    /// Whether the plant ran; a stopped hour has no emission.
    #[serde(default = "yes")]
    pub running: bool,
}

/// Time out of control: invalid, and gaps are filled from before the last good calibration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutOfControl {
    /// From.
    pub from: Moment,
    /// To.
    pub to: Moment,
    /// Last good calibration.
    pub last_good_calibration: Moment,
}

/// Charging stations of the park.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Charging {
    /// Piles.
    pub piles: Vec<Pile>,
    /// Sessions. Absent: not known.
    pub sessions: Option<Vec<Session>>,
    /// States of guns; time that none covers is idle. Absent: not known.
    pub states: Option<Vec<GunState>>,
}

/// A charging pile.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pile {
    /// Its id.
    pub id: String,
    /// Station.
    pub station: String,
    /// Rated power of the pile, kW.
    pub rated_kw: Number,
    /// Guns.
    pub guns: u32,
}

/// A charging session.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Pile.
    pub pile: String,
    /// Gun, 1 and up.
    #[serde(default = "first")]
    pub gun: u32,
    /// Start.
    pub start: Moment,
    /// End.
    pub end: Moment,
    /// Energy delivered, kWh.
    pub kwh: Number,
}

/// What a gun does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GunStateKind {
    /// Nothing.
    Idle,
    /// Charges.
    Charging,
    /// Is out of order.
    Fault,
    /// Nobody knows. Time that no state is given for counts as idle.
    Unknown,
}

/// State of a gun over a time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GunState {
    /// Pile.
    pub pile: String,
    /// Gun, 1 and up.
    #[serde(default = "first")]
    pub gun: u32,
    /// From.
    pub from: Moment,
    /// To.
    pub to: Moment,
    /// State.
    pub state: GunStateKind,
}

/// Values got and due of a point or device.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueCount {
    /// Point or device.
    pub point: String,
    /// Period.
    pub period: Period,
    /// Values that came.
    pub got: Number,
    /// Values due.
    pub due: Number,
}

fn yes() -> bool {
    true
}

fn first() -> u32 {
    1
}
