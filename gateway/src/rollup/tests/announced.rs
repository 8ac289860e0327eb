//! Registers with the flag of another meter, and readings that come late before them: figures worked out in comments.

use parkgate_collector::catalogue::Point;
use parkgate_collector::model::{Decimal, Origin, PointId, Quality, Reason, Sample, Status, Step, UtcMillis};

use super::super::meters::{EventKind, MeterStep, NewEvent};
use super::super::rule::PointRule;
use super::super::{Level, ParkZone, TotalsView as _, scan};
use super::follow::{DAY, Followed, HOUR, MINUTE, amount, at, counter};
use super::memory::catalogue;
use super::{entered, sample};
use crate::store::{EntryKind, NewEntry};

/// Hour of 2 November, register, step.
type Row = (i64, i64, Step);

fn start() -> UtcMillis {
    at("2026-11-02T00:00:00")
}

fn register((hour, value, step): Row) -> Sample {
    let status = Status::new(Quality::Good, Reason::None, Origin::Metered, step);
    Sample { status, ..sample(start().plus(hour * HOUR), value) }
}

fn enter(followed: &Followed, step: MeterStep) {
    let body = serde_json::to_value(step).unwrap();
    let new = NewEntry { kind: EntryKind::MeterEvent, subject: "a/b".into(), body, author: "eve".into(), document: None };
    followed.facts.append(new, start()).unwrap();
}

/// An exchange at 09:30 from 1015 to 0.
fn exchange() -> NewEvent {
    let (old_final, new_initial) = (Some("1015".into()), Some("0".into()));
    NewEvent { old_final, new_initial, ..entered::event(EventKind::Exchange, start().plus(9 * HOUR + 30 * MINUTE)) }
}

/// The day, and its hours with what they counted above 0: as stored, which is what each hour alone gives.
fn told(followed: &Followed, what: &str) -> (String, Vec<String>) {
    followed.check(what);
    let day = followed.told().totals(PointId(1), Level::Day, start(), start().plus(DAY)).unwrap();
    let hours = followed.told().totals(PointId(1), Level::Hour, start(), start().plus(DAY)).unwrap();
    let (zone, declared) = (ParkZone::new("Asia/Shanghai"), followed.meters().of(PointId(1)));
    let rule = PointRule::new(&followed.catalogue.points[0]);
    let mut told = Vec::new();
    for hour in &hours {
        let range = (hour.period.start, hour.period.end);
        let alone = scan::hours(&*followed.record, &zone, &rule, &declared, range, range.1).unwrap();
        let alone = alone[0].1.total(&rule, hour.period, true, range.1);
        assert_eq!(amount(&alone), amount(hour), "{what} {:?}", hour.period);
        if !["-", "0"].contains(&amount(hour).as_str()) {
            told.push(format!("{} {}", hour.period.start.since(start()) / HOUR, amount(hour)));
        }
    }
    (amount(&day[0]), told)
}

/// Counts after each reading; calls before each with its number, and at the end.
fn followed(rows: &[Row], before: impl Fn(&Followed, usize)) -> Followed {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    for (number, &row) in rows.iter().enumerate() {
        before(&followed, number);
        followed.push(register(row));
        followed.count();
    }
    before(&followed, rows.len());
    followed.count();
    followed
}

const OLD: [Row; 2] = [(8, 1_000, Step::First), (9, 1_010, Step::Delta)];

/// 10, 5 until 09:30, 20 on the new meter, wherever late readings lie before the flagged one.
#[test]
fn a_late_reading_before_the_first_of_another_meter() {
    let new = [(12, 20, Step::Exchange), (36, 20, Step::Delta)];
    let late = [(11, 10, Step::None), (10, 4, Step::None)];
    for late in [&late[..0], &late[..1], &late[..]] {
        let followed = followed(&[&OLD[..], &new, late].concat(), |followed, number| {
            if number == 2 {
                enter(followed, MeterStep::Add(exchange()));
            }
        });
        assert_eq!(told(&followed, "late").0, "35", "{}", late.len());
    }
}

