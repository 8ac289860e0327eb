//! Two days of 20 outlets with 6 factors each, with stops, calibrations, faults, outages and back-fill: every hour, day and month equals a second,
//! straightforward calculation over whole numbers, before and after the late data. The second one knows what happened minute by
//! minute; the first one gets readings and marks.

use std::collections::BTreeMap;

use super::*;
use crate::emission::event::{self, EventState};
use crate::emission::limit::{AppliesTo, Bound, Limit, judge_hour};
use crate::emission::period::{self, PeriodClass, PeriodFigure};
use crate::emission::time::Averaging;

const MINUTES: usize = 2 * 1440;
const OUTLETS: u64 = 20;
const STACKS: u64 = 15;
/// mg/m3, about what half of the hours reach.
const LIMIT: i64 = 112;
/// What 21 % less the O2 is, in tenths: all divide 5040, so converted values stay whole numbers of 1/50400 mg/m3.
const BELOW_AIR: [i64; 8] = [105, 112, 120, 126, 140, 144, 168, 180];

/// A generator of its own, so that the days are the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((self.0 >> 33) % u64::try_from(end).unwrap()).unwrap()
    }

    /// Stretches of minutes.
    fn stretches(&mut self, count: i64, longest: i64) -> Vec<bool> {
        let mut minutes = vec![false; MINUTES];
        for _ in 0..count {
            let from = usize::try_from(self.below(2880)).unwrap();
            let length = usize::try_from(1 + self.below(longest)).unwrap();
            minutes[from..(from + length).min(MINUTES)].fill(true);
        }
        minutes
    }
}

/// What a monitor gave in a minute.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    Good(i64),
    Bad(i64),
    /// With letter D.
    Faulty(i64),
    Nothing,
}

/// What happened at an outlet.
struct Truth {
    id: String,
    is_stack: bool,
    o2: Vec<Value>,
    flow: Vec<Value>,
    factors: Vec<Vec<Value>>,
    /// Stack: the running point says so. Water: an entered mark F.
    stopped: Vec<bool>,
    /// A mark M on everything.
    maintained: Vec<bool>,
    /// A mark C on one factor.
    calibrated: Vec<Vec<bool>>,
    /// Nothing came; later the first half of the day is delivered.
    outage: Vec<bool>,
}

