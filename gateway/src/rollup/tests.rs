//! Totals by hand: small cases with figures worked out in comments.

use std::collections::BTreeMap;

use parkgate_collector::catalogue::{Names, Point, PointSource};
use parkgate_collector::model::{
    Decimal, Kind, Medium, Origin, PointId, PointIdentity, Quality, Reason, Sample, Status, Step, Unit, UtcMillis,
};

use super::announced::Known;
use super::count::Hours;
use super::counter::{Declared, Exchange};
use super::rule::PointRule;
use super::total::{Figures, Level, Total};
use super::view::join;
use super::zone::ParkZone;

mod announced;
mod device_clock;
mod entered;
mod follow;
mod memory;
mod random;
mod ruled;
mod source;
mod unset_clock;

/// A point of the tests: counter `kWh` with no decimals unless changed.
pub(super) fn point(kind: Kind, interval_ms: Option<u32>) -> Point {
    let unit = Unit::parse("kWh").unwrap();
    Point {
        id: PointId(1),
        identity: PointIdentity { stable_id: "a/b".into(), kind, unit, decimals: 0 },
        device: "a".into(),
        local_id: "b".into(),
        name: Names { zh: "b".into(), en: "b".into() },
        quantity: "energy_import".into(),
        medium: Medium::Power,
        reference: None,
        raw_unit: unit,
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        valid_min: None,
        valid_max: None,
        modulus: Some(Decimal::new(1_000_000, 0)),
        rate_max_per_hour: Some(Decimal::new(1_000, 0)),
        rules: Default::default(),
        interval_ms,
        compliance: false,
        role: None,
        labels: BTreeMap::new(),
        source: PointSource::Mqtt,
    }
}

pub(super) fn sample(time: UtcMillis, value: i64) -> Sample {
    Sample {
        point: PointId(1),
        status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::Delta),
        value,
        source_time: None,
        received_time: time,
        record_time: time,
    }
}

/// A park whose clock a case is told in.
struct Case {
    zone: ParkZone,
    rule: PointRule,
    declared: Declared,
}

impl Case {
    /// Quarter-hourly readings: a gap is wider than 45 minutes.
    fn new(zone: &str) -> Self {
        Self { zone: ParkZone::new(zone), rule: PointRule::new(&point(Kind::Counter, Some(900_000))), declared: Declared::default() }
    }

    /// Hourly readings of a counter: a gap is wider than three hours.
    fn hourly(zone: &str) -> Self {
        Self { rule: PointRule::new(&point(Kind::Counter, Some(3_600_000))), ..Self::new(zone) }
    }

    fn at(&self, text: &str) -> UtcMillis {
        self.zone.read(text).or_else(|| self.zone.read(&format!("{text}+08:00"))).expect(text)
    }

    /// Totals of a level that lie in `[from, to)`, all closed.
    fn totals(&self, level: Level, from: &str, to: &str, samples: &[Sample]) -> Vec<Total> {
        let (from, to) = (self.at(from), self.at(to));
        let mut hours = Hours::new(self.rule, self.zone.periods(Level::Hour, from, to).collect(), &self.declared, Known::default());
        samples.iter().for_each(|sample| hours.push(sample));
        let parts = join(&self.zone, level, hours.finish(to));
        parts.into_iter().map(|(period, part)| part.total(&self.rule, period, true, to)).collect()
    }

    fn samples(&self, rows: &[(&str, i64)]) -> Vec<Sample> {
        rows.iter().map(|(time, value)| sample(self.at(time), *value)).collect()
    }

    /// One line per total: `start amount [tail] [interpolated] [estimated] completeness flags`.
    fn lines(&self, level: Level, from: &str, to: &str, samples: &[Sample]) -> Vec<String> {
        self.totals(level, from, to, samples).iter().map(|total| self.line(total)).collect()
    }

