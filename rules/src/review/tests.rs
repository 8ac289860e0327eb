//! Worked cases of all rules, by hand in comments; ties, units, days at the ends of orders; series.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Number;
use crate::ledger::Pollutant;

/// A park: 1000 tce of headroom, air not attained, water attained.
fn park() -> Value {
    json!({
        "park": "north", "quota_headroom_tce": 1000,
        "ledger": {
            "sources": [
                {"id": "boiler", "pollutant": "NOx", "verified_t": 12},
                {"id": "claimed", "pollutant": "NOx", "verified_t": null, "before_t": 99, "after_t": 0},
                {"id": "sewage", "pollutant": "COD", "verified_t": "5.5"},
                {"id": "paint", "pollutant": "VOCs", "verified_t": 4},
            ],
            "uses": [{"project": "old", "pollutant": "NOx", "amount_t": 2}]
        },
        "last_year_attained": {"pm25": false, "water": true},
        "spare_capacity": {"power_MVA": 10, "gas_Nm3_per_h": 500, "water_m3_per_d": 800, "wastewater_m3_per_d": 600},
        "expansions": [{"resource": "power_MVA", "adds": 5, "ready_on": "2026-06-30"}, {"resource": "power_MVA", "adds": 100, "ready_on": "2026-07-01"}],
        "land_table": {"glass": {"investment_10kCNY_per_mu": 150, "output_10kCNY_per_mu": 250, "tax_10kCNY_per_mu": 8},
            "equipment": {"investment_10kCNY_per_mu": 150, "output_10kCNY_per_mu": 350, "tax_10kCNY_per_mu": 8, "rd_ratio": 0.02}},
        "leading_industries": ["glass"]
    })
}

/// A project that passes.
///
/// 3 000 000 kWh x 0.1229 + 400 000 Nm3 x 1.2143 + 1000 kg x 1.4571 + 0 = 368 700 + 485 720 + 1457.1 kgce = 855.8771 tce.
/// 200 x 150 per mu: 20 000 / 100 = 200; 30 000 / 100 = 300; 1000 / 100 = 10.
fn project() -> Value {
    json!({
        "industry": "glass", "applied_on": "2025-09-01", "production_on": "2026-06-30",
        "land_mu": 100, "fixed_investment_10kCNY": 20000, "annual_output_10kCNY": 30000, "annual_tax_10kCNY": 1000, "rd_ratio": null,
        "energy": {"electricity_kWh": 3000000, "gas_Nm3": 400000, "diesel_kg": 1000}, "feedstock": {}, "certified_renewable_kWh": 0,
        "pollutants_t_per_a": {"SO2": 0, "NOx": 1, "VOCs": 0.5, "COD": 2, "NH3N": 0},
        "demand": {"power_MVA": 4, "gas_Nm3_per_h": 100, "water_m3_per_d": 200, "wastewater_m3_per_d": 150},
        "zoning_compatible": true, "prohibited_process": null, "safety_ok": true, "unit_product_energy_level": 2
    })
}

/// `value` with other values at places such as `energy.coal_kg`; `"absent"` takes the key away.
fn with(mut value: Value, changes: &[(&str, Value)]) -> Value {
    for (path, new) in changes {
        let keys: Vec<&str> = path.split('.').collect();
        let (last, way) = keys.split_last().unwrap();
        let mut at = &mut value;
        for key in way {
            at = &mut at[*key];
        }
        if new == "absent" {
            at.as_object_mut().unwrap().remove(*last);
        } else {
            at[*last] = new.clone();
        }
    }
    value
}

fn answer(project: &Value, park: &Value) -> Answer {
    let tables = Tables::shipped();
    let project = Project::read(project, "", &tables).unwrap();
    let park = ParkState::read(park).unwrap();
    let case = Case { project: &project, park: &park, tables: &tables };
    Answer::new("p", &case, &review(&case))
}

/// The decision, and rule, effect and code of each reason.
fn said(answer: &Answer) -> String {
    let reasons = answer.reasons.iter().map(|reason| format!(" {}:{}", reason.rule.name(), reason.code));
    format!("{}{}", answer.decision.name(), reasons.collect::<String>())
}

/// The project with changes, in the park.
fn check(changes: &[(&str, Value)], expected: &str) -> Answer {
    let answer = answer(&with(project(), changes), &park());
    assert_eq!(said(&answer), expected, "{changes:?}");
    answer
}

/// The project in the park with changes.
fn check_park(changes: &[(&str, Value)], expected: &str) -> Answer {
    let answer = answer(&project(), &with(park(), changes));
    assert_eq!(said(&answer), expected, "{changes:?}");
    answer
}

#[test]
fn a_project_that_nothing_stands_against_passes() {
    let answer = check(&[], "pass");
    assert_eq!(answer.total_tce.as_deref(), Some("855.877"));
    assert_eq!(answer.controlled_tce.as_deref(), Some("855.877"));
    assert_eq!(answer.shortfall_tce, None);
    let review = answer.energy_review.unwrap();
    assert_eq!((review.order.as_str(), review.level.name()), ("NDRC-31-2025", "exempt"));
    assert!(answer.rules.iter().all(|row| row.outcome == "pass"));
    assert_eq!(answer.leading_industry, Some(true));
    assert!(answer.advice.zh.contains("项目准入测算表（参考）"));
}

