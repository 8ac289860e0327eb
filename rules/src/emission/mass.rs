//! Mass of the hours that were not measured: the one rule for summaries and indicators. Filled mass is never mixed with measured mass.
//!
//! Gas: HJ 75-2017, data of invalid periods (from memory and confirmed by one public program; not read in the standard). Waste
//! water: HJ/T 356-2007 (likewise), which HJ 356-2019 replaced; the rule of the newer one is not known here. The concentration is
//! not filled, and filled hours stay out of judging.
//!
//! The rule goes quarter by quarter, as the valid rate does, and what a quarter's hours are filled with depends on that quarter and
//! what came before it alone: a figure of a month is the same whether the month, its quarter or its year is asked for.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::hour::{HourClass, HourFigure};
use super::outlet::OutletKind;
use super::time::{HOUR_MS, Period, UtcMillis};
use crate::Number;

/// An hour as the filling rule sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MassHour {
    /// The hour.
    pub period: Period,
    /// How it counts for the mass: an hour with a measured mass is valid, also when it is not for the converted value; a valid hour
    /// without one counts as invalid.
    pub class: HourClass,
    /// Measured mass in kg.
    pub mass_kg: Option<Number>,
    /// The monitor failed its calibration: its values since the last good one do not count.
    pub out_of_control: bool,
}

/// By which line of the table an hour was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FillRule {
    /// Quarterly valid rate 90 % or more, run of 24 h or less: the largest of the last 180 valid hours.
    Last180,
    /// 90 % or more, longer run: the last 720.
    Last720,
    /// 75 % to less than 90 %: the last 2160.
    Last2160,
    /// Less than 75 %: no rule; hand measurement is expected.
    NoRule,
    /// Waste water: the mean of as many valid hours before the run as the run has.
    AsManyBefore,
}

/// An hour whose mass was filled, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FilledHour {
    /// The hour; several in a row where nothing was given for them ([`Period::hours`] tells them apart).
    pub period: Period,
    /// The rule.
    pub rule: FillRule,
    /// Filled mass in kg, of each hour; `None` where the rule gives none or no valid hour came before.
    pub mass_kg: Option<Number>,
    /// Valid hours that were looked at; fewer than the rule says where the record is short.
    pub looked_at: u32,
    /// Bad hours of the run it belongs to.
    pub run_hours: u32,
}

/// What the rule goes by, beside the hours.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// Stacks and waste water have rules of their own.
    pub kind: OutletKind,
    /// The park's zone, for quarters.
    pub zone: &'a TimeZone,
    /// Valid rates of quarters that are known, by the start of the quarter; the others are counted ([`quarter_valid_rate`]).
    pub quarter_valid_rates: &'a BTreeMap<UtcMillis, Number>,
    /// When calibrations passed; hours out of control look back from before the last one before their run.
    pub good_calibrations: &'a [UtcMillis],
}

/// Longest run of bad hours that is filled by the last 180 valid hours.
const SHORT_RUN_HOURS: u32 = 24;
/// Valid hours that any line of the table looks back over.
const LOOK_BACK_HOURS: usize = 2160;
/// Hours so long before a quarter are not looked at.
const LOOK_BACK_MS: i64 = 731 * 24 * HOUR_MS;

