use proptest::prelude::*;

use super::*;
use crate::emission::correction;
use crate::emission::hour::Reason;

/// Minute means, dry, standard state, reference 6 % O2; flow dry and standard.
const SIMPLE: &str = r#"
id = "stack"
enterprise = "food"
kind = "stack"
o2 = { point = "cems/o2", minute_mean = true }
flow = { kind = "standard", point = "cems/flow", minute_mean = true }
factor = [{ id = "so2", source = { kind = "point", point = "cems/so2", minute_mean = true }, reference = { o2 = 6 } }]
"#;

fn simple(so2: Series, o2: Series) -> Readings {
    readings([("cems/so2", so2), ("cems/o2", o2), ("cems/flow", steady(100_000))])
}

/// `present` minutes have a value, then none comes.
fn partly(present: usize) -> Series {
    minutes(0, (0..60).map(|minute| (minute < present).then_some(200)))
}

#[test]
fn forty_five_minutes_make_an_hour_and_forty_four_do_not() {
    let outlet = outlet(SIMPLE);
    for (present, class, valid) in
        [(60, HourClass::Valid, true), (45, HourClass::Valid, true), (44, HourClass::Missing, false), (0, HourClass::Missing, false)]
    {
        let figure = first_hour(&outlet, &simple(partly(present), steady(60)), &[]);
        assert_eq!(counted(figure.class, figure.minutes.valid), counted(class, u32::try_from(present).unwrap()));
        assert_eq!(figure.concentration.valid, valid);
        // Divided by the number of valid minutes: 20, not 20 x 45/60.
        assert_eq!(shown(figure.concentration.value.as_ref(), 3), if present == 0 { "none" } else { "20.000" });
        assert_eq!(figure.mass_kg.is_some(), valid);
    }
}

#[test]
fn raw_readings_need_three_quarters_of_what_is_due() {
    let outlet = outlet(&SIMPLE.replace("point = \"cems/so2\", minute_mean = true", "point = \"cems/so2\", interval_ms = 2000"));
    // 30 are due in a minute; 75 % are 22.5: 23 make it valid, 22 do not.
    let polled = |in_last: i64| {
        let all = (0..60).flat_map(|minute| {
            let count = if minute < 44 {
                30
            } else if minute == 44 {
                in_last
            } else {
                0
            };
            (0..count).map(move |index| Reading::good(at(minute).plus(index * 2000), 100 + (index % 2) * 20))
        });
        Series::of(1, all.collect())
    };
    let enough = first_hour(&outlet, &simple(polled(23), steady(60)), &[]);
    assert_eq!(counted(enough.class, enough.minutes.valid), counted(HourClass::Valid, 45));
    // 44 minutes with a mean of 11; 23 readings: 12 x 10 and 11 x 12 = 252 / 23. (44 x 11 + 252/23) / 45 = 10.9990...
    assert_eq!(
        enough.concentration.value,
        Some(((n("484") + Number::fraction(252, 23).unwrap()) * Number::fraction(1, 45).unwrap()).kept())
    );
    let short = first_hour(&outlet, &simple(polled(22), steady(60)), &[]);
    assert_eq!(counted(short.class, short.minutes.valid), counted(HourClass::Missing, 44));
    assert_eq!(short.reasons.get(&Reason::TooFewReadings), Some(&1));
    assert_eq!(short.minutes.missing, 15);
}

/// Every 5 s: 12 are due, 9 are 75 % exactly. Every 7 s: 8 fit (60 / 7 = 8.6), 6 are enough. Once in 5 min: 1 is due.
#[test]
fn exactly_three_quarters_are_enough() {
    for (interval, enough) in [(5000, 9), (7000, 6), (300_000, 1)] {
        let outlet =
            outlet(&SIMPLE.replace("point = \"cems/so2\", minute_mean = true", &format!("point = \"cems/so2\", interval_ms = {interval}")));
        for (count, valid) in [(enough, 60), (enough - 1, 0)] {
            let all = (0..60).flat_map(|minute| (0..count).map(move |index| Reading::good(at(minute).plus(index * 5000), 100)));
            let figure = first_hour(&outlet, &simple(Series::of(1, all.collect()), steady(60)), &[]);
            assert_eq!(figure.minutes.valid, valid, "{count} at {interval} ms");
        }
    }
}

