//! `/api/v1/openapi.json`: the description of the API, made from the handlers and the types of their answers.

use axum::Json;
use utoipa::OpenApi;

/// Collects all documented routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "parkgate",
        description = "The record of an industrial park, read only. Times are UTC; measured values are exact decimals in strings.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        super::session::get,
        super::session::post,
        super::session::delete,
        super::park::get,
        super::devices::list,
        super::devices::get,
        super::points::list,
        super::latest::list,
        super::samples::list,
        super::samples::buckets,
        super::today::get,
        super::totals::list,
        super::stream::get,
        get,
        super::probes::livez,
        super::probes::readyz,
        super::probes::metrics,
    ),
    components(schemas(super::stream::HelloDto, super::stream::HealthEventDto, super::stream::StatsDto))
)]
struct Document;

/// The description itself.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This description.
#[utoipa::path(get, operation_id = "get_openapi", path = "/api/v1/openapi.json", tag = "park", responses((status = 200, description = "OpenAPI document")))]
pub async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