impl Truth {
    fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let is_stack = seed < STACKS;
        let per_minute = |dice: &mut Dice, value: &mut dyn FnMut(&mut Dice) -> i64| -> Vec<Value> {
            let (bad, faulty) = (dice.stretches(3, 40), dice.stretches(2, 30));
            let one = |(bad, faulty): (bool, bool)| match (bad, faulty) {
                (true, _) => Value::Bad(value(dice)),
                (_, true) => Value::Faulty(value(dice)),
                _ => Value::Good(value(dice)),
            };
            bad.into_iter().zip(faulty).map(one).collect()
        };
        let o2 = per_minute(&mut dice, &mut |dice| {
            if dice.below(40) == 0 { 210 } else { 210 - BELOW_AIR[usize::try_from(dice.below(8)).unwrap()] }
        });
        let dry = dice.stretches(2, 150);
        let mut index = 0;
        let flow = per_minute(&mut dice, &mut |dice| {
            index += 1;
            if !is_stack && dry[index - 1] { 0 } else { 1000 + dice.below(100_000) }
        });
        let mut factor = |_| {
            if is_stack {
                return per_minute(&mut dice, &mut |dice| dice.below(2000));
            }
            // A meter that samples every 1 to 2 h.
            let (mut values, mut next) = (vec![Value::Nothing; MINUTES], 0);
            while next < MINUTES {
                let value = dice.below(900);
                values[next] = match dice.below(12) {
                    0 => Value::Bad(value),
                    1 => Value::Faulty(value),
                    _ => Value::Good(value),
                };
                next += usize::try_from(60 + dice.below(60)).unwrap();
            }
            values
        };
        let mut factors: Vec<Vec<Value>> = (0..6).map(&mut factor).collect();
        let outage = dice.stretches(8, 60);
        // At every other stack nothing of the first factor was emitted while nothing came: late zeros bring hours below the limit again.
        if is_stack && seed.is_multiple_of(2) {
            factors[0].iter_mut().zip(&outage).filter(|(_, outage)| **outage).for_each(|(value, _)| *value = Value::Good(0));
        }
        Self {
            id: format!("outlet-{seed}"),
            is_stack,
            o2,
            flow,
            factors,
            stopped: dice.stretches(3, 240),
            maintained: dice.stretches(2, 50),
            calibrated: (0..6).map(|_| dice.stretches(3, 45)).collect(),
            outage,
        }
    }

    /// The same after the outages of the first day have been delivered.
    fn filled(&self) -> Vec<bool> {
        self.outage.iter().enumerate().map(|(minute, outage)| *outage && minute >= 1440).collect()
    }

    fn outlet(&self, days: u32) -> Outlet {
        let mut text =
            format!("id = \"{}\"\nenterprise = \"food\"\nrunning = {{ point = \"run\", from = 1, hold_seconds = 60 }}\n", self.id);
        if self.is_stack {
            text += "kind = \"stack\"\no2 = { point = \"o2\", minute_mean = true }\n";
            text += "flow = { kind = \"standard\", point = \"flow\", interval_ms = 60000 }\n";
        } else {
            text += "kind = \"waste_water\"\nflow = { kind = \"water\", point = \"flow\", hold_seconds = 60 }\n";
        }
        for factor in 0..6 {
            text +=
                &format!("[[factor]]\nid = \"f{factor}\"\nsource = {{ kind = \"point\", point = \"f{factor}\", interval_ms = 60000 }}\n");
            text += match (self.is_stack, factor) {
                (true, 0..4) => "reference = { o2 = 6 }\n",
                (true, _) => "",
                (false, 5) => "unit = \"pH\"\nhold_minutes = 150\n",
                (false, _) => "unit = \"mg/L\"\nhold_minutes = 150\n",
            };
        }
        text += &format!("[rules]\nmonth = {{ days = {} }}\n", days + 2);
        outlet(&text)
    }

    fn readings(&self, outage: &[bool]) -> Readings {
        let series = |values: &[Value]| {
            let reading = |(minute, (value, outage)): (i64, (&Value, &bool))| {
                let good = |value| Some(Reading::good(at(minute), value));
                match value {
                    _ if *outage => None,
                    Value::Nothing => None,
                    Value::Good(value) => good(*value),
                    Value::Bad(value) => good(*value).map(|reading| Reading { good: false, ..reading }),
                    Value::Faulty(value) => good(*value).map(|reading| Reading { mark: Some(Letter::D), ..reading }),
                }
            };
            Series::of(1, (0..).zip(values.iter().zip(outage)).filter_map(reading).collect())
        };
        let mut readings: Readings = (0..6).map(|factor| (format!("f{factor}"), series(&self.factors[factor]))).collect();
        readings.insert("o2".into(), series(&self.o2));
        readings.insert("flow".into(), series(&self.flow));
        if self.is_stack {
            let running = (0..).zip(&self.stopped).map(|(minute, stopped)| Reading::good(at(minute), i64::from(!stopped)));
            readings.insert("run".into(), Series::of(0, running.collect()));
        }
        readings
    }

    fn marks(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        let mut enter = |letter, factor: Option<String>, minutes: &[bool]| {
            let mut from = 0;
            for run in minutes.chunk_by(|a, b| a == b) {
                let to = from + i64::try_from(run.len()).unwrap();
                if run[0] {
                    marks.push(Mark { outlet: self.id.clone(), ..mark(letter, factor.as_deref(), from, to) });
                }
                from = to;
            }
        };
        if !self.is_stack {
            enter(Letter::F, None, &self.stopped);
        }
        enter(Letter::M, None, &self.maintained);
        for (factor, minutes) in self.calibrated.iter().enumerate() {
            enter(Letter::C, Some(format!("f{factor}")), minutes);
        }
        marks
    }
}

/// An hour by the second calculation.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    class: Option<HourClass>,
    counts: [u32; 5],
    concentration: Option<Number>,
    converted: Option<Number>,
    o2: Option<Number>,
    volume: Option<Number>,
    weighed: Option<Number>,
    mass: Option<Number>,
    /// kg/h.
    rate: Option<Number>,
    partial: Option<Number>,
}

fn ratio(above: i64, below: i64) -> Option<Number> {
    Number::fraction(i128::from(above), i128::from(below))
}