#[test]
fn the_mean_of_conversions_is_judged_beside_the_conversion_of_the_means() {
    // 30 minutes at 6 % O2: 10 x 15/15 = 10. 30 minutes at 16 %: 10 x 15/5 = 30. Mean 20. Mean O2 11: 10 x 15/10 = 15.
    let o2 = minutes(0, (0..60).map(|minute| Some(if minute < 30 { 60 } else { 160 })));
    let figure = first_hour(&outlet(SIMPLE), &simple(steady(100), o2), &[]);
    assert_eq!(figure.judged().value, Some(n("20")));
    assert_eq!(figure.converted_of_means, Some(n("15")));
    assert_eq!(figure.concentration.value, Some(n("10")));
    assert_eq!(figure.auxiliary["o2"].value, Some(n("11")));
    // Mass by 10, not by 20: 10 x 10 000 / 1e6.
    assert_eq!(figure.mass_kg, Some(n("0.1")));
    assert_eq!(figure.volume_m3, Some(n("10000")));
}

#[test]
fn o2_near_air_takes_the_converted_value_and_leaves_the_mass() {
    // 15 minutes at 21 %: 45 can be converted. 16 minutes: 44, the hour is invalid; the concentration and the mass stay.
    for (near_air, class) in [(15, HourClass::Valid), (16, HourClass::Invalid), (60, HourClass::Invalid)] {
        let o2 = minutes(0, (0..60).map(|minute| Some(if minute < near_air { 210 } else { 60 })));
        let figure = first_hour(&outlet(SIMPLE), &simple(steady(100), o2), &[]);
        assert_eq!(figure.class, class, "{near_air}");
        assert_eq!(figure.reasons.get(&Reason::O2NearAir), Some(&u32::try_from(near_air).unwrap()));
        assert_eq!(shown(figure.judged().value.as_ref(), 1), if near_air == 60 { "none" } else { "10.0" });
        assert_eq!((figure.concentration.minutes, figure.mass_kg), (60, Some(n("0.1"))));
    }
}

#[test]
fn without_o2_there_is_no_converted_value() {
    let figure = first_hour(&outlet(SIMPLE), &simple(steady(100), Series::default()), &[]);
    assert_eq!(counted(figure.class, figure.minutes.failed), counted(HourClass::Invalid, 60));
    assert_eq!(figure.reasons.get(&Reason::NoO2), Some(&60));
    assert_eq!(figure.mass_kg, Some(n("0.1")));
}

#[test]
fn a_marked_minute_is_not_valid_and_keeps_its_value() {
    let outlet = outlet(SIMPLE);
    let data = simple(steady(100), steady(60));
    // 15 minutes of calibration leave 45; a millisecond more touches the 16th minute.
    let mut calibration = mark(Letter::C, None, 10, 25);
    let figure = first_hour(&outlet, &data, &[calibration.clone()]);
    assert_eq!(counted(figure.class, figure.minutes.marked), counted(HourClass::Valid, 15));
    calibration.to = Some(at(25).plus(1));
    let figure = first_hour(&outlet, &data, &[calibration]);
    assert_eq!(counted(figure.class, figure.minutes.marked), counted(HourClass::Invalid, 16));
    assert_eq!(figure.minutes.by_letter.get(&Letter::C), Some(&16));
    // More than half an hour: 29 valid minutes, whose mean is shown and not valid; without marks it would be the same 10.
    let figure = first_hour(&outlet, &data, &[mark(Letter::M, Some("so2"), 0, 31)]);
    assert_eq!(counted(figure.class, figure.minutes.valid), counted(HourClass::Invalid, 29));
    assert_eq!(figure.mass_kg, None);
    assert_eq!(figure.regardless.minutes, 60);
    assert_eq!((figure.regardless.raw, figure.regardless.converted), (Some(n("10")), Some(n("10"))));
    // Marks of another outlet or factor, and N, say nothing.
    let mut elsewhere = mark(Letter::D, None, 0, 60);
    elsewhere.outlet = "other".into();
    let marks = [elsewhere, mark(Letter::D, Some("nox"), 0, 60), mark(Letter::N, None, 0, 60)];
    assert_eq!(first_hour(&outlet, &data, &marks).minutes.valid, 60);
    // A mark on O2 takes what needs O2.
    let figure = first_hour(&outlet, &data, &[mark(Letter::C, Some("o2"), 0, 16)]);
    assert_eq!((figure.class, figure.minutes.marked, figure.reasons.get(&Reason::NoO2)), (HourClass::Invalid, 0, Some(&16)));
    assert_eq!(figure.regardless.converted, Some(n("10")));
    // One on the flow takes the mass, not the hour.
    let figure = first_hour(&outlet, &data, &[mark(Letter::C, Some("flow"), 0, 16)]);
    assert_eq!((figure.class, figure.mass_kg, figure.flow.minutes), (HourClass::Valid, None, 44));
    // Without marks it would be 10 x 10 000 / 1e6; also where the flow is marked all hour.
    assert_eq!((figure.mass_rate_kg_h, figure.regardless.mass_rate_kg_h), (None, Some(n("0.1"))));
    let figure = first_hour(&outlet, &data, &[mark(Letter::C, Some("flow"), 0, 60)]);
    assert_eq!((figure.flow.value, figure.regardless.mass_rate_kg_h), (None, Some(n("0.1"))));
}

