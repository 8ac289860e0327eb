//! Totals by hand: small cases with figures worked out in comments.

use std::collections::BTreeMap;
use std::sync::Arc;

use parkgate_collector::catalogue::{Names, Point, PointSource};
use parkgate_collector::model::{
    Decimal, Kind, Medium, Origin, PointId, PointIdentity, Quality, Reason, Sample, Status, Step, Unit, UtcMillis,
};

use super::count::Hours;
use super::counter::Exchange;
use super::rule::PointRule;
use super::total::{Figures, Level, Total};
use super::view::join;
use super::zone::ParkZone;

const HOUR: i64 = 3_600_000;

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
    exchanges: Vec<Exchange>,
}

impl Case {
    /// Quarter-hourly readings: a gap is wider than 45 minutes.
    fn new(zone: &str) -> Self {
        Self { zone: ParkZone::new(zone), rule: PointRule::new(&point(Kind::Counter, Some(900_000))), exchanges: Vec::new() }
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
        let mut hours = Hours::new(self.rule, self.zone.periods(Level::Hour, from, to).collect(), &self.exchanges);
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
