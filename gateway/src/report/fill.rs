//! Makes a [`Summary`] of what is known of an outlet: figures are pushed hour by hour and period by period, in any order;
//! they are judged here by the limits given, with the same function that finds exceedances.

use std::collections::BTreeMap;

use parkgate_collector::model::UtcMillis as Instant;
use parkgate_rules::Number;
use parkgate_rules::emission::event::{EventKind, Evidence};
use parkgate_rules::emission::limit::{AppliesTo, judge_hour, judge_period};
use parkgate_rules::emission::mass::FilledHour;
use parkgate_rules::emission::outlet::{Factor as Configured, FactorUnit, Outlet, OutletKind};
use parkgate_rules::emission::period::{HourCounts, PeriodClass};
use parkgate_rules::emission::rate::rates;
use parkgate_rules::emission::{
    Averaging, ComplianceEvent, HourClass, HourFigure, Judgement, Letter, Limit, Mark, Period, PeriodFigure, UtcMillis, Verdict,
};
use sha2::{Digest as _, Sha256};

use super::summary::{
    Factor, Figure, Head, Hours, Judged, MASS, Named, NotCounted, Reason, Row, SCHEMA, SHARE, Status, Summary, TIMES, Text, Total, decimals,
};
use super::{ask, key, lines, parameters, reasons, words};
use crate::emission::{HeldLimit, HeldMark};
use crate::rollup::{Level, ParkZone};

/// Decimals of O2, humidity and temperature; of volume.
const PERCENT: u32 = 2;
const VOLUME: u32 = 1;

/// What a summary is made for.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The park.
    pub park: Named,
    /// The outlet's enterprise.
    pub enterprise: Named,
    /// Length of a row.
    pub averaging: Averaging,
    /// From the start of the first row to the end of the last.
    pub range: Period,
    /// Figures of hours that end by then are final.
    pub until: UtcMillis,
    /// The park's zone.
    pub zone: ParkZone,
    /// When it is made.
    pub made_at: UtcMillis,
    /// Program and version.
    pub software: String,
    /// Whoever gets it is told of every event of abatement of the enterprise, at least without figures.
    pub all_abatement: bool,
}

/// A change of a figure as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// The outlet.
    pub outlet: String,
    /// The factor; none for all of them.
    pub factor: Option<String>,
    /// Which average; none for all of them.
    pub averaging: Option<Averaging>,
    /// When.
    pub period: Period,
    /// Which figure.
    pub figure: String,
    /// Before; none when there was none.
    pub old: Option<String>,
    /// After; none when there is none any more.
    pub new: Option<String>,
    /// Why.
    pub cause: String,
    /// When that was noticed.
    pub at: UtcMillis,
}

/// A summary and the events it tells of, as they were kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The summary.
    pub summary: Summary,
    /// The last version of each event.
    pub events: Vec<ComplianceEvent>,
}

/// Sums up while figures are pushed.
#[derive(Debug)]
pub struct Builder<'a> {
    frame: Frame,
    outlet: &'a Outlet,
    limits: Vec<Limit>,
    marks: Vec<Mark>,
    held: (&'a [HeldLimit], &'a [HeldMark]),
    corrections: &'a [Corrected],
    /// How many corrections a row has, by its factor and period.
    corrected: BTreeMap<(&'a str, Period), u32>,
    /// By factor and start of the row.
    rows: BTreeMap<(usize, UtcMillis), Row>,
    sums: Vec<Sums>,
    not_counted: Vec<(usize, UtcMillis, NotCounted)>,
    /// Means of hours for rows that are longer, by factor and start of the row: temperature, pressure, humidity.
    beside: BTreeMap<(usize, UtcMillis), [(Number, u32); 3]>,
    filled: BTreeMap<(usize, UtcMillis), (Number, Vec<Text>)>,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    hours: Hours,
    mass: Option<Number>,
    filled: Option<Number>,
    partial: Option<Number>,
    highest: Option<Number>,
}

