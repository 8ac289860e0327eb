//! `/api/v1/session`: who asks, and the cookie by which the page keeps its token.
//!
//! An event stream of a browser carries no header of the page's choice, so the token goes into a cookie. Scripts cannot
//! read it, other sites cannot have it sent, and it is gone when the browser is closed or the person logs out.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::dto::SessionDto;
use super::error::Problem;
use super::params::{Nothing, Params};
use super::{App, Asker, auth};
use crate::access::Grant;
use axum::Extension;

/// Who asks, with what is visible to them.
#[utoipa::path(get, operation_id = "get_session", path = "/api/v1/session", tag = "access",
    responses((status = 200, body = SessionDto), (status = 401, body = Problem, content_type = "application/problem+json")))]
pub async fn get(Extension(grant): Extension<Grant>, _: Params<Nothing>) -> Json<SessionDto> {
    Json(SessionDto::new(&grant))
}

/// Keeps the token of the request's `Authorization` header in a cookie. Nothing else changes.
#[utoipa::path(post, operation_id = "post_session", path = "/api/v1/session", tag = "access",
    responses((status = 200, body = SessionDto), (status = 401, body = Problem, content_type = "application/problem+json")))]
pub async fn post(App(shared): App, Extension(grant): Extension<Grant>, Asker(identity): Asker, headers: HeaderMap) -> Response {
    let dto = Json(SessionDto::new(&grant));
    match auth::bearer(&headers).filter(|_| grant.is_token()) {
        Some(token) => {
            tracing::info!(token = identity.name, "page opened");
            with_cookie(dto, token, "", shared.tls.is_some())
        }
        None => dto.into_response(),
    }
}

/// Drops the cookie.
#[utoipa::path(delete, operation_id = "delete_session", path = "/api/v1/session", tag = "access", responses((status = 204)))]
pub async fn delete(App(shared): App) -> Response {
    with_cookie(StatusCode::NO_CONTENT, "", "; Max-Age=0", shared.tls.is_some())
}

fn with_cookie(answer: impl IntoResponse, value: &str, more: &str, secure: bool) -> Response {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}", auth::COOKIE);
    let mut response = answer.into_response();
    // Holds for every token in force: those are letters and digits.
    if let Ok(mut cookie) = HeaderValue::try_from(text) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
