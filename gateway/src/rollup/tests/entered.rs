//! Exchanges, multipliers and decisions by hand: small cases with figures worked out in comments, and the way from an
//! entry to totals that are counted again.

use std::sync::Arc;

use parkgate_collector::model::{Decimal, UtcMillis};
use parkgate_rules::emission::time::UtcMillis as Time;

use super::super::counter::{Exchange, Verdict};
use super::super::decide::{self, ToDecide};
use super::super::enter::{Desk, Signed};
use super::super::meters::{EventKind, MeterEvent, MeterStep, Meters, NewEvent};
use super::super::{Level, ParkZone, TotalsView as _};
use super::follow::{DAY, Followed, HOUR, MINUTE, amount, at, counter};
use super::memory::catalogue;
use super::{Case, sample};

pub(super) fn event(kind: EventKind, at: UtcMillis) -> NewEvent {
    let at = Time(at.0);
    NewEvent { kind, point: "a/b".into(), at, from: None, old_final: None, new_initial: None, multiplier: None, note: None }
}

#[test]
fn a_decided_fall() {
    let mut case = Case::hourly("Asia/Shanghai");
    let samples = case.samples(&[
        ("2026-11-02T00:00:00", 490),
        ("2026-11-02T01:00:00", 500),
        ("2026-11-02T02:00:00", 100),
        ("2026-11-02T03:00:00", 120),
    ]);
    // 500 -> 100 is a wrap of 1,000,000 - 500 + 100 = 999,600 after all, though no such meter is plausible.
    case.declared.verdicts.insert(case.at("2026-11-02T02:00:00"), Verdict::Rollover);
    assert_eq!(
        case.lines(Level::Hour, "2026-11-02", "2026-11-02T03:00:00", &samples),
        ["11-02T00:00 10 1000000", "11-02T01:00 999600 rollover 1000000", "11-02T02:00 20 1000000"]
    );
    // An error: nothing counted, nothing missing; whoever reads the hour still sees that something was wrong.
    case.declared.verdicts.insert(case.at("2026-11-02T02:00:00"), Verdict::Error);
    assert_eq!(
        case.lines(Level::Hour, "2026-11-02", "2026-11-02T03:00:00", &samples),
        ["11-02T00:00 10 1000000", "11-02T01:00 0 suspect 1000000", "11-02T02:00 20 suspect 1000000"]
    );
    // A decision about a pair that is none of R-DELTA's suspects changes nothing.
    case.declared.verdicts = [(case.at("2026-11-02T01:00:00"), Verdict::Error)].into();
    assert_eq!(case.lines(Level::Hour, "2026-11-02", "2026-11-02T01:00:00", &samples), ["11-02T00:00 10 1000000"]);
}

#[test]
fn a_multiplier_that_changes() {
    let mut case = Case::hourly("Asia/Shanghai");
    // At 01:30 the meter shows 505 and new transformers make ten of each step: 5 + 5 * 10 in that hour, 100 in the next.
    let change = |at, multiplier| Exchange { at, old_final: Some(505), new_initial: Some(505), multiplier };
    case.declared.exchanges.push(change(case.at("2026-11-02T01:30:00"), Decimal::new(10, 0)));
    let samples = case.samples(&[
        ("2026-11-02T00:00:00", 490),
        ("2026-11-02T01:00:00", 500),
        ("2026-11-02T02:00:00", 510),
        ("2026-11-02T03:00:00", 520),
    ]);
    assert_eq!(
        case.lines(Level::Hour, "2026-11-02", "2026-11-02T03:00:00", &samples),
        ["11-02T00:00 10 1000000", "11-02T01:00 55 exchanged 1000000", "11-02T02:00 100 1000000"]
    );
    // One from before the first reading on only tells what readings are multiplied with.
    case.declared.exchanges = vec![change(case.at("2026-11-01T12:00:00"), Decimal::new(25, -1))];
    assert_eq!(case.lines(Level::Hour, "2026-11-02", "2026-11-02T01:00:00", &samples), ["11-02T00:00 25 1000000"]);
}