fn classed(valid: bool, [_, stopped, missing, marked, failed]: [u32; 5]) -> HourClass {
    match () {
        () if valid => HourClass::Valid,
        () if stopped >= 16 => HourClass::Stopped,
        () if missing > marked + failed => HourClass::Missing,
        () => HourClass::Invalid,
    }
}

#[expect(clippy::needless_range_loop, reason = "a minute is the index of five lists")]
fn expected_gas(truth: &Truth, outage: &[bool], factor: usize, hour: usize) -> Expected {
    let (mut c, mut nc, mut k, mut nk, mut q, mut nq, mut o, mut no) = (0, 0, 0, 0, 0, 0, 0, 0);
    let [mut valid, mut stopped, mut missing, mut marked, mut failed] = [0; 5];
    for m in hour * 60..hour * 60 + 60 {
        let silenced = truth.stopped[m] || truth.maintained[m] || outage[m];
        if let (false, Value::Good(flow)) = (silenced, truth.flow[m]) {
            (q, nq) = (q + flow, nq + 1);
        }
        let o2 = if let (false, Value::Good(o2)) = (silenced, truth.o2[m]) { Some(o2) } else { None };
        if let Some(o2) = o2 {
            (o, no) = (o + o2, no + 1);
        }
        if truth.stopped[m] {
            stopped += 1;
        } else if truth.maintained[m] || truth.calibrated[factor][m] {
            marked += 1;
        } else if outage[m] {
            missing += 1;
        } else if let Value::Faulty(_) = truth.factors[factor][m] {
            marked += 1;
        } else if let Value::Good(value) = truth.factors[factor][m] {
            (c, nc) = (c + value, nc + 1);
            if factor >= 4 {
                valid += 1;
            } else if let Some(o2) = o2.filter(|o2| *o2 < 209) {
                // value x (21 - 6) / (21 - O2), in 1/50400.
                (k, nk) = (k + value * 150 * (5040 / (210 - o2)), nk + 1);
                valid += 1;
            } else {
                failed += 1;
            }
        } else {
            failed += 1;
        }
    }
    let counts = [valid, stopped, missing, marked, failed];
    let class = classed(valid >= 45, counts);
    // Tenths x tenths / 1e6.
    let rate = Number::fraction(i128::from(c) * i128::from(q), i128::from(nc) * i128::from(nq) * 100_000_000);
    let volume = ratio(q, nq * 10).filter(|_| nq >= 45);
    let mass = rate.clone().filter(|_| nc >= 45 && nq >= 45);
    Expected {
        class: Some(class),
        counts,
        concentration: ratio(c, nc * 10),
        converted: ratio(k, nk * 50_400).filter(|_| factor < 4),
        o2: ratio(o, no * 10),
        volume,
        weighed: None,
        rate: mass.clone(),
        mass,
        partial: rate.filter(|_| class == HourClass::Stopped).map(|rate| rate * ratio(nc, 60).unwrap()),
    }
}