#[test]
fn amounts_take_feedstock_and_certificates_off_and_stop_at_zero() {
    // Feedstock 100 000 Nm3 x 1.2143 = 121.43 tce; certified 1 000 000 kWh x 0.1229 = 122.9 tce; 855.8771 - 244.33 = 611.5471.
    let changes = [("feedstock.gas_Nm3", json!(100000)), ("certified_renewable_kWh", json!(1000000))];
    let answer = check(&changes, "pass");
    assert_eq!((answer.total_tce.as_deref(), answer.controlled_tce.as_deref()), (Some("855.877"), Some("611.547")));
    // 10 000 000 kWh of certificates are 1229 tce, more than all: 0, and a note.
    let answer = check(&[("certified_renewable_kWh", json!(10000000))], "pass");
    assert_eq!((answer.controlled_tce.as_deref(), answer.notes.len()), (Some("0.000"), 1));
    // Units: 1000 kg of raw coal 0.7143 t; 10 GJ of heat 10 x 34.12 kgce; other_tce as it is.
    let energy = json!({"coal_kg": 1000, "heat_GJ": 10, "other_tce": "100.5"});
    // 714.3 + 341.2 kgce = 1.0555 tce; + 100.5 = 101.5555, half to even: 101.556.
    let answer = check(&[("energy", energy)], "pass");
    assert_eq!(answer.total_tce.as_deref(), Some("101.556"));
    // 2.5 of the last place go to the even side: 0.0005 tce.
    let answer = check(&[("energy", json!({"other_tce": "0.0005"}))], "pass");
    assert_eq!(answer.total_tce.as_deref(), Some("0.000"));
}

#[test]
fn r1_each_cause_is_a_veto_even_beside_missing_inputs() {
    check(&[("zoning_compatible", json!(false))], "reject R1:zoning_not_compatible");
    check(&[("prohibited_process", json!("mercury cells"))], "reject R1:prohibited_process");
    check(&[("safety_ok", json!(false))], "reject R1:safety_or_environment_not_met");
    let all = [
        ("zoning_compatible", json!(false)),
        ("prohibited_process", json!("x")),
        ("safety_ok", json!(false)),
        ("land_mu", json!("absent")),
    ];
    let all = check(&all, "reject R1:zoning_not_compatible R1:prohibited_process R1:safety_or_environment_not_met R8:inputs_missing");
    assert!(all.reasons.iter().take(3).all(|reason| reason.veto));
}

/// Filing date, energy; order, level, decision.
fn energy_review(applied_on: &str, energy: Value, order: &str, level: &str, decision: &str) {
    let park = with(park(), &[("quota_headroom_tce", json!(1000000))]);
    let answer = answer(&with(project(), &[("applied_on", json!(applied_on)), ("energy", energy.clone())]), &park);
    let review = answer.energy_review.as_ref().map(|review| (review.order.as_str(), review.level.name()));
    assert_eq!((review, answer.decision.name()), (Some((order, level)), decision), "{applied_on} {energy}");
}

#[test]
fn r2_the_order_on_the_filing_date_decides_with_both_its_ends() {
    let tce = |tce: &str| json!({ "other_tce": tce });
    // 6 000 000 kWh are 737.4 tce: reviewed by electricity until 31 August 2025, exempt from 1 September (order 31).
    let much_power = || json!({"electricity_kWh": 6000000});
    energy_review("2025-08-31", much_power(), "NDRC-2-2023", "local", "conditional");
    energy_review("2025-09-01", much_power(), "NDRC-31-2025", "exempt", "pass");
    // 1 200 000 kg of raw coal are 857.16 tce and 1200 t: exempt before, reviewed from 1 September 2025.
    let much_coal = || json!({"coal_kg": 1200000});
    energy_review("2025-08-31", much_coal(), "NDRC-2-2023", "exempt", "pass");
    energy_review("2025-09-01", much_coal(), "NDRC-31-2025", "local", "conditional");
    // Equal to a threshold is not exempt: 1000 tce; 5 000 000 kWh (614.5 tce); 1000 t of coal (714.3 tce).
    energy_review("2025-09-01", tce("1000"), "NDRC-31-2025", "local", "conditional");
    energy_review("2025-09-01", tce("999.999999"), "NDRC-31-2025", "exempt", "pass");
    energy_review("2024-01-01", json!({"electricity_kWh": 5000000}), "NDRC-2-2023", "local", "conditional");
    energy_review("2024-01-01", json!({"electricity_kWh": 4999999}), "NDRC-2-2023", "exempt", "pass");
    energy_review("2025-09-01", json!({"coal_kg": 1000000}), "NDRC-31-2025", "local", "conditional");
    energy_review("2025-09-01", json!({"coal_kg": "999999.999"}), "NDRC-31-2025", "exempt", "pass");
    // Washed coal is no raw coal.
    energy_review("2025-09-01", json!({"washed_coal_kg": 1100000}), "NDRC-31-2025", "exempt", "pass");
    // Provincial from 5000 tce until 31 May 2023, from 10 000 tce since 1 June.
    energy_review("2017-01-01", tce("5000"), "NDRC-44", "provincial", "conditional");
    energy_review("2017-01-01", tce("4999.999"), "NDRC-44", "local", "conditional");
    energy_review("2023-05-31", tce("9999"), "NDRC-44", "provincial", "conditional");
    energy_review("2023-06-01", tce("9999.999"), "NDRC-2-2023", "local", "conditional");
    energy_review("2023-06-01", tce("10000"), "NDRC-2-2023", "provincial", "conditional");
    energy_review("2030-01-01", tce("10000"), "NDRC-31-2025", "provincial", "conditional");
    // Compared before feedstock and certificates are taken off.
    let park = with(park(), &[("quota_headroom_tce", json!(1000000))]);
    let changes =
        [("energy", json!({"gas_Nm3": 1000000})), ("feedstock", json!({"gas_Nm3": 1000000})), ("applied_on", json!("2025-08-31"))];
    let answer = answer(&with(project(), &changes), &park);
    assert_eq!((said(&answer).as_str(), answer.controlled_tce.as_deref()), ("conditional R2:energy_review_needed", Some("0.000")));
}

#[test]
fn r2_an_approved_review_clears_it_and_no_order_is_said_not_guessed() {
    let much = ("energy", json!({"electricity_kWh": 6000000}));
    let before = ("applied_on", json!("2025-08-31"));
    check(&[much.clone(), before.clone()], "conditional R2:energy_review_needed");
    check(&[much.clone(), before, ("energy_review_approved", json!(true))], "pass");
    // The production date plays no part.
    check(&[much.clone(), ("production_on", json!("2025-08-30"))], "pass");
    let answer = check(&[much, ("applied_on", json!("2016-12-31"))], "pass R2:no_order");
    assert_eq!((answer.energy_review, answer.rules[1].outcome), (None, "not_tested"));
}

