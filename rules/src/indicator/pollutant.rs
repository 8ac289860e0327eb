//! Pollutants: PO-01, the mass of a pollutant by outlet, hour by hour, with gaps filled by rule.
//!
//! Gas: kg of an hour = concentration (mg/Nm3, dry, not oxygen-corrected) x dry flow (Nm3/h) / 1 000 000. Water: concentration
//! (mg/L) x volume (m3) / 1000. Invalid or missing hours while the plant runs get a mass by R-CEMS (HJ 75-2017, from a
//! secondary source): stacks the largest hourly mass of the last 180, 720 or 2160 valid hours by the quarter's valid rate and the
//! length of the run; waste water the mean of as many valid hours just before the run (HJ/T 356-2007). Stopped hours get nothing.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Timestamp;

use super::context::Context;
use super::index::Index;
use super::inputs::{EmissionHour, EmissionSeries, OutletKind};
use super::result::{Leaf, Missing, Subject};
use super::term::{Term, label};
use super::{Asked, Outcome, other};
use crate::Number;
use crate::period::{Period, PeriodKind, Range};

const HOUR: i64 = 3_600_000;
/// Longest run that the short look-back serves, hours.
const RUN_SHORT: usize = 24;
/// Valid hours looked back: short run and long run at a valid rate of 90 % or more, any run at 75 to 90 %.
const LOOK_BACK: [usize; 3] = [180, 720, 2_160];

