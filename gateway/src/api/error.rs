//! Errors of the API as problem details (RFC 9457): what is wrong, and what to do about it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::StoreError;

/// Body of every answer that is not a success, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem, `urn:parkgate:problem:bad-query`. Programs decide by this one.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// Status code of the answer.
    pub status: u16,
    /// What is wrong with this very request.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &'static str, detail: String, remedy: impl Into<String>) -> Self {
        Self { kind: format!("urn:parkgate:problem:{kind}"), title, status: status.as_u16(), detail, remedy: remedy.into() }
    }

    /// A query parameter that is unknown, missing, or not of its form.
    pub fn bad_query(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-query", "the query cannot be understood", detail.into(), remedy)
    }

    /// A device or point that the configuration does not have.
    pub fn not_found(what: &str, id: &str, suggestion: Option<&str>) -> Self {
        let remedy = match suggestion {
            Some(near) => format!("did you mean `{near}`? GET /api/v1/{what}s lists all"),
            None => format!("GET /api/v1/{what}s lists all"),
        };
        let detail = format!("there is no {what} `{id}` in the running configuration");
        Self::new(StatusCode::NOT_FOUND, &format!("unknown-{what}"), "no such thing here", detail, remedy)
    }

    /// Something that was said to be entered before.
    pub fn not_entered(id: &str) -> Self {
        let detail = format!("there is no exchange or decision `{id}`");
        let remedy = "GET /api/v1/exchanges and GET /api/v1/decisions list all";
        Self::new(StatusCode::NOT_FOUND, "unknown-entry", "no such thing here", detail, remedy)
    }

    /// A path that is not served.
    pub fn no_route(path: &str) -> Self {
        let detail = format!("nothing is served at `{path}`");
        Self::new(StatusCode::NOT_FOUND, "no-route", "no such address", detail, "GET /api/v1/openapi.json lists what is served")
    }

    /// A method that a path does not take.
    pub fn bad_method(method: &str, path: &str) -> Self {
        let detail = format!("`{path}` does not take {method}");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "bad-method",
            "method not allowed",
            detail,
            "GET /api/v1/openapi.json lists what is served",
        )
    }

    /// A Host header that names another server: perhaps a page elsewhere that had its name point here.
    pub fn misdirected(host: &str) -> Self {
        let detail = format!("the Host header names `{host}`, which is not this server");
        let remedy = "use the address the gateway listens on, or add this name to the allowed hosts of the configuration";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", "not the server asked for", detail, remedy)
    }

    /// A request that must say who asks.
    pub fn unauthorized(detail: &str, needed: &str) -> Self {
        let remedy =
            format!("send `Authorization: Bearer TOKEN` with {needed}; `parkgate token create` on the gateway's machine makes one");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "a token is needed", detail.to_owned(), remedy)
    }

    /// A token whose role is not enough.
    pub fn forbidden(role: &str, needed: &str) -> Self {
        let detail = format!("the token has role {role}, or a scope, that does not allow this");
        Self::new(StatusCode::FORBIDDEN, "forbidden", "not allowed", detail, format!("use {needed}"))
    }

    /// Too many wrong tokens from one address.
    pub fn too_many_failures(wait_s: u64) -> Self {
        let detail = "too many wrong tokens came from this address".to_owned();
        let remedy = format!("mend the token of the program that asks; the next attempt is looked at in {wait_s} s");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", "too many failed attempts", detail, remedy)
    }

    /// An answer that took too long.
    pub fn timeout(seconds: u64) -> Self {
        let detail = format!("no answer within {seconds} s");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "the answer took too long", detail, "ask for a shorter range, or again later")
    }

    /// No further event streams.
    pub fn too_many_streams(most: usize) -> Self {
        let detail = format!("{most} event streams are open, which is the limit, or the gateway is stopping");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "no further stream", detail, "close other pages, or try again later")
    }

    /// A body that is not JSON by its header.
    pub fn not_json() -> Self {
        let detail = "the body is not declared as JSON".to_owned();
        let remedy = "send a JSON object with `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "only JSON is taken", detail, remedy)
    }

    /// A body that a page of another site sends through a visitor's browser.
    pub fn from_elsewhere() -> Self {
        let detail = "the browser says that a page of another site sends this".to_owned();
        let remedy = "send it from a page of this gateway, or by a program that sends no Origin";
        Self::new(StatusCode::FORBIDDEN, "cross-origin", "not from another site", detail, remedy)
    }

    /// A body that is too long.
    pub fn too_long(most: usize) -> Self {
        let detail = format!("the body has more than {most} bytes, or broke off");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "the body is too long", detail, "send less at once")
    }

    /// A body that is no JSON of the documented form.
    pub fn bad_body(detail: impl Into<String>) -> Self {
        let remedy = "GET /api/v1/openapi.json shows the form";
        Self::new(StatusCode::BAD_REQUEST, "bad-body", "the body cannot be understood", detail.into(), remedy)
    }

    /// Something that is understood and cannot be entered.
    pub fn refused(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", "this cannot be entered", detail.into(), remedy)
    }

    /// Something that cannot be done just now.
    pub fn not_now(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-now", "not just now", detail.to_owned(), "ask again in a while")
    }

    /// A report that is not handed out, since nobody would know that it was.
    pub fn not_kept() -> Self {
        let detail = "that this was read cannot be written down, so it is not handed out".to_owned();
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-kept",
            "the access could not be kept",
            detail,
            "the gateway's log says why; try again later",
        )
    }

    /// Something of ours failed; what exactly is in the log.
    pub fn internal() -> Self {
        let detail = "the gateway could not read its record".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error", detail, "the gateway's log says what happened")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "record could not be read");
        Self::internal()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// The candidate nearest to what was written, when it is near enough to be a slip.
pub fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(written, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 4).max(2))
        .map(|(_, candidate)| candidate)
}
