//! What an indicator says: value, status, what it rests on, and on request the tree down to register readings.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::inputs::{Flag, Provenance};
use crate::Number;
use crate::factor::FactorUse;
use crate::period::Period;

/// How a result is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it stands.
    Ok,
    /// Part of it is estimated.
    Estimated,
    /// Part of it is lacking: the value is what is there, `missing` says what is not.
    Incomplete,
    /// The formula gives nothing here, a division by 0 say.
    NotDefined,
    /// No value: `missing` names the inputs.
    Missing,
}

/// Of what an indicator is the figure.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct Subject {
    /// An outlet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlet: Option<String>,
    /// A pollutant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pollutant: Option<String>,
    /// A charging station.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
}

impl Subject {
    /// The whole park.
    pub fn park() -> Self {
        Self::default()
    }

    /// Whether it is the whole park.
    pub fn is_park(&self) -> bool {
        *self == Self::default()
    }
}

/// An indicator for a period.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct IndicatorResult {
    /// EN-01 and so on.
    pub indicator: &'static str,
    /// Chinese name.
    pub zh: &'static str,
    /// English name.
    pub en: &'static str,
    /// Of what; the whole park when empty.
    #[serde(skip_serializing_if = "Subject::is_park")]
    pub subject: Subject,
    /// Period.
    pub period: Period,
    /// Its start, park time.
    pub start: String,
    /// Its end, park time, not part of it.
    pub end: String,
    /// How to take it.
    pub status: Status,
    /// The value with the decimals of the indicator, rounded half to even (GB/T 8170).
    pub value: Option<String>,
    /// The value as exactly as it is kept, at most 30 decimals.
    pub exact: Option<Number>,
    /// Unit.
    pub unit: &'static str,
    /// Further figures of the same indicator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Other>,
    /// What is lacking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// Share of the value that is estimated (R-EST and declared estimates), a fraction to 6 decimals.
    pub estimated_share: Option<String>,
    /// Mean interval completeness of the meters used, a fraction to 6 decimals; none where no meter is used.
    pub completeness: Option<String>,
    /// Part of the value that splits at boundaries assigned (R-BOUND), in the unit; none where it does not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolated: Option<String>,
    /// What happened at the meters.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub flags: BTreeSet<Flag>,
    /// Inputs used, as paths into the inputs: `meters.gate`, `declared.revenue.acme`.
    pub inputs: Vec<String>,
    /// Factor rows used.
    pub factors: Vec<FactorUse>,
    /// What else is to be said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Version of the rules of computation.
    pub rules: &'static str,
    /// The tree, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Node>,
}

/// A further figure.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Other {
    /// Its key, snake_case.
    pub name: String,
    /// Chinese name.
    pub zh: &'static str,
    /// English name.
    pub en: &'static str,
    /// Rounded value; none: missing or not defined.
    pub value: Option<String>,
    /// Unit.
    pub unit: &'static str,
}

/// An input that is lacking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct Missing {
    /// Path of the input: `declared.added_value.acme`.
    pub input: String,
    /// What is lacking and what to do.
    pub why: String,
}

/// A step of the explanation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Node {
    /// Chinese label.
    pub zh: String,
    /// English label.
    pub en: String,
    /// How the value follows from the children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// Value; at most 30 decimals.
    pub value: Option<Number>,
    /// Unit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What it rests on, at the ends of the tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<Leaf>,
    /// Steps below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

/// The end of a branch.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Leaf {
    /// A register reading.
    Reading {
        /// Meter.
        meter: String,
        /// When, park time.
        time: String,
        /// Register before the multiplier.
        register: Number,
        /// Its part: `opening`, `closing`, `before_rollover`, ...
        role: &'static str,
    },
    /// A declared entry.
    Declared {
        /// Path of the input.
        input: String,
        /// Who, when, by what document.
        source: Provenance,
    },
    /// A factor row.
    Factor {
        /// The row.
        factor: FactorUse,
    },
    /// An hour of an outlet, or another input by its path.
    Input {
        /// Path of the input.
        input: String,
    },
}
