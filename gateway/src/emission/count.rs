//! Counts hours of an outlet again from the record, then the days and months they belong to, and judges what is new or
//! changed. The same for the first time, for late data, for marks and for a rebuild.

use std::collections::{BTreeMap, BTreeSet};

use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::outlet::Factor;
use parkgate_rules::emission::{Averaging, ComplianceEvent, HourFigure, Limit, Mark, Period, PeriodFigure, event, hour, limit, period};

use super::correction::{Causes, Correction};
use super::events::Events;
use super::plan::PlannedOutlet;
use super::readings;
use super::span::{from_core, period_of, to_core};
use super::store::{EmissionStore, Writing};
use crate::rollup::ParkZone;
use crate::store::{RecordView, StoreError};

/// What a count works on.
#[derive(Clone, Copy)]
pub struct Count<'a> {
    /// The record.
    pub record: &'a dyn RecordView,
    /// The park's calendar.
    pub zone: &'a ParkZone,
    /// The outlet.
    pub planned: &'a PlannedOutlet,
    /// Marks of the outlet that hold.
    pub marks: &'a [Mark],
    /// Limits of the outlet.
    pub limits: &'a [Limit],
    /// What was entered.
    pub events: &'a Events,
}

/// What a count found.
#[derive(Debug, Default)]
pub struct Found {
    /// Hours counted.
    pub hours: u64,
    /// Next versions of events.
    pub events: Vec<ComplianceEvent>,
    /// Figures that are not what was given.
    pub corrections: Vec<Correction>,
}

/// Hours to count, by their start, with why; `None` for those that close for the first time.
pub type Due = BTreeMap<UtcMillis, Option<Causes>>;

