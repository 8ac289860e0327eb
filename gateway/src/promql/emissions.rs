//! Emissions as series, beside those of points and indicators: figures of outlets per hour, day and month, what limits say
//! of them, and the limits themselves.
//!
//! | series | samples | shown for |
//! |---|---|---|
//! | `park_emission_hour_concentration{outlet, factor, enterprise, unit}` | one per closed period, stamped at its start; also `day`, `month` | the period |
//! | `park_emission_hour_converted`, `_mass_kg`, `_valid_ratio` | the same; valid minutes of an hour or valid hours of a longer period, as a share | the period |
//! | `park_emission_hour_state` | the same: 0 complies, 1 exceeds, 2 not judged, 3 not counted | the period |
//! | `park_emission_limit{outlet, factor, averaging, limit, applies_to, bound, unit}` | the value, from when on it is in force | while it is |
//!
//! A figure that is not there has no sample. A period that is not judged has the state 2 and never 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::emission::limit::{AppliesTo, Bound};
use parkgate_rules::emission::outlet::{Factor, FactorUnit, Outlet};
use parkgate_rules::emission::{Averaging, Judgement, Verdict};

use super::indicators::WithIndicators;
use super::park::Meaning;
use super::source::{ABSENT, too_many_samples};
use super::{Error, Labels, Last, Part, Patience, Samples, Selection, Series, Source};
use crate::access::Identity;
use crate::emission::{EmissionView, HeldLimit};
use crate::store::StoreError;

/// First key of figures, and of limits; those of points are below, those of indicators above.
const KEY: u32 = 0x4000_0000;
const LIMIT_KEY: u32 = 0x6000_0000;
/// Name of the series of limits.
pub const LIMIT: &str = "park_emission_limit";
const PREFIX: &str = "park_emission_";
const DAY_MS: i64 = 86_400_000;
/// A limit holds until it ends: 100 years.
const LIMIT_SHOWN_MS: i64 = 36_525 * DAY_MS;
/// Periods read at one time.
const PERIODS_AT_ONCE: i64 = 500;

/// Which figure of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Concentration, not converted.
    Concentration,
    /// The converted value.
    Converted,
    /// Mass in kg.
    Mass,
    /// Share of what is valid.
    ValidRatio,
    /// What limits say.
    State,
}

/// All averages, and all figures of each.
const AVERAGINGS: [Averaging; 3] = [Averaging::Hour, Averaging::Day, Averaging::Month];
const ALL_SHOWN: [Shown; 5] = [Shown::Concentration, Shown::Converted, Shown::Mass, Shown::ValidRatio, Shown::State];

/// Name of a series of figures: `park_emission_hour_converted`.
pub fn name(averaging: Averaging, shown: Shown) -> String {
    let figure = match shown {
        Shown::Concentration => "concentration",
        Shown::Converted => "converted",
        Shown::Mass => "mass_kg",
        Shown::ValidRatio => "valid_ratio",
        Shown::State => "state",
    };
    format!("{PREFIX}{}_{figure}", averaging.name())
}

/// The park with its indicators and emissions, as one asker sees them.
pub struct WithEmissions<'a> {
    rest: WithIndicators<'a>,
    view: &'a dyn EmissionView,
    /// Places of the outlets that the asker sees.
    seen: Vec<usize>,
}

/// One of our series.
struct Ours<'a> {
    outlet: &'a Outlet,
    factor: &'a Factor,
    averaging: Averaging,
    shown: Shown,
}

impl<'a> WithEmissions<'a> {
    /// What `identity` may see.
    pub fn new(rest: WithIndicators<'a>, view: &'a dyn EmissionView, identity: &Identity) -> Self {
        let plan = view.plan();
        let outlets = plan.outlets.iter().enumerate();
        let seen = outlets.filter(|(_, planned)| plan.sees_outlet(identity, &planned.outlet.id)).map(|(place, _)| place).collect();
        Self { rest, view, seen }
    }

    /// The meaning of every name of which the asker sees a series.
    pub fn meanings(&self) -> BTreeMap<String, Meaning> {
        let mut meanings: BTreeMap<String, Meaning> =
            self.rest.meanings().into_iter().map(|(name, meaning)| (name.to_owned(), meaning)).collect();
        for (_, ours) in self.figures() {
            let period = match ours.averaging {
                Averaging::Hour => ("小时", "hour"),
                Averaging::Day => ("日", "day"),
                Averaging::Month => ("月", "month"),
            };
            let (zh, en, unit) = match ours.shown {
                Shown::Concentration => ("均值浓度", "mean concentration", ""),
                Shown::Converted => ("折算浓度均值", "mean converted concentration", ""),
                Shown::Mass => ("排放量", "mass", "kg"),
                Shown::ValidRatio => ("有效数据占比", "share of valid data", ""),
                Shown::State => ("判定：0 达标，1 超标，2 未判定，3 不计", "0 complies, 1 exceeds, 2 not judged, 3 not counted", ""),
            };
            let help = format!("排放{}{zh} / emissions of each {}: {en}", period.0, period.1);
            meanings.entry(name(ours.averaging, ours.shown)).or_insert(Meaning { kind: "gauge", help, unit: unit.into() });
        }
        if !self.seen.is_empty() {
            let help = "排放限值 / limits of emissions in force".to_owned();
            meanings.insert(LIMIT.to_owned(), Meaning { kind: "gauge", help, unit: String::new() });
        }
        meanings
    }

