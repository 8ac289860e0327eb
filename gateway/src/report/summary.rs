//! The emission summary of one outlet over a range of hours, days or months, as it is handed out.
//!
//! In this order, also in every form: head with all parameters used; what was above a limit and was not counted, and why;
//! exceedances; rows of figures by factor; sums over the range; limits; marks; corrections. Figures are exact inside and
//! rounded once, half to even (GB/T 8170), when they are written:
//!
//! | figure | decimals |
//! |---|---|
//! | concentration | those of the limit and one more; 3 without a limit |
//! | mass of a row | 3, in kg |
//! | mass of the range | 3, in t |
//! | shares and rates, as fractions; times over | 6; 3 |
//! | O2, humidity, temperature | 2 |
//! | pressure | 0 |
//! | flow and volume | 1 |
//!
//! A figure that was compared with a limit is also there unrounded (`exact`): 50.004 is above 50, and says so.

use parkgate_rules::Number;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// What [`Summary::schema`] says.
pub const SCHEMA: &str = "parkgate emission summary 1";
/// Decimals of masses.
pub const MASS: u32 = 3;
/// Decimals of shares and rates.
pub const SHARE: u32 = 6;
/// Decimals of how many times a limit was exceeded.
pub const TIMES: u32 = 3;
/// Decimals of a concentration without a limit.
pub const UNLIMITED: u32 = 3;

/// The summary.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// Name and version of this form.
    pub schema: String,
    /// What it is about and how it was made.
    pub head: Head,
    /// Periods above a limit that were not counted, and why.
    pub above_limit_not_counted: Vec<NotCounted>,
    /// Exceedances, withdrawn ones too.
    pub exceedances: Vec<Exceedance>,
    /// Figures by factor, then by time.
    pub rows: Vec<Row>,
    /// Sums over the range, by factor.
    pub totals: Vec<Total>,
    /// Limits that held in the range.
    pub limits: Vec<LimitLine>,
    /// Marks that touch the range, withdrawn ones too.
    pub marks: Vec<MarkLine>,
    /// Figures of the range that changed after they had been given.
    pub corrections: Vec<Correction>,
}

/// Something with an id and names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// Chinese name.
    pub zh: String,
    /// English name.
    pub en: String,
}

/// A text in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Text {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl Text {
    /// Both.
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { zh: zh.into(), en: en.into() }
    }

    /// Both in one line.
    pub fn both(&self) -> String {
        match (self.zh.is_empty(), self.en.is_empty()) {
            (false, false) if self.zh != self.en => format!("{} {}", self.zh, self.en),
            (true, _) => self.en.clone(),
            _ => self.zh.clone(),
        }
    }
}

/// A number that is written with so many decimals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Unrounded.
    pub value: Number,
    /// Decimals on output.
    pub decimals: u32,
}

impl Figure {
    /// A number with its decimals.
    pub fn new(value: Number, decimals: u32) -> Self {
        Self { value, decimals }
    }

    /// As it is written.
    pub fn text(&self) -> String {
        self.value.fixed(self.decimals)
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl JsonSchema for Figure {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Figure".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A decimal, rounded half to even.",
            "type": "string",
            "pattern": "^-?[0-9]+(\\.[0-9]+)?$",
        })
    }
}

/// What a summary is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Head {
    /// The park.
    pub park: Named,
    /// The outlet.
    pub outlet: Named,
    /// Its enterprise.
    pub enterprise: Named,
    /// `stack` or `waste_water`.
    pub kind: String,
    /// Length of a row: `hour`, `day` or `month`.
    pub period: String,
    /// Start of the first row, RFC 3339.
    pub from: String,
    /// End of the last row, RFC 3339.
    pub to: String,
    /// Time zone that hours, days and months are in.
    pub zone: String,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// Program and version that made it.
    pub software: String,
    /// Hash of the configuration that the figures follow.
    pub configuration: String,
    /// What is measured.
    pub factors: Vec<Factor>,
    /// What the figures rest on.
    pub parameters: Vec<Parameter>,
    /// What is not in it since whoever asked for it may not see it. None: nothing is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Text>,
}

/// A factor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Factor {
    /// Its id.
    pub id: String,
    /// Its names.
    pub name: Text,
    /// Unit of its concentrations.
    pub unit: String,
    /// Decimals that they are written with.
    pub decimals: u32,
    /// Its concentrations are converted to a reference content of oxygen.
    pub is_converted: bool,
}

/// Something that the figures rest on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Parameter {
    /// Its name, for programs.
    pub id: String,
    /// The factor it is about, else the outlet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// What it is.
    pub name: Text,
    /// Its value.
    pub value: String,
    /// Its unit; empty for a pure number or a word.
    pub unit: String,
    /// Where it comes from: standard, edition, clause, or who set it.
    pub source: String,
}

/// What a period is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At or below the limit.
    Compliant,
    /// Above the limit.
    Exceeded,
    /// No limit with this averaging period is entered.
    NotJudged,
    /// There is no valid figure to judge.
    NotValid,
    /// Nothing flowed out.
    Stopped,
    /// No value came.
    Missing,
    /// The period is not over, or its figures are not final.
    Open,
}

