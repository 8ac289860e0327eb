//! `/api/v1/devices`: meters and how they are doing.

use axum::Json;
use axum::extract::Path;
use parkgate_collector::catalogue::OWN_ID;
use parkgate_collector::model::Medium;
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{DeviceDetailDto, DeviceDto, Page, PointDto, UnknownDevicesDto};
use super::error::Problem;
use super::params::{Nothing, Params};
use super::points::known;
use super::{App, Asker, Visible};

/// What to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeviceQuery {
    /// Only devices of this enterprise.
    enterprise: Option<String>,
    /// Only devices with points of this medium, such as `power`. The gateway itself is listed under `gateway` only.
    #[param(value_type = Option<String>)]
    medium: Option<Medium>,
}

/// All visible devices with their health, in the order of the configuration.
#[utoipa::path(get, operation_id = "get_devices", path = "/api/v1/devices", tag = "devices", params(DeviceQuery),
    responses((status = 200, body = Page<DeviceDto>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, asker: Asker, Params(query): Params<DeviceQuery>) -> Result<Json<Page<DeviceDto>>, Problem> {
    let visible = Visible::new(&shared.catalogue, &asker);
    known(visible, None, query.enterprise.as_deref())?;
    let (devices, links) = (shared.health.devices(), shared.health.links());
    let items = visible
        .devices()
        .filter(|device| query.enterprise.is_none() || device.enterprise == query.enterprise)
        .filter(|device| query.medium.map_or(device.id != OWN_ID, |medium| visible.points_of(device).any(|point| point.medium == medium)))
        .map(|device| DeviceDto::new(visible, device, devices.get(&device.id), links.get(&device.link.id)))
        .collect();
    Ok(Json(Page { items, next: None }))
}

/// Topics that messages come on and that no device has, each with a piece of configuration to be pasted and completed. At
/// most 200 topics since start; further ones are counted. Only for a token whose scope is the whole park.
#[utoipa::path(get, operation_id = "get_devices_unknown", path = "/api/v1/devices/unknown", tag = "devices",
    responses((status = 200, body = UnknownDevicesDto), (status = 403, body = Problem, content_type = "application/problem+json")))]
pub async fn unknown(App(shared): App, Asker(asker): Asker, _: Params<Nothing>) -> Result<Json<UnknownDevicesDto>, Problem> {
    if !asker.scope.is_everything() {
        return Err(Problem::forbidden(asker.role.name(), "a token whose scope is the whole park"));
    }
    Ok(Json(shared.health.unknowns().into()))
}

/// One device with its health and its points.
#[utoipa::path(get, operation_id = "get_devices_id", path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path, description = "Stable id of the device")),
    responses((status = 200, body = DeviceDetailDto), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn get(App(shared): App, asker: Asker, Path(id): Path<String>, _: Params<Nothing>) -> Result<Json<DeviceDetailDto>, Problem> {
    let visible = Visible::new(&shared.catalogue, &asker);
    let device = visible.device(&id)?;
    let (devices, links) = (shared.health.devices(), shared.health.links());
    Ok(Json(DeviceDetailDto {
        device: DeviceDto::new(visible, device, devices.get(&device.id), links.get(&device.link.id)),
        point_list: visible.points_of(device).map(|point| PointDto::new(&shared.catalogue, point)).collect(),
    }))
}
