//! Energy and carbon: cases beside the example park.

use super::*;
use crate::factor::{BUILT_IN, FactorKind, Factors, Mark};
use crate::period::Day;

/// A park with one gate meter (June: 1000 kWh) and what else is given.
fn park(more: &str) -> String {
    format!(
        r#"{{"certificates": [], "process_emissions": [], "closed_on": "2025-07-15", {more} "meters": [
            {{"id": "gate", "energy": "electricity", "place": "gate", "readings": [
                {{"time": "2025-06-01T00:00", "register": 0}}, {{"time": "2025-07-01T00:00", "register": 1000}}]}}]}}"#
    )
}

#[test]
fn without_a_gate_there_is_no_park_energy() {
    let none = inputs(r#"{"certificates": []}"#);
    let result = result(&none, "EN-01", "2025-06");
    assert_eq!((shown(&result), missing(&result)), ((Status::Missing, "-"), vec!["meters"]));
    // A meter without readings names itself.
    let silent = inputs(r#"{"meters": [{"id": "gate", "energy": "electricity", "place": "gate"}]}"#);
    let result = super::result(&silent, "EN-19", "2025-06");
    assert_eq!((result.status, missing(&result)), (Status::Missing, vec!["meters.gate"]));
}

#[test]
fn the_equal_value_is_empty_until_it_is_entered() {
    let result = result(&inputs(&park("")), "EN-02", "2025-06");
    assert_eq!((shown(&result), missing(&result)), ((Status::Missing, "-"), vec!["factors.equal_value.electricity"]));
    // Only the row whose validity holds the last day of the period counts: 1000 x 0.31 / 1000.
    let rows = r#""factors": [
        {"kind": "equal_value", "key": "electricity", "unit": "kWh", "value": 0.31, "standard": "letter", "valid_from": "2025-06-30", "valid_to": "2025-12-31"},
        {"kind": "equal_value", "key": "electricity", "unit": "kWh", "value": 0.29, "standard": "letter", "valid_to": "2025-06-29"}],"#;
    assert_eq!(shown(&super::result(&inputs(&park(rows)), "EN-02", "2025-06")), (Status::Ok, "0.310"));
}

#[test]
fn a_fuel_without_coefficient_names_the_row() {
    let lng = r#""enterprises": [{"id": "a"}], "amounts": [{"energy": "lng", "place": "import", "enterprise": "a", "period": "2025-06", "amount": 10}],"#;
    let result = result(&inputs(&park(lng)), "EN-01", "2025-06");
    assert_eq!((result.status, missing(&result)), (Status::Missing, vec!["factors.equivalent.lng"]));
    assert!(result.missing[0].why.contains("GB/T 2589-2020"), "{}", result.missing[0].why);
    // A measured value is entered: 10 x 1.8 + 1000 x 0.1229 = 140.9 kgce.
    let entered = r#""factors": [{"kind": "equivalent", "key": "lng", "unit": "kg", "value": 1.8, "standard": "measured"}],"#;
    assert_eq!(shown(&super::result(&inputs(&park(&format!("{entered}{lng}"))), "EN-01", "2025-06")), (Status::Ok, "0.141"));
    // Its carbon factor is another row.
    let carbon = super::result(&inputs(&park(&format!("{entered}{lng}"))), "CA-01", "2025-06");
    assert_eq!(missing(&carbon), ["factors.fuel_carbon.lng"]);
}

#[test]
fn units_are_converted() {
    // 2 MWh + 3.6 GJ of electricity metered at the gate would be strange, but units are units: heat 1000 MJ = 1 GJ -> 34.12 kgce,
    // coal 2 t -> 1428.6 kgce, gate 1000 kWh -> 122.9 kgce: 1585.62 kgce.
    let mixed = r#""enterprises": [{"id": "a"}], "amounts": [
        {"energy": "heat", "place": "import", "enterprise": "a", "period": "2025-06", "amount": 1000, "unit": "MJ"},
        {"energy": "coal", "place": "import", "enterprise": "a", "period": "2025-06", "amount": 2, "unit": "t"}],"#;
    let result = result(&inputs(&park(mixed)), "EN-01", "2025-06");
    assert_eq!((shown(&result), result.exact.clone().unwrap().to_string().as_str()), ((Status::Ok, "1.586"), "1.58562"));
    let wrong = park(
        r#""enterprises": [{"id": "a"}], "amounts": [{"energy": "heat", "place": "import", "enterprise": "a", "period": "2025-06", "amount": 1, "unit": "t"}],"#,
    );
    assert_eq!(problems(&wrong), ["amounts[0].unit: `t` is no unit of heat, which is counted in GJ"]);
}

