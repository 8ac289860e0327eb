//! Reviews of the live park: what they find, what they enter, and that two series at once share what there is.

use parkgate_rules::ledger::Pollutant;
use serde_json::{Value, json};

use super::*;
use crate::ledger;

const NOW: UtcMillis = UtcMillis(1_767_323_045_678);
const WHO: (&str, &str) = ("minutes 7", "eve");

/// A park of which everything is declared, and 1000 tce of headroom before reservations.
fn figures() -> Figures {
    let declared = ParkState::parse(
        r#"{"last_year_attained": {"pm25": false, "water": true},
            "spare_capacity": {"power_MVA": 10, "gas_Nm3_per_h": 500, "water_m3_per_d": 800, "wastewater_m3_per_d": 600},
            "land_table": {"glass": {"investment_10kCNY_per_mu": 150}}}"#,
    )
    .unwrap();
    Figures { declared, headroom_tce: Some(Number::from(1000)) }
}

/// A project that needs 2 x `nox` t of NOx and `tce` of energy.
fn project(name: &str, nox: &str, tce: &str, more: Value) -> (String, Project) {
    let mut value = json!({
        "industry": "glass", "applied_on": "2026-01-05", "production_on": "2027-01-01",
        "land_mu": 1, "fixed_investment_10kCNY": 150, "annual_output_10kCNY": 1, "annual_tax_10kCNY": 1, "rd_ratio": null,
        "energy": {"other_tce": tce}, "feedstock": {}, "certified_renewable_kWh": 0,
        "pollutants_t_per_a": {"SO2": 0, "NOx": nox, "VOCs": 0, "COD": 0, "NH3N": 0},
        "demand": {"power_MVA": 1, "gas_Nm3_per_h": 0, "water_m3_per_d": 0, "wastewater_m3_per_d": 0},
        "zoning_compatible": true, "prohibited_process": null, "safety_ok": true, "unit_product_energy_level": null
    });
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (name.to_owned(), Project::read(&value, "", &Tables::shipped()).unwrap())
}

/// 10 t of NOx verified, an allowance of 5000 tce.
fn facts_at(path: &Path) -> Facts {
    let facts = Facts::open(path).unwrap();
    let drafts = [
        json!({"entry": "allowance", "year": 2026, "amount_tce": 5000}),
        json!({"entry": "source", "id": "boiler", "unit": "boiler house", "pollutant": "NOx", "measure": "closed", "before_t": 10, "after_t": 0,
            "verified_t": 10}),
    ]
    .map(|value| Draft::read(&value, Some("letter 1"), "2026-01-01".parse().ok()).unwrap());
    ledger::enter(&facts, &drafts, "eve", NOW).unwrap();
    facts
}

fn memory() -> Facts {
    facts_at(Path::new(":memory:"))
}

fn told(reviewed: &[Reviewed]) -> Vec<String> {
    reviewed.iter().map(|one| format!("{} {}", one.answer.project, one.answer.decision.name())).collect()
}

fn left(facts: &Facts) -> (String, String) {
    let ledger = Ledger::read(facts).unwrap();
    let book = ledger.book();
    (book.totals(Pollutant::Nox, None).balance.net().to_string(), book.quota(2026).unwrap().left().to_string())
}

