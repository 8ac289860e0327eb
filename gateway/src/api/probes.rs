//! `/livez`, `/readyz` and `/metrics`: for supervisors and scrapers.

use std::fmt::Write as _;

use axum::Extension;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parkgate_collector::health::State;
use prometheus::{Encoder as _, TextEncoder};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::{self, Need};
use super::params::Params;
use super::{App, Problem};
use crate::access::Grant;

/// Answers as long as the program runs.
#[utoipa::path(get, operation_id = "get_livez", path = "/livez", tag = "probes", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// How much to tell.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReadyQuery {
    /// Present: list every check, and the links. For operators and admins of the whole park.
    verbose: Option<String>,
}

/// Whether all parts are up: 200 or 503. Links to meters do not count: restarting the gateway would not mend them.
/// What is not up, or done without, is told to operators and admins of the whole park.
#[utoipa::path(get, operation_id = "get_readyz", path = "/readyz", tag = "probes", params(ReadyQuery),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = String, content_type = "text/plain"),
        (status = 401, body = Problem, content_type = "application/problem+json"), (status = 403, body = Problem, content_type = "application/problem+json")))]
pub async fn readyz(App(shared): App, grant: Option<Extension<Grant>>, Params(query): Params<ReadyQuery>) -> Response {
    let is_told = grant.as_ref().is_some_and(|grant| Need::RunsThePark.allows(&grant.identity));
    if query.verbose.is_some() && !is_told {
        return match grant {
            Some(grant) => auth::forbidden(grant.identity.role, Need::RunsThePark),
            None => auth::unauthorized(Need::RunsThePark),
        };
    }
    let checks = shared.readiness.checks();
    let ready = shared.readiness.ready();
    let mut text = String::new();
    for (name, outcome) in &checks {
        match outcome {
            Ok(()) if query.verbose.is_some() => writeln!(text, "[+] {name} ok"),
            Err(what) if is_told => writeln!(text, "[-] {name} failed: {what}"),
            _ => Ok(()),
        }
        .expect("a string takes everything");
    }
    if query.verbose.is_some() {
        for (name, health) in shared.health.links() {
            let (mark, state) = match health.state {
                State::Up => ('+', "up"),
                State::Degraded => ('~', "degraded"),
                State::Down => ('~', "down"),
                State::Unknown => ('~', "not heard yet"),
            };
            let since = if health.state == State::Unknown { String::new() } else { format!(" since {}", health.since) };
            let error = match (&health.last_error, health.state) {
                (Some(error), State::Degraded | State::Down) => format!(": {error}"),
                _ => String::new(),
            };
            writeln!(text, "[{mark}] link {name} {state}{since}{error}").expect("a string takes everything");
        }
    }
    if is_told {
        for (part, what) in shared.readiness.degraded_parts() {
            writeln!(text, "[~] {part} degraded: {what}").expect("a string takes everything");
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text).into_response()
}

/// All metrics in the Prometheus text format, version 0.0.4.
#[utoipa::path(get, operation_id = "get_metrics", path = "/metrics", tag = "probes", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(App(shared): App) -> Result<impl IntoResponse, Problem> {
    shared.metrics.scrape();
    let mut text = Vec::new();
    TextEncoder::new().encode(&shared.registry.gather(), &mut text).map_err(|error| {
        tracing::error!(error = %error, "metrics could not be written");
        Problem::internal()
    })?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    Ok((headers, text))
}
