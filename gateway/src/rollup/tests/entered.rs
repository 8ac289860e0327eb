//! Exchanges, multipliers and decisions by hand: small cases with figures worked out in comments, and the way from an
//! entry to totals that are counted again.

use std::sync::Arc;

use parkgate_collector::catalogue::Point;
use parkgate_collector::model::{Decimal, Origin, Quality, Reason, Sample, Status, Step, UtcMillis};
use parkgate_collector::normalise::Register;
use parkgate_rules::emission::time::UtcMillis as Time;

use super::super::counter::{Decided, Exchange, SUSPECTS_MAX, SuspectPair, Verdict};
use super::super::decide::{self, Due, ToDecide};
use super::super::enter::{Desk, Signed};
use super::super::meters::{EventKind, MeterEvent, MeterStep, Meters, NewEvent};
use super::super::{Level, ParkZone, TotalsView as _, scan};
use super::follow::{DAY, Followed, HOUR, MINUTE, amount, at, counter};
use super::memory::{Memory, catalogue};
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
    let fall = case.at("2026-11-02T02:00:00");
    // 500 -> 100 is a wrap of 1,000,000 - 500 + 100 = 999,600 after all, though no such meter is plausible.
    case.declared.verdicts = [(fall, vec![Decided { verdict: Verdict::Rollover, pair: None }])].into();
    assert_eq!(
        case.lines(Level::Hour, "2026-11-02", "2026-11-02T03:00:00", &samples),
        ["11-02T00:00 10 1000000", "11-02T01:00 999600 rollover 1000000", "11-02T02:00 20 1000000"]
    );
    // Set back: nothing counted, and what was used is not known; but nothing is left to decide. Of several
    // decisions the last holds that is about this pair.
    let register = |time: &str, value| Register { time: case.at(time), value };
    let (old, new) = (register("2026-11-02T01:00:00", 500), register("2026-11-02T02:00:00", 100));
    let decided = |verdict, old| Decided { verdict, pair: Some(SuspectPair { old, new }) };
    let other = [Register { value: 501, ..old }, register("2026-11-02T00:30:00", 500)];
    let others = || other.map(|old| decided(Verdict::Rollover, old));
    case.declared.verdicts = [(fall, [vec![decided(Verdict::Reset, old)], others().to_vec()].concat())].into();
    assert_eq!(
        case.lines(Level::Hour, "2026-11-02", "2026-11-02T03:00:00", &samples),
        ["11-02T00:00 10 1000000", "11-02T01:00 - decided 0", "11-02T02:00 20 decided 1000000"]
    );
    // Only about other pairs: nobody has decided.
    case.declared.verdicts = [(fall, others().to_vec())].into();
    assert_eq!(case.lines(Level::Hour, "2026-11-02T01:00:00", "2026-11-02T02:00:00", &samples), ["11-02T01:00 - suspect 0"]);
    // A decision about a pair that is none of R-DELTA's suspects changes nothing.
    case.declared.verdicts = [(case.at("2026-11-02T01:00:00"), vec![Decided { verdict: Verdict::Reset, pair: None }])].into();
    assert_eq!(case.lines(Level::Hour, "2026-11-02", "2026-11-02T01:00:00", &samples), ["11-02T00:00 10 1000000"]);
}

/// A glitch and a spike: what is false counts nothing once the wrong register is named, before and after it.
#[test]
fn a_wrong_register_is_no_base() {
    for (what, wrong, kind) in [("glitch", 0, EventKind::NewWrong), ("spike", 999_999, EventKind::OldWrong)] {
        let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
        let start = at("2026-11-02T00:00:00");
        // 1 an hour, 24 that day; at 12:00 something else.
        for hour in 0..30 {
            followed.push(sample(start.plus(hour * HOUR), if hour == 12 { wrong } else { 99_983 + hour }));
        }
        followed.count();
        let fall = to_decide(&followed).pairs[0].clone();
        // The glitch: 11 before it, a rise of 99,996 after it, 11 more. The spike: 11 + 900,005, and 11 behind the fall.
        let false_day = ["100018 958333 suspect", "900027 958333 suspect"][usize::from(kind == EventKind::OldWrong)];
        assert_eq!(day(&followed), false_day, "{what}");
        let decided = enter(&followed, MeterStep::Add(event(kind, UtcMillis(fall.at.0)))).unwrap();
        assert_eq!(to_decide(&followed), Due::default(), "{what}");
        followed.count();
        assert_eq!(day(&followed), "24 1000000 decided", "{what}");
        followed.check(what);
        enter(&followed, MeterStep::Undo { event: decided.id, note: None }).unwrap();
        followed.count();
        assert_eq!(day(&followed), false_day, "{what}");
        followed.check(what);
    }
}

