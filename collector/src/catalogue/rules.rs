//! Rules and formulas of points: as they are written, and what they mean.

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

use super::place::At;
use super::text::Exact;
use crate::model::Decimal;

/// `on_change = { ... }` of a point.
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOnChange {
    /// A value that differs from the last recorded one by no more is left out, in the stored unit; 0 by default.
    #[garde(skip)]
    pub deadband: Option<At<Exact>>,
    /// One is recorded at least so often, changed or not, in milliseconds; 900000 by default.
    #[garde(range(min = 1_000, max = 86_400_000))]
    pub max_silence_ms: Option<u32>,
}

/// `formula = { ... }` of a point: one of the four operations. Inputs are points of the same device by their ids, or any
/// points by their stable ids (`acme/main-meter/active_power`).
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFormula {
    /// The sum of all inputs.
    #[garde(skip)]
    pub sum: Option<Vec<At<String>>>,
    /// The first input less all others.
    #[garde(skip)]
    pub difference: Option<Vec<At<String>>>,
    /// The product of two inputs.
    #[garde(skip)]
    pub product: Option<Vec<At<String>>>,
    /// The first input divided by the second.
    #[garde(skip)]
    pub ratio: Option<Vec<At<String>>>,
    /// An input older than this against the newest one is missing, in milliseconds; 900000 by default.
    #[garde(range(min = 100, max = 86_400_000))]
    pub max_age_ms: Option<u32>,
}

/// `nameplate = { ... }` of a device: what is written on it, and how its energy is compared with its power.
#[derive(Clone, Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawNameplate {
    /// Compare the rise of its energy counters with its power over time; true by default.
    #[garde(skip)]
    pub check: Option<bool>,
    /// Time over which they are compared, in minutes; three in a row that agree raise a doubt. 5 by default.
    #[garde(range(min = 1, max = 1_440))]
    pub window_minutes: Option<u32>,
    /// How far they may differ, in percent; 25 by default.
    #[garde(range(min = 5, max = 900))]
    pub tolerance_percent: Option<u32>,
    /// Multiplier (CT and PT ratio) that its energy registers still lack, where its power has it; 1 by default.
    #[garde(skip)]
    pub energy_multiplier: Option<At<Exact>>,
    /// Rated power, in kW: a mean power above it by more than the tolerance raises a doubt. None by default.
    #[garde(skip)]
    pub rated_power_kw: Option<At<Exact>>,
}

/// How the energy of a device is compared with its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nameplate {
    /// Whether it is.
    pub check: bool,
    /// Over which time, in milliseconds.
    pub window_ms: i64,
    /// How far they may differ, in percent.
    pub tolerance_percent: u32,
    /// Multiplier that energy registers still lack.
    pub energy_multiplier: Decimal,
    /// Rated power, in kW.
    pub rated_power_kw: Option<Decimal>,
}

impl Default for Nameplate {
    fn default() -> Self {
        Self { check: true, window_ms: 300_000, tolerance_percent: 25, energy_multiplier: Decimal::ONE, rated_power_kw: None }
    }
}

/// What is demanded of a point's values one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointRules {
    /// Values that did not change are left out.
    pub on_change: Option<OnChange>,
    /// A value unchanged for longer, in milliseconds, is uncertain.
    pub flat_after_ms: Option<u32>,
    /// A value that changed faster, in the canonical unit per minute, is uncertain.
    pub change_max_per_minute: Option<Decimal>,
}

/// Report on change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnChange {
    /// A value that differs from the last recorded one by no more is left out, in the canonical unit.
    pub deadband: Decimal,
    /// One is recorded at least so often, in milliseconds.
    pub max_silence_ms: u32,
}

/// Default of [`OnChange::max_silence_ms`].
pub const MAX_SILENCE_DEFAULT_MS: u32 = 900_000;
/// Default of [`Formula::max_age_ms`].
pub const MAX_AGE_DEFAULT_MS: u32 = 900_000;

/// How a virtual point is made of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formula {
    /// What is done.
    pub operation: Operation,
    /// Stable ids of the inputs, in order; at least two, of product and ratio exactly two.
    pub inputs: Vec<String>,
    /// An input older than this against the newest one is missing, in milliseconds.
    pub max_age_ms: u32,
}

/// What a formula does with its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// All added.
    Sum,
    /// The first less all others.
    Difference,
    /// The two multiplied.
    Product,
    /// The first divided by the second.
    Ratio,
}

impl Operation {
    /// The key in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Difference => "difference",
            Self::Product => "product",
            Self::Ratio => "ratio",
        }
    }
}
