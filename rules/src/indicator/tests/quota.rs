//! Quota: caps, year to date, forecasts, boundaries of time.

use super::*;

/// A park whose controlled energy is 1 tce per 10 000 / 1.229 kWh; amounts of electricity by month.
fn park(months: &[(&str, u32)], more: &str) -> String {
    let amounts: Vec<String> = months
        .iter()
        .map(|(month, amount)| format!(r#"{{"energy": "electricity", "place": "gate", "period": "{month}", "amount": {amount}}}"#))
        .collect();
    format!(r#"{{"certificates": [], {more} "amounts": [{}]}}"#, amounts.join(", "))
}

#[test]
fn certificates_are_capped_by_what_is_metered() {
    let json = |own: u32, bought: u32| {
        format!(
            r#"{{"enterprises": [{{"id": "a"}}], "amounts": [
                {{"energy": "electricity", "place": "gate", "period": "2025-06", "amount": 10000}},
                {{"energy": "electricity", "place": "import", "enterprise": "a", "period": "2025-06", "amount": 3000}}],
              "meters": [{{"id": "pv", "energy": "electricity", "place": "pv", "enterprise": "a"}}],
              "totals": [{{"meter": "pv", "period": "2025-06", "amount": 2000}}],
              "certificates": [
                {{"kind": "own_pv", "holder": "a", "pv_meter": "pv", "period": "2025-06", "certificates": {own}}},
                {{"kind": "bought", "holder": "a", "period": "2025-06", "certificates": {bought}}}]}}"#
        )
    };
    let deducted = |own, bought| {
        let result = result(&inputs(&json(own, bought)), "EN-08", "2025-06");
        (further(&result, "certified_renewable").to_owned(), result.value.unwrap())
    };
    // EN-01 = 12 000 x 0.1229 = 1.4748 tce. 1 + 2 certificates = 3000 kWh = 0.3687; at the caps 2000 + 3000 kWh = 0.6145.
    assert_eq!(deducted(1, 2), ("0.369".into(), "1.106".into()));
    assert_eq!(deducted(2, 3), ("0.614".into(), "0.860".into()));
    assert_eq!(deducted(99, 99), ("0.614".into(), "0.860".into()));
    // PV without certificates is not deducted.
    assert_eq!(deducted(0, 0), ("0.000".into(), "1.475".into()));
}

#[test]
fn controlled_energy_is_never_below_zero() {
    let json = park(&[("2025-06", 1000)], r#""enterprises": [{"id": "a"}],"#).replace(
        "\"amounts\": [",
        r#""amounts": [{"energy": "gas", "place": "feedstock", "enterprise": "a", "period": "2025-06", "amount": 5000}, "#,
    );
    assert_eq!(shown(&result(&inputs(&json), "EN-08", "2025-06")), (Status::Ok, "0.000"));
}