/// The last reading before a silence is wrong: the pair across it reaches into hours that were closed long ago.
#[test]
fn a_wrong_register_before_a_silence() {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    let start = at("2026-11-02T00:00:00");
    for hour in 0..11 {
        followed.push(sample(start.plus(hour * HOUR), if hour < 10 { 100 + hour } else { 7 }));
    }
    followed.push(sample(start.plus(10 * HOUR + 40 * MINUTE), 8));
    followed.count();
    for fall in [start.plus(10 * HOUR), start.plus(10 * HOUR + 40 * MINUTE)] {
        enter(&followed, MeterStep::Add(event(EventKind::NewWrong, fall))).unwrap();
        followed.count();
        followed.check("decided");
    }
    followed.restart();
    // Long before its hour closes.
    followed.push(sample(start.plus(10 * HOUR + 50 * MINUTE), 111));
    followed.count();
    followed.check("in the same hour");
    for hour in 20..30 {
        followed.push(sample(start.plus(hour * HOUR), 100 + hour));
        followed.count();
        followed.check("after the silence");
    }
    assert_eq!(day(&followed).split(' ').next(), Some("24"));
}

/// Which register is wrong is asked again when the one before it turns out to be no better; an exchange's is no reading.
#[test]
fn registers_that_cannot_be_called_wrong_and_those_behind_them() {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    let start = at("2026-11-02T00:00:00");
    let spikes = [100, 101, 500_000, 500_001, 104, 105, 106];
    (0..).zip(spikes).for_each(|(hour, value)| followed.push(sample(start.plus(hour * HOUR), value)));
    followed.count();
    let fall = start.plus(4 * HOUR);
    for (old, noted) in [("500001", false), ("500000", true)] {
        let due = to_decide(&followed);
        assert_eq!(due.pairs.iter().map(|pair| (pair.old.as_str(), pair.note.is_some())).collect::<Vec<_>>(), [(old, noted)]);
        enter(&followed, MeterStep::Add(event(EventKind::OldWrong, fall))).unwrap();
        followed.count();
    }
    assert_eq!(to_decide(&followed), Due::default());
    followed.check("both");
    let refusal = enter(&followed, MeterStep::Add(event(EventKind::Reset, fall))).unwrap_err();
    assert!(refusal.contains("says old_wrong of it already"), "{refusal}");
    // The new meter is said to begin at 107, and showed 106.
    let exchange = NewEvent { new_initial: Some("107".into()), ..event(EventKind::Exchange, start.plus(11 * HOUR / 2)) };
    let body = serde_json::to_value(MeterStep::Add(exchange)).unwrap();
    let kind = crate::store::EntryKind::MeterEvent;
    let new = crate::store::NewEntry { kind, subject: "a/b".into(), body, author: "eve".into(), document: None };
    followed.facts.append(new, at("2026-11-03T00:00:00")).unwrap();
    followed.count();
    let refusal = enter(&followed, MeterStep::Add(event(EventKind::OldWrong, start.plus(6 * HOUR)))).unwrap_err();
    assert!(refusal.contains("was not read"), "{refusal}");
}