impl Status {
    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compliant => "compliant",
            Self::Exceeded => "exceeded",
            Self::NotJudged => "not_judged",
            Self::NotValid => "not_valid",
            Self::Stopped => "stopped",
            Self::Missing => "missing",
            Self::Open => "open",
        }
    }

    /// For people.
    pub fn words(self) -> Text {
        let (zh, en) = match self {
            Self::Compliant => ("达标", "compliant"),
            Self::Exceeded => ("超标", "exceeded"),
            Self::NotJudged => ("未评价（未录入限值）", "not judged (no limit entered)"),
            Self::NotValid => ("数据无效", "not valid"),
            Self::Stopped => ("停运", "stopped"),
            Self::Missing => ("数据缺失", "missing"),
            Self::Open => ("未结束", "not over yet"),
        };
        Text::new(zh, en)
    }
}

/// Hours of a period, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hours {
    /// With a valid figure.
    pub valid: u32,
    /// With values, of which too few are valid.
    pub invalid: u32,
    /// Without values.
    pub missing: u32,
    /// The source stood still.
    pub stopped: u32,
}

impl std::ops::AddAssign for Hours {
    fn add_assign(&mut self, other: Self) {
        self.valid = self.valid.saturating_add(other.valid);
        self.invalid = self.invalid.saturating_add(other.invalid);
        self.missing = self.missing.saturating_add(other.missing);
        self.stopped = self.stopped.saturating_add(other.stopped);
    }
}

impl Hours {
    /// Valid hours as a share of all but the stopped ones; `None` when there are none of those.
    pub fn valid_rate(self) -> Option<Number> {
        let due = i128::from(self.valid) + i128::from(self.invalid) + i128::from(self.missing);
        Number::fraction(i128::from(self.valid), due)
    }
}

/// Why a period above its limit was not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reason {
    /// `marked`, `too_few_valid`, `missing_flow` and so on, for programs.
    pub id: String,
    /// In words.
    pub words: Text,
    /// Letter of the mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
    /// Condition that the mark names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Who set the mark; without one the monitor itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Id of the mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
}

impl Reason {
    /// In one line.
    pub fn line(&self) -> String {
        let mut line = self.words.both();
        let parts = [("", &self.letter), ("", &self.condition), ("by ", &self.author), ("mark ", &self.mark)];
        for (before, part) in parts {
            if let Some(part) = part.as_deref().filter(|part| !part.is_empty()) {
                line = format!("{line}, {before}{part}");
            }
        }
        line
    }
}

/// A period above its limit that was not counted.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NotCounted {
    /// The factor.
    pub factor: String,
    /// Start.
    pub start: String,
    /// End.
    pub end: String,
    /// What the values that came make.
    pub value: Figure,
    /// The same, unrounded.
    pub exact: Number,
    /// The limit.
    pub limit: Number,
    /// Unit of both.
    pub unit: String,
    /// Why it was not counted.
    pub reasons: Vec<Reason>,
}

/// A compliance event.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Exceedance {
    /// Its identity, the same over all amendments.
    pub event: String,
    /// `exceedance`, or `abatement_off` or `abatement_idle` while production ran.
    pub kind: String,
    /// The factor; none for the outlet as such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// `raised`, `amended` or `withdrawn`.
    pub state: String,
    /// Start.
    pub start: String,
    /// End; none while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Averaging period that the limit names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub averaging: Option<String>,
    /// The value that exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Figure>,
    /// The same, unrounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<Number>,
    /// The limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Number>,
    /// Unit of both.
    pub unit: String,
    /// (value - limit) / limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_over: Option<Figure>,
    /// Clause of the limit, or what happened in words.
    pub clause: String,
    /// When it was last raised, amended or withdrawn.
    pub changed_at: String,
    /// What is not told of it since whoever asked may not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Text>,
}

/// A figure compared with one limit.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Judged {
    /// Id of the limit.
    pub limit_id: String,
    /// What it looks at: `converted`, `as_is` or `mass_rate`.
    pub applies_to: String,
    /// `upper` or `lower`.
    pub bound: String,
    /// Its value.
    pub limit: Number,
    /// Unit of both.
    pub unit: String,
    /// What was compared with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Figure>,
    /// The same, unrounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<Number>,
    /// What that says.
    pub status: Status,
    /// (value - limit) / limit where it exceeds an upper limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_over: Option<Figure>,
}

