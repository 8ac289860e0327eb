//! Figures of an hour of a stack: minute by minute to dry standard state and to the reference, then means over valid minutes.

use std::collections::BTreeMap;

use super::convert;
use super::fixed::{Arithmetic as _, Fixed};
use super::hour::{HourClass, HourFigure, Mean, MinuteCounts, Reason, Regardless};
use super::mark::{Letter, Mark};
use super::minute::{self, Against, Minute, States};
use super::outlet::{Auxiliary, Basis, Channel, Factor, FactorUnit, Flow, Outlet, Reference, Source, State};
use super::sample::Readings;
use super::time::Period;
use crate::Number;

type Result<T> = std::result::Result<T, Reason>;

pub(super) fn figures(outlet: &Outlet, hour: &Period, readings: &Readings, marks: &[Mark]) -> Vec<HourFigure> {
    let gas = Gas::of(outlet, hour, readings, marks);
    let means = gas.means();
    outlet.factors.iter().map(|factor| gas.factor(factor, &means)).collect()
}

/// An hour of the gas: what all factors share.
struct Gas<'a> {
    outlet: &'a Outlet,
    hour: &'a Period,
    readings: &'a Readings,
    marks: &'a [Mark],
    states: States<'a>,
    conversions: Conversions,
    minutes: Vec<GasMinute>,
}

/// The gas in a minute, with and without regard to marks.
struct GasMinute {
    period: Period,
    counted: Auxiliaries,
    /// `None`: the same.
    regardless: Option<Auxiliaries>,
}

/// What is needed beside the concentration, and why it is not there.
#[derive(PartialEq)]
struct Auxiliaries {
    /// % of dry gas.
    o2: Result<Fixed>,
    temperature: Option<Fixed>,
    pressure: Option<Fixed>,
    humidity: Option<Fixed>,
    dry_factor: Result<Fixed>,
    standard_factor: Result<Fixed>,
    /// Both at once, for factors that are wet and actual.
    both_factors: Result<Fixed>,
    /// m3/h, dry, standard state.
    flow: Result<Fixed>,
    /// By what each of [`Conversions::distinct`] multiplies.
    conversions: Vec<Result<Fixed>>,
}

/// The references of an outlet's factors.
struct Conversions {
    distinct: Vec<Conversion>,
    bound: Fixed,
}

#[derive(PartialEq)]
enum Conversion {
    O2(Fixed),
    Alpha(Fixed),
}

/// Means of the hour that all factors share.
struct SharedMeans {
    o2: Mean,
    flow: Mean,
    /// Mean flow without regard to marks.
    flow_regardless: Option<Number>,
    auxiliary: BTreeMap<String, Mean>,
    no_flow: u32,
}

/// Figures of a factor in a minute.
struct FactorMinute {
    concentration: Result<Fixed>,
    converted: Option<Result<Fixed>>,
}

/// A sum on the way to a mean.
#[derive(Default)]
pub(super) struct Total {
    sum: Fixed,
    count: u32,
}

impl Total {
    pub(super) fn add(&mut self, value: &Fixed) {
        self.sum.add(value);
        self.count = self.count.saturating_add(1);
    }

    pub(super) fn value(&self) -> Option<Number> {
        Fixed::mean(&self.sum, self.count)
    }

    pub(super) fn mean(&self, needed: u32) -> Mean {
        Mean { value: self.value(), minutes: self.count, valid: self.count >= needed.max(1) }
    }
}

impl Conversion {
    fn of(reference: &Reference) -> Self {
        match reference {
            Reference::O2(o2) => Self::O2(Fixed::of(o2)),
            Reference::Alpha(alpha) => Self::Alpha(Fixed::of(alpha)),
        }
    }
}

impl Conversions {
    fn of(outlet: &Outlet) -> Self {
        let mut distinct: Vec<Conversion> = Vec::new();
        for conversion in outlet.factors.iter().filter_map(|factor| factor.reference.as_ref()).map(Conversion::of) {
            if !distinct.contains(&conversion) {
                distinct.push(conversion);
            }
        }
        Self { distinct, bound: Fixed::of(&outlet.rules.o2_bound) }
    }

    fn factors(&self, o2: &Result<Fixed>) -> Vec<Result<Fixed>> {
        let factor = |conversion: &Conversion| {
            let o2 = o2.as_ref().map_err(|reason| *reason)?;
            match conversion {
                Conversion::O2(reference) => convert::o2_factor(o2, reference, &self.bound),
                Conversion::Alpha(reference) => convert::alpha_factor(o2, reference, &self.bound),
            }
        };
        self.distinct.iter().map(factor).collect()
    }
}

