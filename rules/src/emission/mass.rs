//! Mass of the hours that were not measured, by the rule of HJ 75 for gas. Filled mass is never mixed with measured mass.

use serde::{Deserialize, Serialize};

use super::hour::{HourClass, HourFigure};
use super::time::{Period, UtcMillis};
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
}

/// An hour whose mass was filled, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FilledHour {
    /// The hour.
    pub period: Period,
    /// The rule.
    pub rule: FillRule,
    /// Filled mass in kg; `None` where the rule gives none or no valid hour came before.
    pub mass_kg: Option<Number>,
    /// Valid hours that were looked at; fewer than the rule says where the record is short.
    pub looked_at: u32,
    /// Bad hours of the run it belongs to.
    pub run_hours: u32,
}

/// Longest run of bad hours that is filled by the last 180 valid hours.
const SHORT_RUN_HOURS: u32 = 24;

/// The mass of the bad hours in `target`, in order of time.
///
/// `hours`: target and what came before, in any order, each clock hour once. Bad is an hour that ran and has no valid mass, or is
/// out of control. Bad hours belong to one run until a valid hour comes; stopped hours in between neither end it nor count.
/// `quarter_valid_rate`: of the quarter that `target` lies in ([`quarter_valid_rate`]); call once for each quarter.
/// `good_calibrations`: when calibrations passed; hours out of control look back from before the last one before their run.
///
/// Rule of HJ 75-2017 for missing and invalid data of SO2, NOx and dust, from memory and confirmed by one public program; not read
/// in the standard. The concentration is not filled, and filled hours stay out of judging.
pub fn fill(hours: &[MassHour], target: &Period, quarter_valid_rate: &Number, good_calibrations: &[UtcMillis]) -> Vec<FilledHour> {
    let mut running: Vec<&MassHour> = hours.iter().filter(|hour| hour.class != HourClass::Stopped).collect();
    running.sort_by_key(|hour| hour.period.from);
    let valid: Vec<(Period, &Number)> = running.iter().filter_map(|hour| Some((hour.period, hour.counted()?))).collect();
    let mut filled = Vec::new();
    for run in running.chunk_by(|a, b| a.counted().is_none() && b.counted().is_none()) {
        let Some(first) = run.first().filter(|hour| hour.counted().is_none()) else { continue };
        if !run.iter().any(|hour| target.meets(&hour.period)) {
            continue;
        }
        let run_hours = u32::try_from(run.len()).unwrap_or(u32::MAX);
        let rule = rule_of(quarter_valid_rate, run_hours);
        let before = if run.iter().any(|hour| hour.out_of_control) {
            let last_good = good_calibrations.iter().filter(|at| **at <= first.period.from).max();
            last_good.copied().unwrap_or(first.period.from)
        } else {
            first.period.from
        };
        let end = valid.partition_point(|(period, _)| period.to <= before);
        let reference = valid.get(end.saturating_sub(rule.hours())..end).unwrap_or_default();
        let largest = reference.iter().map(|(_, mass)| *mass).max();
        filled.extend(run.iter().filter(|hour| target.meets(&hour.period)).map(|hour| FilledHour {
            period: hour.period,
            rule,
            mass_kg: largest.cloned(),
            looked_at: u32::try_from(reference.len()).unwrap_or(u32::MAX),
            run_hours,
        }));
    }
    filled
}

/// Valid hours / operating hours of those in `quarter`; `None` when none ran.
pub fn quarter_valid_rate(hours: &[MassHour], quarter: &Period) -> Option<Number> {
    let ran = hours.iter().filter(|hour| hour.class != HourClass::Stopped && quarter.holds(hour.period.from));
    let (valid, operating) = ran.fold((0_i128, 0_i128), |(valid, operating), hour| {
        (valid.saturating_add(i128::from(hour.counted().is_some())), operating.saturating_add(1))
    });
    Number::fraction(valid, operating)
}

/// Filled mass / (measured + filled mass); `None` when there is no mass.
pub fn filled_share(measured_kg: &Number, filled_kg: &Number) -> Option<Number> {
    filled_kg.over(&(measured_kg + filled_kg))
}

fn rule_of(rate: &Number, run_hours: u32) -> FillRule {
    if *rate >= Number::decimal(9, 1) {
        if run_hours <= SHORT_RUN_HOURS { FillRule::Last180 } else { FillRule::Last720 }
    } else if *rate >= Number::decimal(75, 2) {
        FillRule::Last2160
    } else {
        FillRule::NoRule
    }
}

impl FillRule {
    /// How many valid hours it looks back over.
    pub fn hours(self) -> usize {
        match self {
            Self::Last180 => 180,
            Self::Last720 => 720,
            Self::Last2160 => 2160,
            Self::NoRule => 0,
        }
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
    use crate::emission::time::HOUR_MS;

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
        fill(&hours, &all(&hours), &rate.parse().unwrap(), &good)
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
            let filled = fill(&all_hours, &all(&all_hours), &rate.parse().unwrap(), &[]);
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
        let rate = Number::one();
        let target = Period { from: period(3).from, to: period(6).from };
        let before = fill(&some, &target, &rate, &[]);
        assert_eq!(before.iter().map(|hour| (hour.period, hour.run_hours)).collect::<Vec<_>>(), [(period(3), 2)]);
        some.reverse();
        assert_eq!(fill(&some, &target, &rate, &[]), before);
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
