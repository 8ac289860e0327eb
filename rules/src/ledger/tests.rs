//! The ledgers by worked cases, and random sequences that never over-commit.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Number;

/// Reads `(tree)` as a draft of 2026-03-01 on the document "No. 1".
fn draft(value: Value) -> Draft {
    Draft::read(&value, Some("No. 1"), "2026-03-01".parse().ok()).unwrap()
}

fn source(id: &str, verified: Value) -> Value {
    json!({"entry": "source", "id": id, "unit": "boiler house", "pollutant": "NOx", "measure": "closed", "before_t": 100, "after_t": 0,
        "verified_t": verified})
}

fn taken(project: &str, increment: &str, ratio: i64, amount: &str) -> Value {
    json!({"entry": "use", "project": project, "pollutant": "NOx", "increment_t": increment, "ratio": ratio, "why": "PM2.5", "amount_t": amount})
}

fn reservation(project: &str, amount: &str) -> Value {
    json!({"entry": "reservation", "project": project, "controlled_tce": amount, "amount_tce": amount})
}

/// Enters one after another; `Err` is what the last one was refused with.
fn enter(values: &[Value]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for value in values {
        let new = admit(&entries, &[draft(value.clone())]).map_err(|refusal| refusal.to_string())?;
        entries.extend(new);
    }
    Ok(entries)
}

fn left(entries: &[Entry]) -> String {
    Book::new(entries).totals(Pollutant::Nox, None).balance.net().to_string()
}

#[test]
fn what_is_verified_can_be_used_and_what_is_claimed_cannot() {
    // 10 + 2.5 - 2 x 3.25 = 6; the claim of 100 counts for nothing.
    let entries =
        enter(&[source("a", json!(10)), source("b", json!("2.5")), source("c", json!(null)), taken("p", "3.25", 2, "6.5")]).unwrap();
    assert_eq!(left(&entries), "6");
    let totals = Book::new(&entries).totals(Pollutant::Nox, None);
    assert_eq!(
        (totals.verified.to_string(), totals.claimed.to_string(), totals.used.to_string()),
        ("12.5".into(), "100".into(), "6.5".into())
    );
    // Just all of it, and not a kilogram more.
    let first = [source("a", json!(10))];
    let with = |last: Value| enter(&[first[0].clone(), last]);
    assert_eq!(left(&with(taken("p", "5", 2, "10")).unwrap()), "0");
    let refused = with(taken("p", "10.001", 1, "10.001")).unwrap_err();
    assert_eq!(refused, "the balance of NOx would be below zero: 0.001 t/a are missing");
}

#[test]
fn what_is_not_sound_is_refused() {
    let a = source("a", json!(10));
    for (values, said) in [
        (vec![a.clone(), a.clone()], "source `a` of NOx is there already"),
        (vec![source("a", json!("100.001"))], "source `a`: 100.001 t/a were verified, but before less after is 100 t/a"),
        (vec![source("a", json!("1.0005"))], "`verified_t` is 1.0005: at most 3 decimals"),
        (vec![source("a", json!(-1))], "`verified_t` is -1, which is too small"),
        (vec![source(" ", json!(1))], "`id` is empty"),
        (vec![a.clone(), taken("p", "2", 2, "2")], "amount_t is 2, but increment x ratio is 4 t/a"),
        (vec![a.clone(), taken("p", "1", 2, "2"), taken("p", "1", 2, "2")], "project `p` holds NOx already"),
        (vec![json!({"entry": "lapse", "project": "p"})], "project `p` holds nothing"),
        (vec![json!({"entry": "withdrawal"})], "a withdrawal names the entry"),
        (vec![json!({"entry": "withdrawal", "corrects": 7})], "there is no entry 7"),
        (
            vec![a.clone(), json!({"entry": "withdrawal", "corrects": 1}), json!({"entry": "withdrawal", "corrects": 1})],
            "entry 1 was corrected",
        ),
        (vec![a.clone(), json!({"entry": "lapse", "project": "p", "corrects": 1})], "entry 1 is a source, which a lapse cannot correct"),
        (vec![reservation("p", "1")], "no allowance of energy is entered for 2026"),
        (
            vec![
                json!({"entry": "allowance", "year": 2026, "amount_tce": 5}),
                json!({"entry": "allowance", "year": 2026, "amount_tce": 6}),
            ],
            "2026 has an allowance already",
        ),
        (
            vec![json!({"entry": "allowance", "year": 2026, "amount_tce": 5}), reservation("p", "5.001")],
            "the energy quota of 2026 would be over-committed by 0.001 tce",
        ),
    ] {
        let refused = enter(&values).unwrap_err();
        assert!(refused.starts_with(said), "{refused}");
    }
}