#[test]
fn a_mark_without_an_end_holds_until_it_is_ended() {
    let mut fault = mark(Letter::D, None, 50, 60);
    fault.to = None;
    let figure = first_hour(&outlet(SIMPLE), &simple(steady(100), steady(60)), &[fault]);
    assert_eq!(figure.minutes.by_letter.get(&Letter::D), Some(&10));
}

#[test]
fn several_letters_count_once_in_their_order() {
    let marks = [mark(Letter::C, None, 0, 20), mark(Letter::D, None, 10, 30), mark(Letter::F, None, 25, 30)];
    let figure = first_hour(&outlet(SIMPLE), &simple(steady(100), steady(60)), &marks);
    let letters: Vec<_> = figure.minutes.by_letter.iter().map(|(letter, minutes)| (letter.name(), *minutes)).collect();
    assert_eq!(letters, [("F", 5), ("D", 15), ("C", 10)]);
}

#[test]
fn letters_that_come_with_values_and_state_points_mark_them_too() {
    let outlet = outlet(
        &(SIMPLE.to_owned()
            + r#"
running = { point = "cems/running", from = 1 }
status = [{ point = "cems/state", factor = "so2", hold_seconds = 120, states = [{ value = 2, letter = "C" }, { value = 3, letter = "D" }] }]
"#),
    );
    let mut so2 = steady(100);
    so2.readings[0].mark = Some(Letter::T);
    so2.readings[1].mark = Some(Letter::N);
    so2.readings[2].good = false;
    let mut data = simple(so2, steady(60));
    // State 2 at minute 10 and 0 at minute 12; state 3 at minute 20, held for 2 minutes, nothing after.
    let states = [(10, 2), (12, 0), (20, 3)];
    data.insert("cems/state".into(), Series::of(0, states.map(|(minute, value)| Reading::good(at(minute), value)).to_vec()));
    // It stands still from minute 30 to 33.
    let running = (0..60).map(|minute| Reading::good(at(minute), i64::from(!(30..33).contains(&minute))));
    data.insert("cems/running".into(), Series::of(0, running.collect()));
    let figure = first_hour(&outlet, &data, &[]);
    let letters: Vec<_> = figure.minutes.by_letter.iter().map(|(letter, minutes)| (letter.name(), *minutes)).collect();
    assert_eq!(letters, [("F", 3), ("D", 2), ("C", 2), ("T", 1)]);
    assert_eq!(figure.minutes.failed, 1, "a bad value");
    assert_eq!(figure.minutes.valid, 60 - 3 - 2 - 2 - 1 - 1);
    // 59 are good values.
    assert_eq!(figure.regardless.minutes, 59);
}

#[test]
fn an_hour_is_stopped_when_the_stop_alone_makes_it_impossible() {
    let outlet = outlet(SIMPLE);
    let data = simple(steady(100), steady(60));
    let case = |marks: &[Mark], data: &Readings| first_hour(&outlet, data, marks);
    // 15 minutes of standing leave 45: valid. 16: stopped, and the 44 minutes it ran gave 0.1 kg/h x 44/60.
    assert_eq!(case(&[mark(Letter::F, None, 0, 15)], &data).class, HourClass::Valid);
    let stopped = case(&[mark(Letter::F, None, 0, 16)], &data);
    assert_eq!((stopped.class, stopped.minutes.stopped, stopped.mass_kg), (HourClass::Stopped, 16, None));
    assert_eq!(stopped.partial_mass_kg, Some((n("0.1") * Number::fraction(44, 60).unwrap()).kept()));
    assert_eq!(case(&[mark(Letter::F, None, 0, 60)], &data).partial_mass_kg, None);
    // 15 minutes of standing and 1 of calibration: not the stop alone.
    assert_eq!(case(&[mark(Letter::F, None, 0, 15), mark(Letter::C, None, 15, 16)], &data).class, HourClass::Invalid);
    // Missing 10, faulty 10: a tie is invalid; missing 11: missing.
    let gap = |missing: i64| minutes(0, (0..60).map(|minute| (minute >= missing).then_some(100)));
    assert_eq!(case(&[mark(Letter::D, None, 30, 40)], &simple(gap(10), steady(60))).class, HourClass::Invalid);
    assert_eq!(case(&[mark(Letter::D, None, 30, 40)], &simple(gap(11), steady(60))).class, HourClass::Missing);
}

/// The worked check of a stack, minute by minute: wet gas at the state of the duct.
#[test]
fn a_wet_hot_stack_becomes_dry_and_standard() {
    let text = r#"
id = "stack"
enterprise = "food"
kind = "stack"
o2 = { point = "cems/o2", minute_mean = true }
temperature = { point = "cems/t", minute_mean = true }
pressure = { point = "cems/p", minute_mean = true }
barometric_pressure = { value = 95000 }
humidity = { value = "8" }
flow = { kind = "velocity", point = "cems/v", minute_mean = true, area_m2 = 3 }
factor = [
  { id = "so2", source = { kind = "point", point = "cems/so2", minute_mean = true }, reference = { o2 = 6 } },
  { id = "dust", source = { kind = "point", point = "cems/dust", minute_mean = true }, state = "actual" },
  { id = "co", source = { kind = "point", point = "cems/dust", minute_mean = true }, state = "actual", basis = "wet" },
  { id = "nox", source = { kind = "no_and_no2", no = { point = "cems/no", minute_mean = true }, no2 = { point = "cems/no2", minute_mean = true } }, unit = "ppm", state = "actual" },
  { id = "hcl", source = { kind = "point", point = "cems/so2", minute_mean = true }, reference = { alpha = "1.4" } },
]
"#;
    let outlet = outlet(text);
    let data = readings([
        ("cems/o2", steady(92)),
        ("cems/t", steady(1300)),
        ("cems/p", steady(-2000)),
        ("cems/v", steady(100)),
        ("cems/so2", steady(286)),
        ("cems/dust", steady(200)),
        ("cems/no", steady(200)),
        ("cems/no2", steady(20)),
    ]);
    let figures = hour::figures(&outlet, &hour_of(0), &data, &[]);
    let [so2, dust, co, nox, hcl] = figures.as_slice() else { panic!("five factors") };
    assert_eq!(shown(so2.flow.value.as_ref(), 2), "62973.95");
    assert_eq!(shown(so2.judged().value.as_ref(), 3), "36.356");
    assert_eq!(shown(so2.mass_kg.as_ref(), 4), "1.8011");
    // 20 x 101325/94800 x 403/273 = 31.556; wet: / 0.92 = 34.300.
    assert_eq!(shown(dust.judged().value.as_ref(), 3), "31.556");
    assert_eq!(dust.converted, None);
    assert_eq!(shown(co.judged().value.as_ref(), 3), "34.300");
    // ppm has no state: (20 + 2) x 46 / 22.4.
    assert_eq!(shown(nox.judged().value.as_ref(), 3), "45.179");
    assert_eq!(shown(hcl.judged().value.as_ref(), 3), "36.356");
    assert_eq!(so2.auxiliary.keys().collect::<Vec<_>>(), ["humidity", "o2", "pressure", "temperature"]);
    // Without temperature nothing of it is known but the O2 conversion.
    let mut cold = data.clone();
    cold.remove("cems/t");
    let figures = hour::figures(&outlet, &hour_of(0), &cold, &[]);
    assert_eq!((figures[0].class, figures[0].mass_kg.clone()), (HourClass::Valid, None));
    assert_eq!((figures[1].class, figures[1].reasons.get(&Reason::NoTemperature)), (HourClass::Invalid, Some(&60)));
    // One of NO and NO2 alone is no NOx.
    let mut half = data;
    half.remove("cems/no2");
    assert_eq!(hour::figures(&outlet, &hour_of(0), &half, &[])[3].class, HourClass::Invalid);
}

#[test]
fn o2_of_wet_gas_is_made_dry_first() {
    let wet = SIMPLE.replace("point = \"cems/o2\"", "point = \"cems/o2\", basis = \"wet\"") + "humidity = { value = 20 }\n";
    // 4.8 % of wet gas are 6 % of dry gas: no change. 10 x 15/15 = 10.
    let figure = first_hour(&outlet(&wet), &simple(steady(100), steady(48)), &[]);
    assert_eq!(figure.judged().value, Some(n("10")));
}

#[test]
fn problems_name_the_place() {
    let wrong = |from: &str, to: &str| {
        let text = SIMPLE.replace(from, to);
        assert_ne!(text, SIMPLE);
        toml::from_str::<Outlet>(&text).unwrap().problems()
    };
    assert_eq!(
        wrong("reference = { o2 = 6 }", "reference = { o2 = 21 }"),
        ["outlet `stack`: factor `so2`: reference O2 is from 0 to below 21 %"]
    );
    assert_eq!(wrong("reference = { o2 = 6 }", "unit = \"ppm\"").len(), 1);
    assert_eq!(wrong("reference = { o2 = 6 }", "basis = \"wet\", state = \"actual\"").len(), 2);
    assert_eq!(wrong("kind = \"standard\"", "kind = \"actual\"").len(), 1);
    assert_eq!(wrong("kind = \"standard\", point = \"cems/flow\", minute_mean = true", "kind = \"water\", point = \"cems/flow\"").len(), 1);
    assert!(toml::from_str::<Outlet>(&SIMPLE.replace("reference =", "refernce =")).is_err(), "an unknown key");
}

#[test]
fn a_late_value_corrects_the_hour() {
    let outlet = outlet(SIMPLE);
    let before = first_hour(&outlet, &simple(partly(44), steady(60)), &[]);
    let after = first_hour(&outlet, &simple(partly(45), steady(60)), &[]);
    let changes: Vec<_> = correction::changes(&before, &after)
        .into_iter()
        .map(|change| (change.figure, change.old.unwrap_or_default(), change.new.unwrap_or_default()))
        .collect();
    let expected = [("class", "missing", "valid"), ("valid_minutes", "44", "45"), ("mass_kg", "", "0.2")];
    assert_eq!(changes, expected.map(|(figure, old, new)| (figure.to_owned(), old.to_owned(), new.to_owned())));
    assert!(correction::changes(&after, &after).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_order_of_readings_and_marks_does_not_matter(
        values in proptest::collection::vec((0_i64..3600, 0_i64..5000), 0..400),
        spans in proptest::collection::vec((0_i64..60, 1_i64..30, 0_usize..8), 0..5),
    ) {
        let outlet = outlet(&SIMPLE.replace("point = \"cems/so2\", minute_mean = true", "point = \"cems/so2\", interval_ms = 20000"));
        let unique: std::collections::BTreeMap<i64, i64> = values.into_iter().collect();
        let read: Vec<Reading> = unique.into_iter().map(|(second, value)| Reading::good(at(0).plus(second * 1000), value)).collect();
        let mut marks: Vec<Mark> = spans.iter().map(|(from, length, letter)| mark(Letter::ALL[*letter], None, *from, from + length)).collect();
        let o2 = minutes(0, (0..60).map(|minute| Some(50 + 3 * minute)));
        let forward = first_hour(&outlet, &simple(Series::of(1, read.clone()), o2.clone()), &marks);
        marks.reverse();
        let backward = first_hour(&outlet, &simple(Series::of(1, read.into_iter().rev().collect()), o2), &marks);
        prop_assert_eq!(forward, backward);
    }
}
