//! PO-01: masses and how gaps are filled.

use super::*;
use crate::indicator::inputs::{EmissionHour, EmissionSeries, OutOfControl, OutletKind};
use jiff::Timestamp;

const HOUR: i64 = 3_600_000;

/// Hours from 2025-04-01 00:00 park time: `v` and a mass in kg, invalid, stopped, or no row.
#[derive(Clone, Copy)]
enum Is {
    Valid(i64),
    Bad,
    Stopped,
    NoRow,
}

fn at(hour: usize) -> Timestamp {
    let start: Timestamp = "2025-04-01T00:00:00+08:00".parse().unwrap();
    Timestamp::from_millisecond(start.as_millisecond() + i64::try_from(hour).unwrap() * HOUR).unwrap()
}

fn series(kind: OutletKind, hours: &[Is]) -> Inputs {
    let hours = hours.iter().enumerate().filter_map(|(number, is)| {
        let hour = |mass: Option<i64>, valid, running| {
            let mass_kg = mass.map(Number::from);
            Some(EmissionHour { start: at(number).into(), concentration: None, flow: None, mass_kg, valid, running })
        };
        match is {
            Is::Valid(mass) => hour(Some(*mass), true, true),
            Is::Bad => hour(Some(999), false, true),
            Is::Stopped => hour(Some(999), true, false),
            Is::NoRow => None,
        }
    });
    let series = EmissionSeries {
        outlet: "stack".into(),
        kind,
        enterprise: None,
        pollutant: "SO2".into(),
        hours: hours.collect(),
        quarter_valid_rates: Default::default(),
        out_of_control: Vec::new(),
    };
    Inputs { emissions: vec![series], ..Inputs::default() }
}

/// kg filled in the second quarter of 2025, by hours that were filled.
fn filled(inputs: &Inputs) -> (String, String) {
    let sum = |name: &str| {
        let months = ["2025-04", "2025-05", "2025-06"].map(|month| {
            let result = result(inputs, "PO-01", month);
            let other = result.others.iter().find(|other| other.name == name);
            other.and_then(|other| other.value.clone()).unwrap_or_default().parse::<Number>().unwrap_or_default()
        });
        months.iter().sum::<Number>().to_string()
    };
    (sum("filled_mass"), sum("filled_hours"))
}

/// One large hour, then `between` valid ones, then a run of bad ones, then enough valid ones for the quarter's rate.
fn run(between: usize, bad: usize, after: usize) -> Vec<Is> {
    let mut hours = vec![Is::Valid(100)];
    hours.extend(vec![Is::Valid(1); between]);
    hours.extend(vec![Is::Bad; bad]);
    hours.extend(vec![Is::Valid(1); after]);
    hours
}

#[test]
fn masses_of_gas_and_water() {
    // 28.6 mg/Nm3 x 62 973.95 Nm3/h / 1e6 = 1.80105497 kg; 40.1 mg/L x 63 m3 / 1000 = 2.5263 kg.
    let json = |kind: &str, concentration: &str, flow: &str| {
        format!(
            r#"{{"emissions": [{{"outlet": "o", "kind": "{kind}", "pollutant": "X", "hours": [
                {{"start": "2025-06-01T08:00", "concentration": {concentration}, "flow": {flow}}}]}}]}}"#
        )
    };
    let gas = result(&inputs(&json("gas", "28.6", "62973.95")), "PO-01", "2025-06-01T08");
    assert_eq!((gas.status, gas.exact.unwrap().to_string().as_str()), (Status::Ok, "0.00180105497"));
    let water = result(&inputs(&json("water", "40.1", "63")), "PO-01", "2025-06-01T08");
    assert_eq!((water.status, water.exact.unwrap().to_string().as_str()), (Status::Ok, "0.0025263"));
    // An hour without a flow is not valid, and there is nothing before it to fill it from.
    let json = json("gas", "28.6", "null");
    let none = result(&inputs(&json), "PO-01", "2025-06-01T08");
    assert_eq!((shown(&none), missing(&none)), ((Status::Missing, "-"), vec!["emissions[0]"]));
    assert_eq!(missing(&result(&inputs("{}"), "PO-01", "2025-06")), ["emissions"]);
}

#[test]
fn the_look_back_counts_valid_hours_just_before_the_run() {
    // 180 valid hours between: the large hour is the 181st and does not count; with 179 it does.
    assert_eq!(filled(&series(OutletKind::Gas, &run(180, 2, 800))), ("2".into(), "2".into()));
    assert_eq!(filled(&series(OutletKind::Gas, &run(179, 2, 800))), ("200".into(), "2".into()));
    // Stopped and bad hours between are no valid hours: they do not use up the look-back.
    let mut hours = run(179, 1, 0);
    hours.splice(100..100, vec![Is::Stopped; 50]);
    hours.extend(vec![Is::Valid(1); 800]);
    assert_eq!(filled(&series(OutletKind::Gas, &hours)), ("100".into(), "1".into()));
}

