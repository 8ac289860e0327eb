//! The park of `tests/data/indicators.json`: two enterprises, a rollover at the gate, an exchanged meter, PV, gas as material,
//! steam that is sold on, coal by stock.

use expect_test::expect_file;

use super::*;
use crate::indicator::balance::{self, Verdict};

const EXAMPLE: &str = include_str!("../../../../tests/data/indicators.json");

fn example() -> Inputs {
    inputs(EXAMPLE)
}

fn value(id: &str, period: &str) -> (Status, String) {
    let result = result(&example(), id, period);
    (result.status, result.value.unwrap_or_else(|| "-".to_owned()))
}

#[test]
fn every_figure_by_hand() {
    use Status::{Estimated, Incomplete, Missing, Ok};
    // Gate June: register 999 900 -> 100 wraps at 1 000 000: 200 x 4000 = 800 000 kWh; year (900 + 200 + 1300) x 4000 = 9 600 000.
    // acme imports 3000 x 40 + 2250 x 80 = 300 000; year 8000 x 40 + 20 000 x 80 = 1 920 000.
    // Coal June 100 + 50 - 120 = 30 t, estimated; year 80 + 400 - 90 = 390 t.
    for (id, period, status, expected) in [
        // (900 000 x 0.1229 + 100 000 x 1.2143 + 1000 x 34.12 + 30 000 x 0.7143) / 1000 = 110.610 + 121.430 + 34.120 + 21.429
        ("EN-01", "2025-06", Estimated, "287.589"),
        // 10 800 000 x 0.1229 + 1 200 000 x 1.2143 + 12 000 x 34.12 + 390 000 x 0.7143 = 1327.320 + 1457.160 + 409.440 + 278.577
        ("EN-01", "2025", Ok, "3472.497"),
        // 900 000 x 0.3 / 1000 + 176.979
        ("EN-02", "2025-06", Estimated, "446.979"),
        // acme (300 000 + 100 000 - 20 000) x 0.1229 + 800 x 34.12 + 21 429 = 95.427; borealis 58.992 + 121.430 + 6.824 = 187.246
        ("EN-03", "2025-06", Estimated, "282.673"),
        ("EN-03", "2025", Ok, "3334.849"),
        // 282.673 / (2000 + 1500); 3334.849 / 40 000
        ("EN-04", "2025-06", Estimated, "0.080764"),
        ("EN-04", "2025", Ok, "0.083371"),
        // feedstock 30 000 x 1.2143 = 36.429; certificates min(120 000, 100 000) + 50 000 + min(400 000, 300 000) = 450 000 kWh -> 55.305
        ("EN-08", "2025-06", Estimated, "195.855"),
        // 437.148 and (120 000 + 50 000 + 400 000) x 0.1229 / 1000 = 70.053: 3472.497 - 437.148 - 70.053
        ("EN-08", "2025", Ok, "2965.296"),
        // (5 x 200 + 195.855) / 3600
        ("EN-09", "2025-06", Estimated, "0.332182"),
        ("EN-09", "2025", Ok, "0.823693"),
        // linear 1195.855 / 181 x 365 = 2411.5308; seasonal 1195.855 x 2500 / 1250 = 2391.71
        ("EN-10", "2025-06", Estimated, "2411.531"),
        ("EN-10", "2025", Ok, "2965.296"),
        // 3600 - 2411.5308 - 300
        ("EN-11", "2025-06", Estimated, "888.469"),
        ("EN-11", "2025", Ok, "334.704"),
        // (100 000 + 350 000) / 900 000
        ("EN-17", "2025-06", Ok, "0.500000"),
        // (820 000 - 804 000) / 820 000; (9 840 000 - 9 020 000) / 9 840 000
        ("EN-19", "2025-06", Ok, "0.019512"),
        ("EN-19", "2025", Ok, "0.083333"),
        // 70 000 x 1.976521932 + 30 000 x 1.9002988488
        ("CA-01", "2025-06", Estimated, "195.366"),
        ("CA-01", "2025", Ok, "2401.395"),
        // 800 000 x 0.1404 / 1000 + 1000 x 0.11 = 112.32 + 110
        ("CA-02", "2025-06", Ok, "222.320"),
        // 195.3655007 + 12.5 + 222.32
        ("CA-04", "2025-06", Estimated, "430.186"),
        ("CA-04", "2025", Ok, "5081.735"),
        // 10 000 - 1000 + 5000
        ("WA-01", "2025-06", Ok, "14000.000"),
        // 56 000 / 70 000
        ("WA-04", "2025-06", Ok, "0.800000"),
        // hours 0 to 19 but 12 and 13: 17 x 2 + 3 = 37 kg; two hours filled with 3 kg
        ("PO-01", "2025-06-30", Estimated, "0.043"),
        ("PO-01", "2025-06", Incomplete, "0.043"),
        // (30 000 + 20 000) / 100; (800 + 400) / 100; 30 000 / 50 000; 20 000 / 50 000
        ("LA-01", "2025", Ok, "500.000000"),
        ("LA-02", "2025", Ok, "12.000000"),
        ("LA-09", "2025", Ok, "0.600000"),
        ("LA-10", "2025", Ok, "0.400000"),
        // 60 + 80 / 2 + 50; on 30 June 60 + 40
        ("EV-01", "2025-06", Ok, "150.000"),
        ("EV-01", "2025-06-30", Ok, "100.000"),
        // (1 + 2 + 2) / (3 x 720)
        ("EV-02", "2025-06", Ok, "0.002315"),
        // 150 / (180 x 720)
        ("EV-03", "2025-06", Ok, "0.001157"),
        // (2160 - 24) / 2160
        ("EV-04", "2025-06", Ok, "0.988889"),
        // 2140 / 2160
        ("DQ-01", "2025-06", Ok, "0.990741"),
        ("DQ-01", "2025", Missing, "-"),
        // 21.429 / 287.589
        ("DQ-03", "2025-06", Estimated, "0.074513"),
        ("DQ-03", "2025", Ok, "0.000000"),
        // coal is declared for the month only
        ("EN-01", "2025-06-30", Missing, "-"),
        ("CA-02", "2025-06-30", Ok, "7.411"),
    ] {
        assert_eq!(value(id, period), (status, expected.to_owned()), "{id} {period}");
    }
}

