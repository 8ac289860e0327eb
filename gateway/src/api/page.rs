//! The page: files of `gateway/web`, embedded. A browser keeps them and asks each time whether they are still the same.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The page itself.
pub async fn index(headers: HeaderMap) -> Response {
    asset(&headers, "text/html; charset=utf-8", include_str!("../../web/index.html"))
}

/// Its script.
pub async fn script(headers: HeaderMap) -> Response {
    asset(&headers, "text/javascript; charset=utf-8", include_str!("../../web/app.js"))
}

/// Its style.
pub async fn style(headers: HeaderMap) -> Response {
    asset(&headers, "text/css; charset=utf-8", include_str!("../../web/style.css"))
}

/// Its texts in Chinese and English.
pub async fn texts(headers: HeaderMap) -> Response {
    asset(&headers, "application/json", include_str!("../../web/texts.json"))
}

/// Its icon.
pub async fn icon(headers: HeaderMap) -> Response {
    asset(&headers, "image/svg+xml", include_str!("../../web/favicon.svg"))
}

fn asset(request: &HeaderMap, content_type: &'static str, body: &'static str) -> Response {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish())).expect("hexadecimal digits in quotes");
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|given| *given == tag);
    let caching = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if known {
        (StatusCode::NOT_MODIFIED, caching).into_response()
    } else {
        (caching, [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
    }
}
