//! Figures of days and months, from those of hours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gas;
use super::hour::{HourClass, HourFigure};
use super::mark::Letter;
use super::outlet::{DayRule, Factor, MonthRule, Outlet};
use super::time::{Averaging, HOUR_MS, Period, UtcMillis};
use crate::Number;

/// Hours of a period by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HourCounts {
    /// Clock hours of the period that are over.
    pub hours: u32,
    /// Valid.
    pub valid: u32,
    /// Invalid.
    pub invalid: u32,
    /// Missing, hours without a figure included.
    pub missing: u32,
    /// Stopped.
    pub stopped: u32,
}

impl HourCounts {
    /// One more hour of a class.
    pub fn add(&mut self, class: HourClass) {
        let count = match class {
            HourClass::Valid => &mut self.valid,
            HourClass::Invalid => &mut self.invalid,
            HourClass::Missing => &mut self.missing,
            HourClass::Stopped => &mut self.stopped,
        };
        *count = count.saturating_add(1);
        self.hours = self.hours.saturating_add(1);
    }

    /// All hours of another period.
    pub fn add_all(&mut self, other: &Self) {
        self.hours = self.hours.saturating_add(other.hours);
        self.valid = self.valid.saturating_add(other.valid);
        self.invalid = self.invalid.saturating_add(other.invalid);
        self.missing = self.missing.saturating_add(other.missing);
        self.stopped = self.stopped.saturating_add(other.stopped);
    }

    /// Whether the valid hours are at least `percent` of the operating ones, and there are any.
    pub fn is_share(&self, percent: u32) -> bool {
        self.valid > 0 && u64::from(self.valid).saturating_mul(100) >= u64::from(self.operating()).saturating_mul(u64::from(percent))
    }

    /// All but the stopped ones.
    pub fn operating(&self) -> u32 {
        self.hours.saturating_sub(self.stopped)
    }
}

/// How a day or month counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodClass {
    /// Enough valid hours or days: it is averaged and judged.
    Valid,
    /// Too few.
    Invalid,
    /// Every hour stood still.
    Stopped,
    /// Not over: figures are those so far, and not judged.
    Open,
}

/// The mass rate of a day or a month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MassRate {
    /// kg/h: mean of the rates of the hours that have one. Shown also when it is not valid.
    pub kg_h: Option<Number>,
    /// Hours that have one.
    pub hours: u32,
    /// Whether they are as many as valid hours have to be; of a month counted by days, whether the days whose rate is valid are as many as
    /// valid days have to be. Else it is not judged: concentrations may be valid where flow was not.
    pub valid: bool,
}

/// Figures of a day or a month of one factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PeriodFigure {
    /// The outlet.
    pub outlet: String,
    /// The factor.
    pub factor: String,
    /// Day or month.
    pub averaging: Averaging,
    /// When.
    #[serde(flatten)]
    pub period: Period,
    /// How it counts.
    pub class: PeriodClass,
    /// Its hours by class.
    pub hours: HourCounts,
    /// Valid days of a month.
    pub valid_days: Option<u32>,
    /// Minutes by letter.
    pub by_letter: BTreeMap<Letter, u32>,
    /// Gas: mean of the valid hours (day) or of the valid days (month), dry, standard state, not converted. Water: mass /
    /// volume over valid hours; pH: mean of hours or days. Shown also when the period is not valid.
    pub concentration: Option<Number>,
    /// Mean of the converted means of the valid hours or days: this one is judged.
    pub converted: Option<Number>,
    /// Conversion of the mean concentration with the mean O2 of the same hours, for comparison.
    pub converted_of_means: Option<Number>,
    /// Smallest and largest judged hour of the valid ones.
    pub min: Option<Number>,
    /// See `min`.
    pub max: Option<Number>,
    /// Mean O2 (dry) of the valid hours.
    pub o2: Option<Number>,
    /// Volume in m3, of every hour that has one.
    pub volume_m3: Option<Number>,
    /// Water: volume with a valid concentration, of the valid hours.
    pub volume_weighted_m3: Option<Number>,
    /// Measured mass in kg: sum over the hours that have one. `None` when none has.
    pub mass_kg: Option<Number>,
    /// Sum of the partial masses of stopped hours, in kg.
    pub partial_mass_kg: Option<Number>,
    /// Hours with a mass.
    pub mass_hours: u32,
    /// What a limit on the mass rate looks at.
    #[serde(default)]
    pub mass_rate: MassRate,
}