/// What was decided about a pair holds for no other that ends at the same instant.
#[test]
fn a_decision_is_about_its_pair() {
    let mut followed = Followed::new(catalogue(vec![counter(3_600_000)]));
    let start = at("2026-11-02T00:00:00");
    for hour in 0..24 {
        // It wraps between 10:00 and 12:00, faster than the configured rate has it.
        let value = if hour <= 10 { 994_990 + 500 * hour } else { 500 * (hour - 12) + 5_000 };
        if hour != 11 {
            followed.push(sample(start.plus(hour * HOUR), value));
        }
    }
    followed.count();
    let fall = start.plus(12 * HOUR);
    let decided = enter(&followed, MeterStep::Add(event(EventKind::Rollover, fall))).unwrap();
    followed.count();
    let whole = day(&followed);
    // A reading by hand of 11:00 comes late: nobody has decided about the two pairs that there are now.
    followed.push(sample(start.plus(11 * HOUR), 6_000));
    followed.count();
    let due = to_decide(&followed);
    let rows: Vec<_> = due.pairs.iter().map(|pair| (pair.old.as_str(), pair.new.as_str(), pair.note.is_some())).collect();
    assert_eq!(rows, [("999990", "6000", false), ("6000", "5000", true)]);
    assert!(due.pairs[1].note.as_ref().is_some_and(|note| note.contains(&decided.id) && note.contains("999990 to 5000")));
    followed.check("a reading between");
    // Decided anew, without undoing: the hand had read a digit wrong.
    enter(&followed, MeterStep::Add(event(EventKind::OldWrong, fall))).unwrap();
    assert_eq!(to_decide(&followed), Due::default());
    followed.count();
    assert_eq!(day(&followed), whole.replace("rollover", "rollover decided"));
    followed.check("decided anew");
}

/// Entries of before there were pairs and wrong registers say what they said: nothing is added, whatever fell.
#[test]
fn old_entries_hold() {
    for body in [
        r#"{"step":"add","kind":"error","point":"a/b","at":"2026-11-02T03:00:00Z"}"#,
        r#"{"step":"add","kind":"error","point":"a/b","at":"2026-11-02T03:00:00Z","from":"2026-11-02T02:00:00Z","old_final":"200","new_initial":"50"}"#,
    ] {
        let (mut followed, fall) = fallen();
        assert_eq!(fall, at("2026-11-02T11:00:00"));
        let kind = crate::store::EntryKind::MeterEvent;
        let body = serde_json::from_str(body).unwrap();
        let new = crate::store::NewEntry { kind, subject: "a/b".into(), body, author: "eve".into(), document: None };
        followed.facts.append(new, fall).unwrap();
        followed.count();
        assert_eq!(day(&followed), "230 958333 decided");
        assert_eq!(to_decide(&followed), Due::default());
        let told = serde_json::to_value(&Meters::read(&followed.catalogue, &followed.facts).unwrap().events()[0]).unwrap();
        assert_eq!(told["kind"], "error");
    }
}

#[test]
fn a_list_that_is_cut_says_so() {
    let mut followed = Followed::new(catalogue(vec![counter(60_000)]));
    let (start, falls) = (at("2026-11-02T00:00:00"), i64::try_from(SUSPECTS_MAX).unwrap());
    let push = |followed: &mut Followed, readings: std::ops::Range<i64>| {
        readings.for_each(|minute| followed.push(sample(start.plus(minute * MINUTE), 200_000 + minute % 2)));
        followed.count();
    };
    push(&mut followed, 0..2 * falls + 1);
    let due = to_decide(&followed);
    assert_eq!((due.pairs.len(), due.more), (SUSPECTS_MAX, false));
    push(&mut followed, 2 * falls + 1..2 * falls + 3);
    let due = to_decide(&followed);
    assert_eq!((due.pairs.len(), due.more), (SUSPECTS_MAX, true));
}

/// An exchange was entered of the wrong meter, the next sample was taken for another meter's first, and it was undone: the
/// pair counts again. One that the sample alone tells of does not.
#[test]
fn a_sample_of_an_exchange_that_was_undone() {
    let mut case = Case::hourly("Asia/Shanghai");
    let mut samples = case.samples(&[("2026-11-02T00:00:00", 490), ("2026-11-02T01:00:00", 500), ("2026-11-02T02:00:00", 510)]);
    samples[1].status = Status::new(Quality::Good, Reason::None, Origin::Metered, Step::Exchange);
    let hours = |case: &Case| case.lines(Level::Hour, "2026-11-02", "2026-11-02T02:00:00", &samples);
    assert_eq!(hours(&case), ["11-02T00:00 - 0", "11-02T01:00 10 exchanged 1000000"]);
    case.declared.undone = [case.at("2026-11-02T01:00:01")].into();
    assert_eq!(hours(&case)[0], "11-02T00:00 - 0", "that was later");
    case.declared.undone = [case.at("2026-11-02T00:30:00")].into();
    assert_eq!(hours(&case)[0], "11-02T00:00 10 1000000");
}

