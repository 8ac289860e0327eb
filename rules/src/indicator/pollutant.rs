//! Pollutants: PO-01, the mass of a pollutant by outlet, hour by hour, with gaps filled by rule.
//!
//! Gas: kg of an hour = concentration (mg/Nm3, dry, not oxygen-corrected) x dry flow (Nm3/h) / 1 000 000. Water: concentration
//! (mg/L) x volume (m3) / 1000. Invalid or missing hours while the plant runs get a mass by R-CEMS, which is
//! [`crate::emission::mass`] here as in the summaries of outlets. Stopped hours get nothing.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::context::Context;
use super::index::Index;
use super::inputs::{EmissionHour, EmissionSeries, OutletKind};
use super::result::{Leaf, Missing, Subject};
use super::term::{Term, label};
use super::{Asked, Outcome, other};
use crate::Number;
use crate::emission::mass::{Basis, FillRule, FilledHour, MassHour, fill};
use crate::emission::outlet::OutletKind as Kind;
use crate::emission::{HourClass, Period as Span, UtcMillis};
use crate::period::Range;

const HOUR: i64 = 3_600_000;

/// An outlet and pollutant: its hours and what bad ones are filled with.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Hours that are given, in order of time: start, number of the row, state.
    rows: Vec<(i64, usize, State)>,
    /// Stretches between them of which no hour is given, in order of time.
    holes: Vec<(Range, State)>,
}