#[test]
fn r3_headroom_then_the_province_then_replacement() {
    // Exactly the headroom passes; 0.0001 more does not: 855.8771.
    check_park(&[("quota_headroom_tce", json!("855.8771"))], "pass");
    let short = [("quota_headroom_tce", json!("855.877"))];
    let answer = check_park(&short, "reject R3:quota_short");
    assert_eq!((answer.shortfall_tce.as_deref(), answer.controlled_tce.as_deref()), (Some("0.000"), Some("855.877")));
    // Shortfall 855.8771 - 800 = 55.8771; the project is exempt from energy review and tested all the same.
    let park = with(park(), &[("quota_headroom_tce", json!(800))]);
    let run = |changes: &[(&str, Value)]| {
        let answer = answer_in(&park, changes);
        assert_eq!(answer.shortfall_tce.as_deref(), Some("55.877"));
        said(&answer)
    };
    assert_eq!(run(&[]), "reject R3:quota_short");
    assert_eq!(run(&[("replacement_energy_tce", json!("55.877"))]), "reject R3:quota_short");
    assert_eq!(run(&[("replacement_energy_tce", json!("55.8771"))]), "conditional R3:replacement_covers");
    assert_eq!(run(&[("province_pre_review", json!("follow"))]), "conditional R3:province_follows");
    let both = [("province_pre_review", json!("follow")), ("replacement_energy_tce", json!(100))];
    assert_eq!(run(&both), "conditional R3:province_follows");
    assert_eq!(run(&[("province_pre_review", json!("not now"))]), "reject R3:quota_short");
}

#[test]
fn r4_levels_one_and_two_and_no_standard_pass() {
    for (level, expected) in [
        (json!(1), "pass"),
        (json!(2), "pass"),
        (json!(null), "pass"),
        (json!(3), "reject R4:product_energy_too_high"),
        (json!("absent"), "incomplete R8:inputs_missing"),
    ] {
        check(&[("unit_product_energy_level", level)], expected);
    }
}

#[test]
fn r5_each_indicator_by_its_unrounded_ratio() {
    let one = |amount: &str| ("fixed_investment_10kCNY", json!(amount));
    // Threshold 150 x 100 mu = 15 000; 0.8 of it 12 000.
    check(&[one("15000")], "pass");
    let answer = check(&[one("14999.999")], "conditional R5:land_one_by_one");
    // Shown as 1.0000, not taken for it.
    assert_eq!((answer.land[0].value.as_str(), answer.land[0].ratio.as_str()), ("150.0000", "1.0000"));
    check(&[one("12000")], "conditional R5:land_one_by_one");
    check(&[one("11999.999")], "reject R5:land_too_low");
    // 7000 / 30 = 233.3333 of 150 = 1.5556.
    let answer =
        check(&[one("7000"), ("land_mu", json!(30)), ("annual_output_10kCNY", json!(7500)), ("annual_tax_10kCNY", json!(240))], "pass");
    let shown: Vec<_> = answer.land.iter().map(|row| (row.indicator, row.value.as_str(), row.ratio.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("investment_10kCNY_per_mu", "233.3333", "1.5556"),
            ("output_10kCNY_per_mu", "250.0000", "1.0000"),
            ("tax_10kCNY_per_mu", "8.0000", "1.0000"),
        ]
    );
    // One reason per indicator.
    check(
        &[one("1"), ("annual_output_10kCNY", json!(22000)), ("annual_tax_10kCNY", json!(0))],
        "reject R5:land_too_low R5:land_one_by_one R5:land_too_low",
    );
    // R&D: 0.02 is due of equipment; 350 x 100 of output.
    let equipment = |rd: Value| [("industry", json!("equipment")), ("annual_output_10kCNY", json!(35000)), ("rd_ratio", rd)];
    check(&equipment(json!(0.02)), "pass");
    check(&equipment(json!(0.016)), "conditional R5:land_one_by_one");
    check(&equipment(json!(0.0159)), "reject R5:land_too_low");
    let answer = check(&equipment(json!(null)), "reject R5:land_too_low");
    assert_eq!((answer.land[3].value.as_str(), answer.leading_industry), ("0.0000", Some(false)));
    check(&equipment(json!("absent")), "incomplete R8:inputs_missing");
    // No row: said, not guessed.
    let answer = check(&[("industry", json!("tea"))], "pass R5:industry_without_row");
    assert_eq!(answer.rules[4].outcome, "not_tested");
    // An empty threshold is not tested.
    let park = with(park(), &[("land_table.glass.investment_10kCNY_per_mu", json!(null))]);
    assert_eq!(said(&answer_in(&park, &[one("1")])), "pass");
}

#[test]
fn r6_air_needs_twice_where_air_was_missed_and_water_where_water_was() {
    let nox = |amount: &str| ("pollutants_t_per_a.NOx", json!(amount));
    // Balance 12 - 2 = 10 (the claim does not count); need 2 x 5 = 10: equal passes.
    let answer = check(&[nox("5")], "pass");
    let row = answer.pollutants.iter().find(|row| row.pollutant == "NOx").unwrap();
    assert_eq!((row.ratio.as_str(), row.need_t.as_str(), row.balance_t.as_deref()), ("2", "10.00", Some("10.00")));
    assert!(row.ratio_mark.contains("mem"));
    let answer = check(&[nox("5.0005")], "reject R6:pollutant_short");
    // 10.001 - 10 = 0.001: shown 0.00, short all the same.
    assert_eq!(answer.reasons[0].numbers["shortage_t"], "0.00");
    // Own reductions are not multiplied: 2 x 6 = 12 = 10 + 2.
    check(&[nox("6"), ("own_verified_reduction_t", json!({"NOx": 2}))], "pass");
    check(&[nox("6"), ("own_verified_reduction_t", json!({"NOx": "1.999"}))], "reject R6:pollutant_short");
    // Water was attained: COD 5.5 x 1 of 5.5.
    check(&[("pollutants_t_per_a.COD", json!(5.5))], "pass");
    check(&[("pollutants_t_per_a.COD", json!("5.501"))], "reject R6:pollutant_short");
    // One reason per pollutant; dust is air.
    check(
        &[nox("6"), ("pollutants_t_per_a.NH3N", json!(0.001)), ("pollutants_t_per_a.dust", json!(1))],
        "reject R6:pollutant_short R6:pollutant_short R6:pollutant_short",
    );
    // Attained air: ratio 1, 10 of 10. Missed water: 2 x 2 = 4 of 5.5, then 2 x 2.75, then more.
    let other = with(park(), &[("last_year_attained", json!({"pm25": true, "water": false}))]);
    let run = |changes: &[(&str, Value)]| said(&answer_in(&other, changes));
    assert_eq!(run(&[nox("10")]), "pass");
    assert_eq!(run(&[nox("10.01")]), "reject R6:pollutant_short");
    assert_eq!(run(&[("pollutants_t_per_a.COD", json!("2.75"))]), "pass");
    assert_eq!(run(&[("pollutants_t_per_a.COD", json!("2.751"))]), "reject R6:pollutant_short");
    // A missing increment is left to R8, the others are tested.
    let answer = check(&[nox("6"), ("pollutants_t_per_a.COD", json!(null))], "incomplete R6:pollutant_short R8:inputs_missing");
    assert_eq!(answer.missing, ["pollutants_t_per_a.COD"]);
}