impl<'a> Gas<'a> {
    fn of(outlet: &'a Outlet, hour: &'a Period, readings: &'a Readings, marks: &'a [Mark]) -> Self {
        let states = States::of(outlet, hour, readings);
        let against = ["o2", "temperature", "pressure", "humidity", "flow"].map(|channel| Against::of(&states, outlet, channel, marks));
        let lettered =
            |point: &str| readings.get(point).is_some_and(|series| series.within(hour).iter().any(|reading| reading.letter().is_some()));
        let lettered = outlet.points().into_iter().any(lettered);
        let conversions = Conversions::of(outlet);
        let minute = |period: Period| {
            let letters = against.each_ref().map(|against| against.letter(&period).is_some());
            let counted = Auxiliaries::of(outlet, &conversions, readings, &period, letters, false);
            let marked = letters.contains(&true) || lettered;
            let regardless = marked.then(|| Auxiliaries::of(outlet, &conversions, readings, &period, [false; 5], true));
            GasMinute { period, regardless: regardless.filter(|regardless| *regardless != counted), counted }
        };
        let minutes = hour.minutes().map(minute).collect();
        Self { outlet, hour, readings, marks, states, conversions, minutes }
    }

    fn means(&self) -> SharedMeans {
        let needed = self.outlet.rules.valid_minutes;
        let mean = |value: &dyn Fn(&Auxiliaries) -> Option<&Fixed>| {
            let mut total = Total::default();
            self.minutes.iter().filter_map(|minute| value(&minute.counted)).for_each(|value| total.add(value));
            total.mean(needed)
        };
        let o2 = mean(&|gas| gas.o2.as_ref().ok());
        let mut auxiliary = BTreeMap::new();
        let mut keep = |name: &str, configured: bool, mean: Mean| {
            if configured {
                auxiliary.insert(name.to_owned(), mean);
            }
        };
        keep("o2", self.outlet.o2.is_some(), o2.clone());
        keep("temperature", self.outlet.temperature.is_some(), mean(&|gas| gas.temperature.as_ref()));
        keep("pressure", self.outlet.pressure.is_some(), mean(&|gas| gas.pressure.as_ref()));
        keep("humidity", self.outlet.humidity.is_some(), mean(&|gas| gas.humidity.as_ref()));
        let no_flow = self.minutes.iter().filter(|minute| self.outlet.flow.is_some() && minute.counted.flow.is_err()).count();
        let flow = mean(&|gas| gas.flow.as_ref().ok());
        let flow_regardless = if self.minutes.iter().all(|minute| minute.regardless.is_none()) {
            flow.value.clone()
        } else {
            let mut total = Total::default();
            let of_minute = |minute: &GasMinute| minute.regardless.as_ref().unwrap_or(&minute.counted).flow.clone().ok();
            self.minutes.iter().filter_map(of_minute).for_each(|flow| total.add(&flow));
            total.value()
        };
        SharedMeans { o2, flow, flow_regardless, auxiliary, no_flow: u32::try_from(no_flow).unwrap_or(u32::MAX) }
    }

