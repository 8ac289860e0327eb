//! What the follower stores, enters, and never enters twice.

use super::*;

/// 20 mg/m3 in the first hour, 28.6 in the second, 20 on: at O2 9.2 % and 6 % reference 25.42 and 36.36.
fn three_hours(case: &mut Case) {
    case.minutes(hour(0), 60, 20_000);
    case.minutes(hour(1), 60, 28_600);
    case.minutes(hour(2), 71, 20_000);
}

#[test]
fn hours_close_after_their_grace_and_are_judged() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    case.minutes(hour(0), 60, 20_000);
    case.minutes(hour(1), 60, 28_600);
    case.minutes(hour(2), 10, 20_000);
    case.count();
    assert_eq!(case.figures().0.len(), 1, "the second hour's grace ends at 02:10");
    assert_eq!(case.told(), []);
    case.minutes(hour(2).plus(10 * MINUTE), 1, 20_000);
    case.count();
    assert_eq!(case.figures().0.len(), 2);
    let figure = case.hour(hour(1));
    // 28.6 x (21 - 6) / (21 - 9.2) = 36.3559...; 28.6 x 62 974 x 1e-6 = 1.801056 kg.
    assert_eq!(figure.class, HourClass::Valid);
    assert_eq!(figure.judged().value.as_ref().unwrap().text(4), "36.3559");
    assert_eq!(figure.mass_kg.as_ref().unwrap().text(6), "1.801056");
    assert_eq!(case.told(), [(Raised, 1, 1)]);
    let event = case.events().remove(0);
    assert_eq!((event.kind, event.unit.as_str(), event.clause.as_deref()), (EventKind::Exceedance, "mg/m3", Some("permit 1, table 2")));
    assert_eq!(event.value.unwrap().text(4), "36.3559");
    // Nothing further happens without anything new.
    case.count();
    case.start();
    case.count();
    assert_eq!(case.told(), [(Raised, 1, 1)]);
    assert_eq!(case.corrections(), []);
}

#[test]
fn the_open_hour_is_shown_and_not_judged() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    case.minutes(hour(0), 50, 90_000);
    case.count();
    let open = case.view().hours("stack", "so2", hour(0), hour(1)).unwrap().remove(0);
    assert!(!open.closed);
    assert_eq!(open.figure.concentration.value.as_ref().unwrap().text(3), "90");
    assert!(matches!(open.judgements[0].verdict, parkgate_rules::emission::Verdict::NotCounted(_)), "{:?}", open.judgements);
    assert_eq!(case.told(), []);
}