#[test]
fn r6_before_its_first_ratio_is_not_tested_and_says_so() {
    let nox = ("pollutants_t_per_a.NOx", json!(1000));
    let on = |day: &str| ("applied_on", json!(day));
    check(&[nox.clone(), on("2014-12-30")], "reject R2:no_order R6:pollutant_short");
    let answer = check(&[nox, on("2014-12-29")], "pass R2:no_order R6:no_ratio");
    assert_eq!((answer.rules[5].outcome, answer.missing.len(), answer.pollutants.len()), ("not_tested", 0, 0));
    let reason = &answer.reasons[1];
    assert!(reason.en.starts_with("filed on 2014-12-29, before 2014-12-30"), "{}", reason.en);
    assert_eq!(reason.numbers["pollutants"], "SO2, NOx, VOCs, COD, NH3N");
    // Without a filing date it is the date that is missing.
    check(&[on("absent")], "incomplete R8:inputs_missing");
}

/// The program's ledger keeps 3 decimals: needs are rounded up, own reductions down, as they will be entered.
#[test]
fn a_kept_ledger_shows_what_it_will_take() {
    let project = with(
        project(),
        &[
            ("pollutants_t_per_a.NOx", json!("5.00001")),
            ("own_verified_reduction_t", json!({"NOx": "0.0019", "COD": "0.0009"})),
            ("energy", json!({"other_tce": "100.00001"})),
        ],
    );
    let tables = Tables::shipped();
    let project = Project::read(&project, "", &tables).unwrap();
    let mut park = ParkState::read(&park()).unwrap();
    let run = |park: &ParkState| {
        let found = reserve::one(0, "p", &project, park, &tables);
        let row = found.answer.pollutants.iter().find(|row| row.pollutant == "NOx").unwrap().clone();
        (found, [row.need_t, row.own_verified_reduction_t, row.available_t.unwrap()])
    };
    // 2 x 5.00001 = 10.00002 of 10 + 0.0019: exact, a pass.
    let (found, shown) = run(&park);
    assert_eq!((found.answer.decision.name(), shown), ("pass", ["10.00", "0.00", "10.00"].map(str::to_owned)));
    let nox = |taken: &Reservation| taken.needs.iter().find(|need| need.pollutant == Pollutant::Nox).unwrap().need.to_string();
    assert_eq!(nox(&found.reservation.unwrap()), "10.00002");
    // As it is entered: 10.001 of 10 + 0.001.
    park.ledger.is_kept = true;
    let (found, shown) = run(&park);
    assert_eq!((found.answer.decision.name(), shown), ("pass", ["10.001", "0.001", "10.001"].map(str::to_owned)));
    let taken = found.reservation.unwrap();
    assert_eq!((nox(&taken), taken.controlled_tce.to_string()), ("10.001".to_owned(), "100.001".to_owned()));
    assert_eq!(found.answer.controlled_tce.as_deref(), Some("100.001"));
    // 0.0009 t of COD are nothing that could be entered.
    assert_eq!(taken.own.iter().map(|(pollutant, own)| format!("{} {own}", pollutant.name())).collect::<Vec<_>>(), ["NOx 0.001"]);
}

fn answer_in(park: &Value, changes: &[(&str, Value)]) -> Answer {
    answer(&with(project(), changes), park)
}

#[test]
fn r7_expansions_ready_on_the_day_of_production_count() {
    let power = |amount: &str| ("demand.power_MVA", json!(amount));
    check(&[power("10")], "pass");
    check(&[power("10.001")], "conditional R7:expansion_needed");
    // 10 + 5 that are ready on 30 June 2026, the day of production; the 100 of 1 July are not.
    check(&[power("15")], "conditional R7:expansion_needed");
    check(&[power("15.001")], "reject R7:capacity_short");
    check(&[power("15.001"), ("production_on", json!("2026-07-01"))], "conditional R7:expansion_needed");
    check(&[power("11"), ("production_on", json!("2026-06-29"))], "reject R7:capacity_short");
    check(&[("demand.water_m3_per_d", json!(801)), ("demand.gas_Nm3_per_h", json!(501))], "reject R7:capacity_short R7:capacity_short");
}