#[test]
fn certificates_that_are_not_known_are_not_none() {
    let json = park(&[("2025-06", 1000)], "").replace(r#""certificates": [],"#, "");
    let result = result(&inputs(&json), "EN-08", "2025-06");
    assert_eq!((result.status, missing(&result)), (Status::Missing, vec!["certificates"]));
    // A year's certificates are not split over its months: they count in the year, and the month says so.
    let yearly = park(&[("2025-06", 100_000), ("2025", 1_000_000)], "")
        .replace(r#""certificates": [],"#, r#""certificates": [{"kind": "bought", "period": "2025", "certificates": 100}],"#);
    let yearly = yearly
        .replace("\"amounts\": [", r#""amounts": [{"energy": "electricity", "place": "public", "period": "2025", "amount": 500000}, "#);
    let month = super::result(&inputs(&yearly), "EN-08", "2025-06");
    assert_eq!((shown(&month), month.notes.len()), ((Status::Ok, "12.290"), 1));
    // (1 000 000 - 100 000) x 0.1229 / 1000.
    assert_eq!(shown(&super::result(&inputs(&yearly), "EN-08", "2025")), (Status::Ok, "110.610"));
}

#[test]
fn time_progress_holds_the_last_day() {
    let quota =
        r#""quota": {"allowances": [{"period": "2025", "energy_tce": 100}, {"period": "2024", "energy_tce": 100}], "committed": []},"#;
    for (period, months, progress) in [
        // 31 / 365; 31 + 29 = 60 / 366 in a leap year; all of it
        ("2025-01", &[("2025-01", 1)][..], "0.084932"),
        ("2024-02", &[("2024-01", 1), ("2024-02", 1)], "0.163934"),
        ("2025", &[("2025", 1)], "1.000000"),
        // the first day: 1 / 365
        ("2025-01-01", &[("2025-01-01", 1)], "0.002740"),
    ] {
        let result = result(&inputs(&park(months, quota)), "EN-09", period);
        assert_eq!((result.status, further(&result, "time_progress")), (Status::Ok, progress), "{period}");
    }
}

#[test]
fn the_year_to_date_is_the_closed_months_and_the_present_period() {
    let quota =
        r#""quota": {"allowances": [{"period": "2025", "energy_tce": 1000}], "closed": [{"period": "2025-02", "energy_tce": 77}]},"#;
    // January 100 000 kWh = 12.29; February as closed 77; March 1 to 2 by day 2 x 1.229.
    let json = park(&[("2025-01", 100_000), ("2025-02", 999_999), ("2025-03-01", 10_000), ("2025-03-02", 10_000)], quota);
    let result = result(&inputs(&json), "EN-09", "2025-03-02");
    assert_eq!((result.status, further(&result, "year_to_date")), (Status::Ok, "91.748"));
    // 91.748 / 1000.
    assert_eq!(result.value.as_deref(), Some("0.091748"));
    // A month that is nowhere is named.
    let json = park(&[("2025-03", 100_000)], quota);
    let hole = super::result(&inputs(&json), "EN-09", "2025-03");
    assert_eq!((hole.status, missing(&hole)), (Status::Missing, vec!["amounts.electricity.gate"]));
    assert!(hole.missing[0].why.contains("2025-01-01T00:00:00+08:00 to 2025-02-01T00:00:00+08:00"), "{}", hole.missing[0].why);
    // An allowance of another year is none.
    let other = super::result(&inputs(&park(&[("2026-01", 1)], quota)), "EN-09", "2026-01");
    assert_eq!(missing(&other), ["quota.allowances"]);
}

#[test]
fn the_larger_forecast_and_the_smaller_headroom_count() {
    let quota = |same: u32| {
        format!(
            r#""quota": {{"allowances": [{{"period": "2025", "energy_tce": 400}}], "committed": [{{"project": "p", "energy_tce": 20}}],
               "last_year": [{{"period": "2024", "energy_tce": 300}}, {{"period": "2024-01", "energy_tce": {same}}}]}},"#
        )
    };
    // January 31 tce (31 000 000 / 122.9 kWh is no round number, so it is declared as closed by its own amount: 252 237.591... kWh).
    // 100 000 kWh = 12.29 tce: linear 12.29 / 31 x 365 = 144.7048; seasonal 12.29 x 300 / 20 = 184.35.
    let json = park(&[("2025-01", 100_000)], &quota(20));
    let forecast = result(&inputs(&json), "EN-10", "2025-01");
    assert_eq!((shown(&forecast), further(&forecast, "linear")), ((Status::Ok, "184.350"), "144.705"));
    // 400 - 184.35 - 20 by the seasonal one, 400 - 144.7048 - 20 by the linear one.
    let headroom = result(&inputs(&json), "EN-11", "2025-01");
    assert_eq!((shown(&headroom), further(&headroom, "linear")), ((Status::Ok, "195.650"), "235.295"));
    // The other way round: 12.29 x 300 / 30 = 122.9.
    let json = park(&[("2025-01", 100_000)], &quota(30));
    assert_eq!(shown(&result(&inputs(&json), "EN-10", "2025-01")), (Status::Ok, "144.705"));
    // Last year's same period 0: nothing to divide by.
    let json = park(&[("2025-01", 100_000)], &quota(0));
    let forecast = result(&inputs(&json), "EN-10", "2025-01");
    assert_eq!((shown(&forecast), further(&forecast, "linear")), ((Status::NotDefined, "-"), "144.705"));
    // Last year not given: the forecast is missing, the linear one is shown beside it.
    let json = park(&[("2025-01", 100_000)], r#""quota": {"allowances": [{"period": "2025", "energy_tce": 400}]},"#);
    let forecast = result(&inputs(&json), "EN-10", "2025-01");
    assert_eq!((forecast.status, missing(&forecast), further(&forecast, "linear")), (Status::Missing, vec!["quota.last_year"], "144.705"));
    let headroom = result(&inputs(&json), "EN-11", "2025-01");
    assert_eq!(missing(&headroom), ["quota.committed", "quota.last_year"]);
}

#[test]
fn last_years_same_period_of_a_day_can_be_declared() {
    let quota = r#""quota": {"allowances": [{"period": "2025", "energy_tce": 400}], "committed": [],
        "last_year": [{"period": "2024", "energy_tce": 300}], "last_year_to_date": [{"period": "2024-01-02", "energy_tce": 2}]},"#;
    // Two days, 2.458 tce: linear 2.458 / 2 x 365 = 448.585; seasonal 2.458 x 300 / 2 = 368.7. A forecast above the allowance.
    let json = park(&[("2025-01-01", 10_000), ("2025-01-02", 10_000)], quota);
    let headroom = result(&inputs(&json), "EN-11", "2025-01-02");
    assert_eq!((shown(&headroom), further(&headroom, "seasonal")), ((Status::Ok, "-48.585"), "31.300"));
}

#[test]
fn an_open_month_counts_up_to_where_its_figures_have_come() {
    let quota = r#""as_of": "2025-02-15T00:00:00+08:00", "quota": {"allowances": [{"period": "2025", "energy_tce": 400}], "committed": [],
        "last_year": [{"period": "2024", "energy_tce": 300}, {"period": "2024-01", "energy_tce": 20}, {"period": "2024-02", "energy_tce": 30}]},"#;
    // 31 + 14 days, 100 000 + 50 000 kWh = 18.435 tce: linear 18.435 / 45 x 365 = 149.5283; last year's same period is
    // 20 + 30 x 14/28 = 35, so 18.435 x 300 / 35 = 158.0142857.
    let json = park(&[("2025-01", 100_000), ("2025-02", 50_000)], quota);
    let forecast = result(&inputs(&json), "EN-10", "2025-02");
    assert_eq!((shown(&forecast), further(&forecast, "linear")), ((Status::Ok, "158.014"), "149.528"));
    // Use rate 18.435 / 400 = 0.0460875; 45 of 365 days = 0.123288; their quotient 0.373821.
    let rate = result(&inputs(&json), "EN-09", "2025-02");
    assert_eq!((further(&rate, "time_progress"), further(&rate, "pace")), ("0.123288", "0.373821"));
    // January is over: all its days count.
    assert_eq!(further(&result(&inputs(&json), "EN-09", "2025-01"), "time_progress"), "0.084932");
}