#[test]
fn a_correction_takes_the_place_of_the_old_entry_which_stays() {
    let mut correction = source("a", json!(8));
    correction["corrects"] = json!(1);
    let entries = enter(&[source("a", json!(10)), taken("p", "4", 2, "8"), correction.clone()]).unwrap();
    assert_eq!((entries.len(), left(&entries).as_str()), (3, "0"));
    // Less than what was used is refused, and so is taking the source out.
    correction["verified_t"] = json!("7.999");
    assert!(enter(&[source("a", json!(10)), taken("p", "4", 2, "8"), correction]).unwrap_err().contains("0.001 t/a are missing"));
    let out = json!({"entry": "withdrawal", "corrects": 1});
    assert!(enter(&[source("a", json!(10)), taken("p", "4", 2, "8"), out]).unwrap_err().contains("8 t/a are missing"));
    // A use that was wrong is taken out.
    let out = json!({"entry": "withdrawal", "corrects": 2});
    assert_eq!(left(&enter(&[source("a", json!(10)), taken("p", "4", 2, "8"), out]).unwrap()), "10");
}

#[test]
fn a_lapse_gives_back_what_was_taken_before_it() {
    let allowance = json!({"entry": "allowance", "year": 2026, "amount_tce": 1000});
    let start = [source("a", json!(10)), allowance, taken("p", "4", 2, "8"), reservation("p", "900.5")];
    let enter_with = |more: &[Value]| enter(&[&start[..], more].concat());
    let quota = |entries: &[Entry]| Book::new(entries).quota(2026).unwrap().left().to_string();
    let entries = enter_with(&[]).unwrap();
    assert_eq!((left(&entries).as_str(), quota(&entries).as_str()), ("2", "99.5"));
    for kind in ["lapse", "cancellation"] {
        let back = json!({"entry": kind, "project": "p"});
        let entries = enter_with(std::slice::from_ref(&back)).unwrap();
        assert_eq!((left(&entries).as_str(), quota(&entries).as_str()), ("10", "1000"));
        // It may come again, others may come before it, and then taking the lapse back is too much.
        assert_eq!(left(&enter_with(&[back.clone(), taken("p", "5", 2, "10")]).unwrap()), "0");
        let undone = json!({"entry": "withdrawal", "corrects": 5});
        assert_eq!(left(&enter_with(&[back.clone(), undone.clone()]).unwrap()), "2");
        let refused = enter_with(&[back.clone(), taken("q", "5", 2, "10"), undone.clone()]).unwrap_err();
        assert!(refused.contains("8 t/a are missing"), "{refused}");
        assert!(enter_with(&[back.clone(), reservation("p", "1"), undone]).unwrap_err().contains("`p` holds energy already"));
        assert!(enter_with(&[back.clone(), back]).unwrap_err().contains("holds nothing"));
    }
    // What a project that produces uses is in the meters: the reservation counts no more, the pollutants stay taken.
    let entries = enter_with(&[json!({"entry": "started", "project": "p"})]).unwrap();
    assert_eq!((left(&entries).as_str(), quota(&entries).as_str()), ("2", "1000"));
}

#[test]
fn the_quota_is_kept_by_year() {
    let at = |mut value: Value, date: &str| {
        value["date"] = json!(date);
        value
    };
    let allowance = |year: i16, amount: i64| json!({"entry": "allowance", "year": year, "amount_tce": amount});
    let replacement = |verified: bool| json!({"entry": "replacement", "id": "r", "amount_tce": 50, "verified": verified});
    let entries = enter(&[
        allowance(2025, 100),
        at(reservation("p", "60"), "2025-12-31"),
        allowance(2026, 80),
        at(replacement(true), "2026-01-01"),
        at(reservation("q", "70"), "2026-01-01"),
    ])
    .unwrap();
    // 2025: 100 - 60; 2026: 80 + 50 - 60 - 70.
    let book = Book::new(&entries);
    assert_eq!((book.quota(2025).unwrap().left(), book.quota(2026).unwrap().left()), (Number::from(40), Number::zero()));
    assert_eq!((book.quota(2027), book.reserved()), (None, Number::from(130)));
    // A claim is no replacement; a smaller allowance than what is reserved is refused.
    let claimed = enter(&[allowance(2026, 80), replacement(false), reservation("q", "81")]).unwrap_err();
    assert!(claimed.contains("over-committed by 1 tce"), "{claimed}");
    let smaller = enter(&[allowance(2025, 100), at(reservation("p", "60"), "2025-12-31"), allowance(2026, 59)]).unwrap_err();
    assert_eq!(smaller, "the energy quota of 2026 would be over-committed by 1 tce");
}