#[derive(Clone, Debug)]
enum State {
    Valid(Number),
    Stopped,
    /// Invalid or missing while running: what it is filled with.
    Filled(Number, &'static str),
    /// Invalid or missing, and nothing to fill it with.
    Open(&'static str),
}

/// PO-01: per outlet and pollutant, then per pollutant over all outlets.
pub fn po01(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let all = &context.index.inputs.emissions;
    if all.is_empty() {
        return Outcome::park(Term::missing("emissions", "no hours of any outlet are given"));
    }
    let mut outcomes = Vec::new();
    let mut pollutants: BTreeMap<&str, Vec<Term>> = BTreeMap::new();
    for (number, series) in all.iter().enumerate() {
        let outcome = mass(context, number, series, &asked.engine.prepared(number));
        pollutants.entry(&series.pollutant).or_default().push(outcome.term.clone());
        outcomes.push(outcome);
    }
    for (pollutant, terms) in pollutants {
        let term = context.terms.sum(label(format!("{pollutant} 合计"), format!("{pollutant}, all outlets"), "t"), terms);
        let subject = Subject { pollutant: Some(pollutant.to_owned()), ..Subject::default() };
        outcomes.push(Outcome { subject, term, others: Vec::new() });
    }
    outcomes
}

#[derive(Default)]
struct Count {
    valid: i64,
    filled: i64,
    stopped: i64,
    open: i64,
    missing: i64,
    valid_mass: Number,
    filled_mass: Number,
}

fn mass(context: &Context<'_>, number: usize, series: &EmissionSeries, prepared: &Prepared) -> Outcome {
    let path = format!("emissions[{number}]");
    let mut term = Term { inputs: context.index.input(&path).into_iter().collect(), ..Term::default() };
    let mut count = Count::default();
    let mut children = Vec::new();
    let mut at = context.range.start;
    let mut uncovered: Option<Range> = None;
    let mut open: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    while at < context.range.end {
        let Some((row, state)) = prepared.at(at) else {
            let until = uncovered.map_or(at, |range| range.start);
            uncovered = Some(Range { start: until, end: at + HOUR });
            at += HOUR;
            continue;
        };
        count.missing += i64::from(row.is_none());
        let shown = match state {
            State::Valid(mass) => {
                count.valid += 1;
                count.valid_mass += mass;
                Some((mass, "concentration x flow", "有效"))
            }
            State::Filled(mass, rule) => {
                count.filled += 1;
                count.filled_mass += mass;
                term.notes.push((*rule).to_owned());
                Some((mass, *rule, "补值"))
            }
            State::Stopped => {
                count.stopped += 1;
                None
            }
            State::Open(why) => {
                count.open += 1;
                open.entry(*why).or_insert((at, 0)).1 += 1;
                None
            }
        };
        if let (true, Some((mass, formula, zh))) = (context.terms.explain, shown) {
            let input = row.map_or_else(|| format!("{path}.hours"), |row| format!("{path}.hours[{row}]"));
            let mut node = context.terms.node(label(zh, context.text(at), "kg"), Some(formula.to_owned()), Some(mass.clone()), Vec::new());
            node.leaf = Some(Leaf::Input { input });
            children.push(*node);
        }
        at += HOUR;
    }
    for (why, (first, hours)) in open {
        let why = format!("{hours} hours from {} on: {why}", context.text(first));
        term.incomplete.push(Missing { input: path.clone(), why });
    }
    let whole = &count.valid_mass + &count.filled_mass;
    if count.valid + count.filled + count.stopped == 0 {
        term.missing = vec![Missing { input: path.clone(), why: "no hour of the period is given, or none can be filled".to_owned() }];
        term.incomplete.clear();
    } else {
        if let Some(range) = uncovered {
            let why = format!("no hour between {} and {} for some or all of it", context.text(range.start), context.text(range.end));
            term.incomplete.push(Missing { input: path.clone(), why });
        }
        term.value = Some(&whole * &Number::decimal(1, 3));
        term.estimated = &count.filled_mass * &Number::decimal(1, 3);
    }
    let operating = count.valid + count.filled + count.open;
    let valid_rate = Number::from(count.valid).over(&Number::from(operating));
    if let Some(rate) = &valid_rate {
        term.completeness = (rate.kept(), 1);
    }
    term.notes.sort_unstable();
    term.notes.dedup();
    if context.terms.explain {
        let name = label(format!("{} {}", series.outlet, series.pollutant), format!("{} of {}", series.pollutant, series.outlet), "t");
        term.node = Some(context.terms.node(name, Some("sum of the hours in kg / 1000".to_owned()), term.value.clone(), children));
    }
    let subject = Subject { outlet: Some(series.outlet.clone()), pollutant: Some(series.pollutant.clone()), station: None };
    let hours = |value: i64| Some(Number::from(value));
    let others = vec![
        other("valid_mass", "有效小时排放量", "mass of valid hours", "kg", 6, Some(count.valid_mass)),
        other("filled_mass", "补值排放量", "filled mass", "kg", 6, Some(count.filled_mass.clone())),
        other("filled_share", "补值占比", "filled share", "1", 6, count.filled_mass.over(&whole)),
        other("valid_rate", "有效率", "valid rate", "1", 6, valid_rate),
        other("valid_hours", "有效小时", "valid hours", "h", 0, hours(count.valid)),
        other("filled_hours", "补值小时", "filled hours", "h", 0, hours(count.filled)),
        other("stopped_hours", "停运小时", "stopped hours", "h", 0, hours(count.stopped)),
        other("missing_hours", "缺失小时", "hours without a row", "h", 0, hours(count.missing)),
    ];
    Outcome { subject, term, others }
}

impl Prepared {
    /// Sorts the hours of a series, forms masses, fills what is bad.
    pub fn of(index: &Index<'_>, series: &EmissionSeries) -> Self {
        let hours = mass_hours(index, series);
        let mut rows: Vec<(i64, usize, State)> =
            hours.iter().enumerate().map(|(number, hour)| (hour.period.from.0, number, given(hour))).collect();
        rows.sort_unstable_by_key(|(start, ..)| *start);
        let (Some((first, ..)), Some((last, ..))) = (rows.first(), rows.last()) else { return Self::default() };
        let rates = series.quarter_valid_rates.iter();
        let basis = Basis {
            kind: kind(series.kind),
            zone: index.zone().time_zone(),
            quarter_valid_rates: &rates.map(|(quarter, rate)| (UtcMillis(quarter.span(index.zone()).start), rate.clone())).collect(),
            good_calibrations: &series.out_of_control.iter().map(|out| UtcMillis(index.at(&out.last_good_calibration))).collect::<Vec<_>>(),
        };
        let all = Span { from: UtcMillis(*first), to: UtcMillis(last.saturating_add(HOUR)) };
        let mut holes = Vec::new();
        for filled in fill(&basis, &hours, &all) {
            let Span { from, to } = filled.period;
            match rows.binary_search_by_key(&from.0, |(start, ..)| *start).ok().and_then(|place| rows.get_mut(place)) {
                Some((.., state)) => *state = filling(&filled),
                None => holes.push((Range { start: from.0, end: to.0 }, filling(&filled))),
            }
        }
        Self { rows, holes }
    }

    /// Hours and stretches that are kept.
    #[cfg(test)]
    pub fn pieces(&self) -> usize {
        self.rows.len().saturating_add(self.holes.len())
    }

    /// The row that gives the hour which starts at a time, if any, and its state; none before the first hour and behind the last.
    fn at(&self, at: i64) -> Option<(Option<usize>, &State)> {
        if let Ok(place) = self.rows.binary_search_by_key(&at, |(start, ..)| *start) {
            return self.rows.get(place).map(|(_, number, state)| (Some(*number), state));
        }
        let behind = self.holes.partition_point(|(range, _)| range.start <= at);
        let (range, state) = self.holes.get(behind.checked_sub(1)?)?;
        (at < range.end).then_some((None, state))
    }
}

/// The hours of a series as the filling rule sees them, in the order they are given.
pub fn mass_hours(index: &Index<'_>, series: &EmissionSeries) -> Vec<MassHour> {
    let out_of_control: Vec<(i64, i64)> = series.out_of_control.iter().map(|out| (index.at(&out.from), index.at(&out.to))).collect();
    let of = |hour: &EmissionHour| {
        let start = index.at(&hour.start);
        let (class, mass_kg) = match mass_of(series.kind, hour) {
            _ if !hour.running => (HourClass::Stopped, None),
            Some(mass) if hour.valid => (HourClass::Valid, Some(mass)),
            _ => (HourClass::Invalid, None),
        };
        let period = Span { from: UtcMillis(start), to: UtcMillis(start.saturating_add(HOUR)) };
        MassHour { period, class, mass_kg, out_of_control: out_of_control.iter().any(|(from, to)| *from <= start && start < *to) }
    };
    series.hours.iter().map(of).collect()
}

/// The kind of an outlet as the filling rule has it.
fn kind(kind: OutletKind) -> Kind {
    match kind {
        OutletKind::Gas => Kind::Stack,
        OutletKind::Water => Kind::WasteWater,
    }
}

/// Mass in kg of an hour by its figures.
fn mass_of(kind: OutletKind, hour: &EmissionHour) -> Option<Number> {
    let scale = match kind {
        OutletKind::Gas => Number::decimal(1, 6),
        OutletKind::Water => Number::decimal(1, 3),
    };
    let formed = || hour.concentration.as_ref().zip(hour.flow.as_ref()).map(|(concentration, flow)| concentration * flow * scale);
    hour.mass_kg.clone().or_else(formed)
}

/// The state of an hour that is given; bad ones stay open until they are filled.
fn given(hour: &MassHour) -> State {
    match (hour.class, &hour.mass_kg) {
        (HourClass::Stopped, _) => State::Stopped,
        (HourClass::Valid, Some(mass)) if !hour.out_of_control => State::Valid(mass.clone()),
        _ => State::Open("no valid rate of the quarter is known"),
    }
}

/// What a bad hour is filled with, and by which line of the rule.
fn filling(hour: &FilledHour) -> State {
    let is_whole = |count: u32| hour.looked_at >= count;
    let note = match hour.rule {
        FillRule::NoRule => {
            return State::Open("the quarter's valid rate is below 75 %, no rule fills it: enter the mass measured by hand");
        }
        FillRule::Last180 if is_whole(180) => "filled: largest hourly mass of the last 180 valid hours",
        FillRule::Last180 => "filled: largest hourly mass of the valid hours before the gap, fewer than 180 are given",
        FillRule::Last720 if is_whole(720) => "filled: largest hourly mass of the last 720 valid hours",
        FillRule::Last720 => "filled: largest hourly mass of the valid hours before the gap, fewer than 720 are given",
        FillRule::Last2160 if is_whole(2160) => "filled: largest hourly mass of the last 2160 valid hours",
        FillRule::Last2160 => "filled: largest hourly mass of the valid hours before the gap, fewer than 2160 are given",
        FillRule::AsManyBefore if is_whole(hour.run_hours) => "filled: mean of as many valid hours before the gap",
        FillRule::AsManyBefore => "filled: mean of the valid hours before the gap, fewer than the gap has",
    };
    match &hour.mass_kg {
        Some(mass) => State::Filled(mass.clone(), note),
        None => State::Open("no valid hour before the gap to fill it from"),
    }
}

impl super::Engine<'_> {
    /// A series with its hours in order and its gaps filled, formed once.
    fn prepared(&self, number: usize) -> Rc<Prepared> {
        let mut all = self.prepared.borrow_mut();
        let series = self.index.inputs.emissions.get(number);
        Rc::clone(all.entry(number).or_insert_with(|| Rc::new(series.map(|series| Prepared::of(self.index, series)).unwrap_or_default())))
    }
}