    fn line(&self, total: &Total) -> String {
        let Figures::Counter(counter) = &total.figures else { panic!("no counter") };
        let text = |amount: Option<super::Amount>| amount.map_or_else(|| "-".into(), |amount| amount.to_string());
        let mut line = format!("{} {}", &self.zone.write(total.period.start)[5..16], text(counter.amount));
        for (name, amount) in [("int", Some(counter.interpolated)), ("est", Some(counter.estimated)), ("tail", counter.tail_estimate)] {
            let amount = text(amount);
            if amount != "0" && amount != "-" {
                line += &format!(" {name} {amount}");
            }
        }
        let flags = &counter.flags;
        for (name, set) in [
            ("rollover", flags.rollover),
            ("boundary", flags.boundary_interpolated),
            ("exchanged", flags.meter_exchanged),
            ("tailed", flags.tail_estimated),
            ("suspect", flags.suspect),
            ("decided", flags.decided),
            ("gap", flags.estimated),
        ] {
            if set {
                line += &format!(" {name}");
            }
        }
        line + &format!(" {}", total.completeness_ppm.map_or_else(|| "-".into(), |ppm| ppm.to_string()))
    }
}

#[test]
fn readings_on_the_boundaries() {
    let case = Case::hourly("Asia/Shanghai");
    let samples = case.samples(&[
        ("2026-11-01T00:00:00", 100),
        ("2026-11-01T01:00:00", 110),
        ("2026-11-01T02:00:00", 110),
        ("2026-11-01T03:00:00", 125),
    ]);
    assert_eq!(
        case.lines(Level::Hour, "2026-11-01", "2026-11-01T03:00:00", &samples),
        ["11-01T00:00 10 1000000", "11-01T01:00 0 1000000", "11-01T02:00 15 1000000"]
    );
}

#[test]
fn a_difference_is_split_at_the_boundary() {
    let case = Case::new("Asia/Shanghai");
    // 10 kWh between 23:50 and 00:20: 10 min of 30 lie before midnight, a third; 3.333333333333333 and the rest.
    let samples = case.samples(&[("2026-11-01T23:20:00", 95), ("2026-11-01T23:50:00", 100), ("2026-11-02T00:20:00", 110)]);
    assert_eq!(
        case.lines(Level::Day, "2026-11-01", "2026-11-03", &samples),
        // First day: 5 + 3.33..; covered from 23:20 on, 40 min of 1440: 27777 ppm. Second day: 20 min of 1440: 13888 ppm;
        // 6.66.. in 20 min = 1/72 day; 71/72 are missing: 6.66.. * 71 = 473.33...
        [
            "11-01T00:00 8.333333333333333 int 3.333333333333333 boundary 27777",
            "11-02T00:00 6.666666666666667 int 6.666666666666667 tail 473.333333333333357 boundary tailed 13888"
        ]
    );
}

#[test]
fn an_outage_is_spread_over_its_hours() {
    let case = Case::new("Asia/Shanghai");
    // 12 kWh between 01:30 and 07:30: 6 h, 2 kWh an hour, 1 kWh in each half hour at the ends.
    let mut samples =
        case.samples(&[("2026-11-02T00:00:00", 0), ("2026-11-02T00:30:00", 1), ("2026-11-02T01:00:00", 2), ("2026-11-02T01:30:00", 3)]);
    samples.extend(case.samples(&[("2026-11-02T07:30:00", 15), ("2026-11-02T08:00:00", 16)]));
    assert_eq!(
        case.lines(Level::Hour, "2026-11-02", "2026-11-02T08:00:00", &samples),
        [
            "11-02T00:00 2 1000000",
            "11-02T01:00 2 est 1 boundary gap 500000",
            "11-02T02:00 2 est 2 boundary gap 0",
            "11-02T03:00 2 est 2 boundary gap 0",
            "11-02T04:00 2 est 2 boundary gap 0",
            "11-02T05:00 2 est 2 boundary gap 0",
            "11-02T06:00 2 est 2 boundary gap 0",
            "11-02T07:00 2 est 1 boundary gap 500000",
        ]
    );
    // The day holds the whole gap: no flag but the lost tail. Covered: 8 h - 6 h of 24 h, 83333 ppm.
    // 16 kWh in 8 h, 16 h are missing: 32 kWh.
    assert_eq!(case.lines(Level::Day, "2026-11-02", "2026-11-03", &samples), ["11-02T00:00 16 tail 32 tailed 83333"]);
}

