//! What is configured about an outlet: factors, the points they come from, and the rules that its figures follow.
//!
//! Points are named `device/point`, as in the main file. Values arrive in the units of the collector: mg/m3 (or ppm) for
//! gas, mg/L for water, degC, Pa, %, m/s, m3/h. Standard state is 273 K and 101 325 Pa, dry (HJ 212-2017 D.2.3).

use serde::{Deserialize, Serialize};

use crate::Number;

/// A name in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// What flows out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutletKind {
    /// Flue or exhaust gas: minutes, hours, dry standard state, conversion.
    Stack,
    /// Waste water: held values, weighted by flow.
    WasteWater,
}

/// One outlet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outlet {
    /// Its id; permanent, limits and marks name it.
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: Names,
    /// The enterprise it belongs to.
    pub enterprise: String,
    /// What flows out.
    pub kind: OutletKind,
    /// What is measured, each with its own figures.
    #[serde(default, rename = "factor")]
    pub factors: Vec<Factor>,
    /// O2 content of the gas, %.
    #[serde(default)]
    pub o2: Option<Oxygen>,
    /// Gas temperature, degC.
    #[serde(default)]
    pub temperature: Option<Auxiliary>,
    /// Static pressure of the gas against the air around, Pa; mostly negative.
    #[serde(default)]
    pub pressure: Option<Auxiliary>,
    /// Barometric pressure, Pa; by a point or as a value of the site. There is no default: 101 325 Pa would be 6 % wrong in Chengdu.
    #[serde(default)]
    pub barometric_pressure: Option<Auxiliary>,
    /// Water vapour in the gas, % by volume.
    #[serde(default)]
    pub humidity: Option<Auxiliary>,
    /// Flow of gas or water. Without it there is no mass, and no flow-weighted mean of water.
    #[serde(default)]
    pub flow: Option<Flow>,
    /// When the source runs. Without it only marks F say that it stands still.
    #[serde(default)]
    pub running: Option<Running>,
    /// Points that tell the state of the monitor.
    #[serde(default)]
    pub status: Vec<Status>,
    /// The rules that figures follow.
    #[serde(default)]
    pub rules: Rules,
}

/// A point and how often it gives a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// `device/point`.
    pub point: String,
    /// Milliseconds from value to value: says how many are due in a minute, 60 000 / interval, at least 1. Default 2000.
    #[serde(default = "interval")]
    pub interval_ms: u32,
    /// The point gives minute means: one good value makes a valid minute. Default: raw readings.
    #[serde(default)]
    pub minute_mean: bool,
}

fn interval() -> u32 {
    2000
}

/// A figure beside the concentration: measured at a point, or set for the site. Exactly one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auxiliary {
    /// `device/point`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// As in [`Channel`].
    #[serde(default = "interval")]
    pub interval_ms: u32,
    /// As in [`Channel`].
    #[serde(default)]
    pub minute_mean: bool,
    /// A fixed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Number>,
}

/// Whether a content is of dry gas or of gas as it flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Water taken out before the measurement, or calculated out by the device.
    #[default]
    Dry,
    /// As it flows; needs `humidity`.
    Wet,
}

/// The state of the gas volume that a concentration refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// 273 K, 101 325 Pa.
    #[default]
    Standard,
    /// As it flows; needs `temperature`, `pressure` and `barometric_pressure`.
    Actual,
}

/// O2 measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oxygen {
    /// `device/point`, %.
    pub point: String,
    /// As in [`Channel`].
    #[serde(default = "interval")]
    pub interval_ms: u32,
    /// As in [`Channel`].
    #[serde(default)]
    pub minute_mean: bool,
    /// Dry or wet.
    #[serde(default)]
    pub basis: Basis,
}

/// One factor of an outlet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Its id: `so2`, `nox`, `dust`, `cod`, `nh3n`, `ph`; limits and marks name it.
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: Names,
    /// Where its value comes from.
    pub source: Source,
    /// Unit of the source; figures are in mg/m3, mg/L or pH.
    #[serde(default)]
    pub unit: FactorUnit,
    /// Molar mass in g/mol, for ppm: SO2 64, CO 28. NOx takes `rules.molar_mass_no2`.
    #[serde(default)]
    pub molar_mass: Option<Number>,
    /// Dry or wet.
    #[serde(default)]
    pub basis: Basis,
    /// Standard or actual; ppm knows no state.
    #[serde(default)]
    pub state: State,
    /// To what the standard converts; none: no conversion, the concentration itself is judged.
    #[serde(default)]
    pub reference: Option<Reference>,
    /// Water: how long a value counts, in minutes from its sample time, when no next one comes. Default 240: meters
    /// for COD and NH3-N give one value per 1 to 4 h.
    #[serde(default = "hold")]
    pub hold_minutes: u32,
}