/// A meter that falls from 200 to 50 on 2 November between 10:00 and 11:00: 10 kWh an hour before and after.
fn fallen() -> (Followed, UtcMillis) {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    let start = at("2026-11-02T00:00:00");
    for hour in 0..48 {
        followed.push(sample(start.plus(hour * HOUR), if hour <= 10 { 100 + hour * 10 } else { 50 + (hour - 11) * 10 }));
    }
    followed.count();
    (followed, start.plus(11 * HOUR))
}

fn enter(followed: &Followed, step: MeterStep) -> Result<MeterEvent, String> {
    let signed = Signed { author: "eve".into(), document: None, now: at("2026-11-30T00:00:00") };
    let desk = Desk { catalogue: &followed.catalogue, record: &*followed.record, facts: &followed.facts };
    desk.enter(step, &signed).unwrap().map_err(|refusal| refusal.what)
}

fn day(followed: &Followed) -> String {
    let from = at("2026-11-02T00:00:00");
    let days = followed.told().totals(parkgate_collector::model::PointId(1), Level::Day, from, from.plus(DAY)).unwrap();
    let flags = super::super::row::TotalRow::new(&days[0], &followed.catalogue.points[0].identity, &ParkZone::new("Asia/Shanghai")).flags;
    format!("{} {} {}", amount(&days[0]), days[0].completeness_ppm.unwrap(), flags.join(" ")).trim_end().to_owned()
}

fn to_decide(followed: &Followed) -> Vec<ToDecide> {
    let meters = Meters::read(&followed.catalogue, &followed.facts).unwrap();
    let point = &followed.catalogue.points[0];
    decide::of_point(point, &ParkZone::new("Asia/Shanghai"), &followed.told(), &*followed.record, &meters).unwrap()
}

#[test]
fn what_is_entered_is_counted_and_can_be_undone() {
    let (mut followed, fall) = fallen();
    // 10 hours before the fall, 13 after it: 23 of 24 hours, 958333 ppm.
    assert_eq!(day(&followed), "230 958333 suspect");
    let pairs = to_decide(&followed);
    let row: Vec<_> = pairs.iter().map(|pair| (pair.at.0, pair.old.as_str(), pair.new.as_str(), pair.wrapped.as_deref())).collect();
    assert_eq!(row, [(fall.0, "200", "50", Some("999850"))]);

    let decided = enter(&followed, MeterStep::Add(event(EventKind::Rollover, fall))).unwrap();
    assert_eq!((decided.old_final.as_deref(), decided.new_initial.as_deref(), decided.author.as_str()), (Some("200"), Some("50"), "eve"));
    assert_eq!(to_decide(&followed), []);
    followed.count();
    // 230 + 999,850.
    assert_eq!(day(&followed), "1000080 1000000 rollover");
    followed.check("rollover");
    let corrections = followed.facts.total_corrections().unwrap();
    let levels: Vec<_> = corrections.iter().map(|one| (one.level.as_str(), one.cause.contains("decision"))).collect();
    // The hour of the fall and the one that its later register lies in, and the day.
    assert_eq!(levels, [("hour", true), ("hour", true), ("day", true)]);

    enter(&followed, MeterStep::Undo { event: decided.id, note: None }).unwrap();
    followed.count();
    assert_eq!(day(&followed), "230 958333 suspect");
    assert_eq!(to_decide(&followed).len(), 1);

    // Entered while the gateway is down.
    followed.follower = None;
    let decided = enter(&followed, MeterStep::Add(event(EventKind::Error, fall))).unwrap();
    followed.restart();
    followed.count();
    assert_eq!(day(&followed), "230 1000000 suspect");
    assert_eq!(to_decide(&followed), []);
    followed.check("error");
    let told = followed.facts.total_corrections().unwrap().len();
    followed.restart();
    followed.count();
    assert_eq!(followed.facts.total_corrections().unwrap().len(), told, "nothing is told twice");
    enter(&followed, MeterStep::Undo { event: decided.id, note: Some("it was exchanged".into()) }).unwrap();

    // At 10:30 the old meter showed 205, the new one 45, and its steps count twice: 100 + 5 + 5 * 2 + 13 * 20 = 375.
    let exchange = NewEvent {
        old_final: Some("205".into()),
        new_initial: Some("45".into()),
        multiplier: Some("2".into()),
        ..event(EventKind::Exchange, fall.plus(-30 * MINUTE))
    };
    let exchanged = enter(&followed, MeterStep::Add(exchange)).unwrap();
    assert_eq!(to_decide(&followed), []);
    followed.count();
    assert_eq!(day(&followed), "375 1000000 meter_exchanged");
    followed.check("exchange");
    enter(&followed, MeterStep::Undo { event: exchanged.id, note: None }).unwrap();
    followed.count();
    assert_eq!(day(&followed), "230 958333 suspect");
    followed.check("all undone");
}