impl<'a> Builder<'a> {
    /// Begins. `limits`, `marks`: all that were ever entered, of any outlet. `corrections`: likewise.
    pub fn new(frame: Frame, outlet: &'a Outlet, limits: &'a [HeldLimit], marks: &'a [HeldMark], corrections: &'a [Corrected]) -> Self {
        let mut corrected: BTreeMap<(&str, Period), u32> = BTreeMap::new();
        let of_rows = corrections.iter().filter(|one| one.outlet == outlet.id && one.averaging == Some(frame.averaging));
        for (factor, period) in of_rows.filter_map(|one| Some((one.factor.as_deref()?, one.period))) {
            let count = corrected.entry((factor, period)).or_default();
            *count = count.saturating_add(1);
        }
        let in_force = marks.iter().filter(|held| held.withdrawn_by.is_none() && held.mark.outlet == outlet.id);
        Self {
            limits: limits.iter().map(|held| &held.limit).filter(|limit| limit.outlet == outlet.id).cloned().collect(),
            marks: in_force.map(|held| held.mark.clone()).collect(),
            held: (limits, marks),
            sums: vec![Sums::default(); outlet.factors.len()],
            rows: BTreeMap::new(),
            not_counted: Vec::new(),
            beside: BTreeMap::new(),
            filled: BTreeMap::new(),
            frame,
            outlet,
            corrections,
            corrected,
        }
    }

    fn place(&self, factor: &str) -> Option<(usize, &'a Configured)> {
        self.outlet.factors.iter().enumerate().find(|(_, found)| found.id == factor)
    }

    fn level(&self) -> Level {
        ask::level(self.frame.averaging)
    }

    /// Start of the row that holds a time.
    fn row_start(&self, at: UtcMillis) -> UtcMillis {
        UtcMillis(self.frame.zone.period_of(self.level(), Instant(at.0)).start.0)
    }

    fn decimals(&self, factor: &str) -> u32 {
        let of_factor = |limit: &&Limit| {
            limit.outlet == self.outlet.id && limit.factor == factor && limit.applies_to != AppliesTo::MassRate && self.holds(limit)
        };
        let found = self.limits.iter().filter(of_factor).map(|limit| decimals(Some(&limit.value))).max();
        found.unwrap_or_else(|| decimals(None))
    }

    /// Whether a limit holds for any part of the range.
    fn holds(&self, limit: &Limit) -> bool {
        limit.valid_from < self.frame.range.to && limit.valid_to.is_none_or(|to| self.frame.range.from < to)
    }

    /// Mass filled in for an hour of a factor.
    pub fn filled(&mut self, factor: &str, hour: &FilledHour) {
        let Some((place, _)) = self.place(factor).filter(|_| self.frame.range.holds(hour.period.from)) else { return };
        let note = words::fill(hour.rule);
        let start = self.row_start(hour.period.from);
        let entry = self.filled.entry((place, start)).or_default();
        if let Some(mass) = &hour.mass_kg {
            entry.0 += mass;
            if let Some(sums) = self.sums.get_mut(place) {
                *sums.filled.get_or_insert_default() += mass;
            }
        }
        if !entry.1.contains(&note) {
            entry.1.push(note);
        }
    }

