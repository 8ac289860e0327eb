//! Figures of an hour of a waste-water outlet: held concentrations, weighted by what flowed.
//!
//! A concentration holds from its sample time until the next reading, a flow until its next one, each for a configured time at
//! most. Both are step functions, so sums over their pieces are exact (HJ 212-2017 appendix D.1: slices of flow, mass of slices,
//! mean = mass / volume; pH as a mean over time).

use std::collections::BTreeMap;

use num_bigint::BigInt;

use super::fixed::Fixed;
use super::hour::{HourClass, HourFigure, Mean, MinuteCounts, Reason, Regardless};
use super::mark::{Letter, Mark};
use super::minute::{self, Against, States};
use super::outlet::{Factor, FactorUnit, Flow, Outlet, Source};
use super::sample::{Readings, Series};
use super::time::{HOUR_MS, Period, UtcMillis};
use crate::Number;

pub(super) fn figures(outlet: &Outlet, hour: &Period, readings: &Readings, marks: &[Mark]) -> Vec<HourFigure> {
    let states = States::of(outlet, hour, readings);
    let flow = FlowHour::of(outlet, hour, readings, &Against::of(&states, outlet, "flow", marks));
    let factor = |factor: &Factor| {
        let against = Against::of(&states, outlet, &factor.id, marks);
        flow.factor(outlet, factor, hour, readings, &against)
    };
    outlet.factors.iter().map(factor).collect()
}

/// A stretch in which a value stays the same.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: UtcMillis,
    to: UtcMillis,
    /// `None`: a reading that does not count.
    value: Option<i64>,
    letter: Option<Letter>,
    /// What `value x milliseconds` is divided by to become a volume.
    divisor: i128,
}

/// Steps in order of time, without overlaps.
#[derive(Default)]
struct Steps {
    decimals: u32,
    steps: Vec<Step>,
}

impl Steps {
    /// Each reading that reaches into the hour, from its time to the next one, for `hold_ms` at most. With `regardless` letters do not matter.
    fn held(series: &Series, hour: &Period, hold_ms: i64, regardless: bool) -> Self {
        let readings = series.reaching(hour);
        let next = readings.iter().skip(1).map(|reading| Some(reading.at)).chain([None]);
        let step = |(reading, next): (&super::sample::Reading, Option<UtcMillis>)| {
            let longest = reading.at.plus(hold_ms);
            Step {
                from: reading.at,
                to: next.map_or(longest, |next| next.min(longest)),
                value: if regardless && reading.good { reading.value } else { reading.counted() },
                letter: reading.letter(),
                divisor: i128::from(HOUR_MS),
            }
        };
        Self { decimals: series.decimals, steps: readings.iter().zip(next).map(step).collect() }
    }

    /// What flowed between neighbours of a totaliser, evenly over the time between them. A fall is no flow, and a time longer than `gap_ms` is not known.
    fn flowed(series: &Series, hour: &Period, gap_ms: i64) -> Self {
        let around = Period { from: hour.from.plus(gap_ms.saturating_neg()), to: hour.to.plus(gap_ms.saturating_add(1)) };
        let counted: Vec<_> = series.within(&around).iter().filter_map(|reading| Some((reading.at, reading.counted()?))).collect();
        let step = |pair: &[(UtcMillis, i64)]| {
            let [(from, before), (to, after)] = pair else { return None };
            let length = to.since(*from);
            let amount = after.checked_sub(*before).filter(|amount| *amount >= 0)?;
            (length > 0 && length <= gap_ms).then_some(Step {
                from: *from,
                to: *to,
                value: Some(amount),
                letter: None,
                divisor: i128::from(length),
            })
        };
        Self { decimals: series.decimals, steps: counted.windows(2).filter_map(step).collect() }
    }

    /// A flow backwards is no reading of what flowed out.
    fn forward(mut self) -> Self {
        for step in &mut self.steps {
            step.value = step.value.filter(|value| *value >= 0);
        }
        self
    }

    /// Those that meet a period, cut to it; empty ones left out.
    fn within<'a>(&'a self, period: &'a Period) -> impl Iterator<Item = Step> + use<'a> {
        let first = self.steps.partition_point(|step| step.to <= period.from);
        let meeting = self.steps.get(first..).unwrap_or_default().iter().take_while(|step| step.from < period.to);
        meeting
            .map(|step| Step { from: step.from.max(period.from), to: step.to.min(period.to), ..*step })
            .filter(|step| step.from < step.to)
    }
}