#[test]
fn without_a_limit_nothing_is_judged_and_a_later_one_judges_backwards() {
    let mut case = Case::new();
    three_hours(&mut case);
    case.count();
    let judged = |case: &Case| {
        let hours = case.view().hours("stack", "so2", hour(0), hour(2)).unwrap();
        hours.iter().map(|hour| serde_json::to_value(hour.judgements[0].verdict).unwrap()["verdict"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(judged(&case), ["not_judged", "not_judged"]);
    assert_eq!(case.told(), []);
    let id = case.limit(Averaging::Hour, "30");
    case.count();
    assert_eq!(judged(&case), ["complies", "exceeds"]);
    assert_eq!(case.told(), [(Raised, 1, 1)]);
    // It was in force for the first hour only: the second was not judged by it.
    case.limit_step(LimitStep::End { limit: id, valid_to: Time(hour(1).0) }).unwrap();
    case.count();
    assert_eq!(judged(&case), ["complies", "not_judged"]);
    assert_eq!(case.told(), [(Raised, 1, 1), (Withdrawn, 2, 1)]);
}

#[test]
fn a_day_is_judged_by_its_mass_rate_only_when_enough_of_its_flow_came() {
    let mut case = Case::new();
    case.limit_on(AppliesTo::MassRate, Averaging::Day, "10");
    case.limit_on(AppliesTo::MassRate, Averaging::Day, "1.25");
    // Concentrations all day, the flow in the first hour only: 20 x 62 974 x 1e-6 = 1.25948 kg/h.
    case.minutes(hour(0), 60, 20_000);
    for minute in 60..24 * 60 + 11 {
        case.push("cems/so2_concentration", hour(0).plus(minute * MINUTE), 20_000);
        case.push("cems/o2_content", hour(0).plus(minute * MINUTE), 9_200);
    }
    case.count();
    let judged = |case: &Case| {
        let day = case.view().periods("stack", "so2", Averaging::Day, hour(0), hour(24)).unwrap().remove(0);
        let verdict = |verdict| serde_json::to_value(verdict).unwrap();
        day.judgements
            .iter()
            .map(|one| (verdict(one.verdict)["verdict"].clone(), one.above_uncounted.as_ref().map(|rate| rate.text(5))))
            .collect::<Vec<_>>()
    };
    assert_eq!(judged(&case), [("not_counted".into(), None), ("not_counted".into(), Some("1.25948".to_owned()))]);
    assert_eq!(case.told(), []);
    // The flow of 19 hours more comes late: 20 are enough.
    for minute in 60..20 * 60 {
        case.push("cems/flue_gas_flow", hour(0).plus(minute * MINUTE), 629_740);
    }
    case.count();
    assert_eq!(judged(&case), [("complies".into(), None), ("exceeds".into(), None)]);
    assert_eq!(case.told(), [(Raised, 1, 0)]);
}

#[test]
fn late_values_change_hour_day_and_event() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    case.limit(Averaging::Day, "25.5");
    // A day of 20 mg/m3 with one hour of 28.6: converted (23 x 25.4237... + 36.3559...) / 24 = 25.8792...
    case.minutes(hour(0), 60, 28_600);
    case.minutes(hour(1), 23 * 60 + 11, 20_000);
    case.count();
    let day = |case: &Case| {
        let mut days = case.view().periods("stack", "so2", Averaging::Day, hour(0), hour(24)).unwrap();
        days.remove(0)
    };
    assert_eq!(day(&case).figure.judged().unwrap().text(4), "25.8792");
    assert_eq!(case.told(), [(Raised, 1, 0), (Raised, 1, 0)]);
    assert_eq!(case.corrections(), []);
    // Half of the hour comes again, lower: (30 x 28.6 + 30 x 10) / 60 = 19.3 mg/m3, converted 24.5339; the day 25.3867.
    for minute in 0..30 {
        case.push("cems/so2_concentration", hour(0).plus(minute * MINUTE), 10_000);
    }
    case.count();
    assert_eq!(case.hour(hour(0)).judged().value.as_ref().unwrap().text(4), "24.5339");
    assert_eq!(day(&case).figure.judged().unwrap().text(4), "25.3867");
    assert_eq!((day(&case).version, day(&case).closed), (2, true));
    assert_eq!(case.told()[2..], [(Withdrawn, 2, 0), (Withdrawn, 2, 0)]);
    let corrections = case.corrections();
    let about: Vec<_> = corrections.iter().map(|one| (one.averaging.unwrap(), one.causes.join(" "))).collect();
    assert_eq!(about, [(Averaging::Hour, "late_data".to_owned()), (Averaging::Day, "late_data".to_owned())]);
    let converted = corrections[0].changes.iter().find(|change| change.figure == "converted").unwrap();
    assert!(converted.old.as_ref().unwrap().starts_with("36.3559") && converted.new.as_ref().unwrap().starts_with("24.5338"));
    // And up again: it is raised under the identity it had.
    for minute in 0..30 {
        case.push("cems/so2_concentration", hour(0).plus(minute * MINUTE), 40_000);
    }
    case.count();
    assert_eq!(case.told()[4..], [(Raised, 3, 0), (Raised, 3, 0)]);
    let ids: std::collections::BTreeSet<String> = case.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_mark_takes_an_event_away_and_gives_it_back() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    three_hours(&mut case);
    case.count();
    // 16 of 60 minutes are marked: 44 valid ones are too few.
    let id = case.mark(Letter::C, hour(1).plus(10 * MINUTE), Some(hour(1).plus(26 * MINUTE)));
    case.count();
    let figure = case.hour(hour(1));
    assert_eq!((figure.class, figure.minutes.valid, figure.minutes.by_letter.get(&Letter::C)), (HourClass::Invalid, 44, Some(&16)));
    assert_eq!(figure.regardless.converted.as_ref().unwrap().text(4), "36.3559", "the value is not erased");
    assert_eq!(case.told(), [(Raised, 1, 1), (Withdrawn, 2, 1)]);
    assert_eq!(case.corrections()[0].causes, std::slice::from_ref(&id));
    // One minute less, and it counts again.
    case.mark_step(&MarkStep::End { mark: id.clone(), to: Time(hour(1).plus(25 * MINUTE).0) }).unwrap();
    case.count();
    assert_eq!(case.hour(hour(1)).minutes.valid, 45);
    assert_eq!(case.told()[2..], [(Raised, 3, 1)]);
    case.mark_step(&MarkStep::Withdraw { mark: id.clone() }).unwrap();
    case.count();
    assert_eq!(case.hour(hour(1)).minutes.valid, 60);
    assert_eq!(case.told().len(), 3, "the figure is the same: all minutes are");
    assert!(case.mark_step(&MarkStep::Withdraw { mark: id }).unwrap_err().contains("is withdrawn"));
}

#[test]
fn an_hour_without_values_is_missing_and_never_complies() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    case.minutes(hour(0), 60, 20_000);
    // An hour and a half nothing, then on.
    case.minutes(hour(2).plus(30 * MINUTE), 50, 20_000);
    case.count();
    let classes: Vec<_> = case.figures().0.iter().map(|figure| figure.class).collect();
    assert_eq!(classes, [HourClass::Valid, HourClass::Missing, HourClass::Missing]);
    assert_eq!(case.told(), []);
}

#[test]
fn a_kill_between_two_steps_enters_nothing_twice() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    three_hours(&mut case);
    case.count();
    let file = case.folder.path().join("emission.db");
    for minute in 0..30 {
        case.push("cems/so2_concentration", hour(1).plus(minute * MINUTE), 10_000);
    }
    case.mark(Letter::D, hour(0), Some(hour(1)));
    // As it is while the count has entered what it found and not stored its figures.
    let copy = case.folder.path().join("before.db");
    rusqlite::Connection::open(&file).unwrap().execute("VACUUM INTO ?1", [copy.to_string_lossy()]).unwrap();
    let noted = case.noted.clone();
    case.count();
    let (told, corrections, figures) = (case.told(), case.corrections(), case.figures());
    assert_eq!(told, [(Raised, 1, 1), (Withdrawn, 2, 1)]);
    assert_eq!(corrections.len(), 2);
    case.follower = None;
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(case.folder.path().join(format!("emission.db{end}")));
    }
    std::fs::copy(&copy, &file).unwrap();
    case.noted = noted;
    case.start();
    case.count();
    assert_eq!((case.told(), case.corrections(), case.figures()), (told, corrections, figures));
}

