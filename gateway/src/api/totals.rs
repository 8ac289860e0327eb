//! `/api/v1/totals`: totals of a point per hour, day, month or year, as JSON or CSV.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::Page;
use super::error::Problem;
use super::params::{Params, time};
use super::{App, Asker, Visible, table};
use crate::rollup::row::{COLUMNS, MORE_COLUMNS, TotalRow};
use crate::rollup::{Level, ParkZone};

/// Most periods in one answer.
const PERIODS_MAX: i64 = 10_000;

/// Which totals.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TotalQuery {
    /// Stable id of the point.
    point: String,
    /// `hour`, `day`, `month` or `year`; `day` unless given.
    level: Option<Level>,
    /// Periods that start at or after: a date in the park's zone, RFC 3339, milliseconds since 1970, or back from now
    /// (`-24h`). A week of hours, a month of days, a year of months, ten years ago unless given.
    from: Option<String>,
    /// Periods that start before, in the same forms. Now unless given.
    to: Option<String>,
    /// `json` or `csv`; by the header `Accept` unless given.
    format: Option<table::Format>,
}

/// Totals of a point whose period starts in `[from, to)`, oldest first; the open period is there with what it has so far.
#[utoipa::path(get, operation_id = "get_totals", path = "/api/v1/totals", tag = "totals", params(TotalQuery),
    responses((status = 200, content((Page<TotalRow> = "application/json"), (String = "text/csv"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, asker: Asker, headers: HeaderMap, Params(query): Params<TotalQuery>) -> Result<Response, Problem> {
    let point = Visible::new(&shared.catalogue, &asker).point(&query.point)?;
    let zone = ParkZone::new(&shared.catalogue.park.time_zone);
    let level = query.level.unwrap_or(Level::Day);
    let now = shared.clock.now().utc;
    let read = |name: &str, text: &str| zone.read(text).map_or_else(|| time(name, text, now), Ok);
    let (default_from, shortest_ms) = match level {
        Level::Hour => ("-7d", 3_600_000),
        Level::Day => ("-31d", 82_800_000),
        Level::Month => ("-366d", 28 * 86_400_000),
        Level::Year => ("-3660d", 365 * 86_400_000),
    };
    let from = read("from", query.from.as_deref().unwrap_or(default_from))?;
    // The open period starts before now, also at its very first instant.
    let to = query.to.as_deref().map_or(Ok(now.plus(1)), |text| read("to", text))?;
    if from > to {
        return Err(Problem::bad_query(format!("`from` ({from}) is after `to` ({to})"), "swap them, or give both"));
    }
    if to.since(from).div_euclid(shortest_ms) > PERIODS_MAX {
        return Err(Problem::bad_query(format!("more than {PERIODS_MAX} periods"), "choose a longer level or a shorter range"));
    }
    let (totals, id, identity) = (std::sync::Arc::clone(&shared.totals), point.id, point.identity.clone());
    let rows: Vec<TotalRow> = shared
        .read(move |_| Ok(totals.totals(id, level, from, to)?.iter().map(|total| TotalRow::new(total, &identity, &zone)).collect()))
        .await?;
    if table::is_csv(query.format, &headers) {
        return csv(&rows);
    }
    Ok(Json(Page { items: rows, next: None }).into_response())
}

fn csv(rows: &[TotalRow]) -> Result<Response, Problem> {
    let mut writer = crate::transfer::csv::writer(Vec::new());
    let head = writer.write_record(COLUMNS.iter().chain(&MORE_COLUMNS));
    let written = head.and_then(|()| rows.iter().try_for_each(|row| writer.write_record(row.fields())));
    let bytes = written.ok().and_then(|()| writer.into_inner().ok()).ok_or_else(Problem::internal)?;
    Ok(table::answer(bytes, None))
}
