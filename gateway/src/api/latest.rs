//! `/api/v1/latest`: the last value of points.

use axum::Json;
use parkgate_collector::model::Medium;
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{LatestDto, Page};
use super::error::Problem;
use super::params::Params;
use super::{App, Asker, Visible, points};

/// Which points.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LatestQuery {
    /// Stable ids of points, with commas between them; all visible points unless given.
    point: Option<String>,
    /// Only points of this device.
    device: Option<String>,
    /// Only points of this medium. The gateway's own metrics are listed under `gateway` only.
    #[param(value_type = Option<String>)]
    medium: Option<Medium>,
}

/// The last sample of each point, by record time, with its age.
#[utoipa::path(get, operation_id = "get_latest", path = "/api/v1/latest", tag = "samples", params(LatestQuery),
    responses((status = 200, body = Page<LatestDto>), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, asker: Asker, Params(query): Params<LatestQuery>) -> Result<Json<Page<LatestDto>>, Problem> {
    let visible = Visible::new(&shared.catalogue, &asker);
    points::known(visible, query.device.as_deref(), None)?;
    let chosen = match &query.point {
        Some(ids) => ids.split(',').map(|id| visible.point(id)).collect::<Result<Vec<_>, _>>()?,
        None => visible.points().filter(|point| points::is_of(point, query.medium, query.device.as_deref())).collect(),
    };
    let now = shared.clock.now().utc;
    let items = chosen
        .into_iter()
        .filter(|point| query.medium.is_none_or(|medium| medium == point.medium))
        .filter(|point| query.device.as_ref().is_none_or(|device| *device == point.device))
        .map(|point| LatestDto::new(point, shared.record.latest(point.id).as_ref(), now))
        .collect();
    Ok(Json(Page { items, next: None }))
}