/// The mass of the bad hours in `target`, in order of time.
///
/// `hours`: those of the quarters of `target` from begin to end, as far as they are over, and enough of what came before
/// ([`is_enough`]); in any order, each clock hour once. Of a quarter that ends later, hours behind its end change nothing.
///
/// Bad is an hour that ran and has no valid mass, or is out of control, or lies between others and is not given. Bad hours belong
/// to one run until a valid hour comes; stopped hours in between neither end it nor count. So it is in the quarterly valid rate of
/// HJ 75-2017, which leaves stopped hours out of both its sums, and the table counts "before the failure": a monitor that fails
/// before a stop and is still out behind it has failed once. Ending the run there would fill less mass, never more.
pub fn fill(basis: &Basis<'_>, hours: &[MassHour], target: &Period) -> Vec<FilledHour> {
    let all = stretches(hours);
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return Vec::new() };
    let target = Period { from: target.from.max(first.period.from), to: target.to.min(last.period.to) };
    let mut filled = Vec::new();
    let mut at = target.from;
    while at < target.to {
        let Some(quarter) = Period::quarter(at, basis.zone).filter(|quarter| at < quarter.to) else { break };
        let known = within(&all, &Period { from: oldest(quarter.from), to: quarter.to });
        let counted = || rate_of(within(&all, &quarter).iter());
        let rate = basis.quarter_valid_rates.get(&quarter.from).cloned().or_else(counted);
        if let Some(rate) = rate {
            let target = Period { from: at, to: target.to.min(quarter.to) };
            filled.extend(fill_quarter(basis, &known, &target, &rate));
        }
        at = quarter.to;
    }
    filled
}

/// Whether what came before a quarter that starts at `from` is given as far back as the rule may look for the bad hours behind
/// `from`. If not, more does no harm and less than [`oldest`] is never looked at.
pub fn is_enough(kind: OutletKind, hours: &[MassHour], from: UtcMillis) -> bool {
    let all = stretches(hours);
    let ran: Vec<&Stretch<'_>> = all.iter().filter(|stretch| !stretch.is_stopped).collect();
    let behind = runs(&ran).filter(|run| run.last().is_some_and(|last| from < last.period.to));
    let Some(longest) = behind.map(run_hours).max() else { return true };
    let needed = match kind {
        OutletKind::Stack => LOOK_BACK_HOURS,
        OutletKind::WasteWater => usize::try_from(longest).unwrap_or(usize::MAX),
    };
    ran.iter().filter(|stretch| stretch.mass.is_some() && stretch.period.to <= from).take(needed).count() == needed
}

/// Hours before this are not looked at for a quarter that starts at `from`.
pub fn oldest(from: UtcMillis) -> UtcMillis {
    from.plus(-LOOK_BACK_MS)
}

/// Valid hours / operating hours of those in `quarter`; `None` when none ran. Hours between others that are not given ran.
pub fn quarter_valid_rate(hours: &[MassHour], quarter: &Period) -> Option<Number> {
    rate_of(within(&stretches(hours), quarter).iter())
}

/// An hour, or the hours between two that nothing was given for.
#[derive(Clone, Copy, Debug)]
struct Stretch<'a> {
    period: Period,
    is_stopped: bool,
    /// Of a valid hour in control.
    mass: Option<&'a Number>,
    out_of_control: bool,
}

impl Stretch<'_> {
    fn hours(&self) -> u32 {
        // Where clocks change by less than an hour, an hour is still one.
        u32::try_from(self.period.length_ms() / HOUR_MS).unwrap_or(u32::MAX).max(1)
    }
}

/// Hours in order of time, without holes. A hole is one stretch however long it is.
fn stretches(hours: &[MassHour]) -> Vec<Stretch<'_>> {
    let mut sorted: Vec<&MassHour> = hours.iter().collect();
    sorted.sort_by_key(|hour| hour.period.from);
    let mut all: Vec<Stretch<'_>> = Vec::with_capacity(sorted.len());
    for hour in sorted {
        if let Some(end) = all.last().map(|last| last.period.to).filter(|end| *end < hour.period.from) {
            let period = Period { from: end, to: hour.period.from };
            all.push(Stretch { period, is_stopped: false, mass: None, out_of_control: false });
        }
        let is_stopped = hour.class == HourClass::Stopped;
        all.push(Stretch { period: hour.period, is_stopped, mass: hour.counted(), out_of_control: hour.out_of_control });
    }
    all
}

