//! `/api/v1/park`: the park and the gateway that answers.

use axum::Json;
use parkgate_collector::catalogue::OWN_ID;
use parkgate_collector::model::Medium;

use super::dto::{EnterpriseDto, ParkDto};
use super::params::{Nothing, Params};
use super::{App, Asker, Visible};

/// The park, its enterprises (those visible), and the gateway that answers.
#[utoipa::path(get, operation_id = "get_park", path = "/api/v1/park", tag = "park", responses((status = 200, body = ParkDto)))]
pub async fn get(App(shared): App, asker: Asker, _: Params<Nothing>) -> Json<ParkDto> {
    let catalogue = &shared.catalogue;
    let visible = Visible::new(catalogue, &asker);
    Json(ParkDto {
        id: catalogue.park.id.clone(),
        name: (&catalogue.park.name).into(),
        time_zone: catalogue.park.time_zone.clone(),
        enterprises: visible
            .enterprises()
            .map(|enterprise| EnterpriseDto { id: enterprise.id.clone(), name: (&enterprise.name).into() })
            .collect(),
        devices: visible.devices().filter(|device| device.id != OWN_ID).count(),
        points: visible.points().filter(|point| point.medium != Medium::Gateway).count(),
        demo: shared.demo,
        version: shared.build.version.to_owned(),
        boot_id: shared.boot_id.clone(),
        catalogue_version: format!("{:08x}", catalogue.version),
        time: shared.clock.now().utc.to_string(),
    })
}