#[test]
fn an_outage_over_the_end_of_a_month() {
    let case = Case::hourly("Asia/Shanghai");
    // Readings until 31 October 12:00 and from 2 November 12:00 on: 48 h, 960 kWh, 20 an hour; 12 h = 240 kWh lie in
    // October, 36 h = 720 kWh in November.
    let samples = case.samples(&[
        ("2026-10-31T11:00:00", 990),
        ("2026-10-31T12:00:00", 1_000),
        ("2026-11-02T12:00:00", 1_960),
        ("2026-11-02T13:00:00", 1_970),
    ]);
    let months = case.totals(Level::Month, "2026-10-01", "2026-12-01", &samples);
    // Covered: October 1 h of 744 h, 1344 ppm; November 1 h of 720 h, 1388 ppm. November ends without a register after
    // 37 h with 730 kWh; 683 h are missing: 730 * 683 / 37 = 13475.405405...
    assert_eq!(
        months.iter().map(|total| case.line(total)).collect::<Vec<_>>(),
        ["10-01T00:00 250 est 240 boundary gap 1344", "11-01T00:00 730 est 720 tail 13475.405405405405405 boundary tailed gap 1388"]
    );
    // A year that holds the whole gap is not flagged for it.
    let year = case.totals(Level::Year, "2026-01-01", "2027-01-01", &samples);
    let Figures::Counter(counter) = &year[0].figures else { panic!() };
    assert_eq!(counter.amount.unwrap().to_string(), "980");
    assert!(!counter.flags.estimated && !counter.flags.boundary_interpolated && counter.estimated.mantissa == 0);
}

#[test]
fn a_lost_tail_goes_when_readings_come() {
    let case = Case::hourly("Asia/Shanghai");
    // November: 240 kWh in 10 valid days, the register is lost from the 11th on: 20 days at 24 kWh a day, 480 kWh.
    let mut samples: Vec<Sample> = (0..=240).map(|hour| sample(case.at("2026-11-01").plus(hour * 3_600_000), 5_000 + hour)).collect();
    assert_eq!(case.lines(Level::Month, "2026-11-01", "2026-12-01", &samples), ["11-01T00:00 240 tail 480 tailed 333333"]);
    // On 1 December 00:00 it is read again: 700 kWh more, all of it November's. The gap is 20 of 30 days.
    samples.push(sample(case.at("2026-12-01"), 5_940));
    assert_eq!(case.lines(Level::Month, "2026-11-01", "2026-12-01", &samples), ["11-01T00:00 940 333333"]);
}

#[test]
fn a_rollover_across_midnight() {
    let case = Case::hourly("Asia/Shanghai");
    // Modulus 1,000,000. 999,990 -> 30 within an hour is 40; half of it before midnight.
    let samples = case.samples(&[
        ("2026-11-01T22:30:00", 999_980),
        ("2026-11-01T23:30:00", 999_990),
        ("2026-11-02T00:30:00", 30),
        ("2026-11-02T01:30:00", 50),
    ]);
    let days = case.totals(Level::Day, "2026-11-01", "2026-11-03", &samples);
    let figures: Vec<_> = days
        .iter()
        .map(|day| {
            let Figures::Counter(counter) = &day.figures else { panic!() };
            let registers = (counter.start_register.unwrap().to_string(), counter.end_register.unwrap().to_string());
            (counter.amount.unwrap().to_string(), counter.interpolated.to_string(), counter.flags.rollover, registers)
        })
        .collect();
    // At midnight the register stood at 999,990 + 20 = 10 after the wrap.
    let row = |amount: &str, interpolated: &str, start: &str, end: &str| {
        (amount.to_owned(), interpolated.to_owned(), true, (start.to_owned(), end.to_owned()))
    };
    assert_eq!(figures, [row("30", "20", "999980", "10"), row("40", "20", "10", "50")]);
}

