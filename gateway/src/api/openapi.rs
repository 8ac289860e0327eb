//! `/api/v1/openapi.json`: the description of the API, made from the handlers and the types of their answers.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use super::auth::Need;

/// Name of the way to say who asks.
const TOKEN: &str = "token";

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
        super::devices::unknown,
        super::devices::get,
        super::points::list,
        super::latest::list,
        super::samples::list,
        super::samples::buckets,
        super::today::get,
        super::totals::list,
        super::alarms::list,
        super::alarms::events,
        super::alarms::stream,
        super::alarms::act,
        super::limits::list,
        super::limits::post,
        super::marks::list,
        super::marks::post,
        super::meters::decisions,
        super::meters::decide,
        super::meters::exchanges,
        super::meters::exchange,
        super::readings::list,
        super::readings::post,
        super::emissions::list,
        super::compliance::list,
        super::accesses::list,
        super::regulator::emissions,
        super::outlets::list,
        super::indicators::list,
        super::indicators::explain,
        super::indicators::topology,
        super::declarations::list,
        super::declarations::post,
        super::ledger::list,
        super::ledger::post,
        super::reviews::list,
        super::reviews::post,
        super::config::reload,
        super::stream::get,
        get,
        super::probes::livez,
        super::probes::readyz,
        super::probes::metrics,
    ),
    components(schemas(
        super::stream::HelloDto,
        super::stream::HealthEventDto,
        super::stream::StatsDto,
        super::table::Format,
        crate::report::Form,
        crate::rollup::total::Level
    ))
)]
struct Document;

/// The description itself: a token for all but what the routes table opens to everybody.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().add_security_scheme(TOKEN, scheme);
    document.security = Some(vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
    for (route, _, _) in super::routes().into_iter().filter(|(_, need, _)| *need == Need::Nobody) {
        if let Some(operation) = document.paths.paths.get_mut(route).and_then(|item| item.get.as_mut()) {
            operation.security = Some(Vec::new());
        }
    }
    document
}

/// This description.
#[utoipa::path(get, operation_id = "get_openapi", path = "/api/v1/openapi.json", tag = "park", responses((status = 200, description = "OpenAPI document")))]
pub async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