#[test]
fn a_series_enters_what_it_takes_and_the_next_one_finds_the_rest() {
    let facts = memory();
    let tables = Tables::shipped();
    let later = json!({"applied_on": "2026-01-06"});
    let projects =
        [project("b", "3", "300", later), project("a", "3", "700.0001", json!({})), project("c", "1", "1", json!({"safety_ok": false}))];
    // Alone each finds all that there is.
    assert_eq!(told(&look(&facts, &figures(), &projects, &tables).unwrap()), ["b pass", "a pass", "c reject"]);
    assert_eq!(left(&facts), ("10".into(), "5000".into()));
    // In filing order: a takes 6 of 10 t and 700.001 (rounded up) of 1000 tce; c takes nothing; b needs 6 of 4 t.
    let taken = take(&facts, &figures(), &projects, &tables, WHO, NOW).unwrap();
    assert_eq!(told(&taken.reviewed), ["a pass", "c reject", "b reject"]);
    assert_eq!(left(&facts), ("4".into(), "4299.999".into()));
    let entered: Vec<&str> = taken.entries.iter().map(|row| row.entry.draft.body.name()).collect();
    assert_eq!(entered, ["use", "reservation"]);
    assert!(taken.entries.iter().all(|row| row.entry.draft.document == "minutes 7" && row.author == "eve"));
    let kept = facts.entries(EntryKind::Review, 0).unwrap();
    let kept: Vec<_> = kept.iter().map(|entry| (entry.subject.as_str(), entry.body["decision"].as_str().unwrap())).collect();
    assert_eq!(kept, [("a", "pass"), ("c", "reject"), ("b", "reject")]);
    // Headroom 1000 - 700.001: 300 do not fit any more.
    let again = look(&facts, &figures(), &[project("b", "1", "300", json!({}))], &tables).unwrap();
    assert_eq!(again[0].answer.shortfall_tce.as_deref(), Some("0.001"));
    // After a lapse all is there again.
    let lapse = Draft::read(&json!({"entry": "lapse", "project": "a"}), Some("x"), "2026-02-01".parse().ok()).unwrap();
    ledger::enter(&facts, &[lapse], "eve", NOW).unwrap();
    assert_eq!(left(&facts), ("10".into(), "5000".into()));
}

#[test]
fn own_reductions_enter_once_and_the_province_covers_what_is_short() {
    let facts = memory();
    let tables = Tables::shipped();
    let own = || project("a", "6", "1200", json!({"own_verified_reduction_t": {"NOx": 3}, "province_pre_review": "follow"}));
    // 2 x 6 = 12 of 10 + 3; 1200 tce, of which the park gives 1000.
    let taken = take(&facts, &figures(), &[own()], &tables, WHO, NOW).unwrap();
    assert_eq!(told(&taken.reviewed), ["a conditional"]);
    assert_eq!(left(&facts), ("1".into(), "4000".into()));
    let energy = taken.entries.last().unwrap().entry.draft.to_value();
    assert_eq!((energy["amount_tce"].as_str(), energy["controlled_tce"].as_str()), (Some("1000"), Some("1200")));
    assert_eq!(energy["covered_by"], "province");
    // It holds already: nothing is entered twice, neither ledger nor review.
    let refused = take(&facts, &figures(), &[own()], &tables, WHO, NOW).unwrap_err();
    assert!(refused.to_string().contains("project `a` holds amounts already"), "{refused}");
    assert_eq!(look(&facts, &figures(), &[own()], &tables).unwrap()[0].answer.notes.len(), 1);
    assert_eq!((left(&facts), facts.entries(EntryKind::Review, 0).unwrap().len()), (("1".into(), "4000".into()), 1));
    // After a cancellation its own 3 t are in the balance, and are not counted beside it.
    let cancelled = Draft::read(&json!({"entry": "cancellation", "project": "a"}), Some("x"), "2026-02-01".parse().ok()).unwrap();
    ledger::enter(&facts, &[cancelled], "eve", NOW).unwrap();
    assert_eq!(left(&facts).0, "13");
    let again = look(&facts, &figures(), &[own()], &tables).unwrap();
    let row = again[0].answer.pollutants.iter().find(|row| row.pollutant == "NOx").unwrap();
    assert_eq!((row.own_verified_reduction_t.as_str(), row.available_t.as_deref()), ("0.00", Some("13.00")));
    take(&facts, &figures(), &[own()], &tables, WHO, NOW).unwrap();
    assert_eq!(left(&facts).0, "1");
}

#[test]
fn what_the_ledger_cannot_keep_is_refused_whole() {
    let facts = memory();
    // No allowance of 2027 is entered.
    let later = json!({"applied_on": "2027-01-06", "production_on": "2028-01-01"});
    let projects = [project("a", "1", "1", json!({})), project("b", "1", "1", later)];
    let refused = take(&facts, &figures(), &projects, &Tables::shipped(), WHO, NOW).unwrap_err();
    assert!(refused.to_string().contains("project `b`") && refused.to_string().contains("for 2027 or later"), "{refused}");
    assert_eq!(left(&facts), ("10".into(), "5000".into()));
    assert_eq!(facts.last_entry(EntryKind::Review).unwrap(), 0);
}