#[test]
fn a_suspect_fall_counts_nothing() {
    let case = Case::hourly("Asia/Shanghai");
    // 500 -> 100 would be a wrap of 999,600 within an hour: suspect. 10 before, 20 after; the hour between is lost.
    let samples = case.samples(&[
        ("2026-11-02T00:00:00", 490),
        ("2026-11-02T01:00:00", 500),
        ("2026-11-02T02:00:00", 100),
        ("2026-11-02T03:00:00", 120),
    ]);
    assert_eq!(
        case.lines(Level::Hour, "2026-11-02", "2026-11-02T03:00:00", &samples),
        ["11-02T00:00 10 1000000", "11-02T01:00 - suspect 0", "11-02T02:00 20 suspect 1000000"]
    );
    // Day: 30 kWh in 2 valid hours, 21 h are missing: 315. Covered 2 of 24 h.
    assert_eq!(case.lines(Level::Day, "2026-11-02", "2026-11-03", &samples), ["11-02T00:00 30 tail 315 tailed suspect 83333"]);
}

#[test]
fn a_meter_exchange_over_a_boundary() {
    let mut case = Case::hourly("Asia/Shanghai");
    // At 23:30 the old meter (multiplier 1) ends with 1,010, the new one begins with 5 and counts tens.
    case.declared.exchanges.push(Exchange {
        at: case.at("2026-11-01T23:30:00"),
        old_final: Some(1_010),
        new_initial: Some(5),
        multiplier: Decimal::new(10, 0),
    });
    let samples = case.samples(&[
        ("2026-11-01T22:00:00", 990),
        ("2026-11-01T23:00:00", 1_000),
        ("2026-11-02T00:30:00", 11),
        ("2026-11-02T01:00:00", 14),
    ]);
    // 1 November: 990 -> 1,010 = 20; then 6 steps of 10 in an hour, half an hour of it before midnight: 30. Together 50.
    // 2 November: the other 30, and 3 steps = 30. Covered 2 h of 24 h on the 1st (83333), 1 h on the 2nd (41666):
    // 60 kWh in that hour, 23 h are missing: 1380.
    assert_eq!(
        case.lines(Level::Day, "2026-11-01", "2026-11-03", &samples),
        ["11-01T00:00 50 int 30 boundary exchanged 83333", "11-02T00:00 60 int 30 tail 1380 boundary tailed 41666"]
    );
    // Nothing known about either register: what lies between the readings is lost.
    case.declared.exchanges[0] = Exchange { old_final: None, new_initial: None, multiplier: Decimal::ONE, ..case.declared.exchanges[0] };
    assert_eq!(
        case.lines(Level::Day, "2026-11-01", "2026-11-02", &samples),
        // 10 kWh in 1 h of 24; the hour from 23:00 on is lost.
        ["11-01T00:00 10 exchanged 41666"]
    );
    // The same when only the sample tells of it, at its own time.
    case.declared.exchanges.clear();
    let mut told = samples;
    told[2].status = Status::new(Quality::Good, Reason::None, Origin::Metered, Step::Exchange);
    assert_eq!(
        case.lines(Level::Day, "2026-11-01", "2026-11-03", &told),
        // 2nd: 3 kWh from 00:30 to 01:00; 23 h are missing: 3 * 23 / 0.5 = 138.
        ["11-01T00:00 10 41666", "11-02T00:00 3 tail 138 exchanged tailed 20833"]
    );
}