    fn factor(&self, factor: &Factor, shared: &SharedMeans) -> HourFigure {
        let rules = &self.outlet.rules;
        let against = Against::of(&self.states, self.outlet, &factor.id, self.marks);
        let converts = FactorRules::of(factor, self.outlet, &self.conversions);
        let mut counts = MinuteCounts::default();
        let mut reasons: BTreeMap<Reason, u32> = BTreeMap::new();
        let (mut concentration, mut converted) = (Total::default(), Total::default());
        let (mut regardless_concentration, mut regardless_converted) = (Total::default(), Total::default());
        for minute in &self.minutes {
            let letter = against.letter(&minute.period);
            let raw = if letter.is_none() { self.source(factor, &minute.period, false) } else { Minute::Nothing };
            let figures = match (letter, raw) {
                (Some(letter), _) => {
                    counts.mark(letter);
                    None
                }
                (None, Minute::Mean(raw)) => Some(converts.minute(&raw, &minute.counted)),
                (None, Minute::TooFew(Some(letter))) => {
                    counts.mark(letter);
                    None
                }
                (None, Minute::TooFew(None)) => {
                    counts.fail(&mut reasons, Reason::TooFewReadings);
                    None
                }
                (None, Minute::Nothing) => {
                    counts.missing = counts.missing.saturating_add(1);
                    None
                }
            };
            if let Some(figures) = &figures {
                figures.add_to(&mut concentration, &mut converted);
                match figures.failure() {
                    None => counts.valid = counts.valid.saturating_add(1),
                    Some(reason) => counts.fail(&mut reasons, reason),
                }
            }
            match (figures, &minute.regardless) {
                (Some(figures), None) => figures.add_to(&mut regardless_concentration, &mut regardless_converted),
                (_, regardless) => {
                    if let Minute::Mean(raw) = self.source(factor, &minute.period, true) {
                        let figures = converts.minute(&raw, regardless.as_ref().unwrap_or(&minute.counted));
                        figures.add_to(&mut regardless_concentration, &mut regardless_converted);
                    }
                }
            }
        }
        if shared.no_flow > 0 {
            reasons.insert(Reason::NoFlow, shared.no_flow);
        }
        let concentration = concentration.mean(rules.valid_minutes);
        let converted = factor.reference.as_ref().map(|_| converted.mean(rules.valid_minutes));
        let class = counts.class(converted.as_ref().unwrap_or(&concentration).valid, rules.valid_minutes);
        let rate_of = |concentration: Option<&Number>, flow: Option<&Number>| {
            concentration.zip(flow).map(|(concentration, flow)| convert::mass_rate(concentration, flow).kept())
        };
        let rate = rate_of(concentration.value.as_ref(), shared.flow.value.as_ref());
        let mass_kg = rate.clone().filter(|_| concentration.valid && shared.flow.valid);
        let regardless = regardless_concentration.value();
        let minutes = i128::try_from(self.minutes.len()).unwrap_or(60);
        let part = Number::fraction(i128::from(concentration.minutes), minutes);
        HourFigure {
            outlet: self.outlet.id.clone(),
            factor: factor.id.clone(),
            period: *self.hour,
            class,
            minutes: counts,
            reasons,
            converted_of_means: self.converted_of_means(factor, &concentration, &shared.o2),
            flow: shared.flow.clone(),
            volume_m3: shared.flow.value.clone().filter(|_| shared.flow.valid),
            volume_weighted_m3: None,
            mass_rate_kg_h: mass_kg.clone(),
            mass_kg,
            partial_mass_kg: rate.zip(part).filter(|_| class == HourClass::Stopped).map(|(rate, part)| (rate * part).kept()),
            auxiliary: shared.auxiliary.clone(),
            regardless: Regardless {
                mass_rate_kg_h: rate_of(regardless.as_ref(), shared.flow_regardless.as_ref()),
                concentration: regardless,
                converted: regardless_converted.value(),
                minutes: regardless_concentration.count,
                raw: self.raw(factor),
            },
            concentration,
            converted,
        }
    }

    /// The source's mean of a minute; NOx from NO and NO2 as NO2, in the unit of the factor.
    fn source(&self, factor: &Factor, minute: &Period, regardless: bool) -> Minute {
        let rules = &self.outlet.rules;
        let mean = |channel: &Channel| minute::mean(channel, rules.minute_percent, self.readings, minute, regardless);
        match &factor.source {
            Source::Point(channel) => mean(channel),
            Source::NoAndNo2 { no, no2 } => {
                let no2 = no2.as_ref().map_or_else(|| Minute::Mean(Fixed::default()), mean);
                match (mean(no), no2) {
                    (Minute::Mean(no), Minute::Mean(no2)) if factor.unit == FactorUnit::Ppm => Minute::Mean(no.plus(&no2)),
                    (Minute::Mean(no), Minute::Mean(no2)) => {
                        let (m_no, m_no2) = (Fixed::of(&rules.molar_mass_no), Fixed::of(&rules.molar_mass_no2));
                        convert::nox_mass(&no, &no2, &m_no, &m_no2).map_or(Minute::TooFew(None), Minute::Mean)
                    }
                    (Minute::Nothing, Minute::Nothing) => Minute::Nothing,
                    (one, other) => Minute::TooFew(one.letter().into_iter().chain(other.letter()).min()),
                }
            }
        }
    }

    fn raw(&self, factor: &Factor) -> Option<Number> {
        match &factor.source {
            Source::Point(channel) => minute::raw_mean(&channel.point, self.readings, self.hour),
            Source::NoAndNo2 { .. } => None,
        }
    }

