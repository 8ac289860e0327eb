//! Water, land, charging, quality, and what is wrong with inputs.

use super::*;

#[test]
fn water_of_the_public_area_stays_out() {
    let json = r#"{"enterprises": [{"id": "a"}], "amounts": [
        {"energy": "water", "place": "fresh", "enterprise": "a", "period": "2025-06", "amount": 100},
        {"energy": "water", "place": "household", "enterprise": "a", "period": "2025-06", "amount": 20},
        {"energy": "water", "place": "public", "period": "2025-06", "amount": 500},
        {"energy": "water", "place": "recirculated", "enterprise": "a", "period": "2025-06", "amount": 240}]}"#;
    assert_eq!(shown(&result(&inputs(json), "WA-01", "2025-06")), (Status::Ok, "80.000"));
    // 240 / (240 + 80).
    assert_eq!(shown(&result(&inputs(json), "WA-04", "2025-06")), (Status::Ok, "0.750000"));
    let dry = json
        .replace("\"amount\": 240", "\"amount\": 0")
        .replace("\"amount\": 100", "\"amount\": 0")
        .replace("\"amount\": 20", "\"amount\": 0");
    assert_eq!(shown(&result(&inputs(&dry), "WA-04", "2025-06")), (Status::NotDefined, "-"));
    let none = inputs(r#"{"enterprises": [{"id": "a"}]}"#);
    assert_eq!(missing(&result(&none, "WA-01", "2025-06")), ["meters"]);
}

#[test]
fn economic_figures_of_the_park_come_before_the_sum() {
    let figure = |figure: &str, who: &str, period: &str, value: u32| {
        let who = if who.is_empty() { String::new() } else { format!(r#""enterprise": "{who}", "#) };
        format!(r#"{{"figure": "{figure}", {who}"period": "{period}", "value": {value}}}"#)
    };
    let park = |declared: &[String]| {
        format!(
            r#"{{"park": {{"leading_industries": ["C39"]}}, "enterprises": [{{"id": "a", "industry": "C3973"}}, {{"id": "b", "industry": "C26"}}],
                "declared": [{}]}}"#,
            declared.join(", ")
        )
    };
    let mut declared = vec![
        figure("revenue", "a", "2025", 300),
        figure("revenue", "b", "2025", 100),
        figure("land_mu", "a", "2025", 8),
        figure("land_mu", "b", "2025", 2),
    ];
    // 400 / 10; 300 / 400 by the code of the industry.
    assert_eq!(shown(&result(&inputs(&park(&declared)), "LA-01", "2025")), (Status::Ok, "40.000000"));
    assert_eq!(shown(&result(&inputs(&park(&declared)), "LA-09", "2025")), (Status::Ok, "0.750000"));
    // Not known which are high-tech.
    let unknown = result(&inputs(&park(&declared)), "LA-10", "2025");
    assert_eq!(missing(&unknown), ["enterprises.a.high_tech", "enterprises.b.high_tech"]);
    // The park's own figure, 500.
    declared.push(figure("revenue", "", "2025", 500));
    assert_eq!(shown(&result(&inputs(&park(&declared)), "LA-01", "2025")), (Status::Ok, "50.000000"));
    assert_eq!(shown(&result(&inputs(&park(&declared)), "LA-09", "2025")), (Status::Ok, "0.600000"));
    // One enterprise without its figure: missing, by name, not a smaller sum.
    let one = result(&inputs(&park(&declared[..1])), "LA-01", "2025");
    assert_eq!(missing(&one), ["declared.land_mu.a", "declared.land_mu.b", "declared.revenue.b"]);
    // Twelve months make a year, eleven do not.
    let mut months: Vec<String> = (1..=12).map(|month| figure("tax", "", &format!("2025-{month:02}"), 10)).collect();
    months.push(figure("land_mu", "", "2025", 60));
    assert_eq!(shown(&result(&inputs(&park(&months)), "LA-02", "2025")), (Status::Ok, "2.000000"));
    months.remove(5);
    let hole = result(&inputs(&park(&months)), "LA-02", "2025");
    assert!(hole.missing[0].why.contains("from 2025-06-01T00:00:00+08:00 on"), "{}", hole.missing[0].why);
    // Land of 0 mu: not defined.
    months[11] = figure("land_mu", "", "2025", 0);
    months.push(figure("tax", "", "2025", 10));
    assert_eq!(shown(&result(&inputs(&park(&months)), "LA-02", "2025")), (Status::NotDefined, "-"));
}

const CHARGING: &str = r#"{"charging": {
    "piles": [{"id": "p", "station": "north", "rated_kw": 100, "guns": 2}, {"id": "q", "station": "south", "rated_kw": 20, "guns": 1}],
    "sessions": [
        {"pile": "p", "gun": 1, "start": "2025-06-01T22:00", "end": "2025-06-02T02:00", "kwh": 40},
        {"pile": "q", "start": "2025-06-01T10:00", "end": "2025-06-01T12:00", "kwh": 24}],
    "states": [
        {"pile": "p", "gun": 1, "from": "2025-06-01T22:00", "to": "2025-06-02T02:00", "state": "charging"},
        {"pile": "q", "from": "2025-06-01T10:00", "to": "2025-06-01T11:30", "state": "charging"},
        {"pile": "q", "from": "2025-06-01T11:00", "to": "2025-06-01T12:00", "state": "charging"},
        {"pile": "p", "gun": 2, "from": "2025-05-31T12:00", "to": "2025-06-01T12:00", "state": "fault"}]}}"#;