    /// An hour of a factor. Hours outside the range are left out. Each is pushed once.
    pub fn hour(&mut self, figure: &HourFigure) {
        let Some((place, factor)) = self.place(&figure.factor).filter(|_| self.frame.range.holds(figure.period.from)) else { return };
        let judgements = judge_hour(figure, &self.limits);
        let is_over = figure.period.to <= self.frame.until;
        if is_over {
            self.uncounted(place, &judgements, |marks, why| reasons::of_hour(figure, self.outlet, marks, why));
        }
        let hours = of_class(figure.class);
        if let Some(sums) = self.sums.get_mut(place) {
            sums.hours += hours;
            add(&mut sums.mass, figure.mass_kg.as_ref());
            add(&mut sums.partial, figure.partial_mass_kg.as_ref());
        }
        let auxiliary = |name: &str| figure.auxiliary.get(name).and_then(|mean| mean.value.clone());
        if self.frame.averaging != Averaging::Hour {
            let start = self.row_start(figure.period.from);
            let beside = self.beside.entry((place, start)).or_default();
            for ((sum, count), name) in beside.iter_mut().zip(["temperature", "pressure", "humidity"]) {
                if let Some(value) = auxiliary(name) {
                    *sum += &value;
                    *count = count.saturating_add(1);
                }
            }
            return;
        }
        let digits = self.decimals(&factor.id);
        let concentration = |value: Option<&Number>| value.map(|value| Figure::new(value.clone(), digits));
        let mut notes: Vec<Text> = Vec::new();
        if figure.minutes.missing > 0 {
            notes.push(words::with(Text::new("缺失", "missing"), &format!("{} min", figure.minutes.missing)));
        }
        notes.extend(figure.reasons.iter().map(|(reason, minutes)| words::with(words::reason(*reason).1, &format!("{minutes} min"))));
        let judged = figure.judged();
        self.highest(place, judged.value.as_ref().filter(|_| judged.valid));
        let row = Row {
            average: concentration(figure.concentration.value.as_ref()),
            converted: concentration(figure.converted.as_ref().and_then(|mean| mean.value.as_ref())),
            converted_of_average: concentration(figure.converted_of_means.as_ref()),
            mass_kg: figure.mass_kg.clone().map(|mass| Figure::new(mass, MASS)),
            mass_partial_kg: figure.partial_mass_kg.clone().map(|mass| Figure::new(mass, MASS)),
            status: if is_over { status_of_hour(figure, &judgements) } else { Status::Open },
            judgements: judgements.iter().filter_map(|judgement| judged_by(judgement, digits)).collect(),
            marks: letters(&figure.minutes.by_letter),
            notes,
            hours,
            oxygen: auxiliary("o2").map(|value| Figure::new(value, PERCENT)),
            temperature: auxiliary("temperature").map(|value| Figure::new(value, PERCENT)),
            pressure: auxiliary("pressure").map(|value| Figure::new(value, 0)),
            humidity: auxiliary("humidity").map(|value| Figure::new(value, PERCENT)),
            volume: figure.volume_m3.clone().map(|value| Figure::new(value, VOLUME)),
            ..self.empty(&factor.id, figure.period)
        };
        self.rows.insert((place, figure.period.from), row);
    }

