//! `/api/v1/points`: what is measured.

use axum::Json;
use parkgate_collector::catalogue::{OWN_ID, Point};
use parkgate_collector::model::{Kind, Medium};
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{Page, PointDto};
use super::error::Problem;
use super::params::{Params, limit};
use super::{App, Asker, Visible};

/// Points listed at once unless asked otherwise.
const LIMIT_DEFAULT: usize = 1_000;
/// Most points listed at once.
const LIMIT_MAX: usize = 10_000;

/// What to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PointQuery {
    /// Only points of this device.
    device: Option<String>,
    /// Only points of this enterprise.
    enterprise: Option<String>,
    /// Only points of this medium, such as `power`. The gateway's own metrics are listed under `gateway` only.
    #[param(value_type = Option<String>)]
    medium: Option<Medium>,
    /// Only points of this kind: `gauge`, `counter` or `state`.
    #[param(value_type = Option<String>)]
    kind: Option<Kind>,
    /// Most points, 1000 unless given, at most 10000.
    limit: Option<usize>,
    /// Go on behind this point: `next` of the part before.
    after: Option<String>,
}

/// Visible points in the order of the configuration. `next` is what to pass as `after`.
#[utoipa::path(get, operation_id = "get_points", path = "/api/v1/points", tag = "points", params(PointQuery),
    responses((status = 200, body = Page<PointDto>), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, asker: Asker, Params(query): Params<PointQuery>) -> Result<Json<Page<PointDto>>, Problem> {
    let catalogue = &shared.catalogue;
    let visible = Visible::new(catalogue, &asker);
    known(visible, query.device.as_deref(), query.enterprise.as_deref())?;
    let limit = limit(query.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let start = match &query.after {
        None => 0,
        Some(after) => {
            let last = visible.point(after)?;
            visible.points().position(|point| point.id == last.id).map_or(0, |position| position.saturating_add(1))
        }
    };
    let mut chosen = visible.points().skip(start).filter(|point| {
        let enterprise = || catalogue.device(&point.device).and_then(|device| device.enterprise.as_ref());
        query.device.as_ref().is_none_or(|device| *device == point.device)
            && query.enterprise.as_ref().is_none_or(|wanted| enterprise() == Some(wanted))
            && is_of(point, query.medium, query.device.as_deref())
            && query.kind.is_none_or(|kind| kind == point.identity.kind)
    });
    let items: Vec<PointDto> = chosen.by_ref().take(limit).map(|point| PointDto::new(catalogue, point)).collect();
    let next = chosen.next().and_then(|_| items.last().map(|point| point.id.clone()));
    Ok(Json(Page { items, next }))
}

/// Whether a point is of the medium asked for; with none asked for, whether it is a meter's, unless the gateway's own
/// device is named.
pub fn is_of(point: &Point, medium: Option<Medium>, device: Option<&str>) -> bool {
    medium.map_or(point.medium != Medium::Gateway || device == Some(OWN_ID), |medium| medium == point.medium)
}

/// Refuses a device or an enterprise that is not there for the asker: an empty list would look like an answer.
pub fn known(visible: Visible<'_>, device: Option<&str>, enterprise: Option<&str>) -> Result<(), Problem> {
    match (device, enterprise) {
        (Some(id), _) if !visible.devices().any(|device| device.id == id) => {
            Err(Problem::bad_query(format!("there is no device `{id}`"), "GET /api/v1/devices lists them"))
        }
        (_, Some(id)) if !visible.enterprises().any(|enterprise| enterprise.id == id) => {
            Err(Problem::bad_query(format!("there is no enterprise `{id}`"), "GET /api/v1/park lists them"))
        }
        _ => Ok(()),
    }
}