fn hold() -> u32 {
    240
}

/// Where a factor comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// One point in the unit of the factor; NOx only when the device gives it as NO2.
    Point(Channel),
    /// NOx from NO, and NO2 if it is measured (or converted to NO before the analyser): counted as NO2.
    NoAndNo2 {
        /// NO.
        no: Channel,
        /// NO2; none where the analyser has no channel for it.
        #[serde(default)]
        no2: Option<Channel>,
    },
}

/// Unit of a factor's source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum FactorUnit {
    /// Gas.
    #[default]
    #[serde(rename = "mg/m3")]
    MilligramPerCubicMetre,
    /// Gas, volume fraction; needs a molar mass.
    #[serde(rename = "ppm")]
    Ppm,
    /// Water.
    #[serde(rename = "mg/L")]
    MilligramPerLitre,
    /// Acidity of water: arithmetic mean over time, no mass.
    #[serde(rename = "pH")]
    Ph,
}

/// To what a concentration is converted (HJ 212-2017 D.2.3 (26)-(28)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// Reference O2 in %: C x (21 - this) / (21 - O2).
    O2(Number),
    /// Reference excess-air factor: C x alpha / this, alpha = 21 / (21 - O2).
    Alpha(Number),
}

/// Flow of an outlet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Flow {
    /// Gas velocity in m/s times the area of the duct: wet, as it flows.
    Velocity {
        /// `device/point`, m/s.
        point: String,
        /// As in [`Channel`].
        #[serde(default = "interval")]
        interval_ms: u32,
        /// As in [`Channel`].
        #[serde(default)]
        minute_mean: bool,
        /// Area of the duct, m2.
        area_m2: Number,
        /// Velocity field factor Kv; 1 where the device has it inside.
        #[serde(default = "Number::one")]
        field_factor: Number,
    },
    /// Gas flow in m3/h, wet, as it flows.
    Actual(Channel),
    /// Gas flow in m3/h, dry, standard state.
    Standard(Channel),
    /// Water flow in m3/h.
    Water {
        /// `device/point`, m3/h.
        point: String,
        /// How long a value counts, in seconds, when no next one comes. Default 30.
        #[serde(default = "flow_hold")]
        hold_seconds: u32,
    },
    /// Water totaliser in m3: what flowed is the difference of neighbouring readings, even over the time between them.
    Totaliser {
        /// `device/point`, m3.
        point: String,
        /// Longest time between two readings that is still measured, in seconds. Default 600. A fall of the register is no flow.
        #[serde(default = "totaliser_gap")]
        gap_seconds: u32,
    },
}

fn flow_hold() -> u32 {
    30
}

fn totaliser_gap() -> u32 {
    600
}

/// When the source runs: while the point is at or above `from`. A state point has 1, a velocity a few m/s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// `device/point`.
    pub point: String,
    /// At or above: runs. Below: stopped, letter F.
    pub from: Number,
    /// How long a value counts, in seconds, when no next one comes; then it is not known, and nothing is said. Default 600.
    #[serde(default = "state_hold")]
    pub hold_seconds: u32,
}

/// A point that tells the state of the monitor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// `device/point`.
    pub point: String,
    /// The factor it speaks of; none: all.
    #[serde(default)]
    pub factor: Option<String>,
    /// What its values mean. Values that are not listed mean normal.
    pub states: Vec<StatusState>,
    /// As in [`Running`].
    #[serde(default = "state_hold")]
    pub hold_seconds: u32,
}

fn state_hold() -> u32 {
    600
}

/// What one value of a state point means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusState {
    /// The value.
    pub value: Number,
    /// The letter.
    pub letter: super::mark::Letter,
}

/// The rules that figures follow. Each is a setting because standards and provinces differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Valid minutes that make a valid hour. Default 45 (HJ 212-2017 D.2.3 (24)).
    pub valid_minutes: u32,
    /// Share of the readings due in a minute that makes it valid, in %. Default 75.
    pub minute_percent: u32,
    /// What makes a valid day. Default: 20 valid hours for a stack (HJ 212-2017 D.2.3 (25)); 75 % of the operating
    /// hours for waste water (HJ 356-2019, from memory, not verified).
    pub day: Option<DayRule>,
    /// What makes a valid month. Default: 25 valid days, 23 in February, for a stack (HJ 76-2017 appendix B); 75 % of
    /// the operating hours for waste water (not verified).
    pub month: Option<MonthRule>,
    /// O2 at or above this, in %, cannot be converted. Default 20.9, the O2 of air to one decimal: gas with as much O2 is air, the formula's
    /// denominator is 0.1 or less, and an analyser's error of 0.1 changes the result without bound.
    pub o2_bound: Number,
    /// g/mol of NO2. Default 46.
    pub molar_mass_no2: Number,
    /// g/mol of NO. Default 30.
    pub molar_mass_no: Number,
}