fn expected_water(truth: &Truth, outage: &[bool], factor: usize, hour: usize) -> Expected {
    let (mut grams, mut weighed, mut over_time, mut volume, mut flow_minutes) = (0, 0, 0, 0, 0);
    let [mut valid, mut stopped, mut missing, mut marked, mut failed] = [0_u32; 5];
    for m in hour * 60..hour * 60 + 60 {
        let flow = if let (false, Value::Good(flow)) = (outage[m], truth.flow[m]) { Some(flow) } else { None };
        // M on everything takes the flow; F, which is the earlier letter, does not.
        let flow = flow.filter(|_| truth.stopped[m] || !truth.maintained[m]);
        if let Some(flow) = flow {
            (volume, flow_minutes) = (volume + flow, flow_minutes + 1);
        }
        let sample = (0..150.min(m + 1)).map(|back| m - back).find(|s| !outage[*s] && truth.factors[factor][*s] != Value::Nothing);
        let sample = sample.map_or(Value::Nothing, |s| truth.factors[factor][s]);
        if truth.stopped[m] {
            stopped += 1;
        } else if truth.maintained[m] || truth.calibrated[factor][m] || matches!(sample, Value::Faulty(_)) {
            marked += 1;
        } else if sample == Value::Nothing {
            missing += 1;
        } else if let (Value::Good(value), true) = (sample, factor == 5 || flow.is_some()) {
            valid += 1;
            over_time += value;
            grams += value * flow.unwrap_or(0);
            weighed += flow.unwrap_or(0);
        } else {
            failed += 1;
        }
    }
    let counts = [valid, stopped, missing, marked, failed];
    let still = flow_minutes >= 45 && volume == 0;
    let class = if still { HourClass::Stopped } else { classed(valid >= 45, counts) };
    let (is_ph, any) = (factor == 5, valid > 0);
    // mg/L x m3/h in hundredths, a minute each, is grams / 6000.
    let mass = ratio(grams, 6_000_000).filter(|_| !is_ph && any);
    // Tenths of mg/L, weighed, x tenths of m3/h over the minutes with a flow.
    let rate = Number::fraction(i128::from(grams) * i128::from(volume), i128::from(weighed) * i128::from(flow_minutes) * 100_000);
    Expected {
        class: Some(class),
        counts,
        concentration: if is_ph { ratio(over_time, i64::from(valid) * 10) } else { ratio(grams, weighed * 10) },
        converted: None,
        o2: None,
        volume: ratio(volume, 600).filter(|_| flow_minutes > 0),
        weighed: ratio(weighed, 600).filter(|_| !is_ph && any),
        mass: mass.clone().filter(|_| class == HourClass::Valid),
        rate: rate.filter(|_| !is_ph && class == HourClass::Valid),
        partial: mass.filter(|mass| class == HourClass::Stopped && !mass.is_zero()),
    }
}

fn same(what: &str, figure: Option<&Number>, expected: Option<&Number>) {
    assert_eq!(figure.map(|number| number.rounded(20)), expected.map(|number| number.rounded(20)), "{what}");
}

fn check_hour(figure: &HourFigure, expected: &Expected) {
    let what = |name: &str| format!("{name} of {} {} at {}", figure.outlet, figure.factor, figure.period.from);
    let counts = &figure.minutes;
    let counts = [counts.valid, counts.stopped, counts.missing, counts.marked, counts.failed];
    assert_eq!((Some(figure.class), counts), (expected.class, expected.counts), "{}", what("class"));
    same(&what("concentration"), figure.concentration.value.as_ref(), expected.concentration.as_ref());
    same(&what("converted"), figure.converted.as_ref().and_then(|mean| mean.value.as_ref()), expected.converted.as_ref());
    same(&what("o2"), figure.auxiliary.get("o2").and_then(|mean| mean.value.as_ref()), expected.o2.as_ref());
    same(&what("volume"), figure.volume_m3.as_ref(), expected.volume.as_ref());
    same(&what("weighed"), figure.volume_weighted_m3.as_ref(), expected.weighed.as_ref());
    same(&what("mass"), figure.mass_kg.as_ref(), expected.mass.as_ref());
    same(&what("mass rate"), figure.mass_rate_kg_h.as_ref(), expected.rate.as_ref());
    same(&what("partial mass"), figure.partial_mass_kg.as_ref(), expected.partial.as_ref());
}

fn mean(numbers: &[Number]) -> Option<Number> {
    numbers.iter().sum::<Number>().over(&Number::from(i64::try_from(numbers.len()).unwrap()))
}

/// Mean concentration, mean converted, mean O2 of a day or month, and whether it is valid.
struct ExpectedPeriod {
    concentration: Option<Number>,
    converted: Option<Number>,
    o2: Option<Number>,
    class: PeriodClass,
}

fn expected_day(truth: &Truth, factor: usize, hours: &[Expected]) -> ExpectedPeriod {
    let valid: Vec<&Expected> = hours.iter().filter(|hour| hour.class == Some(HourClass::Valid)).collect();
    let all = |of: fn(&Expected) -> Option<Number>| -> Vec<Number> { valid.iter().filter_map(|hour| of(hour)).collect() };
    let operating = hours.iter().filter(|hour| hour.class != Some(HourClass::Stopped)).count();
    let enough = if truth.is_stack { valid.len() >= 20 } else { !valid.is_empty() && valid.len() * 4 >= operating * 3 };
    let concentration = if truth.is_stack || factor == 5 {
        mean(&all(|hour| hour.concentration.clone()))
    } else {
        let (mass, volume): (Number, Number) = (all(|hour| hour.mass.clone()).iter().sum(), all(|hour| hour.weighed.clone()).iter().sum());
        (mass * Number::from(1000)).over(&volume)
    };
    ExpectedPeriod {
        concentration,
        converted: mean(&all(|hour| hour.converted.clone())),
        o2: mean(&all(|hour| hour.o2.clone())),
        class: match () {
            () if operating == 0 => PeriodClass::Stopped,
            () if enough => PeriodClass::Valid,
            () => PeriodClass::Invalid,
        },
    }
}

