//! Properties over parks made at random, and how long a large park takes.

use proptest::prelude::*;

use super::*;
use crate::indicator::inputs::{DeclaredAmount, Enterprise, Meter, MeterTotal, Place};

fn enterprise(id: &str) -> Enterprise {
    Enterprise { id: id.to_owned(), ..Enterprise::default() }
}

fn meter(id: String, energy: &str, place: Place, enterprise: Option<String>) -> Meter {
    Meter {
        id,
        energy: energy.to_owned(),
        place,
        enterprise,
        parent: None,
        unit: None,
        modulus: None,
        rate_max: None,
        readings_every_minutes: None,
        segments: Vec::new(),
        readings: Vec::new(),
    }
}

fn total(meter: &str, period: &str, amount: Number) -> MeterTotal {
    MeterTotal {
        meter: meter.to_owned(),
        period: period.parse().unwrap(),
        amount: Some(amount),
        flags: Vec::new(),
        estimated: Number::zero(),
        interpolated: Number::zero(),
        completeness: None,
        incomplete: None,
        readings: Vec::new(),
    }
}

fn declared(energy: &str, place: Place, enterprise: Option<&str>, amount: u32) -> DeclaredAmount {
    DeclaredAmount {
        energy: energy.to_owned(),
        place,
        enterprise: enterprise.map(str::to_owned),
        period: "2025-06".parse().unwrap(),
        amount: Number::decimal(i128::from(amount), 2),
        unit: None,
        estimate: false,
        source: Default::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Enterprises + public area + losses = park, whatever goes where; and the order of inputs does not count.
    #[test]
    fn the_parts_are_the_whole(amounts in proptest::collection::vec((0usize..4, 0usize..3, 0usize..3, any::<u32>()), 1..40)) {
        let ids = ["a", "b", "c"];
        let energies = ["electricity", "natural_gas_gas_field", "heat"];
        let mut all = vec![declared("electricity", Place::Gate, None, 4_000_000)];
        for (number, (place, energy, who, amount)) in amounts.iter().enumerate() {
            let place = [Place::Import, Place::InternalExport, Place::Public, Place::Pv][*place];
            let energy = if place == Place::Pv { "electricity" } else { energies[*energy] };
            let who = (place != Place::Public).then_some(ids[*who]);
            let mut entry = declared(energy, place, who, *amount);
            // One entry per place, energy and enterprise counts: tell them apart by day, the rest of the month by nothing.
            entry.source.id = Some(number.to_string());
            all.push(entry);
        }
        let mut inputs = Inputs { enterprises: ids.map(enterprise).to_vec(), amounts: all, certificates: Some(Vec::new()), ..Inputs::default() };
        let park = result(&inputs, "EN-01", "2025-06");
        // The last entry for a place counts, so the order is kept among them and turned round for everything else.
        inputs.enterprises.reverse();
        let turned = result(&inputs, "EN-01", "2025-06");
        prop_assert_eq!(&park.exact, &turned.exact);
        let index = Index::new(&inputs).unwrap();
        let engine = Engine::new(&index, false);
        let june = engine.context("2025-06".parse::<Period>().unwrap().span(index.zone()));
        let enterprises = crate::indicator::energy::enterprises(&june).value.unwrap_or_default();
        let rate = |energy: &str| june.used(crate::factor::FactorKind::Equivalent, energy).unwrap().value * Number::decimal(1, 3);
        let public: Number = energies.iter().map(|energy| {
            let amount = june.at_place(Place::Public, energy, term::label("", "", "")).value.unwrap();
            amount * rate(energy) * if *energy == "heat" { Number::from(1000) } else { Number::one() }
        }).sum();
        let loss = june.balance().loss.value.clone().unwrap() * rate("electricity");
        prop_assert_eq!(park.exact.unwrap(), enterprises + public + loss);
    }

    /// Readings in any order give the same figures.
    #[test]
    fn the_order_of_readings_does_not_count(steps in proptest::collection::vec((1i64..60, 0i64..500), 3..30), seed in any::<u64>()) {
        let start: jiff::Timestamp = "2025-05-31T00:00:00+08:00".parse().unwrap();
        let mut gate = meter("gate".to_owned(), "electricity", Place::Gate, None);
        let (mut at, mut register) = (start.as_millisecond(), 0);
        for (hours, counted) in steps {
            let time = jiff::Timestamp::from_millisecond(at).unwrap().into();
            gate.readings.push(inputs::Reading { time, register: Number::from(register) });
            at += hours * 3_600_000;
            register += counted;
        }
        let straight = Inputs { meters: vec![gate.clone()], ..Inputs::default() };
        let count = gate.readings.len();
        let places: Vec<usize> = (0..count).map(|place| usize::try_from(seed % 1000).unwrap() * 7 + place * 31).collect();
        for (place, other) in places.iter().enumerate() {
            gate.readings.swap(place, other % count);
        }
        let turned = Inputs { meters: vec![gate], ..Inputs::default() };
        for period in ["2025-06", "2025-06-02"] {
            let (one, other) = (result(&straight, "EN-01", period), result(&turned, "EN-01", period));
            prop_assert_eq!((one.exact, one.status, one.flags), (other.exact, other.status, other.flags));
        }
    }
}

/// Rows of a year for 200 enterprises and 5000 meters: months and the year, all indicators.
fn large() -> Inputs {
    let mut park = Inputs { certificates: Some(Vec::new()), process_emissions: Some(Vec::new()), ..Inputs::default() };
    park.meters.push(meter("gate".to_owned(), "electricity", Place::Gate, None));
    for enterprise in 0..200 {
        park.enterprises.push(self::enterprise(&format!("e{enterprise}")));
    }
    for number in 0..4_999 {
        let energy = ["electricity", "natural_gas_gas_field", "heat", "raw_coal"][number % 4];
        park.meters.push(meter(format!("m{number}"), energy, Place::Import, Some(format!("e{}", number % 200))));
    }
    let ids: Vec<String> = park.meters.iter().map(|meter| meter.id.clone()).collect();
    for month in 1..=12 {
        for (number, id) in ids.iter().enumerate() {
            let amount = Number::decimal(123_456_789 + i128::try_from(number * month).unwrap(), 3);
            park.totals.push(total(id, &format!("2025-{month:02}"), amount));
        }
    }
    let allowance = r#"[{"period": "2025", "energy_tce": 900000}]"#;
    let quota = format!(r#"{{"allowances": {allowance}, "committed": [], "last_year": [{{"period": "2024", "energy_tce": 12}}]}}"#);
    park.quota = Some(serde_json::from_str(&quota).unwrap());
    park.periods = (1..=12).map(|month| format!("2025-{month:02}").parse().unwrap()).collect();
    park.periods.push("2025".parse().unwrap());
    park
}

#[test]
fn a_year_of_a_large_park_is_quick_and_its_months_are_the_year() {
    let park = large();
    let begun = std::time::Instant::now();
    let results = compute(&park).unwrap();
    let took = begun.elapsed();
    eprintln!("{} results in {took:?}", results.len());
    let value = |period: &str| {
        let period: Period = period.parse().unwrap();
        results
            .iter()
            .find(|result| result.indicator == "EN-01" && result.period == period)
            .and_then(|result| result.exact.clone())
            .unwrap()
    };
    let months: Number = (1..=12).map(|month| value(&format!("2025-{month:02}"))).sum();
    assert_eq!(months, value("2025"));
    // In a release build a tenth of that; the bound is for a busy machine and our own code hardly optimised.
    assert!(took.as_secs() < 60, "{took:?}");
}
