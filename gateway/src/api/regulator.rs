//! `/api/v1/regulator/emissions`: the emission summary of an outlet, as JSON, CSV, workbook, page or signed package.
//!
//! An outlet that the asker may not see is not there. Requests of regulators' tokens are kept by [`super::accesses`].

use std::sync::Arc;

use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use parkgate_rules::emission::{Averaging, UtcMillis};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use utoipa::IntoParams;

use super::error::{Problem, nearest};
use super::params::Params;
use super::{App, Asker, Build};
use crate::report::{self, Asked, Form, Report, ReportKey, Written, ask, page};

/// Digits of the hash that make an entity tag.
const TAG_DIGITS: usize = 32;

/// Which summary.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SummaryQuery {
    /// Id of the outlet.
    outlet: String,
    /// Length of a row: `hour`, `day` or `month`; `hour` unless given.
    #[param(value_type = Option<String>)]
    period: Option<Averaging>,
    /// Rows that start at or after: a date in the park's zone, or RFC 3339. The start of last month unless given.
    from: Option<String>,
    /// Rows that start before, in the same forms. The end of the month of `from` unless given.
    to: Option<String>,
    /// `json`, `csv`, `xlsx`, `html` or `package`; `json` unless given.
    format: Option<Form>,
}

/// The emission summary of an outlet: what was above a limit and not counted, exceedances, every row of the range with its
/// averages, converted values, mass, limit, status and marks, hours by class, corrections, and the parameters used. What the
/// token may not see of events is said in `left_out`.
///
/// JSON has an entity tag that changes when anything but the time of making does.
#[utoipa::path(get, operation_id = "get_emission_summary", path = "/api/v1/regulator/emissions", tag = "regulator", params(SummaryQuery),
    responses((status = 200, content((serde_json::Value = "application/json"), (String = "text/csv"),
            (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"), (String = "text/html"), (String = "application/zip"))),
        (status = 304, description = "Nothing changed"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn emissions(
    App(shared): App,
    Asker(identity): Asker,
    headers: HeaderMap,
    Params(query): Params<SummaryQuery>,
) -> Result<Response, Problem> {
    let view = Arc::clone(&shared.emissions);
    let plan = view.plan();
    if !plan.sees_outlet(&identity, &query.outlet) {
        let seen = plan.outlets.iter().map(|planned| planned.outlet.id.as_str()).filter(|id| plan.sees_outlet(&identity, id));
        return Err(Problem::not_found("outlet", &query.outlet, nearest(&query.outlet, seen)));
    }
    let (averaging, form) = (query.period.unwrap_or(Averaging::Hour), query.format.unwrap_or_default());
    let made_at = UtcMillis(shared.clock.now().utc.0);
    let range = ask::range(&plan.zone, averaging, query.from.as_deref(), query.to.as_deref(), made_at)
        .map_err(|error| Problem::bad_query(error.to_string(), "`from` and `to` are dates, or times as RFC 3339"))?;
    let asked = Asked { outlet: query.outlet.clone(), averaging, range, made_at, software: software(shared.build) };
    let (catalogue, data) = (Arc::clone(&shared.catalogue), shared.data.clone());
    let wanted = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).map(str::to_owned);
    let made = shared
        .read(move |_| {
            let Some(report) = report::make(&*view, &catalogue, &asked, &identity)? else { return Ok(None) };
            let tag = if form == Form::Json { tag(&report) } else { None };
            if let (Some(tag), Some(wanted)) = (&tag, &wanted)
                && matches_tag(wanted, tag)
            {
                return Ok(Some((Ok(None), Some(tag.clone()))));
            }
            Ok(Some((report::write(&report, form, || ReportKey::of(&data)).map(Some), tag)))
        })
        .await?;
    match made {
        None => Err(Problem::not_found("outlet", &query.outlet, None)),
        Some((Ok(None), tag)) => Ok(not_changed(tag)),
        Some((Ok(Some(written)), tag)) => Ok(answer(written, form, tag)),
        Some((Err(error), _)) => {
            tracing::error!(error = %error, outlet = query.outlet, "summary could not be written");
            Err(Problem::internal())
        }
    }
}

/// Program, version and commit, as summaries name them.
pub fn software(build: Build) -> String {
    format!("parkgate {} ({})", build.version, build.commit)
}

/// Of all that the summary says but when it was made.
fn tag(report: &Report) -> Option<String> {
    let mut summary = report.summary.clone();
    summary.head.made_at = String::new();
    let hash = Sha256::digest(report::json(&summary).ok()?);
    Some(format!("W/\"{}\"", report::key::hex(&hash).get(..TAG_DIGITS)?))
}

/// Whether a list of tags names this one (RFC 9110, 13.1.2: weakly).
fn matches_tag(wanted: &str, tag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    wanted.trim() == "*" || wanted.split(',').any(|one| strong(one) == strong(tag))
}

fn not_changed(tag: Option<String>) -> Response {
    tagged(StatusCode::NOT_MODIFIED.into_response(), tag)
}

fn answer(written: Written, form: Form, tag: Option<String>) -> Response {
    let mut response = written.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(written.media_type));
    let how = if matches!(form, Form::Json | Form::Html) { "inline" } else { "attachment" };
    set(headers, CONTENT_DISPOSITION, &format!("{how}; filename=\"{}\"", written.name));
    if form == Form::Html {
        set(headers, CONTENT_SECURITY_POLICY, &page::policy());
    }
    tagged(response, tag)
}

fn tagged(mut response: Response, tag: Option<String>) -> Response {
    if let Some(tag) = tag {
        let headers = response.headers_mut();
        set(headers, ETAG, &tag);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
