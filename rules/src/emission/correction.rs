//! What late data, marks or settings changed in an hour's figures.

use serde::{Deserialize, Serialize};

use super::hour::HourFigure;
use super::time::Period;
use crate::Number;

/// One figure of one hour that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// The outlet.
    pub outlet: String,
    /// The factor.
    pub factor: String,
    /// The hour.
    #[serde(flatten)]
    pub period: Period,
    /// Which: `class`, `concentration`, `converted`, `flow`, `mass_kg`, `valid_minutes`.
    pub figure: String,
    /// Before, as text; `None`: there was none.
    pub old: Option<String>,
    /// After.
    pub new: Option<String>,
}

/// What differs between two figures of the same hour, in a fixed order; empty when nothing that is reported does.
pub fn changes(old: &HourFigure, new: &HourFigure) -> Vec<Change> {
    let number = |value: Option<&Number>| value.map(ToString::to_string);
    let pairs = [
        ("class", Some(old.class.name().to_owned()), Some(new.class.name().to_owned())),
        ("valid_minutes", Some(old.minutes.valid.to_string()), Some(new.minutes.valid.to_string())),
        ("concentration", number(old.concentration.value.as_ref()), number(new.concentration.value.as_ref())),
        (
            "converted",
            number(old.converted.as_ref().and_then(|mean| mean.value.as_ref())),
            number(new.converted.as_ref().and_then(|mean| mean.value.as_ref())),
        ),
        ("flow", number(old.flow.value.as_ref()), number(new.flow.value.as_ref())),
        ("mass_kg", number(old.mass_kg.as_ref()), number(new.mass_kg.as_ref())),
    ];
    let changed = pairs.into_iter().filter(|(_, before, after)| before != after);
    changed
        .map(|(figure, before, after)| Change {
            outlet: new.outlet.clone(),
            factor: new.factor.clone(),
            period: new.period,
            figure: figure.to_owned(),
            old: before,
            new: after,
        })
        .collect()
}