#[test]
fn the_length_of_the_run_and_the_valid_rate_choose_the_look_back() {
    // 24 h: 180 valid hours; 25 h: 720, which reach the large hour 400 back.
    assert_eq!(filled(&series(OutletKind::Gas, &run(400, 24, 900))), ("24".into(), "24".into()));
    assert_eq!(filled(&series(OutletKind::Gas, &run(400, 25, 900))), ("2500".into(), "25".into()));
    assert_eq!(filled(&series(OutletKind::Gas, &run(720, 25, 900))), ("25".into(), "25".into()));
    // Rate 901 / 1001 is just above 90 %; 900 / 1000 is exactly 90 %, 899 / 999 below: then 2160 valid hours, reaching 800 back.
    let long = |after| filled(&series(OutletKind::Gas, &run(800, 100, after)));
    assert_eq!(long(100), ("100".into(), "100".into()));
    assert_eq!(long(99), ("100".into(), "100".into()));
    assert_eq!(long(98), ("10000".into(), "100".into()));
    // Below 75 %: no rule, the hours stay open and the figure is incomplete.
    let poor = series(OutletKind::Gas, &run(200, 100, 98));
    assert_eq!(filled(&poor), ("0".into(), "0".into()));
    let april = result(&poor, "PO-01", "2025-04");
    assert_eq!(april.status, Status::Incomplete);
    assert!(april.missing[0].why.contains("below 75 %"), "{}", april.missing[0].why);
    // Exactly 75 %: 300 of 400.
    assert_eq!(filled(&series(OutletKind::Gas, &run(200, 100, 99))), ("10000".into(), "100".into()));
    // A rate that is known counts instead.
    let mut known = poor;
    known.emissions[0].quarter_valid_rates.insert("2025-04".parse().unwrap(), Number::decimal(95, 2));
    assert_eq!(filled(&known), ("10000".into(), "100".into()));
}

#[test]
fn stopped_hours_get_nothing_and_hours_without_a_row_are_filled() {
    let mut hours = vec![Is::Valid(3), Is::Valid(5), Is::Stopped, Is::NoRow, Is::Valid(4)];
    hours.extend(vec![Is::Valid(4); 19]);
    let inputs = series(OutletKind::Gas, &hours);
    let day = result(&inputs, "PO-01", "2025-04-01");
    // 3 + 5 + 20 x 4 = 88, and 5 for the hour without a row.
    assert_eq!((day.status, day.exact.clone().unwrap().to_string().as_str()), (Status::Estimated, "0.093"));
    assert_eq!((further(&day, "stopped_hours"), further(&day, "missing_hours"), further(&day, "valid_rate")), ("1", "1", "0.956522"));
    // Hours of the day add up to the day.
    let hours: Number = (0..24).map(|hour| result(&inputs, "PO-01", &format!("2025-04-01T{hour:02}")).exact.unwrap()).sum();
    assert_eq!(Some(hours), day.exact);
    // The day after has no row at all.
    assert_eq!(result(&inputs, "PO-01", "2025-04-02").status, Status::Missing);
}

#[test]
fn out_of_control_looks_back_from_the_last_good_calibration() {
    let mut hours = run(50, 0, 900);
    hours[40] = Is::Valid(70);
    let mut inputs = series(OutletKind::Gas, &hours);
    let out = |from: usize, to: usize, calibrated: usize| OutOfControl {
        from: at(from).into(),
        to: at(to).into(),
        last_good_calibration: at(calibrated).into(),
    };
    // Out of control from 45 to 47, calibrated at 30: hour 40 does not count, the first hour does.
    inputs.emissions[0].out_of_control = vec![out(45, 47, 30)];
    assert_eq!(filled(&inputs), ("200".into(), "2".into()));
    // Calibrated at 0: nothing valid before it.
    inputs.emissions[0].out_of_control = vec![out(45, 47, 0)];
    assert_eq!(filled(&inputs), ("0".into(), "0".into()));
}

#[test]
fn waste_water_is_filled_with_the_mean_of_the_stretch_before() {
    // (2 + 4 + 9) / 3 = 5 for each of 3 hours; the 100 kg further back do not count.
    let hours = [Is::Valid(100), Is::Valid(2), Is::Valid(4), Is::Valid(9), Is::Bad, Is::Bad, Is::Bad, Is::Valid(1)];
    assert_eq!(filled(&series(OutletKind::Water, &hours)), ("15".into(), "3".into()));
}