#[test]
fn charging_of_the_park_and_its_stations() {
    let charging = inputs(CHARGING);
    let values = |id: &str, period: &str| -> Vec<(Option<String>, String)> {
        let all = results(&charging, id, period).into_iter();
        all.map(|result| (result.subject.station.clone(), result.value.unwrap_or_default())).collect()
    };
    let of = |park: &str, north: &str, south: &str| {
        vec![(None, park.to_owned()), (Some("north".to_owned()), north.to_owned()), (Some("south".to_owned()), south.to_owned())]
    };
    // 40 x 2 / 4 + 24; hours 22 and 23 have 10 each.
    assert_eq!(values("EV-01", "2025-06-01"), of("44.000", "20.000", "24.000"));
    assert_eq!(values("EV-01", "2025-06-01T22"), of("10.000", "10.000", "0.000"));
    // Gun-hours 3 x 24 = 72: charging 2 + 2 (the overlap counts once); north 2 / 48, south 2 / 24.
    assert_eq!(values("EV-02", "2025-06-01"), of("0.055556", "0.041667", "0.083333"));
    // 44 / (120 x 24); 20 / 2400; 24 / 480.
    assert_eq!(values("EV-03", "2025-06-01"), of("0.015278", "0.008333", "0.050000"));
    // Fault 12 h: 60 / 72; 36 / 48; 24 / 24.
    assert_eq!(values("EV-04", "2025-06-01"), of("0.833333", "0.750000", "1.000000"));
    // 4 / (72 - 12).
    assert_eq!(further(&result(&charging, "EV-02", "2025-06-01"), "without_fault_hours"), "0.066667");
    // Hours add up to the day.
    let hours: Number = (0..24).map(|hour| result(&charging, "EV-01", &format!("2025-06-01T{hour:02}")).exact.unwrap()).sum();
    assert_eq!(hours, Number::from(44));
}

#[test]
fn charging_without_states_takes_sessions_and_knows_no_fault() {
    let mut charging = inputs(CHARGING);
    charging.charging.as_mut().unwrap().states = None;
    let utilisation = result(&charging, "EV-02", "2025-06-01");
    assert_eq!((shown(&utilisation), further(&utilisation, "without_fault_hours")), ((Status::Ok, "0.055556"), "-"));
    assert_eq!(missing(&result(&charging, "EV-04", "2025-06-01")), ["charging.states"]);
    charging.charging.as_mut().unwrap().sessions = None;
    assert_eq!(missing(&result(&charging, "EV-01", "2025-06-01")), ["charging.sessions"]);
    assert_eq!(missing(&result(&inputs("{}"), "EV-03", "2025-06")), ["charging.piles"]);
    // Every gun out of order: nothing left to divide by.
    let fault = CHARGING.replace("2025-05-31T12:00\", \"to\": \"2025-06-01T12:00", "2025-06-01T00:00\", \"to\": \"2025-06-02T00:00");
    let north = &results(&inputs(&fault), "EV-04", "2025-06-01")[1];
    assert_eq!(north.value.as_deref(), Some("0.500000"));
}