#[test]
fn heat_that_is_passed_on_cancels_and_feedstock_is_inside() {
    // a burns 100 kg of coal and sells 2 GJ to b: the park's energy is coal and electricity only.
    let steam = r#""enterprises": [{"id": "a"}, {"id": "b"}], "amounts": [
        {"energy": "raw_coal", "place": "import", "enterprise": "a", "period": "2025-06", "amount": 100},
        {"energy": "heat", "place": "internal_export", "enterprise": "a", "period": "2025-06", "amount": 2},
        {"energy": "heat", "place": "import", "enterprise": "b", "period": "2025-06", "amount": 2},
        {"energy": "gas", "place": "import", "enterprise": "b", "period": "2025-06", "amount": 50},
        {"energy": "gas", "place": "feedstock", "enterprise": "b", "period": "2025-06", "amount": 50}],"#;
    let inputs = inputs(&park(steam));
    // 122.9 + 71.43 + 60.715 = 255.045 kgce.
    assert_eq!(result(&inputs, "EN-01", "2025-06").exact.unwrap().to_string(), "0.255045");
    // a 71.43 - 68.24 = 3.19; b 68.24 + 60.715 = 128.955: 132.145, and the gate's electricity is lost on its way.
    assert_eq!(result(&inputs, "EN-03", "2025-06").exact.unwrap().to_string(), "0.132145");
    // 255.045 - 60.715.
    assert_eq!(result(&inputs, "EN-08", "2025-06").exact.unwrap().to_string(), "0.19433");
    // Only coal burns: 100 x 1.9002988488; no heat over the boundary.
    assert_eq!(result(&inputs, "CA-01", "2025-06").exact.unwrap().to_string(), "0.19002988488");
    assert_eq!(result(&inputs, "CA-02", "2025-06").exact.unwrap().to_string(), "0.1404");
}

