//! Limits that people entered, and judging by them. Without a limit nothing is judged, and nothing is green.

use serde::{Deserialize, Serialize};

use super::hour::{HourClass, HourFigure};
use super::period::{PeriodClass, PeriodFigure};
use super::time::{Averaging, Period, UtcMillis};
use crate::Number;

/// Decimals to which both sides of a comparison are rounded. Figures are cut at 30 decimals, so a third that was cut still ties with
/// the limit that it equals; no limit has so many decimals.
pub const COMPARED_DECIMALS: u32 = 20;

/// What a limit looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppliesTo {
    /// The converted value (折算); of a factor without a reference the concentration.
    Converted,
    /// The concentration, dry, standard state, not converted; of water mg/L or pH.
    AsIs,
    /// Mass in kg/h: of an hour mean concentration x mean flow, of a longer period the mean of its hours. It needs as many hours
    /// with a flow as the period needs valid hours: what was measured in one hour says nothing of a day.
    MassRate,
}

/// Which side of a limit complies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// At or below the limit complies.
    #[default]
    Upper,
    /// At or above the limit complies: the 6 of pH 6 to 9.
    Lower,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Its id, permanent.
    pub id: String,
    /// The outlet.
    pub outlet: String,
    /// The factor.
    pub factor: String,
    /// The period whose average it names; no other is judged by it.
    pub averaging: Averaging,
    /// The value. A figure equal to it complies (不得超过).
    pub value: Number,
    /// mg/m3, mg/L, pH or kg/h.
    pub unit: String,
    /// What it looks at.
    pub applies_to: AppliesTo,
    /// Upper or lower.
    #[serde(default)]
    pub bound: Bound,
    /// Document and clause: permit number and table, or standard, edition, table.
    pub clause: String,
    /// In force from: periods that begin then or later.
    pub valid_from: UtcMillis,
    /// In force until: periods that begin before; none: until it is ended.
    #[serde(default)]
    pub valid_to: Option<UtcMillis>,
    /// Who entered it.
    pub author: String,
    /// When it was entered.
    #[serde(default)]
    pub set_at: Option<UtcMillis>,
}

/// What a judgement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "because")]
pub enum Verdict {
    /// A limit is in force, the average is valid, and keeps it.
    Complies,
    /// A limit is in force, the average is valid, and breaks it.
    Exceeds,
    /// No limit was entered. Never shown as compliant.
    NotJudged,
    /// There is a limit, but the average does not count.
    NotCounted(NotCounted),
}

/// Why an average does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotCounted {
    /// Too little of it is valid.
    Invalid,
    /// Nothing came.
    Missing,
    /// Standing still.
    Stopped,
    /// The day or month is not over.
    Open,
    /// Valid, but the figure that the limit looks at is not there, or too little of it: no flow for a mass rate, no O2 for a converted
    /// value.
    NoFigure,
}

/// One figure, judged by one limit, or by none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Judgement {
    /// The outlet.
    pub outlet: String,
    /// The factor.
    pub factor: String,
    /// Which average.
    pub averaging: Averaging,
    /// When.
    #[serde(flatten)]
    pub period: Period,
    /// What it says.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The limit; `None`: not judged.
    pub limit: Option<Limit>,
    /// The figure that the limit looks at, at 20 decimals.
    pub value: Option<Number>,
    /// (value - limit) / limit of an upper limit that is broken, at 20 decimals.
    pub times_over: Option<Number>,
    /// Not counted, and yet beyond the limit: the figure without regard to marks and valid minutes; of a day or month that is not
    /// valid the mean of its valid hours or days.
    pub above_uncounted: Option<Number>,
}

/// Judges an hour by every limit of its outlet and factor that names the hour and is in force; one `NotJudged` when there is none.
pub fn judge_hour(figure: &HourFigure, limits: &[Limit]) -> Vec<Judgement> {
    let what = |limit: &Limit| {
        let (counted, uncounted) = match limit.applies_to {
            AppliesTo::Converted => {
                (figure.judged().counted(), figure.regardless.converted.as_ref().or(figure.regardless.concentration.as_ref()))
            }
            AppliesTo::AsIs => (figure.concentration.counted(), figure.regardless.concentration.as_ref()),
            AppliesTo::MassRate => (figure.mass_rate_kg_h.as_ref(), figure.regardless.mass_rate_kg_h.as_ref()),
        };
        // The class is that of the converted value: a concentration may be valid where there was no O2 to convert it.
        let why_not = if counted.is_some() { None } else { figure.class.into() };
        Looked { counted: counted.cloned(), uncounted: uncounted.cloned(), why_not }
    };
    judge(&figure.outlet, &figure.factor, Averaging::Hour, figure.period, limits, what)
}