impl Count<'_> {
    /// Counts hours and stores them, with the days and months that they touch and that end at or before `closed`.
    ///
    /// # Errors
    /// When the record or the file cannot be read or written.
    pub fn run(&self, writing: &Writing<'_>, due: &Due, closed: UtcMillis) -> Result<Found, StoreError> {
        let mut found = Found::default();
        // Days to put together, with why.
        let mut days: BTreeMap<(UtcMillis, String), Causes> = BTreeMap::new();
        let mut recounted = false;
        for (day, hours) in self.by_day(due) {
            let figures = self.figures(&hours)?;
            let old = self.stored(writing.store(), day)?;
            for new in figures {
                found.hours = found.hours.saturating_add(1);
                let old = old.get(&(new.period.from.0, new.factor.clone()));
                if old != Some(&new) {
                    let start = from_core(new.period.from);
                    writing.put(&new.outlet, &new.factor, Averaging::Hour, start, &new)?;
                    recounted |= matches!(hours.get(&start), Some(Some(_)));
                    let none = Causes::default();
                    let causes = hours.get(&start).and_then(Option::as_ref).unwrap_or(&none);
                    days.entry((day.start(), new.factor.clone())).or_default().join(causes);
                    if let Some(old) = old.filter(|_| !causes.parameters) {
                        found.corrections.extend(Correction::of_hour(old, &new, causes));
                    }
                }
                found.events.extend(self.settle_hour(&new));
            }
        }
        if recounted {
            writing.recounted()?;
        }
        let mut months: BTreeMap<(UtcMillis, String), Causes> = BTreeMap::new();
        for ((start, factor), causes) in days {
            let day = period_of(self.zone, Averaging::Day, start);
            if from_core(day.to) > closed {
                continue;
            }
            let Some(factor) = self.planned.outlet.factor(&factor) else { continue };
            let new = day_of(writing.store(), self.planned, factor, &day, closed)?;
            if self.replace(writing, &new, &causes, &mut found)? {
                months.entry((from_core(period_of(self.zone, Averaging::Month, start).from), factor.id.clone())).or_default().join(&causes);
            }
        }
        for ((start, factor), causes) in months {
            let month = period_of(self.zone, Averaging::Month, start);
            if from_core(month.to) > closed {
                continue;
            }
            let Some(factor) = self.planned.outlet.factor(&factor) else { continue };
            let new = month_of(writing.store(), self.planned, factor, &month, closed)?;
            self.replace(writing, &new, &causes, &mut found)?;
        }
        Ok(found)
    }

    /// Judges stored averages that start in `[from, to)` again.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn judge(
        &self,
        store: &EmissionStore,
        factor: &str,
        averaging: Averaging,
        (from, to): (UtcMillis, UtcMillis),
    ) -> Result<Vec<ComplianceEvent>, StoreError> {
        let outlet = &self.planned.outlet.id;
        let mut events = Vec::new();
        if averaging == Averaging::Hour {
            for figure in store.hours(outlet, factor, from, to)? {
                events.extend(self.settle_hour(&figure));
            }
        } else {
            for figure in store.periods(outlet, factor, averaging, from, to)? {
                events.extend(self.settle_period(&figure));
            }
        }
        Ok(events)
    }

    /// Figures of hours of one day, computed from the record.
    fn figures(&self, hours: &Due) -> Result<Vec<HourFigure>, StoreError> {
        let outlet = &self.planned.outlet;
        let mut figures = Vec::new();
        // Hours that lie far apart are read apart.
        for hours in runs(self.zone, hours.keys().copied()) {
            let (Some(first), Some(last)) = (hours.first(), hours.last()) else { continue };
            let from = from_core(first.from).plus(outlet.lookback_ms().saturating_neg());
            let to = from_core(last.to).plus(outlet.lookahead_ms()).plus(1);
            let readings = readings::read(self.record, &self.planned.points, from, to)?;
            for period in &hours {
                figures.extend(hour::figures(outlet, period, &readings, self.marks));
            }
        }
        Ok(figures)
    }

    fn by_day(&self, due: &Due) -> Vec<(Day, Due)> {
        let mut days: Vec<(Day, Due)> = Vec::new();
        for (&hour, causes) in due {
            match days.last_mut() {
                Some((day, hours)) if hour < from_core(day.0.to) => {
                    hours.insert(hour, causes.clone());
                }
                _ => days.push((Day(period_of(self.zone, Averaging::Day, hour)), Due::from([(hour, causes.clone())]))),
            }
        }
        days
    }

    /// Stored hours of a day, by start and factor.
    fn stored(&self, store: &EmissionStore, day: Day) -> Result<BTreeMap<(i64, String), HourFigure>, StoreError> {
        let mut stored = BTreeMap::new();
        for factor in &self.planned.outlet.factors {
            let hours = store.hours(&self.planned.outlet.id, &factor.id, day.start(), from_core(day.0.to))?;
            stored.extend(hours.into_iter().map(|figure| ((figure.period.from.0, factor.id.clone()), figure)));
        }
        Ok(stored)
    }

    /// Stores a day or month when it is other than before; whether it was.
    fn replace(&self, writing: &Writing<'_>, new: &PeriodFigure, causes: &Causes, found: &mut Found) -> Result<bool, StoreError> {
        let start = from_core(new.period.from);
        let old = writing.store().periods(&new.outlet, &new.factor, new.averaging, start, start.plus(1))?.pop();
        let differs = old.as_ref() != Some(new);
        if differs {
            writing.put(&new.outlet, &new.factor, new.averaging, start, new)?;
            if let Some(old) = old.filter(|_| !causes.parameters) {
                found.corrections.extend(Correction::of_period(&old, new, causes));
            }
        }
        found.events.extend(self.settle_period(new));
        Ok(differs)
    }

    fn settle_hour(&self, figure: &HourFigure) -> Vec<ComplianceEvent> {
        let known = self.events.of_average(&figure.outlet, &figure.factor, Averaging::Hour, figure.period.from);
        if known.is_empty() && self.limits.is_empty() {
            return Vec::new();
        }
        let found = event::of_hour(&self.planned.outlet.enterprise, figure, &limit::judge_hour(figure, self.limits));
        event::settle(&known, &found)
    }

    fn settle_period(&self, figure: &PeriodFigure) -> Vec<ComplianceEvent> {
        let known = self.events.of_average(&figure.outlet, &figure.factor, figure.averaging, figure.period.from);
        if known.is_empty() && self.limits.is_empty() {
            return Vec::new();
        }
        let found = event::of_period(&self.planned.outlet.enterprise, figure, &limit::judge_period(figure, self.limits));
        event::settle(&known, &found)
    }
}

/// A calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day(Period);

impl Day {
    fn start(self) -> UtcMillis {
        from_core(self.0.from)
    }
}

/// A day's figure from its stored hours.
///
/// # Errors
/// When the file cannot be read.
pub fn day_of(
    store: &EmissionStore,
    planned: &PlannedOutlet,
    factor: &Factor,
    day: &Period,
    until: UtcMillis,
) -> Result<PeriodFigure, StoreError> {
    let hours = store.hours(&planned.outlet.id, &factor.id, from_core(day.from), from_core(day.to))?;
    Ok(period::day(&planned.outlet, factor, day, &hours, to_core(until)))
}

/// A month's figure from its stored days.
///
/// # Errors
/// When the file cannot be read.
pub fn month_of(
    store: &EmissionStore,
    planned: &PlannedOutlet,
    factor: &Factor,
    month: &Period,
    until: UtcMillis,
) -> Result<PeriodFigure, StoreError> {
    let days = store.periods(&planned.outlet.id, &factor.id, Averaging::Day, from_core(month.from), from_core(month.to))?;
    Ok(period::month(&planned.outlet, factor, month, &days, to_core(until)))
}

/// Hours by their starts, as runs without a gap.
fn runs(zone: &ParkZone, starts: impl Iterator<Item = UtcMillis>) -> Vec<Vec<Period>> {
    let mut runs: Vec<Vec<Period>> = Vec::new();
    for hour in starts.map(|start| period_of(zone, Averaging::Hour, start)).collect::<BTreeSet<_>>() {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| last.to == hour.from) => run.push(hour),
            _ => runs.push(vec![hour]),
        }
    }
    runs
}