/// Figures of a day of one factor.
///
/// `hours`: the figures of the hours of the day in any order; of one hour the last one counts. Hours of other outlets, factors and days
/// are left out. `until`: up to where hours are over: a clock hour of the day before it without a figure is missing; the rest is not due yet.
pub fn day(outlet: &Outlet, factor: &Factor, day: &Period, hours: &[HourFigure], until: UtcMillis) -> PeriodFigure {
    let ours = hours.iter().filter(|hour| hour.outlet == outlet.id && hour.factor == factor.id && day.holds(hour.period.from));
    let by_start: BTreeMap<UtcMillis, &HourFigure> = ours.map(|hour| (hour.period.from, hour)).collect();
    let mut parts = Parts::default();
    for hour in day.hours().filter(|hour| hour.to <= until) {
        parts.hours.add(by_start.get(&hour.from).map_or(HourClass::Missing, |figure| figure.class));
        if let Some(figure) = by_start.get(&hour.from) {
            parts.hour(figure);
        }
    }
    let enough = |hours: &HourCounts, _: u32| match outlet.rules.day(outlet.kind) {
        DayRule::Hours(needed) => hours.valid >= needed.max(1),
        DayRule::PercentOfOperating(percent) => hours.is_share(percent),
    };
    parts.figure(outlet, factor, (Averaging::Day, day), enough, until)
}

/// Figures of a month of one factor, from its days.
///
/// `days`: as `hours` of [`day`], each counted up to the same `until`. Clock hours of the month before `until` that no day tells of are missing.
pub fn month(outlet: &Outlet, factor: &Factor, month: &Period, days: &[PeriodFigure], until: UtcMillis) -> PeriodFigure {
    let ours = days.iter().filter(|day| {
        day.outlet == outlet.id && day.factor == factor.id && day.averaging == Averaging::Day && month.holds(day.period.from)
    });
    let by_start: BTreeMap<UtcMillis, &PeriodFigure> = ours.map(|day| (day.period.from, day)).collect();
    let mut parts = Parts { valid_days: Some(0), ..Parts::default() };
    by_start.values().for_each(|day| parts.day(day));
    let over = Period { from: month.from, to: month.to.min(until) };
    let due = u32::try_from(over.length_ms() / HOUR_MS).unwrap_or(u32::MAX);
    (parts.hours.hours..due).for_each(|_| parts.hours.add(HourClass::Missing));
    let enough = |hours: &HourCounts, valid_days: u32| match outlet.rules.month(outlet.kind) {
        // 25 of 30 or 31 days, 23 of 28 or 29. Where clocks change a month is an hour shorter or longer.
        MonthRule::Days(needed) => {
            let month_days = month.length_ms().saturating_add(12 * HOUR_MS) / (24 * HOUR_MS);
            let needed = if month_days < 30 { needed.saturating_sub(2) } else { needed };
            valid_days >= needed.max(1)
        }
        MonthRule::PercentOfOperating(percent) => hours.is_share(percent),
    };
    parts.figure(outlet, factor, (Averaging::Month, month), enough, until)
}

/// What is summed up over hours or days.
#[derive(Default)]
struct Parts {
    hours: HourCounts,
    valid_days: Option<u32>,
    by_letter: BTreeMap<Letter, u32>,
    concentration: Total,
    converted: Total,
    o2: Total,
    min: Option<Number>,
    max: Option<Number>,
    volume: Total,
    volume_weighted: Total,
    mass_weighted: Total,
    mass: Total,
    partial: Total,
    mass_hours: u32,
    rates: Number,
    rate_hours: u32,
    /// Days whose mass rate is valid.
    rate_days: u32,
}

/// A sum of numbers and how many they are.
#[derive(Default)]
struct Total {
    sum: Number,
    count: u32,
}

impl Total {
    fn add(&mut self, value: Option<&Number>) {
        if let Some(value) = value {
            self.sum += value;
            self.count = self.count.saturating_add(1);
        }
    }

    fn sum(&self) -> Option<Number> {
        (self.count > 0).then(|| self.sum.kept())
    }

    fn mean(&self) -> Option<Number> {
        self.sum.over(&Number::from(i64::from(self.count))).map(|mean| mean.kept())
    }
}

impl Parts {
    fn hour(&mut self, figure: &HourFigure) {
        self.letters(&figure.minutes.by_letter);
        self.volume.add(figure.volume_m3.as_ref());
        self.mass.add(figure.mass_kg.as_ref());
        self.mass_hours = self.mass_hours.saturating_add(u32::from(figure.mass_kg.is_some()));
        self.partial.add(figure.partial_mass_kg.as_ref());
        if let Some(rate) = &figure.mass_rate_kg_h {
            self.rates += rate;
            self.rate_hours = self.rate_hours.saturating_add(1);
        }
        if figure.class != HourClass::Valid {
            return;
        }
        self.concentration.add(figure.concentration.value.as_ref());
        self.converted.add(figure.converted.as_ref().and_then(|mean| mean.value.as_ref()));
        self.o2.add(figure.auxiliary.get("o2").and_then(|o2| o2.value.as_ref()));
        self.extremes(figure.judged().value.as_ref(), figure.judged().value.as_ref());
        if figure.volume_weighted_m3.is_some() {
            self.volume_weighted.add(figure.volume_weighted_m3.as_ref());
            self.mass_weighted.add(figure.mass_kg.as_ref());
        }
    }

