//! `/api/v1/samples`: the record of a point, as it is or in buckets.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parkgate_collector::model::UtcMillis;
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{BucketDto, RecordPage, SampleDto};
use super::error::Problem;
use super::params::{Params, limit, range, span_ms, time};
use super::{App, Asker, Visible, table};

/// Samples given at once unless asked otherwise.
const LIMIT_DEFAULT: usize = 1_000;
/// Most samples given at once; also the most that one millisecond of a point may hold here.
const LIMIT_MAX: usize = 100_000;
/// Most buckets in one answer.
const BUCKETS_MAX: usize = 10_000;

/// Which samples.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SampleQuery {
    /// Stable id of the point.
    point: String,
    /// Start, inclusive: RFC 3339, milliseconds since 1970, or back from now (`-24h`). One hour ago unless given.
    from: Option<String>,
    /// End, exclusive, in the same forms. Now unless given.
    to: Option<String>,
    /// Most samples, 1000 unless given, at most 100000.
    limit: Option<usize>,
    /// `json`, or `csv` with the columns of `parkgate export`; by the header `Accept` unless given.
    format: Option<table::Format>,
}

/// Samples of a point with record time in `[from, to)`, in order of record time. `next` is what to pass as `from`.
///
/// A part may hold a few samples less than `limit`, so that those of one millisecond stay together. As CSV the header
/// `parkgate-next` takes the place of `next`; it is absent at the end. `parkgate-damaged-blocks` that of `damaged_blocks`.
#[utoipa::path(get, operation_id = "get_samples", path = "/api/v1/samples", tag = "samples", params(SampleQuery),
    responses((status = 200, content((RecordPage<SampleDto> = "application/json"), (String = "text/csv"))), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, asker: Asker, headers: HeaderMap, Params(query): Params<SampleQuery>) -> Result<Response, Problem> {
    let point = Visible::new(&shared.catalogue, &asker).point(&query.point)?;
    let (from, to) = range(query.from.as_deref(), query.to.as_deref(), "-1h", shared.clock.now().utc)?;
    let limit = limit(query.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let id = point.id;
    let (samples, next, damaged) = shared
        .read(move |record| {
            let mut damaged = 0;
            let mut samples = record.scan_noting(id, from, to, limit.saturating_add(1), &mut damaged)?;
            let mut next = None;
            if let Some(over) = samples.get(limit).map(|sample| sample.record_time) {
                samples.retain(|sample| sample.record_time < over);
                next = Some(over);
                if samples.is_empty() {
                    samples = record.scan_noting(id, over, over.plus(1), LIMIT_MAX, &mut damaged)?;
                    next = Some(over.plus(1));
                }
            }
            Ok((samples, next.map(|time| time.to_string()), damaged))
        })
        .await?;
    if table::is_csv(query.format, &headers) {
        return table::samples(&shared.catalogue, &point.identity, &samples, next, damaged);
    }
    let items = samples.iter().map(|sample| SampleDto::new(sample, point.identity.decimals)).collect();
    Ok(Json(RecordPage { items, next, damaged_blocks: noted(damaged) }).into_response())
}

/// Which buckets.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BucketQuery {
    /// Stable id of the point.
    point: String,
    /// Start, as for samples. 24 hours ago unless given.
    from: Option<String>,
    /// End, exclusive. Now unless given.
    to: Option<String>,
    /// Width: `1m`, `15m`, `1h`, or `1d` for the park's days. `1h` unless given.
    every: Option<String>,
    /// Instead of the above: ascending edges with commas between them.
    edges: Option<String>,
}

