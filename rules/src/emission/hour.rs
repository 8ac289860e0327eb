//! Figures of one clock hour of one factor, and how the hour counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::mark::{Letter, Mark};
use super::outlet::{Outlet, OutletKind};
use super::sample::Readings;
use super::time::Period;
use super::{gas, water};
use crate::Number;

/// How an hour counts. "Invalid" is never "compliant": the four are kept apart everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HourClass {
    /// Enough valid minutes: it is averaged and judged.
    Valid,
    /// Running, and there are values, but too few of them count.
    Invalid,
    /// Running, and most of what is absent is absent because nothing came.
    Missing,
    /// Standing still for so long that the hour could not become valid; of water, nothing flowed.
    Stopped,
}

/// Why a minute with readings gives no figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Less than the due share of its readings is good.
    TooFewReadings,
    /// No O2 in this minute.
    NoO2,
    /// O2 at or above the bound near 21 %: the converted value is undefined.
    O2NearAir,
    /// No humidity for a wet measurement, or 100 % and more.
    NoHumidity,
    /// No temperature, or absolute zero and below.
    NoTemperature,
    /// No static or barometric pressure, or a vacuum.
    NoPressure,
    /// ppm without a molar mass.
    NoMolarMass,
    /// No flow in this minute.
    NoFlow,
}

/// Minutes of an hour, each counted once; they add up to 60.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MinuteCounts {
    /// Valid for what is judged (converted where there is a reference, else the concentration).
    pub valid: u32,
    /// Standing still: letter F by a mark, the monitor or the running point.
    pub stopped: u32,
    /// Nothing came.
    pub missing: u32,
    /// Marked with a letter other than F and N.
    pub marked: u32,
    /// Readings came, unmarked, without a figure: see [`HourFigure::reasons`].
    pub failed: u32,
    /// `stopped` and `marked` by letter.
    pub by_letter: BTreeMap<Letter, u32>,
}

/// A mean over valid minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Mean {
    /// Sum divided by the number of valid minutes (not by 60); `None` without any.
    pub value: Option<Number>,
    /// Valid minutes in it.
    pub minutes: u32,
    /// Whether they are enough.
    pub valid: bool,
}

/// What the figure would be if marks said nothing: for "above the limit, not counted, and why". Never judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Regardless {
    /// Mean concentration of every minute that has one.
    pub concentration: Option<Number>,
    /// Mean of the converted values of every minute that has one.
    pub converted: Option<Number>,
    /// Minutes that have a concentration.
    pub minutes: u32,
    /// Mean of the readings as they came, in the unit of the point, good or bad, marked or not.
    pub raw: Option<Number>,
    /// As [`HourFigure::mass_rate_kg_h`], of every minute that has a concentration and every minute that has a flow.
    pub mass_rate_kg_h: Option<Number>,
}

/// Figures of one clock hour of one factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HourFigure {
    /// The outlet.
    pub outlet: String,
    /// The factor.
    pub factor: String,
    /// The hour.
    #[serde(flatten)]
    pub period: Period,
    /// How it counts.
    pub class: HourClass,
    /// Its minutes, each counted once.
    pub minutes: MinuteCounts,
    /// Why minutes gave no figure, minutes by reason. A minute may be valid for the concentration and not for the converted
    /// value or the mass; so this may add up to more than `minutes.failed`.
    pub reasons: BTreeMap<Reason, u32>,
    /// Gas: mg/m3, dry, standard state, not converted. Water: mg/L weighted by flow, or pH over time.
    pub concentration: Mean,
    /// Mean of the converted minutes: this one is judged. `None` where nothing is converted.
    pub converted: Option<Mean>,
    /// Conversion of the mean concentration with the mean O2, for comparison: the two differ, and neither is wrong.
    pub converted_of_means: Option<Number>,
    /// Mean flow in m3/h; gas: dry, standard state.
    pub flow: Mean,
    /// Volume in m3 of the whole hour; gas: mean flow x 1 h; water: all slices that were measured.
    pub volume_m3: Option<Number>,
    /// Water: volume of the slices with a valid concentration. The rest of `volume_m3` flowed unwatched.
    pub volume_weighted_m3: Option<Number>,
    /// Mass in kg when concentration and flow are valid, else `None`. Gas: mean concentration (not converted) x mean flow x 1e-6, also
    /// when the converted value is not valid. Water: sum of the slices of a valid hour.
    pub mass_kg: Option<Number>,
    /// Rate in kg/h: mean concentration (not converted) x mean flow, both valid, else `None`. This one is judged. Gas: the number of
    /// `mass_kg`. Water: `mass_kg` is what was measured, which is less where only a part of the hour is valid; the rate is that of the
    /// whole hour, as mean concentration = mass / volume asks (HJ 212-2017 appendix D.1).
    pub mass_rate_kg_h: Option<Number>,
    /// Mass in kg of the valid minutes of a stopped hour, while it ran: part of what was emitted, of no valid hour.
    pub partial_mass_kg: Option<Number>,
    /// Means of `o2` (dry), `temperature`, `pressure`, `humidity`, where measured, by their name.
    pub auxiliary: BTreeMap<String, Mean>,
    /// What it would be without marks.
    pub regardless: Regardless,
}

/// Figures of one hour of an outlet, one for each factor, in the order of the configuration.
///
/// `hour`: one clock hour. `readings`: at least those of [`Outlet::points`] in the hour, [`Outlet::lookback_ms`] before it and
/// [`Outlet::lookahead_ms`] behind it; more does no harm. `marks`: those in force, of any outlet.
pub fn figures(outlet: &Outlet, hour: &Period, readings: &Readings, marks: &[Mark]) -> Vec<HourFigure> {
    match outlet.kind {
        OutletKind::Stack => gas::figures(outlet, hour, readings, marks),
        OutletKind::WasteWater => water::figures(outlet, hour, readings, marks),
    }
}

impl HourFigure {
    /// What a limit on the converted value looks at: converted where there is a reference, else the concentration.
    pub fn judged(&self) -> &Mean {
        self.converted.as_ref().unwrap_or(&self.concentration)
    }
}

impl Mean {
    /// Its value, if it is valid.
    pub fn counted(&self) -> Option<&Number> {
        self.value.as_ref().filter(|_| self.valid)
    }
}

impl HourClass {
    /// `valid`, `invalid`, `missing`, `stopped`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Missing => "missing",
            Self::Stopped => "stopped",
        }
    }
}