    fn converted_of_means(&self, factor: &Factor, concentration: &Mean, o2: &Mean) -> Option<Number> {
        converted_of_means(factor, self.outlet, concentration.value.as_ref()?, o2.value.as_ref()?)
    }
}

/// Conversion of a mean concentration with a mean O2; `None` where nothing is converted or O2 is near 21 %.
pub(super) fn converted_of_means(factor: &Factor, outlet: &Outlet, concentration: &Number, o2: &Number) -> Option<Number> {
    let bound = &outlet.rules.o2_bound;
    let converted = match factor.reference.as_ref()? {
        Reference::O2(reference) => convert::to_reference_o2(concentration, o2, reference, bound),
        Reference::Alpha(reference) => convert::to_reference_alpha(concentration, o2, reference, bound),
    };
    converted.ok().map(|converted| converted.kept())
}

impl Auxiliaries {
    /// `marked`: O2, temperature, pressure, humidity, flow.
    fn of(outlet: &Outlet, conversions: &Conversions, readings: &Readings, minute: &Period, marked: [bool; 5], regardless: bool) -> Self {
        let percent = outlet.rules.minute_percent;
        let [o2_marked, temperature_marked, pressure_marked, humidity_marked, flow_marked] = marked;
        let mean = |point: &str, interval_ms: u32, minute_mean: bool| {
            let channel = Channel { point: point.to_owned(), interval_ms, minute_mean };
            minute::mean(&channel, percent, readings, minute, regardless).mean()
        };
        let auxiliary = |auxiliary: &Option<Auxiliary>, marked: bool| {
            let auxiliary = auxiliary.as_ref()?;
            match &auxiliary.point {
                Some(_) if marked => None,
                Some(point) => mean(point, auxiliary.interval_ms, auxiliary.minute_mean),
                None => auxiliary.value.as_ref().map(Fixed::of),
            }
        };
        let humidity = auxiliary(&outlet.humidity, humidity_marked);
        let temperature = auxiliary(&outlet.temperature, temperature_marked);
        let pressure = auxiliary(&outlet.pressure, pressure_marked);
        let barometric = auxiliary(&outlet.barometric_pressure, pressure_marked);
        let dry_factor = humidity.as_ref().ok_or(Reason::NoHumidity).and_then(convert::dry_factor);
        let standard_factor = match (&temperature, &pressure, &barometric) {
            (Some(temperature), Some(pressure), Some(barometric)) => convert::standard_factor(temperature, pressure, barometric),
            (None, _, _) => Err(Reason::NoTemperature),
            _ => Err(Reason::NoPressure),
        };
        let o2 = outlet.o2.as_ref().filter(|_| !o2_marked).ok_or(Reason::NoO2).and_then(|o2| {
            let content = mean(&o2.point, o2.interval_ms, o2.minute_mean).ok_or(Reason::NoO2)?;
            if o2.basis == Basis::Wet { Ok(content.times(dry_factor.as_ref().map_err(|reason| *reason)?)) } else { Ok(content) }
        });
        let both_factors = match (&dry_factor, &standard_factor) {
            (Ok(dry), Ok(standard)) => Ok(dry.times(standard)),
            (Err(reason), _) | (_, Err(reason)) => Err(*reason),
        };
        let at_standard = |actual: &Fixed| convert::flow_at_standard(actual, both_factors.as_ref().map_err(|reason| *reason)?);
        let flow = match outlet.flow.as_ref().filter(|_| !flow_marked) {
            Some(Flow::Velocity { point, interval_ms, minute_mean, area_m2, field_factor }) => {
                let velocity = mean(point, *interval_ms, *minute_mean).ok_or(Reason::NoFlow);
                let area = convert::area_factor(&Fixed::of(area_m2), &Fixed::of(field_factor));
                velocity.and_then(|velocity| at_standard(&velocity.times(&area)))
            }
            Some(Flow::Actual(channel)) => {
                let actual = mean(&channel.point, channel.interval_ms, channel.minute_mean).ok_or(Reason::NoFlow);
                actual.and_then(|actual| at_standard(&actual))
            }
            Some(Flow::Standard(channel)) => mean(&channel.point, channel.interval_ms, channel.minute_mean).ok_or(Reason::NoFlow),
            Some(Flow::Water { .. } | Flow::Totaliser { .. }) | None => Err(Reason::NoFlow),
        };
        Self { conversions: conversions.factors(&o2), o2, temperature, pressure, humidity, dry_factor, standard_factor, both_factors, flow }
    }
}