#[test]
fn an_allowance_cannot_go_from_under_what_is_reserved() {
    let allowance = |year: i16| json!({"entry": "allowance", "year": year, "amount_tce": 100});
    let out = |id: i64| json!({"entry": "withdrawal", "corrects": id});
    let start = [allowance(2026), reservation("p", "60.5"), reservation("q", "30")];
    let with = |more: &[Value]| enter(&[&start[..], more].concat());
    let said =
        "reserved energy would have no allowance of its year or a later one; held by `p` (60.5), `q` (30): let it lapse or cancel it first";
    assert_eq!(with(&[out(1)]).unwrap_err(), said);
    // Nor by a correction to a year before.
    let earlier = json!({"entry": "allowance", "year": 2025, "amount_tce": 100, "corrects": 1});
    assert_eq!(with(&[earlier]).unwrap_err(), said);
    // To less than what is reserved: who holds it is named.
    let less = json!({"entry": "allowance", "year": 2026, "amount_tce": 90, "corrects": 1});
    let refused = with(&[less]).unwrap_err();
    assert!(refused.starts_with("the energy quota of 2026 would be over-committed by 0.5 tce; held by `p` (60.5), `q` (30)"), "{refused}");
    let refused = enter(&[source("a", json!(10)), taken("p", "4", 2, "8"), out(1)]).unwrap_err();
    assert!(refused.contains("8 t/a are missing; held by `p` (8)"), "{refused}");
    // Once the projects gave it back, produce, or another year's quota has room, it can go.
    let lapse = |project: &str| json!({"entry": "lapse", "project": project});
    let started = |project: &str| json!({"entry": "started", "project": project});
    assert!(with(&[lapse("p"), lapse("q"), out(1)]).is_ok());
    assert!(with(&[lapse("p"), out(1)]).unwrap_err().contains("held by `q` (30)"));
    assert!(with(&[allowance(2027), out(1)]).is_ok());
    assert!(with(&[allowance(2025), out(1)]).is_err());
    let all_started = [started("p"), started("q"), out(1)];
    assert!(with(&all_started).is_ok());
    // That p does not produce after all comes too late.
    assert!(with(&[&all_started[..], &[out(4)]].concat()).unwrap_err().contains("held by `p` (60.5)"));
    // A ledger that is so already can be mended step by step.
    let mut bare: Vec<Entry> = with(&[]).unwrap();
    bare.push(Entry { id: 4, draft: draft(out(1)) });
    for value in [lapse("p"), source("a", json!(10)), allowance(2026)] {
        assert!(admit(&bare, &[draft(value.clone())]).is_ok(), "{value}");
    }
    assert!(admit(&bare, &[draft(reservation("r", "1"))]).is_err());
}

#[test]
fn what_is_taken_is_rounded_up_and_what_is_given_down() {
    for (amount, up, down) in [("2.001", "2.001", "2.001"), ("2.0010001", "2.002", "2.001"), ("0", "0", "0"), ("-0.0001", "0", "-0.001")] {
        let amount: Number = amount.parse().unwrap();
        assert_eq!((entry::taken(&amount).to_string(), entry::given(&amount).to_string()), (up.into(), down.into()));
    }
    // 2 x 1.00001 = 2.00002: 2.001 are taken.
    assert_eq!(left(&enter(&[source("a", json!(10)), taken("p", "1.00001", 2, "2.001")]).unwrap()), "7.999");
    let refused = enter(&[source("a", json!(10)), taken("p", "1.00001", 2, "2")]).unwrap_err();
    assert_eq!(refused, "amount_t is 2, but increment x ratio is 2.001 t/a, rounded up to 3 decimals");
}

#[test]
fn all_drafts_are_admitted_or_none_and_the_order_decides() {
    let entries = enter(&[source("a", json!(10))]).unwrap();
    let (p, q) = (draft(taken("p", "3", 2, "6")), draft(taken("q", "3", 2, "6")));
    assert!(admit(&entries, &[p.clone(), q.clone()]).is_err());
    for (first, second) in [(&p, &q), (&q, &p)] {
        let with = [entries.clone(), admit(&entries, std::slice::from_ref(first)).unwrap()].concat();
        assert!(admit(&with, std::slice::from_ref(second)).is_err());
        assert_eq!(with.last().unwrap().draft, *first);
    }
}