fn check_period(truth: &Truth, figure: &PeriodFigure, expected: &ExpectedPeriod, hours: &[Expected]) {
    let what = |name: &str| format!("{name} of {} {} {:?} at {}", figure.outlet, figure.factor, figure.averaging, figure.period.from);
    let count = |class| u32::try_from(hours.iter().filter(|hour| hour.class == Some(class)).count()).unwrap();
    let counts = [HourClass::Valid, HourClass::Invalid, HourClass::Missing, HourClass::Stopped].map(count);
    assert_eq!([figure.hours.valid, figure.hours.invalid, figure.hours.missing, figure.hours.stopped], counts, "{}", what("hours"));
    assert_eq!(figure.class, expected.class, "{}", what("class"));
    same(&what("concentration"), figure.concentration.as_ref(), expected.concentration.as_ref());
    same(&what("converted"), figure.converted.as_ref(), expected.converted.as_ref());
    same(&what("o2"), figure.o2.as_ref(), expected.o2.as_ref());
    let masses: Vec<&Number> = hours.iter().filter_map(|hour| hour.mass.as_ref()).collect();
    let sum = (!masses.is_empty()).then(|| masses.iter().copied().sum::<Number>());
    same(&what("mass"), figure.mass_kg.as_ref(), sum.as_ref());
    let rates: Vec<Number> = hours.iter().filter_map(|hour| hour.rate.clone()).collect();
    same(&what("mass rate"), figure.mass_rate.kg_h.as_ref(), mean(&rates).as_ref());
    if figure.averaging == Averaging::Day {
        let operating = hours.len() - usize::try_from(counts[3]).unwrap();
        let enough = if truth.is_stack { rates.len() >= 20 } else { !rates.is_empty() && rates.len() * 4 >= operating * 3 };
        assert_eq!(figure.mass_rate.valid, enough, "{}", what("mass rate"));
    }
    if truth.is_stack && figure.converted.is_some() {
        let of_means = expected
            .concentration
            .as_ref()
            .zip(expected.o2.as_ref())
            .and_then(|(concentration, o2)| (concentration * &Number::from(15)).over(&(Number::from(21) - o2)));
        same(&what("converted of means"), figure.converted_of_means.as_ref(), of_means.as_ref());
    }
}