/// An outlet and pollutant, hour by hour without holes, with its runs of bad hours.
#[derive(Debug, Default)]
pub struct Prepared {
    /// From the first hour given to the last one.
    slots: Vec<Slot>,
    /// Start of the first slot.
    start: i64,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Number of the row; none: the hour is missing.
    row: Option<usize>,
    state: State,
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
        let Some(slot) = prepared.at(at) else {
            let until = uncovered.map_or(at, |range| range.start);
            uncovered = Some(Range { start: until, end: at + HOUR });
            at += HOUR;
            continue;
        };
        count.missing += i64::from(slot.row.is_none());
        let shown = match &slot.state {
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
            let input = slot.row.map_or_else(|| format!("{path}.hours"), |row| format!("{path}.hours[{row}]"));
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
    /// Sorts the hours of a series, forms masses, fills runs of bad hours.
    pub fn of(index: &Index<'_>, series: &EmissionSeries) -> Self {
        let mut rows: Vec<(i64, usize)> = series.hours.iter().enumerate().map(|(number, hour)| (index.at(&hour.start), number)).collect();
        rows.sort_unstable();
        let (Some((start, _)), Some((end, _))) = (rows.first(), rows.last()) else { return Self::default() };
        let (start, end) = (*start, *end);
        let mut slots = Vec::new();
        let mut rows = rows.into_iter().peekable();
        let mut at = start;
        while at <= end {
            let row = rows.next_if(|(row, _)| *row == at).map(|(_, number)| number);
            let state = row.and_then(|number| series.hours.get(number)).map_or(State::Open(""), |hour| state(series.kind, hour));
            let out = series.out_of_control.iter().any(|out| index.at(&out.from) <= at && at < index.at(&out.to));
            let state = if out && matches!(state, State::Valid(_)) { State::Open("") } else { state };
            slots.push(Slot { row, state });
            at += HOUR;
        }
        let mut prepared = Self { slots, start };
        prepared.fill(index, series);
        prepared
    }

    fn at(&self, at: i64) -> Option<&Slot> {
        self.slots.get(usize::try_from(at.checked_sub(self.start)?.checked_div(HOUR)?).ok()?).filter(|_| at >= self.start)
    }

    fn fill(&mut self, index: &Index<'_>, series: &EmissionSeries) {
        let valid = self.slots.iter().enumerate().filter_map(|(place, slot)| match &slot.state {
            State::Valid(mass) => Some((place, mass.clone())),
            _ => None,
        });
        let valid: Vec<(usize, Number)> = valid.collect();
        let rates = self.rates(index, series);
        let mut place = 0;
        while place < self.slots.len() {
            let run = self.slots.get(place..).unwrap_or_default().iter().take_while(|slot| matches!(slot.state, State::Open(_))).count();
            if run == 0 {
                place += 1;
                continue;
            }
            let at = self.start + i64::try_from(place).unwrap_or(0) * HOUR;
            // A run out of control is filled from before the last good calibration.
            let calibrated = series.out_of_control.iter().find(|out| index.at(&out.from) <= at && at < index.at(&out.to));
            let before = calibrated.map_or(at, |out| index.at(&out.last_good_calibration).min(at));
            let known = valid.partition_point(|(place, _)| self.start + i64::try_from(*place).unwrap_or(0) * HOUR < before);
            let known = valid.get(..known).unwrap_or_default();
            let state = filling(series.kind, run, rates.get(&quarter(index, at)).and_then(Option::as_ref), known);
            for slot in self.slots.iter_mut().skip(place).take(run) {
                slot.state = state.clone();
            }
            place += run;
        }
    }

    /// Valid rates by quarter: valid hours / operating hours, as given or counted from the hours there are.
    fn rates(&self, index: &Index<'_>, series: &EmissionSeries) -> BTreeMap<Period, Option<Number>> {
        let mut counts: BTreeMap<Period, (i64, i64)> = BTreeMap::new();
        for (place, slot) in self.slots.iter().enumerate() {
            let at = self.start + i64::try_from(place).unwrap_or(0) * HOUR;
            let (valid, operating) = counts.entry(quarter(index, at)).or_default();
            *valid += i64::from(matches!(slot.state, State::Valid(_)));
            *operating += i64::from(!matches!(slot.state, State::Stopped));
        }
        let counted = counts.into_iter().map(|(quarter, (valid, operating))| (quarter, Number::from(valid).over(&Number::from(operating))));
        let mut rates: BTreeMap<_, _> = counted.collect();
        for (quarter, rate) in &series.quarter_valid_rates {
            rates.insert(*quarter, Some(rate.clone()));
        }
        rates
    }
}

/// The quarter an instant lies in, told by its first month.
fn quarter(index: &Index<'_>, at: i64) -> Period {
    let civil = index.zone().civil(Timestamp::from_millisecond(at).unwrap_or_default());
    let month = (civil.month() - 1) / 3 * 3 + 1;
    let first = jiff::civil::Date::new(civil.year(), month, 1).unwrap_or_else(|_| civil.date());
    Period::containing(PeriodKind::Month, first.at(0, 0, 0, 0))
}

/// The state of an hour that is given; invalid ones stay open until they are filled.
fn state(kind: OutletKind, hour: &EmissionHour) -> State {
    if !hour.running {
        return State::Stopped;
    }
    if !hour.valid {
        return State::Open("");
    }
    let scale = match kind {
        OutletKind::Gas => Number::decimal(1, 6),
        OutletKind::Water => Number::decimal(1, 3),
    };
    let formed = hour.concentration.as_ref().zip(hour.flow.as_ref()).map(|(concentration, flow)| concentration * flow * scale);
    hour.mass_kg.clone().or(formed).map_or(State::Open(""), State::Valid)
}

/// What a run of bad hours is filled with, from the valid hours before it.
fn filling(kind: OutletKind, run: usize, rate: Option<&Number>, known: &[(usize, Number)]) -> State {
    let last = |count: usize| known.get(known.len().saturating_sub(count)..).unwrap_or_default();
    if kind == OutletKind::Water {
        let before = last(run);
        let sum: Number = before.iter().map(|(_, mass)| mass).sum();
        let mean = sum.over(&Number::from(i64::try_from(before.len()).unwrap_or(0)));
        return match mean {
            Some(mean) if before.len() == run => State::Filled(mean.kept(), "filled: mean of as many valid hours before the gap"),
            Some(mean) => State::Filled(mean.kept(), "filled: mean of the valid hours before the gap, fewer than the gap has"),
            None => State::Open("no valid hour before the gap to fill it from"),
        };
    }
    let Some(rate) = rate else { return State::Open("no valid rate of the quarter is known") };
    let (count, full, part) = match rate {
        rate if *rate >= Number::decimal(90, 2) && run <= RUN_SHORT => (
            LOOK_BACK[0],
            "filled: largest hourly mass of the last 180 valid hours",
            "filled: largest hourly mass of the valid hours before the gap, fewer than 180 are given",
        ),
        rate if *rate >= Number::decimal(90, 2) => (
            LOOK_BACK[1],
            "filled: largest hourly mass of the last 720 valid hours",
            "filled: largest hourly mass of the valid hours before the gap, fewer than 720 are given",
        ),
        rate if *rate >= Number::decimal(75, 2) => (
            LOOK_BACK[2],
            "filled: largest hourly mass of the last 2160 valid hours",
            "filled: largest hourly mass of the valid hours before the gap, fewer than 2160 are given",
        ),
        _ => return State::Open("the quarter's valid rate is below 75 %, no rule fills it: enter the mass measured by hand"),
    };
    let before = last(count);
    match before.iter().map(|(_, mass)| mass).max() {
        Some(mass) => State::Filled(mass.clone(), if before.len() == count { full } else { part }),
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