/// What makes a day valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DayRule {
    /// So many valid hours.
    Hours(u32),
    /// So many % of the operating hours: all but the stopped ones.
    PercentOfOperating(u32),
}

/// What makes a month valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MonthRule {
    /// So many valid days; in a month of less than 30 days two less.
    Days(u32),
    /// Valid hours are so many % of the operating hours.
    PercentOfOperating(u32),
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            valid_minutes: 45,
            minute_percent: 75,
            day: None,
            month: None,
            o2_bound: Number::decimal(209, 1),
            molar_mass_no2: Number::from(46),
            molar_mass_no: Number::from(30),
        }
    }
}

impl Channel {
    /// How many readings are due in a minute.
    pub fn due(&self) -> u32 {
        60_000_u32.checked_div(self.interval_ms).unwrap_or(1).max(1)
    }
}

impl Rules {
    /// The rule for a valid day, by kind of outlet where none is set.
    pub fn day(&self, kind: OutletKind) -> DayRule {
        self.day.unwrap_or(match kind {
            OutletKind::Stack => DayRule::Hours(20),
            OutletKind::WasteWater => DayRule::PercentOfOperating(75),
        })
    }

    /// The rule for a valid month, by kind of outlet where none is set.
    pub fn month(&self, kind: OutletKind) -> MonthRule {
        self.month.unwrap_or(match kind {
            OutletKind::Stack => MonthRule::Days(25),
            OutletKind::WasteWater => MonthRule::PercentOfOperating(75),
        })
    }
}

impl Outlet {
    /// The factor of an id.
    pub fn factor(&self, id: &str) -> Option<&Factor> {
        self.factors.iter().find(|factor| factor.id == id)
    }

    /// Every point it reads, each once, in order.
    pub fn points(&self) -> Vec<&str> {
        let mut points: Vec<&str> = Vec::new();
        for factor in &self.factors {
            match &factor.source {
                Source::Point(channel) => points.push(&channel.point),
                Source::NoAndNo2 { no, no2 } => {
                    points.push(&no.point);
                    points.extend(no2.as_ref().map(|channel| channel.point.as_str()));
                }
            }
        }
        points.extend(self.o2.as_ref().map(|o2| o2.point.as_str()));
        for auxiliary in [&self.temperature, &self.pressure, &self.barometric_pressure, &self.humidity] {
            points.extend(auxiliary.as_ref().and_then(|auxiliary| auxiliary.point.as_deref()));
        }
        points.extend(self.flow.as_ref().map(Flow::point));
        points.extend(self.running.as_ref().map(|running| running.point.as_str()));
        points.extend(self.status.iter().map(|status| status.point.as_str()));
        points.sort_unstable();
        points.dedup();
        points
    }

    /// How long before an hour readings are needed, in milliseconds: what is held from there reaches into it. Readings as far behind the
    /// hour are needed only of a totaliser.
    pub fn lookback_ms(&self) -> i64 {
        let seconds = |seconds: u32| i64::from(seconds).saturating_mul(1000);
        let held = match self.kind {
            OutletKind::Stack => 0,
            OutletKind::WasteWater => self.factors.iter().map(|factor| seconds(factor.hold_minutes.saturating_mul(60))).max().unwrap_or(0),
        };
        let flow = match &self.flow {
            Some(Flow::Water { hold_seconds, .. }) => seconds(*hold_seconds),
            Some(Flow::Totaliser { gap_seconds, .. }) => seconds(*gap_seconds),
            _ => 0,
        };
        let states = self.status.iter().map(|status| status.hold_seconds).chain(self.running.as_ref().map(|running| running.hold_seconds));
        states.map(seconds).max().unwrap_or(0).max(held).max(flow)
    }

    /// How long behind an hour readings are needed, in milliseconds: the totaliser's reading that closes it.
    pub fn lookahead_ms(&self) -> i64 {
        match &self.flow {
            Some(Flow::Totaliser { gap_seconds, .. }) => i64::from(*gap_seconds).saturating_mul(1000),
            _ => 0,
        }
    }
}

impl Flow {
    /// Its point.
    pub fn point(&self) -> &str {
        match self {
            Self::Actual(channel) | Self::Standard(channel) => &channel.point,
            Self::Velocity { point, .. } | Self::Water { point, .. } | Self::Totaliser { point, .. } => point,
        }
    }
}