#[test]
fn a_draft_is_read_as_it_is_kept() {
    let mut value = source("a", json!("10.5"));
    value["expiry"] = json!("2027-12-31");
    value["corrects"] = json!(3);
    let read = draft(value);
    assert_eq!(Draft::read(&read.to_value(), Some("No. 1"), None).unwrap(), read);
    for (value, said) in [
        (json!([]), "an entry is one table"),
        (json!({"entry": "lapse", "project": "p", "date": "soon"}), "`date` is not a day"),
        (json!({"entry": "gift", "project": "p"}), "unknown variant `gift`"),
        (json!({"entry": "lapse", "project": "p", "why": "x"}), "unknown field `why`"),
        (json!({"entry": "lapse"}), "missing field `project`"),
    ] {
        let error = Draft::read(&value, Some("No. 1"), "2026-03-01".parse().ok()).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
    assert!(Draft::read(&json!({"entry": "lapse", "project": "p"}), None, None).is_err());
    let schema = entry::schema().to_value().to_string();
    for name in ["allowance", "source", "verified_t", "document", "corrects"] {
        assert!(schema.contains(name), "{name}");
    }
}

/// Random drafts about few ids, so that they meet.
fn any_draft() -> impl Strategy<Value = Value> {
    let amount = || (0..12_000_i64).prop_map(|milli| json!(Number::decimal(i128::from(milli), 3).to_string()));
    let name = || prop_oneof![Just("p"), Just("q"), Just("r")];
    let corrects = || proptest::option::of(1..12_i64);
    prop_oneof![
        (name(), amount(), proptest::option::of(2025..2028_i16), corrects()).prop_map(|(id, verified, expiry, corrects)| {
            let mut value = source(id, verified);
            value["expiry"] = json!(expiry.map(|year| format!("{year}-06-30")));
            value["corrects"] = json!(corrects);
            value
        }),
        (name(), 0..6_000_i64, 1..3_i64, corrects()).prop_map(|(project, milli, ratio, corrects)| {
            let text = |milli: i64| Number::decimal(i128::from(milli), 3).to_string();
            let mut value = taken(project, &text(milli), ratio, &text(milli * ratio));
            value["corrects"] = json!(corrects);
            value
        }),
        (name(), amount()).prop_map(|(project, amount)| reservation(project, amount.as_str().unwrap())),
        (2025..2028_i16, amount(), corrects()).prop_map(|(year, amount, corrects)| {
            json!({"entry": "allowance", "year": year, "amount_tce": amount, "corrects": corrects})
        }),
        (name(), amount(), any::<bool>())
            .prop_map(|(id, amount, verified)| { json!({"entry": "replacement", "id": id, "amount_tce": amount, "verified": verified}) }),
        (prop_oneof![Just("lapse"), Just("cancellation"), Just("started")], name())
            .prop_map(|(entry, project)| json!({"entry": entry, "project": project})),
        (1..12_i64).prop_map(|corrects| json!({"entry": "withdrawal", "corrects": corrects})),
    ]
}

proptest! {
    /// Whatever is tried in whatever order, what was admitted is never more than there is, and what was refused left nothing.
    #[test]
    fn no_sequence_over_commits(tries in proptest::collection::vec((any_draft(), 2025..2028_i16), 1..40)) {
        let mut entries: Vec<Entry> = Vec::new();
        for (mut value, year) in tries {
            value["date"] = json!(format!("{year}-03-01"));
            let Ok(new) = admit(&entries, &[draft(value)]) else { continue };
            prop_assert_eq!(new.len(), 1);
            let before = entries.clone();
            entries.extend(new);
            prop_assert_eq!(&entries[..before.len()], &before[..]);
            let book = Book::new(&entries);
            for pollutant in Pollutant::ALL {
                let totals = book.totals(pollutant, None);
                prop_assert!(totals.used <= totals.verified);
                // On every day: nobody took what had expired, and nothing below zero is left.
                for day in ["2025-03-01", "2026-03-01", "2027-03-01", "2030-01-01"] {
                    let balance = book.totals(pollutant, day.parse().ok()).balance;
                    prop_assert!(balance.overdrawn.is_zero() && !balance.left.is_negative());
                }
                prop_assert_eq!(totals.balance.net(), totals.verified - totals.used);
            }
            for year in book.years() {
                prop_assert!(!book.quota(year).unwrap().left().is_negative());
            }
            let last = book.years().last().copied().unwrap_or(i16::MIN);
            for one in book.active().filter(|one| !one.started) {
                let Body::Reservation { amount_tce, .. } = &one.entry.draft.body else { continue };
                prop_assert!(amount_tce.is_zero() || one.entry.draft.date.0.year() <= last);
            }
        }
    }
}