#[test]
fn what_is_declared_twice_counts_once_and_the_last_entry_counts() {
    let twice = |first: &str, second: &str| {
        let entry = |amount: u32, at: &str| {
            format!(
                r#"{{"energy": "raw_coal", "place": "import", "enterprise": "a", "period": "2025-06", "amount": {amount}, "source": {{"document": "d"{at}}}}}"#
            )
        };
        park(&format!(r#""enterprises": [{{"id": "a"}}], "amounts": [{}, {}],"#, entry(100, first), entry(200, second)))
    };
    let coal = |json: &str| result(&inputs(json), "EN-01", "2025-06").exact.unwrap() - Number::decimal(1229, 4);
    // 200 x 0.7143 and 100 x 0.7143 kgce.
    assert_eq!(coal(&twice("", "")).to_string(), "0.14286");
    let (early, late) = (r#", "entered_at": "2025-07-01T08:00""#, r#", "entered_at": "2025-07-02T08:00""#);
    assert_eq!(coal(&twice(late, early)).to_string(), "0.07143");
    assert_eq!(coal(&twice(early, late)).to_string(), "0.14286");
}

#[test]
fn green_electricity_is_what_is_used_in_the_park() {
    // PV 300, of which 100 leave over the gate: 200 of 1000 - 100 + 300 = 1200.
    let json = r#"{"certificates": [], "enterprises": [{"id": "a"}], "amounts": [
        {"energy": "electricity", "place": "gate", "period": "2025-06", "amount": 1000},
        {"energy": "electricity", "place": "gate_export", "period": "2025-06", "amount": 100},
        {"energy": "electricity", "place": "pv", "enterprise": "a", "period": "2025-06", "amount": 300}]}"#;
    assert_eq!(shown(&result(&inputs(json), "EN-17", "2025-06")), (Status::Ok, "0.166667"));
    // Certificates not known: the share is not either.
    let unknown = json.replace(r#""certificates": [], "#, "");
    let result = result(&inputs(&unknown), "EN-17", "2025-06");
    assert_eq!((result.status, missing(&result)), (Status::Missing, vec!["certificates"]));
    // No electricity at all: not defined.
    let none = inputs(r#"{"certificates": [], "amounts": [{"energy": "electricity", "place": "gate", "period": "2025-06", "amount": 0}]}"#);
    assert_eq!(shown(&super::result(&none, "EN-17", "2025-06")), (Status::NotDefined, "-"));
    assert_eq!(shown(&super::result(&none, "EN-19", "2025-06")), (Status::NotDefined, "-"));
}

#[test]
fn a_plant_of_no_enterprise_feeds_the_network() {
    // In 1000 + 500, out 1400: 100 of 1500 lost.
    let json = r#"{"enterprises": [{"id": "a"}], "amounts": [
        {"energy": "electricity", "place": "gate", "period": "2025-06", "amount": 1000},
        {"energy": "electricity", "place": "pv", "period": "2025-06", "amount": 500},
        {"energy": "electricity", "place": "import", "enterprise": "a", "period": "2025-06", "amount": 1400}]}"#;
    assert_eq!(shown(&result(&inputs(json), "EN-19", "2025-06")), (Status::Ok, "0.066667"));
}

#[test]
fn the_grid_factor_is_the_newest_one_published_by_the_closing_date() {
    let factors = Factors::built_in();
    let newest = |region: &str, day: &str| {
        let row = factors.newest(FactorKind::Grid, region, day.parse::<Day>().unwrap()).ok()?;
        Some((row.year?, row.factor()?.to_string()))
    };
    let expect = |year: i16, value: &str| Some((year, value.to_owned()));
    assert_eq!(newest("sichuan", "2024-04-11"), None);
    assert_eq!(newest("sichuan", "2024-04-12"), expect(2021, "0.1255"));
    assert_eq!(newest("sichuan", "2024-12-19"), expect(2021, "0.1255"));
    assert_eq!(newest("sichuan", "2024-12-20"), expect(2022, "0.1404"));
    // The figure of 2023 is not there: the one before stays.
    assert_eq!(newest("sichuan", "2026-06-01"), expect(2022, "0.1404"));
    assert_eq!(newest("national", "2026-06-01"), expect(2023, "0.5306"));
    assert_eq!(newest("southwest", "2025-01-01"), expect(2022, "0.2268"));
    assert_eq!(newest("atlantis", "2025-01-01"), None);
    // The closing date is the day the period ends unless it is given: nothing was published by 1 April 2024.
    let old = inputs(r#"{"amounts": [{"energy": "electricity", "place": "gate", "period": "2024-03", "amount": 1}]}"#);
    assert_eq!(missing(&result(&old, "CA-02", "2024-03")), ["factors.grid.sichuan"]);
}

#[test]
fn given_rows_come_before_built_in_ones() {
    let rows = r#"[
        {"kind": "medium", "key": "fresh_water", "unit": "t", "value": 0.1, "standard": "letter", "mark": "M"},
        {"kind": "equivalent", "key": "gas", "unit": "m3", "value": 1.25, "standard": "measured", "valid_to": "2025-06-30"}]"#;
    let inputs = Inputs { factors: serde_json::from_str(rows).unwrap(), ..Inputs::default() };
    let index = Index::new(&inputs).unwrap();
    let value = |kind, key: &str, day: &str| index.factors.valid(kind, key, day.parse().unwrap()).unwrap().factor().unwrap().to_string();
    assert_eq!(value(FactorKind::Medium, "fresh_water", "2025-06-30"), "0.1");
    // `gas` stands for gas-field gas; after its last day the built-in row counts again.
    assert_eq!(value(FactorKind::Equivalent, "natural_gas_gas_field", "2025-06-30"), "1.25");
    assert_eq!(value(FactorKind::Equivalent, "natural_gas_gas_field", "2025-07-01"), "1.2143");
}

#[test]
fn built_in_rows_are_sound() {
    for (name, text) in BUILT_IN {
        let rows = crate::factor::read(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!rows.is_empty(), "{name}");
        for row in rows {
            assert!(unit::dimension(&row.unit).is_some(), "{name} {}", row.key);
            assert!(!row.standard.is_empty() && row.mark != Mark::Entered, "{name} {}", row.key);
            assert!(row.factor().is_some() || !row.note.is_empty(), "{name} {}: an empty row says where its value comes from", row.key);
        }
    }
    let factors = Factors::built_in();
    let day = |text: &str| text.parse::<Day>().unwrap();
    let value = |kind, key: &str, on: &str| factors.valid(kind, key, day(on)).ok().and_then(|row| row.factor());
    // NCV x carbon content x oxidation x 44/12 / 1000, as printed in the inventory tables.
    for (key, printed) in [
        ("natural_gas_oil_field", "2.1622"),
        ("natural_gas_gas_field", "1.9765"),
        ("diesel", "3.0959"),
        ("gasoline", "2.9251"),
        ("lpg", "3.1013"),
        ("raw_coal", "1.9003"),
    ] {
        assert_eq!(value(FactorKind::FuelCarbon, key, "2025-06-30").unwrap().fixed(4), printed, "{key}");
    }
    assert_eq!(value(FactorKind::Equivalent, "electricity", "2025-06-30").unwrap().to_string(), "0.1229");
    // Fresh water changed with the 2020 edition, in force 2021-04-01.
    assert_eq!(value(FactorKind::Medium, "fresh_water", "2021-03-31").unwrap().to_string(), "0.0857");
    assert_eq!(value(FactorKind::Medium, "fresh_water", "2021-04-01").unwrap().to_string(), "0.2571");
    for key in ["lng", "methanol", "hydrogen", "coke_oven_gas"] {
        assert_eq!(value(FactorKind::Equivalent, key, "2025-06-30"), None, "{key}");
    }
    assert_eq!(value(FactorKind::EqualValue, "electricity", "2025-06-30"), None);
    assert_eq!(value(FactorKind::HeatCarbon, "heat", "2025-06-30").unwrap().to_string(), "0.11");
}

#[test]
fn working_media_count_only_where_they_are_asked_for() {
    let oxygen = r#""enterprises": [{"id": "a"}], "factors": [{"kind": "medium", "key": "oxygen", "unit": "m3", "value": 0.4, "standard": "letter"}],
        "amounts": [{"energy": "oxygen", "place": "import", "enterprise": "a", "period": "2025-06", "amount": 1000}],"#;
    assert_eq!(result(&inputs(&park(oxygen)), "EN-01", "2025-06").exact.unwrap().to_string(), "0.1229");
    let asked = format!(r#""include_media": true, {oxygen}"#);
    assert_eq!(result(&inputs(&park(&asked)), "EN-01", "2025-06").exact.unwrap().to_string(), "0.5229");
}

#[test]
fn a_suspect_pair_makes_the_figure_incomplete() {
    let json = r#"{"meters": [{"id": "gate", "energy": "electricity", "place": "gate", "modulus": 10000, "rate_max": 1, "readings": [
        {"time": "2025-06-01T00:00", "register": 100}, {"time": "2025-06-11T00:00", "register": 200},
        {"time": "2025-06-21T00:00", "register": 50}, {"time": "2025-07-01T00:00", "register": 80}]}]}"#;
    // 100 + 30 kWh; 10000 - 200 + 50 is more than 240 h allow.
    let result = result(&inputs(json), "EN-01", "2025-06");
    assert_eq!((result.status, result.exact.clone().unwrap().to_string().as_str()), (Status::Incomplete, "0.015977"));
    assert_eq!(missing(&result), ["meters.gate"]);
    assert!(result.missing[0].why.contains("2025-06-11T00:00:00+08:00"), "{}", result.missing[0].why);
    assert_eq!(result.completeness.as_deref(), Some("0.666667"));
}

#[test]
fn the_estimated_share_is_told() {
    // 20 of 30 days with 400 kWh, then lost: 200 more are estimated, a third of the whole.
    let json = r#"{"meters": [{"id": "gate", "energy": "electricity", "place": "gate", "readings": [
        {"time": "2025-06-01T00:00", "register": 0}, {"time": "2025-06-21T00:00", "register": 400}]}]}"#;
    let energy = result(&inputs(json), "EN-01", "2025-06");
    assert_eq!((energy.status, energy.estimated_share.as_deref()), (Status::Estimated, Some("0.333333")));
    assert_eq!(shown(&result(&inputs(json), "DQ-03", "2025-06")), (Status::Estimated, "0.333333"));
    // The day before the loss is whole and not estimated, though split from a pair of 20 days: interpolated, told apart.
    let day = result(&inputs(json), "EN-01", "2025-06-10");
    assert_eq!(
        (shown(&day), day.estimated_share.as_deref(), day.interpolated.as_deref()),
        ((Status::Ok, "0.002"), Some("0.000000"), Some("0.002"))
    );
}