#[test]
fn further_figures_by_hand() {
    let example = example();
    for (id, period, name, expected) in [
        ("EN-01", "2025-06", "enterprises", "282.673"),
        // 24 000 x 0.1229 / 1000 = 2.9496; 16 000 x 0.1229 / 1000 = 1.9664
        ("EN-01", "2025-06", "public_area", "2.950"),
        ("EN-01", "2025-06", "network_loss", "1.966"),
        ("EN-04", "2025-06", "per_output", "0.028267"),
        ("EN-04", "2025-06", "productivity", "12.381798"),
        ("EN-08", "2025-06", "feedstock", "36.429"),
        ("EN-08", "2025-06", "certified_renewable", "55.305"),
        // 181 / 365, and 0.3321819 / 0.4958904
        ("EN-09", "2025-06", "time_progress", "0.495890"),
        ("EN-09", "2025-06", "pace", "0.669870"),
        ("EN-10", "2025-06", "linear", "2411.531"),
        ("EN-10", "2025-06", "seasonal", "2391.710"),
        ("EN-11", "2025-06", "seasonal", "908.290"),
        ("CA-01", "2025-06", "process", "12.500"),
        ("CA-01", "2025-06", "with_process", "207.866"),
        ("PO-01", "2025-06-30", "filled_share", "0.139535"),
        ("PO-01", "2025-06-30", "valid_rate", "0.900000"),
        ("PO-01", "2025-06-30", "stopped_hours", "4"),
        // 500 / 460 - 1
        ("LA-01", "2025", "growth", "0.086957"),
        // 5 / (2160 - 24)
        ("EV-02", "2025-06", "without_fault_hours", "0.002341"),
    ] {
        assert_eq!(further(&result(&example, id, period), name), expected, "{id} {period} {name}");
    }
}