/// How a factor becomes a figure, prepared once for an hour.
struct FactorRules<'a> {
    factor: &'a Factor,
    /// ppm to mg/m3; 1 for mg/m3.
    mass_factor: Result<Option<Fixed>>,
    /// Which of the outlet's conversions it takes.
    conversion: Option<usize>,
}

impl<'a> FactorRules<'a> {
    fn of(factor: &'a Factor, outlet: &Outlet, conversions: &Conversions) -> Self {
        let molar_mass = match &factor.source {
            Source::NoAndNo2 { .. } => Some(&outlet.rules.molar_mass_no2),
            Source::Point(_) => factor.molar_mass.as_ref(),
        };
        let mass_factor = match factor.unit {
            FactorUnit::Ppm => molar_mass.map(|mass| Some(convert::ppm_factor(&Fixed::of(mass)))).ok_or(Reason::NoMolarMass),
            FactorUnit::MilligramPerCubicMetre | FactorUnit::MilligramPerLitre | FactorUnit::Ph => Ok(None),
        };
        let conversion = factor.reference.as_ref().map(Conversion::of);
        let conversion = conversion.and_then(|ours| conversions.distinct.iter().position(|conversion| *conversion == ours));
        Self { factor, mass_factor, conversion }
    }

    fn minute(&self, raw: &Fixed, gas: &Auxiliaries) -> FactorMinute {
        let concentration = self.concentration(raw, gas);
        let converted = self.conversion.and_then(|index| gas.conversions.get(index)).map(|factor| {
            let (concentration, factor) = (concentration.as_ref().map_err(|reason| *reason)?, factor.as_ref().map_err(|reason| *reason)?);
            Ok(concentration.times(factor))
        });
        FactorMinute { concentration, converted }
    }

    /// mg/m3, dry, standard state.
    fn concentration(&self, raw: &Fixed, gas: &Auxiliaries) -> Result<Fixed> {
        let mut value = raw.clone();
        let ppm = self.mass_factor.as_ref().map_err(|reason| *reason)?;
        if let Some(factor) = ppm {
            value = value.times(factor);
        }
        // A volume fraction has no state.
        let is_actual = self.factor.state == State::Actual && ppm.is_none();
        let factor = match (self.factor.basis, is_actual) {
            (Basis::Dry, false) => None,
            (Basis::Dry, true) => Some(&gas.standard_factor),
            (Basis::Wet, false) => Some(&gas.dry_factor),
            (Basis::Wet, true) => Some(&gas.both_factors),
        };
        if let Some(factor) = factor {
            value = value.times(factor.as_ref().map_err(|reason| *reason)?);
        }
        Ok(value)
    }
}

impl FactorMinute {
    /// Why it is not valid for what is judged.
    fn failure(&self) -> Option<Reason> {
        self.converted.as_ref().unwrap_or(&self.concentration).as_ref().err().copied()
    }

    fn add_to(&self, concentration: &mut Total, converted: &mut Total) {
        if let Ok(value) = &self.concentration {
            concentration.add(value);
        }
        if let Some(Ok(value)) = &self.converted {
            converted.add(value);
        }
    }
}

impl MinuteCounts {
    pub(super) fn mark(&mut self, letter: Letter) {
        let count = if letter == Letter::F { &mut self.stopped } else { &mut self.marked };
        *count = count.saturating_add(1);
        let by_letter = self.by_letter.entry(letter).or_default();
        *by_letter = by_letter.saturating_add(1);
    }

    pub(super) fn fail(&mut self, reasons: &mut BTreeMap<Reason, u32>, reason: Reason) {
        self.failed = self.failed.saturating_add(1);
        let count = reasons.entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    /// How the hour counts: valid; stopped, when the stop alone leaves too few minutes for a valid hour; missing, when more minutes
    /// are absent than there are minutes with values that do not count; else invalid.
    pub(super) fn class(&self, valid: bool, needed: u32) -> HourClass {
        let all = [self.valid, self.stopped, self.missing, self.marked, self.failed].into_iter().fold(0, u32::saturating_add);
        if valid {
            HourClass::Valid
        } else if self.stopped > all.saturating_sub(needed.max(1)) {
            HourClass::Stopped
        } else if self.missing > self.marked.saturating_add(self.failed) {
            HourClass::Missing
        } else {
            HourClass::Invalid
        }
    }
}
