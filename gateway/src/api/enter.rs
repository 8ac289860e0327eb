//! How something is entered over the API: who may, and the JSON that comes with the request.
//!
//! A page elsewhere that a visitor has open can send a browser's cookie along with forms and plain text, but not JSON,
//! unless it asks first, which nothing here answers. So a body is taken only as `application/json`, and only when the
//! `Origin` that a browser tells is the host that was asked (the Host itself is checked by [`super::guard`]).

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use serde::de::DeserializeOwned;

use super::error::Problem;
use crate::access::{Identity, Role};

/// Most bytes of a body: entries are a few lines, a series of projects some pages.
const BODY_BYTES_MAX: usize = 1 << 20;
/// What a browser tells of where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The JSON body of a request that enters something.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let headers = request.headers();
        if !is_json(headers) {
            return Err(Problem::not_json());
        }
        if !is_of_here(request.uri(), headers) {
            return Err(Problem::from_elsewhere());
        }
        let bytes = to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| Problem::too_long(BODY_BYTES_MAX))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Problem::bad_body(error.to_string()))
    }
}

/// A request that does something and needs no body: not sent by a page of another site. What browsers post they say the
/// origin of.
#[derive(Clone, Copy, Debug)]
pub struct FromHere;

impl<S: Send + Sync> FromRequestParts<S> for FromHere {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if is_of_here(&parts.uri, &parts.headers) { Ok(Self) } else { Err(Problem::from_elsewhere()) }
    }
}

/// Whose name an entry carries: that of who asks, when their role may enter it.
///
/// # Errors
/// When it may not.
pub fn author<'a>(asker: &'a Identity, roles: &[Role]) -> Result<&'a str, Problem> {
    if roles.contains(&asker.role) {
        return Ok(&asker.name);
    }
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    Err(Problem::forbidden(asker.role.name(), &format!("a token of role {}", names.join(" or "))))
}

/// As [`author`], with somebody whom the request names: instead of `local`, where no token is asked for; beside the
/// token's name, which several may share.
///
/// # Errors
/// When the asker may not enter it.
pub fn signed(asker: &Identity, roles: &[Role], by: Option<&str>) -> Result<String, Problem> {
    let name = author(asker, roles)?;
    Ok(match by.map(str::trim).filter(|by| !by.is_empty() && *by != name) {
        None => name.to_owned(),
        Some(by) if *asker == Identity::local() => by.to_owned(),
        Some(by) => format!("{by} (token {name})"),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether a browser that says where a request comes from names this very server. Programs say nothing.
fn is_of_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text(&FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    let Some(origin) = text(&header::ORIGIN) else { return true };
    let asked = uri.authority().cloned().or_else(|| text(&header::HOST).and_then(|host| host.parse::<Authority>().ok()));
    let named = origin.split_once("://").and_then(|(_, authority)| authority.parse::<Authority>().ok());
    matches!((asked, named), (Some(asked), Some(named)) if asked.as_str().eq_ignore_ascii_case(named.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_here(pairs: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        is_of_here(&Uri::from_static("/api/v1/limits"), &headers)
    }

    #[test]
    fn pages_elsewhere_enter_nothing() {
        let host = ("host", "park.example:8420");
        assert!(of_here(&[host]));
        assert!(of_here(&[host, ("origin", "https://PARK.example:8420")]));
        assert!(of_here(&[host, ("origin", "http://park.example:8420"), ("sec-fetch-site", "same-origin")]));
        for origin in ["null", "https://evil.example", "http://park.example", "http://park.example:8421", ""] {
            assert!(!of_here(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!of_here(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(!of_here(&[host, ("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn a_name_stands_beside_that_of_the_token() {
        let token = Identity { name: "shift-a".into(), ..Identity::local() };
        let signed = |asker: &Identity, by: Option<&str>| signed(asker, &[Role::Admin], by).unwrap();
        for by in [None, Some(""), Some(" ")] {
            assert_eq!((signed(&Identity::local(), by).as_str(), signed(&token, by).as_str()), ("local", "shift-a"));
        }
        assert_eq!(signed(&Identity::local(), Some(" Li Wei ")), "Li Wei");
        assert_eq!(signed(&token, Some("Li Wei")), "Li Wei (token shift-a)");
        assert_eq!(signed(&token, Some("shift-a")), "shift-a");
        assert!(super::signed(&token, &[Role::Operator], Some("Li Wei")).is_err());
    }

    #[test]
    fn only_json_is_taken() {
        let kind = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, text.parse().unwrap());
            is_json(&headers)
        };
        assert!(kind("application/json") && kind("Application/JSON; charset=utf-8"));
        assert!(!kind("text/plain") && !kind("application/x-www-form-urlencoded") && !kind("application/jsonp") && !kind(""));
        assert!(!is_json(&HeaderMap::new()));
    }
}