#[test]
fn r8_names_all_that_is_missing_and_zero_is_a_value() {
    let answer = check(
        &[
            ("industry", json!(null)),
            ("feedstock", json!("absent")),
            ("energy.gas_Nm3", json!(null)),
            ("pollutants_t_per_a.COD", json!(null)),
            ("pollutants_t_per_a.SO2", json!("absent")),
            ("demand.power_MVA", json!("absent")),
            ("rd_ratio", json!("absent")),
            ("prohibited_process", json!("absent")),
        ],
        "incomplete R8:inputs_missing",
    );
    assert_eq!(
        answer.missing,
        [
            "industry",
            "rd_ratio",
            "energy.gas_Nm3",
            "feedstock",
            "pollutants_t_per_a.SO2",
            "pollutants_t_per_a.COD",
            "demand.power_MVA",
            "prohibited_process",
        ]
    );
    assert_eq!((answer.total_tce, answer.controlled_tce), (None, None));
    // Beside other rejects it stays incomplete, and they are listed.
    check(
        &[("land_mu", json!("absent")), ("unit_product_energy_level", json!(3))],
        "incomplete R4:product_energy_too_high R8:inputs_missing",
    );
    // What the park does not know is named, where this project needs it.
    for (place, name) in [
        ("quota_headroom_tce", "park.quota_headroom_tce"),
        ("last_year_attained", "park.last_year_attained.pm25"),
        ("ledger", "park.ledger.balances_t.NOx"),
        ("spare_capacity", "park.spare_capacity.power_MVA"),
        ("land_table", "park.land_table"),
    ] {
        let answer = check_park(&[(place, json!("absent"))], "incomplete R8:inputs_missing");
        assert!(answer.missing.iter().any(|one| one == name), "{place}: {:?}", answer.missing);
    }
    // An empty project misses every field without a default.
    let tables = Tables::shipped();
    let (empty, park) = (Project::default(), ParkState::read(&park()).unwrap());
    let case = Case { project: &empty, park: &park, tables: &tables };
    assert_eq!(rule::complete::missing(&case).len(), 17);
}

fn projects(all: &[(&str, Value)]) -> Vec<(String, Project)> {
    let tables = Tables::shipped();
    all.iter().map(|(name, value)| ((*name).to_owned(), Project::read(value, "", &tables).unwrap())).collect()
}

fn told(reviewed: &[Reviewed]) -> Vec<(String, &'static str)> {
    reviewed.iter().map(|one| (one.answer.project.clone(), one.answer.decision.name())).collect()
}

#[test]
fn a_series_is_decided_in_filing_order_and_the_order_changes_what_comes_out() {
    // Each needs 2 x 3 = 6 t of 10 t NOx: alone each passes, of two only the one that filed first.
    let nox = |applied_on: &str| {
        with(project(), &[("pollutants_t_per_a.NOx", json!(3)), ("applied_on", json!(applied_on)), ("energy", json!({}))])
    };
    let tables = Tables::shipped();
    let park = ParkState::read(&park()).unwrap();
    let given = projects(&[("late", nox("2025-10-02")), ("early", nox("2025-10-01"))]);
    assert_eq!(told(&each(&given, &park, &tables)), [("late".to_owned(), "pass"), ("early".to_owned(), "pass")]);
    let (reviewed, left) = series(&given, &park, &tables);
    assert_eq!(told(&reviewed), [("early".to_owned(), "pass"), ("late".to_owned(), "reject")]);
    assert_eq!(reviewed[0].index, 1);
    assert_eq!(left.balance(Pollutant::Nox, None), Some(Number::from(4)));
    let given = projects(&[("late", nox("2025-09-30")), ("early", nox("2025-10-01"))]);
    assert_eq!(told(&series(&given, &park, &tables).0), [("late".to_owned(), "pass"), ("early".to_owned(), "reject")]);
    // One day: the order given.
    let given = projects(&[("b", nox("2025-10-01")), ("a", nox("2025-10-01"))]);
    assert_eq!(told(&series(&given, &park, &tables).0), [("b".to_owned(), "pass"), ("a".to_owned(), "reject")]);
}

#[test]
fn a_reservation_takes_needs_energy_and_brings_own_reductions() {
    let tables = Tables::shipped();
    let park = with(park(), &[("quota_headroom_tce", json!(1000))]);
    let state = ParkState::read(&park).unwrap();
    // Needs NOx 2 x 6 = 12, own 5: balance 10 + 5 - 12 = 3. VOCs 2 x 0.5 = 1: 4 - 1 = 3. COD 2: 5.5 - 2 = 3.5. Headroom
    // 1000 - 855.8771 = 144.1229.
    let first = with(project(), &[("pollutants_t_per_a.NOx", json!(6)), ("own_verified_reduction_t", json!({"NOx": 5}))]);
    // The next has a shortfall of 855.8771 - 144.1229 = 711.7542 that the province covers: the headroom stops at 0.
    let second = with(project(), &[("province_pre_review", json!("follow")), ("applied_on", json!("2025-09-02"))]);
    // A reject and an incomplete file take nothing.
    let third = with(project(), &[("safety_ok", json!(false)), ("applied_on", json!("2025-09-03"))]);
    let fourth = with(project(), &[("applied_on", json!("absent"))]);
    let given = projects(&[("fourth", fourth), ("third", third), ("second", second), ("first", first)]);
    let (reviewed, left) = series(&given, &state, &tables);
    let decisions = [("first", "pass"), ("second", "conditional"), ("third", "reject"), ("fourth", "incomplete")];
    assert_eq!(told(&reviewed), decisions.map(|(name, decision)| (name.to_owned(), decision)));
    assert_eq!(reviewed[1].answer.shortfall_tce.as_deref(), Some("711.754"));
    assert_eq!(left.quota_headroom_tce, Some(Number::zero()));
    // NOx 3 - 2 x 1 = 1; VOCs 3 - 1 = 2; COD 3.5 - 2 = 1.5.
    let balances = [Pollutant::Nox, Pollutant::Vocs, Pollutant::Cod].map(|one| left.balance(one, None).unwrap().to_string());
    assert_eq!(balances, ["1", "2", "1.5"]);
    assert_eq!(left.spare_capacity, state.spare_capacity);
    // What is left is a state again.
    assert_eq!(ParkState::read(&left.to_value()).unwrap(), left);
    // The same by balances.
    let ledger = json!({"balances_t": {"SO2": 0, "NOx": 10, "VOCs": 4, "COD": 5.5, "NH3N": 0}});
    let state = ParkState::read(&with(park.clone(), &[("ledger", ledger)])).unwrap();
    let (again, left) = series(&given, &state, &tables);
    assert_eq!(told(&again), told(&reviewed));
    let balances = [Pollutant::Nox, Pollutant::Vocs, Pollutant::Cod].map(|one| left.balance(one, None).unwrap().to_string());
    assert_eq!(balances, ["1", "2", "1.5"]);
    // A headroom below 0 is not raised to 0.
    let state = ParkState::read(&with(park, &[("quota_headroom_tce", json!(-5))])).unwrap();
    let given = projects(&[("p", with(project(), &[("province_pre_review", json!("follow"))]))]);
    assert_eq!(series(&given, &state, &tables).1.quota_headroom_tce, Some(Number::from(-5)));
}