/// One factor in one period.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// The factor.
    pub factor: String,
    /// Start, inclusive.
    pub start: String,
    /// End, exclusive.
    pub end: String,
    /// Average as measured; of a stack dry, at standard state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<Figure>,
    /// Average of the converted values: the judged one where the standard converts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converted: Option<Figure>,
    /// Conversion of the average, for comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converted_of_average: Option<Figure>,
    /// Mass that was measured, kg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass_kg: Option<Figure>,
    /// Mass filled in for hours without a valid one, kg; not in `mass_kg`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass_filled_kg: Option<Figure>,
    /// Mass of the valid minutes of stopped hours, kg; not in `mass_kg`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass_partial_kg: Option<Figure>,
    /// What it is said to be, by all its limits together.
    pub status: Status,
    /// What each limit says that names this period. None: no limit is entered.
    pub judgements: Vec<Judged>,
    /// Letters of its marks.
    pub marks: Vec<String>,
    /// Why it is not valid, or what else is to be known.
    pub notes: Vec<Text>,
    /// Its hours.
    pub hours: Hours,
    /// Valid hours as a share of all but the stopped ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_rate: Option<Figure>,
    /// O2 content, %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oxygen: Option<Figure>,
    /// Temperature, degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<Figure>,
    /// Static pressure, Pa.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Figure>,
    /// Water vapour, %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub humidity: Option<Figure>,
    /// Volume that flowed out, m3; of a stack dry, at standard state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Figure>,
    /// How often its figures were corrected after they had been given.
    pub corrections: u32,
}

/// Sums over the range.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Total {
    /// The factor.
    pub factor: String,
    /// Hours of all rows.
    pub hours: Hours,
    /// Valid hours as a share of all but the stopped ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_rate: Option<Figure>,
    /// Hours of which data came as a share of all but the stopped ones. By this times the share of valid ones in them the
    /// valid rate is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transmission_rate: Option<Figure>,
    /// Highest judged figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest: Option<Figure>,
    /// Rows that are compliant.
    pub compliant: u32,
    /// Rows that exceed.
    pub exceeded: u32,
    /// Rows that no limit judges.
    pub not_judged: u32,
    /// Rows without a valid figure.
    pub not_valid: u32,
    /// Mass that was measured, t.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass_t: Option<Figure>,
    /// Mass filled in, t; not in `mass_t`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass_filled_t: Option<Figure>,
    /// Mass of the valid minutes of stopped hours, t; not in `mass_t`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass_partial_t: Option<Figure>,
    /// Filled mass as a share of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filled_share: Option<Figure>,
}

/// A limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LimitLine {
    /// Its id.
    pub id: String,
    /// The factor.
    pub factor: String,
    /// Its value, with the decimals it was entered with.
    pub value: String,
    /// Unit.
    pub unit: String,
    /// Averaging period that it names.
    pub averaging: String,
    /// What it looks at: `converted`, `as_is` or `mass_rate`.
    pub applies_to: String,
    /// `upper` or `lower`.
    pub bound: String,
    /// Standard, table or permit.
    pub clause: String,
    /// From when it holds.
    pub from: String,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who entered it.
    pub author: String,
    /// When.
    pub set_at: String,
    /// The paper that the entry names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Who ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// When they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// A mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MarkLine {
    /// Its id.
    pub id: String,
    /// The factor or channel; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// Its letter.
    pub letter: String,
    /// What the letter means.
    pub words: Text,
    /// Condition in words.
    pub condition: String,
    /// From when.
    pub from: String,
    /// Until when; none until it is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who set it.
    pub author: String,
    /// When.
    pub set_at: String,
    /// The paper that the entry names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Who withdrew it: it does not hold, and says nothing against values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_by: Option<String>,
    /// When they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<String>,
}

/// A figure that changed after it had been given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Correction {
    /// The factor; none for the outlet as such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// Length of the period; empty for all figures from start to end.
    pub period: String,
    /// Start of the period.
    pub start: String,
    /// End of the period.
    pub end: String,
    /// Which figure.
    pub figure: String,
    /// What it was; none when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What it is now; none when there is none any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Why it changed.
    pub cause: String,
    /// When that was noticed.
    pub changed_at: String,
}

impl Summary {
    /// The factor of an id.
    pub fn factor(&self, id: &str) -> Option<&Factor> {
        self.head.factors.iter().find(|factor| factor.id == id)
    }
}

/// Decimals that a limit's concentrations are written with: its own and one more.
pub fn decimals(limit: Option<&Number>) -> u32 {
    let Some(limit) = limit else { return UNLIMITED };
    let text = limit.to_string();
    let own = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    u32::try_from(own).unwrap_or(UNLIMITED).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rounded_once_and_half_to_even() {
        // Limits and the decimals of what is compared with them: 50 -> 1, 0.05 -> 3.
        for (limit, value, text) in [
            (Some("50"), "50.05", "50.0"),
            (Some("50"), "50.15", "50.2"),
            (Some("50.0"), "50.25", "50.2"),
            (Some("0.05"), "0.0505", "0.050"),
            (Some("0.05"), "0.0515", "0.052"),
            (None, "36.3558", "36.356"),
        ] {
            let limit: Option<Number> = limit.map(|limit| limit.parse().unwrap());
            let figure = Figure::new(value.parse().unwrap(), decimals(limit.as_ref()));
            assert_eq!(figure.text(), text, "{value} against {limit:?}");
        }
    }

    #[test]
    fn stopped_hours_are_not_in_the_valid_rate() {
        // 720 h of a month, 20 stopped: 665 / 700.
        let hours = Hours { valid: 665, invalid: 25, missing: 10, stopped: 20 };
        assert_eq!(hours.valid_rate().unwrap().fixed(SHARE), "0.950000");
        assert_eq!(Hours { stopped: 720, ..Hours::default() }.valid_rate(), None);
    }
}