#[test]
fn what_cannot_be_is_refused() {
    let (followed, fall) = fallen();
    let half = fall.plus(-30 * MINUTE);
    let exchange = || event(EventKind::Exchange, half);
    let good = enter(&followed, MeterStep::Add(NewEvent { old_final: Some("205".into()), ..exchange() })).unwrap();
    let text = |text: &str| Some(text.to_owned());
    for (what, step) in [
        ("there is no point `a/x`", MeterStep::Add(NewEvent { point: "a/x".into(), ..exchange() })),
        ("is in the future", MeterStep::Add(event(EventKind::Exchange, at("2026-12-24T00:00:00")))),
        ("is an exchange at that instant already", MeterStep::Add(exchange())),
        ("is no number", MeterStep::Add(NewEvent { old_final: text("12,5"), ..event(EventKind::Exchange, half.plus(1)) })),
        ("more than 0 decimals", MeterStep::Add(NewEvent { old_final: text("205.5"), ..event(EventKind::Exchange, half.plus(1)) })),
        (
            "not between 0 and the modulus",
            MeterStep::Add(NewEvent { old_final: text("1000000"), ..event(EventKind::Exchange, half.plus(1)) }),
        ),
        ("multiplier 0 is not above 0", MeterStep::Add(NewEvent { multiplier: text("0"), ..event(EventKind::Exchange, half.plus(1)) })),
        (
            "is below the reading 100",
            MeterStep::Add(NewEvent { old_final: text("90"), ..event(EventKind::Exchange, fall.plus(-21 * HOUR / 2)) }),
        ),
        ("is above the reading 60", MeterStep::Add(NewEvent { new_initial: text("61"), ..event(EventKind::Exchange, fall.plus(MINUTE)) })),
        ("has no reading before", MeterStep::Add(event(EventKind::Exchange, at("2026-11-01T00:00:00")))),
        ("no suspect pair", MeterStep::Add(event(EventKind::Error, fall.plus(HOUR)))),
        ("there is no exchange or decision", MeterStep::Undo { event: "meter-99".into(), note: None }),
    ] {
        let refusal = enter(&followed, step).unwrap_err();
        assert!(refusal.contains(what), "{what}: {refusal}");
    }
    let undo = MeterStep::Undo { event: good.id, note: None };
    enter(&followed, undo.clone()).unwrap();
    assert!(enter(&followed, undo).unwrap_err().contains("is undone already"));
    enter(&followed, MeterStep::Add(event(EventKind::Rollover, fall))).unwrap();
    assert!(enter(&followed, MeterStep::Add(event(EventKind::Error, fall))).unwrap_err().contains("says rollover of it already"));
    let facts = Arc::clone(&followed.facts);
    assert_eq!(facts.entries(crate::store::EntryKind::MeterEvent, 0).unwrap().len(), 3, "what is refused leaves nothing");
}
