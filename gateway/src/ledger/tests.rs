//! The ledgers in the file of facts: kept as entered, never over-committed by several connections at once.

use std::path::Path;

use parkgate_rules::Number;
use parkgate_rules::ledger::Pollutant;
use serde_json::{Value, json};

use super::*;

const NOW: UtcMillis = UtcMillis(1_767_323_045_678);

fn draft(value: Value) -> Draft {
    Draft::read(&value, Some("No. 1"), "2026-01-02".parse().ok()).unwrap()
}

fn source(verified: i64) -> Draft {
    draft(json!({"entry": "source", "id": "boiler", "unit": "boiler house", "pollutant": "NOx", "measure": "closed", "before_t": verified,
        "after_t": 0, "verified_t": verified}))
}

fn taken(project: &str) -> Draft {
    draft(json!({"entry": "use", "project": project, "pollutant": "NOx", "increment_t": "0.5", "ratio": 2, "why": "PM2.5", "amount_t": 1}))
}

fn left(facts: &Facts) -> Number {
    Ledger::read(facts).unwrap().book().totals(Pollutant::Nox, None).balance.net()
}

#[test]
fn entries_are_kept_with_author_document_and_what_became_of_them() {
    let facts = Facts::open(Path::new(":memory:")).unwrap();
    enter(&facts, &[source(2), taken("p")], "eve", NOW).unwrap();
    enter(&facts, &[draft(json!({"entry": "lapse", "project": "p", "document": "No. 2"}))], "adam", NOW).unwrap();
    let ledger = Ledger::read(&facts).unwrap();
    let shown = rows::rows(&ledger, None);
    let told: Vec<String> = shown
        .iter()
        .map(|row| {
            format!("{} {} {} {} {} {}", row["number"], row["entry"], row["author"], row["document"], row["counts"], row["returned"])
        })
        .collect();
    assert_eq!(
        told,
        [r#"1 "source" "eve" "No. 1" true false"#, r#"2 "use" "eve" "No. 1" false true"#, r#"3 "lapse" "adam" "No. 2" true false"#,]
    );
    // The number of the entry beside the id of the source.
    assert_eq!((shown[0]["number"].as_i64(), shown[0]["id"].as_str()), (Some(1), Some("boiler")));
    assert_eq!(rows::rows(&ledger, Some("p")).len(), 2);
    assert_eq!(rows::rows(&ledger, Some("NOx")).len(), 2);
    let balances = rows::balances(&ledger, "2026-01-02".parse().unwrap());
    let nox = balances.iter().find(|row| row["pollutant"] == "NOx").unwrap();
    assert_eq!((nox["left_t"].as_str(), nox["used_t"].as_str()), (Some("2.000"), Some("0.000")));
    assert!(rows::balance_line(nox).contains("left 2.000 t/a = verified 2.000 - used 0.000"));
    assert!(rows::line(&shown[1]).ends_with("given back]"));
}

#[test]
fn what_is_refused_leaves_nothing_also_of_several() {
    let facts = Facts::open(Path::new(":memory:")).unwrap();
    let refused = enter(&facts, &[source(1), taken("p"), taken("q")], "eve", NOW).unwrap_err();
    assert!(matches!(refused, LedgerError::Refused(Refusal::Overdrawn { .. })), "{refused}");
    assert_eq!(Ledger::read(&facts).unwrap(), Ledger::default());
}

#[test]
fn an_entry_that_is_not_understood_is_not_left_out() {
    let facts = Facts::open(Path::new(":memory:")).unwrap();
    let body = json!({"entry": "loan", "date": "2026-01-02"});
    let new = NewEntry { kind: EntryKind::Ledger, subject: "NOx".into(), body, author: "eve".into(), document: Some("No. 1".into()) };
    facts.append(new, NOW).unwrap();
    assert!(matches!(enter(&facts, &[source(1)], "eve", NOW), Err(LedgerError::Unreadable { id: 1, .. })));
}

#[test]
fn several_who_take_at_once_take_no_more_than_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("facts.db");
    enter(&Facts::open(&path).unwrap(), &[source(10)], "eve", NOW).unwrap();
    let granted: usize = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|taker| {
                let path = &path;
                scope.spawn(move || {
                    // A connection of its own, as another process has.
                    let facts = Facts::open(path).unwrap();
                    (0..5).filter(|project| enter(&facts, &[taken(&format!("p-{taker}-{project}"))], "eve", NOW).is_ok()).count()
                })
            })
            .collect();
        takers.into_iter().map(|taker| taker.join().unwrap()).sum()
    });
    assert_eq!((granted, left(&Facts::open(&path).unwrap())), (10, Number::zero()));
}