    /// All series of figures that the asker sees, each with its key.
    fn figures(&self) -> impl Iterator<Item = (u32, Ours<'a>)> {
        let plan = self.view.plan();
        let outlets = plan.outlets.iter().map(|planned| &planned.outlet);
        let all = outlets.enumerate().flat_map(|(place, outlet)| {
            outlet.factors.iter().flat_map(move |factor| {
                AVERAGINGS
                    .into_iter()
                    .flat_map(move |averaging| ALL_SHOWN.into_iter().map(move |shown| (place, Ours { outlet, factor, averaging, shown })))
            })
        });
        (KEY..LIMIT_KEY).zip(all).filter(|(_, (place, _))| self.seen.contains(place)).map(|(key, (_, ours))| (key, ours))
    }

    /// Limits of outlets that the asker sees, each with its key.
    fn limits(&self) -> Result<Vec<(u32, HeldLimit)>, Error> {
        let plan = self.view.plan();
        let is_seen = |held: &HeldLimit| {
            let mut seen = self.seen.iter().filter_map(|&place| plan.outlets.get(place));
            seen.any(|planned| planned.outlet.id == held.limit.outlet)
        };
        let all = (LIMIT_KEY..).zip(self.view.limits().map_err(failed)?);
        Ok(all.filter(|(_, held)| is_seen(held)).collect())
    }

    fn of_figures(&self, ours: &Ours<'_>, (after, upto): (i64, i64), most: usize, patience: &Patience<'_>) -> Result<Samples, Error> {
        let mut samples = Samples::default();
        let mut end: Option<i64> = None;
        let (mut from, to) = (UtcMillis(after).plus(1), UtcMillis(upto).plus(1));
        // Nothing lies before the outlet's first hour, and a search from the beginning of time would take for ever.
        let Some((first, until)) = self.view.span(&ours.outlet.id).map_err(failed)? else { return Ok(samples) };
        let to = to.min(until);
        // A month may begin before it.
        from = from.max(first.plus(longest_ms(ours.averaging).saturating_neg()));
        while from < to {
            patience.look()?;
            let next = from.plus(longest_ms(ours.averaging).saturating_mul(PERIODS_AT_ONCE)).min(to);
            for (start, stop, value) in self.page(ours, from, next)? {
                let Some(value) = value else { continue };
                if let Some(end) = end.filter(|&end| end < start) {
                    samples.push(end, ABSENT);
                }
                samples.push(start, value);
                end = Some(stop);
                if samples.times.len() > most {
                    return Err(too_many_samples());
                }
            }
            from = next;
        }
        if let Some(end) = end.filter(|&end| end <= upto) {
            samples.push(end, ABSENT);
        }
        Ok(samples)
    }

    /// Start, end and value of closed periods.
    fn page(&self, ours: &Ours<'_>, from: UtcMillis, to: UtcMillis) -> Result<Vec<(i64, i64, Option<f64>)>, Error> {
        let (outlet, factor) = (ours.outlet.id.as_str(), ours.factor.id.as_str());
        if ours.averaging == Averaging::Hour {
            let hours = self.view.hours(outlet, factor, from, to).map_err(failed)?;
            let row = |hour: crate::emission::Judged<parkgate_rules::emission::HourFigure>| {
                let figure = &hour.figure;
                let value = match ours.shown {
                    Shown::Concentration => number(figure.concentration.value.as_ref()),
                    Shown::Converted => number(figure.converted.as_ref().and_then(|converted| converted.value.as_ref())),
                    Shown::Mass => number(figure.mass_kg.as_ref()),
                    Shown::ValidRatio => Some(f64::from(figure.minutes.valid) / 60.0),
                    Shown::State => Some(state(&hour.judgements)),
                };
                (figure.period.from.0, figure.period.to.0, value)
            };
            return Ok(hours.into_iter().filter(|hour| hour.closed).map(row).collect());
        }
        let periods = self.view.periods(outlet, factor, ours.averaging, from, to).map_err(failed)?;
        let row = |period: crate::emission::Judged<parkgate_rules::emission::PeriodFigure>| {
            let figure = &period.figure;
            let value = match ours.shown {
                Shown::Concentration => number(figure.concentration.as_ref()),
                Shown::Converted => number(figure.converted.as_ref()),
                Shown::Mass => number(figure.mass_kg.as_ref()),
                Shown::ValidRatio => (figure.hours.hours > 0).then(|| f64::from(figure.hours.valid) / f64::from(figure.hours.hours)),
                Shown::State => Some(state(&period.judgements)),
            };
            (figure.period.from.0, figure.period.to.0, value)
        };
        Ok(periods.into_iter().filter(|period| period.closed).map(row).collect())
    }
}