    /// A day or month of a factor; those of other lengths, and outside the range, are left out.
    pub fn period(&mut self, figure: &PeriodFigure) {
        let fits = figure.averaging == self.frame.averaging && self.frame.range.holds(figure.period.from);
        let Some((place, factor)) = self.place(&figure.factor).filter(|_| fits) else { return };
        let judgements = judge_period(figure, &self.limits);
        let is_over = figure.class != PeriodClass::Open && figure.period.to <= self.frame.until;
        if is_over {
            self.uncounted(place, &judgements, |marks, why| reasons::of_period(figure, self.outlet, marks, why));
        }
        let digits = self.decimals(&factor.id);
        let concentration = |value: Option<&Number>| value.map(|value| Figure::new(value.clone(), digits));
        let class = match figure.class {
            PeriodClass::Valid => None,
            PeriodClass::Invalid => Some(Status::NotValid),
            PeriodClass::Stopped => Some(Status::Stopped),
            PeriodClass::Open => Some(Status::Open),
        };
        let counts = &figure.hours;
        let hours = Hours { valid: counts.valid, invalid: counts.invalid, missing: counts.missing, stopped: counts.stopped };
        let mut notes = Vec::new();
        if let Some(days) = figure.valid_days {
            notes.push(words::with(Text::new("有效日", "valid days"), &days.to_string()));
        }
        if class.is_none() {
            self.highest(place, figure.judged());
        }
        let row = Row {
            average: concentration(figure.concentration.as_ref()),
            converted: concentration(figure.converted.as_ref()),
            converted_of_average: concentration(figure.converted_of_means.as_ref()),
            mass_kg: figure.mass_kg.clone().map(|mass| Figure::new(mass, MASS)),
            mass_partial_kg: figure.partial_mass_kg.clone().map(|mass| Figure::new(mass, MASS)),
            status: if is_over { status(&judgements, class) } else { Status::Open },
            judgements: judgements.iter().filter_map(|judgement| judged_by(judgement, digits)).collect(),
            marks: letters(&figure.by_letter),
            notes,
            hours,
            valid_rate: hours.valid_rate().map(|rate| Figure::new(rate, SHARE)),
            oxygen: figure.o2.clone().map(|value| Figure::new(value, PERCENT)),
            volume: figure.volume_m3.clone().map(|value| Figure::new(value, VOLUME)),
            ..self.empty(&factor.id, figure.period)
        };
        self.rows.insert((place, figure.period.from), row);
    }

    fn highest(&mut self, place: usize, value: Option<&Number>) {
        if let (Some(sums), Some(value)) = (self.sums.get_mut(place), value)
            && sums.highest.as_ref().is_none_or(|highest| highest < value)
        {
            sums.highest = Some(value.clone());
        }
    }

    /// Keeps what was above a limit and is not counted.
    fn uncounted(
        &mut self,
        place: usize,
        judgements: &[Judgement],
        reasons: impl Fn(&[Mark], parkgate_rules::emission::limit::NotCounted) -> Vec<Reason>,
    ) {
        for judgement in judgements {
            let (Verdict::NotCounted(why), Some(value), Some(limit)) = (judgement.verdict, &judgement.above_uncounted, &judgement.limit)
            else {
                continue;
            };
            let digits = if limit.applies_to == AppliesTo::MassRate { MASS } else { decimals(Some(&limit.value)) };
            let line = NotCounted {
                factor: judgement.factor.clone(),
                start: self.time(judgement.period.from),
                end: self.time(judgement.period.to),
                value: Figure::new(value.clone(), digits),
                exact: value.clone(),
                limit: limit.value.clone(),
                unit: limit.unit.clone(),
                reasons: reasons(&self.marks, why),
            };
            self.not_counted.push((place, judgement.period.from, line));
        }
    }

    fn time(&self, at: UtcMillis) -> String {
        self.frame.zone.write(Instant(at.0))
    }

    /// A row of which nothing is known but when it is.
    fn empty(&self, factor: &str, period: Period) -> Row {
        Row {
            factor: factor.to_owned(),
            start: self.time(period.from),
            end: self.time(period.to),
            average: None,
            converted: None,
            converted_of_average: None,
            mass_kg: None,
            mass_filled_kg: None,
            mass_partial_kg: None,
            status: Status::Missing,
            judgements: Vec::new(),
            marks: Vec::new(),
            notes: Vec::new(),
            hours: Hours::default(),
            valid_rate: None,
            oxygen: None,
            temperature: None,
            pressure: None,
            humidity: None,
            volume: None,
            corrections: self.corrected.get(&(factor, period)).copied().unwrap_or_default(),
        }
    }