    fn day(&mut self, figure: &PeriodFigure) {
        self.letters(&figure.by_letter);
        self.hours.add_all(&figure.hours);
        self.volume.add(figure.volume_m3.as_ref());
        self.mass.add(figure.mass_kg.as_ref());
        self.mass_hours = self.mass_hours.saturating_add(figure.mass_hours);
        self.partial.add(figure.partial_mass_kg.as_ref());
        let rate = &figure.mass_rate;
        if let Some(mean) = &rate.kg_h {
            self.rates += &(mean * &Number::from(i64::from(rate.hours)));
            self.rate_hours = self.rate_hours.saturating_add(rate.hours);
            self.rate_days = self.rate_days.saturating_add(u32::from(rate.valid));
        }
        self.extremes(figure.min.as_ref(), figure.max.as_ref());
        if figure.class != PeriodClass::Valid {
            return;
        }
        self.valid_days = self.valid_days.map(|days| days.saturating_add(1));
        self.concentration.add(figure.concentration.as_ref());
        self.converted.add(figure.converted.as_ref());
        self.o2.add(figure.o2.as_ref());
        if figure.volume_weighted_m3.is_some() {
            self.volume_weighted.add(figure.volume_weighted_m3.as_ref());
            self.mass_weighted.add(figure.mass_kg.as_ref());
        }
    }

    fn letters(&mut self, by_letter: &BTreeMap<Letter, u32>) {
        for (letter, minutes) in by_letter {
            let sum = self.by_letter.entry(*letter).or_default();
            *sum = sum.saturating_add(*minutes);
        }
    }

    fn extremes(&mut self, min: Option<&Number>, max: Option<&Number>) {
        self.min = self.min.take().into_iter().chain(min.cloned()).min();
        self.max = self.max.take().into_iter().chain(max.cloned()).max();
    }

    fn figure(
        self,
        outlet: &Outlet,
        factor: &Factor,
        (averaging, period): (Averaging, &Period),
        enough: impl Fn(&HourCounts, u32) -> bool,
        until: UtcMillis,
    ) -> PeriodFigure {
        let class = if until < period.to {
            PeriodClass::Open
        } else if self.hours.operating() == 0 {
            PeriodClass::Stopped
        } else if enough(&self.hours, self.valid_days.unwrap_or(0)) {
            PeriodClass::Valid
        } else {
            PeriodClass::Invalid
        };
        let with_rate = HourCounts { valid: self.rate_hours, ..self.hours };
        let mass_rate = MassRate {
            kg_h: self.rates.over(&Number::from(i64::from(self.rate_hours))).map(|mean| mean.kept()),
            hours: self.rate_hours,
            valid: enough(&with_rate, self.rate_days),
        };
        // Water: g / m3 = mg/L over all that was weighed; else the mean of the means.
        let weighted = (self.mass_weighted.sum * Number::from(1000)).over(&self.volume_weighted.sum).map(|mean| mean.kept());
        let concentration = weighted.or_else(|| self.concentration.mean());
        let o2 = self.o2.mean();
        let converted_of_means = match (&concentration, &o2) {
            (Some(concentration), Some(o2)) => gas::converted_of_means(factor, outlet, concentration, o2),
            _ => None,
        };
        PeriodFigure {
            outlet: outlet.id.clone(),
            factor: factor.id.clone(),
            averaging,
            period: *period,
            class,
            hours: self.hours,
            valid_days: self.valid_days,
            by_letter: self.by_letter,
            concentration,
            converted: self.converted.mean(),
            converted_of_means,
            min: self.min,
            max: self.max,
            o2,
            volume_m3: self.volume.sum(),
            volume_weighted_m3: self.volume_weighted.sum(),
            mass_kg: self.mass.sum(),
            partial_mass_kg: self.partial.sum(),
            mass_hours: self.mass_hours,
            mass_rate,
        }
    }
}

impl PeriodFigure {
    /// What a limit on the converted value looks at.
    pub fn judged(&self) -> Option<&Number> {
        self.converted.as_ref().or(self.concentration.as_ref())
    }
}