/// Judges a day or a month by every limit that names it and is in force; one `NotJudged` when there is none.
pub fn judge_period(figure: &PeriodFigure, limits: &[Limit]) -> Vec<Judgement> {
    let what = |limit: &Limit| {
        let (value, is_enough) = match limit.applies_to {
            AppliesTo::Converted => (figure.judged(), true),
            AppliesTo::AsIs => (figure.concentration.as_ref(), true),
            AppliesTo::MassRate => (figure.mass_rate.kg_h.as_ref(), figure.mass_rate.valid),
        };
        Looked { counted: value.filter(|_| is_enough).cloned(), uncounted: value.cloned(), why_not: figure.class.into() }
    };
    judge(&figure.outlet, &figure.factor, figure.averaging, figure.period, limits, what)
}

/// What a limit looks at in a figure.
struct Looked {
    counted: Option<Number>,
    uncounted: Option<Number>,
    why_not: Option<NotCounted>,
}

fn judge(
    outlet: &str,
    factor: &str,
    averaging: Averaging,
    period: Period,
    limits: &[Limit],
    what: impl Fn(&Limit) -> Looked,
) -> Vec<Judgement> {
    let judgement = |verdict, limit: Option<&Limit>| Judgement {
        outlet: outlet.to_owned(),
        factor: factor.to_owned(),
        averaging,
        period,
        verdict,
        limit: limit.cloned(),
        value: None,
        times_over: None,
        above_uncounted: None,
    };
    let named =
        |limit: &&Limit| limit.outlet == outlet && limit.factor == factor && limit.averaging == averaging && limit.in_force(period.from);
    let judged: Vec<Judgement> = limits
        .iter()
        .filter(named)
        .map(|limit| {
            let Looked { counted, uncounted, why_not } = what(limit);
            let why_not = why_not.or_else(|| counted.is_none().then_some(NotCounted::NoFigure));
            match (why_not, counted) {
                (None, Some(value)) => {
                    let broken = limit.broken_by(&value);
                    let verdict = if broken { Verdict::Exceeds } else { Verdict::Complies };
                    let times_over = if broken && limit.bound == Bound::Upper {
                        (&value - &limit.value).over(&limit.value).map(|times| times.rounded(COMPARED_DECIMALS))
                    } else {
                        None
                    };
                    Judgement { value: Some(value.rounded(COMPARED_DECIMALS)), times_over, ..judgement(verdict, Some(limit)) }
                }
                (why_not, _) => {
                    let above = uncounted.filter(|value| limit.broken_by(value)).map(|value| value.rounded(COMPARED_DECIMALS));
                    let because = why_not.unwrap_or(NotCounted::NoFigure);
                    Judgement { above_uncounted: above, ..judgement(Verdict::NotCounted(because), Some(limit)) }
                }
            }
        })
        .collect();
    if judged.is_empty() { vec![judgement(Verdict::NotJudged, None)] } else { judged }
}

impl Limit {
    /// Whether it is in force for a period that begins at `from`.
    pub fn in_force(&self, from: UtcMillis) -> bool {
        self.valid_from <= from && self.valid_to.is_none_or(|to| from < to)
    }

    /// Whether a figure breaks it: above an upper, below a lower limit; never when it is equal.
    pub fn broken_by(&self, figure: &Number) -> bool {
        let (figure, limit) = (figure.rounded(COMPARED_DECIMALS), self.value.rounded(COMPARED_DECIMALS));
        match self.bound {
            Bound::Upper => figure > limit,
            Bound::Lower => figure < limit,
        }
    }
}

impl From<HourClass> for Option<NotCounted> {
    fn from(class: HourClass) -> Self {
        match class {
            HourClass::Valid => None,
            HourClass::Invalid => Some(NotCounted::Invalid),
            HourClass::Missing => Some(NotCounted::Missing),
            HourClass::Stopped => Some(NotCounted::Stopped),
        }
    }
}

impl From<PeriodClass> for Option<NotCounted> {
    fn from(class: PeriodClass) -> Self {
        match class {
            PeriodClass::Valid => None,
            PeriodClass::Invalid => Some(NotCounted::Invalid),
            PeriodClass::Stopped => Some(NotCounted::Stopped),
            PeriodClass::Open => Some(NotCounted::Open),
        }
    }
}