/// What of the stretches starts in a period; holes are cut to it.
fn within<'a>(all: &[Stretch<'a>], period: &Period) -> Vec<Stretch<'a>> {
    let first = all.partition_point(|stretch| stretch.period.to <= period.from);
    let end = all.partition_point(|stretch| stretch.period.from < period.to);
    all.get(first..end)
        .unwrap_or_default()
        .iter()
        .filter_map(|stretch| cut(stretch.period, period).map(|period| Stretch { period, ..*stretch }))
        .collect()
}

/// A stretch cut to a period; an hour is in or out as a whole, by its start.
fn cut(stretch: Period, period: &Period) -> Option<Period> {
    if stretch.length_ms() <= HOUR_MS {
        return period.holds(stretch.from).then_some(stretch);
    }
    let cut = Period { from: stretch.from.max(period.from), to: stretch.to.min(period.to) };
    (cut.from < cut.to).then_some(cut)
}

fn rate_of<'s>(stretches: impl Iterator<Item = &'s Stretch<'s>>) -> Option<Number> {
    let (valid, operating) = stretches.filter(|stretch| !stretch.is_stopped).fold((0_i128, 0_i128), |(valid, operating), stretch| {
        let hours = i128::from(stretch.hours());
        (valid.saturating_add(if stretch.mass.is_some() { hours } else { 0 }), operating.saturating_add(hours))
    });
    Number::fraction(valid, operating)
}

