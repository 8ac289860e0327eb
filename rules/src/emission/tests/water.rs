use super::*;
use crate::emission::hour::Reason;
use crate::emission::sample::Reading;

const OUTLET: &str = r#"
id = "stack"
enterprise = "dyeing"
kind = "waste_water"
flow = { kind = "water", point = "meter/flow", hold_seconds = 90 }
factor = [{ id = "cod", source = { kind = "point", point = "meter/cod" }, unit = "mg/L", hold_minutes = 60 }]
"#;

/// Readings at these minutes, in whole units.
fn held(values: &[(i64, i64)]) -> Series {
    Series::of(0, values.iter().map(|(minute, value)| Reading::good(at(*minute), *value)).collect())
}

/// A flow in m3/h, read every minute.
fn flow(of: impl Fn(i64) -> i64) -> Series {
    held(&(-5..65).map(|minute| (minute, of(minute))).collect::<Vec<_>>())
}

fn data(cod: Series, flow: Series) -> Readings {
    readings([("meter/cod", cod), ("meter/flow", flow)])
}

#[test]
fn values_hold_from_their_sample_time_and_weigh_by_flow() {
    // 10 mg/L from 23:50 to 00:20, then 40. 60 m3/h for half an hour, then 120.
    // 20 min x 60 = 20 m3 at 10; 10 min x 60 = 10 m3 at 40; 30 min x 120 = 60 m3 at 40: 200 + 400 + 2400 = 3000 g in 90 m3.
    let figure = first_hour(&outlet(OUTLET), &data(held(&[(-10, 10), (20, 40)]), flow(|minute| if minute < 30 { 60 } else { 120 })), &[]);
    assert_eq!(counted(figure.class, figure.minutes.valid), counted(HourClass::Valid, 60));
    assert_eq!(figure.mass_kg, Some(n("3")));
    assert_eq!((figure.volume_m3, figure.volume_weighted_m3), (Some(n("90")), Some(n("90"))));
    assert_eq!(figure.concentration.value, Some(Number::fraction(3000, 90).unwrap().kept()));
    assert_eq!(figure.flow.value, Some(n("90")));
    assert_eq!((figure.regardless.concentration, figure.converted), (figure.concentration.value, None));
}

#[test]
fn a_value_that_is_held_too_long_is_missing() {
    // The hold is 60 min: sampled at 23:45 it reaches 00:45, at 23:44 only 00:44.
    for (sampled, class, valid) in [(-15, HourClass::Valid, 45), (-16, HourClass::Missing, 44)] {
        let figure = first_hour(&outlet(OUTLET), &data(held(&[(sampled, 50)]), flow(|_| 36)), &[]);
        assert_eq!(counted(figure.class, figure.minutes.valid), counted(class, valid));
        assert_eq!(figure.minutes.missing, 60 - valid);
        assert_eq!(shown(figure.concentration.value.as_ref(), 1), "50.0");
        // All the water is known, the weighed part is less: 36 m3/h x 45 min.
        assert_eq!(figure.volume_m3, Some(n("36")));
        assert_eq!(figure.volume_weighted_m3, Some(n("36") * Number::fraction(i128::from(valid), 60).unwrap()));
        assert_eq!(figure.mass_kg.is_some(), valid == 45);
    }
}

#[test]
fn a_bad_value_ends_the_one_before() {
    let mut cod = held(&[(0, 50), (30, 60)]);
    cod.readings[1].good = false;
    let figure = first_hour(&outlet(OUTLET), &data(cod.clone(), flow(|_| 36)), &[]);
    assert_eq!((figure.class, figure.minutes.valid, figure.minutes.failed), (HourClass::Invalid, 30, 30));
    // With a letter it is marked, and without the mark the mean would be 55.
    cod.readings[1] = Reading { mark: Some(Letter::C), good: true, ..cod.readings[1] };
    let figure = first_hour(&outlet(OUTLET), &data(cod, flow(|_| 36)), &[]);
    assert_eq!((figure.class, figure.minutes.marked), (HourClass::Invalid, 30));
    assert_eq!((figure.concentration.value, figure.regardless.concentration), (Some(n("50")), Some(n("55"))));
}