/// Checks all hours, days and the month of an outlet; gives the hours of the first factor above the limit.
fn check(truth: &Truth, outlet: &Outlet, readings: &Readings, marks: &[Mark], outage: &[bool]) -> (Vec<HourFigure>, Vec<UtcMillis>) {
    let mut above = Vec::new();
    let mut figures: BTreeMap<usize, Vec<HourFigure>> = BTreeMap::new();
    let mut expected: BTreeMap<usize, Vec<Expected>> = BTreeMap::new();
    for hour in 0..48_usize {
        let period = hour_of(i64::try_from(hour).unwrap());
        for (factor, figure) in hour::figures(outlet, &period, readings, marks).into_iter().enumerate() {
            let calculate = if truth.is_stack { expected_gas } else { expected_water };
            let second = calculate(truth, outage, factor, hour);
            check_hour(&figure, &second);
            let is_above = second.converted.as_ref().is_some_and(|converted| *converted > Number::from(LIMIT));
            if factor == 0 && is_above && second.class == Some(HourClass::Valid) {
                above.push(period.from);
            }
            figures.entry(factor).or_default().push(figure);
            expected.entry(factor).or_default().push(second);
        }
    }
    let month = Period { from: at(0), to: at(2880) };
    for (factor, hours) in &expected {
        let configured = &outlet.factors[*factor];
        let mut days = Vec::new();
        let mut valid_days = Vec::new();
        for day in 0..2 {
            let today = &hours[day * 24..day * 24 + 24];
            let start = i64::try_from(day).unwrap() * 1440;
            let period = Period { from: at(start), to: at(start + 1440) };
            let figure = period::day(outlet, configured, &period, &figures[factor], period.to);
            let second = expected_day(truth, *factor, today);
            check_period(truth, &figure, &second, today);
            if second.class == PeriodClass::Valid {
                valid_days.push((second, today));
            }
            days.push(figure);
        }
        let figure = period::month(outlet, configured, &month, &days, month.to);
        let of_days =
            |of: fn(&ExpectedPeriod) -> Option<Number>| mean(&valid_days.iter().filter_map(|(day, _)| of(day)).collect::<Vec<_>>());
        let weighed: Vec<&Expected> =
            valid_days.iter().flat_map(|(_, hours)| hours.iter()).filter(|hour| hour.class == Some(HourClass::Valid)).collect();
        let concentration = if truth.is_stack || *factor == 5 {
            of_days(|day| day.concentration.clone())
        } else {
            let mass: Number = weighed.iter().filter_map(|hour| hour.mass.as_ref()).sum();
            let volume: Number = weighed.iter().filter_map(|hour| hour.weighed.as_ref()).sum();
            (mass * Number::from(1000)).over(&volume)
        };
        let second = ExpectedPeriod {
            concentration,
            converted: of_days(|day| day.converted.clone()),
            o2: of_days(|day| day.o2.clone()),
            class: if valid_days.len() > usize::from(truth.id.ends_with(['1', '3', '5', '7', '9'])) {
                PeriodClass::Valid
            } else {
                PeriodClass::Invalid
            },
        };
        check_period(truth, &figure, &second, hours);
    }
    (figures.remove(&0).unwrap_or_default(), above)
}

#[test]
fn every_figure_equals_a_second_calculation_before_and_after_late_data() {
    let mut classes: BTreeMap<HourClass, u32> = BTreeMap::new();
    let (mut changed, mut withdrawn, mut raised) = (0, 0, 0);
    for seed in 0..OUTLETS {
        let truth = Truth::of(seed);
        let outlet = truth.outlet(u32::from(seed % 2 == 1) + 1);
        let marks = truth.marks();
        let limit = Limit {
            id: "permit".into(),
            outlet: truth.id.clone(),
            factor: "f0".into(),
            averaging: Averaging::Hour,
            value: Number::from(LIMIT),
            unit: "mg/m3".into(),
            applies_to: AppliesTo::Converted,
            bound: Bound::Upper,
            clause: "permit, table 7".into(),
            valid_from: at(0),
            valid_to: None,
            author: "li".into(),
            set_at: None,
        };
        let events = |figures: &[HourFigure]| {
            let judged = |figure: &HourFigure| event::of_hour("food", figure, &judge_hour(figure, std::slice::from_ref(&limit)));
            figures.iter().flat_map(judged).collect::<Vec<_>>()
        };
        let (before, above_before) = check(&truth, &outlet, &truth.readings(&truth.outage), &marks, &truth.outage);
        let late = truth.filled();
        let (after, above_after) = check(&truth, &outlet, &truth.readings(&late), &marks, &late);
        before.iter().for_each(|figure| *classes.entry(figure.class).or_default() += 1);
        changed += before.iter().zip(&after).filter(|(before, after)| before != after).count();
        if truth.is_stack {
            let first = event::settle(&[], &events(&before));
            assert_eq!(first.iter().map(|event| event.from).collect::<Vec<_>>(), above_before);
            let second = event::settle(&first, &events(&after));
            let count = |state| second.iter().filter(|event| event.state == state).count();
            withdrawn += count(EventState::Withdrawn);
            raised += count(EventState::Raised);
            let mut now: BTreeMap<_, _> = first.iter().map(|event| (event.from, event.state)).collect();
            now.extend(second.iter().map(|event| (event.from, event.state)));
            now.retain(|_, state| *state != EventState::Withdrawn);
            assert_eq!(now.into_keys().collect::<Vec<_>>(), above_after);
        }
    }
    // The days are wild enough to show something.
    assert_eq!(classes.len(), 4, "{classes:?}");
    assert!(classes.values().all(|hours| *hours >= 20), "{classes:?}");
    assert!(changed >= 40 && raised >= 3 && withdrawn >= 3, "{changed} changed, {raised} raised, {withdrawn} withdrawn");
}