/// Runs of bad hours among those that ran.
fn runs<'r, 'a>(ran: &'r [&'r Stretch<'a>]) -> impl Iterator<Item = &'r [&'r Stretch<'a>]> {
    let all = ran.chunk_by(|a, b| a.mass.is_none() && b.mass.is_none());
    all.filter(|run| run.first().is_some_and(|first| first.mass.is_none()))
}

fn run_hours(run: &[&Stretch<'_>]) -> u32 {
    run.iter().fold(0, |sum: u32, stretch| sum.saturating_add(stretch.hours()))
}

/// The bad hours in `target`, which lies in one quarter. `known`: that quarter and what is looked at before it.
fn fill_quarter(basis: &Basis<'_>, known: &[Stretch<'_>], target: &Period, rate: &Number) -> Vec<FilledHour> {
    let ran: Vec<&Stretch<'_>> = known.iter().filter(|stretch| !stretch.is_stopped).collect();
    let valid: Vec<(Period, &Number)> = ran.iter().filter_map(|stretch| Some((stretch.period, stretch.mass?))).collect();
    let mut filled = Vec::new();
    for run in runs(&ran) {
        let inside: Vec<Period> = run.iter().filter_map(|stretch| cut(stretch.period, target)).collect();
        let (Some(first), false) = (run.first(), inside.is_empty()) else { continue };
        let run_hours = run_hours(run);
        let before = if run.iter().any(|stretch| stretch.out_of_control) {
            let last_good = basis.good_calibrations.iter().filter(|at| **at <= first.period.from).max();
            last_good.copied().unwrap_or(first.period.from)
        } else {
            first.period.from
        };
        let (rule, hours) = match basis.kind {
            OutletKind::Stack => rule_of(rate, run_hours),
            OutletKind::WasteWater => (FillRule::AsManyBefore, usize::try_from(run_hours).unwrap_or(usize::MAX)),
        };
        let end = valid.partition_point(|(period, _)| period.to <= before);
        let reference = valid.get(end.saturating_sub(hours)..end).unwrap_or_default();
        let masses = reference.iter().map(|(_, mass)| *mass);
        let looked_at = u32::try_from(reference.len()).unwrap_or(u32::MAX);
        let mass_kg = match basis.kind {
            OutletKind::Stack => masses.max().cloned(),
            OutletKind::WasteWater => masses.sum::<Number>().over(&Number::from(i64::from(looked_at))).map(|mean| mean.kept()),
        };
        filled.extend(inside.into_iter().map(|period| FilledHour { period, rule, mass_kg: mass_kg.clone(), looked_at, run_hours }));
    }
    filled
}

/// Filled mass / (measured + filled mass); `None` when there is no mass.
pub fn filled_share(measured_kg: &Number, filled_kg: &Number) -> Option<Number> {
    filled_kg.over(&(measured_kg + filled_kg))
}

/// The line of the table, and how many valid hours it looks back over.
fn rule_of(rate: &Number, run_hours: u32) -> (FillRule, usize) {
    if *rate >= Number::decimal(9, 1) {
        if run_hours <= SHORT_RUN_HOURS { (FillRule::Last180, 180) } else { (FillRule::Last720, 720) }
    } else if *rate >= Number::decimal(75, 2) {
        (FillRule::Last2160, LOOK_BACK_HOURS)
    } else {
        (FillRule::NoRule, 0)
    }
}

impl MassHour {
    /// Of an hour's figures. `out_of_control`: the monitor failed the calibration after it.
    pub fn of(figure: &HourFigure, out_of_control: bool) -> Self {
        let class = if figure.mass_kg.is_some() { HourClass::Valid } else { figure.class };
        Self { period: figure.period, class, mass_kg: figure.mass_kg.clone(), out_of_control }
    }

    /// Its mass, if it is a valid hour in control.
    fn counted(&self) -> Option<&Number> {
        self.mass_kg.as_ref().filter(|_| self.class == HourClass::Valid && !self.out_of_control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one rate for all the quarters that hours of a test lie in; none: counted.
    fn fill_with(kind: OutletKind, hours: &[MassHour], target: &Period, rate: Option<&str>, good: &[UtcMillis]) -> Vec<FilledHour> {
        let quarter = |at: i64| Period::quarter(UtcMillis(at * 24 * HOUR_MS), &TimeZone::UTC).unwrap().from;
        let rate: Option<Number> = rate.map(|rate| rate.parse().unwrap());
        let rates = rate.iter().flat_map(|rate| (0..800).map(|day| (quarter(day), rate.clone()))).collect();
        fill(&Basis { kind, zone: &TimeZone::UTC, quarter_valid_rates: &rates, good_calibrations: good }, hours, target)
    }

    fn period(index: usize) -> Period {
        let from = UtcMillis(i64::try_from(index).unwrap() * HOUR_MS);
        Period { from, to: from.plus(HOUR_MS) }
    }

    /// `v` valid, `i` invalid, `m` missing, `s` stopped, `x` valid figures out of control, `n` valid without a mass. The mass of
    /// hour k is k kg.
    fn hours(text: &str) -> Vec<MassHour> {
        let hour = |(index, letter): (usize, char)| MassHour {
            period: period(index),
            class: match letter {
                'v' | 'x' | 'n' => HourClass::Valid,
                'i' => HourClass::Invalid,
                'm' => HourClass::Missing,
                's' => HourClass::Stopped,
                _ => panic!("{letter}"),
            },
            mass_kg: matches!(letter, 'v' | 'x').then(|| Number::from(i64::try_from(index).unwrap())),
            out_of_control: letter == 'x',
        };
        text.chars().enumerate().map(hour).collect()
    }

    fn all(hours: &[MassHour]) -> Period {
        Period { from: period(0).from, to: hours.last().unwrap().period.to }
    }

    /// Index, mass, hours looked at, length of the run.
    fn filled(text: &str, rate: &str, good: &[usize]) -> Vec<(i64, Option<i64>, u32, u32)> {
        let hours = hours(text);
        let good: Vec<UtcMillis> = good.iter().map(|index| period(*index).from).collect();
        let kg = |mass: &Number| mass.to_string().parse().unwrap();
        fill_with(OutletKind::Stack, &hours, &all(&hours), Some(rate), &good)
            .iter()
            .map(|hour| (hour.period.from.0 / HOUR_MS, hour.mass_kg.as_ref().map(kg), hour.looked_at, hour.run_hours))
            .collect()
    }

    #[test]
    fn bad_hours_get_the_largest_of_the_valid_ones_before() {
        // Hours 0..2 valid with 0, 1, 2 kg: the largest is 2. After hour 5 (5 kg) it is 5. Stop hours get nothing.
        assert_eq!(filled("vvviivsmn", "0.95", &[]), [(3, Some(2), 3, 2), (4, Some(2), 3, 2), (7, Some(5), 4, 2), (8, Some(5), 4, 2)]);
        // Nothing valid before: nothing to fill with, and it says so.
        assert_eq!(filled("iv", "0.95", &[]), [(0, None, 0, 1)]);
        // A stop inside a run neither ends it nor counts.
        assert_eq!(filled("visi", "0.95", &[]), [(1, Some(0), 1, 2), (3, Some(0), 1, 2)]);
    }

    /// The largest stands at the beginning: 1000 kg in hour 0 and a fall after it show how far a rule looks back.
    #[test]
    fn the_table_decides_how_far_to_look_back() {
        let case = |valid: usize, bad: usize, rate: &str| {
            let mut all_hours = hours(&format!("{}{}", "v".repeat(valid), "i".repeat(bad)));
            for (index, hour) in all_hours.iter_mut().enumerate() {
                hour.mass_kg = hour.mass_kg.take().map(|_| Number::from(10_000 - i64::try_from(index).unwrap()));
            }
            let filled = fill_with(OutletKind::Stack, &all_hours, &all(&all_hours), Some(rate), &[]);
            assert_eq!(filled.len(), bad);
            (filled[0].rule, filled[0].looked_at, filled[0].mass_kg.as_ref().map(ToString::to_string))
        };
        // 3000 valid hours: the last 180 begin with hour 2820, whose mass is 10000 - 2820 = 7180; 720: 2280 -> 7720; 2160: 840 -> 9160.
        assert_eq!(case(3000, 24, "0.9"), (FillRule::Last180, 180, Some("7180".into())));
        assert_eq!(case(3000, 25, "0.9"), (FillRule::Last720, 720, Some("7720".into())));
        assert_eq!(case(3000, 1, "0.8999999"), (FillRule::Last2160, 2160, Some("9160".into())));
        assert_eq!(case(3000, 30, "0.75"), (FillRule::Last2160, 2160, Some("9160".into())));
        assert_eq!(case(3000, 1, "0.7499999"), (FillRule::NoRule, 0, None));
        assert_eq!(case(100, 1, "0.95"), (FillRule::Last180, 100, Some("10000".into())));
    }

    #[test]
    fn out_of_control_looks_back_from_the_last_good_calibration() {
        // Good calibrations at hours 3 and 20; hours 5 and 6 are out of control: hours 0..2 count, not 3 and 4.
        assert_eq!(filled("vvvvvxxv", "0.95", &[3, 20]), [(5, Some(2), 3, 2), (6, Some(2), 3, 2)]);
        // An ordinary failure looks back from its start.
        assert_eq!(filled("vvvvviiv", "0.95", &[3]), [(5, Some(4), 5, 2), (6, Some(4), 5, 2)]);
    }

    #[test]
    fn order_does_not_matter_and_the_target_cuts() {
        let mut some = hours("vviivv");
        let target = Period { from: period(3).from, to: period(6).from };
        let filled = |some: &[MassHour]| fill_with(OutletKind::Stack, some, &target, Some("1"), &[]);
        let before = filled(&some);
        assert_eq!(before.iter().map(|hour| (hour.period, hour.run_hours)).collect::<Vec<_>>(), [(period(3), 2)]);
        some.reverse();
        assert_eq!(filled(&some), before);
    }

    #[test]
    fn hours_that_are_not_given_are_bad_and_take_no_memory() {
        // 12 valid hours, nothing for 4, 1 valid: as if 4 were missing, told as one stretch.
        let mut some = hours("vvvvvvvvvvvvmmmmv");
        let target = Period { from: period(13).from, to: period(15).from };
        let told = |some: &[MassHour], target: &Period| fill_with(OutletKind::Stack, some, target, None, &[]);
        let all_at_once = told(&some, &target);
        some.retain(|hour| hour.class == HourClass::Valid);
        let stretch = told(&some, &target);
        let shown: Vec<_> = stretch.iter().map(|hour| (hour.period, hour.run_hours, hour.rule)).collect();
        assert_eq!(shown, [(target, 4, FillRule::Last2160)], "12 of 17 hours would be below 75 %, 13 of 17 are not");
        let apart: Vec<_> =
            stretch.iter().flat_map(|hour| hour.period.hours().map(|period| FilledHour { period, ..hour.clone() })).collect();
        assert_eq!(apart, all_at_once);
        assert_eq!(quarter_valid_rate(&some, &all(&some)), Number::fraction(13, 17));
        // Two hours that lie 200 years apart: a piece for each quarter between.
        let far = [0, 200 * 8766].map(|at| MassHour { period: period(at), ..some[0].clone() });
        let pieces = told(&far, &all(&far)).len();
        assert!((800..=801).contains(&pieces), "{pieces}");
    }

    /// A quarter is filled by its own valid rate, by itself and what came before, whatever of it is asked for and whatever is given
    /// behind it.
    #[test]
    fn what_a_quarter_is_filled_with_does_not_depend_on_what_is_asked() {
        // 90 days of the first quarter of 1970, 91 of the second, 92 of the third.
        let lengths = [90 * 24, 91 * 24, 92 * 24];
        // The first: all valid but a run at its end; the second begins bad, so that its rate is below 90 %; the third is good.
        let text: String = [
            "v".repeat(lengths[0] - 20) + &"i".repeat(20),
            "m".repeat(30) + &"s".repeat(40) + &"i".repeat(300) + &"v".repeat(lengths[1] - 370),
            "vvi".to_owned() + &"v".repeat(lengths[2] - 3),
        ]
        .concat();
        let mut all_hours = hours(&text);
        // Falling, so that each look-back has another largest.
        for (index, hour) in all_hours.iter_mut().enumerate() {
            hour.mass_kg = hour.mass_kg.take().map(|_| Number::from(10_000 - i64::try_from(index).unwrap()));
        }
        let told = |until: usize, from: usize, to: usize| {
            let target = Period { from: period(from).from, to: period(to).from };
            fill_with(OutletKind::Stack, &all_hours[..until], &target, None, &[])
        };
        let (second, third) = (lengths[0], lengths[0] + lengths[1]);
        let year = told(all_hours.len(), 0, all_hours.len());
        let rules = |from: usize, to: usize| {
            let inside = year.iter().filter(|hour| period(from).from <= hour.period.from && hour.period.from < period(to).from);
            let mut rules: Vec<_> = inside.map(|hour| (hour.rule, hour.run_hours, hour.looked_at)).collect();
            rules.dedup();
            rules
        };
        assert_eq!(rules(0, second), [(FillRule::Last180, 20, 180)]);
        assert_eq!(rules(second, third), [(FillRule::Last2160, 350, 2140)]);
        assert_eq!(rules(third, all_hours.len()), [(FillRule::Last180, 1, 180)]);
        for (from, to, until) in [(0, second, second), (second, third, third), (third, all_hours.len(), all_hours.len())] {
            let of_year: Vec<_> =
                year.iter().filter(|hour| (period(from).from..period(to).from).contains(&hour.period.from)).cloned().collect();
            assert_eq!(told(until, from, to), of_year);
            // Hour by hour, with what comes behind the quarter and without it.
            for at in (from..to).step_by(7) {
                let one: Vec<_> = of_year.iter().filter(|hour| hour.period == period(at)).cloned().collect();
                assert_eq!((told(until, at, at + 1), told(all_hours.len(), at, at + 1)), (one.clone(), one), "{at}");
            }
        }
    }

    #[test]
    fn it_is_said_when_more_hours_before_are_needed() {
        let first = 90 * 24;
        let start = period(first).from;
        let enough = |kind, text: &str| {
            let mut some = hours(text);
            // The text ends 10 hours behind the start of the quarter.
            let shift = (i64::try_from(first + 10).unwrap() - i64::try_from(text.len()).unwrap()) * HOUR_MS;
            some.iter_mut().for_each(|hour| hour.period = Period { from: hour.period.from.plus(shift), to: hour.period.to.plus(shift) });
            is_enough(kind, &some, start)
        };
        let case = |before: usize, then: &str| "v".repeat(before) + then;
        for kind in [OutletKind::Stack, OutletKind::WasteWater] {
            assert!(enough(kind, "vvvvvvvvvv"), "nothing to fill");
            assert!(enough(kind, "ivvvvvvvvvv"), "what is bad before is not asked for");
            assert!(enough(kind, "vssssssssss"), "stopped hours get nothing");
        }
        assert!(enough(OutletKind::Stack, &case(2160, "vvvvvvvvvi")));
        assert!(!enough(OutletKind::Stack, &case(2159, "vvvvvvvvvi")));
        // Water: as many as the run has, which began before the quarter.
        assert!(enough(OutletKind::WasteWater, &case(3, "iisivvvvvvvvv")));
        assert!(!enough(OutletKind::WasteWater, &case(2, "iisivvvvvvvvv")));
    }

    #[test]
    fn waste_water_gets_the_mean_of_as_many_hours_before() {
        // Hours 1, 2, 3 before a run of three, a stop within: (1 + 2 + 3) / 3 = 2 kg each.
        let some = hours("vvvviisiv");
        let told = |some: &[MassHour]| -> Vec<_> {
            let filled = fill_with(OutletKind::WasteWater, some, &all(some), None, &[]);
            filled.iter().map(|hour| (hour.period, hour.rule, hour.mass_kg.clone(), hour.looked_at)).collect()
        };
        let of = |at, mass: Option<i64>, looked_at| (period(at), FillRule::AsManyBefore, mass.map(Number::from), looked_at);
        assert_eq!(told(&some), [of(4, Some(2), 3), of(5, Some(2), 3), of(7, Some(2), 3)]);
        assert_eq!(told(&hours("iv")), [of(0, None, 0)]);
    }

    #[test]
    fn hours_of_years_ago_are_not_looked_at() {
        let mut some = hours("vi");
        let day = 24 * HOUR_MS;
        let shift = |hour: &mut MassHour, ms: i64| hour.period = Period { from: hour.period.from.plus(ms), to: hour.period.to.plus(ms) };
        // The quarter of the bad hour, 1972-01-02, starts 730 days behind 1970: back to 24 hours before it is looked at.
        shift(&mut some[1], 731 * day);
        let told = |some: &[MassHour]| fill_with(OutletKind::Stack, some, &some[1].period, Some("1"), &[])[0].looked_at;
        shift(&mut some[0], -day);
        assert_eq!(told(&some), 1);
        shift(&mut some[0], -HOUR_MS);
        assert_eq!(told(&some), 0);
    }

    #[test]
    fn the_quarters_rate_counts_operating_hours() {
        let some = hours("vvvsimnx");
        // 7 ran; 3 are valid with a mass and in control.
        assert_eq!(quarter_valid_rate(&some, &all(&some)), Number::fraction(3, 7));
        assert_eq!(quarter_valid_rate(&hours("ss"), &all(&some)), None);
        assert_eq!(filled_share(&Number::from(9), &Number::from(1)), Number::fraction(1, 10));
        assert_eq!(filled_share(&Number::zero(), &Number::zero()), None);
    }
}