#[test]
fn nothing_flowed_is_stopped_and_not_zero() {
    let figure = first_hour(&outlet(OUTLET), &data(held(&[(0, 50)]), flow(|_| 0)), &[]);
    assert_eq!((figure.class, figure.concentration.value, figure.mass_kg), (HourClass::Stopped, None, None));
    assert_eq!((figure.volume_m3, figure.partial_mass_kg), (Some(n("0")), None));
    // Some water in 10 minutes: valid, 6 m3.
    let figure = first_hour(&outlet(OUTLET), &data(held(&[(0, 50)]), flow(|minute| if minute < 10 { 36 } else { 0 })), &[]);
    assert_eq!((figure.class, figure.concentration.value, figure.mass_kg), (HourClass::Valid, Some(n("50")), Some(n("0.3"))));
}

#[test]
fn a_flow_that_is_not_known_is_no_flow_of_zero() {
    // Readings until minute 43 hold 90 s: minute 44 is covered by half, 30 s of 60, too little.
    let broken = held(&(0..44).map(|minute| (minute, 36)).collect::<Vec<_>>());
    let figure = first_hour(&outlet(OUTLET), &data(held(&[(0, 50)]), broken), &[]);
    assert_eq!((figure.class, figure.minutes.valid), (HourClass::Invalid, 44));
    assert_eq!(figure.reasons.get(&Reason::NoFlow), Some(&16));
    assert!(!figure.flow.valid);
    // A flow backwards is none either.
    let figure = first_hour(&outlet(OUTLET), &data(held(&[(0, 50)]), flow(|_| -1)), &[]);
    assert_eq!((figure.class, figure.minutes.failed, figure.volume_m3), (HourClass::Invalid, 60, None));
}

/// A flow that holds 45 s of each minute covers three quarters of it; 44 s are too few. What flowed in the rest is not known and not added.
#[test]
fn three_quarters_of_a_minute_make_it_valid() {
    for (hold, class) in [(45, HourClass::Valid), (44, HourClass::Invalid)] {
        let outlet = outlet(&OUTLET.replace("hold_seconds = 90", &format!("hold_seconds = {hold}")));
        let figure = first_hour(&outlet, &data(held(&[(0, 50)]), flow(|_| 36)), &[]);
        assert_eq!(figure.class, class, "{hold} s");
        // 36 m3/h over 60 x 45 s = 27 m3; the mean flow is over the time that is known.
        assert_eq!(figure.mass_kg, (hold == 45).then(|| n("1.35")));
        assert_eq!(figure.mass_rate_kg_h, (hold == 45).then(|| n("1.8")));
        assert_eq!((figure.volume_m3, figure.flow.value), (ratio(36 * hold, 60), Some(n("36"))));
    }
}

fn ratio(above: i64, below: i64) -> Option<Number> {
    Number::fraction(i128::from(above), i128::from(below))
}

#[test]
fn a_totaliser_is_shared_out_over_time() {
    let text = OUTLET.replace(
        r#"kind = "water", point = "meter/flow", hold_seconds = 90"#,
        r#"kind = "totaliser", point = "meter/flow", gap_seconds = 1800"#,
    );
    let outlet = outlet(&text);
    assert_eq!((outlet.lookback_ms(), outlet.lookahead_ms()), (3_600_000, 1_800_000));
    // 1000 at 23:50, 1020 at 00:10: half of the 20 m3 is in the hour. 1050 at 00:40. 1090 at 01:00 exactly: closes it. 10 + 30 + 40 = 80 m3.
    let register = held(&[(-10, 1000), (10, 1020), (40, 1050), (60, 1090)]);
    // 10 mg/L until 00:25, half of the 30 m3 behind 00:10: 10 + 15 = 25 m3 at 10, 15 + 40 = 55 m3 at 20: 250 + 1100 = 1350 g.
    let figure = first_hour(&outlet, &data(held(&[(-5, 10), (25, 20)]), register), &[]);
    assert_eq!((figure.volume_m3, figure.mass_kg), (Some(n("80")), Some(n("1.35"))));
    // A register that falls, and a gap of more than 30 min: nothing is known of that time.
    let register = held(&[(0, 1000), (20, 990), (60, 1090)]);
    let figure = first_hour(&outlet, &data(held(&[(0, 10)]), register), &[]);
    assert_eq!((figure.volume_m3, figure.minutes.valid), (None, 0));
}

