//! What can be entered in the ledgers. Energy in tce, pollutants in t a year; what is given and taken has at most 3 decimals: what is
//! computed is rounded by [`taken`] and [`given`], nowhere else.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Pollutant;
use crate::Number;
use crate::period::Day;

/// Decimals of an amount.
pub const DECIMALS: u32 = 3;

/// An amount that is taken, as the ledgers keep it: rounded up, so that nobody uses what was not taken.
pub fn taken(amount: &Number) -> Number {
    -given(&-amount.clone())
}

/// An amount that is given, as the ledgers keep it: rounded down, so that nothing is given that is not there.
pub fn given(amount: &Number) -> Number {
    let scale = Number::decimal(10_i128.pow(DECIMALS), 0);
    (amount * &scale).floor() * Number::decimal(1, DECIMALS)
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "entry", rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// Energy quota of a year, by a letter of the authority. One a year; another amount is a correction of it.
    Allowance {
        /// Year.
        year: i16,
        /// Amount, tce.
        amount_tce: Number,
    },
    /// Replacement energy (能耗替代量); counts from the year of its date once it is verified.
    Replacement {
        /// Id, there once.
        id: String,
        /// Amount, tce.
        amount_tce: Number,
        /// Whether the authority verified it.
        verified: bool,
    },
    /// Energy reserved for a project until it produces.
    Reservation {
        /// Project.
        project: String,
        /// Controlled energy of the project, tce a year.
        controlled_tce: Number,
        /// The part of it that is taken from the park's quota, tce.
        amount_tce: Number,
        /// What covers the rest: `province` or `replacement`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        covered_by: Option<String>,
    },
    /// A project produces: its energy is in the park's meters now, no more in the reservations.
    Started {
        /// Project.
        project: String,
    },
    /// A reduction that may be given to projects.
    Source {
        /// Id; of one pollutant there once.
        id: String,
        /// Unit that gave it up.
        unit: String,
        /// Pollutant.
        pollutant: Pollutant,
        /// What was done: closure, other process, treatment.
        measure: String,
        /// Emission before, t a year.
        before_t: Number,
        /// Emission after, t a year.
        after_t: Number,
        /// Verified amount, t a year; null while it is only claimed, then it does not count.
        #[serde(default)]
        verified_t: Option<Number>,
        /// Basin, of water pollutants.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        basin: Option<String>,
        /// Last day on which it can be given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expiry: Option<Day>,
    },
    /// What a project takes of a pollutant.
    Use {
        /// Project.
        project: String,
        /// Pollutant.
        pollutant: Pollutant,
        /// Increment of the project, t a year, with as many decimals as it was declared.
        increment_t: Number,
        /// Ratio.
        ratio: Number,
        /// Why this ratio.
        why: String,
        /// Increment x ratio, t a year, rounded up to 3 decimals.
        amount_t: Number,
    },
    /// A project's approval lapsed: what it took before this entry comes back.
    Lapse {
        /// Project.
        project: String,
    },
    /// A project was cancelled: what it took before this entry comes back.
    Cancellation {
        /// Project.
        project: String,
    },
    /// The entry named by `corrects` does not count, and nothing takes its place.
    Withdrawal {},
}

impl Body {
    /// Its name in files.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Allowance { .. } => "allowance",
            Self::Replacement { .. } => "replacement",
            Self::Reservation { .. } => "reservation",
            Self::Started { .. } => "started",
            Self::Source { .. } => "source",
            Self::Use { .. } => "use",
            Self::Lapse { .. } => "lapse",
            Self::Cancellation { .. } => "cancellation",
            Self::Withdrawal {} => "withdrawal",
        }
    }

    /// What it is about, for lists: a pollutant, `energy`, or a project.
    pub fn subject(&self) -> &str {
        match self {
            Self::Allowance { .. } | Self::Replacement { .. } | Self::Reservation { .. } => "energy",
            Self::Source { pollutant, .. } | Self::Use { pollutant, .. } => pollutant.name(),
            Self::Started { project } | Self::Lapse { project } | Self::Cancellation { project } => project,
            Self::Withdrawal {} => "correction",
        }
    }
}

/// What somebody wants to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its date.
    pub date: Day,
    /// The document it rests on.
    pub document: String,
    /// Number of the entry that it puts right.
    pub corrects: Option<i64>,
    /// What it does.
    pub body: Body,
}

/// An entry of the ledgers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number; later entries have greater ones.
    pub id: i64,
    /// What was entered.
    pub draft: Draft,
}

/// A form in which drafts are written, for the schema.
#[derive(JsonSchema)]
#[schemars(title = "parkgate ledger: entry")]
#[expect(dead_code, reason = "only its schema is used")]
struct DraftFile {
    /// Date of the document or event.
    date: Day,
    /// The document it rests on.
    document: String,
    /// Number of the entry that it puts right.
    corrects: Option<i64>,
    #[serde(flatten)]
    body: Body,
}

/// JSON Schema of an entry as it is given.
pub fn schema() -> Schema {
    schemars::schema_for!(DraftFile)
}

/// A text that is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Not a table.
    #[error("an entry is one table with `entry`, `date` and `document`")]
    NotATable,
    /// Something is missing.
    #[error("`{0}` is missing: {1}")]
    Missing(&'static str, &'static str),
    /// Something has another form.
    #[error("`{0}` is not {1}")]
    Form(&'static str, &'static str),
    /// The rest is not of the form of its kind.
    #[error("{0}")]
    Body(String),
}

impl Draft {
    /// Reads a draft from a tree: `entry` names its kind, `date`, `document` and `corrects` stand beside what belongs to it.
    /// `document` and `today` stand in for what the tree does not have.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(value: &Value, document: Option<&str>, today: Option<Day>) -> Result<Self, DraftError> {
        let mut map: Map<String, Value> = value.as_object().cloned().ok_or(DraftError::NotATable)?;
        let mut take = |key: &str| map.remove(key).filter(|value| !value.is_null());
        let date = match take("date") {
            Some(value) => value.as_str().and_then(|text| text.parse().ok()).ok_or(DraftError::Form("date", "a day such as 2026-01-31"))?,
            None => today.ok_or(DraftError::Missing("date", "the day of the document or event"))?,
        };
        let document = match take("document") {
            Some(value) => value.as_str().map(str::to_owned).ok_or(DraftError::Form("document", "a text"))?,
            None => document.map(str::to_owned).ok_or(DraftError::Missing("document", "the paper it rests on"))?,
        };
        let corrects = match take("corrects") {
            Some(value) => Some(value.as_i64().ok_or(DraftError::Form("corrects", "the number of an entry"))?),
            None => None,
        };
        let body = serde_json::from_value(Value::Object(map)).map_err(|error| DraftError::Body(error.to_string()))?;
        Ok(Self { date, document, corrects, body })
    }

    /// As it is kept, without the document.
    pub fn to_value(&self) -> Value {
        let mut value = serde_json::to_value(&self.body).unwrap_or_default();
        if let Value::Object(map) = &mut value {
            map.insert("date".to_owned(), self.date.to_string().into());
            if let Some(corrects) = self.corrects {
                map.insert("corrects".to_owned(), corrects.into());
            }
        }
        value
    }
}