#[test]
fn pollutants_are_summed_over_outlets() {
    let json = r#"{"emissions": [
        {"outlet": "b", "kind": "gas", "pollutant": "NOx", "hours": [{"start": "2025-06-01T08:00", "mass_kg": 2}]},
        {"outlet": "a", "kind": "gas", "pollutant": "NOx", "hours": [{"start": "2025-06-01T08:00", "mass_kg": 3}]}]}"#;
    let all = results(&inputs(json), "PO-01", "2025-06-01T08");
    let values: Vec<_> = all.iter().map(|result| (result.subject.outlet.as_deref(), result.value.as_deref().unwrap())).collect();
    assert_eq!(values, [(Some("b"), "0.002"), (Some("a"), "0.003"), (None, "0.005")]);
    assert_eq!(problems(&json.replace("\"b\"", "\"a\"")), ["emissions[1]: NOx of a is there twice"]);
}

/// A summary of an outlet adds what [`mass::fill`] gives for its hours; so does PO-01, for a month, its neighbours and the year.
#[test]
fn figures_are_those_of_the_rule_that_summaries_go_by() {
    use crate::emission::UtcMillis;
    use crate::emission::mass::{self, Basis};
    use crate::emission::outlet::OutletKind as Kind;
    // From 2025-04-01 on. April is good but for a run of 28 bad hours that a stop cuts in two of 14; from May on so much is bad
    // that the quarter's rate is below 90 %, which April alone would not tell; the third quarter is good again.
    let mut hours = run(600, 14, 0);
    hours.extend(vec![Is::Stopped; 9]);
    hours.extend(vec![Is::Bad; 14]);
    hours.extend(vec![Is::Valid(2); 300]);
    hours.extend(vec![Is::NoRow; 200]);
    hours.extend((0..2184 - 1138).map(|hour| Is::Valid(3 + hour % 5)));
    assert_eq!(hours.len(), 2184);
    hours.extend(run(500, 3, 10));
    for kind in [OutletKind::Gas, OutletKind::Water] {
        let inputs = series(kind, &hours);
        let index = Index::new(&inputs).unwrap();
        let masses = crate::indicator::pollutant::mass_hours(&index, &inputs.emissions[0]);
        let basis = Basis {
            kind: if kind == OutletKind::Gas { Kind::Stack } else { Kind::WasteWater },
            zone: index.zone().time_zone(),
            quarter_valid_rates: &Default::default(),
            good_calibrations: &[],
        };
        for period in ["2025-04-26", "2025-04", "2025-05", "2025-06", "2025-07", "2025"] {
            let range = period.parse::<Period>().unwrap().span(index.zone());
            let target = crate::emission::Period { from: UtcMillis(range.start), to: UtcMillis(range.end) };
            let of_rule = mass::fill(&basis, &masses, &target);
            let sum: Number = of_rule.iter().flat_map(|hour| hour.period.hours().filter_map(|_| hour.mass_kg.clone())).sum();
            assert_eq!(further(&result(&inputs, "PO-01", period), "filled_mass"), sum.fixed(6), "{kind:?} {period}");
        }
    }
    // 1947 of the 2175 operating hours of the quarter are valid, 89.5 %: all look back 2160 hours, April to the 100 kg at its start.
    let april = result(&series(OutletKind::Gas, &hours), "PO-01", "2025-04");
    assert_eq!(further(&april, "filled_mass"), "2800.000000");
}

#[test]
fn a_run_goes_on_over_stopped_hours() {
    // 20 + 20 bad hours around a stop are one run of 40: 720 valid hours, which reach the large hour 400 back.
    let mut hours = run(400, 20, 0);
    hours.extend(vec![Is::Stopped; 5]);
    hours.extend(vec![Is::Bad; 20]);
    hours.extend(vec![Is::Valid(1); 900]);
    assert_eq!(filled(&series(OutletKind::Gas, &hours)), ("4000".into(), "40".into()));
}

#[test]
fn hours_far_apart_take_no_memory_for_those_between() {
    // 229 years: two million hours that a file of two rows does not give.
    let json = r#"{"emissions": [{"outlet": "o", "kind": "gas", "pollutant": "X", "hours": [
        {"start": "1970-06-01T08:00", "mass_kg": 2}, {"start": "2199-06-01T08:00", "mass_kg": 4}]}]}"#;
    let inputs = inputs(json);
    let index = Index::new(&inputs).unwrap();
    let prepared = crate::indicator::pollutant::Prepared::of(&index, &inputs.emissions[0]);
    // One stretch for each quarter.
    assert!(prepared.pieces() < 1000, "{}", prepared.pieces());
    assert_eq!(result(&inputs, "PO-01", "2199-06-01T08").exact.unwrap().to_string(), "0.004");
    assert_eq!(result(&inputs, "PO-01", "1999-06-01").status, Status::Missing);
}