#[test]
fn what_is_made_again_from_nothing_is_the_same() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    case.limit(Averaging::Day, "25");
    case.minutes(hour(-30), 60, 33_000);
    case.minutes(hour(0), 25 * 60, 20_000);
    case.count();
    case.mark(Letter::C, hour(3), Some(hour(5)));
    case.minutes(hour(7), 30, 55_000);
    case.minutes(hour(-40), 20, 31_000);
    case.count();
    let (told, corrections, figures) = (case.told(), case.corrections(), case.figures());
    assert!(figures.0.len() == 64 && figures.1.len() >= 2, "{} {}", figures.0.len(), figures.1.len());
    case.follower = None;
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(case.folder.path().join(format!("emission.db{end}")));
    }
    case.start();
    case.count();
    assert_eq!((case.told(), case.corrections(), case.figures()), (told, corrections, figures));
}

#[test]
fn other_parameters_count_all_again_and_say_so_once() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    three_hours(&mut case);
    case.count();
    let text = format!("{PARK}{OUTLET}").replace("o2 = 6 }", "o2 = 11 }");
    case.settings = load(&text).unwrap().0;
    // Hours that close for the first time are no recount; those counted again are, though no entry says which.
    assert_eq!(case.view().recounts().unwrap(), 0);
    case.start();
    case.count();
    let recounts = case.view().recounts().unwrap();
    assert!(recounts > 0);
    // 28.6 x (21 - 11) / 11.8 = 24.2373 complies.
    assert_eq!(case.hour(hour(1)).judged().value.as_ref().unwrap().text(4), "24.2373");
    assert_eq!(case.told(), [(Raised, 1, 1), (Withdrawn, 2, 1)]);
    let causes: Vec<_> = case.corrections().iter().map(|one| (one.factor.clone(), one.causes.join(" "))).collect();
    assert_eq!(causes, [(None, "parameters".to_owned())]);
    case.start();
    case.count();
    assert_eq!(case.corrections().len(), 1);
    assert_eq!(case.view().recounts().unwrap(), recounts, "nothing changed");
}