#[test]
fn both_sides_of_the_network_agree() {
    let example = example();
    let index = Index::new(&example).unwrap();
    let engine = Engine::new(&index, false);
    let june = engine.context("2025-06".parse::<Period>().unwrap().span(index.zone()));
    let checks = balance::check(&june);
    // 800 000 + 100 000 against 300 000 + 480 000 + 24 000 + 100 000 - 20 000; the loss is 16 000 of 820 000.
    let check = &checks[0];
    let numbers = [&check.supply, &check.used, &check.difference].map(|number| number.clone().unwrap().to_string());
    assert_eq!(numbers, ["900000", "884000", "16000"]);
    assert_eq!((check.verdict, checks.len()), (Verdict::Agrees, 1));
    assert!(balance::parts_above_parents(&june).is_empty());
    // The year's loss of 8.3 % is above 5 %.
    let mut strict = example.clone();
    strict.park.loss_share_max = Some(Number::decimal(5, 2));
    let index = Index::new(&strict).unwrap();
    let engine = Engine::new(&index, false);
    let year = engine.context("2025".parse::<Period>().unwrap().span(index.zone()));
    assert_eq!(balance::check(&year)[0].verdict, Verdict::LossTooLarge);
    // More used than came in.
    strict.meters[4].segments = vec![inputs::Segment { multiplier: Some(Number::from(2)), ..Default::default() }];
    let index = Index::new(&strict).unwrap();
    let engine = Engine::new(&index, false);
    let year = engine.context("2025".parse::<Period>().unwrap().span(index.zone()));
    assert_eq!(balance::check(&year)[0].verdict, Verdict::NegativeLoss);
}

#[test]
fn the_explanation_goes_down_to_registers() {
    let result = result(&example(), "EN-08", "2025-06");
    let tree = serde_json::to_string(&result.explain).unwrap();
    for part in [
        r#""kind":"reading","meter":"gate","time":"2025-06-01T00:00:00+08:00","register":"999900","role":"before_rollover""#,
        r#""meter":"import-acme","time":"2025-06-16T00:00:00+08:00","register":"8000""#,
        r#""input":"stocks[0].opening","source":{"document":"stock sheet 2025-06","author":"li.wei""#,
        r#""kind":"factor""#,
        r#""input":"certificates[0]""#,
    ] {
        assert!(tree.contains(part), "{part} is not in {tree}");
    }
    assert_eq!(result.rules, RULES);
    assert!(result.inputs.contains(&"meters.gate".to_owned()), "{:?}", result.inputs);
    let factors: Vec<_> = result.factors.iter().map(|factor| (factor.key.as_str(), factor.unit.as_str())).collect();
    let expected = [("electricity", "kgce/kWh"), ("heat", "kgce/MJ"), ("natural_gas_gas_field", "kgce/m3"), ("raw_coal", "kgce/kg")];
    assert_eq!(factors, expected);
    let flags: Vec<_> = result.flags.iter().copied().collect();
    assert_eq!(flags, [inputs::Flag::Rollover, inputs::Flag::MeterExchanged]);
    // Without the tree the figure is the same.
    let lines = compute(&example()).unwrap();
    let plain = lines.iter().find(|line| line.indicator == "EN-08").unwrap();
    assert_eq!((&plain.exact, plain.explain.is_none()), (&result.exact, true));
}

#[test]
fn the_lines_of_the_example_are_kept() {
    let lines: Vec<String> = compute(&example()).unwrap().iter().map(|result| serde_json::to_string(result).unwrap()).collect();
    expect_file!["../../../../tests/data/indicators.expected.jsonl"].assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn the_assessment_of_the_year() {
    let example = example();
    let index = Index::new(&example).unwrap();
    let engine = Engine::new(&index, false);
    let assessment = assess::assess(&engine, "2025".parse().unwrap()).unwrap();
    let targets: Vec<_> = assessment.targets.iter().map(|target| (target.id, target.reached.as_deref(), target.met)).collect();
    // 60 % is not above 70 %, 40 % is above 25 %, 2 platforms, growth 8.7 % is above 7 %.
    let expected = [
        ("T2", Some("0.600000"), Some(false)),
        ("T3", Some("0.400000"), Some(true)),
        ("T4", Some("2"), Some(true)),
        ("T5", Some("0.086957"), Some(true)),
    ];
    assert_eq!(targets, expected);
    assert!(assessment.notes.iter().any(|note| note.contains("2021 to 2023")));
    assert!(assess::assess(&engine, "2025-06".parse().unwrap()).is_none());
    // Nothing declared: not known, with the names of what is missing.
    let bare = assess::assess(&engine, "2023".parse().unwrap()).unwrap();
    assert!(bare.targets.iter().all(|target| target.met.is_none() && !target.missing.is_empty()));
    assert!(!bare.notes.iter().any(|note| note.contains("for this year they are a comparison")));
}