/// The first register of another meter is wrong: no pair with the old one is formed across it, wherever hours are cut.
#[test]
fn a_wrong_first_register_of_another_meter() {
    let mut case = Case::hourly("Asia/Shanghai");
    let rows = [("00:00", 490), ("01:00", 500), ("02:30", 900_000), ("04:00", 600), ("05:00", 610)];
    let rows: Vec<(String, i64)> = rows.iter().map(|(time, value)| (format!("2026-11-02T{time}:00"), *value)).collect();
    let mut samples = case.samples(&rows.iter().map(|(time, value)| (time.as_str(), *value)).collect::<Vec<_>>());
    samples[2].status = Status::new(Quality::Good, Reason::None, Origin::Metered, Step::Exchange);
    case.declared.wrong = [(samples[2].record_time, 900_000)].into();
    let amounts = |from: &str, to: &str, samples: &[Sample]| -> Vec<String> {
        case.lines(Level::Hour, from, to, samples).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(amounts("2026-11-02", "2026-11-02T05:00:00", &samples), ["10", "-", "-", "-", "10"]);
    let record = Memory::default();
    samples.iter().for_each(|sample| record.push(*sample));
    for (from, to) in [("01:00", "02:00"), ("03:00", "04:00")] {
        let range = (case.at(&format!("2026-11-02T{from}:00")), case.at(&format!("2026-11-02T{to}:00")));
        let hours = scan::hours(&record, &case.zone, &case.rule, &case.declared, range, range.1).unwrap();
        let total = hours[0].1.total(&case.rule, hours[0].0, true, range.1);
        assert_eq!(amount(&total), "-", "{from}");
    }
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

fn to_decide(followed: &Followed) -> Due {
    let meters = Meters::read(&followed.catalogue, &followed.facts).unwrap();
    let point = &followed.catalogue.points[0];
    decide::of_point(point, &ParkZone::new("Asia/Shanghai"), &followed.told(), &*followed.record, &meters).unwrap()
}

#[test]
fn what_is_entered_is_counted_and_can_be_undone() {
    let (mut followed, fall) = fallen();
    // 10 hours before the fall, 13 after it: 23 of 24 hours, 958333 ppm.
    assert_eq!(day(&followed), "230 958333 suspect");
    let pairs: Vec<ToDecide> = to_decide(&followed).pairs;
    let row: Vec<_> = pairs.iter().map(|pair| (pair.at.0, pair.old.as_str(), pair.new.as_str(), pair.wrapped.as_deref())).collect();
    assert_eq!(row, [(fall.0, "200", "50", Some("999850"))]);

    let decided = enter(&followed, MeterStep::Add(event(EventKind::Rollover, fall))).unwrap();
    assert_eq!((decided.old_final.as_deref(), decided.new_initial.as_deref(), decided.author.as_str()), (Some("200"), Some("50"), "eve"));
    assert_eq!(to_decide(&followed), Due::default());
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
    assert_eq!(to_decide(&followed).pairs.len(), 1);

    // Entered while the gateway is down.
    followed.follower = None;
    let decided = enter(&followed, MeterStep::Add(event(EventKind::Reset, fall))).unwrap();
    followed.restart();
    followed.count();
    assert_eq!(day(&followed), "230 958333 decided");
    assert_eq!(to_decide(&followed), Due::default());
    followed.check("reset");
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
    assert_eq!(to_decide(&followed), Due::default());
    followed.count();
    assert_eq!(day(&followed), "375 1000000 meter_exchanged");
    followed.check("exchange");
    enter(&followed, MeterStep::Undo { event: exchanged.id, note: None }).unwrap();
    followed.count();
    assert_eq!(day(&followed), "230 958333 suspect");
    followed.check("all undone");
}

/// Somebody knew that the register was set back: a modulus that is configured later, by which it could have wrapped, does not
/// make it a wrap, whatever is counted again. Undone, it does.
#[test]
fn a_decision_holds_whatever_is_configured_later() {
    let (mut followed, fall) = fallen();
    let decided = enter(&followed, MeterStep::Add(event(EventKind::Reset, fall))).unwrap();
    followed.count();
    followed.catalogue = catalogue(vec![Point { modulus: Some(Decimal::new(250, 0)), ..counter(3_600_000) }]);
    followed.restart();
    followed.count();
    assert_eq!(day(&followed), "230 958333 decided");
    followed.check("another modulus");
    followed.push(sample(fall.plus(30 * MINUTE), 55));
    followed.count();
    assert_eq!(day(&followed), "230 958333 decided");
    assert_eq!(to_decide(&followed), Due::default());
    // 230 + 250 - 200 + 50.
    enter(&followed, MeterStep::Undo { event: decided.id, note: None }).unwrap();
    followed.count();
    assert_eq!(day(&followed), "330 1000000 rollover");
    followed.check("undone");
}

/// A meter that shows up to 1,000,000 is exchanged at 11:00, at 500,011, for one that shows up to 100,000, which is what is
/// configured; what was before is known, or not.
#[test]
fn registers_of_an_exchange_go_by_the_meters_of_then() {
    for is_known in [true, false] {
        let modulus = |modulus: i64| catalogue(vec![Point { modulus: Some(Decimal::new(modulus, 0)), ..counter(3_600_000) }]);
        let mut followed = Followed::new(modulus(if is_known { 1_000_000 } else { 100_000 }));
        let start = at("2026-11-02T00:00:00");
        (0..=10).for_each(|hour| followed.push(sample(start.plus(hour * HOUR), 500_000 + hour)));
        followed.count();
        followed.catalogue = modulus(100_000);
        followed.restart();
        (12..40).for_each(|hour| followed.push(sample(start.plus(hour * HOUR), hour)));
        followed.count();
        let exchange = |hours: i64, old: &str, new: &str| {
            let (old_final, new_initial) = (Some(old.to_owned()), Some(new.to_owned()));
            MeterStep::Add(NewEvent { old_final, new_initial, ..event(EventKind::Exchange, start.plus(hours * HOUR)) })
        };
        for (hours, old, new) in [(11, "1000000", "0"), (39, "39", "100000"), (41, "39", "100000"), (41, "100000", "0")] {
            let refusal = enter(&followed, exchange(hours, old, new));
            // Beyond the modulus of now a meter of before may have been; the reading shows that one was.
            let is_refused = if is_known { hours != 41 || new != "0" } else { hours != 11 };
            let what = format!("{is_known} {hours} {old} {new}: {refusal:?}");
            match refusal {
                Err(words) => assert!(is_refused && words.contains("not between 0 and the modulus"), "{what}"),
                Ok(entered) => {
                    assert!(!is_refused, "{what}");
                    enter(&followed, MeterStep::Undo { event: entered.id, note: None }).unwrap();
                }
            }
        }
        followed.count();
        enter(&followed, exchange(11, "500011", "0")).unwrap();
        followed.count();
        // 10 and 1, and 24.
        assert_eq!(day(&followed), "35 1000000 meter_exchanged");
        followed.check("exchanged");
    }
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
        ("no suspect pair", MeterStep::Add(event(EventKind::Reset, fall.plus(HOUR)))),
        ("does not say which register is wrong", MeterStep::Add(event(EventKind::Error, fall))),
        ("there is no exchange or decision", MeterStep::Undo { event: "meter-99".into(), note: None }),
    ] {
        let refusal = enter(&followed, step).unwrap_err();
        assert!(refusal.contains(what), "{what}: {refusal}");
    }
    let undo = MeterStep::Undo { event: good.id, note: None };
    enter(&followed, undo.clone()).unwrap();
    assert!(enter(&followed, undo).unwrap_err().contains("is undone already"));
    enter(&followed, MeterStep::Add(event(EventKind::Rollover, fall))).unwrap();
    assert!(enter(&followed, MeterStep::Add(event(EventKind::Reset, fall))).unwrap_err().contains("says rollover of it already"));
    let facts = Arc::clone(&followed.facts);
    assert_eq!(facts.entries(crate::store::EntryKind::MeterEvent, 0).unwrap().len(), 3, "what is refused leaves nothing");
}