#[test]
fn completeness_by_counts_or_by_readings() {
    // 23 of 24 and 90 of 96: 113 / 120. A month is the sum of its days only when all are there.
    let json = r#"{"values": [
        {"point": "a", "period": "2025-06-01", "got": 23, "due": 24}, {"point": "b", "period": "2025-06-01", "got": 90, "due": 96}]}"#;
    assert_eq!(shown(&result(&inputs(json), "DQ-01", "2025-06-01")), (Status::Ok, "0.941667"));
    assert_eq!(missing(&result(&inputs(json), "DQ-01", "2025-06")), ["values.a", "values.b"]);
    // A meter read every 6 hours: 4 due, readings at 0, 6 and 12 came; the one at 24:00 is the next day's.
    let json = r#"{"meters": [{"id": "m", "energy": "water", "place": "sub", "readings_every_minutes": 360, "readings": [
        {"time": "2025-06-01T00:00", "register": 1}, {"time": "2025-06-01T06:00", "register": 2},
        {"time": "2025-06-01T12:00", "register": 3}, {"time": "2025-06-02T00:00", "register": 4}]}]}"#;
    assert_eq!(shown(&result(&inputs(json), "DQ-01", "2025-06-01")), (Status::Ok, "0.750000"));
    assert_eq!(missing(&result(&inputs("{}"), "DQ-01", "2025-06")), ["values"]);
}

#[test]
fn what_is_wrong_is_told_at_once_with_its_path() {
    let json = r#"{
        "enterprises": [{"id": "a"}, {"id": "a"}],
        "meters": [
            {"id": "m", "energy": "electricity", "place": "import"},
            {"id": "m", "energy": "plutonium", "place": "gate", "enterprise": "x", "parent": "nobody"},
            {"id": "w", "energy": "heat", "place": "fresh", "enterprise": "a"},
            {"id": "p", "energy": "water", "place": "pv"}],
        "totals": [{"meter": "y", "period": "2025-06", "amount": 1}],
        "stocks": [{"energy": "coal", "enterprise": "a", "period": "2025-06", "opening": -1, "purchases": 1, "closing": 0}],
        "declared": [{"figure": "tax", "enterprise": "z", "period": "2025", "value": 1}],
        "certificates": [{"kind": "own_pv", "holder": "a", "pv_meter": "m", "period": "2025-06", "certificates": 1}],
        "quota": {"allowances": [{"period": "2025-06", "energy_tce": 1}]},
        "charging": {"piles": [{"id": "c", "station": "s", "rated_kw": 1, "guns": 1}],
            "sessions": [{"pile": "c", "gun": 2, "start": "2025-06-01T01:00", "end": "2025-06-01T00:00", "kwh": 1}, {"pile": "d", "start": "2025-06-01T00:00", "end": "2025-06-01T00:00", "kwh": 1}]},
        "values": [{"point": "a", "period": "2025", "got": 2, "due": 1}]}"#;
    let found = problems(json);
    let paths: Vec<_> = found.iter().map(|problem| problem.split_once(": ").unwrap().0).collect();
    let expected = [
        "certificates[0].pv_meter",
        "charging.sessions[0].end",
        "charging.sessions[0].gun",
        "charging.sessions[1].pile",
        "declared[0].enterprise",
        "enterprises[1].id",
        "meters[0].enterprise",
        "meters[1].energy",
        "meters[1].enterprise",
        "meters[1].id",
        "meters[1].parent",
        "meters[2].energy",
        "meters[3].energy",
        "quota.allowances[0].period",
        "stocks[0].opening",
        "totals[0].meter",
        "values[0].got",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn indicators_are_formed_for_their_periods_only() {
    let inputs = inputs("{}");
    assert!(results(&inputs, "EN-02", "2025-06-01").is_empty());
    assert!(results(&inputs, "LA-01", "2025-06").is_empty());
    let ids: std::collections::BTreeSet<_> = INDICATORS.iter().map(|indicator| indicator.id).collect();
    assert_eq!(ids.len(), INDICATORS.len());
    assert!(INDICATORS.iter().all(|indicator| !indicator.zh.is_empty() && !indicator.en.is_empty() && !indicator.periods.is_empty()));
    // With nothing given nothing is 0: every indicator says what is missing.
    for period in ["2025-06", "2025"] {
        for indicator in INDICATORS.iter().filter(|indicator| indicator.periods.contains(&period.parse::<Period>().unwrap().kind())) {
            let result = result(&inputs, indicator.id, period);
            assert_eq!((result.status, result.missing.is_empty()), (Status::Missing, false), "{}", indicator.id);
        }
    }
}

#[test]
fn the_schema_tells_every_input() {
    let schema = serde_json::to_value(schemars::schema_for!(Inputs)).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for name in ["park", "periods", "meters", "totals", "declared", "certificates", "quota", "emissions", "charging", "values"] {
        assert!(properties[name]["description"].is_string(), "{name}");
    }
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
}