/// Samples of a point summed up in half-open buckets, those without a sample included.
///
/// With `every` the first bucket starts at or before `from`, the last ends at or after `to`: widths are aligned to the
/// park's midnight, days are the park's days (23 or 25 hours where clocks are put on or back).
#[utoipa::path(get, operation_id = "get_samples_buckets", path = "/api/v1/samples/buckets", tag = "samples", params(BucketQuery),
    responses((status = 200, body = RecordPage<BucketDto>), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn buckets(App(shared): App, asker: Asker, Params(query): Params<BucketQuery>) -> Result<Json<RecordPage<BucketDto>>, Problem> {
    let point = Visible::new(&shared.catalogue, &asker).point(&query.point)?;
    let now = shared.clock.now().utc;
    let edges = match &query.edges {
        Some(_) if query.from.is_some() || query.to.is_some() || query.every.is_some() => {
            return Err(Problem::bad_query("`edges` together with `from`, `to` or `every`", "give either edges, or a range and a width"));
        }
        Some(text) => given_edges(text, now)?,
        None => {
            let (from, to) = range(query.from.as_deref(), query.to.as_deref(), "-24h", now)?;
            even_edges(query.every.as_deref().unwrap_or("1h"), from, to, &crate::transfer::time::zone(&shared.catalogue))?
        }
    };
    let (id, decimals) = (point.id, point.identity.decimals);
    let (items, damaged) = shared
        .read(move |record| {
            let mut damaged = 0;
            let buckets = record.buckets_noting(id, &edges, &mut damaged)?;
            Ok((buckets.iter().map(|bucket| BucketDto::new(bucket, decimals)).collect(), damaged))
        })
        .await?;
    Ok(Json(RecordPage { items, next: None, damaged_blocks: noted(damaged) }))
}

/// Damage that an answer is without, where there is some.
fn noted(damaged: u64) -> Option<u64> {
    (damaged > 0).then_some(damaged)
}

fn too_many() -> Problem {
    Problem::bad_query(format!("more than {BUCKETS_MAX} buckets"), "choose a wider bucket or a shorter range")
}

fn given_edges(text: &str, now: UtcMillis) -> Result<Vec<UtcMillis>, Problem> {
    let edges = text.split(',').take(BUCKETS_MAX.saturating_add(2)).map(|edge| time("edges", edge, now)).collect::<Result<Vec<_>, _>>()?;
    if edges.len() > BUCKETS_MAX.saturating_add(1) {
        return Err(too_many());
    }
    if edges.len() < 2 || !edges.is_sorted_by(|a, b| a < b) {
        return Err(Problem::bad_query("`edges` are not at least two ascending times", "edges=T0,T1,T2 gives [T0,T1) and [T1,T2)"));
    }
    Ok(edges)
}

fn even_edges(every: &str, from: UtcMillis, to: UtcMillis, zone: &TimeZone) -> Result<Vec<UtcMillis>, Problem> {
    let bad_width = || Problem::bad_query(format!("`every={every}` is no width"), "write 10s, 1m, 15m, 1h, or 1d for the park's days");
    let width_ms = span_ms(every).filter(|&width| width > 0).ok_or_else(bad_width)?;
    let beyond_calendar = || Problem::bad_query("the range leaves the calendar", "choose times between the years 0 and 9999");
    let local =
        |time: UtcMillis| Timestamp::from_millisecond(time.0).map(|stamp| stamp.to_zoned(zone.clone())).map_err(|_| beyond_calendar());
    let start = local(from)?;
    local(to)?;
    let mut edges = Vec::new();
    if every.ends_with('d') {
        let days = i32::try_from(width_ms / 86_400_000).map_err(|_| bad_width())?;
        let mut day = start.date();
        loop {
            let midnight = day.to_zoned(zone.clone()).map_err(|_| beyond_calendar())?;
            edges.push(UtcMillis(midnight.timestamp().as_millisecond()));
            if edges.len() > BUCKETS_MAX.saturating_add(1) {
                return Err(too_many());
            }
            if edges.len() > 1 && edges.last().is_some_and(|&edge| edge >= to) {
                return Ok(edges);
            }
            day = day.checked_add(jiff::Span::new().try_days(days).map_err(|_| bad_width())?).map_err(|_| beyond_calendar())?;
        }
    }
    let offset_ms = i64::from(start.offset().seconds()).saturating_mul(1000);
    let mut edge = from.plus(offset_ms).floor_to(width_ms).plus(offset_ms.saturating_neg());
    loop {
        edges.push(edge);
        if edges.len() > BUCKETS_MAX.saturating_add(1) {
            return Err(too_many());
        }
        if edges.len() > 1 && edge >= to {
            return Ok(edges);
        }
        edge = edge.plus(width_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(every: &str, from: &str, to: &str, zone: &str) -> Result<Vec<String>, String> {
        let time = |text: &str| UtcMillis(text.parse::<Timestamp>().unwrap().as_millisecond());
        even_edges(every, time(from), time(to), &TimeZone::get(zone).unwrap())
            .map(|edges| edges.iter().map(|edge| edge.to_string().replace(":00.000Z", "")).collect())
            .map_err(|problem| problem.detail)
    }

    #[test]
    fn widths_are_aligned_to_the_parks_midnight() {
        for (every, from, to, zone, expected) in [
            (
                "1h",
                "2026-01-01T00:10:00Z",
                "2026-01-01T02:00:00Z",
                "Asia/Shanghai",
                vec!["2026-01-01T00:00", "2026-01-01T01:00", "2026-01-01T02:00"],
            ),
            (
                "1h",
                "2026-01-01T00:10:00Z",
                "2026-01-01T00:40:00Z",
                "Asia/Kolkata",
                vec!["2025-12-31T23:30", "2026-01-01T00:30", "2026-01-01T01:30"],
            ),
            ("15m", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "UTC", vec!["2026-01-01T00:00", "2026-01-01T00:15"]),
            (
                "1d",
                "2026-01-01T17:00:00Z",
                "2026-01-03T00:00:00Z",
                "Asia/Shanghai",
                vec!["2026-01-01T16:00", "2026-01-02T16:00", "2026-01-03T16:00"],
            ),
            (
                "1d",
                "2026-03-28T23:00:00Z",
                "2026-03-30T22:00:00Z",
                "Europe/Berlin",
                vec!["2026-03-28T23:00", "2026-03-29T22:00", "2026-03-30T22:00"],
            ),
        ] {
            assert_eq!(edges(every, from, to, zone), Ok(expected.iter().map(|&text| text.to_owned()).collect()), "{every} {from} {zone}");
        }
    }

    #[test]
    fn too_many_buckets_and_odd_widths_are_refused() {
        assert_eq!(edges("1s", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "UTC"), Err("more than 10000 buckets".into()));
        for every in ["0h", "1w", "h", "-1h", "1.5h", ""] {
            assert!(edges(every, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "UTC").is_err(), "{every}");
        }
        assert!(given_edges("1,2,3", UtcMillis(0)).is_ok());
        for text in ["", "1", "2,1", "1,1"] {
            assert!(given_edges(text, UtcMillis(0)).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn edges_ascend_and_cover_the_range(
            from in proptest::prop_oneof![i64::MIN..=i64::MAX, -3_000_000_000_000i64..6_000_000_000_000],
            length in 0i64..5_000_000_000,
            every in proptest::sample::select(vec!["7s", "1m", "15m", "1h", "6h", "1d", "7d", "99999999d"]),
            zone in proptest::sample::select(vec!["UTC", "Asia/Shanghai", "Asia/Kolkata", "Europe/Berlin", "America/Havana", "America/Sao_Paulo"]),
        ) {
            let (from, to) = (UtcMillis(from), UtcMillis(from).plus(length));
            if let Ok(edges) = even_edges(every, from, to, &TimeZone::get(zone).unwrap()) {
                proptest::prop_assert!(edges.len() >= 2 && edges.len() <= BUCKETS_MAX + 1);
                proptest::prop_assert!(edges.is_sorted_by(|a, b| a < b));
                proptest::prop_assert!(edges[0] <= from && edges[edges.len() - 1] >= to);
            }
        }
    }
}
