//! `/api/v1/indicators` and `/api/v1/topology`: what the park is judged by, with the way down to register readings, and the
//! networks that it follows from. Figures of the whole park are for those who see the whole park.

use std::sync::Arc;

use axum::Json;
use axum::extract::Path;
use parkgate_rules::indicator::balance::BalanceCheck;
use parkgate_rules::period::Period;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::dto::Page;
use super::error::Problem;
use super::params::Params;
use super::{App, Asker, Shared, Visible};
use crate::indicator::live::{LiveError, Want};
use crate::indicator::topology;

/// For which period.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodQuery {
    /// Day, month or year in the park's zone: `2025-06-01`, `2025-06`, `2025`. The last month that is over unless given.
    period: Option<String>,
}

/// A meter in its place in the park's networks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlacedMeterDto {
    /// Stable id of its point.
    pub point: String,
    /// What it measures: key of the coefficient table, or `water`.
    pub energy: String,
    /// Where it stands: `gate`, `import`, `pv`, `public` ...
    pub place: String,
    /// Whose it is; `null` for the park's own.
    pub enterprise: Option<String>,
    /// Stable id of the point that it is part of.
    pub parent: Option<String>,
    /// Unit of its totals.
    pub unit: String,
}

/// The park's networks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopologyDto {
    /// Period of the balance.
    #[schema(value_type = String, example = "2025-06")]
    pub period: Period,
    /// Meters that are visible, in the order of the configuration.
    pub meters: Vec<PlacedMeterDto>,
    /// Both sides of every network with a gate: `energy`, `unit`, `supply`, `used`, `difference`, `share`, `verdict`, `missing`;
    /// empty for who does not see the whole park.
    #[schema(value_type = Vec<Object>)]
    pub balance: Vec<BalanceCheck>,
}

/// All indicators of a period: value, status, what is missing, estimated share, completeness, factors with their edition.
#[utoipa::path(get, operation_id = "get_indicators", path = "/api/v1/indicators", tag = "indicators", params(PeriodQuery),
    responses((status = 200, body = Page<Object>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, asker: Asker, Params(query): Params<PeriodQuery>) -> Result<Json<Page<Value>>, Problem> {
    results(&shared, &asker, query.period, None).await
}

/// One indicator with the tree that explains it, down to register readings, declarations and factors.
#[utoipa::path(get, operation_id = "get_indicators_id_explain", path = "/api/v1/indicators/{id}/explain", tag = "indicators",
    params(("id" = String, Path, description = "EN-08"), PeriodQuery),
    responses((status = 200, body = Page<Object>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn explain(
    App(shared): App,
    asker: Asker,
    Path(id): Path<String>,
    Params(query): Params<PeriodQuery>,
) -> Result<Json<Page<Value>>, Problem> {
    results(&shared, &asker, query.period, Some(id)).await
}

/// Which meter stands where in the park's networks, and whether the networks balance.
#[utoipa::path(get, operation_id = "get_topology", path = "/api/v1/topology", tag = "indicators", params(PeriodQuery),
    responses((status = 200, body = TopologyDto),
        (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn topology(App(shared): App, asker: Asker, Params(query): Params<PeriodQuery>) -> Result<Json<TopologyDto>, Problem> {
    let period = period(&shared, query.period)?;
    let visible = Visible::new(&shared.catalogue, &asker);
    let seen = |id: &String| shared.catalogue.point_by_stable_id(id).is_some_and(|point| visible.sees(point));
    let meters = shared.indicators.topology().meters.iter().filter(|meter| visible.sees(&meter.point));
    let meters = meters.map(|meter| PlacedMeterDto {
        point: meter.point.identity.stable_id.clone(),
        energy: meter.energy.clone(),
        place: topology::name(meter.place),
        enterprise: meter.enterprise.clone(),
        parent: meter.parent.clone().filter(seen),
        unit: meter.point.identity.unit.symbol().to_owned(),
    });
    let meters = meters.collect();
    let balance = if asker.scope.is_everything() {
        let now = shared.clock.now().utc;
        ask(&shared, move |live| live.balance(period, now)).await?
    } else {
        Vec::new()
    };
    Ok(Json(TopologyDto { period, meters, balance }))
}

async fn results(shared: &Arc<Shared>, asker: &Asker, text: Option<String>, id: Option<String>) -> Result<Json<Page<Value>>, Problem> {
    if !asker.scope.is_everything() {
        return Err(Problem::forbidden(asker.role.name(), "a token without a narrower scope: indicators are of the whole park"));
    }
    let (period, now) = (period(shared, text)?, shared.clock.now().utc);
    let results = ask(shared, move |live| live.results(period, Want { id: id.as_deref(), explain: id.is_some() }, now)).await?;
    let items = results.iter().map(serde_json::to_value).collect::<Result<_, _>>().map_err(|_| Problem::internal())?;
    Ok(Json(Page { items, next: None }))
}

fn period(shared: &Shared, text: Option<String>) -> Result<Period, Problem> {
    let wrong = |detail: String| Problem::bad_query(detail, "write a year (2025), a month (2025-06) or a day (2025-06-01)");
    match text {
        Some(text) => text.parse().map_err(|error: parkgate_rules::period::TimeError| wrong(error.to_string())),
        None => shared.indicators.last_month(shared.clock.now().utc).ok_or_else(|| wrong("there is no month before this one".into())),
    }
}

/// Asks the live park off the async workers.
async fn ask<T: Send + 'static>(
    shared: &Arc<Shared>,
    question: impl FnOnce(&crate::indicator::live::Live) -> Result<T, LiveError> + Send + 'static,
) -> Result<T, Problem> {
    let live = Arc::clone(&shared.indicators);
    let answer = shared.read(move |_| Ok(question(&live))).await?;
    answer.map_err(|error| match error {
        LiveError::Store(error) => error.into(),
        LiveError::Unknown(id) => Problem::not_found("indicator", &id, None),
        error @ (LiveError::Future(_) | LiveError::Hour(_)) => {
            Problem::bad_query(error.to_string(), "ask for a day, month or year that has begun")
        }
        error @ (LiveError::Inputs(_) | LiveError::Ledger(_)) => {
            tracing::error!(error = %error, "indicators cannot be computed");
            Problem::refused(error.to_string(), "mend the declarations or the topology that it names; `parkgate topology` prints it")
        }
    })
}
