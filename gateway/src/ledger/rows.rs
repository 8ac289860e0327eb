//! Entries and balances as they are shown: JSON objects with exact decimals as texts, and lines for people.

use std::collections::BTreeMap;

use parkgate_rules::Number;
use parkgate_rules::ledger::Pollutant;
use parkgate_rules::ledger::book::Standing;
use parkgate_rules::ledger::entry::DECIMALS;
use parkgate_rules::period::Day;
use serde_json::{Map, Value, json};

use super::{Ledger, Row};

/// An entry as a JSON object: what was entered, with its `number` (which `corrects` names), `document`, `author`, `time`, and whether it counts (`counts`),
/// what it took came back (`returned`), or is in the meters (`started`).
pub fn row(row: &Row, standing: Option<&Standing<'_>>) -> Value {
    let mut object = Map::new();
    object.insert("number".to_owned(), row.entry.id.into());
    if let Value::Object(body) = row.entry.draft.to_value() {
        object.extend(body);
    }
    object.insert("document".to_owned(), row.entry.draft.document.clone().into());
    object.insert("author".to_owned(), row.author.clone().into());
    object.insert("time".to_owned(), row.time.to_string().into());
    object.insert("counts".to_owned(), standing.is_some_and(|one| !one.returned).into());
    object.insert("returned".to_owned(), standing.is_some_and(|one| one.returned).into());
    object.insert("started".to_owned(), standing.is_some_and(|one| one.started).into());
    Value::Object(object)
}

/// An entry that was just entered.
pub fn entered(row: &Row) -> Value {
    self::row(row, Some(&Standing { root: row.entry.id, entry: &row.entry, returned: false, started: false }))
}

/// All entries, or those about one subject (a pollutant, `energy`) or project.
pub fn rows(ledger: &Ledger, about: Option<&str>) -> Vec<Value> {
    let book = ledger.book();
    let standing: BTreeMap<i64, &Standing<'_>> = book.standing().iter().map(|one| (one.entry.id, one)).collect();
    let is_about = |row: &&Row| {
        let body = &row.entry.draft.body;
        about.is_none_or(|about| body.subject() == about || body.taker() == Some(about))
    };
    ledger.rows().iter().filter(is_about).map(|one| row(one, standing.get(&one.entry.id).copied())).collect()
}

/// Balances on a day: of the energy quota by year, then of each pollutant.
pub fn balances(ledger: &Ledger, on: Day) -> Vec<Value> {
    let book = ledger.book();
    let shown = |number: &Number| number.fixed(DECIMALS);
    let quota = book.years().into_iter().filter_map(|year| book.quota(year)).map(|quota| {
        json!({
            "ledger": "energy",
            "year": quota.year,
            "allowance_tce": shown(&quota.allowance),
            "replacement_tce": shown(&quota.replacement),
            "reserved_tce": shown(&quota.reserved),
            "left_tce": shown(&quota.left()),
        })
    });
    let pollutants = Pollutant::ALL.into_iter().map(|pollutant| {
        let totals = book.totals(pollutant, Some(on));
        let expired = &totals.verified - &totals.used - totals.balance.net();
        json!({
            "ledger": "pollutant",
            "pollutant": pollutant.name(),
            "zh": pollutant.zh(),
            "on": on.to_string(),
            "verified_t": shown(&totals.verified),
            "used_t": shown(&totals.used),
            "expired_t": shown(&expired),
            "left_t": shown(&totals.balance.net()),
            "claimed_t": shown(&totals.claimed),
        })
    });
    quota.chain(pollutants).collect()
}

/// An object of [`rows`] as a line for people.
pub fn line(row: &Value) -> String {
    let text = |key: &str| match &row[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let known = ["number", "entry", "date", "document", "author", "time", "counts", "returned", "started", "corrects"];
    let rest = row.as_object().into_iter().flatten().filter(|(key, value)| !known.contains(&key.as_str()) && !value.is_null());
    let rest: Vec<String> = rest.map(|(key, _)| format!("{key} {}", text(key))).collect();
    let mut state = String::new();
    if row["corrects"].is_i64() {
        state.push_str(&format!("; corrects {}", text("corrects")));
    }
    if row["returned"] == true {
        state.push_str("; given back");
    } else if row["counts"] == false {
        state.push_str("; does not count");
    }
    if row["started"] == true {
        state.push_str("; produces");
    }
    format!(
        "{} {} {}: {}  [{}; {}, {}{state}]",
        text("number"),
        text("date"),
        text("entry"),
        rest.join(", "),
        text("document"),
        text("author"),
        text("time")
    )
}

/// An object of [`balances`] as a line for people.
pub fn balance_line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    if row["ledger"] == "energy" {
        format!(
            "能耗指标 energy quota {}: left {} tce = allowance {} + replacement {} - reserved {}",
            row["year"],
            text("left_tce"),
            text("allowance_tce"),
            text("replacement_tce"),
            text("reserved_tce")
        )
    } else {
        format!(
            "{} {} on {}: left {} t/a = verified {} - used {} - expired {} (claimed and not verified: {})",
            text("zh"),
            text("pollutant"),
            text("on"),
            text("left_t"),
            text("verified_t"),
            text("used_t"),
            text("expired_t"),
            text("claimed_t")
        )
    }
}