/// A sum of products of mantissas and milliseconds, exact while it fits 128 bits, and then still right at 30 decimals.
#[derive(Default)]
struct Sum {
    total: Fixed,
    small: i128,
    divisor: i128,
}

impl Sum {
    fn add(&mut self, a: i64, b: i64, milliseconds: i64, divisor: i128) {
        let product = i128::from(a).checked_mul(i128::from(b)).and_then(|product| product.checked_mul(i128::from(milliseconds)));
        if divisor != self.divisor {
            self.settle();
            self.divisor = divisor;
        }
        match product.and_then(|product| self.small.checked_add(product)) {
            Some(small) => self.small = small,
            None => {
                self.settle();
                let product = BigInt::from(a) * BigInt::from(b) * BigInt::from(milliseconds);
                self.total.add(&Fixed::ratio(product, divisor, 0).unwrap_or_default());
            }
        }
    }

    fn settle(&mut self) {
        if let Some(part) = Fixed::ratio(std::mem::take(&mut self.small), self.divisor, 0) {
            self.total.add(&part);
        }
    }

    fn absorb(&mut self, mut other: Self) {
        other.settle();
        self.total.add(&other.total);
    }

    /// Divided by 10^decimals.
    fn number(mut self, decimals: u32) -> Number {
        self.settle();
        self.total.number() * Number::decimal(1, decimals)
    }
}

/// The flow of an hour.
struct FlowHour {
    /// `None`: the outlet has no flow.
    steps: Option<Steps>,
    /// Of each minute: whether a mark on the flow takes it away.
    marked: Vec<bool>,
    mean: Mean,
    /// The mean without regard to marks.
    regardless: Option<Number>,
    volume_m3: Option<Number>,
}

/// What is known of the flow in some minutes.
struct Known {
    volume_m3: Number,
    /// m3/h over the time that is known.
    mean: Option<Number>,
}

/// What a factor has in some pieces.
#[derive(Default)]
struct Weighed {
    /// Concentration x flow.
    mass: Sum,
    /// Flow.
    volume: Sum,
    /// Concentration x time, and time.
    over_time: Sum,
    time_ms: i64,
    minutes: u32,
}

impl FlowHour {
    fn of(outlet: &Outlet, hour: &Period, readings: &Readings, against: &Against<'_>) -> Self {
        let series = |point: &str| readings.get(point);
        let steps = outlet.flow.as_ref().map(|flow| {
            let steps = match flow {
                Flow::Water { point, hold_seconds } => {
                    series(point).map(|series| Steps::held(series, hour, i64::from(*hold_seconds).saturating_mul(1000), false))
                }
                Flow::Totaliser { point, gap_seconds } => {
                    series(point).map(|series| Steps::flowed(series, hour, i64::from(*gap_seconds).saturating_mul(1000)))
                }
                Flow::Velocity { .. } | Flow::Actual(_) | Flow::Standard(_) => None,
            };
            steps.unwrap_or_default()
        });
        let steps = steps.map(Steps::forward);
        let marked: Vec<bool> = hour.minutes().map(|minute| against.letter(&minute).is_some_and(|letter| letter != Letter::F)).collect();
        let mut flow = Self { steps, marked, mean: Mean::default(), regardless: None, volume_m3: None };
        let (known, minutes) = flow.known(hour, outlet, false);
        let valid = minutes >= outlet.rules.valid_minutes.max(1);
        flow.mean = Mean { value: known.as_ref().and_then(|known| known.mean.clone()), minutes, valid };
        flow.volume_m3 = known.map(|known| known.volume_m3);
        flow.regardless = if flow.marked.contains(&true) {
            flow.known(hour, outlet, true).0.and_then(|known| known.mean)
        } else {
            flow.mean.value.clone()
        };
        flow
    }