#[test]
fn an_expired_source_serves_no_later_project() {
    let expiring = |expiry: &str| {
        with(
            park(),
            &[(
                "ledger.sources",
                json!([
        {"id": "boiler", "pollutant": "NOx", "verified_t": 12, "expiry": expiry}, {"id": "sewage", "pollutant": "COD", "verified_t": 5},
        {"id": "paint", "pollutant": "VOCs", "verified_t": 4}]),
            )],
        )
    };
    assert_eq!(said(&answer(&project(), &expiring("2025-09-01"))), "pass");
    assert_eq!(said(&answer(&project(), &expiring("2025-08-31"))), "reject R6:pollutant_short");
}

/// The form of an answer is a contract: names, order, decimals.
#[test]
fn the_answer_has_this_form() {
    let changes = [
        ("unit_product_energy_level", json!(3)),
        ("pollutants_t_per_a", json!({"SO2": 0, "NOx": "5.25", "VOCs": 0, "COD": null, "NH3N": 0})),
        ("fixed_investment_10kCNY", json!(13000)),
        ("demand.power_MVA", json!(12)),
        ("applied_on", json!("2025-08-31")),
        ("energy.electricity_kWh", json!(6000000)),
    ];
    let text = serde_json::to_string_pretty(&answer(&with(project(), &changes), &park())).unwrap();
    check_text(
        &text,
        expect![[r#"
        {
          "project": "p",
          "applied_on": "2025-08-31",
          "decision": "incomplete",
          "decision_zh": "材料不全",
          "advice": {
            "zh": "项目准入测算表（参考）：仅供会商参考，不构成审批意见",
            "en": "admission worksheet (for reference): advice to the meeting, not an approval"
          },
          "total_tce": "1224.577",
          "controlled_tce": "1224.577",
          "headroom_tce": "1000.000",
          "shortfall_tce": "224.577",
          "energy_review": {
            "order": "NDRC-2-2023",
            "order_zh": "国家发展和改革委员会令2023年第2号《固定资产投资项目节能审查办法》",
            "level": "local",
            "approved": false,
            "mark": "H"
          },
          "leading_industry": true,
          "land": [
            {
              "indicator": "investment_10kCNY_per_mu",
              "value": "130.0000",
              "threshold": "150",
              "ratio": "0.8667"
            },
            {
              "indicator": "output_10kCNY_per_mu",
              "value": "300.0000",
              "threshold": "250",
              "ratio": "1.2000"
            },
            {
              "indicator": "tax_10kCNY_per_mu",
              "value": "10.0000",
              "threshold": "8",
              "ratio": "1.2500"
            }
          ],
          "pollutants": [
            {
              "pollutant": "SO2",
              "increment_t": "0",
              "ratio": "2",
              "why": {
                "zh": "上年度PM2.5未达标",
                "en": "PM2.5 not attained last year"
              },
              "ratio_mark": "principle H; factor 2 mem, M-H",
              "need_t": "0.00",
              "balance_t": "0.00",
              "own_verified_reduction_t": "0.00",
              "available_t": "0.00",
              "shortage_t": null
            },
            {
              "pollutant": "NOx",
              "increment_t": "5.25",
              "ratio": "2",
              "why": {
                "zh": "上年度PM2.5未达标",
                "en": "PM2.5 not attained last year"
              },
              "ratio_mark": "principle H; factor 2 mem, M-H",
              "need_t": "10.50",
              "balance_t": "10.00",
              "own_verified_reduction_t": "0.00",
              "available_t": "10.00",
              "shortage_t": "0.50"
            },
            {
              "pollutant": "VOCs",
              "increment_t": "0",
              "ratio": "2",
              "why": {
                "zh": "上年度PM2.5未达标",
                "en": "PM2.5 not attained last year"
              },
              "ratio_mark": "principle H; factor 2 mem, M-H",
              "need_t": "0.00",
              "balance_t": "4.00",
              "own_verified_reduction_t": "0.00",
              "available_t": "4.00",
              "shortage_t": null
            },
            {
              "pollutant": "NH3N",
              "increment_t": "0",
              "ratio": "1",
              "why": {
                "zh": "上年度水质达标",
                "en": "water quality attained last year"
              },
              "ratio_mark": "principle H; factor 2 mem, M-H",
              "need_t": "0.00",
              "balance_t": "0.00",
              "own_verified_reduction_t": "0.00",
              "available_t": "0.00",
              "shortage_t": null
            }
          ],
          "capacity": [
            {
              "resource": "power_MVA",
              "demand": "12",
              "spare": "10",
              "expansions": "5"
            },
            {
              "resource": "gas_Nm3_per_h",
              "demand": "100",
              "spare": "500",
              "expansions": "0"
            },
            {
              "resource": "water_m3_per_d",
              "demand": "200",
              "spare": "800",
              "expansions": "0"
            },
            {
              "resource": "wastewater_m3_per_d",
              "demand": "150",
              "spare": "600",
              "expansions": "0"
            }
          ],
          "rules": [
            {
              "rule": "R1",
              "title": {
                "zh": "项目准入（分区管控、禁止工艺、安全环保）",
                "en": "admission: zoning, prohibited process, safety and environment"
              },
              "outcome": "pass"
            },
            {
              "rule": "R2",
              "title": {
                "zh": "固定资产投资项目节能审查",
                "en": "energy review of the project"
              },
              "outcome": "conditional"
            },
            {
              "rule": "R3",
              "title": {
                "zh": "能耗指标",
                "en": "energy quota"
              },
              "outcome": "reject"
            },
            {
              "rule": "R4",
              "title": {
                "zh": "单位产品能耗限额",
                "en": "unit product energy"
              },
              "outcome": "reject"
            },
            {
              "rule": "R5",
              "title": {
                "zh": "标准地",
                "en": "standard land"
              },
              "outcome": "conditional"
            },
            {
              "rule": "R6",
              "title": {
                "zh": "主要污染物总量替代",
                "en": "substitution of pollutant totals"
              },
              "outcome": "reject"
            },
            {
              "rule": "R7",
              "title": {
                "zh": "基础设施余量",
                "en": "spare capacity"
              },
              "outcome": "conditional"
            },
            {
              "rule": "R8",
              "title": {
                "zh": "材料完整性",
                "en": "completeness"
              },
              "outcome": "incomplete"
            }
          ],
          "reasons": [
            {
              "rule": "R2",
              "effect": "conditional",
              "veto": false,
              "code": "energy_review_needed",
              "zh": "年综合能耗 1224.577 tce（当量值），须在开工前取得地方节能审查意见（NDRC-2-2023）",
              "en": "1224.577 tce a year (equivalent value): a local energy review opinion is needed before construction (NDRC-2-2023)",
              "numbers": {
                "electricity_kWh": "6000000",
                "exempt_below_kWh": "5000000",
                "exempt_below_tce": "1000",
                "provincial_from_tce": "10000",
                "total_tce": "1224.577"
              },
              "change": {
                "zh": "取得节能审查意见；或各项均严格低于免审限值（1000 tce, 5000000 kWh）",
                "en": "an approved energy review; or every value strictly below what is exempt (1000 tce, 5000000 kWh)"
              },
              "basis": "国家发展和改革委员会令2023年第2号《固定资产投资项目节能审查办法》",
              "mark": "H"
            },
            {
              "rule": "R3",
              "effect": "reject",
              "veto": false,
              "code": "quota_short",
              "zh": "纳入总量控制能耗 1224.577 tce，超过能耗指标余量 1000.000 tce，缺口 224.577 tce；省级未承诺保障，已核实替代量 0.000 tce 不足",
              "en": "controlled energy 1224.577 tce is above the headroom of 1000.000 tce: a shortfall of 224.577 tce; the province does not provide it, and verified replacement energy of 0.000 tce does not cover it",
              "numbers": {
                "controlled_tce": "1224.577",
                "headroom_tce": "1000.000",
                "replacement_energy_tce": "0.000",
                "shortfall_tce": "224.577"
              },
              "change": {
                "zh": "再核实替代量 224.5771 tce，或省级预审意见为 follow，或降低能耗、增加绿证、腾出指标共 224.5771 tce",
                "en": "224.5771 tce more of verified replacement, or the province's opinion `follow`, or 224.5771 tce less of energy or more of headroom"
              },
              "basis": "四川省“5+1”重点特色园区三年行动计划（2021—2023年）：能耗指标由省统筹保障；省2024年要素保障措施：能耗替代量",
              "mark": "H, M; form program"
            },
            {
              "rule": "R4",
              "effect": "reject",
              "veto": false,
              "code": "product_energy_too_high",
              "zh": "单位产品能耗为 3 级，新建项目应达到 2 级（准入值）",
              "en": "unit product energy is of level 3; a new plant needs level 2 or better",
              "numbers": {
                "level": "3",
                "level_worst": "2"
              },
              "change": {
                "zh": "改进工艺设备，达到 2 级",
                "en": "process or equipment of level 2 or better"
              },
              "basis": "国家单位产品能源消耗限额标准：新建项目 2 级（准入值），例如 GB 29435-2025",
              "mark": "H"
            },
            {
              "rule": "R5",
              "effect": "conditional",
              "veto": false,
              "code": "land_one_by_one",
              "zh": "亩均固定资产投资 130.0000 / 150 = 0.8667，一事一议",
              "en": "fixed investment per mu 130.0000 / 150 = 0.8667: to be dealt with one by one",
              "numbers": {
                "conditional_ratio": "0.8",
                "indicator": "investment_10kCNY_per_mu",
                "pass_ratio": "1",
                "ratio": "0.8667",
                "threshold": "150",
                "value": "130.0000"
              },
              "change": {
                "zh": "亩均固定资产投资提高 20 达到 150",
                "en": "20 more of fixed investment per mu, up to 150"
              },
              "basis": "园区标准地控制指标表（川办发〔2021〕11号）",
              "mark": "thresholds are the park's; 0.80 program"
            },
            {
              "rule": "R6",
              "effect": "reject",
              "veto": false,
              "code": "pollutant_short",
              "zh": "氮氧化物（NOx）需替代量 5.25 × 2（上年度PM2.5未达标）= 10.50 t/a，可用 10.00 t/a（台账余额 10.00 + 项目自身已核实削减 0.00），缺 0.50 t/a",
              "en": "NOx needs 5.25 x 2 (PM2.5 not attained last year) = 10.50 t/a, 10.00 t/a are available (balance 10.00 + own verified reduction 0.00): 0.50 t/a short",
              "numbers": {
                "available_t": "10.00",
                "balance_t": "10.00",
                "increment_t": "5.25",
                "need_t": "10.50",
                "own_verified_reduction_t": "0.00",
                "pollutant": "NOx",
                "ratio": "2",
                "shortage_t": "0.50"
              },
              "change": {
                "zh": "再核实 0.5 t/a 的氮氧化物替代来源，或减少排放增量",
                "en": "0.5 t/a more of verified NOx reductions, or a smaller increment"
              },
              "basis": "环发〔2014〕197号；环办环评〔2020〕36号",
              "mark": "principle H; factor 2 mem, M-H"
            },
            {
              "rule": "R7",
              "effect": "conditional",
              "veto": false,
              "code": "expansion_needed",
              "zh": "供电峰值需求 12 MVA，余量 10，投产前扩建 5：扩建按期投用后满足",
              "en": "power_MVA: demand 12, spare 10, expansions by the start of production 5: enough once the expansions are ready",
              "numbers": {
                "demand": "12",
                "expansions": "5",
                "resource": "power_MVA",
                "shortage": "0",
                "spare": "10"
              },
              "change": {
                "zh": "扩建按期投用；或降低峰值需求",
                "en": "expansions ready in time; or a lower peak"
              },
              "basis": "园区基础设施余量测算（程序约定）",
              "mark": "program"
            },
            {
              "rule": "R8",
              "effect": "incomplete",
              "veto": false,
              "code": "inputs_missing",
              "zh": "缺少必填数据：pollutants_t_per_a.COD",
              "en": "required inputs are missing: pollutants_t_per_a.COD",
              "numbers": {
                "missing": "1"
              },
              "change": {
                "zh": "补充：pollutants_t_per_a.COD",
                "en": "give: pollutants_t_per_a.COD"
              },
              "basis": "项目准入测算所需数据（程序约定）",
              "mark": "program"
            }
          ],
          "missing": [
            "pollutants_t_per_a.COD"
          ],
          "notes": []
        }"#]],
    );
}

fn check_text(text: &str, expected: Expect) {
    expected.assert_eq(text);
}

proptest! {
    /// Whatever a series is, it takes no more than there is, and a decision depends only on the state it found.
    #[test]
    fn no_series_takes_more_than_there_is(rows in proptest::collection::vec((0..4_000_i64, 0..3_000_i64, 0..2_000_i64, 0..400_i64, 1..28_i8), 1..9)) {
        let tables = Tables::shipped();
        let state = ParkState::read(&park()).unwrap();
        let given: Vec<(String, Project)> = rows.iter().enumerate().flat_map(|(place, (nox, own, cod, tce, day))| {
            let milli = |amount: &i64| json!(Number::decimal(i128::from(*amount), 3).to_string());
            let changes = [
                ("pollutants_t_per_a.NOx", milli(nox)),
                ("own_verified_reduction_t", json!({"NOx": milli(own)})),
                ("pollutants_t_per_a.COD", milli(cod)),
                ("energy", json!({"other_tce": tce})),
                ("applied_on", json!(format!("2025-10-{day:02}"))),
            ];
            projects(&[(&format!("p{place}"), with(project(), &changes))])
        }).collect();
        let (reviewed, left) = series(&given, &state, &tables);
        prop_assert_eq!(reviewed.len(), given.len());
        for pollutant in Pollutant::ALL {
            prop_assert!(!left.balance(pollutant, None).unwrap().is_negative());
        }
        prop_assert!(!left.quota_headroom_tce.clone().unwrap().is_negative());
        // Sum of parts: what is left and what was taken is what there was and what was brought.
        let taken = |pollutant: Pollutant| -> Number {
            let all = reviewed.iter().filter_map(|one| one.reservation.as_ref());
            let needs: Number = all.clone().flat_map(|one| &one.needs).filter(|need| need.pollutant == pollutant).map(|need| &need.need).sum();
            let own: Number = all.filter_map(|one| one.own.get(&pollutant)).sum();
            needs - own
        };
        for pollutant in Pollutant::ALL {
            let before = state.balance(pollutant, None).unwrap();
            prop_assert_eq!(left.balance(pollutant, None).unwrap() + taken(pollutant), before);
        }
        // One after another by hand is the same as the series.
        let mut by_hand = state.clone();
        for one in &reviewed {
            let (name, project) = &given[one.index];
            let (again, next) = series(&[(name.clone(), project.clone())], &by_hand, &tables);
            prop_assert_eq!(&again[0].answer, &one.answer);
            by_hand = next;
        }
        prop_assert_eq!(by_hand, left);
    }
}

/// The shipped examples, by hand: see the comments in the files.
///
/// `reject.json`: 20 000 000 x 0.1229 + 2 000 000 x 1.2143 + 15 000 000 x 0.7143 + 60 000 x 1.4571 kgce = 2458 + 2428.6 + 10 714.5 +
/// 87.426 = 15 688.526 tce, 3688.526 above the headroom of 12 000; 15 000 t of coal, so reviewed, by the province. Level 3.
/// Investment 16 500 / 150 = 110 is 0.7333 of 150. NOx 2 x 7.5 = 15 of 12 + 1.5; dust 2 x 1.2 of nothing; SO2 2 x 4 of 9.5.
#[test]
fn shipped_examples_come_out_as_they_are_named() {
    let tables = Tables::shipped();
    let state = ParkState::parse(include_str!("../../../tests/data/review/STATE.json")).unwrap();
    let files = [
        include_str!("../../../tests/data/review/pass.toml"),
        include_str!("../../../tests/data/review/conditional.toml"),
        include_str!("../../../tests/data/review/reject.json"),
        include_str!("../../../tests/data/review/incomplete.json"),
    ];
    let read = |text: &&str| Project::parse(text, &tables).map(|project| (project.project.clone().unwrap(), project)).unwrap();
    let given: Vec<(String, Project)> = files.iter().map(read).collect();
    let told: Vec<String> = each(&given, &state, &tables).iter().map(|one| said(&one.answer)).collect();
    assert_eq!(
        told,
        [
            "pass",
            "conditional R2:energy_review_needed R5:land_one_by_one R7:expansion_needed",
            "reject R2:energy_review_needed R3:quota_short R4:product_energy_too_high R5:land_too_low R6:pollutant_short R6:pollutant_short",
            "incomplete R5:land_too_low R8:inputs_missing",
        ]
    );
    let answers: Vec<Answer> = each(&given, &state, &tables).into_iter().map(|one| one.answer).collect();
    let energy: Vec<_> = answers.iter().map(|one| (one.total_tce.as_deref(), one.controlled_tce.as_deref())).collect();
    assert_eq!(
        energy,
        [
            (Some("659.250"), Some("659.250")),
            (Some("10004.300"), Some("8298.400")),
            (Some("15688.526"), Some("15688.526")),
            (Some("427.210"), Some("427.210")),
        ]
    );
    let levels: Vec<_> = answers.iter().map(|one| one.energy_review.as_ref().unwrap().level.name()).collect();
    assert_eq!(levels, ["exempt", "provincial", "provincial", "exempt"]);
    assert_eq!(answers[3].missing, ["production_on", "pollutants_t_per_a.COD"]);
}