#[test]
fn ph_is_a_mean_over_time_without_mass() {
    let text = OUTLET.replace(r#"id = "cod""#, r#"id = "ph""#).replace(r#"unit = "mg/L""#, r#"unit = "pH""#);
    // 7 for 20 min, 8 for 40: (7 x 20 + 8 x 40) / 60 = 7.667, whatever flows.
    let figure = first_hour(&outlet(&text), &data(held(&[(0, 7), (20, 8)]), flow(|minute| minute * minute + 1)), &[]);
    assert_eq!(shown(figure.judged().value.as_ref(), 3), "7.667");
    assert_eq!((figure.class, figure.mass_kg, figure.volume_weighted_m3), (HourClass::Valid, None, None));
    assert_eq!((figure.mass_rate_kg_h, figure.regardless.mass_rate_kg_h), (None, None));
}

#[test]
fn marks_take_minutes_out_of_the_sums() {
    // 15 min of calibration: 45 min x 36 m3/h = 27 m3 x 50 mg/L = 1.35 kg. 16 min: no valid hour.
    let all = data(held(&[(0, 50)]), flow(|_| 36));
    let figure = first_hour(&outlet(OUTLET), &all, &[mark(Letter::C, Some("cod"), 0, 15)]);
    assert_eq!((figure.class, figure.mass_kg), (HourClass::Valid, Some(n("1.35"))));
    // The rate is that of the hour: 50 mg/L x 36 m3/h.
    assert_eq!((figure.mass_rate_kg_h, figure.regardless.mass_rate_kg_h), (Some(n("1.8")), Some(n("1.8"))));
    // With ten times the flow in those 15 min the mean is (45 x 36 + 15 x 360) / 60 = 117 m3/h.
    let gush = data(held(&[(0, 50)]), flow(|minute| if minute < 15 { 360 } else { 36 }));
    let figure = first_hour(&outlet(OUTLET), &gush, &[mark(Letter::C, Some("cod"), 0, 15)]);
    assert_eq!((figure.mass_kg, figure.mass_rate_kg_h), (Some(n("1.35")), Some(n("5.85"))));
    // The flow is marked: no rate, and what it would be.
    let figure = first_hour(&outlet(OUTLET), &gush, &[mark(Letter::C, Some("flow"), 0, 60)]);
    assert_eq!((figure.class, figure.mass_rate_kg_h, figure.regardless.mass_rate_kg_h), (HourClass::Invalid, None, Some(n("5.85"))));
    let figure = first_hour(&outlet(OUTLET), &all, &[mark(Letter::C, None, 0, 16)]);
    assert_eq!((figure.class, figure.mass_kg, figure.regardless.concentration), (HourClass::Invalid, None, Some(n("50"))));
    // Stopped by a mark for 20 min, and 40 min of 36 m3/h before: 24 m3 x 50 mg/L.
    let figure = first_hour(&outlet(OUTLET), &all, &[mark(Letter::F, None, 40, 60)]);
    assert_eq!((figure.class, figure.partial_mass_kg), (HourClass::Stopped, Some(n("1.2"))));
}

#[test]
fn numbers_beyond_128_bits_are_still_right() {
    let big = i64::MAX / 2;
    let cod = Series::of(18, vec![Reading::good(at(0), big)]);
    let fast = Series::of(18, (0..60).map(|minute| Reading::good(at(minute), big)).collect());
    let figure = first_hour(&outlet(OUTLET), &data(cod, fast), &[]);
    // 4.611... mg/L all hour.
    assert_eq!(shown(figure.concentration.value.as_ref(), 12), "4.611686018427");
    assert_eq!(shown(figure.volume_m3.as_ref(), 12), "4.611686018427");
}