    /// What is known of the flow, and in how many minutes that is enough of it; of marked minutes only with `regardless`.
    fn known(&self, hour: &Period, outlet: &Outlet, regardless: bool) -> (Option<Known>, u32) {
        let Some(steps) = &self.steps else { return (None, 0) };
        let (mut volume, mut time_ms, mut minutes) = (Sum::default(), 0_i64, 0_u32);
        for (minute, _) in hour.minutes().zip(&self.marked).filter(|(_, marked)| regardless || !**marked) {
            let mut covered_ms = 0_i64;
            for step in steps.within(&minute) {
                if let Some(value) = step.value {
                    volume.add(value, 1, step.to.since(step.from), step.divisor);
                    covered_ms = covered_ms.saturating_add(step.to.since(step.from));
                }
            }
            time_ms = time_ms.saturating_add(covered_ms);
            minutes = minutes.saturating_add(u32::from(enough(covered_ms, &minute, outlet)));
        }
        if time_ms <= 0 {
            return (None, minutes);
        }
        let volume_m3 = volume.number(steps.decimals).kept();
        let hours = Number::fraction(i128::from(time_ms), i128::from(HOUR_MS));
        let mean = hours.and_then(|hours| volume_m3.over(&hours)).map(|mean| mean.kept());
        (Some(Known { volume_m3, mean }), minutes)
    }

    /// Nothing flowed, and that is known.
    fn is_still(&self) -> bool {
        self.mean.valid && self.volume_m3.as_ref().is_some_and(Number::is_zero)
    }

    fn factor(&self, outlet: &Outlet, factor: &Factor, hour: &Period, readings: &Readings, against: &Against<'_>) -> HourFigure {
        let rules = &outlet.rules;
        let point = match &factor.source {
            Source::Point(channel) | Source::NoAndNo2 { no: channel, .. } => &channel.point,
        };
        let nothing = Series::default();
        let series = readings.get(point).unwrap_or(&nothing);
        let hold_ms = i64::from(factor.hold_minutes).saturating_mul(60_000);
        let counted = Steps::held(series, hour, hold_ms, false);
        let weighs = factor.unit != FactorUnit::Ph && self.steps.is_some();
        let mut counts = MinuteCounts::default();
        let mut reasons: BTreeMap<Reason, u32> = BTreeMap::new();
        let mut valid = Weighed::default();
        let lettered = counted.steps.iter().any(|step| step.letter.is_some());
        for (minute, flow_marked) in hour.minutes().zip(&self.marked) {
            let letter = against.letter(&minute).or_else(|| if lettered { letter_of(&counted, &minute, outlet) } else { None });
            if let Some(letter) = letter {
                counts.mark(letter);
                continue;
            }
            if valid.absorb_if_enough(self.weigh(&counted, &minute, weighs, *flow_marked), &minute, outlet) {
                counts.valid = counts.valid.saturating_add(1);
            } else if counted.within(&minute).next().is_none() {
                counts.missing = counts.missing.saturating_add(1);
            } else if weighs && covered(&counted, &minute, outlet) {
                counts.fail(&mut reasons, Reason::NoFlow);
            } else {
                counts.fail(&mut reasons, Reason::TooFewReadings);
            }
        }
        let class = if self.is_still() {
            HourClass::Stopped
        } else {
            counts.class(valid.minutes >= rules.valid_minutes.max(1), rules.valid_minutes)
        };
        let figures = valid.figures(&counted, self.steps.as_ref().filter(|_| weighs));
        let is_plain = counts.by_letter.is_empty() && !self.marked.contains(&true) && !lettered;
        let of_all = (!is_plain).then(|| {
            let all = Steps::held(series, hour, hold_ms, true);
            let mut regardless = Weighed::default();
            for minute in hour.minutes() {
                regardless.absorb_if_enough(self.weigh(&all, &minute, weighs, false), &minute, outlet);
            }
            regardless.figures(&all, self.steps.as_ref().filter(|_| weighs))
        });
        let of_all = of_all.map_or_else(|| (figures.mean.clone(), figures.minutes), |all| (all.mean, all.minutes));
        let rate_of = |concentration: Option<&Number>, flow: Option<&Number>| {
            concentration.zip(flow).filter(|_| weighs).map(|(concentration, flow)| mass_rate(concentration, flow))
        };
        let mass_rate_kg_h = rate_of(figures.mean.as_ref(), self.mean.counted()).filter(|_| class == HourClass::Valid);
        HourFigure {
            outlet: outlet.id.clone(),
            factor: factor.id.clone(),
            period: *hour,
            class,
            minutes: counts,
            reasons,
            concentration: Mean { value: figures.mean, minutes: figures.minutes, valid: class == HourClass::Valid },
            converted: None,
            converted_of_means: None,
            flow: self.mean.clone(),
            volume_m3: self.volume_m3.clone(),
            volume_weighted_m3: figures.volume_m3,
            mass_kg: figures.mass_kg.clone().filter(|_| class == HourClass::Valid),
            mass_rate_kg_h,
            partial_mass_kg: figures.mass_kg.filter(|mass| class == HourClass::Stopped && !mass.is_zero()),
            auxiliary: BTreeMap::new(),
            regardless: Regardless {
                mass_rate_kg_h: rate_of(of_all.0.as_ref(), self.regardless.as_ref()),
                concentration: of_all.0,
                converted: None,
                minutes: of_all.1,
                raw: minute::raw_mean(point, readings, hour),
            },
        }
    }