#[test]
fn what_passes_with_many_decimals_is_entered_as_it_was_shown() {
    let facts = memory();
    let figures = Figures { headroom_tce: "500.99999".parse().ok(), ..figures() };
    // 2 x 2.500001 = 5.000002, of 10 + 0.0019; 500.0001 tce of 500.99999.
    let own = json!({"own_verified_reduction_t": {"NOx": "0.0019", "COD": "0.0001"}});
    let projects = [project("a", "2.500001", "500.0001", own)];
    let looked = look(&facts, &figures, &projects, &Tables::shipped()).unwrap();
    let taken = take(&facts, &figures, &projects, &Tables::shipped(), WHO, NOW).unwrap();
    assert_eq!((told(&looked), told(&taken.reviewed)), (vec!["a pass".to_owned()], vec!["a pass".to_owned()]));
    for answer in [&looked[0].answer, &taken.reviewed[0].answer] {
        let row = answer.pollutants.iter().find(|row| row.pollutant == "NOx").unwrap();
        assert_eq!((row.need_t.as_str(), row.own_verified_reduction_t.as_str()), ("5.001", "0.001"));
        assert_eq!((answer.controlled_tce.as_deref(), answer.headroom_tce.as_deref()), (Some("500.001"), Some("500.999")));
    }
    let entered: Vec<Value> = taken.entries.iter().map(|row| row.entry.draft.to_value()).collect();
    let [source, used, energy] = &entered[..] else { panic!("{entered:?}") };
    assert_eq!((&source["verified_t"], &used["amount_t"], &energy["amount_tce"]), (&json!("0.001"), &json!("5.001"), &json!("500.001")));
    assert_eq!((used["increment_t"].as_str(), energy.get("covered_by")), (Some("2.500001"), None));
    // 10 + 0.001 - 5.001; 5000 - 500.001.
    assert_eq!(left(&facts), ("5".into(), "4499.999".into()));
}

#[test]
fn what_is_not_known_of_the_park_is_missing() {
    let unknown = look(&memory(), &Figures::default(), &[project("a", "1", "1", json!({}))], &Tables::shipped()).unwrap();
    assert_eq!(told(&unknown), ["a incomplete"]);
    assert_eq!(
        unknown[0].answer.missing,
        ["park.quota_headroom_tce", "park.land_table", "park.last_year_attained.pm25", "park.spare_capacity.power_MVA"]
    );
}

#[test]
fn two_series_at_once_share_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("facts.db");
    drop(facts_at(&path));
    // Each of 12 projects takes 2 x 1 t of 10 t: five are admitted, whoever they are.
    let passed: usize = std::thread::scope(|scope| {
        let series: Vec<_> = (0..3)
            .map(|series| {
                let path = &path;
                scope.spawn(move || {
                    let facts = Facts::open(path).unwrap();
                    let one = |number: usize| {
                        let projects = [project(&format!("p-{series}-{number}"), "1", "10", json!({}))];
                        let taken = take(&facts, &figures(), &projects, &Tables::shipped(), WHO, NOW).unwrap();
                        taken.reviewed.iter().filter(|one| one.answer.decision.reserves()).count()
                    };
                    (0..4).map(one).sum::<usize>()
                })
            })
            .collect();
        series.into_iter().map(|series| series.join().unwrap()).sum()
    });
    assert_eq!((passed, left(&Facts::open(&path).unwrap())), (5, ("0".into(), "4950".into())));
}

#[test]
fn a_declared_state_has_no_ledger_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("park-state.json");
    assert_eq!(declared(None).unwrap(), ParkState::default());
    assert!(matches!(declared(Some(&path)), Err(DeclaredError::Unreadable { .. })));
    std::fs::write(&path, r#"{"ledger": {"balances_t": {"COD": 1}}}"#).unwrap();
    assert!(declared(Some(&path)).unwrap_err().to_string().contains("parkgate ledger"));
    std::fs::write(&path, "[last_year_attained]\nwater = true\n").unwrap();
    assert_eq!(declared(Some(&path)).unwrap().last_year_attained.water, Some(true));
}