/// An exchange was entered and undone, and the flag of the next register stays: 10, and 10 until 12:00.
#[test]
fn a_late_reading_after_an_exchange_was_undone() {
    let rows = [&OLD[..], &[(12, 1_020, Step::Exchange), (36, 1_020, Step::Delta), (11, 1_015, Step::None)]].concat();
    let followed = followed(&rows, |followed, number| match number {
        2 => enter(followed, MeterStep::Add(exchange())),
        3 => enter(followed, MeterStep::Undo { event: "meter-1".into(), note: None }),
        _ => {}
    });
    assert_eq!(told(&followed, "undone").0, "20");
}

/// Another scale from 12:00 on: what comes late before it is of that scale. Nothing tells what was counted from 09:00 to
/// the first of those.
#[test]
fn late_readings_before_the_first_one_of_another_scale() {
    for (late, day, hours) in [
        (&[][..], "10", &["8 10"][..]),
        (&[(11, 17, Step::None)], "13", &["8 10", "11 3"]),
        (&[(11, 17, Step::None), (10, 15, Step::None)], "15", &["8 10", "10 2", "11 3"]),
    ] {
        let new = [(12, 20, Step::Exchange), (13, 20, Step::Delta), (36, 20, Step::Delta)];
        let rows = [&OLD[..], &new, late].concat();
        let found = told(&followed(&rows, |_, _| {}), "scale");
        assert_eq!((found.0.as_str(), found.1), (day, hours.iter().map(|hour| (*hour).to_owned()).collect()));
        // An exchange of before, with a reading in time since, explains nothing.
        let earlier = followed(&rows, |followed, number| {
            if number == 1 {
                let five = || Some("1005".to_owned());
                let at = start().plus(8 * HOUR + 30 * MINUTE);
                let exchange = NewEvent { old_final: five(), new_initial: five(), ..entered::event(EventKind::Exchange, at) };
                enter(followed, MeterStep::Add(exchange));
            }
        });
        assert_eq!(told(&earlier, "exchange before").0, day);
    }
}

/// The meter was exchanged together with the scale, and that is entered last: it tells what the flag is of.
#[test]
fn an_exchange_entered_after_late_readings() {
    let rows = [&OLD[..], &[(12, 20, Step::Exchange), (36, 20, Step::Delta), (11, 10, Step::None), (10, 4, Step::None)]].concat();
    let followed = followed(&rows, |followed, number| {
        if number == rows.len() {
            enter(followed, MeterStep::Add(exchange()));
        }
    });
    assert_eq!(told(&followed, "entered last").0, "35");
}

/// As before, with nothing read for six hours before the late readings: 10, 50 until 15:00, 10 until 16:00, 5 until 17:00, 20 on
/// the new meter. Entered while it runs, or while it is down and another modulus is configured.
#[test]
fn an_exchange_between_late_readings_reaches_back_to_the_last_one_in_time() {
    let rows = [
        &OLD[..],
        &[(20, 20, Step::Exchange), (36, 20, Step::Delta), (15, 1_060, Step::None), (16, 1_070, Step::None), (18, 10, Step::None)],
    ]
    .concat();
    for is_running in [true, false] {
        let mut followed = followed(&rows, |_, _| {});
        assert_eq!(told(&followed, "not entered").0, "30");
        let (old_final, new_initial) = (Some("1075".into()), Some("0".into()));
        let exchange = NewEvent { old_final, new_initial, ..entered::event(EventKind::Exchange, start().plus(17 * HOUR)) };
        enter(&followed, MeterStep::Add(exchange));
        if !is_running {
            followed.catalogue = catalogue(vec![Point { modulus: Some(Decimal::new(2_000_000, 0)), ..counter(3_600_000) }]);
            followed.restart();
        }
        followed.count();
        assert_eq!(told(&followed, "entered").0, "95", "running: {is_running}");
    }
}