    /// The pieces of a minute in which the concentration (and the flow, if it weighs) is known.
    fn weigh(&self, concentration: &Steps, minute: &Period, weighs: bool, flow_marked: bool) -> Weighed {
        let mut weighed = Weighed::default();
        for step in concentration.within(minute) {
            let Some(value) = step.value else { continue };
            let piece = Period { from: step.from, to: step.to };
            let Some(flow) = self.steps.as_ref().filter(|_| weighs) else {
                weighed.over_time.add(value, 1, piece.length_ms(), 1);
                weighed.time_ms = weighed.time_ms.saturating_add(piece.length_ms());
                continue;
            };
            for slice in flow.within(&piece).filter(|_| !flow_marked) {
                let Some(rate) = slice.value else { continue };
                let length = slice.to.since(slice.from);
                weighed.mass.add(value, rate, length, slice.divisor);
                weighed.volume.add(1, rate, length, slice.divisor);
                weighed.time_ms = weighed.time_ms.saturating_add(length);
            }
        }
        weighed
    }
}

/// Figures of a sum of pieces.
struct Figures {
    mean: Option<Number>,
    volume_m3: Option<Number>,
    mass_kg: Option<Number>,
    minutes: u32,
}

impl Weighed {
    /// Adds the pieces of a minute if they cover enough of it, and says whether they do.
    fn absorb_if_enough(&mut self, piece: Self, minute: &Period, outlet: &Outlet) -> bool {
        let enough = enough(piece.time_ms, minute, outlet);
        if enough {
            self.mass.absorb(piece.mass);
            self.volume.absorb(piece.volume);
            self.over_time.absorb(piece.over_time);
            self.time_ms = self.time_ms.saturating_add(piece.time_ms);
            self.minutes = self.minutes.saturating_add(1);
        }
        enough
    }

    fn figures(self, concentration: &Steps, flow: Option<&Steps>) -> Figures {
        if self.minutes == 0 {
            return Figures { mean: None, volume_m3: None, mass_kg: None, minutes: 0 };
        }
        let Some(flow) = flow else {
            let sum = self.over_time.number(concentration.decimals);
            let mean = sum.over(&Number::from(self.time_ms)).map(|mean| mean.kept());
            return Figures { mean, volume_m3: None, mass_kg: None, minutes: self.minutes };
        };
        // mg/L x m3 = g
        let grams = self.mass.number(concentration.decimals.saturating_add(flow.decimals));
        let volume = self.volume.number(flow.decimals);
        Figures {
            mean: grams.over(&volume).map(|mean| mean.kept()),
            mass_kg: Some((grams * Number::decimal(1, 3)).kept()),
            volume_m3: Some(volume.kept()),
            minutes: self.minutes,
        }
    }
}

/// kg/h = mg/L x m3/h x 1e-3.
fn mass_rate(concentration: &Number, flow: &Number) -> Number {
    (concentration * flow * Number::decimal(1, 3)).kept()
}

/// The letter of the held readings of a minute, when what is left does not make it valid.
fn letter_of(steps: &Steps, minute: &Period, outlet: &Outlet) -> Option<Letter> {
    if covered(steps, minute, outlet) { None } else { steps.within(minute).filter_map(|step| step.letter).min() }
}

/// Whether readings that count cover enough of a minute.
fn covered(steps: &Steps, minute: &Period, outlet: &Outlet) -> bool {
    let covered_ms = steps.within(minute).filter(|step| step.value.is_some()).map(|step| step.to.since(step.from));
    enough(covered_ms.fold(0, i64::saturating_add), minute, outlet)
}

/// Whether so much of a minute is the share that makes it valid.
fn enough(covered_ms: i64, minute: &Period, outlet: &Outlet) -> bool {
    covered_ms > 0 && covered_ms.saturating_mul(100) >= minute.length_ms().saturating_mul(i64::from(outlet.rules.minute_percent))
}