#[test]
fn days_of_23_and_25_hours() {
    let case = Case::hourly("Europe/Berlin");
    // 10 kWh an hour of real time, read on the hour from the day before to the day after.
    for (day, next, hours) in [("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25)] {
        let start = case.zone.read(day).unwrap();
        let samples: Vec<Sample> = (-30..60).map(|hour| sample(start.plus(hour * 3_600_000), 10_000 + hour * 10)).collect();
        assert_eq!(case.lines(Level::Day, day, next, &samples), [format!("{}T00:00 {} 1000000", &day[5..], hours * 10)]);
        let each = case.lines(Level::Hour, day, next, &samples);
        assert_eq!(each.len(), hours as usize);
        assert!(each.iter().all(|line| line.ends_with(" 10 1000000")), "{each:?}");
    }
}

#[test]
fn gauges_are_weighted_by_time() {
    let zone = ParkZone::new("Asia/Shanghai");
    let rule = PointRule::new(&point(Kind::Gauge, Some(900_000)));
    let at = |text: &str| zone.read(text).unwrap();
    let (from, to) = (at("2026-11-02"), at("2026-11-02T02:00:00+08:00"));
    let mut hours = Hours::new(rule, zone.periods(Level::Hour, from, to).collect(), Declared::NONE, Known::default());
    // 10 from 23:50, 20 from 00:30, 60 from 00:45; then nothing: 60 holds for 45 min, until 01:30.
    for (time, value) in [("2026-11-01T23:50:00+08:00", 10), ("2026-11-02T00:30:00+08:00", 20), ("2026-11-02T00:45:00+08:00", 60)] {
        hours.push(&sample(at(time), value));
    }
    let totals: Vec<Total> = hours.finish(to).into_iter().map(|(period, part)| part.total(&rule, period, true, to)).collect();
    let figures = |total: &Total| {
        let Figures::Gauge(gauge) = &total.figures else { panic!() };
        [gauge.mean, gauge.arithmetic_mean, gauge.min, gauge.max]
            .map(|amount| amount.map_or_else(|| "-".into(), |amount| amount.to_string()))
    };
    // First hour: (10 * 30 + 20 * 15 + 60 * 15) / 60 = 25; samples 20 and 60, mean 40.
    assert_eq!(figures(&totals[0]), ["25", "40", "20", "60"]);
    assert_eq!((totals[0].samples, totals[0].completeness_ppm), (2, Some(1_000_000)));
    // Second hour: 60 for half of it, no sample.
    assert_eq!(figures(&totals[1]), ["60", "-", "-", "-"]);
    assert_eq!((totals[1].samples, totals[1].completeness_ppm, totals[1].worst_quality), (0, Some(500_000), None));
}

#[test]
fn states_last() {
    let zone = ParkZone::new("Asia/Shanghai");
    let rule = PointRule::new(&point(Kind::State, None));
    let from = zone.read("2026-11-02").unwrap();
    let mut hours = Hours::new(rule, zone.periods(Level::Hour, from, from.plus(7_200_000)).collect(), Declared::NONE, Known::default());
    // 0 for 20 min, 1 for 50 min, over the hour; then 3 until nothing is known an hour later: no interval is known.
    for (minute, code) in [(0, 0), (20, 1), (70, 3)] {
        hours.push(&sample(from.plus(minute * 60_000), code));
    }
    let parts = hours.finish(from.plus(100 * 3_600_000));
    let total = join(&zone, Level::Day, parts)[0].1.total(&rule, zone.period_of(Level::Day, from), true, from.plus(86_400_000));
    let Figures::State(state) = total.figures else { panic!() };
    // Only two hours were counted: 10 min of the 3rd code lie beyond them.
    assert_eq!(state.durations, [(0, 1_200_000), (1, 3_000_000), (3, 3_000_000)]);
    assert_eq!(total.completeness_ppm, None);
}