    /// Every row of the range, those without a figure too.
    fn all_rows(&mut self) -> Vec<(usize, Row)> {
        let range = self.frame.range;
        let periods: Vec<Period> = self
            .frame
            .zone
            .periods(self.level(), Instant(range.from.0), Instant(range.to.0))
            .map(|period| Period { from: UtcMillis(period.start.0), to: UtcMillis(period.end.0) })
            .collect();
        let mut all = Vec::new();
        for (place, factor) in self.outlet.factors.iter().enumerate() {
            for &period in &periods {
                let key = (place, period.from);
                let mut row = self.rows.remove(&key).unwrap_or_else(|| self.absent(place, &factor.id, period));
                if let Some((mass, notes)) = self.filled.remove(&key) {
                    row.mass_filled_kg = mass.is_positive().then(|| Figure::new(mass, MASS));
                    row.notes.extend(notes);
                }
                if let Some([temperature, pressure, humidity]) = self.beside.remove(&key) {
                    let mean = |(sum, count): (Number, u32), digits| {
                        sum.over(&Number::from(i64::from(count))).map(|mean| Figure::new(mean.kept(), digits))
                    };
                    row.temperature = mean(temperature, PERCENT);
                    row.pressure = mean(pressure, 0);
                    row.humidity = mean(humidity, PERCENT);
                }
                all.push((place, row));
            }
        }
        all
    }

    /// A row for which no figure was pushed: not over yet, or all of it missing.
    fn absent(&mut self, place: usize, factor: &str, period: Period) -> Row {
        if period.to > self.frame.until {
            return Row { status: Status::Open, ..self.empty(factor, period) };
        }
        let missing = u32::try_from(period.hours().count()).unwrap_or(u32::MAX);
        let hours = Hours { missing, ..Hours::default() };
        // Longer rows are counted by their hours.
        if self.frame.averaging == Averaging::Hour
            && let Some(sums) = self.sums.get_mut(place)
        {
            sums.hours += hours;
        }
        Row { hours, ..self.empty(factor, period) }
    }

    /// The summary. `events`: the last version of each, and when that was kept; those of other outlets and outside the
    /// range are left out.
    pub fn finish(mut self, events: &[(ComplianceEvent, UtcMillis)]) -> Report {
        let all = self.all_rows();
        let mut totals: Vec<Total> = Vec::new();
        for (place, (factor, sums)) in self.outlet.factors.iter().zip(&self.sums).enumerate() {
            let statuses = || all.iter().filter(move |(of, _)| *of == place).map(|(_, row)| row.status);
            let count = |wanted: &[Status]| u32::try_from(statuses().filter(|status| wanted.contains(status)).count()).unwrap_or(u32::MAX);
            // Rows of days that were given without their hours are summed up by themselves.
            let of_rows = all.iter().filter(|(of, _)| *of == place).fold(Hours::default(), |mut sum, (_, row)| {
                sum += row.hours;
                sum
            });
            let hours = if sums.hours == Hours::default() { of_rows } else { sums.hours };
            let counts = HourCounts {
                hours: hours.valid.saturating_add(hours.invalid).saturating_add(hours.missing).saturating_add(hours.stopped),
                valid: hours.valid,
                invalid: hours.invalid,
                missing: hours.missing,
                stopped: hours.stopped,
            };
            let in_tonnes = |mass: Option<&Number>| mass.map(|mass| Figure::new(mass * &Number::decimal(1, 3), MASS));
            let both = sums.filled.as_ref().map(|filled| sums.mass.clone().unwrap_or_default() + filled);
            totals.push(Total {
                factor: factor.id.clone(),
                hours,
                valid_rate: hours.valid_rate().map(|rate| Figure::new(rate, SHARE)),
                transmission_rate: rates(&counts).transmission.map(|rate| Figure::new(rate, SHARE)),
                highest: sums.highest.clone().map(|value| Figure::new(value, self.decimals(&factor.id))),
                compliant: count(&[Status::Compliant]),
                exceeded: count(&[Status::Exceeded]),
                not_judged: count(&[Status::NotJudged]),
                not_valid: count(&[Status::NotValid, Status::Missing]),
                mass_t: in_tonnes(sums.mass.as_ref()),
                mass_filled_t: in_tonnes(sums.filled.as_ref()),
                mass_partial_t: in_tonnes(sums.partial.as_ref()),
                filled_share: both
                    .and_then(|both| sums.filled.as_ref().and_then(|filled| filled.over(&both)))
                    .map(|share| Figure::new(share, SHARE)),
            });
        }
        let range = self.frame.range;
        let mut not_counted = std::mem::take(&mut self.not_counted);
        not_counted.sort_by_key(|(place, from, _)| (*place, *from));
        let touches = |from: UtcMillis, to: Option<UtcMillis>| from < range.to && to.is_none_or(|to| range.from < to);
        let mut events: Vec<&(ComplianceEvent, UtcMillis)> =
            events.iter().filter(|(event, _)| concerns(self.outlet, event) && touches(event.from, event.to)).collect();
        events.sort_by(|(a, _), (b, _)| (a.from, &a.id).cmp(&(b.from, &b.id)));
        let (limits, marks) = self.held;
        let limits = limits.iter().filter(|held| held.limit.outlet == self.outlet.id && self.holds(&held.limit));
        let marks = marks.iter().filter(|held| held.mark.outlet == self.outlet.id && held.mark.touches(&range));
        let corrections = self.corrections.iter().filter(|one| one.outlet == self.outlet.id && one.period.meets(&range));
        let summary = Summary {
            schema: SCHEMA.to_owned(),
            head: Head { left_out: self.left_out(&events), ..self.head() },
            above_limit_not_counted: not_counted.into_iter().map(|(_, _, line)| line).collect(),
            exceedances: events.iter().map(|(event, at)| lines::exceedance(&self.frame.zone, event, *at)).collect(),
            rows: all.into_iter().map(|(_, row)| row).collect(),
            totals,
            limits: limits.map(|held| lines::limit_line(&self.frame.zone, held)).collect(),
            marks: marks.map(|held| lines::mark_line(&self.frame.zone, held)).collect(),
            corrections: corrections.map(|one| lines::correction(&self.frame.zone, one)).collect(),
        };
        Report { summary, events: events.into_iter().map(|(event, _)| event.clone()).collect() }
    }