impl Ours<'_> {
    fn labels(&self) -> Labels {
        let unit = match self.shown {
            Shown::Concentration | Shown::Converted => match self.factor.unit {
                FactorUnit::MilligramPerCubicMetre | FactorUnit::Ppm => "mg/m3",
                FactorUnit::MilligramPerLitre => "mg/L",
                FactorUnit::Ph => "pH",
            },
            Shown::Mass => "kg",
            Shown::ValidRatio | Shown::State => "",
        };
        labels(
            &name(self.averaging, self.shown),
            &[("enterprise", &self.outlet.enterprise), ("factor", &self.factor.id), ("outlet", &self.outlet.id), ("unit", unit)],
        )
    }
}

fn limit_labels(held: &HeldLimit) -> Labels {
    let limit = &held.limit;
    let applies_to = match limit.applies_to {
        AppliesTo::Converted => "converted",
        AppliesTo::AsIs => "as_is",
        AppliesTo::MassRate => "mass_rate",
    };
    let bound = match limit.bound {
        Bound::Upper => "upper",
        Bound::Lower => "lower",
    };
    let pairs = [
        ("applies_to", applies_to),
        ("averaging", limit.averaging.name()),
        ("bound", bound),
        ("factor", &limit.factor),
        ("limit", &limit.id),
        ("outlet", &limit.outlet),
        ("unit", &limit.unit),
    ];
    labels(LIMIT, &pairs)
}

/// Pairs are sorted by name; one without a value is no label.
fn labels(name: &str, pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    Labels::new(name, pairs.map(|(name, value)| (Arc::from(*name), Arc::from(*value))).collect())
}

fn number(number: Option<&Number>) -> Option<f64> {
    number.map(Number::to_f64)
}

/// Of several limits: exceeds before not counted before complies.
fn state(judgements: &[Judgement]) -> f64 {
    let has = |wanted: fn(&Verdict) -> bool| judgements.iter().any(|judgement| wanted(&judgement.verdict));
    if has(|verdict| matches!(verdict, Verdict::Exceeds)) {
        1.0
    } else if has(|verdict| matches!(verdict, Verdict::NotCounted(_))) {
        3.0
    } else if has(|verdict| matches!(verdict, Verdict::Complies)) {
        0.0
    } else {
        2.0
    }
}

const fn longest_ms(averaging: Averaging) -> i64 {
    match averaging {
        Averaging::Hour => 2 * 3_600_000,
        Averaging::Day => 25 * 3_600_000,
        Averaging::Month => 32 * DAY_MS,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed(error: StoreError) -> Error {
    tracing::error!(error = %error, "emissions could not be read for a query");
    Error::Internal
}

impl Source for WithEmissions<'_> {
    fn select(&self, selection: &Selection, after: i64, upto: i64, patience: &Patience<'_>) -> Result<Vec<Series>, Error> {
        let mut found = self.rest.select(selection, after, upto, patience)?;
        if self.seen.is_empty() || selection.name.as_deref().is_some_and(|name| !name.starts_with(PREFIX)) {
            return Ok(found);
        }
        let figures =
            self.figures().map(|(key, ours)| Series { labels: ours.labels(), lookback_ms: longest_ms(ours.averaging), key: (key, 0) });
        found.extend(figures.filter(|series| selection.matches(&series.labels)));
        if selection.name.as_deref().is_none_or(|name| name == LIMIT) {
            let limits = self.limits()?.into_iter();
            let limits = limits.map(|(key, held)| Series { labels: limit_labels(&held), lookback_ms: LIMIT_SHOWN_MS, key: (key, 0) });
            found.extend(limits.filter(|series| selection.matches(&series.labels)));
        }
        Ok(found)
    }

    fn samples(&self, series: &Series, after: i64, upto: i64, most: usize, patience: &Patience<'_>) -> Result<Samples, Error> {
        let key = series.key.0;
        if !is_ours(series) {
            return self.rest.samples(series, after, upto, most, patience);
        }
        if key < LIMIT_KEY {
            let (_, ours) = self.figures().find(|(of, _)| *of == key).ok_or(Error::Internal)?;
            return self.of_figures(&ours, (after, upto), most, patience);
        }
        let mut samples = Samples::default();
        if let Some((_, held)) = self.limits()?.into_iter().find(|(of, _)| *of == key) {
            let (from, to) = (held.limit.valid_from.0, held.limit.valid_to.map(|to| to.0));
            if after < from && from <= upto && to.is_none_or(|to| from < to) {
                samples.push(from, held.limit.value.to_f64());
            }
            if let Some(to) = to.filter(|&to| after < to && to <= upto && from < to) {
                samples.push(to, ABSENT);
            }
        }
        Ok(samples)
    }

    fn last(&self, series: &Series, after: i64, upto: i64) -> Result<Last, Error> {
        if is_ours(series) { Ok(Last::Unknown) } else { self.rest.last(series, after, upto) }
    }

    fn parts(&self, series: &Series, edges: &[i64], extremes: bool) -> Result<Option<Vec<Part>>, Error> {
        if is_ours(series) { Ok(None) } else { self.rest.parts(series, edges, extremes) }
    }
}

fn is_ours(series: &Series) -> bool {
    (KEY..0x8000_0000).contains(&series.key.0)
}