/// An outlet and a pair are configured no more, then again as they were: what came late meanwhile is counted, as late.
#[test]
fn what_comes_while_nothing_is_configured_counts_afterwards() {
    let mut case = Case::new();
    case.limit(Averaging::Hour, "30");
    three_hours(&mut case);
    case.power(hour(0), 120, 420, 85);
    case.count();
    let configured = case.settings.clone();
    case.settings = load(PARK).unwrap().0;
    case.start();
    // From before all that there was, too.
    case.minutes(hour(-1), 60, 20_000);
    case.minutes(hour(0), 60, 28_600);
    case.power(hour(0).plus(10 * MINUTE), 30, 420, 6);
    case.count();
    case.start();
    case.count();
    assert_eq!(case.told(), [(Raised, 1, 1)]);
    case.settings = configured;
    case.start();
    case.count();
    assert_eq!(case.hour(hour(0)).judged().value.as_ref().unwrap().text(4), "36.3559");
    assert_eq!(case.figures().0.len(), 4, "hours from -1 to 2 are closed");
    let told: Vec<_> = case.events().into_iter().map(|event| (event.subject, event.state, (event.from.0 - MONDAY.0) / MINUTE)).collect();
    assert_eq!(told, [("stack".into(), Raised, 60), ("stack".into(), Raised, 0), ("line-1".to_owned(), Raised, 10)]);
    let causes: Vec<_> = case.corrections().iter().map(|one| (one.from, one.causes.join(" "))).collect();
    assert_eq!(causes, [(Time(hour(0).0), "late_data".to_owned())]);
    case.start();
    case.count();
    assert_eq!((case.told().len(), case.corrections().len()), (3, 1));
}

#[test]
fn abatement_that_idles_is_told_while_it_lasts_and_when_it_is_over() {
    let mut case = Case::new();
    case.power(hour(0), 60, 420, 85);
    // Minute by minute, as it comes.
    for minute in 0..30 {
        case.power(hour(1).plus(minute * MINUTE), 1, 420, if minute < 20 { 6 } else { 85 });
        case.count();
    }
    let events = case.events();
    assert_eq!(case.told(), [(Raised, 1, 1), (Amended, 2, 1)]);
    assert!(events.iter().all(|event| event.kind == EventKind::AbatementIdle && event.subject == "line-1"));
    assert_eq!((events[0].from, events[0].to), (Time(hour(1).0), None));
    assert_eq!(events[1].to, Some(Time(hour(1).plus(20 * MINUTE).0)));
    assert!(matches!(&events[1].evidence, parkgate_rules::emission::event::Evidence::Power { production, abatement, .. }
        if production.len() >= 20 && abatement.len() >= 20));
    // Started anew, looked at from the beginning: the same.
    case.start();
    case.count();
    case.follower = None;
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(case.folder.path().join(format!("emission.db{end}")));
    }
    case.start();
    case.count();
    assert_eq!(case.told().len(), 2);
    // It ran after all, as came to light later: nothing is left of the event.
    case.power(hour(1), 20, 420, 85);
    case.count();
    assert_eq!(case.told()[2..], [(Withdrawn, 3, 1)]);
}

/// A boot with the clock in 1970 makes no hours of more than fifty years due, and none closes meanwhile.
#[test]
fn what_is_stamped_in_1970_belongs_to_no_hour() {
    for is_first in [false, true] {
        let mut case = Case::new();
        if !is_first {
            three_hours(&mut case);
            case.count();
        }
        let before = case.figures().0.len();
        for minute in 0..10 {
            for name in ["cems/so2_concentration", "cems/o2_content", "cems/flue_gas_flow", "plant/line"] {
                let time = UtcMillis(minute * MINUTE);
                let status = Status::new(Quality::Bad, Reason::Clock, Origin::Metered, Step::None);
                let (point, value) = (case.point(name), 20_000);
                let sample = Sample { point, status, value, source_time: None, received_time: time, record_time: time };
                case.record.0.lock().unwrap().insert((sample.point, sample.key_time()), sample);
                case.follower.as_mut().unwrap().note(&sample);
            }
        }
        case.count();
        assert_eq!(case.figures().0.len(), before);
        // A start finds it in the record.
        case.start();
        case.count();
        assert_eq!(case.figures().0.len(), before);
        case.minutes(hour(3), 60, 20_000);
        case.minutes(hour(4), 71, 20_000);
        case.count();
        assert_eq!(case.figures().0.len(), before + 2);
    }
}