    /// What whoever gets the summary may not see of the events.
    fn left_out(&self, events: &[&(ComplianceEvent, UtcMillis)]) -> Vec<Text> {
        let figures = events.iter().any(|(event, _)| event.evidence == Evidence::LeftOut).then(words::without_power);
        let events = (!self.frame.all_abatement).then(words::abatement_in_part);
        figures.into_iter().chain(events).collect()
    }

    fn head(&self) -> Head {
        let (frame, outlet) = (&self.frame, self.outlet);
        let configuration = serde_json::to_vec(outlet).map(|text| key::hex(&Sha256::digest(text))).unwrap_or_default();
        let factor = |factor: &Configured| Factor {
            id: factor.id.clone(),
            name: Text::new(&*factor.name.zh, &*factor.name.en),
            unit: unit(factor.unit).to_owned(),
            decimals: self.decimals(&factor.id),
            is_converted: factor.reference.is_some(),
        };
        Head {
            park: frame.park.clone(),
            outlet: Named { id: outlet.id.clone(), zh: outlet.name.zh.clone(), en: outlet.name.en.clone() },
            enterprise: frame.enterprise.clone(),
            kind: match outlet.kind {
                OutletKind::Stack => "stack".to_owned(),
                OutletKind::WasteWater => "waste_water".to_owned(),
            },
            period: frame.averaging.name().to_owned(),
            from: self.time(frame.range.from),
            to: self.time(frame.range.to),
            zone: frame.zone.name().to_owned(),
            made_at: self.time(frame.made_at),
            software: frame.software.clone(),
            configuration,
            factors: outlet.factors.iter().map(factor).collect(),
            parameters: parameters::of(outlet),
            left_out: Vec::new(),
        }
    }
}

