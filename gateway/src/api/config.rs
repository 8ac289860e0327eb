//! `/api/v1/config/reload`: the configuration files are read again.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::enter::FromHere;
use super::error::Problem;
use super::params::{Nothing, Params};
use super::{App, Asker};
use crate::reload::{NotReloaded, ReloadReport, ReloadResult};

/// Why the files were not taken: a problem as every other, with the report.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedDto {
    /// In general.
    #[serde(flatten)]
    problem: Problem,
    /// In particular.
    #[serde(flatten)]
    report: ReloadReport,
}

/// Reads the configuration files again and takes over what changed: only lines that differ are begun anew. Files with a
/// problem, or with a change that needs a restart, are refused as a whole, and what was in force stays. For operators and
/// admins of the whole park; no body is needed.
#[utoipa::path(post, operation_id = "post_config_reload", path = "/api/v1/config/reload", tag = "park",
    responses((status = 200, body = ReloadReport), (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = RefusedDto, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn reload(App(shared): App, Asker(asker): Asker, _: FromHere, _: Params<Nothing>) -> Result<Response, Problem> {
    let reloads = shared.reloads.clone();
    let who = format!("{} (API)", asker.name);
    // An answer may take some seconds; nothing of the old configuration is held meanwhile.
    drop(shared);
    let report = reloads.ask(who).await.map_err(|error| match error {
        NotReloaded::Busy => Problem::not_now("several reloads are asked for already"),
        NotReloaded::Stopping => Problem::not_now("the gateway is starting or stopping"),
    })?;
    if report.result != ReloadResult::Refused {
        return Ok(Json(report).into_response());
    }
    let remedy = "mend the files and ask again; `parkgate check` finds the same problems, but for those that need a restart";
    let problem = Problem::refused(report.problems_text(), remedy);
    let mut answer = (StatusCode::UNPROCESSABLE_ENTITY, Json(RefusedDto { problem, report })).into_response();
    answer.headers_mut().insert(axum::http::header::CONTENT_TYPE, axum::http::HeaderValue::from_static("application/problem+json"));
    Ok(answer)
}