/// Exceedances of the outlet; of the events of its enterprise those of abatement, which are of a pair of devices.
pub fn concerns(outlet: &Outlet, event: &ComplianceEvent) -> bool {
    match event.kind {
        EventKind::Exceedance => event.subject == outlet.id,
        EventKind::AbatementOff | EventKind::AbatementIdle => event.enterprise == outlet.enterprise,
    }
}

fn add(sum: &mut Option<Number>, value: Option<&Number>) {
    if let Some(value) = value {
        *sum.get_or_insert_default() += value;
    }
}

fn of_class(class: HourClass) -> Hours {
    let none = Hours::default();
    match class {
        HourClass::Valid => Hours { valid: 1, ..none },
        HourClass::Invalid => Hours { invalid: 1, ..none },
        HourClass::Missing => Hours { missing: 1, ..none },
        HourClass::Stopped => Hours { stopped: 1, ..none },
    }
}

/// Unit of a factor's concentrations.
pub fn unit(unit: FactorUnit) -> &'static str {
    match unit {
        FactorUnit::MilligramPerCubicMetre | FactorUnit::Ppm => "mg/m3",
        FactorUnit::MilligramPerLitre => "mg/L",
        FactorUnit::Ph => "pH",
    }
}

fn of_verdict(verdict: Verdict) -> Status {
    use parkgate_rules::emission::limit::NotCounted as Why;
    match verdict {
        Verdict::Complies => Status::Compliant,
        Verdict::Exceeds => Status::Exceeded,
        Verdict::NotJudged => Status::NotJudged,
        Verdict::NotCounted(Why::Stopped) => Status::Stopped,
        Verdict::NotCounted(Why::Missing) => Status::Missing,
        Verdict::NotCounted(Why::Open) => Status::Open,
        Verdict::NotCounted(Why::Invalid | Why::NoFigure) => Status::NotValid,
    }
}

/// What an hour is said to be.
pub fn status_of_hour(figure: &HourFigure, judgements: &[Judgement]) -> Status {
    let class = match figure.class {
        HourClass::Valid => None,
        HourClass::Invalid => Some(Status::NotValid),
        HourClass::Missing => Some(Status::Missing),
        HourClass::Stopped => Some(Status::Stopped),
    };
    status(judgements, class)
}

/// What a row is by all its judgements: one exceedance outweighs everything; compliant only when every limit says so;
/// without a limit what the figure itself is, and never compliant.
fn status(judgements: &[Judgement], class: Option<Status>) -> Status {
    let all = || judgements.iter().map(|judgement| of_verdict(judgement.verdict));
    if all().any(|status| status == Status::Exceeded) {
        return Status::Exceeded;
    }
    if let Some(status) = class {
        return status;
    }
    let not_judged = all().all(|status| status == Status::NotJudged);
    all().find(|status| !matches!(status, Status::Compliant | Status::NotJudged)).unwrap_or(if not_judged {
        Status::NotJudged
    } else {
        Status::Compliant
    })
}

fn judged_by(judgement: &Judgement, digits: u32) -> Option<Judged> {
    let limit = judgement.limit.as_ref()?;
    let digits = if limit.applies_to == AppliesTo::MassRate { MASS } else { digits };
    Some(Judged {
        limit_id: limit.id.clone(),
        applies_to: lines::applies_to(limit.applies_to).to_owned(),
        bound: lines::bound(limit.bound).to_owned(),
        limit: limit.value.clone(),
        unit: limit.unit.clone(),
        value: judgement.value.clone().map(|value| Figure::new(value, digits)),
        exact: judgement.value.clone(),
        status: of_verdict(judgement.verdict),
        times_over: judgement.times_over.clone().map(|times| Figure::new(times, TIMES)),
    })
}

/// `C 12 min` and so on.
fn letters(by_letter: &BTreeMap<Letter, u32>) -> Vec<String> {
    by_letter.iter().map(|(letter, minutes)| format!("{letter} {minutes} min")).collect()
}
